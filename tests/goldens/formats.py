"""Genuine checkpoints in every format that Layerline reads, and what Python reads from them.

Each folder of `formats/` is a small repo; its `expected.safetensors`, where it has one, has what torch gives for each
tensor, contiguous. The llama of `reference/` is what `bin*/`, `fp16*/` and `flax*/` hold too.
"""

import json
import shutil
from pathlib import Path

import flax.serialization
import jax.numpy as jnp
import numpy as np
import safetensors
import torch
from safetensors.torch import save_file
from transformers import FlaxLlamaForCausalLM, LlamaConfig, LlamaForCausalLM

OUT = Path(__file__).parent / "formats"

CONFIG = LlamaConfig(
    hidden_size=24,
    intermediate_size=40,
    num_hidden_layers=1,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=50,
    tie_word_embeddings=False,
)


def folder(name: str) -> Path:
    path = OUT / name
    path.mkdir(parents=True)
    return path


def weights_only(path: Path) -> None:
    """What save_pretrained writes beside the weights is not needed."""
    for name in ["config.json", "generation_config.json"]:
        (path / name).unlink(missing_ok=True)


def contiguous(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}


def llama() -> None:
    torch.manual_seed(0)
    model = LlamaForCausalLM(CONFIG)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    save_file(contiguous(model.state_dict()), folder("reference") / "model.safetensors", {"format": "pt"})
    for name, kwargs in {
        "bin": {},
        "bin-sharded": {"max_shard_size": "12KB"},
    }.items():
        model.save_pretrained(folder(name), safe_serialization=False, **kwargs)
        weights_only(OUT / name)
    # What transformers 5 reads is any state dict that torch.save wrote; protocol 2 is its own choice.
    torch.save(dict(model.state_dict()), folder("bin-plain-dict") / "pytorch_model.bin")
    flax_model = FlaxLlamaForCausalLM.from_pretrained(OUT / "reference", from_pt=True, config=CONFIG)
    flax_model.save_pretrained(folder("flax"))
    flax_model.save_pretrained(folder("flax-sharded"), max_shard_size="12KB")
    half = LlamaForCausalLM(CONFIG).half()
    half.load_state_dict(model.half().state_dict())
    save_file(contiguous(half.state_dict()), folder("fp16-single") / "expected.safetensors")
    for safe in [True, False]:
        half.save_pretrained(OUT / "fp16-single", safe_serialization=safe, variant="fp16")
        half.save_pretrained(OUT / "fp16-sharded", safe_serialization=safe, variant="fp16", max_shard_size="6KB")
    for name in ["flax", "flax-sharded", "fp16-single", "fp16-sharded"]:
        weights_only(OUT / name)


def state_dicts() -> None:
    """State dicts whose tensors are not all plain: views, shared storages, other dtypes."""
    torch.manual_seed(1)
    matrix, shared = torch.randn(7, 5), torch.randn(6, 4)
    tensors = {
        "plain": torch.randn(3, 4),
        "transposed": matrix.t(),
        "transposed_slice": torch.randn(9, 5)[2:7].t(),
        "rows_of_shared": shared[2:5],
        "shared": shared,
        "tied": shared,
        "bfloat16": torch.randn(3, 3).bfloat16(),
        "float16_transposed": torch.randn(5, 3).half().t(),
        "float64": torch.randn(2, 2, dtype=torch.float64),
        "int64": torch.arange(6).reshape(2, 3) - 3,
        "bool": torch.tensor([True, False, True]),
        "uint8": torch.tensor([0, 255], dtype=torch.uint8),
        "uint16": torch.tensor([0, 65535], dtype=torch.uint16),
        "float8_e4m3": torch.randn(2, 3).to(torch.float8_e4m3fn),
        "float8_e5m2": torch.randn(2, 3).to(torch.float8_e5m2),
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 3),
        "one_column": torch.randn(4, 1),
        "parameter": torch.nn.Parameter(torch.randn(2, 2)),
        "complex64": torch.tensor([1 + 2j]),
    }
    path = folder("state-dict")
    strided = {"every_second_column": torch.randn(3, 8)[:, ::2], "expanded": torch.randn(1, 3).expand(4, 3)}
    no_tensors = {"epoch": 3, "lr": 1e-4, "name": "run", "nested": {"a": [1, (2, None)]}}
    torch.save({**tensors, **strided, **no_tensors}, path / "pytorch_model.bin")
    save_file(contiguous(tensors), path / "expected.safetensors")

    torch.save({"model_state_dict": tensors, "epoch": 1}, folder("nested") / "pytorch_model.bin")
    plain = {"w": torch.randn(2, 2)}
    torch.save(plain, folder("legacy") / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), folder("torchscript") / "pytorch_model.bin")
    torch.save({"w": torch.nn.Linear(2, 2)}, folder("module") / "pytorch_model.bin")


