//! The text room against transformers' own answers, which the scripts beside the goldens write down.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::expect_used)]
#![cfg(feature = "text")]

use layerline::text::{
    ChatTemplate, DecodeStream, RenderOptions, TextError, Tokenizer, TokenizerFiles, Vocabulary, tokenizer_json,
};
use serde_json::{Value, json};

fn golden(name: &str) -> Vec<Value> {
    let path = format!("{}/tests/goldens/{name}", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_slice(&file).unwrap()
}

fn load(tokenizer: &Value, config: &Value) -> Result<Tokenizer, TextError> {
    Tokenizer::from_files(TokenizerFiles {
        tokenizer_json: &serde_json::to_vec(tokenizer).unwrap(),
        tokenizer_config_json: Some(&serde_json::to_vec(config).unwrap()),
        ..TokenizerFiles::default()
    })
}

fn ids(list: &Value) -> Vec<u32> {
    serde_json::from_value(list.clone()).unwrap()
}

fn stream(tokenizer: &Tokenizer, ids: &[u32], skip_special_tokens: bool) -> String {
    let mut stream = DecodeStream::new(skip_special_tokens);
    let mut text = String::new();
    for &id in ids {
        if let Some(piece) = stream.push(tokenizer, id).unwrap() {
            assert!(!piece.is_empty(), "a piece is never empty");
            text.push_str(&piece);
        }
    }
    text + &stream.flush(tokenizer).unwrap()
}

fn render(case: &Value) -> Result<String, TextError> {
    let options = RenderOptions {
        add_generation_prompt: case["add_generation_prompt"].as_bool().unwrap(),
        tools: Some(case["tools"].clone()),
        variables: case["variables"].as_object().unwrap().clone(),
        ..RenderOptions::default()
    };
    ChatTemplate::compile(case["template"].as_str().unwrap())?.render(case["messages"].clone(), options)
}

#[test]
fn texts_are_tokenized_as_in_transformers() {
    for golden in golden("small_tokenizers.json") {
        let name = &golden["name"];
        let tokenizer = load(&golden["tokenizer"], &golden["config"]).unwrap();
        assert_eq!(json!(tokenizer.vocab_size()), golden["vocab_size"], "{name}");
        assert_eq!(json!(tokenizer.full_vocab_size()), golden["length"], "{name}");
        for (special, content, id) in tokenizer.special_tokens() {
            assert_eq!(golden["special_tokens"][special], content, "{name}");
            assert_eq!(golden["special_token_ids"][special], json!(id), "{name} {special}");
            assert_eq!(tokenizer.id_to_token(id.unwrap()).as_deref(), Some(content), "{name}");
        }
        assert_eq!(tokenizer.special_tokens().count(), golden["special_tokens"].as_object().unwrap().len(), "{name}");
        for case in golden["cases"].as_array().unwrap() {
            let (text, pair) = (case["text"].as_str().unwrap(), case["pair"].as_str());
            let encoding = tokenizer.encode(text, pair, case["add_special_tokens"].as_bool().unwrap(), None).unwrap();
            assert_eq!(encoding.ids, ids(&case["ids"]), "{name}: {text:?}");
            assert_eq!(encoding.type_ids, ids(&case["type_ids"]), "{name}: {text:?}");
            assert_eq!(encoding.attention_mask, ids(&case["attention_mask"]), "{name}: {text:?}");
            for (skip, expected) in [(false, "decoded"), (true, "decoded_without_special")] {
                let expected = case[expected].as_str().unwrap();
                assert_eq!(tokenizer.decode(&encoding.ids, skip).unwrap(), expected, "{name}: {text:?}");
                assert_eq!(stream(&tokenizer, &encoding.ids, skip), expected, "{name}, streamed: {text:?}");
            }
        }
    }
}

#[test]
fn texts_say_their_language_as_in_transformers() {
    for golden in golden("languages.json") {
        let name = &golden["name"];
        let tokenizer = load(&golden["tokenizer"], &golden["config"]).unwrap();
        assert_eq!(json!(tokenizer.src_lang()), golden["cases"][0]["src_lang"], "{name}");
        for case in golden["cases"].as_array().unwrap() {
            let (text, pair) = (case["text"].as_str().unwrap(), case["pair"].as_str());
            tokenizer.set_src_lang(case["src_lang"].as_str().unwrap()).unwrap();
            let encoding = tokenizer.encode(text, pair, true, None).unwrap();
            assert_eq!(encoding.ids, ids(&case["ids"]), "{name}: {text:?} in {}", case["src_lang"]);
            assert_eq!(tokenizer.decode(&encoding.ids, true).unwrap(), case["decoded"].as_str().unwrap(), "{name}");
        }
        let before = tokenizer.src_lang();
        assert_eq!(tokenizer.set_src_lang("nonsense").unwrap_err().code(), "TOKENIZER");
        assert_eq!(tokenizer.src_lang(), before, "{name}");
        // A file that was saved in another language, as most are, and one without any.
        let mut saved = golden["tokenizer"].clone();
        saved["post_processor"] = Value::Null;
        let again = load(&saved, &golden["config"]).unwrap();
        let first = &golden["cases"][0];
        let encoding = again.encode(first["text"].as_str().unwrap(), None, true, None).unwrap();
        assert_eq!(encoding.ids, ids(&first["ids"]), "{name}");
    }
    let one = words(json!({}));
    assert_eq!(one.src_lang(), None);
    assert!(
        one.set_src_lang("eng_Latn").unwrap_err().to_string().contains("knows no languages, and so not \"eng_Latn\"")
    );
    // A class that has languages, and a vocabulary without them.
    let without = words(json!({"tokenizer_class": "NllbTokenizerFast"}));
    assert_eq!((without.src_lang(), without.encode("a", None, true, None).unwrap().ids), (None, vec![1, 3, 2]));
}

/// A word a token, `[CLS]` and `[SEP]` around them as BERT has them.
fn words(config: Value) -> Tokenizer {
    let special = |id: u32, name: &str| json!({"id": id, "content": name, "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false});
    let piece = |kind: &str, id: &str, type_id: u32| json!({kind: {"id": id, "type_id": type_id}});
    let (cls, sep) = (piece("SpecialToken", "[CLS]", 0), piece("SpecialToken", "[SEP]", 0));
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": [special(0, "[PAD]"), special(1, "[CLS]"), special(2, "[SEP]")],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {
            "type": "WordLevel",
            "vocab": {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3, "b": 4, "c": 5, "d": 6, "e": 7, "f": 8},
            "unk_token": "[PAD]",
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [cls, piece("Sequence", "A", 0), sep],
            "pair": [cls, piece("Sequence", "A", 0), sep, piece("Sequence", "B", 1), piece("SpecialToken", "[SEP]", 1)],
            "special_tokens": {
                "[CLS]": {"id": "[CLS]", "ids": [1], "tokens": ["[CLS]"]},
                "[SEP]": {"id": "[SEP]", "ids": [2], "tokens": ["[SEP]"]},
            },
        },
    });
    load(&tokenizer, &config).unwrap()
}

