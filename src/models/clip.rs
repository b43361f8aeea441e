//! CLIP: a tower that reads texts and one that reads images, each with a projection into what they have in common.
//! Semantics: transformers' `modeling_clip.py`.

use super::image::Patches;
use super::vit::{of_image, pre_normed};
use super::{Description, Family, Head, Logits, Names, Task};
use crate::config::{ConfigError, ModelConfig, TransformerConfig, TransformerDefaults};
use crate::tensor::ops::Pool;

/// `CLIPTextConfig`'s.
const TEXT_DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 49_408,
    hidden_size: 512,
    intermediate_size: ("intermediate_size", Some(2048)),
    num_hidden_layers: 12,
    num_attention_heads: 8,
    own_heads: false,
    max_position_embeddings: 77,
    norm_eps: ("layer_norm_eps", 1e-5),
    hidden_act: ("hidden_act", "quick_gelu"),
    bos_token_id: Some(49_406),
    eos_token_id: Some(49_407),
    pad_token_id: Some(1),
    ..TransformerDefaults::LLAMA
};

/// `CLIPVisionConfig`'s.
const VISION_DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 1,
    hidden_size: 768,
    intermediate_size: ("intermediate_size", Some(3072)),
    num_attention_heads: 12,
    bos_token_id: None,
    eos_token_id: None,
    pad_token_id: None,
    ..TEXT_DEFAULTS
};

const TEXT_NAMES: Names = Names {
    base: "text_model",
    embedding: "embeddings.token_embedding",
    positions: Some("embeddings.position_embedding"),
    layers: "encoder.layers",
    last_norm: Some("final_layer_norm"),
    ignored: &["embeddings.position_ids"],
    output: "self_attn.out_proj",
    gate_up: &["mlp.fc1"],
    down: "mlp.fc2",
    input_norm: Some("layer_norm1"),
    mlp_norm: Some("layer_norm2"),
    ..Names::LLAMA
};

const VISION_NAMES: Names = Names {
    base: "vision_model",
    embedding: "embeddings.patch_embedding",
    positions: None,
    // So it is spelt.
    embedding_norm: Some("pre_layrnorm"),
    // That of the first token alone, which the head has.
    last_norm: None,
    ..TEXT_NAMES
};

fn describe_text(raw: &ModelConfig) -> Result<Description, ConfigError> {
    let config = TransformerConfig::parse(raw, &TEXT_DEFAULTS)?;
    config.positions_fit(raw, &TEXT_DEFAULTS)?;
    // transformers' own embedding has no row of zeros for padding.
    Ok(Description { padding_row: None, ..pre_normed(config, TEXT_NAMES) })
}

fn describe_vision(raw: &ModelConfig) -> Result<Description, ConfigError> {
    let (config, image) = of_image(raw, &VISION_DEFAULTS, 32)?;
    let patches = Patches {
        image,
        convolution: "embeddings.patch_embedding",
        bias: false,
        class: ("embeddings.class_embedding", 0),
        positions: ("embeddings.position_embedding.weight", 0),
    };
    Ok(Description { causal: false, patches: Some(patches), ..pre_normed(config, VISION_NAMES) })
}

fn projection(raw: &ModelConfig, module: &'static str) -> Result<Logits, ConfigError> {
    let outputs = raw.fields().count("projection_dim")?.unwrap_or(512);
    Ok(Logits { module, outputs, tied: false, bias: None, bias_dims: None, bias_has_two_names: false })
}

/// Which token's row is a text's, as transformers finds it: the first of those with the id `end`; where that is 2, as the first
/// checkpoints had it by mistake, the first of those with the largest id. A text without such a token has its first one's.
pub fn end_of_text(ids: &[u32], end: u32) -> usize {
    let end = if end == 2 { ids.iter().max().copied() } else { Some(end) };
    ids.iter().position(|id| Some(*id) == end).unwrap_or(0)
}

/// The config of the tower that a task is for, where the config is of both.
///
/// # Errors
/// [`ConfigError::Invalid`] where it lacks the tower's.
pub(super) fn tower(config: &ModelConfig, task: Task) -> Result<Option<ModelConfig>, ConfigError> {
    if config.model_type()? != FAMILY.model_type {
        return Ok(None);
    }
    match task {
        Task::TextProjection => config.part("text_config", TEXT_FAMILY.model_type).map(Some),
        Task::VisionProjection => config.part("vision_config", VISION_FAMILY.model_type).map(Some),
        _ => Ok(None),
    }
}

/// Both towers in one repo. Each is described by its own config.
pub const FAMILY: Family = Family {
    model_type: "clip",
    classes: &[
        (Task::TextProjection, "CLIPTextModelWithProjection"),
        (Task::VisionProjection, "CLIPVisionModelWithProjection"),
    ],
    own_keys: &["text_config", "vision_config"],
    describe: |raw| {
        Err(raw.fields().unsupported("model_type", "one of its towers: clip_text_model, clip_vision_model"))
    },
    head: |raw, _, _| {
        Err(raw.fields().unsupported("model_type", "one of its towers: clip_text_model, clip_vision_model"))
    },
};

/// The tower that reads texts.
pub const TEXT_FAMILY: Family = Family {
    model_type: "clip_text_model",
    classes: &[(Task::TextProjection, "CLIPTextModelWithProjection")],
    own_keys: &["layer_norm_eps", "projection_dim"],
    describe: describe_text,
    // Of every token: which one is the text's is known when there is a text.
    head: |raw, _, _| Ok(Head { logits: Some(projection(raw, "text_projection")?), ..Head::default() }),
};

/// The tower that reads images.
pub const VISION_FAMILY: Family = Family {
    model_type: "clip_vision_model",
    classes: &[(Task::VisionProjection, "CLIPVisionModelWithProjection")],
    own_keys: &["layer_norm_eps", "projection_dim", "image_size", "patch_size", "num_channels"],
    describe: describe_vision,
    head: |raw, _, _| {
        let logits = Some(projection(raw, "visual_projection")?);
        Ok(Head { pool: Some(Pool::First), norm: Some("vision_model.post_layernorm"), logits, ..Head::default() })
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_ends_where_transformers_says() {
        // The first of several, as padding may have the same id.
        assert_eq!(end_of_text(&[5, 9, 7, 9, 9], 9), 1);
        assert_eq!(end_of_text(&[5, 3, 7, 9, 9], 2), 3);
        assert_eq!(end_of_text(&[5, 2, 7], 2), 2);
        assert_eq!(end_of_text(&[5, 3, 7], 9), 0);
    }
}
