#!/usr/bin/env python3
"""Writes tiny checkpoints whose linear layers GPTQModel has packed, each with what torch computes from the weights that it unpacks.

    /tmp/goldens/bin/pip install --no-deps --no-build-isolation -r tests/goldens/requirements-gptq.txt
    /tmp/goldens/bin/python tests/goldens/gptq.py
"""

from pathlib import Path

import torch
from gptqmodel.nn_modules.qlinear.torch import TorchLinear
from gptqmodel.quantization import FORMAT, QuantizeConfig
from gptqmodel.utils.model import convert_gptq_v2_to_v1_format_module
from safetensors.torch import save_file
from transformers import AutoConfig

from quantised import write_golden
from tiny import COMMON, fresh, is_telling, measure, random_ids, random_model

VARIANTS = {
    # The usual kind: int4, symmetric, zeros less one; a head that isn't quantised, tied to the embedding.
    "llama-gptq4": dict(
        model_type="llama",
        config=dict(
            vocab_size=131, hidden_size=96, intermediate_size=160, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=2, tie_word_embeddings=True,
        ),
        quantize=dict(bits=4, group_size=32, sym=True, desc_act=False, format=FORMAT.GPTQ),
    ),
    # int4 whose zeros lie anywhere, less one; biases; rows that don't fill a word of zeros.
    "qwen2-gptq4-zeros": dict(
        model_type="qwen2",
        config=dict(
            vocab_size=131, hidden_size=128, intermediate_size=192, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, tie_word_embeddings=False,
        ),
        quantize=dict(bits=4, group_size=64, sym=False, desc_act=False, format=FORMAT.GPTQ),
    ),
    # int8, a group a row, zeros as they are.
    "qwen3-gptq8-zeros": dict(
        model_type="qwen3",
        config=dict(
            vocab_size=131, hidden_size=96, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=24, tie_word_embeddings=False,
        ),
        quantize=dict(bits=8, group_size=-1, sym=False, desc_act=False, format=FORMAT.GPTQ_V2),
    ),
}


def generate(folder, names=None):
    for name in names or VARIANTS:
        write_variant(folder / name, VARIANTS[name])


def write_variant(folder, variant):
    config = AutoConfig.for_model(variant["model_type"], **(COMMON | variant["config"]))
    quantize = QuantizeConfig(**variant["quantize"])
    inputs = {"short": random_ids(5, config.vocab_size, 5), "long": random_ids(70, config.vocab_size, 70)}
    for seed in range(1000):
        stored = random_model(config, seed).half()
        tensors = packed(stored, quantize)
        model, half = fresh(stored.float()), fresh(random_model(config, seed).half())
        half.load_state_dict(model.state_dict())
        cases = {name: measure(model, half, ids) for name, ids in inputs.items()}
        if all(is_telling(case, config.eos_token_id) for case in cases.values()):
            break
    else:
        raise SystemExit(f"{folder.name}: no seed gives tokens that f16 can't change")
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config.dtype = torch.float16
    config.architectures = [type(stored).__name__]
    # Without what is of the machine that packed it.
    said = {key: value for key, value in quantize.to_dict().items() if key != "meta"}
    config.quantization_config = said | {"quant_method": "gptq"}
    config.save_pretrained(folder)
    write_golden(folder, "GPTQModel", seed, inputs, cases)


def packed(model, quantize):
    """The tensors of the model with its layers' linear modules packed; the model gets the weights that come out of them."""
    tensors = {}
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear) or ".layers." not in name:
            continue
        linear = TorchLinear(
            bits=quantize.bits, group_size=quantize.group_size, sym=quantize.sym, desc_act=False,
            in_features=module.in_features, out_features=module.out_features, bias=module.bias is not None,
        )
        size = quantize.group_size if quantize.group_size > 0 else module.in_features
        groups = module.weight.float().unflatten(1, (-1, size))
        most = 2**quantize.bits - 1
        if quantize.sym:
            scales = groups.abs().amax(-1) * 2 / most
            zeros = torch.full_like(scales, (most + 1) // 2)
        else:
            low, high = groups.amin(-1).clamp(max=0), groups.amax(-1).clamp(min=0)
            scales = (high - low) / most
            zeros = torch.round(-low / scales)
        scales = scales.half().float()
        linear.pack_original(module.float(), scales, zeros, linear.g_idx)
        linear.post_init()
        stored_scales, linear.scales = linear.scales, linear.scales.float()
        module.weight.data = linear.dequantize_weight().T.float().contiguous()
        linear.scales = stored_scales
        if quantize.format == FORMAT.GPTQ:
            convert_gptq_v2_to_v1_format_module(linear, quantize)
        for part in ("qweight", "qzeros", "scales", "g_idx"):
            tensors[f"{name}.{part}"] = getattr(linear, part).contiguous()
    for name, tensor in model.state_dict().items():
        is_packed = name.endswith(".weight") and f"{name.removesuffix('.weight')}.qweight" in tensors
        is_tied = name == "lm_head.weight" and model.config.tie_word_embeddings
        if not is_packed and not is_tied:
            tensors[name] = tensor.half().contiguous()
    return tensors


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    generate(Path(__file__).parent / "tiny")
