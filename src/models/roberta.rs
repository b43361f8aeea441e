//! RoBERTa: BERT with positions that are counted as fairseq does, and other heads. Semantics: transformers'
//! `modeling_roberta.py`.

use super::{Dense, Description, Family, Head, Names, Task, bert};
use crate::config::{Activation, ConfigError, ModelConfig, TransformerConfig, TransformerDefaults};
use crate::tensor::ops::Pool;

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 50_265,
    bos_token_id: Some(0),
    eos_token_id: Some(2),
    pad_token_id: Some(1),
    ..bert::DEFAULTS
};

/// What it and XLM-RoBERTa call the weights.
pub(super) const NAMES: Names = Names { base: "roberta", ..bert::NAMES };

/// What it and its kin are, each with its defaults and names.
pub(super) fn describe(
    raw: &ModelConfig,
    defaults: &TransformerDefaults,
    names: Names,
) -> Result<Description, ConfigError> {
    let config = TransformerConfig::parse(raw, defaults)?;
    config.positions_fit(raw, defaults)?;
    let fields = raw.fields();
    let padding = config.special.pad.ok_or_else(|| fields.invalid("pad_token_id", "a token id"))? as usize;
    let first_position = padding + 1;
    if first_position >= config.max_position_embeddings {
        let expected = format!("more than pad_token_id ({padding}) + 1, from which positions are counted");
        return Err(fields.invalid("max_position_embeddings", expected));
    }
    Ok(Description { first_position, numbers_positions: true, ..bert::describe(raw, config, names)? })
}

/// What they have behind their layers.
pub(super) fn head(raw: &ModelConfig, config: &TransformerConfig, task: Task) -> Result<Head, ConfigError> {
    let dense = |module, activation| Dense { module, in_base: false, bias: true, activation };
    Ok(match task {
        Task::MaskedLm => {
            // Whatever the layers' activation.
            let dense = dense("lm_head.dense", Activation::Gelu);
            bert::masked_lm(config, dense, "lm_head.layer_norm", ["lm_head.decoder", "lm_head.bias"])
        }
        Task::SequenceClassification => {
            let projection = Head::classifier("classifier.out_proj", "classifier.out_proj.bias", raw.labels()?);
            projection.after(dense("classifier.dense", Activation::Tanh))
        }
        Task::TokenClassification => Head::classifier("classifier", "classifier.bias", raw.labels()?),
        Task::QuestionAnswering => Head::classifier("qa_outputs", "qa_outputs.bias", 2),
        _ => Head { pool: Some(Pool::First), dense: Some(bert::POOLER), ..Head::default() },
    })
}

/// `RobertaModel`, and those with heads.
pub const FAMILY: Family = Family {
    model_type: "roberta",
    classes: &[
        (Task::Base, "RobertaModel"),
        (Task::MaskedLm, "RobertaForMaskedLM"),
        (Task::SequenceClassification, "RobertaForSequenceClassification"),
        (Task::TokenClassification, "RobertaForTokenClassification"),
        (Task::QuestionAnswering, "RobertaForQuestionAnswering"),
    ],
    own_keys: bert::KEYS,
    describe: |raw| describe(raw, &DEFAULTS, NAMES),
    head,
};
