//! PEGASUS: mBART with positions that aren't learned, and no norm behind the embeddings. Semantics: transformers'
//! `modeling_pegasus.py`.

use super::{Description, Family, Names, Sinusoids, Task, bart, mbart};
use crate::config::{ConfigError, ModelConfig, TransformerDefaults};

const ENCODER: TransformerDefaults =
    TransformerDefaults { bos_token_id: None, eos_token_id: Some(1), pad_token_id: Some(0), ..bart::ENCODER };

const DECODER_NAMES: Names =
    Names { embedding_norm: None, spared: &["final_logits_bias", "embed_positions.weight"], ..mbart::DECODER_NAMES };

fn describe(raw: &ModelConfig) -> Result<Description, ConfigError> {
    let encoder_names = Names { embedding_norm: None, ..mbart::ENCODER_NAMES };
    let as_pegasus = |stack| Description { sinusoids: Some(Sinusoids::Open), ..stack };
    bart::stacks(raw, [(ENCODER, encoder_names), (bart::beside(ENCODER), DECODER_NAMES)], as_pegasus)
}

/// `PegasusForConditionalGeneration` and its base.
pub const FAMILY: Family = Family {
    model_type: "pegasus",
    classes: &[(Task::Base, "PegasusModel"), (Task::Seq2SeqLm, "PegasusForConditionalGeneration")],
    own_keys: &[],
    describe,
    head: bart::head,
};
