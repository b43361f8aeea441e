//! BERT. Semantics: transformers' `modeling_bert.py`.

use super::{Dense, Description, Family, Head, Logits, Names, Task};
use crate::config::{Activation, ConfigError, ModelConfig, TransformerConfig, TransformerDefaults};
use crate::tensor::ops::Pool;

/// `BertConfig`'s.
pub(super) const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 30_522,
    hidden_size: 768,
    intermediate_size: ("intermediate_size", Some(3072)),
    num_hidden_layers: 12,
    num_attention_heads: 12,
    own_heads: false,
    max_position_embeddings: 512,
    norm_eps: ("layer_norm_eps", 1e-12),
    hidden_act: ("hidden_act", "gelu"),
    tie_word_embeddings: true,
    bos_token_id: None,
    eos_token_id: None,
    pad_token_id: Some(0),
    ..TransformerDefaults::LLAMA
};

/// What its kin have too, each with a base of another name.
pub(super) const NAMES: Names = Names {
    base: "bert",
    embedding: "embeddings.word_embeddings",
    embeddings: Some("embeddings"),
    positions: Some("embeddings.position_embeddings"),
    token_types: Some("embeddings.token_type_embeddings"),
    embedding_norm: Some("embeddings.LayerNorm"),
    layers: "encoder.layer",
    last_norm: None,
    ignored: &["position_ids"],
    qkv: &["attention.self.query", "attention.self.key", "attention.self.value"],
    output: "attention.output.dense",
    gate_up: &["intermediate.dense"],
    down: "output.dense",
    input_norm: None,
    mlp_norm: None,
    attended_norm: Some("attention.output.LayerNorm"),
    fed_norm: Some("output.LayerNorm"),
    ..Names::LLAMA
};

/// The keys of it and its kin.
pub(super) const KEYS: &[&str] = &["layer_norm_eps", "type_vocab_size", "position_embedding_type", "is_decoder"];

/// What makes the first token's row the pooled output.
pub(super) const POOLER: Dense =
    Dense { module: "pooler.dense", in_base: true, bias: true, activation: Activation::Tanh };

/// An encoder whose norms come after what is added: BERT and its kin.
pub(super) fn describe(raw: &ModelConfig, config: TransformerConfig, names: Names) -> Result<Description, ConfigError> {
    let fields = raw.fields();
    if fields.flag("is_decoder")? == Some(true) {
        return Err(fields.unsupported("is_decoder", "false: it is an encoder here"));
    }
    if fields.text("position_embedding_type")?.is_some_and(|kind| kind != "absolute") {
        return Err(fields.unsupported("position_embedding_type", "absolute"));
    }
    let token_types = fields.count("type_vocab_size")?.unwrap_or(2);
    let layers = config.num_hidden_layers;
    Ok(Description {
        qkv_bias: true,
        output_bias: true,
        mlp_bias: true,
        gated: false,
        layer_norms: true,
        causal: false,
        token_types: if names.token_types.is_some() { token_types } else { 0 },
        names,
        ropes: vec![None; layers],
        ..Description::llama(config)
    })
}

/// The head that tells what is masked: a layer of its own and its norm, and then the embedding.
pub(super) fn masked_lm(
    config: &TransformerConfig,
    dense: Dense,
    norm: &'static str,
    logits: [&'static str; 2],
) -> Head {
    let [module, bias] = logits;
    let logits = Some(Logits { bias: Some(bias), bias_has_two_names: true, ..Logits::of_words(module, config) });
    Head { dense: Some(dense), norm: Some(norm), logits, ..Head::default() }
}

fn head(raw: &ModelConfig, config: &TransformerConfig, task: Task) -> Result<Head, ConfigError> {
    let classifier = Head::classifier("classifier", "classifier.bias", raw.labels()?);
    Ok(match task {
        Task::MaskedLm => {
            let module = "cls.predictions.transform.dense";
            let dense = Dense { module, in_base: false, bias: true, activation: config.hidden_act };
            let logits = ["cls.predictions.decoder", "cls.predictions.bias"];
            masked_lm(config, dense, "cls.predictions.transform.LayerNorm", logits)
        }
        Task::SequenceClassification => classifier.after(POOLER),
        Task::TokenClassification => classifier,
        Task::QuestionAnswering => Head::classifier("qa_outputs", "qa_outputs.bias", 2),
        _ => Head { pool: Some(Pool::First), dense: Some(POOLER), ..Head::default() },
    })
}

/// `BertModel`, and those with heads.
pub const FAMILY: Family = Family {
    model_type: "bert",
    classes: &[
        (Task::Base, "BertModel"),
        (Task::MaskedLm, "BertForMaskedLM"),
        (Task::SequenceClassification, "BertForSequenceClassification"),
        (Task::TokenClassification, "BertForTokenClassification"),
        (Task::QuestionAnswering, "BertForQuestionAnswering"),
    ],
    own_keys: KEYS,
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        config.positions_fit(raw, &DEFAULTS)?;
        describe(raw, config, NAMES)
    },
    head,
};
