"""Writes rope.json: inverse frequencies and attention factors as transformers' LlamaRotaryEmbedding has them.

Run with torch and transformers installed: python tests/goldens/rope.py
"""

import json
import pathlib

import torch
import transformers
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

BASE = {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "max_position_embeddings": 2048}
HALF = 8  # head_dim / 2
SHORT = [1.0 + 0.05 * i for i in range(HALF)]
LONG = [1.0 + 1.5 * i for i in range(HALF)]

# name, keys of config.json, sequence lengths
CASES = [
    ("default", {}, [1]),
    ("v4 theta", {"rope_theta": 500000.0}, [1]),
    ("v5 theta", {"rope_parameters": {"rope_type": "default", "rope_theta": 1000000}}, [1]),
    ("head_dim", {"head_dim": 32, "rope_theta": 100000.0}, [1]),
    ("v4 linear, by its old key", {"rope_scaling": {"type": "linear", "factor": 4.0}}, [1]),
    ("v5 linear", {"rope_parameters": {"rope_type": "linear", "factor": 3, "rope_theta": 20000.0}}, [1]),
    ("dynamic", {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, [1, 2048, 3000, 10000]),
    (
        "llama 3.1",
        {
            "rope_theta": 500000.0,
            "max_position_embeddings": 131072,
            "head_dim": 64,
            "rope_scaling": {
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192,
                "rope_type": "llama3",
            },
        },
        [1],
    ),
    ("yarn", {"rope_scaling": {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 256}}, [1]),
    (
        "yarn, every option",
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 150000.0,
                "factor": 32.0,
                "beta_fast": 16.0,
                "beta_slow": 2.0,
                "truncate": False,
                "mscale": 0.9,
                "mscale_all_dim": 0.7,
                "original_max_position_embeddings": 64,
            }
        },
        [1],
    ),
    (
        "yarn, its attention factor given",
        {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "attention_factor": 1.25}},
        [1],
    ),
    (
        "longrope",
        {
            "original_max_position_embeddings": 512,
            "rope_scaling": {"rope_type": "longrope", "short_factor": SHORT, "long_factor": LONG},
        },
        [1, 512, 513, 2000],
    ),
    (
        "longrope, factors given",
        {
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "short_factor": SHORT,
                "long_factor": LONG,
                "factor": 16.0,
                "attention_factor": 1.5,
                "original_max_position_embeddings": 256,
            }
        },
        [256, 300],
    ),
]


def frequencies(config, length):
    """What a fresh embedding uses for a sequence of `length` positions."""
    rope = LlamaRotaryEmbedding(config)
    rope(torch.zeros(1, 1, 1), torch.arange(length)[None])
    return rope.inv_freq.tolist(), float(rope.attention_scaling)


def main():
    cases = []
    for name, keys, lengths in CASES:
        for length in lengths:
            # From a dict each time: parsing changes it.
            config = LlamaConfig.from_dict(json.loads(json.dumps(BASE | keys)))
            inv_freq, attention_scaling = frequencies(config, length)
            cases.append(
                {
                    "name": name,
                    "config": BASE | keys,
                    "seq_len": length,
                    "inv_freq": inv_freq,
                    "attention_scaling": attention_scaling,
                }
            )
    made_by = {"torch": torch.__version__, "transformers": transformers.__version__}
    path = pathlib.Path(__file__).with_suffix(".json")
    lines = ",\n".join("  " + json.dumps(case) for case in cases)
    path.write_text(f'{{"made_by": {json.dumps(made_by)}, "cases": [\n{lines}\n]}}\n')


main()
