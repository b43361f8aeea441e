#!/usr/bin/env python3
"""Writes the goldens: small files of what the genuine libraries answer. The tests only read them.

    python -m venv /tmp/goldens && /tmp/goldens/bin/pip install -r tests/goldens/requirements.txt
    /tmp/goldens/bin/python tests/goldens/generate.py --models .cache/models [smollm2] [text]
        [minilm] [gpt2_bin] [whisper_tiny] [tiny] [quantised] [encoders] [seq2seq] [vision] [families]

The models of tools/sample_model.py and tools/packaged_models.py must be in --models; `tiny`, `quantised`, `encoders`,
`seq2seq`, `vision` and `families` do without them. The scripts beside this one that it doesn't name each write the JSON of their own name, and run alone.
"""

import argparse
import importlib
from pathlib import Path

import torch

HERE = Path(__file__).parent
SAMPLE = "layerline/SmolLM2-135M-Instruct-dq4"
# Parts that read a model of --models.
MODELS = {
    "smollm2": SAMPLE,
    "text": SAMPLE,
    "minilm": "sentence-transformers/all-MiniLM-L6-v2",
    "gpt2_bin": "layerline/microformer-gpt2",
    "whisper_tiny": "layerline/whisper-tiny.en-ct2",
}
# Parts that are not a folder of their own.
FOLDERS = {"families": "", "quantised": "tiny"}
PARTS = (*MODELS, "tiny", "quantised", "encoders", "seq2seq", "vision", "families")


def main():
    parser = argparse.ArgumentParser(description="Write the goldens.")
    parser.add_argument("--models", type=Path, default=HERE.parents[1] / ".cache/models")
    parser.add_argument("parts", nargs="*", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)  # spares the sums from depending on the cores
    for part in options.parts:
        write = importlib.import_module(part).generate
        if part in MODELS:
            write(HERE, options.models / MODELS[part])
        else:
            write(HERE / FOLDERS.get(part, part))


if __name__ == "__main__":
    main()
