"""Repos without a tokenizer.json: what transformers makes of their vocabularies. Writes vocab_files.json beside this file.

The vocabularies are those of small_tokenizers.json and a byte-level one that is trained here. Needs transformers.
"""
import json
import tempfile
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

from small_tokenizers_corpus import CORPUS, TEXTS

HERE = Path(__file__).parent
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def word_pieces():
    goldens = json.loads((HERE / "small_tokenizers.json").read_text())
    vocab = next(golden for golden in goldens if golden["name"] == "WordPiece")["tokenizer"]["model"]["vocab"]
    return {"vocab.txt": "".join(f"{token}\n" for token in sorted(vocab, key=vocab.get))}


def byte_pairs(special):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.model.save(folder)
        return {name: (Path(folder) / name).read_text() for name in ("vocab.json", "merges.txt")}


CASES = [
    ("BERT", word_pieces, {"model_type": "bert"}, {}),
    ("cased BERT", word_pieces, {"model_type": "bert"}, {"do_lower_case": False, "tokenizer_class": "BertTokenizer"}),
    ("DistilBERT", word_pieces, {"model_type": "distilbert"}, {"do_lower_case": True, "strip_accents": False, "tokenize_chinese_chars": False}),
    ("RoBERTa", lambda: byte_pairs(SPECIAL), {"model_type": "roberta"}, {}),
    ("RoBERTa with a space before", lambda: byte_pairs(SPECIAL), {"model_type": "roberta"}, {"add_prefix_space": True, "tokenizer_class": "RobertaTokenizer"}),
    ("GPT-2", lambda: byte_pairs(["<|endoftext|>"]), {"model_type": "gpt2"}, {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}),
]


def encoded(tokenizer, text, pair, special):
    found = tokenizer(text, pair, add_special_tokens=special, return_token_type_ids=True)
    ids = found["input_ids"]
    decoded = {"decoded": tokenizer.decode(ids), "decoded_without_special": tokenizer.decode(ids, skip_special_tokens=True)}
    return {"text": text, "pair": pair, "add_special_tokens": special, "ids": ids, "type_ids": found["token_type_ids"], **decoded}


def write(name, files, config, tokenizer_config):
    with tempfile.TemporaryDirectory() as folder:
        texts = {**files, "config.json": json.dumps(config), "tokenizer_config.json": json.dumps(tokenizer_config)}
        for file, text in texts.items():
            (Path(folder) / file).write_text(text)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    cases = [encoded(tokenizer, text, pair, special) for text, pair in TEXTS for special in (True, False)]
    return {"name": name, "files": files, "config": tokenizer_config, "cases": cases}


if __name__ == "__main__":
    written = [write(name, build(), config, tokenizer_config) for name, build, config, tokenizer_config in CASES]
    (HERE / "vocab_files.json").write_text(json.dumps(written, ensure_ascii=False, separators=(",", ":")) + "\n")
