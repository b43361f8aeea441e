"""Writes configs.json: what transformers makes of config.json files, v4's and v5's, and of their generation keys.

Run with torch and transformers installed: python tests/goldens/configs.py
"""

import json
import pathlib

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

from measure import line, write_json

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
    "phi3, a part of each head rotated, a window": {
        "model_type": "phi3",
        "hidden_size": 3072,
        "num_attention_heads": 24,
        "num_key_value_heads": 8,
        "partial_rotary_factor": 0.75,
        "rope_theta": 10000.0,
        "rope_scaling": {"type": "longrope", "short_factor": [1.0] * 48, "long_factor": [2.0] * 48},
        "original_max_position_embeddings": 4096,
        "max_position_embeddings": 131072,
        "sliding_window": 262144,
        "tie_word_embeddings": True,
        "pad_token_id": 199999,
        "vocab_size": 200064,
    },
    "mistral and nothing else": {"model_type": "mistral"},
    "mistral without a window": {"model_type": "mistral", "sliding_window": None, "num_key_value_heads": 4},
    "qwen2 with windows from layer 3 on": {
        "model_type": "qwen2",
        "use_sliding_window": True,
        "sliding_window": 512,
        "max_window_layers": 3,
        "num_hidden_layers": 6,
    },
    "qwen2 with layer types": {
        "model_type": "qwen2",
        "use_sliding_window": True,
        "num_hidden_layers": 3,
        "layer_types": ["full_attention", "sliding_attention", "full_attention"],
    },
    "qwen3 and nothing else": {"model_type": "qwen3"},
    "Qwen3-0.6B, as v4 saved it": {
        "model_type": "qwen3",
        "attention_bias": False,
        "bos_token_id": 151643,
        "eos_token_id": 151645,
        "head_dim": 128,
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "max_position_embeddings": 40960,
        "max_window_layers": 28,
        "num_attention_heads": 16,
        "num_hidden_layers": 28,
        "num_key_value_heads": 8,
        "rope_scaling": None,
        "rope_theta": 1000000,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_sliding_window": False,
        "vocab_size": 151936,
    },
    "smollm3 and nothing else": {"model_type": "smollm3"},
    "smollm3 with windows": {
        "model_type": "smollm3",
        "use_sliding_window": True,
        "sliding_window": 64,
        "num_hidden_layers": 5,
        "no_rope_layers": [1, 0, 1, 1, 0],
    },
    "smollm3 with layer types, whose windows need no switch, and a list for more layers than there are": {
        "model_type": "smollm3",
        "sliding_window": 64,
        "num_hidden_layers": 3,
        "layer_types": ["sliding_attention", "attention", "full_attention"],
        "no_rope_layers": [1, 0, 1, 1],
    },
    "olmo2 and nothing else": {"model_type": "olmo2"},
    "gpt2 and nothing else": {"model_type": "gpt2"},
    "gpt2, as v4 saved it": {
        "activation_function": "gelu_new",
        "architectures": ["GPT2LMHeadModel"],
        "attn_pdrop": 0.1,
        "bos_token_id": 50256,
        "embd_pdrop": 0.1,
        "eos_token_id": 50256,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05,
        "model_type": "gpt2",
        "n_ctx": 1024,
        "n_embd": 1024,
        "n_head": 16,
        "n_layer": 24,
        "n_positions": 512,
        "resid_pdrop": 0.1,
        "summary_first_dropout": 0.1,
        "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
        "vocab_size": 50257,
    },
    "gpt2 by its keys' other names, with those of others, unscaled": {
        "model_type": "gpt2",
        "hidden_size": 96,
        "n_embd": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "intermediate_size": 100,
        "n_inner": 300,
        "hidden_act": "silu",
        "scale_attn_weights": False,
        "scale_attn_by_inverse_layer_idx": True,
        "tie_word_embeddings": False,
        "layer_norm_epsilon": 1e-6,
    },
    "gpt_neox and nothing else": {"model_type": "gpt_neox"},
    "pythia-160m, as v4 saved it": {
        "architectures": ["GPTNeoXForCausalLM"],
        "bos_token_id": 0,
        "eos_token_id": 0,
        "hidden_act": "gelu",
        "hidden_size": 768,
        "initializer_range": 0.02,
        "intermediate_size": 3072,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 2048,
        "model_type": "gpt_neox",
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "rotary_emb_base": 10000,
        "rotary_pct": 0.25,
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
        "transformers_version": "4.24.0",
        "use_cache": True,
        "use_parallel_residual": True,
        "vocab_size": 50304,
    },
    "gpt_neox, of which all is rotated, one after the other, without biases": {
        "model_type": "gpt_neox",
        "hidden_size": 96,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "rotary_pct": 1.0,
        "rotary_emb_base": 5000,
        "rope_theta": 77.0,
        "partial_rotary_factor": 0.5,
        "rope_scaling": {"type": "dynamic", "factor": 2.0},
        "use_parallel_residual": False,
        "attention_bias": False,
    },
    "gemma2 and nothing else": {"model_type": "gemma2"},
    "gemma2 without caps": {
        "model_type": "gemma2",
        "query_pre_attn_scalar": 144,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "num_hidden_layers": 3,
    },
    "gemma3_text and nothing else": {"model_type": "gemma3_text"},
    "gemma3_text with caps, of which one counts": {
        "model_type": "gemma3_text",
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
        "num_hidden_layers": 7,
        "sliding_window_pattern": 3,
    },
    "gemma-3-1b-it, as v4 saved it": {
        "model_type": "gemma3_text",
        "attn_logit_softcapping": None,
        "bos_token_id": 2,
        "cache_implementation": "hybrid",
        "eos_token_id": [1, 106],
        "final_logit_softcapping": None,
        "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 1152,
        "intermediate_size": 6912,
        "max_position_embeddings": 32768,
        "num_attention_heads": 4,
        "num_hidden_layers": 26,
        "num_key_value_heads": 1,
        "query_pre_attn_scalar": 256,
        "rope_local_base_freq": 10000,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "rope_theta": 1000000,
        "sliding_window": 512,
        "sliding_window_pattern": 6,
        "torch_dtype": "bfloat16",
        "vocab_size": 262144,
    },
    "qwen3_moe and nothing else": {"model_type": "qwen3_moe"},
    "Qwen3-30B-A3B, as v4 saved it": {
        "model_type": "qwen3_moe",
        "attention_bias": False,
        "bos_token_id": 151643,
        "decoder_sparse_step": 1,
        "eos_token_id": 151645,
        "head_dim": 128,
        "hidden_act": "silu",
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "max_position_embeddings": 40960,
        "max_window_layers": 48,
        "mlp_only_layers": [],
        "moe_intermediate_size": 768,
        "norm_topk_prob": True,
        "num_attention_heads": 32,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "num_hidden_layers": 48,
        "num_key_value_heads": 4,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 1000000.0,
        "sliding_window": None,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "use_sliding_window": False,
        "vocab_size": 151936,
    },
    "qwen3_moe with experts here and there, by their count's other name, with windows": {
        "model_type": "qwen3_moe",
        "num_hidden_layers": 7,
        "decoder_sparse_step": 2,
        "mlp_only_layers": [3, 9],
        "num_local_experts": 6,
        "num_experts_per_tok": 6,
        "use_sliding_window": True,
        "sliding_window": 64,
        "attention_bias": True,
    },
    "olmoe and nothing else": {"model_type": "olmoe"},
    "OLMoE-1B-7B, as v4 saved it": {
        "model_type": "olmoe",
        "attention_bias": False,
        "clip_qkv": None,
        "eos_token_id": 50279,
        "hidden_act": "silu",
        "hidden_size": 2048,
        "intermediate_size": 1024,
        "max_position_embeddings": 4096,
        "norm_topk_prob": False,
        "num_attention_heads": 16,
        "num_experts": 64,
        "num_experts_per_tok": 8,
        "num_hidden_layers": 16,
        "num_key_value_heads": 16,
        "pad_token_id": 1,
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "vocab_size": 50304,
    },
    "mixtral and nothing else": {"model_type": "mixtral"},
    "Mixtral-8x7B, as v4 saved it": {
        "model_type": "mixtral",
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "max_position_embeddings": 32768,
        "num_attention_heads": 32,
        "num_experts_per_tok": 2,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "num_local_experts": 8,
        "rms_norm_eps": 1e-05,
        "rope_theta": 1000000.0,
        "sliding_window": None,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "vocab_size": 32000,
    },
    "mixtral with a window": {"model_type": "mixtral", "sliding_window": 4096, "num_hidden_layers": 2},
    "gemma-3-4b-it, as v4 saved it: a text model within one that reads images": {
        "model_type": "gemma3",
        "architectures": ["Gemma3ForConditionalGeneration"],
        "boi_token_index": 255999,
        "eos_token_id": [1, 106],
        "initializer_range": 0.02,
        "mm_tokens_per_image": 256,
        "text_config": {
            "hidden_size": 2560,
            "intermediate_size": 10240,
            "model_type": "gemma3_text",
            "num_hidden_layers": 34,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
            "sliding_window": 1024,
        },
        "vision_config": {"hidden_size": 1152, "image_size": 896, "num_hidden_layers": 1, "patch_size": 14},
    },
    "gemma and nothing else": {"model_type": "gemma"},
    "gemma with the activation of old": {"model_type": "gemma", "hidden_act": "gelu", "num_key_value_heads": 1},
    "granite and nothing else": {"model_type": "granite"},
    "granite with multipliers": {
        "model_type": "granite",
        "embedding_multiplier": 12.0,
        "attention_multiplier": 0.015625,
        "residual_multiplier": 0.22,
        "logits_scaling": 8.0,
        "rope_theta": 10000000.0,
    },
    "gpt_neo and nothing else": {"model_type": "gpt_neo"},
    "gpt_neo, TinyStories": {
        "model_type": "gpt_neo",
        "activation_function": "gelu_new",
        "attention_layers": ["global", "local", "global", "local"],
        "attention_types": [[["global", "local"], 2]],
        "hidden_size": 768,
        "intermediate_size": None,
        "num_heads": 16,
        "num_layers": 4,
        "window_size": 256,
    },
    "gpt_neo, global first, then local": {
        "model_type": "gpt_neo",
        "attention_types": [[["global"], 2], [["local"], 1]],
        "num_layers": 3,
        "window_size": 32,
    },
    "opt and nothing else": {"model_type": "opt"},
    "opt without biases, as v4 saved it": {
        "model_type": "opt",
        "activation_function": "gelu",
        "do_layer_norm_before": False,
        "enable_bias": False,
        "ffn_dim": 1024,
        "hidden_size": 384,
        "word_embed_proj_dim": 384,
        "tie_word_embeddings": False,
    },
    "phi and nothing else": {"model_type": "phi"},
    "Phi-2, as v4 saved it": {
        "model_type": "phi",
        "hidden_act": "gelu_new",
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 32,
        "partial_rotary_factor": 0.4,
        "rope_theta": 10000.0,
        "bos_token_id": 50256,
        "eos_token_id": 50256,
        "torch_dtype": "float16",
    },
    "arcee and nothing else": {"model_type": "arcee"},
    "cohere and nothing else": {"model_type": "cohere"},
    "Aya-8B, as v4 saved it": {
        "model_type": "cohere",
        "attention_bias": False,
        "bos_token_id": 5,
        "eos_token_id": 255001,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "layer_norm_eps": 1e-05,
        "logit_scale": 0.0625,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "rope_theta": 10000,
        "use_qk_norm": False,
        "torch_dtype": "float16",
    },
    "cohere2 and nothing else": {"model_type": "cohere2"},
    "cohere2 with a pattern": {
        "model_type": "cohere2",
        "sliding_window_pattern": 3,
        "sliding_window": 512,
        "num_hidden_layers": 6,
        "attention_bias": True,
        "rope_theta": 50000,
    },
    "ernie4_5 and nothing else": {"model_type": "ernie4_5"},
    "ernie4_5 with biases": {"model_type": "ernie4_5", "use_bias": True, "num_key_value_heads": 4, "head_dim": 64},
    "exaone4 and nothing else": {"model_type": "exaone4"},
    "EXAONE-4.0-1.2B": {
        "model_type": "exaone4",
        "hidden_size": 2048,
        "intermediate_size": 4096,
        "num_attention_heads": 32,
        "num_hidden_layers": 3,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "layer_types": ["full_attention", "full_attention", "full_attention"],
        "rope_scaling": {
            "factor": 16.0,
            "high_freq_factor": 4.0,
            "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192,
            "rope_type": "llama3",
        },
        "rope_theta": 1000000,
        "sliding_window": None,
        "sliding_window_pattern": None,
        "tie_word_embeddings": True,
    },
    "exaone4 with a pattern": {
        "model_type": "exaone4",
        "sliding_window": 128,
        "sliding_window_pattern": 2,
        "num_hidden_layers": 4,
    },
    "glm and nothing else": {"model_type": "glm"},
    "glm with ends and a factor": {
        "model_type": "glm",
        "eos_token_id": [5, 6],
        "partial_rotary_factor": 0.25,
        "attention_bias": False,
        "num_hidden_layers": 2,
    },
    "glm4 and nothing else": {"model_type": "glm4"},
    "granite-4.0-350m, as v4 saved it": {
        "model_type": "granitemoehybrid",
        "attention_bias": False,
        "attention_multiplier": 0.015625,
        "embedding_multiplier": 12,
        "hidden_size": 1024,
        "intermediate_size": 2048,
        "layer_types": ["attention", "attention", "attention"],
        "logits_scaling": 4,
        "mamba_n_heads": 128,
        "max_position_embeddings": 32768,
        "num_attention_heads": 16,
        "num_experts_per_tok": 0,
        "num_hidden_layers": 3,
        "num_key_value_heads": 4,
        "num_local_experts": 0,
        "position_embedding_type": "rope",
        "residual_multiplier": 0.263,
        "rope_theta": 10000000,
        "shared_intermediate_size": 2048,
        "tie_word_embeddings": True,
        "vocab_size": 100352,
    },
    "helium and nothing else": {"model_type": "helium"},
    "helium with biases": {"model_type": "helium", "attention_bias": True, "mlp_bias": True, "num_hidden_layers": 2},
    "olmo3 and nothing else": {"model_type": "olmo3"},
    "olmo3 with a scaling, as v4 saved it": {
        "model_type": "olmo3",
        "num_hidden_layers": 5,
        "rope_theta": 400000,
        "rope_scaling": {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 8192},
        "sliding_window": 1024,
    },
    "seed_oss and nothing else": {"model_type": "seed_oss"},
    "seed_oss with other biases": {
        "model_type": "seed_oss",
        "attention_bias": False,
        "attention_out_bias": True,
        "mlp_bias": True,
        "num_hidden_layers": 2,
    },
    "lfm2 and nothing else": {"model_type": "lfm2"},
    "LFM2-350M, as v4 saved it": {
        "model_type": "lfm2",
        "block_auto_adjust_ff_dim": True,
        "block_dim": 1024,
        "block_ff_dim": 6656,
        "block_ffn_dim_multiplier": 1.0,
        "block_multiple_of": 256,
        "bos_token_id": 1,
        "conv_L_cache": 3,
        "conv_bias": False,
        "conv_dim": 1024,
        "eos_token_id": 7,
        "full_attn_idxs": [2, 5, 8, 10, 12, 14],
        "hidden_size": 1024,
        "max_position_embeddings": 128000,
        "norm_eps": 1e-05,
        "num_attention_heads": 16,
        "num_heads": 16,
        "num_hidden_layers": 16,
        "num_key_value_heads": 8,
        "pad_token_id": 0,
        "rope_theta": 1000000.0,
        "torch_dtype": "bfloat16",
        "vocab_size": 65536,
    },
    "lfm2 with types of layers and biases": {
        "model_type": "lfm2",
        "hidden_size": 64,
        "intermediate_size": 100,
        "block_ffn_dim_multiplier": 1.3,
        "block_multiple_of": 24,
        "layer_types": ["conv", "full_attention", "conv"],
        "num_hidden_layers": 3,
        "conv_bias": True,
        "conv_L_cache": 4,
        "tie_embedding": False,
    },
    "lfm2 of a width as it is": {
        "model_type": "lfm2",
        "block_auto_adjust_ff_dim": False,
        "block_ff_dim": 100,
        "num_hidden_layers": 2,
        "hidden_size": 64,
    },
    "starcoder2 and nothing else": {"model_type": "starcoder2"},
    "starcoder2 without biases, with windows": {
        "model_type": "starcoder2",
        "use_bias": False,
        "sliding_window": 4096,
        "num_hidden_layers": 2,
    },
    "stablelm and nothing else": {"model_type": "stablelm"},
    "stablelm, beside each other": {
        "model_type": "stablelm",
        "use_parallel_residual": True,
        "use_qkv_bias": True,
        "partial_rotary_factor": 0.5,
    },
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


