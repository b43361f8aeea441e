//! Decoders of gated, pre-normed layers: RMSNorm, rotary positions, grouped-query attention, a gated feed-forward layer.
//!
//! A family is a [`Description`] of one: which keys its config has, what its checkpoints call the weights. How a layer
//! computes is here, once. Semantics: transformers' `modeling_llama.py` and its kin.

use std::collections::BTreeMap;

use super::{DecoderShape, HeadRows, Model, Task};
use crate::Result;
use crate::config::{DecoderConfig, ModelConfig};
use crate::tensor::ops::{Attention, Linear, Ops, RmsNorm, Tensor, WeightId};
use crate::weights::init::Init;
use crate::weights::keys::ModelKeys;
use crate::weights::spec::{BlockSpec, WeightSpecs};

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
}

/// The modules' names: in a layer, and around the layers.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// q, k and v, or one module with all of them, one below the other.
    pub qkv: &'static [&'static str],
    /// The attention's output.
    pub output: &'static str,
    /// Gate and up, or one module with both.
    pub gate_up: &'static [&'static str],
    /// The feed-forward layer's output.
    pub down: &'static str,
    /// The norm before the attention.
    pub input_norm: &'static str,
    /// The norm before the feed-forward layer.
    pub post_norm: &'static str,
}

impl Names {
    /// Llama's, which most families have.
    pub const LLAMA: Names = Names {
        qkv: &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        output: "self_attn.o_proj",
        gate_up: &["mlp.gate_proj", "mlp.up_proj"],
        down: "mlp.down_proj",
        input_norm: "input_layernorm",
        post_norm: "post_attention_layernorm",
    };
}

struct Layer {
    input_norm: RmsNorm,
    qkv: Linear,
    attention: Attention,
    output: Linear,
    post_norm: RmsNorm,
    gate_up: Linear,
    down: Linear,
}

/// A decoder of some family.
pub struct Decoder {
    config: DecoderConfig,
    inv_freq: Vec<f32>,
    specs: WeightSpecs,
    blocks: Vec<BlockSpec>,
    embedding: WeightId,
    layers: Vec<Layer>,
    norm: RmsNorm,
    /// None where the model is loaded for its hidden states.
    head: Option<Linear>,
    task: Task,
}

/// Older checkpoints have each layer's rotary frequencies.
const IGNORED: [&str; 1] = ["rotary_emb.inv_freq"];

/// Declares weights and keeps which of them belong to the block at hand.
struct Declare {
    specs: WeightSpecs,
    block: Vec<WeightId>,
    /// Of matrices that are initialised anew.
    std: f32,
}

impl Declare {
    fn norm(&mut self, module: &str, width: usize, eps: f32) -> RmsNorm {
        let weight = self.specs.vector(module, vec![(format!("{module}.weight"), width)], Init::Ones);
        self.block.push(weight);
        RmsNorm { weight, eps }
    }

    /// Modules of `parent` that read the same input, one below the other. One module alone has all of the rows.
    fn linear(&mut self, parent: &str, modules: &[&str], rows: &[usize], inputs: usize, bias: bool) -> Linear {
        let outputs = rows.iter().sum();
        let rows = if modules.len() == 1 { &[outputs] } else { rows };
        let pieces = |ending: &str| -> Vec<(String, usize)> {
            modules.iter().zip(rows).map(|(module, rows)| (format!("{parent}{module}.{ending}"), *rows)).collect()
        };
        let name = format!("{parent}{}", modules.join("+"));
        let init = Init::Normal { std: self.std, zero_row: None };
        let weight = self.specs.matrix(&name, pieces("weight"), inputs, init);
        self.block.push(weight);
        let bias = bias.then(|| {
            let bias = self.specs.vector(&format!("{name}.bias"), pieces("bias"), Init::Zeros);
            self.block.push(bias);
            bias
        });
        Linear { weight, bias, inputs, outputs }
    }

    fn finish(&mut self, name: String, also_reads: &[WeightId]) -> BlockSpec {
        let weights = std::mem::take(&mut self.block);
        let reads = weights.iter().chain(also_reads).copied().collect();
        BlockSpec { name, weights, reads }
    }
}

