"""What torch computes from the sample model in float32: greedy tokens, logits, and how far f16 is off."""

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from measure import error, greedy, line, logits_of, number, numbers, write_json
from prompts import PROMPTS

NEW_TOKENS = 64
TOP = 32
OTHERS = 256
ABOUT = (
    "torch float32 on the sample model. new_ids: the greedy 64 new ids without stopping at EOS; eos_at: the index of the"
    " first EOS in them (generate stops after it), or null. logits: at the prompt's last position, the top 32 and 256"
    " others. f16_error: model.half() on the CPU against float32, over the whole vocabulary, at the prompt's last"
    " position (prompt) and at every position that new_ids come from (new_ids). min_margin: the least by which a greedy"
    " id beat the second best; every prompt here has at least twice the largest f16 error, which is what it takes for"
    " rounding to f16 not to be able to change an id."
)


def generate(folder, sample):
    tokenizer = PreTrainedTokenizerFast.from_pretrained(sample)
    model = AutoModelForCausalLM.from_pretrained(sample, dtype=torch.float32).eval()
    half = AutoModelForCausalLM.from_pretrained(sample, dtype=torch.float32).eval().half()
    cases = []
    for name, prompt in PROMPTS.items():
        case = measure(model, half, tokenizer, prompt)
        enough = case["min_margin"] >= 2 * case["f16_error"]["new_ids"]["max_abs"]
        print(
            f"smollm2 {name}: {len(case['input_ids'].values)} ids, margin {case['min_margin']:.3f},"
            f" f16 error {case['f16_error']['new_ids']['max_abs']:.3f}{'' if enough else ', LEFT OUT'}",
            flush=True,
        )
        if enough:
            cases.append({"name": name} | case)
            write_json(folder / "smollm2.json", {"model": sample.name, "about": ABOUT, "prompts": cases})


def measure(model, half, tokenizer, prompt):
    if isinstance(prompt, str):
        source, ids = {"text": prompt}, tokenizer(prompt).input_ids
    else:
        ids = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)
        source = {"messages": prompt}
    new_ids, margins = greedy(model, ids, NEW_TOKENS)
    eos = model.config.eos_token_id
    eos_at = new_ids.index(eos) if eos in new_ids else None

    sequence, last = ids + new_ids[:-1], len(ids) - 1
    exact, rounded = logits_of(model, sequence)[last:], logits_of(half, sequence)[last:]
    top = exact[0].topk(TOP)
    order = torch.randperm(len(exact[0]), generator=torch.Generator().manual_seed(0))
    others = order[~torch.isin(order, top.indices)][:OTHERS].sort().values
    return source | {
        "input_ids": line(ids),
        "new_ids": line(new_ids),
        "eos_at": eos_at,
        "completion": tokenizer.decode(new_ids if eos_at is None else new_ids[: eos_at + 1]),
        "min_margin": number(min(margins)),
        "min_margin_to_eos": number(min(margins if eos_at is None else margins[: eos_at + 1])),
        "logits": {
            "top_ids": line(top.indices.tolist()),
            "top": line(numbers(top.values)),
            "other_ids": line(others.tolist()),
            "other": line(numbers(exact[0][others])),
        },
        "f16_error": {"prompt": error(rounded[0], exact[0]), "new_ids": error(rounded, exact)},
    }
