//! Arcee's AFM. Semantics: transformers' `modeling_arcee.py`.

use super::{Description, Family, Head, Names, Task};
use crate::config::{TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    hidden_size: 2560,
    intermediate_size: ("intermediate_size", Some(18_432)),
    max_position_embeddings: 4096,
    norm_eps: ("rms_norm_eps", 1e-5),
    hidden_act: ("hidden_act", "relu2"),
    bos_token_id: Some(128_000),
    eos_token_id: Some(128_001),
    ..TransformerDefaults::LLAMA
};

const NAMES: Names = Names { gate_up: &["mlp.up_proj"], ..Names::LLAMA };

/// `ArceeForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "arcee",
    classes: &[(Task::Base, "ArceeModel"), (Task::CausalLm, "ArceeForCausalLM")],
    own_keys: &[],
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        Ok(Description { gated: false, names: NAMES, ..Description::llama(config) })
    },
    head: Head::of_decoder,
};
