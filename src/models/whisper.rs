//! Whisper: an encoder of sound and a decoder of text. Semantics: transformers' `modeling_whisper.py`.

use super::convolution::ConvolutionNames;
use super::{Description, Family, Head, Names, Task, bart, mbart};
use crate::config::{ConfigError, ModelConfig, TransformerDefaults};

const DECODER: TransformerDefaults = TransformerDefaults {
    vocab_size: 51_865,
    hidden_size: 384,
    intermediate_size: ("decoder_ffn_dim", Some(1536)),
    num_hidden_layers: 4,
    num_attention_heads: 6,
    max_position_embeddings: 448,
    renamed: &[
        ("num_attention_heads", "decoder_attention_heads"),
        ("num_hidden_layers", "decoder_layers"),
        ("max_position_embeddings", "max_target_positions"),
        ("initializer_range", "init_std"),
    ],
    bos_token_id: Some(50_256),
    eos_token_id: Some(50_256),
    pad_token_id: Some(50_256),
    ..bart::DECODER
};

const ENCODER: TransformerDefaults = TransformerDefaults {
    intermediate_size: ("encoder_ffn_dim", Some(1536)),
    max_position_embeddings: 1500,
    renamed: &[("max_position_embeddings", "max_source_positions"), ("initializer_range", "init_std")],
    ..DECODER
};

const ENCODER_NAMES: Names = Names { embedding_norm: None, ..mbart::ENCODER_NAMES };

const DECODER_NAMES: Names = Names {
    embedding: "decoder.embed_tokens",
    positions: Some("decoder.embed_positions"),
    layers: "decoder.layers",
    last_norm: Some("decoder.layer_norm"),
    cross: Some(mbart::CROSS),
    ..ENCODER_NAMES
};

fn describe(raw: &ModelConfig) -> Result<Description, ConfigError> {
    let as_whisper = |stack| Description { bare_key: true, ..stack };
    let description = bart::stacks(raw, [(ENCODER, ENCODER_NAMES), (DECODER, DECODER_NAMES)], as_whisper)?;
    let channels = raw.fields().count("num_mel_bins")?.unwrap_or(80);
    let convolutions = Some(ConvolutionNames { channels, first: "encoder.conv1", second: "encoder.conv2" });
    let encoder = description.encoder;
    let encoder = encoder.map(|stack| Box::new(Description { convolutions, embedding_scale: 1.0, ..*stack }));
    Ok(Description { encoder, ..description })
}

/// `WhisperForConditionalGeneration` and its base.
pub const FAMILY: Family = Family {
    model_type: "whisper",
    classes: &[(Task::Base, "WhisperModel"), (Task::SpeechSeq2Seq, "WhisperForConditionalGeneration")],
    own_keys: &["num_mel_bins", "max_source_positions", "max_target_positions"],
    describe,
    head: |_, config, task| Ok(Head::of_words("proj_out", config, task)),
};