#[test]
fn long_texts_are_cut_inside_their_special_tokens() {
    let tokenizer = words(json!({}));
    let cut = |text, pair, special, max_length| {
        let encoding = tokenizer.encode(text, pair, special, Some(max_length)).unwrap();
        assert_eq!(encoding.ids.len(), encoding.attention_mask.len());
        (encoding.ids, encoding.type_ids)
    };
    assert_eq!(cut("a b c d", None, true, 4), (vec![1, 3, 4, 2], vec![0; 4]));
    assert_eq!(cut("a b c d", None, false, 3), (vec![3, 4, 5], vec![0; 3]));
    assert_eq!(cut("a b", None, true, 9), (vec![1, 3, 4, 2], vec![0; 4]));
    assert_eq!(cut("a b c d", None, true, 2), (vec![1, 2], vec![0; 2]));
    // The longer of the two first, then both.
    assert_eq!(cut("a b", Some("c d e f"), true, 7), (vec![1, 3, 4, 2, 5, 6, 2], vec![0, 0, 0, 0, 1, 1, 1]));
    assert_eq!(cut("a b c d", Some("e"), true, 6), (vec![1, 3, 4, 2, 7, 2], vec![0, 0, 0, 0, 1, 1]));
    assert_eq!(cut("a b c", Some("d e f"), true, 6), (vec![1, 3, 2, 6, 7, 2], vec![0, 0, 0, 1, 1, 1]));
    let error = tokenizer.encode("a", Some("b"), true, Some(2)).unwrap_err();
    assert_eq!(error.code(), "TOKENIZER");
    assert!(error.to_string().contains("max_length of 2 has no room for the 3 special tokens"), "{error}");

    let from_the_left = words(json!({"truncation_side": "left"}));
    assert_eq!(from_the_left.encode("a b c d", None, true, Some(4)).unwrap().ids, [1, 5, 6, 2]);
}

