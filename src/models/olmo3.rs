//! OLMo 3: OLMo 2 with windows. Semantics: transformers' `modeling_olmo3.py`.

use super::{Description, Family, Head, Task, olmo2};
use crate::config::{RopeKeys, TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    rope_theta: 500_000.0,
    rope_local_base_freq: Some(500_000.0),
    // Layers with a window have a base of their own only where their rope's object has one.
    rope_keys: RopeKeys { local_theta: "", ..RopeKeys::LLAMA },
    ..olmo2::DEFAULTS
};

/// `Olmo3ForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "olmo3",
    classes: &[(Task::Base, "Olmo3Model"), (Task::CausalLm, "Olmo3ForCausalLM")],
    own_keys: &[],
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        let window = TransformerConfig::sliding_window(raw, Some(4096))?;
        let windows = config.windows(raw, window, |layer| !(layer + 1).is_multiple_of(4))?;
        let ropes = windows.iter().map(|window| Some(usize::from(window.is_some()))).collect();
        let plain = Description::llama(config);
        Ok(Description { mlp_bias: false, names: olmo2::NAMES, qk_norm_over_all: true, windows, ropes, ..plain })
    },
    head: Head::of_decoder,
};
