"""Writes attentions.json: the attention weights that torch gives for checkpoints of the other goldens.

Run with torch and transformers installed: python tests/goldens/attentions.py
"""

import pathlib

import torch
import transformers
from transformers import AutoModel, AutoModelForCausalLM

from measure import error, line, numbers, write_json

HERE = pathlib.Path(__file__).parent
# Of one a single layer attends; of others keys are normed, scores capped, windows slid, distances biased.
CHECKPOINTS = {
    "tiny/llama-f32": AutoModelForCausalLM,
    "tiny/gpt2": AutoModelForCausalLM,
    "tiny/qwen3": AutoModelForCausalLM,
    "tiny/gemma2": AutoModelForCausalLM,
    "tiny/lfm2": AutoModelForCausalLM,
    "encoders/bert-base": AutoModel,
    "encoders/modernbert-base": AutoModel,
    "encoders/mpnet-base": AutoModel,
}
TOKENS = 11

ABOUT = (
    "torch float32 on these checkpoints: of each layer, by which share each token attends to each, [heads][n][n]."
    " f16_error: the same by the model in float16."
)


def attentions(folder, kind, dtype, ids):
    model = kind.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()
    return [layer[0].float() for layer in model(input_ids=torch.tensor([ids]), output_attentions=True).attentions]


def case(name, kind):
    ids = torch.randint(3, 130, (TOKENS,), generator=torch.Generator().manual_seed(len(name))).tolist()
    exact, rough = (attentions(HERE / name, kind, dtype, ids) for dtype in (torch.float32, torch.float16))
    return {
        "name": name,
        "input_ids": line(ids),
        "f16_error": error(torch.stack(rough), torch.stack(exact)),
        "attentions": [[[line(numbers(row)) for row in head] for head in layer] for layer in exact],
    }


def main():
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    made_by = {"torch": torch.__version__, "transformers": transformers.__version__}
    cases = [case(name, kind) for name, kind in CHECKPOINTS.items()]
    write_json(HERE / "attentions.json", {"made_by": made_by, "about": ABOUT, "cases": cases})


if __name__ == "__main__":
    main()
