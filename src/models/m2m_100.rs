//! M2M-100 and NLLB: mBART with positions that aren't learned, and no norm behind the embeddings. Semantics: transformers'
//! `modeling_m2m_100.py`.

use super::{Description, Family, Head, Names, Sinusoids, Task, bart, mbart};
use crate::config::{ConfigError, ModelConfig, TransformerDefaults};

const ENCODER: TransformerDefaults =
    TransformerDefaults { vocab_size: 128_112, hidden_act: ("activation_function", "relu"), ..bart::ENCODER };

const DECODER_NAMES: Names =
    Names { embedding_norm: None, spared: &["embed_positions.weight"], ..mbart::DECODER_NAMES };

fn describe(raw: &ModelConfig) -> Result<Description, ConfigError> {
    let fields = raw.fields();
    // Words are scaled unless it is said that they aren't.
    let scaled = fields.flag("scale_embedding")?.unwrap_or(true);
    let padding = fields.token_id("pad_token_id")?.unwrap_or(1) as usize;
    let encoder_names = Names { embedding_norm: None, ..mbart::ENCODER_NAMES };
    let as_m2m = |stack: Description| Description {
        sinusoids: Some(Sinusoids::Closed),
        // Positions are counted from behind the padding's id.
        first_position: padding + 1,
        embedding_scale: if scaled { (stack.config.hidden_size as f32).sqrt() } else { 1.0 },
        ..stack
    };
    bart::stacks(raw, [(ENCODER, encoder_names), (bart::beside(ENCODER), DECODER_NAMES)], as_m2m)
}

/// `M2M100ForConditionalGeneration` and its base.
pub const FAMILY: Family = Family {
    model_type: "m2m_100",
    classes: &[(Task::Base, "M2M100Model"), (Task::Seq2SeqLm, "M2M100ForConditionalGeneration")],
    own_keys: &[],
    describe,
    head: |_, config, task| Ok(Head::of_words("lm_head", config, task)),
};
