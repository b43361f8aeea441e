//! What sets a family's models apart, and what their checkpoints call the weights.

use super::convolution::ConvolutionNames;
use super::image::Patches;
use super::mixing::ShortConvolutions;
use super::mixture::Mixture;
use crate::config::TransformerConfig;
use crate::tensor::relative::Buckets;
use crate::weights::init::Sinusoids;

/// What sets a family's models apart.
#[derive(Debug, Clone)]
pub struct Description {
    /// Sizes and the rest of the config.
    pub config: TransformerConfig,
    /// Whether q, k and v have biases.
    pub qkv_bias: bool,
    /// Whether the attention's output has one.
    pub output_bias: bool,
    /// Whether gate, up and down have them.
    pub mlp_bias: bool,
    /// Whether the feed-forward layer has a gate: `down(f(gate(x)) · up(x))`, or `down(f(up(x)))`.
    pub gated: bool,
    /// Whether attention and feed-forward layer both read what comes into the layer, rather than the second what the first
    /// has added to. Without a norm of its own the second reads the first's.
    pub parallel: bool,
    /// Whether the norms of the residual stream are LayerNorms. Those of what is added to it are RMSNorms.
    pub layer_norms: bool,
    /// Whether LayerNorms have biases.
    pub norm_bias: bool,
    /// Whether the first layer's attention has its norm, as the others' have.
    pub first_input_norm: bool,
    /// Whether tokens attend to those before them alone. Where they don't, all tokens of an input run together.
    pub causal: bool,
    /// What reads an input, where this is what writes a text of it.
    pub encoder: Option<Box<Description>>,
    /// Which sines and cosines positions are that a checkpoint lacks, if they are.
    pub sinusoids: Option<Sinusoids>,
    /// What makes rows of what is no text.
    pub convolutions: Option<ConvolutionNames>,
    /// The row of the table of positions that is the first token's.
    pub first_position: usize,
    /// Whether the row before that is the padding token's, which has the row's number for its id, so that tokens behind
    /// padding are numbered as if there were none.
    pub numbers_positions: bool,
    /// Whether the keys of attention have no bias where queries and values have one.
    pub bare_key: bool,
    /// Whether the last of the hidden states that transformers gives is normed as the others are: not by the norm behind the
    /// layers.
    pub bare_states: bool,
    /// What makes tokens of an image, where that is what it reads; it then has neither an embedding nor other positions.
    pub patches: Option<Patches>,
    /// How many types of tokens there are; 0: none.
    pub token_types: usize,
    /// Whether checkpoints have the linear layers' weights as `[inputs, outputs]`; the head's never are.
    pub transposed: bool,
    /// Whether the rows of q, k and v lie head by head: a head's queries, its keys, its values.
    pub qkv_by_head: bool,
    /// What the checkpoints call the weights.
    pub names: Names,
    /// Of each layer, the window of its [`Attention`](crate::tensor::ops::Attention).
    pub windows: Vec<Option<usize>>,
    /// Of each layer, which rope rotates its heads: 0 the config's, 1 its local one; `None`: none does.
    pub ropes: Vec<Option<usize>>,
    /// Whether ropes turn each element of a head with its neighbour, rather than with the one half of them away.
    pub rotates_neighbours: bool,
    /// Multiplies queries times keys.
    pub scale: f32,
    /// Whether the scale is divided by the layer's number, counted from one.
    pub scale_by_layer: bool,
    /// What scores get by how far the key is from the query's token, where they get something.
    pub relative: Option<RelativeBias>,
    /// Scores s become `cap · tanh(s / cap)`.
    pub attn_logit_softcapping: Option<f32>,
    /// The same of the logits.
    pub final_logit_softcapping: Option<f32>,
    /// Multiplies the logits.
    pub logit_scale: f32,
    /// Multiplies what attention and feed-forward layer add, which then have no biases.
    pub residual_scale: f32,
    /// Multiplies the embeddings.
    pub embedding_scale: f32,
    /// Whether the checkpoints have the norms' weights less one.
    pub norms_from_one: bool,
    /// Whether norms of queries and keys are over all heads at once.
    pub qk_norm_over_all: bool,
    /// The embedding's row that is zero where it is initialised anew.
    pub padding_row: Option<usize>,
    /// Of attention's output and down, initialised anew: their standard deviation in units of the others'.
    pub output_std: f32,
    /// Whether the standard deviation of a layer's weights that are initialised anew is divided by the root of their inputs, and
    /// that of queries by the root of a head's width too, for which the scores then have no scale.
    pub std_by_inputs: bool,
    /// Experts in the place of some layers' feed-forward layers.
    pub mixture: Option<Mixture>,
    /// Convolutions in the place of some layers' attention.
    pub short_convolutions: Option<ShortConvolutions>,
}

/// A bias of scores by distance, the same in all layers.
#[derive(Debug, Clone, Copy)]
pub struct RelativeBias {
    /// What the checkpoint calls its table, as a module.
    pub module: &'static str,
    /// Its buckets of one direction.
    pub buckets: Buckets,
}

