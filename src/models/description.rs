//! What sets a family's models apart, and what their checkpoints call the weights.

use crate::config::DecoderConfig;

/// What sets a family's models apart.
#[derive(Debug, Clone)]
pub struct Description {
    /// Sizes and the rest of the config.
    pub config: DecoderConfig,
    /// Whether q, k and v have biases.
    pub qkv_bias: bool,
    /// Whether the attention's output has one.
    pub output_bias: bool,
    /// Whether gate, up and down have them.
    pub mlp_bias: bool,
    /// What the checkpoints call the weights.
    pub names: Names,
    /// Of each layer, to how many positions a token attends, its own included; `None`: to all before it.
    pub windows: Vec<Option<usize>>,
    /// Of each layer, which rope rotates its heads: 0 the config's, 1 its local one; `None`: none does.
    pub ropes: Vec<Option<usize>>,
    /// Multiplies queries times keys.
    pub scale: f32,
    /// Scores s become `cap · tanh(s / cap)`.
    pub attn_logit_softcapping: Option<f32>,
    /// The same of the logits.
    pub final_logit_softcapping: Option<f32>,
    /// Multiplies the embeddings.
    pub embedding_scale: f32,
    /// Whether the checkpoints have the norms' weights less one.
    pub norms_from_one: bool,
    /// Whether norms of queries and keys are over all heads at once.
    pub qk_norm_over_all: bool,
}

impl Description {
    /// What Llama is, from which the others differ in a few.
    pub fn llama(config: DecoderConfig) -> Description {
        Description {
            qkv_bias: config.attention_bias,
            output_bias: config.attention_bias,
            mlp_bias: config.mlp_bias,
            names: Names::LLAMA,
            windows: vec![None; config.num_hidden_layers],
            ropes: vec![Some(0); config.num_hidden_layers],
            scale: 1.0 / (config.head_dim as f32).sqrt(),
            attn_logit_softcapping: None,
            final_logit_softcapping: None,
            embedding_scale: 1.0,
            norms_from_one: false,
            qk_norm_over_all: false,
            config,
        }
    }
}

/// The modules' names in a layer. A norm without a name isn't there.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// q, k and v, or one module with all of them, one below the other.
    pub qkv: &'static [&'static str],
    /// The norms of queries and of keys.
    pub qk_norm: Option<[&'static str; 2]>,
    /// The attention's output.
    pub output: &'static str,
    /// Gate and up, or one module with both.
    pub gate_up: &'static [&'static str],
    /// The feed-forward layer's output.
    pub down: &'static str,
    /// The norm before the attention.
    pub input_norm: Option<&'static str>,
    /// The norm of the attention's output.
    pub output_norm: Option<&'static str>,
    /// The norm before the feed-forward layer.
    pub mlp_norm: Option<&'static str>,
    /// The norm of the feed-forward layer's output.
    pub down_norm: Option<&'static str>,
}

impl Names {
    /// Llama's, which most families have.
    pub const LLAMA: Names = Names {
        qkv: &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        qk_norm: None,
        output: "self_attn.o_proj",
        gate_up: &["mlp.gate_proj", "mlp.up_proj"],
        down: "mlp.down_proj",
        input_norm: Some("input_layernorm"),
        output_norm: None,
        mlp_norm: Some("post_attention_layernorm"),
        down_norm: None,
    };

    /// Norms before and after both halves of a layer.
    pub const GEMMA: Names = Names {
        output_norm: Some("post_attention_layernorm"),
        mlp_norm: Some("pre_feedforward_layernorm"),
        down_norm: Some("post_feedforward_layernorm"),
        ..Names::LLAMA
    };

    /// … with the norms of queries and keys, as they are called wherever there are some.
    #[must_use]
    pub const fn with_qk_norm(self) -> Names {
        Names { qk_norm: Some(["self_attn.q_norm", "self_attn.k_norm"]), ..self }
    }
}