def biases(model):
    """Whether q, o and gate (or up) have biases."""
    names = getattr(model.base_model, "language_model", model).state_dict()
    names = [name for name in names if ".conv." not in name]
    endings = [
        ("q_proj.bias", "qkv_proj.bias", "c_attn.bias", "query_key_value.bias"),
        ("o_proj.bias", "out_proj.bias", "attn.c_proj.bias", "attention.dense.bias", "self_attn.dense.bias"),
        ("gate_proj.bias", "gate_up_proj.bias", "c_fc.bias", "dense_h_to_4h.bias", "fc1.bias"),
    ]
    return [any(name.endswith(ending) for name in names) for ending in endings]


def windows(config):
    """Of each layer, to how many positions a token attends; null: to all."""
    if config.model_type == "gpt_neo":
        return [config.window_size if kind == "local" else None for kind in config.attention_layers]
    window = getattr(config, "sliding_window", None)
    types = getattr(config, "layer_types", None)
    sliding = [kind == "sliding_attention" for kind in types] if types else [True] * config.num_hidden_layers
    return [window if slides else None for slides in sliding]


def ropes(config):
    """[theta, type] of each of the model's ropes, those of layers without a window first."""
    rope = getattr(config, "rope_parameters", None)
    if rope is None:
        return []
    each = [rope["full_attention"], rope["sliding_attention"]] if "full_attention" in rope else [rope]
    return [line([one["rope_theta"], one["rope_type"]]) for one in each]


