"""A genuine GPT-2 as `pytorch_model.bin` in float32: greedy tokens, logits, and how far f16 is off."""

import torch
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from measure import error, greedy, line, logits_of, number, numbers, write_json

NEW_TOKENS = 32
# Name: ids in the prompt, and how many different ids there must be among the new ones. The model's own texts end after
# some fifty ids, so that the long prompt, which has more than one chunk of the engine's, is of random ids.
PROMPTS = {"few": (5, 16), "short": (12, 16), "long": (300, 4)}
TOP, OTHERS = 16, 48
ABOUT = (
    "torch float32 on the genuine weights; the ids are those of genera of microbes. new_ids: the greedy 32 new ids"
    " without stopping at EOS; eos_at: the index of the first EOS in them (generate stops after it), or null. logits: at"
    " the prompt's last position, the top 16 and 48 others. f16_error: model.half() on the CPU against float32, over the"
    " whole vocabulary, at the prompt's last position (prompt) and at every position that new_ids come from (new_ids)."
    " min_margin: the least by which a greedy id beat the second best, more than three times the largest f16 error."
)


def generate(folder, repo):
    disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(repo, dtype=torch.float32).eval()
    half = AutoModelForCausalLM.from_pretrained(repo, dtype=torch.float32).eval().half()
    prompts = []
    for name, (count, different) in PROMPTS.items():
        for seed in range(100):
            ids = random_prompt(model, count, seed) if name == "long" else sampled_prompt(model, count, seed)
            case = measure(model, half, ids)
            safe = case["min_margin"] > 3 * case["f16_error"]["new_ids"]["max_abs"]
            if safe and len(set(case["new_ids"].values)) >= different:
                break
        else:
            raise SystemExit(f"gpt2_bin {name}: no seed gives ids that f16 can't change and that tell something")
        print(
            f"gpt2_bin {name}: seed {seed}, margin {case['min_margin']:.3f},"
            f" f16 error {case['f16_error']['new_ids']['max_abs']:.4f}",
            flush=True,
        )
        prompts.append({"name": name, "seed": seed} | case)
    write_json(folder / "gpt2_bin.json", {"model": repo.name, "about": ABOUT, "prompts": prompts})


def sampled_prompt(model, count, seed):
    """What the model itself goes on with after BOS where it samples, without EOS: a text of its kind."""
    torch.manual_seed(seed)
    bos = torch.tensor([[model.config.bos_token_id]])
    length = {"min_new_tokens": count - 1, "max_new_tokens": count - 1}
    return model.generate(bos, attention_mask=torch.ones_like(bos), do_sample=True, **length)[0].tolist()


def random_prompt(model, count, seed):
    # None after BOS that has a meaning of its own: those come first in the vocabulary.
    first, end = model.config.eos_token_id + 1, model.config.vocab_size
    ids = torch.randint(first, end, (count - 1,), generator=torch.Generator().manual_seed(seed))
    return [model.config.bos_token_id, *ids.tolist()]


def measure(model, half, ids):
    new_ids, margins = greedy(model, ids, NEW_TOKENS)
    eos = model.config.eos_token_id
    sequence, last = ids + new_ids[:-1], len(ids) - 1
    exact, rough = logits_of(model, sequence)[last:], logits_of(half, sequence)[last:]
    top = exact[0].topk(TOP)
    order = torch.randperm(len(exact[0]), generator=torch.Generator().manual_seed(0))
    others = order[~torch.isin(order, top.indices)][:OTHERS].sort().values
    return {
        "input_ids": line(ids),
        "new_ids": line(new_ids),
        "eos_at": new_ids.index(eos) if eos in new_ids else None,
        "min_margin": number(min(margins)),
        "logits": {
            "top_ids": line(top.indices.tolist()),
            "top": line(numbers(top.values)),
            "other_ids": line(others.tolist()),
            "other": line(numbers(exact[0][others])),
        },
        "f16_error": {"prompt": error(rough[0], exact[0]), "new_ids": error(rough, exact)},
    }