def flax_trees() -> None:
    """What a causal language model doesn't have: bfloat16, statistics, convolutions, chunks."""
    torch.manual_seed(2)
    kernel = np.arange(12, dtype=np.float32).reshape(3, 4)
    conv = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    tree = {
        "params": {
            "dense": {"kernel": jnp.asarray(kernel, dtype=jnp.bfloat16), "bias": np.zeros(4, np.float16)},
            "norm": {"scale": np.ones(3, np.float32), "bias": np.zeros(3, np.float64)},
            "conv": {"kernel": conv},
            "conv1d": {"kernel": conv[0]},
            "embed": {"embedding": kernel + 1},
            "scalar": np.float32(3),
        },
        "batch_stats": {"norm": {"mean": kernel[0], "var": kernel[1]}},
    }
    (folder("flax-tree") / "flax_model.msgpack").write_bytes(flax.serialization.to_bytes(tree))
    expected = {
        "dense.weight": torch.tensor(kernel.T.copy()).bfloat16(),
        "dense.bias": torch.zeros(4, dtype=torch.float16),
        "norm.weight": torch.ones(3),
        "norm.bias": torch.zeros(3, dtype=torch.float64),
        "embed.weight": torch.tensor(kernel + 1),
        "norm.running_mean": torch.tensor(kernel[0]),
        "norm.running_var": torch.tensor(kernel[1]),
        "scalar": torch.tensor(3.0),
    }
    save_file(contiguous(expected), OUT / "flax-tree" / "expected.safetensors")

    flax.serialization.MAX_CHUNK_SIZE = 40
    chunked = {"small": {"embedding": kernel[0, :2]}, "one": {"embedding": kernel}, "two": {"kernel": kernel}}
    flax.serialization.MAX_CHUNK_SIZE = 32
    (folder("flax-chunked") / "flax_model.msgpack").write_bytes(flax.serialization.to_bytes(chunked))


DTYPES = {
    "bool": torch.bool,
    "uint8": torch.uint8,
    "int8": torch.int8,
    "int16": torch.int16,
    "uint16": torch.uint16,
    "int32": torch.int32,
    "uint32": torch.uint32,
    "int64": torch.int64,
    "uint64": torch.uint64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
    "float8_e4m3fn": torch.float8_e4m3fn,
    "float8_e5m2": torch.float8_e5m2,
    "float8_e8m0fnu": torch.float8_e8m0fnu,
    "float8_e4m3fnuz": torch.float8_e4m3fnuz,
    "float8_e5m2fnuz": torch.float8_e5m2fnuz,
}


def values(dtype: torch.dtype) -> torch.Tensor:
    """[rows, 13]: every value of one byte or a good part of it; else the edges and random ones."""
    if dtype.itemsize == 1 and dtype != torch.bool:
        return torch.arange(260).remainder(256).to(torch.uint8).view(dtype).reshape(20, 13)
    generator = torch.Generator().manual_seed(3)
    if dtype == torch.bool:
        return torch.randint(0, 2, (2, 13), generator=generator).bool()
    count = 20 * 13
    if not dtype.is_floating_point:
        info = torch.iinfo(dtype)
        bits = info.bits
        # Of all magnitudes, so that some are exact in each float and some are ties.
        edges = [info.min, info.max, 0, 1] + [
            sign * ((1 << k) + d)
            for k in range(1, bits)
            for d in (-1, 0, 1, 1 << max(k - 24, 0), 3 << max(k - 25, 0), 1 << max(k - 11, 0))
            for sign in (1, -1)
        ]
        edges = [v for v in dict.fromkeys(edges) if info.min <= v <= info.max]
        edges = edges[:: max(1, len(edges) // (count - 1) + 1)][:count] if len(edges) > count else edges
        return torch.tensor(np.resize(np.array(edges, dtype=str(dtype).split(".")[1]), count)).reshape(20, 13)
    edges = [0.0, -0.0, 1.0, float("inf"), float("-inf"), float("nan"), 65504.0, 65519.99, 65520.0, -65520.0, 1e38]
    # Around the steps of float16, bfloat16 and float32, normal and subnormal: ties, and just beside them.
    for low, bits in [(-14, 10), (-24, 0), (-25, 0), (-126, 23), (-149, 0), (-150, 0), (-133, 0), (-134, 0), (3, 7)]:
        base = 2.0**low
        for part in [1, 1.5, 2.5, 0.75]:
            for nudge in [0, 2.0**-40, -(2.0**-40)]:
                edges += [base * part * (1 + nudge), base * (1 + part * 2.0**-bits * 0.5 + nudge)]
    edges += [3.4028235677973366e38, 3.4028235677973362e38, 3.402823466e38, 1e-310, 5e-324]
    random = torch.randn(count, generator=generator, dtype=torch.float64)
    random *= torch.exp2(torch.randint(-30, 18, (count,), generator=generator).double())
    edges = torch.tensor(edges, dtype=torch.float64)[:count]
    return torch.cat([edges, random])[:count].to(dtype).reshape(20, 13)


def canonical(tensor: torch.Tensor) -> torch.Tensor:
    """One NaN for all: which one comes out is up to the instruction."""
    return torch.where(tensor.isnan(), torch.full_like(tensor, float("nan")), tensor)


def dtypes() -> None:
    path = folder("dtypes")
    tensors = {name: values(dtype) for name, dtype in DTYPES.items()}
    raw = {name: (tensor.view(torch.uint8).numpy().copy(), list(tensor.shape)) for name, tensor in tensors.items()}
    # torch has neither of them to cast from.
    raw["float4_e2m1fn_x2"] = (np.arange(24, dtype=np.uint8), [4, 6])
    raw["complex64"] = (np.arange(24, dtype=np.uint8), [3])
    specs = {
        name: safetensors.TensorSpec(dtype=name, shape=shape, data_ptr=data.ctypes.data, data_len=data.nbytes)
        for name, (data, shape) in raw.items()
    }
    (path / "model.safetensors").write_bytes(safetensors.serialize(specs))
    expected = {}
    for name, tensor in tensors.items():
        for to in [torch.float32, torch.float16, torch.bfloat16]:
            expected[f"{name}.{str(to).split('.')[1]}"] = canonical(tensor.to(to))
    save_file(expected, path / "expected.safetensors")


def main() -> None:
    shutil.rmtree(OUT, ignore_errors=True)
    llama()
    state_dicts()
    flax_trees()
    dtypes()
    sizes = {str(p.relative_to(OUT)): p.stat().st_size for p in sorted(OUT.rglob("*")) if p.is_file()}
    print(json.dumps(sizes, indent=1), sum(sizes.values()))


if __name__ == "__main__":
    main()
