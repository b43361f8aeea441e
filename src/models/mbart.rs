//! mBART: BART with norms before its layers' parts, and one behind them all. Semantics: transformers' `modeling_mbart.py`.

use super::description::CrossNames;
use super::{Description, Family, Names, Task, bart};
use crate::config::{ConfigError, ModelConfig};

/// The encoder's.
pub(super) const ENCODER_NAMES: Names = Names {
    last_norm: Some("encoder.layer_norm"),
    input_norm: Some("self_attn_layer_norm"),
    mlp_norm: Some("final_layer_norm"),
    attended_norm: None,
    fed_norm: None,
    ..bart::ENCODER_NAMES
};

/// The decoder's.
pub(super) const DECODER_NAMES: Names = Names {
    positions: bart::DECODER_NAMES.positions,
    embedding_norm: bart::DECODER_NAMES.embedding_norm,
    layers: bart::DECODER_NAMES.layers,
    last_norm: Some("decoder.layer_norm"),
    spared: bart::DECODER_NAMES.spared,
    cross: Some(CROSS),
    also_embedding: bart::DECODER_NAMES.also_embedding,
    ..ENCODER_NAMES
};

/// Attention to what is read, with its norm before it.
pub(super) const CROSS: CrossNames = CrossNames {
    norm: Some("encoder_attn_layer_norm"),
    query: "encoder_attn.q_proj",
    kv: &["encoder_attn.k_proj", "encoder_attn.v_proj"],
    memory: "encoder_attn",
    output: "encoder_attn.out_proj",
    attended_norm: None,
};

fn describe(raw: &ModelConfig) -> Result<Description, ConfigError> {
    let as_mbart = |stack| Description { first_position: 2, ..stack };
    bart::stacks(raw, [(bart::ENCODER, ENCODER_NAMES), (bart::DECODER, DECODER_NAMES)], as_mbart)
}

/// `MBartForConditionalGeneration` and its base.
pub const FAMILY: Family = Family {
    model_type: "mbart",
    classes: &[(Task::Base, "MBartModel"), (Task::Seq2SeqLm, "MBartForConditionalGeneration")],
    own_keys: &[],
    describe,
    head: bart::head,
};
