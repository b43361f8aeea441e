#!/usr/bin/env python3
"""Writes languages.json: small tokenizers of several languages, and what transformers makes of them.

    /tmp/goldens/bin/python tests/goldens/languages.py
"""

import json
import tempfile
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, MBart50Tokenizer, MBartTokenizer, NllbTokenizer

from small_tokenizers_corpus import CORPUS

HERE = Path(__file__).parent
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
TEXTS = [("hello world", None), ("This is a test.", "And another"), ("", None), ("  spaces   between ", None)]


def trained(model, trainer):
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.train_from_iterator(CORPUS, trainer)
    return json.loads(tokenizer.to_str())["model"]


def nllb(**options):
    trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=SPECIAL, show_progress=False)
    model = trained(models.BPE(unk_token="<unk>"), trainer)
    merges = [tuple(merge) for merge in model["merges"]]
    codes = ["eng_Latn", "fra_Latn", "deu_Latn"]
    return NllbTokenizer(vocab=model["vocab"], merges=merges, additional_special_tokens=codes, **options)


def mbart(kind, **options):
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False)
    pieces = [tuple(piece) for piece in trained(models.Unigram(), trainer)["vocab"]]
    codes = MBART_CODES[kind]
    return kind(vocab=pieces + [(code, 0.0) for code in codes] + [("<mask>", 0.0)], **options)


MBART_CODES = {
    kind: __import__(kind.__module__, fromlist=["FAIRSEQ_LANGUAGE_CODES"]).FAIRSEQ_LANGUAGE_CODES
    for kind in (MBartTokenizer, MBart50Tokenizer)
}

KINDS = [
    ("NLLB", lambda: nllb(), ["fra_Latn", "eng_Latn"]),
    ("NLLB of old", lambda: nllb(legacy_behaviour=True, src_lang="deu_Latn"), ["eng_Latn"]),
    ("mBART-50", lambda: mbart(MBart50Tokenizer), ["ro_RO"]),
    ("mBART", lambda: mbart(MBartTokenizer, src_lang="de_DE"), ["en_XX"]),
]


def case(tokenizer, text, pair):
    ids = tokenizer(text, pair)["input_ids"]
    return {"src_lang": tokenizer.src_lang, "text": text, "pair": pair, "ids": ids,
            "decoded": tokenizer.decode(ids, skip_special_tokens=True)}  # fmt: skip


def main():
    out = []
    for name, make, languages in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            make().save_pretrained(folder)
            files = {key: json.loads(Path(folder, f"{file}.json").read_text()) for key, file in
                     [("tokenizer", "tokenizer"), ("config", "tokenizer_config")]}  # fmt: skip
            tokenizer = AutoTokenizer.from_pretrained(folder)
        cases = [case(tokenizer, *texts) for texts in TEXTS]
        for language in languages:
            tokenizer.src_lang = language
            cases.extend(case(tokenizer, *texts) for texts in TEXTS)
        last = languages[-1]
        out.append({"name": name, **files, "cases": cases, "language_id": tokenizer.convert_tokens_to_ids(last)})
    text = json.dumps(out, ensure_ascii=False, separators=(",", ":"))
    (HERE / "languages.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