/// The vocabulary that a repo's files hold.
fn vocabulary(files: &Value) -> Vocabulary<'_> {
    match files["vocab.txt"].as_str() {
        Some(vocab) => Vocabulary::WordPieces(vocab),
        None => Vocabulary::BytePairs {
            vocab: files["vocab.json"].as_str().unwrap(),
            merges: files["merges.txt"].as_str().unwrap(),
        },
    }
}

#[test]
fn vocabularies_become_tokenizers_as_in_transformers() {
    for golden in golden("vocab_files.json") {
        let name = &golden["name"];
        let config = serde_json::to_vec(&golden["config"]).unwrap();
        let tokenizer_json = tokenizer_json(vocabulary(&golden["files"]), Some(&config), None).unwrap();
        let tokenizer = Tokenizer::from_files(TokenizerFiles {
            tokenizer_json: &tokenizer_json,
            tokenizer_config_json: Some(&config),
            ..TokenizerFiles::default()
        })
        .unwrap();
        for case in golden["cases"].as_array().unwrap() {
            let (text, pair) = (case["text"].as_str().unwrap(), case["pair"].as_str());
            let special = case["add_special_tokens"].as_bool().unwrap();
            let encoding = tokenizer.encode(text, pair, special, None).unwrap();
            assert_eq!(encoding.ids, ids(&case["ids"]), "{name}: {text:?}");
            assert_eq!(encoding.type_ids, ids(&case["type_ids"]), "{name}: {text:?}");
            for (skip, expected) in [(false, "decoded"), (true, "decoded_without_special")] {
                let expected = case[expected].as_str().unwrap();
                assert_eq!(tokenizer.decode(&encoding.ids, skip).unwrap(), expected, "{name}: {text:?}");
            }
        }
    }
}

#[test]
fn a_vocabulary_that_is_none_says_what_is_wrong() {
    let reason = |vocabulary| tokenizer_json(vocabulary, None, None).unwrap_err().to_string();
    assert!(reason(Vocabulary::WordPieces("a\nb")).contains("vocab.txt can't be used: it lacks [UNK]"));
    assert!(reason(Vocabulary::WordPieces("[UNK]\n[SEP]")).contains("it lacks [CLS]"));
    let pairs = |vocab, merges| reason(Vocabulary::BytePairs { vocab, merges });
    assert!(pairs("[]", "").contains("vocab.json can't be used"));
    assert!(pairs("{}", "#version: 0.2\na b\nc\n").contains("merges.txt can't be used: a line must hold two pieces"));
}

