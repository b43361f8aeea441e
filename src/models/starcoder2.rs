//! StarCoder 2. Semantics: transformers' `modeling_starcoder2.py`.

use super::{Description, Family, Head, Names, Task};
use crate::config::{TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 49_152,
    hidden_size: 3072,
    intermediate_size: ("intermediate_size", Some(12_288)),
    num_hidden_layers: 30,
    num_attention_heads: 24,
    num_key_value_heads: Some(2),
    max_position_embeddings: 4096,
    norm_eps: ("norm_epsilon", 1e-5),
    hidden_act: ("hidden_act", "gelu_pytorch_tanh"),
    tie_word_embeddings: true,
    bos_token_id: Some(50_256),
    eos_token_id: Some(50_256),
    ..TransformerDefaults::LLAMA
};

const NAMES: Names = Names { gate_up: &["mlp.c_fc"], down: "mlp.c_proj", ..Names::LLAMA };

/// `Starcoder2ForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "starcoder2",
    classes: &[(Task::Base, "Starcoder2Model"), (Task::CausalLm, "Starcoder2ForCausalLM")],
    own_keys: &["norm_epsilon", "use_bias"],
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        let bias = raw.fields().flag("use_bias")?.unwrap_or(true);
        Ok(Description {
            qkv_bias: bias,
            output_bias: bias,
            mlp_bias: bias,
            gated: false,
            layer_norms: true,
            names: NAMES,
            windows: vec![TransformerConfig::sliding_window(raw, None)?; config.num_hidden_layers],
            ..Description::llama(config)
        })
    },
    head: Head::of_decoder,
};