def rotated(config, head_dim):
    """Elements of each head that are rotated."""
    rope = getattr(config, "rope_parameters", None) or {"partial_rotary_factor": 0}
    return int(head_dim * rope.get("partial_rotary_factor", 1.0))


def layer_ropes(config):
    """Of each layer, which of the ropes rotates its heads; null: none."""
    if config.model_type in ("gpt2", "gpt_neo", "opt"):
        return [None] * config.num_hidden_layers
    if config.model_type in ("gemma3_text", "olmo3"):
        return [int(kind == "sliding_attention") for kind in config.layer_types]
    if config.model_type == "cohere2" or (config.model_type == "exaone4" and config.sliding_window):
        return [0 if kind == "sliding_attention" else None for kind in config.layer_types]
    rotated = getattr(config, "no_rope_layers", None) or [1] * config.num_hidden_layers
    return [0 if rotates else None for rotates in rotated[: config.num_hidden_layers]]


def attention_of(model, layer):
    """The attention of a layer that has one, whatever its family calls it."""
    base = model.base_model
    base = getattr(base, {"opt": "decoder", "gemma3": "language_model"}.get(model.config.model_type, ""), base)
    layers = base.h if model.config.model_type in ("gpt2", "gpt_neo") else base.layers
    names = ("self_attn", "attention", "attn")
    return [getattr(layer, name) for layer in layers for name in names if hasattr(layer, name)][layer]


