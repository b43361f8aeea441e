"""What all model goldens need: greedy decoding with its margins, the error of f16, and compact JSON."""

import json
import re

import torch


def greedy(model, input_ids, new_tokens):
    """Greedy new ids that don't stop at EOS, and by how much each beat the second best token."""
    prompt = torch.tensor([input_ids])
    out = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=new_tokens,
        do_sample=False,
        use_cache=True,
        eos_token_id=None,
        pad_token_id=0,
        output_logits=True,
        return_dict_in_generate=True,
    )
    best = torch.stack(out.logits)[:, 0].topk(2, dim=-1).values
    return out.sequences[0, len(input_ids) :].tolist(), (best[:, 0] - best[:, 1]).tolist()


def logits_of(model, input_ids):
    """[len(input_ids), vocab] in float32."""
    return model(torch.tensor([input_ids])).logits[0].float()


def error(got, expected):
    difference = (got - expected).double()
    return {"max_abs": number(difference.abs().max()), "rms": number(difference.square().mean().sqrt())}


def number(value):
    # 8 digits: half a unit in the last place of a float32 is 6e-8 of it.
    return float(f"{float(value):.8g}")


def numbers(values):
    return [number(value) for value in values.tolist()]


def write_json(path, value):
    """Indented, but with each list of numbers on one line."""
    text = json.dumps(value, indent=1, ensure_ascii=False, default=_Line.mark)
    path.write_text(_Line.unmark(text) + "\n", encoding="utf-8")


class _Line:
    """A list to be written on one line."""

    kept = {}

    def __init__(self, values):
        self.values = values
        self.text = json.dumps(values, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def mark(cls, line):
        key = f"@@line{len(cls.kept)}@@"
        cls.kept[f'"{key}"'] = line.text
        return key

    @classmethod
    def unmark(cls, text):
        return re.sub(r'"@@line\d+@@"', lambda match: cls.kept[match.group()], text)


line = _Line
