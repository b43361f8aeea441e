//! ViT: an encoder of an image's patches. Semantics: transformers' `modeling_vit.py`.
//!
//! The weights are called as checkpoints have them; in memory, transformers 5 calls its layers' modules otherwise.

use super::image::{ImageShape, Patches};
use super::{Dense, Description, Family, Head, Names, Task};
use crate::config::{Activation, ConfigError, ModelConfig, TransformerConfig, TransformerDefaults};
use crate::tensor::ops::Pool;

/// `ViTConfig`'s.
const DEFAULTS: TransformerDefaults = TransformerDefaults {
    // It reads no ids.
    vocab_size: 1,
    hidden_size: 768,
    intermediate_size: ("intermediate_size", Some(3072)),
    num_hidden_layers: 12,
    num_attention_heads: 12,
    own_heads: false,
    norm_eps: ("layer_norm_eps", 1e-12),
    hidden_act: ("hidden_act", "gelu"),
    bos_token_id: None,
    eos_token_id: None,
    pad_token_id: None,
    ..TransformerDefaults::LLAMA
};

const NAMES: Names = Names {
    base: "vit",
    embedding: "embeddings.patch_embeddings",
    layers: "encoder.layer",
    last_norm: Some("layernorm"),
    ignored: &[],
    qkv: &["attention.attention.query", "attention.attention.key", "attention.attention.value"],
    output: "attention.output.dense",
    gate_up: &["intermediate.dense"],
    down: "output.dense",
    input_norm: Some("layernorm_before"),
    mlp_norm: Some("layernorm_after"),
    ..Names::LLAMA
};

/// The sizes of a transformer that reads an image, whose tokens are its vocabulary's one id again and again.
pub(super) fn of_image(
    raw: &ModelConfig,
    defaults: &TransformerDefaults,
    patch: usize,
) -> Result<(TransformerConfig, ImageShape), ConfigError> {
    let image = ImageShape::parse(raw, patch)?;
    let mut config = TransformerConfig::parse(raw, defaults)?;
    image.fits(raw, &config)?;
    config.vocab_size = 1;
    config.max_position_embeddings = image.tokens();
    Ok((config, image))
}

/// A transformer whose norms come before its layers' halves, and whose projections all have biases.
pub(super) fn pre_normed(config: TransformerConfig, names: Names) -> Description {
    let layers = config.num_hidden_layers;
    Description {
        qkv_bias: true,
        output_bias: true,
        mlp_bias: true,
        gated: false,
        layer_norms: true,
        bare_states: true,
        names,
        ropes: vec![None; layers],
        ..Description::llama(config)
    }
}

fn describe(raw: &ModelConfig) -> Result<Description, ConfigError> {
    let (config, image) = of_image(raw, &DEFAULTS, 16)?;
    let patches = Patches {
        image,
        convolution: "embeddings.patch_embeddings.projection",
        bias: true,
        class: ("embeddings.cls_token", 2),
        positions: ("embeddings.position_embeddings", 1),
    };
    Ok(Description {
        qkv_bias: raw.fields().flag("qkv_bias")?.unwrap_or(true),
        causal: false,
        patches: Some(patches),
        ..pre_normed(config, NAMES)
    })
}

fn head(raw: &ModelConfig, config: &TransformerConfig, task: Task) -> Result<Head, ConfigError> {
    let fields = raw.fields();
    if task == Task::ImageClassification {
        let classifier = Head::classifier("classifier", "classifier.bias", raw.labels()?);
        return Ok(Head { pool: Some(Pool::First), ..classifier });
    }
    if fields.count("pooler_output_size")?.is_some_and(|size| size != config.hidden_size) {
        return Err(fields.unsupported("pooler_output_size", format!("hidden_size ({})", config.hidden_size)));
    }
    let activation = Activation::from_name(fields.text("pooler_act")?.unwrap_or("tanh"));
    let activation = activation.ok_or_else(|| fields.unsupported("pooler_act", Activation::NAMES))?;
    let dense = Dense { module: "pooler.dense", in_base: true, bias: true, activation };
    Ok(Head { pool: Some(Pool::First), dense: Some(dense), ..Head::default() })
}

/// `ViTModel`, and the one that tells what an image shows.
pub const FAMILY: Family = Family {
    model_type: "vit",
    classes: &[(Task::Base, "ViTModel"), (Task::ImageClassification, "ViTForImageClassification")],
    own_keys: &[
        "layer_norm_eps",
        "qkv_bias",
        "pooler_act",
        "pooler_output_size",
        "image_size",
        "patch_size",
        "num_channels",
    ],
    describe,
    head,
};
