"""Small tokenizers of every kind, and what transformers makes of them: writes small_tokenizers.json beside this file.

Training is not bound to give the same vocabulary again, so a new run may change the whole file: then tokenized_batches.py
must run too. Needs transformers,
sentencepiece and protobuf.
"""
import json
import os
import tempfile
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

from small_tokenizers_corpus import CORPUS, TEXTS

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

def train(tok, trainer):
    tok.train_from_iterator(CORPUS, trainer)
    return tok

def bpe_byte_level():
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    return train(tok, trainers.BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<s>", "</s>", "<|im_start|>"], show_progress=False))

def bpe_byte_fallback():
    tok = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return train(tok, trainers.BpeTrainer(vocab_size=600, special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)], show_progress=False))

def wordpiece():
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tok.normalizer = normalizers.BertNormalizer(lowercase=True)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.decoder = decoders.WordPiece(cleanup=False)
    train(tok, trainers.WordPieceTrainer(vocab_size=300, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
    tok.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tok.enable_truncation(4); tok.enable_padding(length=16)
    return tok

def unigram():
    tok = Tokenizer(models.Unigram())
    tok.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.UnicodeScripts(), pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first")])
    tok.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="first")
    return train(tok, trainers.UnigramTrainer(vocab_size=160, unk_token="<unk>", special_tokens=["<s>", "</s>", "<unk>", "<pad>"], show_progress=False))

def charsmap():
    """A few of the replacements that SentencePiece compiles into a trie, which T5's and XLM-RoBERTa's tokenizers have."""
    rules = [("ﬁ", "fi"), ("①", "1"), ("\u3000", " "), ("Ａ", "A"), ("é", "e"), ("\t", " "), ("…", "...")]
    points = lambda text: " ".join(f"{ord(c):X}" for c in text)
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder, name) for name in ("rules.tsv", "corpus.txt", "model.model")}
        files["rules.tsv"].write_text("".join(f"{points(a)}\t{points(b)}\n" for a, b in rules))
        files["corpus.txt"].write_text("hello world, this is a text\n" * 50)
        sentencepiece.SentencePieceTrainer.train(
            input=str(files["corpus.txt"]), model_prefix=f"{folder}/model", vocab_size=24, hard_vocab_limit=False,
            normalization_rule_tsv=str(files["rules.tsv"]), minloglevel=2)
        model = sentencepiece_model_pb2.ModelProto()
        model.ParseFromString(files["model.model"].read_bytes())
        return model.normalizer_spec.precompiled_charsmap

def t5():
    tok = Tokenizer(models.Unigram())
    tok.normalizer = normalizers.Precompiled(charsmap())
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")])
    tok.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    train(tok, trainers.UnigramTrainer(vocab_size=160, unk_token="<unk>", special_tokens=["<pad>", "</s>", "<unk>", "<extra_id_0>"], show_progress=False))
    tok.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    return tok

def wordlevel():
    tok = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tok.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Strip()])
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    return train(tok, trainers.WordLevelTrainer(vocab_size=60, special_tokens=["<unk>"], show_progress=False))

KINDS = [
    ("byte-level BPE", bpe_byte_level, {"bos_token": "<s>", "eos_token": "</s>", "clean_up_tokenization_spaces": True, "image_token": "<extra>", "additional_special_tokens": ["<|im_start|>"]}),
    ("byte-level BPE with BOS", bpe_byte_level, {"bos_token": {"__type": "AddedToken", "content": "<s>", "lstrip": False, "rstrip": False, "normalized": False, "single_word": False}, "eos_token": "</s>", "add_bos_token": True, "add_eos_token": False}),
    ("byte-fallback BPE", bpe_byte_fallback, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True, "add_eos_token": True}),
    ("WordPiece", wordpiece, {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]", "clean_up_tokenization_spaces": True}),
    ("Unigram", unigram, {"unk_token": "<unk>", "pad_token": "<pad>", "added_tokens_decoder": {"0": {"content": "<s>", "lstrip": False, "rstrip": True, "normalized": False, "single_word": False, "special": True}, "160": {"content": "<extra>", "lstrip": True, "rstrip": False, "normalized": False, "single_word": False, "special": False}}}),
    ("Unigram as T5 has it", t5, {"tokenizer_class": "T5Tokenizer", "unk_token": "<unk>", "pad_token": "<pad>", "eos_token": "</s>", "extra_ids": 1, "additional_special_tokens": ["<extra_id_0>"]}),
    ("WordLevel", wordlevel, {"unk_token": "<unk>"}),
]

out = []
for name, build, config in KINDS:
    with tempfile.TemporaryDirectory() as folder:
        tokenizer_json = json.loads(build().to_str())
        config = {"tokenizer_class": "PreTrainedTokenizerFast", **config}
        for file, content in [("tokenizer.json", tokenizer_json), ("tokenizer_config.json", config)]:
            with open(os.path.join(folder, file), "w") as f: json.dump(content, f)
        tok = AutoTokenizer.from_pretrained(folder)
        cases = []
        for text, pair in TEXTS:
            for add in (True, False):
                e = tok(text, pair, add_special_tokens=add, return_token_type_ids=True)
                cases.append({"text": text, "pair": pair, "add_special_tokens": add, "ids": e["input_ids"], "type_ids": e["token_type_ids"], "attention_mask": e["attention_mask"],
                              "decoded": tok.decode(e["input_ids"]), "decoded_without_special": tok.decode(e["input_ids"], skip_special_tokens=True)})
        out.append({"name": name, "tokenizer": tokenizer_json, "config": config, "cases": cases, "vocab_size": tok.vocab_size, "length": len(tok),
                    "special_tokens": tok.special_tokens_map, "special_token_ids": {k: tok.convert_tokens_to_ids(v) for k, v in tok.special_tokens_map.items()}})
Path(__file__).with_suffix(".json").write_text(json.dumps(out, ensure_ascii=False, separators=(",", ":")) + "\n")
