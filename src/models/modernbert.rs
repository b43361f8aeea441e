//! ModernBERT: an encoder of a decoder's parts, with windows in most layers. Semantics: transformers'
//! `modeling_modernbert.py`.

use super::{Dense, Description, Family, Head, Logits, Names, Task};
use crate::config::{Activation, ConfigError, ModelConfig, RopeKeys, TransformerConfig, TransformerDefaults};
use crate::tensor::ops::Pool;

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 50_368,
    hidden_size: 768,
    intermediate_size: ("intermediate_size", Some(1152)),
    num_hidden_layers: 22,
    num_attention_heads: 12,
    own_heads: false,
    max_position_embeddings: 8192,
    norm_eps: ("norm_eps", 1e-5),
    hidden_act: ("hidden_activation", "gelu"),
    rope_keys: RopeKeys {
        theta: "global_rope_theta",
        local_theta: "local_rope_theta",
        scales_local: true,
        ..RopeKeys::LLAMA
    },
    rope_theta: 160_000.0,
    rope_local_base_freq: Some(10_000.0),
    tie_word_embeddings: true,
    bos_token_id: Some(50_281),
    eos_token_id: Some(50_282),
    pad_token_id: Some(50_283),
    ..TransformerDefaults::LLAMA
};

const NAMES: Names = Names {
    embedding: "embeddings.tok_embeddings",
    embeddings: Some("embeddings"),
    embedding_norm: Some("embeddings.norm"),
    last_norm: Some("final_norm"),
    ignored: &[],
    qkv: &["attn.Wqkv"],
    output: "attn.Wo",
    gate_up: &["mlp.Wi"],
    down: "mlp.Wo",
    input_norm: Some("attn_norm"),
    mlp_norm: Some("mlp_norm"),
    ..Names::LLAMA
};

fn describe(raw: &ModelConfig) -> Result<Description, ConfigError> {
    let config = TransformerConfig::parse(raw, &DEFAULTS)?;
    let fields = raw.fields();
    let every = fields.count("global_attn_every_n_layers")?.unwrap_or(3);
    // Of so many tokens in all, half on either side.
    let window = fields.count("local_attention")?.unwrap_or(128) / 2;
    let windows = config.windows(raw, Some(window), |layer| !layer.is_multiple_of(every))?;
    let ropes = windows.iter().map(|window| Some(usize::from(window.is_some()))).collect();
    Ok(Description {
        layer_norms: true,
        norm_bias: fields.flag("norm_bias")?.unwrap_or(false),
        first_input_norm: false,
        causal: false,
        names: NAMES,
        windows,
        ropes,
        ..Description::llama(config)
    })
}

fn head(raw: &ModelConfig, config: &TransformerConfig, task: Task) -> Result<Head, ConfigError> {
    let fields = raw.fields();
    let flag = |key, default| fields.flag(key).map(|value| value.unwrap_or(default));
    let name = fields.text("classifier_activation")?.unwrap_or("gelu");
    let activation = Activation::from_name(name);
    let activation = activation.ok_or_else(|| fields.unsupported("classifier_activation", Activation::NAMES))?;
    let bias = flag("classifier_bias", false)?;
    let with_dense = |head: Head| Head {
        dense: Some(Dense { module: "head.dense", in_base: false, bias, activation }),
        norm: Some("head.norm"),
        ..head
    };
    let classifier = |outputs| with_dense(Head::classifier("classifier", "classifier.bias", outputs));
    Ok(match task {
        Task::MaskedLm => {
            let bias = flag("decoder_bias", true)?.then_some("decoder.bias");
            let logits = Some(Logits { bias, ..Logits::of_words("decoder", config) });
            with_dense(Head { logits, ..Head::default() })
        }
        Task::SequenceClassification => {
            let pool = match fields.text("classifier_pooling")?.unwrap_or("cls") {
                "cls" => Pool::First,
                "mean" => Pool::Mean,
                _ => return Err(fields.unsupported("classifier_pooling", "cls, mean")),
            };
            Head { pool: Some(pool), ..classifier(raw.labels()?) }
        }
        Task::TokenClassification => classifier(raw.labels()?),
        Task::QuestionAnswering => classifier(2),
        _ => Head::default(),
    })
}

/// `ModernBertModel`, and those with heads.
pub const FAMILY: Family = Family {
    model_type: "modernbert",
    classes: &[
        (Task::Base, "ModernBertModel"),
        (Task::MaskedLm, "ModernBertForMaskedLM"),
        (Task::SequenceClassification, "ModernBertForSequenceClassification"),
        (Task::TokenClassification, "ModernBertForTokenClassification"),
        (Task::QuestionAnswering, "ModernBertForQuestionAnswering"),
    ],
    own_keys: &[
        "norm_eps",
        "norm_bias",
        "global_rope_theta",
        "local_rope_theta",
        "global_attn_every_n_layers",
        "local_attention",
        "decoder_bias",
        "classifier_bias",
        "classifier_pooling",
        "classifier_activation",
    ],
    describe,
    head,
};
