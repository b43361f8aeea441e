"""Writes processors.json: what transformers' generate makes of logits before it chooses a token, step by step.

A tiny llama with random weights generates; its raw logits, the processed scores and the ids are all transformers' own.
Run with torch and transformers installed: python tests/goldens/processors.py
"""

import copy
import json
import math
import pathlib

import numpy
import torch
import transformers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

VOCAB = 60
STEPS = 3
PROMPT = [3, 14, 15, 9, 26, 5, 35, 14]

# name, arguments of generate, the model's own generation config
CASES = [
    ("repetition penalty, greedy", {"repetition_penalty": 9.5}, {}),
    ("repetition penalty below 1, the model's", {}, {"repetition_penalty": 0.7}),
    ("no_repeat_ngram_size of 2, greedy", {"no_repeat_ngram_size": 2}, {}),
    ("no_repeat_ngram_size of 1, the model's", {}, {"no_repeat_ngram_size": 1}),
    ("no_repeat_ngram_size beyond the text", {"no_repeat_ngram_size": 30}, {}),
    ("bad_words_ids, of one and of two", {"bad_words_ids": [[34], [14, 50], [1]], "eos_token_id": 1}, {}),
    ("bad_words_ids, the model's", {}, {"bad_words_ids": [[34]]}),
    ("min_new_tokens, greedy", {"min_new_tokens": 2, "eos_token_id": [1, 34, 50]}, {}),
    ("min_length, greedy", {"min_length": len(PROMPT) + 1, "eos_token_id": 50}, {}),
    ("min_new_tokens goes before min_length", {"min_new_tokens": 1, "min_length": 100, "eos_token_id": 7}, {}),
    ("min_new_tokens, the model's, with its eos", {}, {"min_new_tokens": 3, "eos_token_id": [1, 2]}),
    ("sampling, all defaults", {"do_sample": True}, {}),
    ("sampling, the model's", {}, {"do_sample": True, "temperature": 0.6, "top_p": 0.9}),
    (
        "the call goes before the model",
        {"temperature": 2.0, "top_k": 12},
        {"do_sample": True, "temperature": 0.6, "top_k": 3},
    ),
    ("the call turns sampling off", {"do_sample": False}, {"do_sample": True, "temperature": 0.6, "top_k": 3}),
    ("temperature alone", {"do_sample": True, "temperature": 0.35, "top_k": 0}, {}),
    ("nothing", {"do_sample": True, "top_k": 0, "top_p": 1.0, "temperature": 1.0}, {}),
    ("top_k", {"do_sample": True, "top_k": 5}, {}),
    ("top_k of 1", {"do_sample": True, "top_k": 1}, {}),
    ("top_k above the vocabulary", {"do_sample": True, "top_k": 1000}, {}),
    ("top_p", {"do_sample": True, "top_k": 0, "top_p": 0.8}, {}),
    ("top_p of nearly nothing", {"do_sample": True, "top_k": 0, "top_p": 0.001}, {}),
    ("top_p after a high temperature", {"do_sample": True, "top_k": 0, "temperature": 9.0, "top_p": 0.97}, {}),
    ("min_p", {"do_sample": True, "top_k": 0, "min_p": 0.05}, {}),
    ("min_p of 1", {"do_sample": True, "top_k": 0, "min_p": 1.0}, {}),
    (
        "everything",
        {
            "do_sample": True,
            "repetition_penalty": 1.3,
            "min_new_tokens": 2,
            "eos_token_id": [7, 20],
            "temperature": 1.7,
            "top_k": 30,
            "top_p": 0.95,
            "min_p": 0.01,
        },
        {},
    ),
]

# Equal scores: which of them stay, for rows of logits that no model would give.
TIES = [
    ("top_k with ties", {"do_sample": True, "top_k": 3}, [1.0, 2.0, 3.0, 2.0, 2.0, 0.0]),
    ("top_p with ties", {"do_sample": True, "top_k": 0, "top_p": 0.5}, [2.0, 2.0, 2.0, 2.0, 2.0, -9.0]),
    ("min_p with ties", {"do_sample": True, "top_k": 0, "min_p": 0.5}, [1.0, 3.0, 3.0, 2.0, 0.0, -9.0]),
    ("no score at all for some", {"do_sample": True, "top_k": 4}, [1.0, -math.inf, 3.0, -math.inf, -math.inf, 0.0]),
]


def numbers(row):
    """The shortest decimals that give the same float32; null for minus infinity."""
    return [None if x == -math.inf else float(str(numpy.float32(x))) for x in row.tolist()]


def tiny_model():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        initializer_range=0.5,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).eval()


def generated(model, call, own):
    model.generation_config = GenerationConfig(pad_token_id=0, **own)
    torch.manual_seed(1)
    out = model.generate(
        torch.tensor([PROMPT]),
        max_new_tokens=STEPS,
        return_dict_in_generate=True,
        output_logits=True,
        output_scores=True,
        **copy.deepcopy(call),
    )
    new = out.sequences[0, len(PROMPT) :].tolist()
    return [
        {"logits": numbers(logits[0]), "scores": numbers(scores[0]), "id": id}
        for logits, scores, id in zip(out.logits, out.scores, new, strict=True)
    ]


def warped(model, call, row):
    """One row through the list of processors that generate would build."""
    config = GenerationConfig(**call)
    config._eos_token_tensor = None
    processors = model._get_logits_processor(config, input_ids_seq_length=len(PROMPT))
    logits = torch.tensor([row])
    scores = processors(torch.tensor([PROMPT]), logits)
    return [{"logits": numbers(logits[0]), "scores": numbers(scores[0]), "id": None}]


def main():
    model = tiny_model()
    cases = [
        {"name": name, "options": call, "generation_config": own, "prompt": PROMPT, "steps": generated(model, call, own)}
        for name, call, own in CASES
    ] + [
        {"name": name, "options": call, "generation_config": {}, "prompt": PROMPT, "steps": warped(model, call, row)}
        for name, call, row in TIES
    ]
    made_by = {"torch": torch.__version__, "transformers": transformers.__version__}
    path = pathlib.Path(__file__).with_suffix(".json")
    lines = ",\n".join("  " + json.dumps(case, separators=(",", ":")) for case in cases)
    path.write_text(f'{{"made_by": {json.dumps(made_by)}, "cases": [\n{lines}\n]}}\n')


main()
