//! MPNet: RoBERTa with scores biased by distance. Semantics: transformers' `modeling_mpnet.py`.

use super::description::RelativeBias;
use super::{Description, Family, Names, Task, bert, roberta, t5};
use crate::config::TransformerDefaults;

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 30_527,
    bos_token_id: Some(0),
    eos_token_id: Some(2),
    pad_token_id: Some(1),
    ..bert::DEFAULTS
};

const NAMES: Names = Names {
    base: "mpnet",
    token_types: None,
    qkv: &["attention.attn.q", "attention.attn.k", "attention.attn.v"],
    output: "attention.attn.o",
    attended_norm: Some("attention.LayerNorm"),
    ..bert::NAMES
};

/// `MPNetModel`, and those with heads.
pub const FAMILY: Family = Family {
    model_type: "mpnet",
    classes: &[
        (Task::Base, "MPNetModel"),
        (Task::MaskedLm, "MPNetForMaskedLM"),
        (Task::SequenceClassification, "MPNetForSequenceClassification"),
        (Task::TokenClassification, "MPNetForTokenClassification"),
        (Task::QuestionAnswering, "MPNetForQuestionAnswering"),
    ],
    own_keys: &["layer_norm_eps", "relative_attention_num_buckets"],
    describe: |raw| {
        let fields = raw.fields();
        // transformers looks into a table of another size as if it were of this one.
        if fields.count("relative_attention_num_buckets")?.is_some_and(|buckets| buckets != 32) {
            return Err(fields.unsupported("relative_attention_num_buckets", "32"));
        }
        let buckets = t5::buckets(raw, true)?;
        let relative = Some(RelativeBias { module: "encoder.relative_attention_bias", buckets });
        // Positions count from the row behind 1, whatever the padding's id.
        Ok(Description { relative, first_position: 2, ..roberta::describe(raw, &DEFAULTS, NAMES)? })
    },
    head: roberta::head,
};
