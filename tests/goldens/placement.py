"""Writes placement.json: the device maps that accelerate infers for models of many kinds and budgets.

Run with torch, transformers and accelerate installed: python tests/goldens/placement.py
"""

import pathlib

import accelerate
import torch
import transformers
from accelerate import infer_auto_device_map, init_empty_weights
from accelerate.utils.modeling import convert_file_size_to_int, find_tied_parameters, get_balanced_memory
from transformers import AutoConfig, AutoModelForCausalLM

from measure import line, write_json

SMALL = dict(vocab_size=131, hidden_size=72, intermediate_size=100, num_attention_heads=6, num_key_value_heads=2)
MODELS = {
    "llama, tied": ("llama", dict(SMALL, num_hidden_layers=5, tie_word_embeddings=True)),
    "llama, untied": ("llama", dict(SMALL, num_hidden_layers=4, tie_word_embeddings=False)),
    "a large embedding": ("qwen2", dict(SMALL | {"vocab_size": 5000}, num_hidden_layers=3, tie_word_embeddings=True)),
    "a large head": ("qwen2", dict(SMALL | {"vocab_size": 5000}, num_hidden_layers=3, tie_word_embeddings=False)),
    "norms everywhere": ("gemma2", dict(SMALL, num_hidden_layers=3, head_dim=20, tie_word_embeddings=True)),
}
# Of the GPU, and of the CPU, in parts of the whole; None: not named.
FRACTIONS = [
    (2.0, None), (1.2, None), (1.0, None), (0.8, None), (0.6, None), (0.3, None), (0.1, None), (0.0, None),
    (0.6, 2.0), (0.6, 0.4), (0.4, 0.3), (0.3, 0.2), (0.0, 2.0), (None, 2.0), (None, 0.5), (None, None),
]  # fmt: skip
SIZES = ["1GiB", "2.5gib", "500MB", "1_000KB", "8Gb", "0.5 GB", "100kib", "1e3MB", "12", "GB", "-1GB", "5TB", "", "1.5.2MB"]


def tensors(model):
    """Names and bytes, in the model's order; a tied tensor counts where it comes first."""
    seen = set()
    both = list(model.named_parameters(remove_duplicate=False)) + list(model.named_buffers())
    rows = []
    for name, tensor in both:
        rows.append([name, 0 if id(tensor) in seen else tensor.numel() * tensor.element_size()])
        seen.add(id(tensor))
    order = {name: i for i, (name, _) in enumerate(model.named_modules())}
    return sorted(rows, key=lambda row: order[row[0].rpartition(".")[0]])


def size(text):
    try:
        return convert_file_size_to_int(text)
    except ValueError:
        return None


def main():
    models = []
    for name, (model_type, keys) in MODELS.items():
        config = AutoConfig.for_model(model_type, **keys)
        with init_empty_weights():
            model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
        model.tie_weights()
        rows = tensors(model)
        whole = sum(count for _, count in rows)
        no_split = model._no_split_modules
        cases = []
        for gpu, cpu in FRACTIONS:
            given = {0: gpu, "cpu": cpu}
            budget = {device: int(part * whole) for device, part in given.items() if part is not None}
            inferred = get_balanced_memory(model, max_memory=dict(budget), no_split_module_classes=no_split)
            found = infer_auto_device_map(model, max_memory=inferred, no_split_module_classes=no_split)
            found = {module: str(device) for module, device in sorted(found.items())}
            cases.append({"gpu": budget.get(0), "cpu": budget.get("cpu"), "map": found})
        models.append(
            {
                "name": name,
                "tensors": [line(row) for row in rows],
                "tied": [line(sorted(group)) for group in find_tied_parameters(model)],
                "whole": line([name for name, module in model.named_modules() if type(module).__name__ in no_split]),
                "cases": cases,
            }
        )
    made_by = {"accelerate": accelerate.__version__, "transformers": transformers.__version__}
    sizes = [line([text, size(text)]) for text in SIZES]
    write_json(pathlib.Path(__file__).with_suffix(".json"), {"made_by": made_by, "sizes": sizes, "models": models})


main()
