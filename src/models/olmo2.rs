//! OLMo 2. Semantics: transformers' `modeling_olmo2.py`.

use super::{Description, Family, Head, Names, Task};
use crate::config::{TransformerConfig, TransformerDefaults};

pub(super) const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 50_304,
    norm_eps: ("rms_norm_eps", 1e-5),
    bos_token_id: None,
    eos_token_id: Some(50_279),
    pad_token_id: Some(1),
    ..TransformerDefaults::LLAMA
};

/// What comes out of each half of a layer is normalised, what goes in is not.
pub(super) const NAMES: Names = Names { input_norm: None, mlp_norm: None, ..Names::GEMMA }.with_qk_norm();

/// `Olmo2ForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "olmo2",
    classes: &[(Task::Base, "Olmo2Model"), (Task::CausalLm, "Olmo2ForCausalLM")],
    own_keys: &[],
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        Ok(Description { mlp_bias: false, names: NAMES, qk_norm_over_all: true, ..Description::llama(config) })
    },
    head: Head::of_decoder,
};