impl Description {
    /// What Llama is, from which the others differ in a few.
    pub fn llama(config: TransformerConfig) -> Description {
        Description {
            qkv_bias: config.attention_bias,
            output_bias: config.attention_bias,
            mlp_bias: config.mlp_bias,
            gated: true,
            parallel: false,
            layer_norms: false,
            norm_bias: true,
            first_input_norm: true,
            causal: true,
            encoder: None,
            sinusoids: None,
            convolutions: None,
            first_position: 0,
            numbers_positions: false,
            bare_key: false,
            bare_states: false,
            patches: None,
            token_types: 0,
            transposed: false,
            qkv_by_head: false,
            names: Names::LLAMA,
            windows: vec![None; config.num_hidden_layers],
            ropes: vec![Some(0); config.num_hidden_layers],
            rotates_neighbours: false,
            scale: 1.0 / (config.head_dim as f32).sqrt(),
            scale_by_layer: false,
            relative: None,
            attn_logit_softcapping: None,
            final_logit_softcapping: None,
            logit_scale: 1.0,
            residual_scale: 1.0,
            embedding_scale: 1.0,
            norms_from_one: false,
            qk_norm_over_all: false,
            padding_row: config.special.pad.map(|id| id as usize),
            output_std: 1.0,
            std_by_inputs: false,
            mixture: None,
            short_convolutions: None,
            config,
        }
    }

    /// Positions that the table of positions, if there is one, has rows for.
    pub fn positions(&self) -> usize {
        self.position_rows().saturating_sub(self.first_position)
    }

    /// How many numbers positions may have: where the first rows are the padding's, those have numbers too.
    pub fn position_ids(&self) -> usize {
        if self.numbers_positions { self.position_rows() } else { self.positions() }
    }

    /// The convolution that a layer has in the place of its attention, if it has one.
    pub(super) fn short_convolution(&self, layer: usize) -> Option<&ShortConvolutions> {
        self.short_convolutions.as_ref().filter(|some| some.layers.get(layer) == Some(&true))
    }

    /// Elements that a position has in each half of a layer's cache.
    pub(super) fn cache_width(&self, layer: usize) -> usize {
        let TransformerConfig { num_key_value_heads, head_dim, hidden_size, .. } = self.config;
        if self.short_convolution(layer).is_some() { hidden_size / 2 } else { num_key_value_heads * head_dim }
    }

    /// Rows of that table. Where the first are nobody's, they are counted in the config only if they are the padding's.
    pub fn position_rows(&self) -> usize {
        let beyond = if self.numbers_positions { 0 } else { self.first_position };
        self.config.max_position_embeddings + beyond
    }
}

/// The modules' names: the model's, then those in a layer. What has no name isn't there.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// The model without a head, in one with a head.
    pub base: &'static str,
    /// The embedding.
    pub embedding: &'static str,
    /// The module that it is in with all that is added to it, where there is one.
    pub embeddings: Option<&'static str>,
    /// The table of positions that are added to it: rows for `max_position_embeddings`, beyond which there is nothing.
    pub positions: Option<&'static str>,
    /// The table of types of tokens that is added too.
    pub token_types: Option<&'static str>,
    /// The norm of all that.
    pub embedding_norm: Option<&'static str>,
    /// The layers, each of which is called by its number below it.
    pub layers: &'static str,
    /// The norm after the last layer.
    pub last_norm: Option<&'static str>,
    /// What older checkpoints call a module, and what it is called now.
    pub renamed: &'static [(&'static str, &'static str)],
    /// Endings of names that older checkpoints have and nobody misses.
    pub ignored: &'static [&'static str],
    /// Endings of names that nobody misses where a checkpoint lacks them.
    pub spared: &'static [&'static str],
    /// q, k and v, or one module with all of them, one below the other.
    pub qkv: &'static [&'static str],
    /// The norms of queries and of keys.
    pub qk_norm: Option<[&'static str; 2]>,
    /// The attention's output.
    pub output: &'static str,
    /// Gate and up, or one module with both; up alone where there is no gate.
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
    /// The norm of the residual stream to which the attention's output has been added.
    pub attended_norm: Option<&'static str>,
    /// The norm of the residual stream to which the feed-forward layer's output has been added.
    pub fed_norm: Option<&'static str>,
    /// The attention to what an encoder has read.
    pub cross: Option<CrossNames>,
    /// Other names of the embedding's module, under which checkpoints may have it too.
    pub also_embedding: &'static [&'static str],
}

/// What a layer's attention to an encoder is called, in the layer.
#[derive(Debug, Clone, Copy)]
pub struct CrossNames {
    /// The norm before it.
    pub norm: Option<&'static str>,
    /// q.
    pub query: &'static str,
    /// k and v.
    pub kv: &'static [&'static str],
    /// What both are called as a block.
    pub memory: &'static str,
    /// The output.
    pub output: &'static str,
    /// The norm of the residual stream to which it has been added.
    pub attended_norm: Option<&'static str>,
}

impl Names {
    /// Llama's, which most families have.
    pub const LLAMA: Names = Names {
        base: "model",
        embedding: "embed_tokens",
        embeddings: None,
        positions: None,
        token_types: None,
        embedding_norm: None,
        layers: "layers",
        last_norm: Some("norm"),
        renamed: &[],
        // Each layer's rotary frequencies.
        ignored: &["rotary_emb.inv_freq"],
        spared: &[],
        qkv: &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        qk_norm: None,
        output: "self_attn.o_proj",
        gate_up: &["mlp.gate_proj", "mlp.up_proj"],
        down: "mlp.down_proj",
        input_norm: Some("input_layernorm"),
        output_norm: None,
        mlp_norm: Some("post_attention_layernorm"),
        down_norm: None,
        attended_norm: None,
        fed_norm: None,
        cross: None,
        also_embedding: &[],
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
