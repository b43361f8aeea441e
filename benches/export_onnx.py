"""Exports a Llama checkpoint to ONNX in float32, with the inputs and outputs that transformers.js expects.

python export_onnx.py MODEL_FOLDER OUT_FOLDER
"""

import shutil
import sys
from pathlib import Path

import onnxruntime
import torch
from transformers import AutoModelForCausalLM, DynamicCache

OTHER_FILES = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]


class WithFlatCache(torch.nn.Module):
    """The model with keys and values as a flat list of tensors of shape [batch, kv heads, past tokens, head dim]."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, position_ids, *flat):
        cache = DynamicCache(config=self.model.config)
        for layer in range(len(flat) // 2):
            cache.update(flat[2 * layer], flat[2 * layer + 1], layer)
        past = flat[0].shape[2]
        # Made here, because the model's own way of making it can't be traced: a query sees what came before it.
        keys = torch.arange(attention_mask.shape[1])
        queries = torch.arange(input_ids.shape[1]) + past
        seen = (keys[None, :] <= queries[:, None])[None, None] & attention_mask[:, None, None, :].bool()
        mask = torch.where(seen, 0.0, torch.finfo(torch.float32).min)
        out = self.model(
            input_ids=input_ids, attention_mask=mask, position_ids=position_ids, past_key_values=cache, use_cache=True
        )
        present = [tensor for layer in out.past_key_values.layers for tensor in (layer.keys, layer.values)]
        return out.logits, *present


def example(config, tokens, past):
    """Inputs for `tokens` tokens after `past` others."""
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    ids = torch.randint(0, config.vocab_size, (1, tokens), generator=torch.Generator().manual_seed(0))
    mask = torch.ones(1, past + tokens, dtype=torch.int64)
    positions = torch.arange(past, past + tokens)[None]
    shape = (1, config.num_key_value_heads, past, head_dim)
    cache = [torch.randn(shape, generator=torch.Generator().manual_seed(i)) for i in range(2 * config.num_hidden_layers)]
    return ids, mask, positions, *cache


def main(source, out):
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, attn_implementation="eager").eval()
    wrapped = WithFlatCache(model)
    config = model.config

    parts = [f"{layer}.{part}" for layer in range(config.num_hidden_layers) for part in ("key", "value")]
    past, present = [f"past_key_values.{part}" for part in parts], [f"present.{part}" for part in parts]
    inputs = ["input_ids", "attention_mask", "position_ids", *past]
    axes = {name: {0: "batch", 1: "tokens"} for name in ("input_ids", "position_ids", "logits")}
    axes["attention_mask"] = {0: "batch", 1: "total"}
    axes |= {name: {0: "batch", 2: "past"} for name in past} | {name: {0: "batch", 2: "total"} for name in present}

    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "onnx").mkdir(parents=True)
    file = partial / "onnx" / "model.onnx"
    with torch.no_grad():
        torch.onnx.export(
            wrapped,
            example(config, tokens=3, past=2),
            file,
            input_names=inputs,
            output_names=["logits", *present],
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )
        # A prompt and a decode step, of other lengths than what was traced.
        session = onnxruntime.InferenceSession(file)
        for tokens, length in [(7, 0), (1, 5)]:
            args = example(config, tokens, length)
            (logits,) = session.run(["logits"], dict(zip(inputs, (arg.numpy() for arg in args), strict=True)))
            torch.testing.assert_close(torch.from_numpy(logits), wrapped(*args)[0], rtol=1e-3, atol=1e-3)

    for name in OTHER_FILES:
        shutil.copy(source / name, partial / name)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
