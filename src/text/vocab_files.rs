//! Repos from before `tokenizer.json`: a tokenizer of their vocabularies, as transformers converts them.

use serde_json::{Map, Value, json};

use super::TextError;
use super::tokenizer_config::TokenizerConfig;

/// The files that a vocabulary is in.
#[derive(Debug, Clone, Copy)]
pub enum Vocabulary<'a> {
    /// `vocab.txt`: BERT's word pieces, one a line.
    WordPieces(&'a str),
    /// `vocab.json` and `merges.txt`: the byte pairs of GPT-2 and RoBERTa.
    BytePairs {
        /// `vocab.json`
        vocab: &'a str,
        /// `merges.txt`
        merges: &'a str,
    },
}

/// The `tokenizer.json` of a vocabulary. Fails with [`TextError::File`] where a file is malformed, or is not of a tokenizer
/// that is known here.
pub fn tokenizer_json(
    vocabulary: Vocabulary<'_>,
    tokenizer_config_json: Option<&[u8]>,
    special_tokens_map_json: Option<&[u8]>,
) -> Result<Vec<u8>, TextError> {
    let json = tokenizer_config_json.unwrap_or(b"{}");
    let named = TokenizerConfig::parse(json, special_tokens_map_json)?;
    let settings: Map<String, Value> = serde_json::from_slice(json).unwrap_or_default();
    let tokens = Tokens { named: &named };
    let tokenizer = match vocabulary {
        Vocabulary::WordPieces(vocab) => word_pieces(vocab, &settings, &tokens)?,
        Vocabulary::BytePairs { vocab, merges } => byte_pairs(vocab, merges, &settings, &tokens)?,
    };
    serde_json::to_vec(&tokenizer).map_err(|e| wrong("tokenizer_config.json", e.to_string()))
}

/// The special tokens by name: the repo's, or its kind's.
struct Tokens<'a> {
    named: &'a TokenizerConfig,
}

impl Tokens<'_> {
    fn get<'b>(&'b self, name: &str, usual: &'b str) -> &'b str {
        let given = self.named.special_tokens.iter().find(|(own, _)| own == name);
        given.map_or(usual, |(_, token)| token.content.as_str())
    }

    /// The entries of `added_tokens` that the vocabulary has.
    fn added(&self, usual: &[(&str, &str)], vocab: &Map<String, Value>) -> Vec<Value> {
        let mut added: Vec<(u64, Value)> = Vec::new();
        for (name, token) in usual {
            let content = self.get(name, token);
            let Some(id) = vocab.get(content).and_then(Value::as_u64) else { continue };
            if added.iter().all(|(other, _)| *other != id) {
                // What is before RoBERTa's mask belongs to it.
                let lstrip = *token == "<mask>";
                let flags = json!({
                    "id": id, "content": content, "special": true,
                    "single_word": false, "lstrip": lstrip, "rstrip": false, "normalized": false,
                });
                added.push((id, flags));
            }
        }
        added.sort_by_key(|(id, _)| *id);
        added.into_iter().map(|(_, token)| token).collect()
    }
}

const BERT: [(&str, &str); 5] = [
    ("unk_token", "[UNK]"),
    ("sep_token", "[SEP]"),
    ("pad_token", "[PAD]"),
    ("cls_token", "[CLS]"),
    ("mask_token", "[MASK]"),
];

fn word_pieces(text: &str, settings: &Map<String, Value>, tokens: &Tokens<'_>) -> Result<Value, TextError> {
    const FILE: &str = "vocab.txt";
    let vocab: Map<String, Value> = text.lines().enumerate().map(|(id, token)| (token.into(), id.into())).collect();
    let flag =
        |name: &str, usual: Value| settings.get(name).filter(|value| value.is_boolean()).cloned().unwrap_or(usual);
    let id = |token: &str| {
        let lacks = || wrong(FILE, format!("it lacks {token}, which a tokenizer like BERT's has"));
        vocab.get(token).cloned().ok_or_else(lacks)
    };
    let (unk, cls, sep) =
        (tokens.get("unk_token", "[UNK]"), tokens.get("cls_token", "[CLS]"), tokens.get("sep_token", "[SEP]"));
    id(unk)?;
    let special = |token: &str, type_id: u32| json!({"SpecialToken": {"id": token, "type_id": type_id}});
    let sequence = |id: &str, type_id: u32| json!({"Sequence": {"id": id, "type_id": type_id}});
    let single = [special(cls, 0), sequence("A", 0), special(sep, 0)];
    let pair = [&single[..], &[sequence("B", 1), special(sep, 1)]].concat();
    let mut frame = Map::new();
    for token in [cls, sep] {
        frame.insert(token.to_owned(), json!({"id": token, "ids": [id(token)?], "tokens": [token]}));
    }
    Ok(json!({
        "version": "1.0",
        "added_tokens": tokens.added(&BERT, &vocab),
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": flag("tokenize_chinese_chars", true.into()),
            "strip_accents": flag("strip_accents", Value::Null),
            "lowercase": flag("do_lower_case", true.into()),
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": frame},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece",
            "unk_token": unk,
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
    }))
}

const ROBERTA: [(&str, &str); 7] = [
    ("bos_token", "<s>"),
    ("eos_token", "</s>"),
    ("sep_token", "</s>"),
    ("cls_token", "<s>"),
    ("unk_token", "<unk>"),
    ("pad_token", "<pad>"),
    ("mask_token", "<mask>"),
];
const GPT2: [(&str, &str); 3] =
    [("unk_token", "<|endoftext|>"), ("bos_token", "<|endoftext|>"), ("eos_token", "<|endoftext|>")];

fn byte_pairs(
    vocab: &str,
    merges: &str,
    settings: &Map<String, Value>,
    tokens: &Tokens<'_>,
) -> Result<Value, TextError> {
    let vocab: Map<String, Value> = serde_json::from_str(vocab)
        .map_err(|e| wrong("vocab.json", format!("{e}; it must hold an object from token to id")))?;
    let lines = merges.lines().filter(|line| !line.is_empty() && !line.starts_with("#version"));
    let merges: Option<Vec<[&str; 2]>> = lines.map(|line| line.split_once(' ').map(|(a, b)| [a, b])).collect();
    let merges =
        merges.ok_or_else(|| wrong("merges.txt", "a line must hold two pieces with a space between".into()))?;
    let class = settings.get("tokenizer_class").and_then(Value::as_str).unwrap_or_default();
    let roberta = !class.starts_with("GPT2") && ["<s>", "</s>", "<mask>"].iter().all(|it| vocab.contains_key(*it));
    let space = settings.get("add_prefix_space").and_then(Value::as_bool).unwrap_or(false);
    let (cls, sep) = (tokens.get("cls_token", "<s>"), tokens.get("sep_token", "</s>"));
    let post_processor = if roberta {
        let id = |token: &str| vocab.get(token).ok_or_else(|| wrong("vocab.json", format!("it lacks {token}")));
        json!({
            "type": "RobertaProcessing",
            "sep": [sep, id(sep)?], "cls": [cls, id(cls)?], "trim_offsets": true, "add_prefix_space": space,
        })
    } else {
        json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true})
    };
    Ok(json!({
        "version": "1.0",
        "added_tokens": tokens.added(if roberta { &ROBERTA } else { &GPT2 }, &vocab),
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": space, "trim_offsets": true, "use_regex": true},
        "post_processor": post_processor,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE",
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": false,
            "vocab": vocab,
            "merges": merges,
        },
    }))
}

fn wrong(file: &'static str, reason: String) -> TextError {
    TextError::File { file, reason }
}
