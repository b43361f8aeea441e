//! Marian: BART with positions that aren't learned. Semantics: transformers' `modeling_marian.py`.

use super::{Description, Family, Names, Sinusoids, Task, bart};
use crate::config::{ConfigError, ModelConfig, TransformerDefaults};

const ENCODER: TransformerDefaults = TransformerDefaults {
    vocab_size: 58_101,
    bos_token_id: None,
    eos_token_id: Some(0),
    pad_token_id: Some(58_100),
    ..bart::ENCODER
};

const DECODER_NAMES: Names =
    Names { embedding_norm: None, spared: &["final_logits_bias", "embed_positions.weight"], ..bart::DECODER_NAMES };

fn describe(raw: &ModelConfig) -> Result<Description, ConfigError> {
    let fields = raw.fields();
    if fields.flag("share_encoder_decoder_embeddings")? == Some(false) {
        return Err(fields.unsupported("share_encoder_decoder_embeddings", "true"));
    }
    let encoder_names = Names { embedding_norm: None, ..bart::ENCODER_NAMES };
    let as_marian = |stack| Description { sinusoids: Some(Sinusoids::Open), ..stack };
    bart::stacks(raw, [(ENCODER, encoder_names), (bart::beside(ENCODER), DECODER_NAMES)], as_marian)
}

/// `MarianMTModel` and its base.
pub const FAMILY: Family = Family {
    model_type: "marian",
    classes: &[(Task::Base, "MarianModel"), (Task::Seq2SeqLm, "MarianMTModel")],
    own_keys: &["share_encoder_decoder_embeddings", "decoder_vocab_size"],
    describe,
    head: bart::head,
};
