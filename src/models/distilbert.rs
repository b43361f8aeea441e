//! DistilBERT: BERT without types of tokens and without a pooler. Semantics: transformers' `modeling_distilbert.py`.

use super::{Dense, Family, Head, Names, Task, bert};
use crate::config::{Activation, ConfigError, ModelConfig, TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    intermediate_size: ("hidden_dim", Some(3072)),
    num_hidden_layers: 6,
    norm_eps: ("", 1e-12),
    hidden_act: ("activation", "gelu"),
    aliases: &[("hidden_size", "dim"), ("num_attention_heads", "n_heads"), ("num_hidden_layers", "n_layers")],
    ..bert::DEFAULTS
};

const NAMES: Names = Names {
    base: "distilbert",
    token_types: None,
    layers: "transformer.layer",
    qkv: &["attention.q_lin", "attention.k_lin", "attention.v_lin"],
    output: "attention.out_lin",
    gate_up: &["ffn.lin1"],
    down: "ffn.lin2",
    attended_norm: Some("sa_layer_norm"),
    fed_norm: Some("output_layer_norm"),
    ..bert::NAMES
};

fn head(raw: &ModelConfig, config: &TransformerConfig, task: Task) -> Result<Head, ConfigError> {
    let dense = |module, activation| Dense { module, in_base: false, bias: true, activation };
    let classifier = Head::classifier("classifier", "classifier.bias", raw.labels()?);
    Ok(match task {
        Task::MaskedLm => {
            let dense = dense("vocab_transform", config.hidden_act);
            bert::masked_lm(config, dense, "vocab_layer_norm", ["vocab_projector", "vocab_projector.bias"])
        }
        Task::SequenceClassification => classifier.after(dense("pre_classifier", Activation::Relu)),
        Task::TokenClassification => classifier,
        Task::QuestionAnswering => Head::classifier("qa_outputs", "qa_outputs.bias", 2),
        _ => Head::default(),
    })
}

/// `DistilBertModel`, and those with heads.
pub const FAMILY: Family = Family {
    model_type: "distilbert",
    classes: &[
        (Task::Base, "DistilBertModel"),
        (Task::MaskedLm, "DistilBertForMaskedLM"),
        (Task::SequenceClassification, "DistilBertForSequenceClassification"),
        (Task::TokenClassification, "DistilBertForTokenClassification"),
        (Task::QuestionAnswering, "DistilBertForQuestionAnswering"),
    ],
    own_keys: &["dim", "hidden_dim", "n_heads", "n_layers", "activation", "sinusoidal_pos_embds"],
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        config.positions_fit(raw, &DEFAULTS)?;
        // Positions of sines are in the checkpoints too.
        raw.fields().flag("sinusoidal_pos_embds")?;
        bert::describe(raw, config, NAMES)
    },
    head,
};
