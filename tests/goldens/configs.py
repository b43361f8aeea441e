"""Writes configs.json: what transformers makes of config.json files, v4's and v5's, and of their generation keys.

Run with torch and transformers installed: python tests/goldens/configs.py
"""

import json
import pathlib

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

CASES = {
    "nothing but the type": {},
    "SmolLM2-135M-Instruct, as v4 saved it": {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": 576,
        "initializer_range": 0.041666666666666664,
        "intermediate_size": 1536,
        "is_llama_config": True,
        "max_position_embeddings": 8192,
        "mlp_bias": False,
        "num_attention_heads": 9,
        "num_hidden_layers": 30,
        "num_key_value_heads": 3,
        "pad_token_id": 2,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-05,
        "rope_interleaved": False,
        "rope_scaling": None,
        "rope_theta": 100000,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.42.3",
        "use_cache": True,
        "vocab_size": 49152,
    },
    "v5, several ends, nulls": {
        "bos_token_id": None,
        "eos_token_id": [128001, 128008, 128009],
        "hidden_size": 2048,
        "head_dim": 128,
        "num_attention_heads": 16,
        "num_key_value_heads": None,
        "attention_bias": True,
        "mlp_bias": True,
        "dtype": "float16",
        "rope_parameters": {"rope_type": "default", "rope_theta": 250000.0},
    },
    "qwen2 and nothing else": {"model_type": "qwen2"},
    "phi3 and nothing else": {"model_type": "phi3"},
    "generation keys of old": {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 20, "max_length": 4096},
}

MODEL_KEYS = [
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "rms_norm_eps",
    "hidden_act",
    "tie_word_embeddings",
    "attention_bias",
    "mlp_bias",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
]
GENERATION_KEYS = [
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "max_length",
]


def biases(config):
    """Whether q, o and gate have biases."""
    with torch.device("meta"):
        names = AutoModelForCausalLM.from_config(config).state_dict()
    endings = [("q_proj.bias", "qkv_proj.bias"), ("o_proj.bias",), ("gate_proj.bias", "gate_up_proj.bias")]
    return [any(name.endswith(ending) for name in names) for ending in endings]


def main():
    cases = []
    for name, keys in CASES.items():
        keys = {"model_type": "llama"} | keys
        config = AutoConfig.for_model(keys["model_type"]).from_dict(json.loads(json.dumps(keys)))
        # As from_pretrained does where there is no generation_config.json: from the raw file, not from LlamaConfig.
        generation = GenerationConfig.from_model_config(dict(keys))
        expected = {key: getattr(config, key, None) for key in MODEL_KEYS}
        expected["head_dim"] = expected["head_dim"] or config.hidden_size // config.num_attention_heads
        expected["biases"] = biases(config)
        expected["rope_theta"] = config.rope_parameters["rope_theta"]
        expected["dtype"] = None if config.dtype is None else str(config.dtype)
        expected["generation"] = {key: getattr(generation, key) for key in GENERATION_KEYS}
        cases.append({"name": name, "config": keys, "expected": expected})
    made_by = {"torch": torch.__version__, "transformers": transformers.__version__}
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps({"made_by": made_by, "cases": cases}, indent=1) + "\n")


main()
