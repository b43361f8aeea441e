//! The Llama family: RMSNorm, rotary positions, grouped-query attention, a gated feed-forward layer.
//!
//! Semantics: transformers' `modeling_llama.py`.

use super::{DecoderShape, HeadRows, Model};
use crate::Result;
use crate::config::{LlamaConfig, ModelConfig};
use crate::tensor::ops::{Attention, Linear, Ops, RmsNorm, Tensor, WeightId};
use crate::weights::spec::{BlockSpec, WeightSpecs};

struct Layer {
    input_norm: RmsNorm,
    qkv: Linear,
    attention: Attention,
    output: Linear,
    post_norm: RmsNorm,
    gate_up: Linear,
    down: Linear,
}

/// A Llama decoder.
pub struct Llama {
    config: LlamaConfig,
    inv_freq: Vec<f32>,
    specs: WeightSpecs,
    blocks: Vec<BlockSpec>,
    embedding: WeightId,
    layers: Vec<Layer>,
    norm: RmsNorm,
    head: Linear,
}

/// Declares weights and keeps which of them belong to the block at hand.
struct Declare {
    specs: WeightSpecs,
    block: Vec<WeightId>,
}

impl Declare {
    fn norm(&mut self, module: &str, width: usize, eps: f32) -> RmsNorm {
        let weight = self.specs.vector(module, vec![(format!("{module}.weight"), width)]);
        self.block.push(weight);
        RmsNorm { weight, eps }
    }

    /// Projections of `parent` that read the same input, one below the other.
    fn linear(&mut self, parent: &str, modules: &[(&str, usize)], inputs: usize, bias: bool) -> Linear {
        let names = modules.iter().map(|(module, _)| *module).collect::<Vec<_>>().join("+");
        let pieces = |ending: &str| -> Vec<(String, usize)> {
            modules.iter().map(|(module, rows)| (format!("{parent}{module}.{ending}"), *rows)).collect()
        };
        let weight = self.specs.matrix(&format!("{parent}{names}"), pieces("weight"), inputs);
        self.block.push(weight);
        let bias = bias.then(|| {
            let bias = self.specs.vector(&format!("{parent}{names}.bias"), pieces("bias"));
            self.block.push(bias);
            bias
        });
        Linear { weight, bias, inputs, outputs: modules.iter().map(|(_, rows)| rows).sum() }
    }

    fn finish(&mut self, name: String, also_reads: &[WeightId]) -> BlockSpec {
        let weights = std::mem::take(&mut self.block);
        let reads = weights.iter().chain(also_reads).copied().collect();
        BlockSpec { name, weights, reads }
    }
}

impl Llama {
    /// Reads the config and declares the weights.
    ///
    /// # Errors
    /// What the config's parser says of a malformed config.
    pub fn new(config: &ModelConfig) -> Result<Llama> {
        let raw = config;
        let config = LlamaConfig::parse(raw)?;
        if !config.head_dim.is_multiple_of(4) {
            return Err(raw.fields().unsupported("head_dim", "multiples of 4").into());
        }
        let mut declare = Declare { specs: WeightSpecs::default(), block: Vec::new() };
        let mut blocks = Vec::new();
        let (hidden, eps) = (config.hidden_size, config.rms_norm_eps);

        let table = vec![("model.embed_tokens.weight".to_owned(), config.vocab_size)];
        let embedding = declare.specs.matrix("model.embed_tokens", table, hidden);
        declare.block.push(embedding);
        blocks.push(declare.finish("model.embed_tokens".to_owned(), &[]));

        let mut layers = Vec::new();
        let (q, kv) = (config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim);
        for layer in 0..config.num_hidden_layers {
            let name = format!("model.layers.{layer}");
            let attn = format!("{name}.self_attn.");
            let mlp = format!("{name}.mlp.");
            let (attention_bias, mlp_bias, wide) = (config.attention_bias, config.mlp_bias, config.intermediate_size);
            layers.push(Layer {
                input_norm: declare.norm(&format!("{name}.input_layernorm"), hidden, eps),
                qkv: declare.linear(&attn, &[("q_proj", q), ("k_proj", kv), ("v_proj", kv)], hidden, attention_bias),
                attention: Attention {
                    layer,
                    heads: config.num_attention_heads,
                    kv_heads: config.num_key_value_heads,
                    head_dim: config.head_dim,
                    scale: 1.0 / (config.head_dim as f32).sqrt(),
                },
                output: declare.linear(&attn, &[("o_proj", hidden)], q, attention_bias),
                post_norm: declare.norm(&format!("{name}.post_attention_layernorm"), hidden, eps),
                gate_up: declare.linear(&mlp, &[("gate_proj", wide), ("up_proj", wide)], hidden, mlp_bias),
                down: declare.linear(&mlp, &[("down_proj", hidden)], wide, mlp_bias),
            });
            blocks.push(declare.finish(name, &[]));
        }

        let norm = declare.norm("model.norm", hidden, eps);
        let (head, tied) = if config.tie_word_embeddings {
            let head = Linear { weight: embedding, bias: None, inputs: hidden, outputs: config.vocab_size };
            (head, vec![embedding])
        } else {
            (declare.linear("", &[("lm_head", config.vocab_size)], hidden, false), Vec::new())
        };
        blocks.push(declare.finish("lm_head".to_owned(), &tied));

        let inv_freq = config.rope.inv_freq(0);
        Ok(Llama { config, inv_freq, specs: declare.specs, blocks, embedding, layers, norm, head })
    }
}

impl Model for Llama {
    fn shape(&self) -> DecoderShape {
        DecoderShape {
            vocab_size: self.config.vocab_size,
            layers: self.config.num_hidden_layers,
            kv_heads: self.config.num_key_value_heads,
            head_dim: self.config.head_dim,
            max_position_embeddings: self.config.max_position_embeddings,
        }
    }

    fn weights(&self) -> &WeightSpecs {
        &self.specs
    }

    fn blocks(&self) -> &[BlockSpec] {
        &self.blocks
    }

    fn block(&self, ops: &mut dyn Ops, index: usize, input: Option<Tensor>, head: HeadRows) -> Result<Tensor> {
        let Some(x) = input else {
            return ops.embed(self.embedding, self.config.hidden_size);
        };
        let Some(layer) = index.checked_sub(1).and_then(|i| self.layers.get(i)) else {
            let x = match head {
                HeadRows::Last => ops.rms_norm_last(x, &self.norm)?,
                HeadRows::All => ops.rms_norm(x, &self.norm)?,
            };
            return ops.linear(x, &self.head);
        };
        let qkv = ops.norm_linear(x, &layer.input_norm, &layer.qkv)?;
        let attended = ops.attention(qkv, &layer.attention)?;
        let x = ops.add_linear(x, attended, &layer.output)?;
        let gated = ops.norm_gated_linear(x, &layer.post_norm, &layer.gate_up, self.config.hidden_act)?;
        ops.add_linear(x, gated, &layer.down)
    }

    fn rope(&self, position: usize, length: usize, out: &mut Vec<f32>) {
        let rope = &self.config.rope;
        let stretched = rope.changes_beyond().is_some_and(|known| length > known).then(|| rope.inv_freq(length));
        let scaling = rope.attention_scaling();
        for inv_freq in stretched.as_ref().unwrap_or(&self.inv_freq) {
            // The product is rounded to float32 as in torch, the functions are not.
            let (sin, cos) = f64::from(position as f32 * inv_freq).sin_cos();
            out.extend([cos as f32 * scaling, sin as f32 * scaling]);
        }
    }
}
