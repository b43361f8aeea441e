//! T5: no positions but distances, which scores are biased by. Semantics: transformers' `modeling_t5.py`.

use super::description::{CrossNames, RelativeBias};
use super::{Description, Family, Head, Names, Task, bart};
use crate::config::{Activation, ConfigError, ModelConfig, TransformerConfig, TransformerDefaults};
use crate::tensor::relative::Buckets;

/// The encoder's.
pub(super) const ENCODER: TransformerDefaults = TransformerDefaults {
    vocab_size: 32_128,
    hidden_size: 512,
    intermediate_size: ("d_ff", Some(2048)),
    num_hidden_layers: 6,
    num_attention_heads: 8,
    head_dim: Some(64),
    norm_eps: ("layer_norm_epsilon", 1e-6),
    // It is in feed_forward_proj.
    hidden_act: ("", "relu"),
    aliases: &[
        ("hidden_size", "d_model"),
        ("num_attention_heads", "num_heads"),
        ("num_hidden_layers", "num_layers"),
        ("head_dim", "d_kv"),
    ],
    tie_word_embeddings: true,
    bos_token_id: None,
    eos_token_id: Some(1),
    pad_token_id: Some(0),
    ..TransformerDefaults::LLAMA
};

const ENCODER_NAMES: Names = Names {
    base: "",
    embedding: "shared",
    layers: "encoder.block",
    last_norm: Some("encoder.final_layer_norm"),
    ignored: &[],
    qkv: &["layer.0.SelfAttention.q", "layer.0.SelfAttention.k", "layer.0.SelfAttention.v"],
    output: "layer.0.SelfAttention.o",
    input_norm: Some("layer.0.layer_norm"),
    mlp_norm: Some("layer.1.layer_norm"),
    gate_up: &["layer.1.DenseReluDense.wi_0", "layer.1.DenseReluDense.wi_1"],
    down: "layer.1.DenseReluDense.wo",
    ..Names::LLAMA
};

const DECODER_NAMES: Names = Names {
    layers: "decoder.block",
    last_norm: Some("decoder.final_layer_norm"),
    ignored: &["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"],
    cross: Some(CrossNames {
        norm: Some("layer.1.layer_norm"),
        query: "layer.1.EncDecAttention.q",
        kv: &["layer.1.EncDecAttention.k", "layer.1.EncDecAttention.v"],
        memory: "layer.1.EncDecAttention",
        output: "layer.1.EncDecAttention.o",
        attended_norm: None,
    }),
    mlp_norm: Some("layer.2.layer_norm"),
    gate_up: &["layer.2.DenseReluDense.wi_0", "layer.2.DenseReluDense.wi_1"],
    down: "layer.2.DenseReluDense.wo",
    also_embedding: &["encoder.embed_tokens", "decoder.embed_tokens"],
    ..ENCODER_NAMES
};

/// The activation, and whether there is a gate: `relu`, `gated-gelu`.
fn feed_forward(raw: &ModelConfig, default: &str) -> Result<(Activation, bool), ConfigError> {
    let fields = raw.fields();
    let name = fields.text("feed_forward_proj")?.unwrap_or(default);
    let (name, gated) = match name.strip_prefix("gated-") {
        // The first models with gates were written with this in mind.
        Some("gelu") => ("gelu_new", true),
        Some(name) => (name, true),
        None => (name, false),
    };
    let known = || format!("{}, or gated- and one of them", Activation::NAMES);
    Activation::from_name(name).map(|act| (act, gated)).ok_or_else(|| fields.unsupported("feed_forward_proj", known()))
}

