//! XLM-RoBERTa: RoBERTa for many languages. Semantics: transformers' `modeling_xlm_roberta.py`.

use super::{Family, Task, bert, roberta};
use crate::config::TransformerDefaults;

const DEFAULTS: TransformerDefaults =
    TransformerDefaults { bos_token_id: Some(0), eos_token_id: Some(2), pad_token_id: Some(1), ..bert::DEFAULTS };

/// `XLMRobertaModel`, and those with heads.
pub const FAMILY: Family = Family {
    model_type: "xlm-roberta",
    classes: &[
        (Task::Base, "XLMRobertaModel"),
        (Task::MaskedLm, "XLMRobertaForMaskedLM"),
        (Task::SequenceClassification, "XLMRobertaForSequenceClassification"),
        (Task::TokenClassification, "XLMRobertaForTokenClassification"),
        (Task::QuestionAnswering, "XLMRobertaForQuestionAnswering"),
    ],
    own_keys: bert::KEYS,
    describe: |raw| roberta::describe(raw, &DEFAULTS, roberta::NAMES),
    head: roberta::head,
};
