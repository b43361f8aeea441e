"""Writes inputs.json: what torch gives for checkpoints of the other goldens where positions are told, and where rows are read in
the embeddings' place.

Run with torch and transformers installed: python tests/goldens/inputs.py
"""

import math
import pathlib

import torch
import transformers
from transformers import AutoModel, AutoModelForCausalLM

from measure import error, line, numbers, write_json

HERE = pathlib.Path(__file__).parent
# Angles, of one rope, of one that a long text turns otherwise, of two with windows; tables of positions, of plain ones, behind
# padding's, and in one with token types.
CHECKPOINTS = {
    "tiny/llama-f32": AutoModelForCausalLM,
    "tiny/llama-dynamic": AutoModelForCausalLM,
    "tiny/gemma3": AutoModelForCausalLM,
    "tiny/gpt2": AutoModelForCausalLM,
    "encoders/bert-base": AutoModel,
    "encoders/roberta-base": AutoModel,
    "encoders/modernbert-base": AutoModel,
}
TOKENS = 7
NEW = 6
# A gap, a step back, and one that comes twice.
POSITIONS = [2, 3, 4, 9, 17, 5, 5]
# By how much a new token must beat the second best, in units of float16's error.
MARGIN = 4

ABOUT = (
    "torch float32 on these checkpoints. rows: of the last two tokens, logits or the last hidden states. greedy: the new ids of a"
    " decoder. position_ids: told to the model, with a mask of ones. embeds: inputs_embeds[t][k] = scale * sin(0.37 (t width + k) + 1)"
    " of float64s, rounded to float32. f16_error: the same by the model in float16."
)


def embeds_of(width, scale):
    values = [scale * math.sin(0.37 * i + 1) for i in range(TOKENS * width)]
    return torch.tensor(values, dtype=torch.float64).float().reshape(1, TOKENS, width)


def rows(model, inputs):
    output = model(**inputs)
    return (output.logits if "logits" in output else output.last_hidden_state)[0, -2:].float()


def greedy(model, inputs):
    out = model.generate(
        **inputs,
        max_new_tokens=NEW,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        output_logits=True,
        return_dict_in_generate=True,
    )
    best = torch.stack(out.logits)[:, 0].float().topk(2, dim=-1).values
    return out.sequences[0, -NEW:].tolist(), float((best[:, 0] - best[:, 1]).min())


def case(name, kind, positions, scale, seed):
    ids = torch.randint(3, 130, (1, TOKENS), generator=torch.Generator().manual_seed(seed))
    models = [kind.from_pretrained(HERE / name, dtype=dtype, attn_implementation="eager").eval() for dtype in (torch.float32, torch.float16)]
    width = models[0].config.hidden_size
    inputs = {"attention_mask": torch.ones_like(ids)}
    if positions is not None:
        inputs["position_ids"] = torch.tensor([positions])
    if scale is None:
        inputs["input_ids"] = ids
    of = lambda model: inputs if scale is None else {**inputs, "inputs_embeds": embeds_of(width, scale).to(model.dtype)}
    exact, rough = (rows(model, of(model)) for model in models)
    error_of = error(rough, exact)
    made = {"name": name, "input_ids": line(ids[0].tolist() if scale is None else [0] * TOKENS)}
    if positions is not None:
        made["position_ids"] = line(positions)
    if scale is not None:
        made["embeds_scale"] = scale
    made["f16_error"] = error_of
    made["rows"] = [line(numbers(row)) for row in exact]
    if kind is AutoModelForCausalLM:
        new, margin = greedy(models[0], of(models[0]))
        if margin < MARGIN * error_of["max_abs"]:
            return None
        made["greedy"] = line(new)
    return made


def seeded(name, kind, positions, scale):
    """The first seed by which no token is chosen by a hair; rows have none, but a scale."""
    for seed in range(50):
        made = case(name, kind, positions, scale and round(scale + seed / 100, 2), seed)
        if made:
            return made
    raise ValueError(f"no seed for {name}")


def main():
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    made_by = {"torch": torch.__version__, "transformers": transformers.__version__}
    cases = [
        seeded(name, kind, positions, scale)
        for name, kind in CHECKPOINTS.items()
        for positions, scale in ((POSITIONS, None), (None, 0.5), (POSITIONS, 0.5))
    ]
    # So far that the angles change.
    far = [position + 60 for position in POSITIONS]
    cases.append(seeded("tiny/llama-dynamic", AutoModelForCausalLM, far, None))
    write_json(HERE / "inputs.json", {"made_by": made_by, "about": ABOUT, "cases": cases})


if __name__ == "__main__":
    main()
