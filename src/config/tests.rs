//! Against what transformers makes of the same files (`tests/goldens`), and files that are wrong.

use serde_json::{Value, json};

use super::*;
use crate::hub::MemoryRepo;
use crate::tensor::Dtype;
use pollster::block_on;

fn cases(golden: &str) -> Vec<Value> {
    let golden: Value = serde_json::from_str(golden).unwrap();
    let cases = golden["cases"].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases
}

fn config(value: &Value) -> ModelConfig {
    ModelConfig::from_json("a/b: config.json", value.to_string().as_bytes()).unwrap()
}

fn llama(value: &Value) -> Result<TransformerConfig, ConfigError> {
    TransformerConfig::parse(&config(value), &TransformerDefaults::LLAMA)
}

fn ids(value: &Value) -> Vec<u32> {
    match value {
        Value::Null => vec![],
        Value::Array(list) => list.iter().flat_map(ids).collect(),
        one => vec![one.as_u64().unwrap() as u32],
    }
}

#[test]
fn rope_frequencies_are_torchs() {
    for case in cases(include_str!("../../tests/goldens/rope.json")) {
        let name = &case["name"];
        let rope = llama(&case["config"]).unwrap().rope;
        let seq_len = case["seq_len"].as_u64().unwrap() as usize;
        let expected: Vec<f64> = case["inv_freq"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect();
        let found = rope.inv_freq(seq_len);
        assert_eq!(found.len(), expected.len(), "{name}");
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            // A few units in f32's last place: torch's pow is not correctly rounded, and with yarn and llama3
            // several roundings add up.
            let off = (f64::from(*found) - expected).abs() / expected;
            assert!(off < 1e-6, "{name}, {seq_len} positions, {i}: {found} is not {expected}");
        }
        let scaling = case["attention_scaling"].as_f64().unwrap();
        assert!((f64::from(rope.attention_scaling()) - scaling).abs() < 1e-6, "{name}");
        let short = rope.changes_beyond().is_none_or(|length| seq_len <= length);
        assert_eq!(rope.inv_freq(1) == found, short, "{name}, {seq_len} positions");
    }
}

#[test]
fn dtypes_and_generation_keys_are_read_as_transformers_does() {
    for case in cases(include_str!("../../tests/goldens/configs.json")) {
        let (name, expected) = (&case["name"], &case["expected"]);
        let dtype = config(&case["config"]).dtype().unwrap();
        assert_eq!(dtype, expected["dtype"].as_str().and_then(Dtype::from_torch), "{name}");

        let generation = GenerationConfig::from_model_config(&config(&case["config"])).unwrap();
        let expected = &expected["generation"];
        assert_eq!(generation.eos_token_id, ids(&expected["eos_token_id"]), "{name}");
        let found_json = json!({
            "bos_token_id": generation.bos_token_id,
            "pad_token_id": generation.pad_token_id,
            "do_sample": generation.do_sample,
            "temperature": generation.temperature,
            "top_k": generation.top_k,
            "top_p": generation.top_p,
            "max_length": generation.max_length,
        });
        for (key, value) in found_json.as_object().unwrap() {
            assert_eq!(*value, expected[key], "{name}: generation, {key}");
        }
    }
}

