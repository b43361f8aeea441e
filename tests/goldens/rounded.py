#!/usr/bin/env python3
"""Writes rounded.json: what quanto makes of tiny checkpoints, and of the sample model, that it rounds to integers as they are loaded.

    /tmp/goldens/bin/python tests/goldens/rounded.py [.cache/models]
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, QuantoConfig

from measure import error, greedy, line, logits_of, number, numbers, write_json

HERE = Path(__file__).parent
SAMPLE = "layerline/SmolLM2-135M-Instruct-dq4"
# Rows that are whole units of 32: with biases, several layers, groups.
TINY = ("llama-bf16-bias", "llama-yarn", "llama-wide")
NEW_TOKENS = 16


def main():
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    models = Path(sys.argv[1] if len(sys.argv) > 1 else HERE.parents[1] / ".cache/models")
    cases = []
    for name in TINY:
        golden = json.loads((HERE / "tiny" / name / "golden.json").read_text())
        for weights in ("int8", "int4"):
            model = rounded(HERE / "tiny" / name, weights)
            cases += [tiny(name, weights, model, given) for given in golden["inputs"]]
    write_json(
        HERE / "rounded.json",
        {
            "about": "logits of the last token of each input of tiny/<model>/golden.json, in float32, by weights that quanto"
            " has rounded; rounding: how far they are from those of the weights as they were. sample: the greatest logits, and greedy new ids, each of"
            " which beat the second best by min_margin at least, of the sample model for the first prompts of smollm2.json.",
            "tiny": cases,
            "sample": sample(models / SAMPLE),
        },
    )


def rounded(folder, weights):
    config = QuantoConfig(weights=weights)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, quantization_config=config).eval()


def tiny(name, weights, model, given):
    ids = given["input_ids"]
    logits = logits_of(model, ids)[-1]
    dense = torch.tensor(given["logits"][-1])
    return {
        "model": name,
        "weights": weights,
        "input": given["name"],
        "logits": line(numbers(logits)),
        "rounding": error(logits, dense)["max_abs"],
    }


def sample(folder):
    golden = json.loads((HERE / "smollm2.json").read_text())
    cases = []
    for weights in ("int8", "int4"):
        model = rounded(folder, weights)
        for given in golden["prompts"][:2]:
            ids = given["input_ids"]
            logits = logits_of(model, ids)[-1]
            new_ids, margins = greedy(model, ids, NEW_TOKENS)
            best = logits.topk(20)
            cases.append(
                {
                    "weights": weights,
                    "prompt": given["name"],
                    "top": {"ids": line(best.indices.tolist()), "logits": line(numbers(best.values))},
                    "greedy": line(new_ids),
                    "min_margin": number(min(margins)),
                }
            )
    return cases


if __name__ == "__main__":
    main()
