"""Tiny checkpoints whose linear layers are quantised by compressed-tensors, each with what torch computes from it."""

import copy

import torch
from compressed_tensors.compressors import ModelCompressor
from compressed_tensors.quantization import QuantizationConfig, QuantizationScheme, apply_quantization_config
from compressed_tensors.quantization.utils import calculate_qparams
from transformers import AutoConfig, AutoModelForCausalLM

from measure import write_json
from tiny import COMMON, assert_same_logits, fresh, is_telling, measure, random_ids, random_model, written

VARIANTS = {
    # int4, in groups of 32 columns; a head that isn't quantised, tied to the embedding.
    "llama-int4": dict(
        model_type="llama",
        config=dict(
            vocab_size=131, hidden_size=96, intermediate_size=160, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=2, tie_word_embeddings=True,
        ),
        dtype=torch.bfloat16,
        weights=dict(num_bits=4, type="int", symmetric=True, strategy="group", group_size=32),
        ignore=["lm_head"],
    ),
    # int8, a scale a row; biases on q, k and v; float16; a projection that isn't quantised; shards.
    "qwen2-int8": dict(
        model_type="qwen2",
        config=dict(
            vocab_size=131, hidden_size=96, intermediate_size=224, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=2, tie_word_embeddings=False,
        ),
        dtype=torch.float16,
        weights=dict(num_bits=8, type="int", symmetric=True, strategy="channel"),
        ignore=["re:.*layers.1.mlp.down_proj"],
        max_shard_size="60KB",
    ),
    # int4 in groups of 64, whose zeros lie anywhere.
    "qwen3-int4-zeros": dict(
        model_type="qwen3",
        config=dict(
            vocab_size=131, hidden_size=128, intermediate_size=192, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=32, tie_word_embeddings=True,
        ),
        dtype=torch.bfloat16,
        weights=dict(num_bits=4, type="int", symmetric=False, strategy="group", group_size=64),
        ignore=["lm_head"],
    ),
}


def generate(folder, names=None):
    for name in names or VARIANTS:
        write_variant(folder / name, VARIANTS[name])


def write_variant(folder, variant):
    config = AutoConfig.for_model(variant["model_type"], **(COMMON | variant["config"]))
    inputs = {"short": random_ids(5, config.vocab_size, 5), "long": random_ids(70, config.vocab_size, 70)}
    for seed in range(1000):
        stored = quantised(random_model(config, seed).to(variant["dtype"]), variant)
        model, half = (dequantised(stored, dtype) for dtype in (torch.float32, torch.float16))
        cases = {name: measure(model, half, ids) for name, ids in inputs.items()}
        if all(is_telling(case, config.eos_token_id) for case in cases.values()):
            break
    else:
        raise SystemExit(f"{folder.name}: no seed gives tokens that f16 can't change")
    stored.save_pretrained(folder, max_shard_size=variant.get("max_shard_size", "5GB"))
    ModelCompressor.from_pretrained_model(stored).update_config(folder)
    # transformers 5.23 doesn't load zeros as this library saves them.
    if variant["weights"]["symmetric"]:
        assert_same_logits(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), model, inputs)
    write_golden(folder, "compressed-tensors", seed, inputs, cases)


def write_golden(folder, by, seed, inputs, cases):
    write_json(
        folder / "golden.json",
        {
            "seed": seed,
            "about": f"torch float32 on these weights as {by} dequantises them: logits at `positions` of each input,"
            " and its greedy new ids, none of them EOS. f16_error: the same logits in float16. min_margin: the least by"
            " which a greedy token beat the second best.",
            "inputs": written(inputs, cases),
        },
    )


def quantised(model, variant):
    """The model with its linear layers rounded to the nearest integers of each group's range."""
    scheme = QuantizationScheme(targets=["Linear"], weights=variant["weights"])
    config = QuantizationConfig(config_groups={"group_0": scheme}, ignore=variant["ignore"])
    apply_quantization_config(model, config)
    for module in model.modules():
        scheme = getattr(module, "quantization_scheme", None)
        if scheme is None:
            continue
        size = scheme.weights.group_size or module.weight.shape[1]
        groups = module.weight.unflatten(1, (-1, size)).float()
        scale, zero = calculate_qparams(groups.amin(-1), groups.amax(-1), scheme.weights)
        module.weight_scale.data.copy_(scale)
        if not scheme.weights.symmetric:
            module.weight_zero_point.data.copy_(zero)
    ModelCompressor.from_pretrained_model(model).compress_model(model)
    return model


def dequantised(stored, dtype):
    """A dense model of the same weights, made in this precision."""
    model = copy.deepcopy(stored).to(dtype).eval()
    ModelCompressor.from_pretrained_model(model).decompress_model(model)
    return fresh(model)
