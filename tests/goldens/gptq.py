#!/usr/bin/env python3
"""Writes tiny checkpoints whose linear layers GPTQModel has packed, each with what torch computes from the weights that it unpacks.

    /tmp/goldens/bin/pip install --no-deps --no-build-isolation -r tests/goldens/requirements-gptq.txt
    /tmp/goldens/bin/python tests/goldens/gptq.py
"""

from pathlib import Path

import torch
from gptqmodel.nn_modules.qlinear.torch import TorchLinear
from gptqmodel.nn_modules.qlinear.torch_awq import AwqTorchLinear
from gptqmodel.quantization import FORMAT, QuantizeConfig
from gptqmodel.quantization.awq.utils.packing_utils import dequantize_gemm
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
    # AWQ: words of eight rows in an order of their own; biases.
    "qwen2-awq": dict(
        model_type="qwen2",
        config=dict(
            vocab_size=131, hidden_size=96, intermediate_size=192, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=2, tie_word_embeddings=True,
        ),
        awq=dict(bits=4, group_size=32, zero_point=True, version="gemm"),
    ),
}


def generate(folder, names=None):
    for name in names or VARIANTS:
        write_variant(folder / name, VARIANTS[name])


def write_variant(folder, variant):
    config = AutoConfig.for_model(variant["model_type"], **(COMMON | variant["config"]))
    quantize = QuantizeConfig(**variant["quantize"]) if "quantize" in variant else None
    inputs = {"short": random_ids(5, config.vocab_size, 5), "long": random_ids(70, config.vocab_size, 70)}
    for seed in range(1000):
        stored = random_model(config, seed).half()
        tensors = packed(stored, lambda module: gptq(module, quantize) if quantize else awq(module, variant["awq"]))
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
    if quantize:
        # Without what is of the machine that packed it.
        said = {key: value for key, value in quantize.to_dict().items() if key != "meta"}
        config.quantization_config = said | {"quant_method": "gptq"}
    else:
        config.quantization_config = variant["awq"] | {"quant_method": "awq"}
    config.save_pretrained(folder)
    write_golden(folder, "GPTQModel", seed, inputs, cases)


def packed(model, pack):
    """The tensors of the model with its layers' linear modules packed; the model gets the weights that come out of them."""
    tensors = {}
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear) or ".layers." not in name:
            continue
        parts, weight = pack(module)
        tensors |= {f"{name}.{part}": tensor.contiguous() for part, tensor in parts.items()}
        module.weight.data = weight.float().contiguous()
    for name, tensor in model.state_dict().items():
        is_packed = name.endswith(".weight") and f"{name.removesuffix('.weight')}.qweight" in tensors
        is_tied = name == "lm_head.weight" and model.config.tie_word_embeddings
        if not is_packed and not is_tied:
            tensors[name] = tensor.half().contiguous()
    return tensors


def scales_and_zeros(module, bits, group_size, sym):
    size = group_size if group_size > 0 else module.in_features
    groups = module.weight.float().unflatten(1, (-1, size))
    most = 2**bits - 1
    if sym:
        scales = groups.abs().amax(-1) * 2 / most
        return scales.half().float(), torch.full_like(scales, (most + 1) // 2)
    low, high = groups.amin(-1).clamp(max=0), groups.amax(-1).clamp(min=0)
    scales = ((high - low) / most).half().float()
    return scales, torch.round(-low / scales)


def gptq(module, quantize):
    """The tensors that GPTQModel packs a module into, and the weight that it unpacks, in float32."""
    linear = TorchLinear(
        bits=quantize.bits, group_size=quantize.group_size, sym=quantize.sym, desc_act=False,
        in_features=module.in_features, out_features=module.out_features, bias=module.bias is not None,
    )
    scales, zeros = scales_and_zeros(module, quantize.bits, quantize.group_size, quantize.sym)
    linear.pack_original(module.float(), scales, zeros, linear.g_idx)
    linear.post_init()
    stored_scales, linear.scales = linear.scales, linear.scales.float()
    weight = linear.dequantize_weight().T
    linear.scales = stored_scales
    if quantize.format == FORMAT.GPTQ:
        convert_gptq_v2_to_v1_format_module(linear, quantize)
    return {part: getattr(linear, part) for part in ("qweight", "qzeros", "scales", "g_idx")}, weight


def awq(module, config):
    """The same of AWQ."""
    bits, group_size = config["bits"], config["group_size"]
    linear = AwqTorchLinear(
        bits=bits, group_size=group_size, sym=False, desc_act=False,
        in_features=module.in_features, out_features=module.out_features, bias=module.bias is not None,
    )
    scales, zeros = scales_and_zeros(module, bits, group_size, False)
    linear.pack(module.float(), scales, zeros)
    weight = dequantize_gemm(linear.qweight, linear.qzeros, linear.scales.float(), bits, group_size).T
    return {part: getattr(linear, part) for part in ("qweight", "qzeros", "scales")}, weight


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    generate(Path(__file__).parent / "tiny")
