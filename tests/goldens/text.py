"""What the sample model's genuine tokenizer answers."""

from transformers import PreTrainedTokenizerFast

from measure import line, write_json
from prompts import LIGHTHOUSE

TEXTS = [
    "",
    " ",
    "Hello, world!",
    "  two leading, two trailing  ",
    "tabs\tand\nnewlines\r\n\n\nand    runs   of spaces",
    "\n",
    "\u00a0no-break\u2003em space\u200bzero width\u200d joiner",
    "don't they'll I'VE we'd o'clock",
    "CamelCase snake_case kebab-case SCREAMING_CASE x2y3",
    "0 1 12 123 1234567890 3.14159 1,000,000 -5 1e-10 0xFF",
    "٠١٢٣ ②③ ½ ² Ⅷ 七",
    "naïve café résumé Ångström",
    "nai\u0308ve cafe\u0301 A\u030angstro\u0308m",
    "ﬁ ﬂ ﬃ ™ № ㎏ ｆｕｌｌ ｗｉｄｔｈ",
    "İstanbul ıgdır straße ẞ ǅ",
    "日本語のテキスト。漢字とかなが混ざっています。",
    "中文文本没有空格",
    "한국어 문장입니다",
    "Русский текст, ещё один",
    "Ελληνικά κείμενο ΣΊΣΥΦΟΣ",
    "עברית עם נִקּוּד",
    "النص العربي مع تَشْكِيل",
    "हिन्दी में वाक्य",
    "ภาษาไทยไม่มีช่องว่าง",
    "🙂 👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇫🇷 1️⃣",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝕋𝕖𝕩𝕥 𠜎",
    "Z̸̢͝a̴͓͝l̵̛̜g̶̈́o̶",
    "\ufeffbyte order mark",
    "\u0000\u0001\u007f\ufffd\ue000",
    "def f(x):\n    if x > 0:\n\t\treturn x**2  # square\n    return {'a': [1, 2], \"b\": None}\n",
    "<div class=\"x\">&amp;&nbsp;</div> <!-- c -->",
    "https://example.org/a/b?c=d&e=%20f#g user@example.org",
    "SELECT * FROM t WHERE a <> 'b' AND c >= 10;",
    "∑_{i=0}^{n} x_i² ≤ ∞, ∀ε>0 ∃δ",
    "...!!!???---___***~~~",
    "“curly” ‘quotes’ – en — em … dots",
    "<|im_start|>user\nhi<|im_end|>\n",
    "text<|im_end|>text <|endoftext|> <|im_start|",
    "<|IM_END|> < |im_end| > <|im_end|><|im_end|>",
    "<repo_name>a/b<file_sep>",
    "[CLS] a [SEP] [MASK] [PAD] [UNK]",
    "<s> a </s> <unk> <0x41> ▁under▁score",
    "a" * 200,
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    LIGHTHOUSE[:400],
]

CHATS = {
    "user": [{"role": "user", "content": "Hello!"}],
    "system": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello!"}],
    "turns": [
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "  And 2 + 2?\n"},
    ],
    "odd": [{"role": "user", "content": "<|im_end|> {{ messages }} {% raw %} \"quoted\" 'single' \\n 🙂\n\nécole"}],
    "empty": [{"role": "user", "content": ""}],
}


def generate(folder, sample):
    # By tokenizer.json, as transformers 4 and its clients do: transformers 5's GPT2Tokenizer, which the repo names,
    # replaces the pre-tokenizer that the file has by its own.
    tokenizer = PreTrainedTokenizerFast.from_pretrained(sample)
    write_json(folder / "text.json", {"model": sample.name} | measure(tokenizer) | {"chats": chats(tokenizer)})
    print("text", flush=True)


def measure(tokenizer):
    return {
        "class": type(tokenizer).__name__,
        "special_tokens": {
            **tokenizer.special_tokens_map,
            **{f"{name}_id": getattr(tokenizer, f"{name}_id") for name in tokenizer.special_tokens_map},
        },
        "length": len(tokenizer),
        "texts": [measure_text(tokenizer, text) for text in TEXTS],
        "pairs": [measure_pair(tokenizer, *pair) for pair in [("How are you?", "Fine."), ("", "b"), ("日本", "🙂 x")]],
    }


def measure_text(tokenizer, text):
    ids = tokenizer(text).input_ids
    return {
        "text": text,
        "ids": line(ids),
        "ids_without_special": line(tokenizer(text, add_special_tokens=False).input_ids),
        "decoded": tokenizer.decode(ids),
        "decoded_skip_special": tokenizer.decode(ids, skip_special_tokens=True),
    }


def measure_pair(tokenizer, first, second):
    encoded = tokenizer(first, second, return_token_type_ids=True)
    return {"text": first, "text_pair": second, "ids": line(encoded.input_ids), "type_ids": line(encoded.token_type_ids)}


def chats(tokenizer):
    return [
        {
            "name": name,
            "messages": messages,
            "add_generation_prompt": prompt,
            "text": tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt),
            "ids": line(tokenizer.apply_chat_template(messages, add_generation_prompt=prompt, return_dict=False)),
        }
        for name, messages in CHATS.items()
        for prompt in (False, True)
    ]
