//! Architectures: one file a family, which describes it; what families share is computed in one place.

mod declare;
mod description;
mod gemma2;
mod gemma3;
mod gpt2;
mod gpt_neox;
mod llama;
mod mistral;
mod olmo2;
mod phi3;
mod qwen2;
mod qwen3;
mod smollm3;
mod transformer;

use crate::Result;
use crate::config::{ConfigError, ModelConfig, TransformerConfig};
use crate::tensor::ops::{Ops, Tensor};
use crate::weights::keys::ModelKeys;
use crate::weights::spec::{BlockSpec, WeightSpecs};
use transformer::Transformer;

pub use description::{Description, Names};

/// Every family that there is.
const FAMILIES: [Family; 11] = [
    gemma2::FAMILY,
    gemma3::FAMILY,
    gpt2::FAMILY,
    gpt_neox::FAMILY,
    llama::FAMILY,
    mistral::FAMILY,
    olmo2::FAMILY,
    phi3::FAMILY,
    qwen2::FAMILY,
    qwen3::FAMILY,
    smollm3::FAMILY,
];

/// An architecture by the name that configs have for it.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// The config's `model_type`.
    pub model_type: &'static str,
    /// What transformers calls the classes: the base, and the one with a head.
    pub classes: [&'static str; 2],
    /// The config's keys that mean something to it, beyond [`TransformerConfig::KEYS`].
    pub own_keys: &'static [&'static str],
    /// What a config says of the model.
    pub describe: fn(&ModelConfig) -> Result<Description, ConfigError>,
}

impl Family {
    /// The family of a config.
    ///
    /// # Errors
    /// `UNSUPPORTED_MODEL_TYPE`, naming those that there are; `CONFIG_INVALID`
    pub fn of(config: &ModelConfig) -> Result<&'static Family, ConfigError> {
        const ALL: &[Family] = &FAMILIES;
        let model_type = config.model_type()?;
        let known = || ALL.iter().map(|family| family.model_type).collect();
        ALL.iter().find(|family| family.model_type == model_type).ok_or_else(|| config.unsupported_model_type(known()))
    }

    /// The model that a config describes.
    ///
    /// # Errors
    /// What is wrong with the config.
    pub fn build(&self, config: &ModelConfig, task: Task) -> Result<Box<dyn Model>> {
        Ok(Box::new(Transformer::new((self.describe)(config)?, config, task)?))
    }

    /// The config's keys that mean something to it.
    pub fn config_keys(&self) -> Vec<&'static str> {
        [TransformerConfig::KEYS, self.own_keys].concat()
    }

    /// What transformers calls the class of a model for this task.
    pub fn class_name(&self, task: Task) -> &'static str {
        let [base, causal_lm] = self.classes;
        match task {
            Task::Base => base,
            Task::CausalLm => causal_lm,
        }
    }
}

/// What a model is loaded for, which decides its head and the names of its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Task {
    /// `AutoModel`: no head, hidden states come out.
    Base,
    /// `AutoModelForCausalLM`: logits of the next token.
    #[default]
    CausalLm,
}

/// The cache and position facts that the engine needs of a decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelShape {
    /// Tokens known.
    pub vocab_size: usize,
    /// Elements of a row that comes out of the last block: `vocab_size` logits, or a hidden state without a head.
    pub output_size: usize,
    /// Layers with a key and value cache.
    pub layers: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Angles of a position, all ropes together.
    pub angles: usize,
    /// The longest context the model was made for.
    pub max_position_embeddings: usize,
    /// How many positions it knows, where it knows no others: it has learned them.
    pub positions: Option<usize>,
}

/// A decoder: weights in blocks, and what each block computes.
pub trait Model {
    /// What it was made for.
    fn task(&self) -> Task;

    /// What the engine needs to know.
    fn shape(&self) -> ModelShape;

    /// Its state dict's names, as transformers has them.
    fn keys(&self) -> ModelKeys;

    /// Every weight.
    fn weights(&self) -> &WeightSpecs;

    /// The blocks in forward order: embedding, layers, head or last norm.
    fn blocks(&self) -> &[BlockSpec];

    /// Computes block `index`. The first takes no input; the last gives its output for `all` rows or for the last one.
    fn block(&self, ops: &mut dyn Ops, index: usize, input: Option<Tensor>, head: HeadRows) -> Result<Tensor>;

    /// Cosine and sine for each pair of rotated elements of each rope at `position`, when the context is `length` tokens long.
    fn rope(&self, position: usize, length: usize, out: &mut Vec<f32>);
}

