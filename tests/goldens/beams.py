#!/usr/bin/env python3
"""Writes beams.json: what beam search finds on the tiny checkpoints of `tiny` and `seq2seq`.

    /tmp/goldens/bin/python tests/goldens/beams.py
"""

import json
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    GenerationMixin,
    LogitsProcessor,
    WhisperForConditionalGeneration,
)
from transformers.utils.logging import disable_progress_bar

from measure import line, number, write_json

HERE = Path(__file__).parent
MODELS = ["tiny/llama-f32", "tiny/qwen2-windows", "tiny/gemma2", "tiny/gpt2", "tiny/qwen3_moe", "tiny/lfm2", "seq2seq/bart",
          "seq2seq/marian", "seq2seq/m2m_100", "seq2seq/t5", "seq2seq/whisper"]  # fmt: skip
# BAD stands for words of the likeliest text, EOS for ids that it comes to, FIRST and LAST for ids that it neither begins nor ends with.
OPTIONS = [
    dict(num_beams=4),
    dict(num_beams=3, num_return_sequences=3, length_penalty=2.0, early_stopping=True, eos_token_id="EOS"),
    dict(num_beams=2, early_stopping="never", length_penalty=-0.7, repetition_penalty=1.3, eos_token_id="EOS"),
    dict(num_beams=2, early_stopping="never", length_penalty=1.5, eos_token_id="EOS"),
    dict(num_beams=5, num_return_sequences=2, no_repeat_ngram_size=2, min_new_tokens=5, eos_token_id="EOS"),
]
BAD = [dict(num_beams=3, num_return_sequences=2, bad_words_ids="BAD", renormalize_logits=True)]
FORCED = [dict(num_beams=3, num_return_sequences=2, forced_bos_token_id="FIRST", forced_eos_token_id="LAST")]
NEW_TOKENS = 12
# Noise that must not change what is found, as a multiple of float16's own error.
NOISE = 3

ABOUT = (
    "torch float32, transformers' generate: the new ids of the sequences, best first, padding cut off, and their scores."
    " f16_error: how far a logit is off in float16 at most, at the first step; noise of three times as much changes no id."
)


class Noise(LogitsProcessor):
    def __init__(self, size, seed):
        self.size, self.random = size, torch.Generator().manual_seed(seed)

    def __call__(self, input_ids, scores):
        noise = torch.rand(scores.shape, generator=self.random) * 2 - 1
        return scores + noise * self.size


def class_of(name):
    if name.startswith("seq2seq/whisper"):
        return WhisperForConditionalGeneration
    return AutoModelForSeq2SeqLM if name.startswith("seq2seq") else AutoModelForCausalLM


def loaded(name, dtype):
    model = class_of(name).from_pretrained(HERE / name, dtype=dtype, attn_implementation="eager").eval()
    if model._can_set_experts_implementation():
        model.set_experts_implementation("eager")
    return model


def input_of(name, model, seed):
    """What is read: as the golden has it, and as `generate` takes it."""
    if "whisper" in name:
        inputs = json.loads((HERE / name / "golden.json").read_text())["inputs"]
        one = inputs[seed % len(inputs)]
        return {"input": one["name"]}, {"input_features": torch.tensor([one["input_features"]])}
    ids = torch.randint(4, model.config.vocab_size - 1, (7,), generator=torch.Generator().manual_seed(seed))
    return {"input_ids": line(ids.tolist())}, {"input_ids": ids[None], "attention_mask": torch.ones(1, 7, dtype=torch.long)}


def search(model, read, options, noise=None):
    processors = [noise] if noise else []
    found = GenerationMixin.generate(
        model, **{"eos_token_id": None, **options}, **read, max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0,
        logits_processor=processors, output_scores=True, return_dict_in_generate=True,
    )  # fmt: skip
    given = 1 if model.config.is_encoder_decoder else read["input_ids"].shape[1]
    eos = options.get("eos_token_id") or []
    return [cut(ids[given:].tolist(), eos) for ids in found.sequences], found.sequences_scores.tolist()


def cut(ids, eos):
    """Without what comes behind the first end."""
    ends = [at + 1 for at, id in enumerate(ids) if id in eos]
    return ids[: min(ends, default=len(ids))]


def float16_error(model, half, read):
    of = lambda model, dtype: GenerationMixin.generate(
        model, **{key: value.to(dtype) if value.is_floating_point() else value for key, value in read.items()},
        max_new_tokens=1, do_sample=False, eos_token_id=None, pad_token_id=0, output_logits=True, return_dict_in_generate=True,
    ).logits[0].float()  # fmt: skip
    return (of(model, torch.float32) - of(half, torch.float16)).abs().max().item()


def filled_in(options, free, vocab):
    """The options with ids for what stands for them."""
    # What the likeliest text comes to, and ids that are far from it.
    ids = {"BAD": [[free[0]], [free[2], free[3]]], "EOS": sorted({free[4], free[7]}), "FIRST": (free[0] + 11) % vocab, "LAST": (free[-1] + 7) % vocab}
    return {key: ids.get(value, value) if isinstance(value, str) else value for key, value in options.items()}


def cases_of(name):
    model, half = loaded(name, torch.float32), loaded(name, torch.float16)
    wanted = OPTIONS + (BAD if name in ("tiny/llama-f32", "seq2seq/marian") else []) + (FORCED if model.config.is_encoder_decoder else [])
    for nth, options in enumerate(wanted):
        for seed in range(100):
            written, read = input_of(name, model, 100 * nth + seed)
            free = search(model, read, dict(num_beams=4))[0][0]
            own = filled_in(options, free, model.config.vocab_size)
            texts, scores = search(model, read, own)
            error = float16_error(model, half, read)
            if all(search(model, read, own, Noise(NOISE * error, seed))[0] == texts for seed in range(3)):
                break
        else:
            print(f"{name}: nothing that noise can't change for {options}", flush=True)
            continue
        yield {"model": name, **written, "options": own, "sequences": [line(ids) for ids in texts],
               "scores": line([number(score) for score in scores]), "f16_error": number(error)}  # fmt: skip


def main():
    disable_progress_bar()
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    cases = []
    for name in MODELS:
        cases.extend(cases_of(name))
        print(name, len(cases), flush=True)
    write_json(HERE / "beams.json", {"about": ABOUT, "max_new_tokens": NEW_TOKENS, "cases": cases})


if __name__ == "__main__":
    main()