#[test]
fn a_stream_waits_for_whole_characters() {
    let golden = golden("small_tokenizers.json");
    let tokenizer = load(&golden[0]["tokenizer"], &golden[0]["config"]).unwrap();
    let text = "a😀b";
    let encoding = tokenizer.encode(text, None, false, None).unwrap();
    assert!(encoding.ids.len() > 3, "the emoji must be several tokens for this test");
    let mut stream = DecodeStream::new(false);
    let pieces: Vec<_> = encoding.ids.iter().filter_map(|&id| stream.push(&tokenizer, id).unwrap()).collect();
    assert_eq!(pieces, ["a", "😀", "b"]);
    assert_eq!(stream.flush(&tokenizer).unwrap(), "");
}

#[test]
fn a_stream_of_bytes_that_form_no_character_still_ends() {
    let golden = golden("small_tokenizers.json");
    let tokenizer = load(&golden[0]["tokenizer"], &golden[0]["config"]).unwrap();
    // The byte-level alphabet writes the continuation byte 0x80 as U+0122.
    let lonely = tokenizer.token_to_id("\u{122}").unwrap();
    let ids = vec![lonely; 1000];
    assert_eq!(stream(&tokenizer, &ids, false), tokenizer.decode(&ids, false).unwrap());
}

#[test]
fn templates_render_as_in_transformers() {
    let mut wrong = Vec::new();
    for case in golden("chat_templates.json") {
        let got = render(&case);
        let expected = &case["rendered"];
        let same = match &got {
            Ok(text) => expected == text,
            Err(error) => expected.is_null() && error.code() == "CHAT_TEMPLATE",
        };
        if !same {
            wrong.push(format!("{}\n  expected {expected:?}\n  got      {got:?}", case["name"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn simple(template: &str) -> Result<String, TextError> {
    ChatTemplate::compile(template)?.render(json!([{"role": "user", "content": "hi"}]), RenderOptions::default())
}

#[test]
fn a_template_error_has_its_line_and_message() {
    let failed = |line, message: &str| Err(TextError::ChatTemplate { line: Some(line), message: message.into() });
    assert_eq!(simple("a\n{% if true %}\n{{ raise_exception('No <b>!') }}{% endif %}"), failed(3, "No <b>!"));
    assert_eq!(simple("{{ 'a\\\nb' }}\n{{ raise_exception('third') }}"), failed(3, "third"));
    assert!(matches!(simple("a\nb\n{% if %}"), Err(TextError::ChatTemplate { line: Some(3), .. })));
}

#[test]
fn a_hostile_template_is_stopped() {
    for template in [
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(x='a') %}{% for i in range(1000) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{{ 'a' * 10000000000 }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    ] {
        assert!(matches!(simple(template), Err(TextError::ChatTemplate { .. })), "{template}");
    }
    assert!(simple(&format!("{{{{ {}1{} }}}}", "(".repeat(10_000), ")".repeat(10_000))).is_err());
}

#[test]
fn a_conversation_is_checked_and_normalized() {
    let template = ChatTemplate::compile(
        "{% for m in messages %}{{ m.role }}:{{ m.content }}{{ m.reasoning_content }}{{ 'x' in m }};{% endfor %}",
    )
    .unwrap();
    let render = |messages| template.render(messages, RenderOptions::default());
    let message = json!([{"role": "a", "content": "b", "thinking": "t", "x": null}]);
    assert_eq!(render(message).unwrap(), "a:btFalse;");
    for bad in [json!([]), json!("hi"), json!(["hi"]), json!(null)] {
        assert!(matches!(render(bad), Err(TextError::ChatInput(_))));
    }
}

#[test]
fn the_final_message_can_be_continued() {
    let template = ChatTemplate::compile("{% for m in messages %}<{{ m.content | trim }}>\n{% endfor %}").unwrap();
    let options = || RenderOptions { continue_final_message: true, ..RenderOptions::default() };
    let messages = json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "I am "}]);
    assert_eq!(template.render(messages.clone(), options()).unwrap(), "<hi>\n<I am");
    let both = RenderOptions { add_generation_prompt: true, ..options() };
    assert!(matches!(template.render(messages, both), Err(TextError::ChatInput(_))));
}

#[test]
fn a_model_can_have_several_templates() {
    let golden = golden("small_tokenizers.json");
    let config = |template: Value| json!({"bos_token": "<s>", "chat_template": template});
    let messages = json!([{"role": "user", "content": "hi"}]);
    let several = config(json!([
        {"name": "default", "template": "{{ bos_token }}default"},
        {"name": "tool_use", "template": "tools"},
        {"name": "rag", "template": "rag"},
    ]));
    let tokenizer = load(&golden[0]["tokenizer"], &several).unwrap();
    let render = |name, tools| {
        let options = RenderOptions { tools, ..RenderOptions::default() };
        tokenizer.apply_chat_template(messages.clone(), name, options).unwrap()
    };
    assert_eq!(render(None, None), "<s>default");
    assert_eq!(render(None, Some(json!([]))), "tools");
    assert_eq!(render(Some("rag"), None), "rag");
    assert_eq!(render(Some("own {{ eos_token }}."), None), "own .");
    let none = load(&golden[0]["tokenizer"], &json!({})).unwrap();
    let error = none.apply_chat_template(messages.clone(), None, RenderOptions::default()).unwrap_err();
    assert_eq!(error.code(), "CHAT_TEMPLATE");
}

#[test]
fn a_malformed_tokenizer_is_an_error() {
    let golden = golden("small_tokenizers.json");
    let good = &golden[0]["tokenizer"];
    let without = |key: &str| {
        let mut broken = good.clone();
        broken.as_object_mut().unwrap().remove(key);
        broken
    };
    let with = |key: &str, part: Value| {
        let mut broken = good.clone();
        broken[key] = part;
        broken
    };
    let template =
        |single: Value| json!({"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": {}});
    let broken = [
        json!(null),
        json!([]),
        json!({}),
        without("model"),
        with("model", json!({"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]})),
        with("model", json!({"type": "Nope"})),
        with("model", json!({"type": "Unigram", "unk_id": 9, "vocab": [["a", 0.0]]})),
        with("normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"})),
        with("normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "%"})),
        with("normalizer", json!({"type": "Precompiled"})),
        with("normalizer", json!({"type": "Sequence", "normalizers": [{"type": "Precompiled"}]})),
        with("normalizer", json!(7)),
        with(
            "pre_tokenizer",
            json!({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": false}),
        ),
        with("pre_tokenizer", json!({"type": "FixedLength", "length": 0})),
        with("post_processor", template(json!([{"SpecialToken": {"id": "<x>", "type_id": 0}}]))),
        with("post_processor", template(json!([{"Sequence": {"id": "B", "type_id": 0}}]))),
        with("decoder", json!({"type": "Nope"})),
        with("decoder", json!("x")),
        with("added_tokens", json!([{"id": -1}])),
    ];
    for tokenizer in broken {
        let error = load(&tokenizer, &json!({})).expect_err(&tokenizer.to_string());
        assert_eq!(error.code(), "TOKENIZER");
        assert!(error.to_string().starts_with("tokenizer.json can't be used: "), "{error}");
    }
    for config in [
        json!(null),
        json!({"bos_token": 1}),
        json!({"split_special_tokens": "yes"}),
        json!({"chat_template": 1}),
        json!({"chat_template": [{"name": "x"}]}),
        json!({"added_tokens_decoder": {"x": {"content": "a"}}}),
        json!({"added_tokens_decoder": {"1": {}}}),
        json!({"extra_special_tokens": "x"}),
    ] {
        let error = load(good, &config).expect_err(&config.to_string());
        assert_eq!(error.code(), "TOKENIZER");
        assert!(error.to_string().starts_with("tokenizer_config.json can't be used: "), "{error}");
    }
    // Cut anywhere, the file is refused.
    let text = good.to_string();
    for length in (0..text.len() - 1).step_by(997) {
        let files = TokenizerFiles { tokenizer_json: &text.as_bytes()[..length], ..TokenizerFiles::default() };
        assert!(matches!(Tokenizer::from_files(files), Err(TextError::File { .. })));
    }
}
