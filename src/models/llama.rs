//! Llama. Semantics: transformers' `modeling_llama.py`.

use super::{Description, Family};
use crate::config::{TransformerConfig, TransformerDefaults};

/// `LlamaForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "llama",
    classes: ["LlamaModel", "LlamaForCausalLM"],
    own_keys: &[],
    describe: |raw| Ok(Description::llama(TransformerConfig::parse(raw, &TransformerDefaults::LLAMA)?)),
};
