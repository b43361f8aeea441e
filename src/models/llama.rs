//! Llama. Semantics: transformers' `modeling_llama.py`.

use super::{Description, Family, Head, Task};
use crate::config::{TransformerConfig, TransformerDefaults};

/// `LlamaForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "llama",
    classes: &[(Task::Base, "LlamaModel"), (Task::CausalLm, "LlamaForCausalLM")],
    own_keys: &[],
    describe: |raw| Ok(Description::llama(TransformerConfig::parse(raw, &TransformerDefaults::LLAMA)?)),
    head: Head::of_decoder,
};