/// What it and mT5 are, with the defaults of their encoders and of `feed_forward_proj`.
pub(super) fn describe(
    raw: &ModelConfig,
    encoder: TransformerDefaults,
    feed_forward_proj: &str,
) -> Result<Description, ConfigError> {
    let fields = raw.fields();
    let (hidden_act, gated) = feed_forward(raw, feed_forward_proj)?;
    let std = fields.number("initializer_factor")?.unwrap_or(1.0) as f32;
    let [encoder_names, decoder_names] = [ENCODER_NAMES, DECODER_NAMES].map(|names| match gated {
        true => names,
        false if names.cross.is_some() => Names { gate_up: &["layer.2.DenseReluDense.wi"], ..names },
        false => Names { gate_up: &["layer.1.DenseReluDense.wi"], ..names },
    });
    let decoder = TransformerDefaults {
        num_hidden_layers: fields.count("num_layers")?.unwrap_or(encoder.num_hidden_layers),
        renamed: &[("num_hidden_layers", "num_decoder_layers")],
        ..encoder
    };
    let both = [(encoder, encoder_names), (decoder, decoder_names)];
    let encoder_module = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias";
    let decoder_module = "decoder.block.0.layer.0.SelfAttention.relative_attention_bias";
    let (encoder_bias, decoder_bias) = (buckets(raw, true)?, buckets(raw, false)?);
    let as_t5 = |stack: Description| {
        let writes = stack.names.cross.is_some();
        let (module, buckets) = if writes { (decoder_module, decoder_bias) } else { (encoder_module, encoder_bias) };
        Description {
            // transformers ties what isn't two tensors in the checkpoint, whatever the config says.
            config: TransformerConfig { hidden_act, initializer_range: std, tie_word_embeddings: true, ..stack.config },
            qkv_bias: false,
            output_bias: false,
            mlp_bias: false,
            gated,
            layer_norms: false,
            scale: 1.0,
            relative: Some(RelativeBias { module, buckets }),
            std_by_inputs: true,
            padding_row: None,
            ..stack
        }
    };
    bart::stacks(raw, both, as_t5)
}

/// The buckets of a direction; where tokens attend to those behind them too, there are half as many of each.
pub(super) fn buckets(raw: &ModelConfig, sides: bool) -> Result<Buckets, ConfigError> {
    let fields = raw.fields();
    let all = fields.count("relative_attention_num_buckets")?.unwrap_or(32);
    let max_distance = fields.count("relative_attention_max_distance")?.unwrap_or(128);
    let buckets = Buckets { count: if sides { all / 2 } else { all }, max_distance };
    if !all.is_multiple_of(4) || all > MOST_BUCKETS {
        let expected = format!("a multiple of 4 up to {MOST_BUCKETS}");
        return Err(fields.invalid("relative_attention_num_buckets", expected));
    }
    if max_distance <= buckets.exact() {
        let expected = format!("more than {}, up to which every distance has a bucket", buckets.exact());
        return Err(fields.invalid("relative_attention_max_distance", expected));
    }
    Ok(buckets)
}

/// More than any model has.
const MOST_BUCKETS: usize = 1 << 16;

/// The keys of it and mT5.
pub(super) const KEYS: &[&str] = &[
    "d_model",
    "d_kv",
    "d_ff",
    "num_layers",
    "num_decoder_layers",
    "num_heads",
    "relative_attention_num_buckets",
    "relative_attention_max_distance",
    "layer_norm_epsilon",
    "initializer_factor",
    "feed_forward_proj",
    "scale_decoder_outputs",
    "decoder_start_token_id",
];

/// `T5ForConditionalGeneration` and its base.
pub const FAMILY: Family = Family {
    model_type: "t5",
    classes: &[(Task::Base, "T5Model"), (Task::Seq2SeqLm, "T5ForConditionalGeneration")],
    own_keys: KEYS,
    describe: |raw| {
        let fields = raw.fields();
        // The first T5 ties its head to the embedding, and only then are words scaled.
        let scaled = match fields.flag("scale_decoder_outputs")? {
            Some(scaled) => scaled,
            None => fields.flag("tie_word_embeddings")? != Some(false),
        };
        let t5 = describe(raw, ENCODER, "relu")?;
        let width = t5.config.hidden_size as f32;
        Ok(Description { logit_scale: if scaled { 1.0 / width.sqrt() } else { 1.0 }, ..t5 })
    },
    head: Head::of_decoder,
};