/// For which tokens the last block computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadRows {
    /// The last one: generation needs no others.
    Last,
    /// All of them.
    All,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::Activation;
    use crate::weights::init::Init;
    use serde_json::json;

    #[test]
    fn configs_are_read_with_their_familys_defaults() {
        let goldens: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/goldens/configs.json")).unwrap();
        let mut seen = BTreeSet::new();
        for case in goldens["cases"].as_array().unwrap() {
            let config = ModelConfig::from_json("a/b: config.json", case["config"].to_string().as_bytes()).unwrap();
            let (name, expected) = (&case["name"], &case["expected"]);
            let family = Family::of(&config).unwrap();
            let description = (family.describe)(&config).unwrap();
            for (key, found) in [
                ("embedding_scale", Some(description.embedding_scale)),
                ("scale", Some(description.scale)),
                ("attn_logit_softcapping", description.attn_logit_softcapping),
                ("final_logit_softcapping", description.final_logit_softcapping),
            ] {
                let expected = expected[key].as_f64().map(|value| value as f32);
                let off = |found: f32, expected: f32| (found - expected).abs() / expected;
                let close = found.zip(expected).map_or(found == expected, |(a, b)| off(a, b) <= f32::EPSILON);
                assert!(close, "{name}: {key}: {found:?} instead of {expected:?}");
            }
            let ratio = if description.scale_by_layer { description.config.num_hidden_layers as f64 } else { 1.0 };
            let expected_ratio = expected["scale_ratio"].as_f64().unwrap();
            assert!((ratio - expected_ratio).abs() < 1e-9, "{name}: {ratio} instead of {expected_ratio}");
            let Description { config: found, qkv_bias, output_bias, mlp_bias, windows, ropes: layer_ropes, .. } =
                description;
            assert_eq!(found.hidden_act, Activation::from_name(expected["hidden_act"].as_str().unwrap()).unwrap());
            let rotates = layer_ropes.iter().any(Option::is_some);
            let ropes: Vec<_> = [Some(&found.rope), found.local_rope.as_ref()].into_iter().flatten().collect();
            let ropes = if rotates { ropes } else { Vec::new() };
            let rotated = if rotates { found.rope.dim } else { 0 };
            assert_eq!(rotated, expected["rotated"].as_u64().unwrap() as usize, "{name}");
            assert_eq!(ropes.len(), expected["ropes"].as_array().unwrap().len(), "{name}");
            for (found, expected) in ropes.into_iter().zip(expected["ropes"].as_array().unwrap()) {
                assert_eq!(found.theta, expected[0].as_f64().unwrap(), "{name}");
                let kind = format!("{:?}", found.scaling).to_lowercase();
                assert!(kind.starts_with(expected[1].as_str().unwrap()), "{name}: {kind}");
            }
            assert_eq!(found.norm_eps, expected["rms_norm_eps"].as_f64().unwrap() as f32, "{name}");
            let found = json!({
                "vocab_size": found.vocab_size, "hidden_size": found.hidden_size,
                "intermediate_size": found.intermediate_size, "num_hidden_layers": found.num_hidden_layers,
                "num_attention_heads": found.num_attention_heads, "num_key_value_heads": found.num_key_value_heads,
                "head_dim": found.head_dim, "max_position_embeddings": found.max_position_embeddings,
                "tie_word_embeddings": found.tie_word_embeddings,
                "bos_token_id": found.special.bos, "eos_token_id": found.special.eos.first(),
                "pad_token_id": found.special.pad,
                "biases": [qkv_bias, output_bias, mlp_bias], "windows": windows, "layer_ropes": layer_ropes,
            });
            for (key, value) in found.as_object().unwrap() {
                let expected = match &expected[key] {
                    serde_json::Value::Array(ids) if key == "eos_token_id" => &ids[0],
                    expected => expected,
                };
                assert_eq!(value, expected, "{name}: {key}");
            }
            seen.insert(family.model_type);
        }
        assert!(FAMILIES.iter().all(|family| seen.contains(family.model_type)), "{seen:?}");
    }

    #[test]
    fn what_a_family_cant_be_is_said_by_its_key() {
        for (model_type, keys, expected) in [
            ("mistral", json!({"sliding_window": 0}), "`sliding_window` is 0, expected a positive integer"),
            ("mistral", json!({"sliding_window": "4k"}), "`sliding_window` is \"4k\", expected a positive integer"),
            ("qwen3", json!({"use_sliding_window": 1}), "`use_sliding_window` is 1, expected true or false"),
            ("qwen2", json!({"layer_types": ["full_attention"]}), "expected a list of 2 strings"),
            ("qwen2", json!({"layer_types": ["full_attention", 7]}), "expected a list of 2 strings"),
            (
                "gemma2",
                json!({"layer_types": ["full_attention", "linear_attention"]}),
                "is not supported. Supported: full_attention, sliding_attention",
            ),
            ("smollm3", json!({"no_rope_layers": [1]}), "`no_rope_layers` is [1], expected a list of at least 2 zeros"),
            ("smollm3", json!({"no_rope_layers": [1, 2]}), "expected a list of at least 2 zeros and ones"),
            ("smollm3", json!({"no_rope_layers": "1"}), "expected a list of at least 2 zeros and ones"),
            // transformers fails on these once a prompt comes.
            (
                "smollm3",
                json!({"layer_types": ["full_attention", "sliding_attention"]}),
                "`sliding_window` is missing, expected a number, since layer 1 has a window",
            ),
            (
                "qwen3",
                json!({"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}),
                "`use_sliding_window` is missing, expected true, since layer 0 has a window",
            ),
            ("gemma2", json!({"sliding_window": null}), "`sliding_window` is null, expected a number"),
            ("gemma3_text", json!({"sliding_window": null}), "`sliding_window` is null, expected a number"),
            ("phi3", json!({"sliding_window": 0}), "`sliding_window` is 0, expected a positive integer"),
            ("qwen2", json!({"max_window_layers": -1}), "`max_window_layers` is -1, expected an integer of 0 or more"),
            ("qwen2", json!({"layer_types": "full_attention"}), "expected a list of 2 strings"),
            ("smollm3", json!({"no_rope_layer_interval": 0}), "expected a positive integer"),
            ("gemma3_text", json!({"sliding_window_pattern": 0}), "expected a positive integer"),
            ("gemma2", json!({"query_pre_attn_scalar": 0}), "expected a finite number above 0"),
            ("gemma2", json!({"attn_logit_softcapping": -50.0}), "expected a finite number above 0"),
            ("gemma2", json!({"use_bidirectional_attention": true}), "a decoder's attention is causal"),
            ("gemma2", json!({"hidden_activation": "swish2"}), "`hidden_activation` is \"swish2\""),
            ("gemma3_text", json!({"rope_local_base_freq": -1}), "expected a finite number above 0"),
            ("gemma3_text", json!({"rope_parameters": {"full_attention": 7}}), "`rope_parameters.full_attention`"),
            (
                "qwen3",
                json!({"rope_parameters": {"full_attention": {"rope_type": "default"}}}),
                "one set of parameters for all layers",
            ),
            ("phi3", json!({"partial_rotary_factor": 0.01}), "a multiple of 4 of head_dim"),
            ("phi3", json!({"partial_rotary_factor": 1.5}), "a multiple of 4 of head_dim"),
            ("llama", json!({"partial_rotary_factor": 0.5}), "Supported: 1.0"),
            ("gpt2", json!({"n_embd": 0}), "`n_embd` is 0, expected a positive integer"),
            ("gpt2", json!({"n_head": 7}), "`n_embd` is missing, expected a multiple of num_attention_heads (7)"),
            (
                "gpt2",
                json!({"hidden_size": 10}),
                "`hidden_size` is 10, expected a multiple of num_attention_heads (12)",
            ),
            ("gpt2", json!({"n_positions": 4_294_967_295_u32}), "`n_positions` is 4294967295, expected a weight of at"),
            ("gpt2", json!({"n_inner": "wide"}), "`n_inner` is \"wide\", expected a positive integer"),
            ("gpt2", json!({"activation_function": "tanh"}), "`activation_function` is \"tanh\""),
            ("gpt2", json!({"layer_norm_epsilon": 2}), "`layer_norm_epsilon` is 2, expected a number from 0 to 1"),
            ("gpt2", json!({"scale_attn_weights": 1}), "`scale_attn_weights` is 1, expected true or false"),
            ("gpt2", json!({"scale_attn_by_inverse_layer_idx": 1}), "expected true or false"),
            ("gpt2", json!({"reorder_and_upcast_attn": "no"}), "expected true or false"),
            ("gpt2", json!({"add_cross_attention": true}), "a decoder has no encoder to attend to"),
            (
                "gpt_neox",
                json!({"rotary_pct": 0.01}),
                "`rotary_pct` is 0.01, expected a factor that makes a multiple of 4",
            ),
            ("gpt_neox", json!({"rotary_emb_base": 0}), "`rotary_emb_base` is 0, expected a finite number above 0"),
            ("gpt_neox", json!({"layer_norm_eps": -1}), "`layer_norm_eps` is -1, expected a number from 0 to 1"),
            ("gpt_neox", json!({"use_parallel_residual": "yes"}), "expected true or false"),
            ("gpt_neox", json!({"attention_bias": 2}), "expected true or false"),
        ] {
            let mut config = json!({"model_type": model_type, "num_hidden_layers": 2});
            config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
            let config = ModelConfig::from_json("a/b: config.json", config.to_string().as_bytes()).unwrap();
            let error = (Family::of(&config).unwrap().describe)(&config).unwrap_err();
            let message = error.to_string();
            assert!(message.starts_with("a/b: config.json: ") && message.contains(expected), "{message}\n{expected}");
        }
    }

    /// GPT-2's residual layers are initialised smaller, and its embedding has no row for padding.
    #[test]
    fn new_weights_are_initialised_as_the_family_does() {
        let init_of = |model_type: &str, tensor: &str| {
            let keys = json!({"model_type": model_type, "num_hidden_layers": 2, "pad_token_id": 3});
            let config = ModelConfig::from_json("config", keys.to_string().as_bytes()).unwrap();
            let model = Family::of(&config).unwrap().build(&config, Task::CausalLm).unwrap();
            let found = model.weights().tensors().find(|(name, ..)| *name == tensor);
            found.map(|(_, shape, init)| (shape, init)).unwrap()
        };
        let normal = |std, zero_row| Init::Normal { std, zero_row };
        for (model_type, tensor, shape, init) in [
            ("llama", "model.embed_tokens.weight", vec![32_000, 4096], normal(0.02, Some(3))),
            ("llama", "model.layers.1.mlp.down_proj.weight", vec![4096, 11_008], normal(0.02, None)),
            ("gpt2", "transformer.wte.weight", vec![50_257, 768], normal(0.02, None)),
            ("gpt2", "transformer.wpe.weight", vec![1024, 768], normal(0.02, None)),
            ("gpt2", "transformer.h.1.attn.c_attn.weight", vec![768, 2304], normal(0.02, None)),
            ("gpt2", "transformer.h.1.attn.c_proj.weight", vec![768, 768], normal(0.01, None)),
            ("gpt2", "transformer.h.1.mlp.c_proj.weight", vec![3072, 768], normal(0.01, None)),
            ("gpt2", "transformer.h.1.mlp.c_proj.bias", vec![768], Init::Zeros),
            ("gpt2", "transformer.ln_f.weight", vec![768], Init::Ones),
            ("gpt2", "transformer.ln_f.bias", vec![768], Init::Zeros),
            ("gpt_neox", "gpt_neox.embed_in.weight", vec![50_432, 6144], normal(0.02, None)),
            ("gpt_neox", "gpt_neox.layers.1.attention.dense.weight", vec![6144, 6144], normal(0.02, None)),
            ("gpt_neox", "lm_head.weight", vec![50_432, 6144], normal(0.02, None)),
        ] {
            assert_eq!(init_of(model_type, tensor), (shape, init), "{tensor}");
        }
    }

    #[test]
    fn the_packages_overrides_are_the_families_keys() {
        let text = include_str!("../../js/src/config_overrides.ts");
        let theirs: BTreeSet<&str> = text.lines().filter_map(|line| line.trim().strip_suffix(": true,")).collect();
        let ours = FAMILIES.iter().flat_map(Family::config_keys).collect();
        assert_eq!(theirs, ours);
    }

    #[test]
    fn what_is_not_there_is_said_with_what_is() {
        let config = |json: serde_json::Value| ModelConfig::from_json("a/b: config.json", json.to_string().as_bytes());
        let error = Family::of(&config(json!({"model_type": "mamba"})).unwrap()).unwrap_err();
        assert_eq!(error.code(), "UNSUPPORTED_MODEL_TYPE");
        let known = "model_type \"mamba\" is not supported. Supported: gemma2, gemma3_text, gpt2, gpt_neox, llama, mistral, olmo2, phi3, qwen2, qwen3, smollm3";
        assert_eq!(error.to_string(), format!("a/b: config.json: {known}"));
        let error = Family::of(&config(json!({})).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "a/b: config.json: `model_type` is missing, expected a value");
    }
}