impl Decoder {
    /// Declares the weights.
    ///
    /// # Errors
    /// Where the kernels can't take the config's sizes; `raw` is that config.
    pub fn new(description: Description, raw: &ModelConfig, task: Task) -> Result<Decoder> {
        let Description { config, qkv_bias, output_bias, mlp_bias, names } = description;
        if !config.head_dim.is_multiple_of(4) {
            return Err(raw.fields().unsupported("head_dim", "multiples of 4").into());
        }
        let mut declare = Declare { specs: WeightSpecs::default(), block: Vec::new(), std: config.initializer_range };
        let mut blocks = Vec::new();
        let (hidden, eps) = (config.hidden_size, config.rms_norm_eps);

        // A base model's state dict doesn't name itself.
        let model = if task == Task::Base { "" } else { "model." };

        let name = format!("{model}embed_tokens");
        let table = vec![(format!("{name}.weight"), config.vocab_size)];
        let zero_row = config.special.pad.map(|id| id as usize);
        let init = Init::Normal { std: config.initializer_range, zero_row };
        let embedding = declare.specs.matrix(&name, table, hidden, init);
        declare.block.push(embedding);
        blocks.push(declare.finish(name, &[]));

        let mut layers = Vec::new();
        let (q, kv) = (config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim);
        let wide = config.intermediate_size;
        for layer in 0..config.num_hidden_layers {
            let name = format!("{model}layers.{layer}");
            let parent = format!("{name}.");
            layers.push(Layer {
                input_norm: declare.norm(&format!("{parent}{}", names.input_norm), hidden, eps),
                qkv: declare.linear(&parent, names.qkv, &[q, kv, kv], hidden, qkv_bias),
                attention: Attention {
                    layer,
                    heads: config.num_attention_heads,
                    kv_heads: config.num_key_value_heads,
                    head_dim: config.head_dim,
                    scale: 1.0 / (config.head_dim as f32).sqrt(),
                },
                output: declare.linear(&parent, &[names.output], &[hidden], q, output_bias),
                post_norm: declare.norm(&format!("{parent}{}", names.post_norm), hidden, eps),
                gate_up: declare.linear(&parent, names.gate_up, &[wide, wide], hidden, mlp_bias),
                down: declare.linear(&parent, &[names.down], &[hidden], wide, mlp_bias),
            });
            blocks.push(declare.finish(name, &[]));
        }

        let norm_name = format!("{model}norm");
        let norm = declare.norm(&norm_name, hidden, eps);
        let head = match task {
            Task::Base => None,
            Task::CausalLm if config.tie_word_embeddings => {
                Some(Linear { weight: embedding, bias: None, inputs: hidden, outputs: config.vocab_size })
            }
            Task::CausalLm => Some(declare.linear("", &["lm_head"], &[config.vocab_size], hidden, false)),
        };
        let last = if head.is_some() { "lm_head".to_owned() } else { norm_name };
        let tied = head.filter(|head| head.weight == embedding).map(|head| head.weight);
        blocks.push(declare.finish(last, tied.as_slice()));

        let inv_freq = config.rope.inv_freq(0);
        Ok(Decoder { config, inv_freq, specs: declare.specs, blocks, embedding, layers, norm, head, task })
    }
}

impl Model for Decoder {
    fn task(&self) -> Task {
        self.task
    }

    fn keys(&self) -> ModelKeys {
        let mut shapes: BTreeMap<_, _> =
            self.specs.tensors().map(|(name, shape, _)| (name.to_owned(), shape)).collect();
        let mut tied = Vec::new();
        if self.task == Task::CausalLm && self.config.tie_word_embeddings {
            let (head, embedding) = ("lm_head.weight".to_owned(), "model.embed_tokens.weight".to_owned());
            shapes.insert(head.clone(), vec![self.config.vocab_size, self.config.hidden_size]);
            tied.push((head, embedding));
        }
        ModelKeys { base_prefix: "model", shapes, tied, ignored: &IGNORED }
    }

    fn shape(&self) -> DecoderShape {
        DecoderShape {
            vocab_size: self.config.vocab_size,
            output_size: self.head.map_or(self.config.hidden_size, |head| head.outputs),
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
            return match &self.head {
                Some(head) => ops.linear(x, head),
                None => Ok(x),
            };
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
