"""Writes seq2seq_states.json: the hidden states and the attention weights that torch gives for checkpoints of seq2seq/, in both
stacks.

Run with torch and transformers installed: python tests/goldens/seq2seq_states.py
"""

import json
import pathlib

import torch
import transformers

from measure import error, line, numbers, write_json
from seq2seq import kept_positions, loaded, source

HERE = pathlib.Path(__file__).parent
CHECKPOINTS = ("bart-f32", "marian", "t5", "whisper")
STACKS = ("encoder_hidden_states", "decoder_hidden_states")
ATTENTIONS = ("encoder_attentions", "decoder_attentions", "cross_attentions")

ABOUT = (
    "torch float32 on these checkpoints, for the first input of their golden.json: the rows of positions of the embeddings"
    " and of what each layer gives, the last after the final norm where there is one; of each layer's attention, by which share a"
    " position attends to each, [position][head][n]. f16_error: the same by the model in float16."
)


def states(folder, dtype, one):
    model = loaded(folder, dtype)
    model.set_attn_implementation("eager")
    ids = torch.tensor([one["decoder_input_ids"]])
    asked = {"output_hidden_states": True, "output_attentions": True}
    outputs = model(**source(model, one), decoder_input_ids=ids, **asked)
    layers = {kind: torch.stack([layer[0].float() for layer in outputs[kind]]) for kind in STACKS + ATTENTIONS}
    # By positions, as hidden states are.
    return {kind: layer.transpose(1, 2) if kind in ATTENTIONS else layer for kind, layer in layers.items()}


def case(name):
    folder = HERE / "seq2seq" / name
    one = json.loads((folder / "golden.json").read_text())["inputs"][0]
    exact, rough = (states(folder, dtype, one) for dtype in (torch.float32, torch.float16))
    positions = {kind: kept_positions(exact[kind].shape[1]) for kind in exact}
    rows = lambda row: line(numbers(row)) if row.dim() == 1 else [rows(one) for one in row]
    kept = {kind: [[rows(row) for row in layer[positions[kind]]] for layer in exact[kind]] for kind in exact}
    return {
        "name": name,
        "positions": {kind: line(rows) for kind, rows in positions.items()},
        "f16_error": {kind: error(rough[kind], exact[kind]) for kind in exact},
        **kept,
    }


def main():
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    made_by = {"torch": torch.__version__, "transformers": transformers.__version__}
    write_json(
        HERE / "seq2seq_states.json", {"made_by": made_by, "about": ABOUT, "cases": [case(name) for name in CHECKPOINTS]}
    )


if __name__ == "__main__":
    main()
