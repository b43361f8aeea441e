"""What the small tokenizers are trained on, and what they are asked."""

CORPUS = [
    "The quick brown fox jumps over the lazy dog. It isn't there, they've said; we're here!",
    "Numbers 12345 and 678, café naïve Ünïcödé, 你好世界 こんにちは 안녕하세요",
    "def main():\n    return 'ok'\n\n\tx = 1  # comment", "Hello world, hello tokens. Emoji 😀🎉👩‍👩‍👧 done",
] * 4
TEXTS = [
    ("Hello world, it isn't 12345 done.", None), ("  leading and   many spaces\n\n\tx ", None), ("", None),
    ("你好世界 😀👩‍👩‍👧 café ﬁ Ａ①", None), ("a <s> b </s><pad>[MASK] <extra> <|im_start|>user", None),
    ("first text", "second text !"), ("nul\x00 zero\u200bwidth \ufffd end", None), ("they 've said , ' no ' . it 's", None),
]