def convolutions(model):
    """How many tokens short convolutions see, whether they have biases, and which layers have them; null: none has."""
    layers = getattr(model.base_model, "layers", [])
    found = [layer.conv for layer in layers if hasattr(layer, "conv")]
    if not found:
        return None
    has = {"taps": found[0].conv_kernel_size, "bias": found[0].bias}
    return has | {"layers": line([hasattr(layer, "conv") for layer in layers])}


def scales(model):
    """What multiplies embeddings and scores, and the caps of scores and logits."""
    config, attention = model.config.get_text_config(), attention_of(model, 0)
    # GPT-Neo's attention has no scale.
    scale_of = lambda attention: getattr(attention, "scaling", 1.0)
    multiplier = getattr(config, "embedding_multiplier", 1.0)
    return {
        "embedding_scale": getattr(model.get_input_embeddings(), "scalar_embed_scale", multiplier),
        "scale": scale_of(attention),
        # In the first layer times what it is in the last.
        "scale_ratio": scale_of(attention) / scale_of(attention_of(model, -1)),
        # Gemma 3's attention has the attribute, but doesn't use it.
        "attn_logit_softcapping": attention.attn_logit_softcapping if config.model_type == "gemma2" else None,
        "final_logit_softcapping": getattr(config, "final_logit_softcapping", None),
    }


