//! mT5: T5 with gates, and words that aren't scaled. Semantics: transformers' `modeling_mt5.py`.

use super::{Family, Head, Task, t5};
use crate::config::TransformerDefaults;

const ENCODER: TransformerDefaults = TransformerDefaults {
    vocab_size: 250_112,
    intermediate_size: ("d_ff", Some(1024)),
    num_hidden_layers: 8,
    num_attention_heads: 6,
    ..t5::ENCODER
};

/// `MT5ForConditionalGeneration` and its base.
pub const FAMILY: Family = Family {
    model_type: "mt5",
    classes: &[(Task::Base, "MT5Model"), (Task::Seq2SeqLm, "MT5ForConditionalGeneration")],
    own_keys: t5::KEYS,
    describe: |raw| t5::describe(raw, ENCODER, "gated-gelu"),
    head: Head::of_decoder,
};
