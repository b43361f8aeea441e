"""Several texts at once: what transformers makes of them with padding and truncation, by the tokenizers of
small_tokenizers.json. Writes tokenized_batches.json beside this file. Needs transformers.
"""
import json
import tempfile
from pathlib import Path

from transformers import AutoTokenizer

HERE = Path(__file__).parent
TEXTS = ["Hello world, it isn't 12345 done.", "fox", "", "The quick brown fox jumps over the lazy dog."]
PAIRS = ["hello tokens", "The lazy dog isn't here, they've said.", "x", "Numbers 12345 and 678"]
CALLS = [
    {"padding": True},
    {"padding": "longest", "padding_side": "left"},
    {"padding": "max_length", "max_length": 30},
    {"truncation": True, "max_length": 6, "padding": True},
    {"truncation": True, "max_length": 6, "truncation_side": "left"},
    {"truncation": True, "max_length": 5, "add_special_tokens": False},
    {"padding": "max_length", "max_length": 8, "truncation": True},
]


def encoded(tokenizer, with_pairs, call):
    options = {key: value for key, value in call.items() if not key.endswith("_side")}
    tokenizer.padding_side = call.get("padding_side", "right")
    tokenizer.truncation_side = call.get("truncation_side", "right")
    pairs = PAIRS if with_pairs else None
    found = tokenizer(TEXTS, pairs, return_token_type_ids=True, **options)
    names = ("input_ids", "attention_mask", "token_type_ids")
    return {"text_pair": with_pairs, "call": call, **{name: found[name] for name in names}}


def cases_of(golden):
    with tempfile.TemporaryDirectory() as folder:
        for name, content in (("tokenizer", golden["tokenizer"]), ("tokenizer_config", golden["config"])):
            (Path(folder) / f"{name}.json").write_text(json.dumps(content))
        tokenizer = AutoTokenizer.from_pretrained(folder)
    calls = [call for call in CALLS if tokenizer.pad_token or "padding" not in call]
    return [encoded(tokenizer, pairs, call) for call in calls for pairs in (False, True)]


goldens = json.loads((HERE / "small_tokenizers.json").read_text())
written = {
    "texts": TEXTS,
    "pairs": PAIRS,
    "tokenizers": [{"name": golden["name"], "cases": cases_of(golden)} for golden in goldens],
}
(HERE / "tokenized_batches.json").write_text(json.dumps(written, ensure_ascii=False, separators=(",", ":")) + "\n")
