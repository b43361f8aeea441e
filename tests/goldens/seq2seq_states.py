"""Writes seq2seq_states.json: the hidden states that torch gives for checkpoints of seq2seq/, in both stacks.

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

ABOUT = (
    "torch float32 on these checkpoints, for the first input of their golden.json: the rows of positions of the embeddings"
    " and of what each layer gives, the last after the final norm where there is one. f16_error: the same by the model in"
    " float16."
)


def states(folder, dtype, one):
    model = loaded(folder, dtype)
    ids = torch.tensor([one["decoder_input_ids"]])
    outputs = model(**source(model, one), decoder_input_ids=ids, output_hidden_states=True)
    return {stack: torch.stack([state[0].float() for state in outputs[stack]]) for stack in STACKS}


def case(name):
    folder = HERE / "seq2seq" / name
    one = json.loads((folder / "golden.json").read_text())["inputs"][0]
    exact, rough = (states(folder, dtype, one) for dtype in (torch.float32, torch.float16))
    positions = {stack: kept_positions(exact[stack].shape[1]) for stack in STACKS}
    kept = {stack: [[line(numbers(row)) for row in layer[positions[stack]]] for layer in exact[stack]] for stack in STACKS}
    return {
        "name": name,
        "positions": {stack: line(rows) for stack, rows in positions.items()},
        "f16_error": {stack: error(rough[stack], exact[stack]) for stack in STACKS},
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
