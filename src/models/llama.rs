//! Llama. Semantics: transformers' `modeling_llama.py`.

use super::{Description, Family};
use crate::config::{DecoderConfig, DecoderDefaults};

/// `LlamaForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "llama",
    classes: ["LlamaModel", "LlamaForCausalLM"],
    own_keys: &[],
    describe: |raw| Ok(Description::llama(DecoderConfig::parse(raw, &DecoderDefaults::LLAMA)?)),
};
