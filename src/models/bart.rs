//! BART. Semantics: transformers' `modeling_bart.py`.

use super::description::CrossNames;
use super::{Description, Family, Head, Logits, Names, Task};
use crate::config::{ConfigError, ModelConfig, TransformerConfig, TransformerDefaults};

/// The encoder's.
pub(super) const ENCODER: TransformerDefaults = TransformerDefaults {
    vocab_size: 50_265,
    hidden_size: 1024,
    intermediate_size: ("encoder_ffn_dim", Some(4096)),
    num_hidden_layers: 12,
    num_attention_heads: 16,
    own_heads: false,
    max_position_embeddings: 1024,
    norm_eps: ("", 1e-5),
    hidden_act: ("activation_function", "gelu"),
    aliases: &[
        ("hidden_size", "d_model"),
        ("num_attention_heads", "encoder_attention_heads"),
        ("num_hidden_layers", "encoder_layers"),
    ],
    renamed: &[("initializer_range", "init_std")],
    tie_word_embeddings: true,
    bos_token_id: Some(0),
    eos_token_id: Some(2),
    pad_token_id: Some(1),
    ..TransformerDefaults::LLAMA
};

/// The decoder's.
pub(super) const DECODER: TransformerDefaults = TransformerDefaults {
    intermediate_size: ("decoder_ffn_dim", Some(4096)),
    // The common names are the encoder's.
    renamed: &[
        ("num_attention_heads", "decoder_attention_heads"),
        ("num_hidden_layers", "decoder_layers"),
        ("initializer_range", "init_std"),
    ],
    ..ENCODER
};

/// Those of a decoder beside an encoder with these.
pub(super) const fn beside(encoder: TransformerDefaults) -> TransformerDefaults {
    TransformerDefaults { intermediate_size: DECODER.intermediate_size, renamed: DECODER.renamed, ..encoder }
}

/// The encoder's, whose embedding is the decoder's too.
pub(super) const ENCODER_NAMES: Names = Names {
    embedding: "shared",
    positions: Some("encoder.embed_positions"),
    embedding_norm: Some("encoder.layernorm_embedding"),
    layers: "encoder.layers",
    last_norm: None,
    ignored: &[],
    output: "self_attn.out_proj",
    gate_up: &["fc1"],
    down: "fc2",
    input_norm: None,
    mlp_norm: None,
    attended_norm: Some("self_attn_layer_norm"),
    fed_norm: Some("final_layer_norm"),
    ..Names::LLAMA
};

/// The decoder's.
pub(super) const DECODER_NAMES: Names = Names {
    positions: Some("decoder.embed_positions"),
    embedding_norm: Some("decoder.layernorm_embedding"),
    layers: "decoder.layers",
    // No head adds anything of its own until it is trained to.
    spared: &["final_logits_bias"],
    cross: Some(CrossNames {
        norm: None,
        query: "encoder_attn.q_proj",
        kv: &["encoder_attn.k_proj", "encoder_attn.v_proj"],
        memory: "encoder_attn",
        output: "encoder_attn.out_proj",
        attended_norm: Some("encoder_attn_layer_norm"),
    }),
    also_embedding: &["encoder.embed_tokens", "decoder.embed_tokens"],
    ..ENCODER_NAMES
};

/// Keys of models of two stacks.
pub(super) const KEYS: &[&str] = &[
    "d_model",
    "encoder_layers",
    "encoder_attention_heads",
    "encoder_ffn_dim",
    "decoder_layers",
    "decoder_attention_heads",
    "decoder_ffn_dim",
    "init_std",
    "activation_function",
    "scale_embedding",
    "decoder_start_token_id",
    "forced_eos_token_id",
];

/// What reads and what writes, each with its defaults and names; `as_family` says what sets the family's stacks apart.
pub(super) fn stacks(
    raw: &ModelConfig,
    both: [(TransformerDefaults, Names); 2],
    as_family: impl Fn(Description) -> Description,
) -> Result<Description, ConfigError> {
    let [encoder, decoder] = both.map(|(defaults, names)| {
        let config = TransformerConfig::parse(raw, &defaults)?;
        config.positions_fit(raw, &defaults)?;
        Ok(as_family(stack(raw, config, names)?))
    });
    let encoder = Some(Box::new(Description { causal: false, ..encoder? }));
    Ok(Description { encoder, ..decoder? })
}

/// One of the stacks: LayerNorms, biases, a plain feed-forward layer, positions that are added.
fn stack(raw: &ModelConfig, config: TransformerConfig, names: Names) -> Result<Description, ConfigError> {
    let scaled = raw.fields().flag("scale_embedding")?.unwrap_or(false);
    Ok(Description {
        qkv_bias: true,
        output_bias: true,
        mlp_bias: true,
        gated: false,
        layer_norms: true,
        embedding_scale: if scaled { (config.hidden_size as f32).sqrt() } else { 1.0 },
        names,
        ropes: vec![None; config.num_hidden_layers],
        ..Description::llama(config)
    })
}

fn describe(raw: &ModelConfig) -> Result<Description, ConfigError> {
    // The first two rows of positions are nobody's.
    let as_bart = |stack| Description { first_position: 2, ..stack };
    stacks(raw, [(ENCODER, ENCODER_NAMES), (DECODER, DECODER_NAMES)], as_bart)
}

/// The head of words, which has a bias that isn't a module's.
pub(super) fn head(_: &ModelConfig, config: &TransformerConfig, task: Task) -> Result<Head, ConfigError> {
    let logits = Logits {
        bias: Some("final_logits_bias"),
        bias_dims: Some([1, config.vocab_size]),
        ..Logits::of_words("lm_head", config)
    };
    Ok(Head { logits: (task == Task::Seq2SeqLm).then_some(logits), ..Head::default() })
}

/// `BartForConditionalGeneration` and its base.
pub const FAMILY: Family = Family {
    model_type: "bart",
    classes: &[(Task::Base, "BartModel"), (Task::Seq2SeqLm, "BartForConditionalGeneration")],
    own_keys: KEYS,
    describe,
    head,
};