/// A valid config with `changes`.
fn with(changes: Value) -> Value {
    let mut config = json!({
        "model_type": "llama", "vocab_size": 100, "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    });
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

#[test]
fn wrong_values_are_named() {
    llama(&with(json!({}))).unwrap();
    for (changes, key) in [
        (json!({"vocab_size": "many"}), "vocab_size"),
        (json!({"vocab_size": 0}), "vocab_size"),
        (json!({"vocab_size": -5}), "vocab_size"),
        (json!({"vocab_size": 1.5}), "vocab_size"),
        (json!({"vocab_size": 1e300}), "vocab_size"),
        (json!({"vocab_size": 4_000_000_000u64}), "vocab_size"),
        (json!({"intermediate_size": 4_000_000_000u64}), "intermediate_size"),
        (json!({"head_dim": 1_000_000_000}), "head_dim"),
        (json!({"num_hidden_layers": 1_000_000}), "num_hidden_layers"),
        (json!({"num_attention_heads": 0}), "num_attention_heads"),
        (json!({"num_attention_heads": 5}), "hidden_size"),
        (json!({"num_key_value_heads": 3}), "num_attention_heads"),
        (json!({"num_key_value_heads": 8}), "num_attention_heads"),
        (json!({"head_dim": 15}), "head_dim"),
        (json!({"rms_norm_eps": "small"}), "rms_norm_eps"),
        (json!({"rms_norm_eps": -1e-5}), "rms_norm_eps"),
        (json!({"rms_norm_eps": 7}), "rms_norm_eps"),
        (json!({"hidden_act": 3}), "hidden_act"),
        (json!({"tie_word_embeddings": "yes"}), "tie_word_embeddings"),
        (json!({"eos_token_id": "</s>"}), "eos_token_id"),
        (json!({"eos_token_id": [1, "</s>"]}), "eos_token_id"),
        (json!({"bos_token_id": 5_000_000_000u64}), "bos_token_id"),
        (json!({"dtype": 16}), "dtype"),
        (json!({"rope_theta": 0}), "rope_theta"),
        (json!({"rope_scaling": "linear"}), "rope_scaling"),
        (json!({"rope_scaling": {"type": "linear"}}), "rope_scaling.factor"),
        (json!({"rope_scaling": {"type": "linear", "factor": 0}}), "rope_scaling.factor"),
        (json!({"rope_scaling": {"rope_type": 1}}), "rope_scaling.rope_type"),
        (json!({"rope_parameters": {"rope_type": "llama3", "factor": 8}}), "rope_parameters.low_freq_factor"),
        (
            json!({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 1}}),
            "rope_scaling.high_freq_factor",
        ),
        (
            json!({"rope_scaling": {"rope_type": "longrope", "short_factor": [1, 1], "long_factor": [1, 1]}}),
            "rope_scaling.short_factor",
        ),
        (json!({"rope_scaling": {"rope_type": "yarn", "rope_theta": 1, "factor": 2}}), "rope_scaling.rope_theta"),
        (json!({"head_dim": 2, "rope_scaling": {"rope_type": "dynamic", "factor": 2}}), "head_dim"),
    ] {
        let error = llama(&with(changes.clone())).unwrap_err();
        assert_eq!(error.code(), "CONFIG_INVALID", "{changes}: {error}");
        assert!(error.to_string().starts_with(&format!("a/b: config.json: `{key}` is ")), "{changes}: {error}");
    }
}

#[test]
fn a_number_of_labels_takes_other_names_away() {
    let named = config(&json!({"id2label": {"0": "no", "1": "yes"}, "label2id": {"no": 0, "yes": 1}}));
    let with = |overrides: Value| {
        let config = named.with_overrides(overrides.as_object().unwrap().clone(), &["num_labels", "id2label"]).unwrap();
        (config.labels().unwrap(), config.object().contains_key("id2label"), config.object().contains_key("label2id"))
    };
    assert_eq!(with(json!({"num_labels": 3})), (3, false, false));
    assert_eq!(with(json!({"num_labels": 2})), (2, true, true));
    assert_eq!(with(json!({"num_labels": 3, "id2label": {"0": "a", "1": "b", "2": "c"}})), (3, true, false));
    assert_eq!(with(json!({})), (2, true, true));
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    for (changes, key, supported) in [
        (json!({"hidden_act": "mish"}), "hidden_act", "silu"),
        (json!({"rope_scaling": {"rope_type": "mrope"}}), "rope_scaling.rope_type", "llama3"),
        (json!({"rope_parameters": {"full_attention": {"rope_type": "default"}}}), "rope_parameters", "all layers"),
        (json!({"partial_rotary_factor": 0.5}), "partial_rotary_factor", "1.0"),
        (json!({"rope_parameters": {"partial_rotary_factor": 0.5}}), "rope_parameters.partial_rotary_factor", "1.0"),
    ] {
        let error = llama(&with(changes)).unwrap_err();
        assert_eq!(error.code(), "UNSUPPORTED_CONFIG", "{error}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("a/b: config.json: `{key}` is ")) && text.contains(supported), "{text}");
    }
}

#[test]
fn what_is_no_json_object() {
    for text in [&b""[..], b"[]", b"<html>", b"{", b"{\"a\": NaN}", b"\xff"] {
        let error = ModelConfig::from_json("a/b: config.json", text).unwrap_err();
        assert_eq!(error.code(), "CONFIG_INVALID", "{error}");
        let error = GenerationConfig::from_json("generation_config.json", text).unwrap_err();
        assert_eq!(error.code(), "CONFIG_INVALID", "{error}");
    }
}

#[test]
fn long_values_are_cut_in_messages() {
    let error = llama(&with(json!({"vocab_size": "é".repeat(1000)}))).unwrap_err();
    assert!(error.to_string().len() < 300, "{error}");
}

#[test]
fn both_files_come_from_the_repo() {
    let mut repo = MemoryRepo::new("a/b");
    let missing = block_on(ModelConfig::open(&repo)).unwrap_err();
    assert_eq!(missing.code(), "ENTRY_NOT_FOUND");

    let text = with(json!({"eos_token_id": 7})).to_string();
    repo.insert("config.json", text.as_bytes());
    let config = block_on(ModelConfig::open(&repo)).unwrap();
    assert_eq!((config.text(), config.model_type()), (text.as_str(), Ok("llama")));
    let generation = block_on(GenerationConfig::open(&repo, &config)).unwrap();
    assert_eq!((generation.eos_token_id, generation.text), (vec![7], None));

    let own =
        r#"{"eos_token_id": [3, 4], "pad_token_id": -1, "temperature": 0.2, "top_k": 0, "_from_model_config": true}"#;
    repo.insert("generation_config.json", own);
    let generation = block_on(GenerationConfig::open(&repo, &config)).unwrap();
    let expected = GenerationConfig {
        eos_token_id: vec![3, 4],
        temperature: Some(0.2),
        top_k: Some(0),
        text: Some(own.to_owned()),
        ..GenerationConfig::default()
    };
    assert_eq!(generation, expected);

    repo.insert("generation_config.json", r#"{"temperature": "warm"}"#);
    let error = block_on(GenerationConfig::open(&repo, &config)).unwrap_err();
    assert!(error.to_string().starts_with("a/b: generation_config.json: `temperature` is \"warm\""), "{error}");
}