def mixture(model):
    """How many experts there are, to how many a token is routed, how wide they are, whether their weights sum up to one, and
    which layers have them; null: none has."""
    layers = [hasattr(getattr(layer, "mlp", None), "experts") for layer in getattr(model.base_model, "layers", [])]
    if not any(layers):
        return None
    block = model.base_model.layers[layers.index(True)].mlp
    widths = {"width": block.experts.intermediate_dim, "normalised": getattr(block.gate, "norm_topk_prob", True)}
    return {"experts": block.gate.num_experts, "per_token": block.gate.top_k} | widths | {"layers": line(layers)}


def main():
    cases = []
    for name, keys in CASES.items():
        keys = {"model_type": "llama"} | keys
        config = AutoConfig.for_model(keys["model_type"]).from_dict(json.loads(json.dumps(keys)))
        # As from_pretrained does where there is no generation_config.json: from the raw file, not from LlamaConfig.
        generation = GenerationConfig.from_model_config(dict(keys))
        whole, config = config, config.get_text_config()
        expected = {key: getattr(config, key, None) for key in MODEL_KEYS}
        if keys["model_type"] in ("gpt2", "gpt_neo", "gpt_neox", "opt"):
            # What such a config says of these means nothing to its model.
            expected |= {"num_key_value_heads": config.num_attention_heads, "head_dim": None}
        if keys["model_type"] == "gpt2":
            expected |= {
                "hidden_act": config.activation_function,
                "intermediate_size": config.n_inner or 4 * config.n_embd,
            }
        if keys["model_type"] == "gpt_neo":
            expected |= {
                "hidden_act": config.activation_function,
                "intermediate_size": config.intermediate_size or 4 * config.hidden_size,
            }
        if keys["model_type"] == "opt":
            # LayerNorm's own default.
            expected |= {
                "hidden_act": config.activation_function,
                "intermediate_size": config.ffn_dim,
                "rms_norm_eps": 1e-5,
            }
        for key in ("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps"):
            expected["rms_norm_eps"] = getattr(config, key, expected["rms_norm_eps"])
        expected["head_dim"] = expected["head_dim"] or config.hidden_size // config.num_attention_heads
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(whole)
        expected["biases"] = biases(model)
        expected["mixture"] = mixture(model)
        expected["convolutions"] = convolutions(model)
        if keys["model_type"] == "granitemoehybrid":
            expected["intermediate_size"] = config.shared_intermediate_size
        if keys["model_type"] == "lfm2":
            feed_forward = model.base_model.layers[0].feed_forward
            expected |= {"hidden_act": "silu", "intermediate_size": feed_forward.w1.out_features}
        expected |= scales(model)
        expected["hidden_act"] = expected["hidden_act"] or config.hidden_activation
        expected["ropes"] = ropes(config)
        expected["rotated"] = rotated(config, expected["head_dim"])
        expected["windows"] = line(windows(config))
        expected["layer_ropes"] = line(layer_ropes(config))
        expected["dtype"] = None if whole.dtype is None else str(whole.dtype)
        expected["generation"] = {key: getattr(generation, key) for key in GENERATION_KEYS}
        cases.append({"name": name, "config": keys, "expected": expected})
    made_by = {"torch": torch.__version__, "transformers": transformers.__version__}
    write_json(pathlib.Path(__file__).with_suffix(".json"), {"made_by": made_by, "cases": cases})


main()
