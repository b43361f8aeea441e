#!/usr/bin/env python3
"""Writes the goldens: small files of what the genuine libraries answer. The tests only read them.

    python -m venv /tmp/goldens && /tmp/goldens/bin/pip install -r tests/goldens/requirements.txt
    /tmp/goldens/bin/python tests/goldens/generate.py --models .cache/models [smollm2] [text] [tiny] [encoders]
        [vision] [families]

The sample model (tools/sample_model.py) must be in --models; `tiny`, `encoders`, `vision` and `families` do without it. The
scripts beside this one that it doesn't name each write the JSON of their own name, and run alone.
"""

import argparse
import importlib
from pathlib import Path

import torch

HERE = Path(__file__).parent
SAMPLE = "layerline/SmolLM2-135M-Instruct-dq4"
PARTS = ("smollm2", "text", "tiny", "encoders", "vision", "families")


def main():
    parser = argparse.ArgumentParser(description="Write the goldens.")
    parser.add_argument("--models", type=Path, default=HERE.parents[1] / ".cache/models")
    parser.add_argument("parts", nargs="*", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)  # spares the sums from depending on the cores
    for part in options.parts:
        write = importlib.import_module(part).generate
        if part in ("tiny", "encoders", "vision"):
            write(HERE / part)
        elif part == "families":
            write(HERE)
        else:
            write(HERE, options.models / SAMPLE)


if __name__ == "__main__":
    main()
