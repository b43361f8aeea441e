//! StableLM. Semantics: transformers' `modeling_stablelm.py`.

use super::{Description, Family, Head, Names, Task};
use crate::config::{TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 50_304,
    hidden_size: 2560,
    intermediate_size: ("intermediate_size", Some(6912)),
    num_key_value_heads: Some(32),
    max_position_embeddings: 4096,
    norm_eps: ("layer_norm_eps", 1e-5),
    partial_rotary: true,
    partial_rotary_factor: 0.25,
    bos_token_id: Some(0),
    eos_token_id: Some(0),
    ..TransformerDefaults::LLAMA
};

/// `StableLmForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "stablelm",
    classes: &[(Task::Base, "StableLmModel"), (Task::CausalLm, "StableLmForCausalLM")],
    own_keys: &["layer_norm_eps", "use_qkv_bias", "qk_layernorm", "use_parallel_residual"],
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        let fields = raw.fields();
        if fields.flag("qk_layernorm")? == Some(true) {
            return Err(fields.unsupported("qk_layernorm", "false: queries and keys have no LayerNorm"));
        }
        let parallel = fields.flag("use_parallel_residual")?.unwrap_or(false);
        // Beside attention, the feed-forward layer reads what that reads.
        let mlp_norm = Names::LLAMA.mlp_norm.filter(|_| !parallel);
        Ok(Description {
            qkv_bias: fields.flag("use_qkv_bias")?.unwrap_or(false),
            output_bias: false,
            mlp_bias: false,
            parallel,
            layer_norms: true,
            names: Names { mlp_norm, ..Names::LLAMA },
            ..Description::llama(config)
        })
    },
    head: Head::of_decoder,
};
