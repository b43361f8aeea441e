//! Gemma, the first. Semantics: transformers' `modeling_gemma.py`.

use super::{Description, Family, Head, Names, Task, gemma2};
use crate::config::{Activation, TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    hidden_size: 3072,
    intermediate_size: ("intermediate_size", Some(24_576)),
    num_hidden_layers: 28,
    num_attention_heads: 16,
    num_key_value_heads: Some(16),
    hidden_act: ("hidden_act", "gelu_pytorch_tanh"),
    ..gemma2::DEFAULTS
};

/// `GemmaForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "gemma",
    classes: &[(Task::Base, "GemmaModel"), (Task::CausalLm, "GemmaForCausalLM")],
    own_keys: &[],
    describe: |raw| {
        gemma2::only_causal(raw)?;
        let mut config = TransformerConfig::parse(raw, &DEFAULTS)?;
        // What the first checkpoints call so was always the other.
        if config.hidden_act == Activation::Gelu {
            config.hidden_act = Activation::GeluTanh;
        }
        let llama = Description::llama(config.clone());
        Ok(Description {
            scale: llama.scale,
            names: Names::LLAMA,
            final_logit_softcapping: None,
            ..gemma2::describe(raw, config, None)?
        })
    },
    head: Head::of_decoder,
};
