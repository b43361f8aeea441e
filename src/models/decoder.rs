//! Decoders of gated layers: RMSNorm, rotary positions, grouped-query attention, a gated feed-forward layer.
//!
//! A family is a [`Description`] of one: which keys its config has, what its checkpoints call the weights, which norms
//! and windows its layers have. How a layer computes is here, once. Semantics: transformers' `modeling_llama.py` and
//! its kin.

use std::collections::BTreeMap;

use super::declare::Declare;
use super::description::Description;
use super::{DecoderShape, HeadRows, Model, Task};
use crate::Result;
use crate::config::{DecoderConfig, ModelConfig, RopeConfig};
use crate::tensor::ops::{Attention, Linear, Ops, QkNorm, RmsNorm, Rotary, Tensor, WeightId};
use crate::weights::init::Init;
use crate::weights::keys::ModelKeys;
use crate::weights::spec::{BlockSpec, WeightSpecs};

struct Layer {
    input_norm: Option<RmsNorm>,
    qkv: Linear,
    qk_norm: Option<QkNorm>,
    attention: Attention,
    output: Linear,
    output_norm: Option<RmsNorm>,
    mlp_norm: Option<RmsNorm>,
    gate_up: Linear,
    down: Linear,
    down_norm: Option<RmsNorm>,
}

/// A decoder of some family.
pub struct Decoder {
    config: DecoderConfig,
    ropes: Vec<Rope>,
    embedding_scale: f32,
    final_logit_softcapping: Option<f32>,
    specs: WeightSpecs,
    blocks: Vec<BlockSpec>,
    embedding: WeightId,
    layers: Vec<Layer>,
    norm: RmsNorm,
    /// None where the model is loaded for its hidden states.
    head: Option<Linear>,
    task: Task,
}

/// A rope, and its frequencies for a short context.
struct Rope {
    config: RopeConfig,
    inv_freq: Vec<f32>,
}

/// Older checkpoints have each layer's rotary frequencies.
const IGNORED: [&str; 1] = ["rotary_emb.inv_freq"];

impl Decoder {
    /// Declares the weights.
    ///
    /// # Errors
    /// Where the kernels can't take the config's sizes; `raw` is that config.
    pub fn new(description: Description, raw: &ModelConfig, task: Task) -> Result<Decoder> {
        let Description { config, qkv_bias, output_bias, mlp_bias, names, .. } = &description;
        if !config.head_dim.is_multiple_of(4) {
            return Err(raw.fields().unsupported("head_dim", "multiples of 4").into());
        }
        let mut declare = Declare {
            specs: WeightSpecs::default(),
            block: Vec::new(),
            std: config.initializer_range,
            norms_from_one: description.norms_from_one,
        };
        let mut blocks = Vec::new();
        let (hidden, eps) = (config.hidden_size, config.norm_eps);

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
        let (heads, kv_heads, head_dim) = (config.num_attention_heads, config.num_key_value_heads, config.head_dim);
        let tables = 1 + usize::from(config.local_rope.is_some());
        let rotary = |table| Rotary { table, tables, dim: config.rope.dim };
        for layer in 0..config.num_hidden_layers {
            let name = format!("{model}layers.{layer}");
            let parent = format!("{name}.");
            let norm = |declare: &mut Declare, name: Option<&str>| {
                name.map(|name| declare.norm(&format!("{parent}{name}"), hidden, eps))
            };
            layers.push(Layer {
                input_norm: norm(&mut declare, names.input_norm),
                qkv: declare.linear(&parent, names.qkv, &[q, kv, kv], hidden, *qkv_bias),
                qk_norm: names.qk_norm.map(|[q_name, k_name]| {
                    let each = !description.qk_norm_over_all;
                    let (q_width, k_width) = if each { (head_dim, head_dim) } else { (q, kv) };
                    let q = declare.norm(&format!("{parent}{q_name}"), q_width, eps);
                    let k = declare.norm(&format!("{parent}{k_name}"), k_width, eps);
                    QkNorm { q, k, heads, kv_heads, head_dim, each }
                }),
                attention: Attention {
                    layer,
                    heads,
                    kv_heads,
                    head_dim,
                    scale: description.scale,
                    softcap: description.attn_logit_softcapping,
                    window: description.windows.get(layer).copied().flatten(),
                    rotary: description.ropes.get(layer).copied().flatten().map(rotary),
                },
                output: declare.linear(&parent, &[names.output], &[hidden], q, *output_bias),
                output_norm: norm(&mut declare, names.output_norm),
                mlp_norm: norm(&mut declare, names.mlp_norm),
                gate_up: declare.linear(&parent, names.gate_up, &[wide, wide], hidden, *mlp_bias),
                down: declare.linear(&parent, &[names.down], &[hidden], wide, *mlp_bias),
                down_norm: norm(&mut declare, names.down_norm),
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

        let rope = |config: RopeConfig| Rope { inv_freq: config.inv_freq(0), config };
        let Description { config, embedding_scale, final_logit_softcapping, .. } = description;
        let ropes = [Some(&config.rope), config.local_rope.as_ref()].into_iter().flatten().cloned().map(rope).collect();
        let specs = declare.specs;
        Ok(Decoder {
            config,
            ropes,
            embedding_scale,
            final_logit_softcapping,
            specs,
            blocks,
            embedding,
            layers,
            norm,
            head,
            task,
        })
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
            angles: self.ropes.iter().map(|rope| rope.inv_freq.len()).sum(),
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
            return ops.embed(self.embedding, self.config.hidden_size, self.embedding_scale);
        };
        let Some(layer) = index.checked_sub(1).and_then(|i| self.layers.get(i)) else {
            let x = match head {
                HeadRows::Last => ops.rms_norm_last(x, &self.norm)?,
                HeadRows::All => ops.rms_norm(x, &self.norm)?,
            };
            let Some(head) = &self.head else { return Ok(x) };
            let logits = ops.linear(x, head)?;
            return match self.final_logit_softcapping {
                Some(cap) => ops.softcap(logits, cap),
                None => Ok(logits),
            };
        };
        let qkv = match &layer.input_norm {
            Some(norm) => ops.norm_linear(x, norm, &layer.qkv)?,
            None => ops.linear(x, &layer.qkv)?,
        };
        let attended = match &layer.qk_norm {
            Some(norm) => ops.qk_norm_attention(qkv, norm, &layer.attention)?,
            None => ops.attention(qkv, &layer.attention)?,
        };
        let x = add_normed(ops, x, attended, &layer.output, layer.output_norm.as_ref())?;
        let act = self.config.hidden_act;
        let gated = match &layer.mlp_norm {
            Some(norm) => ops.norm_gated_linear(x, norm, &layer.gate_up, act)?,
            None => ops.gated_linear(x, &layer.gate_up, act)?,
        };
        add_normed(ops, x, gated, &layer.down, layer.down_norm.as_ref())
    }

    fn rope(&self, position: usize, length: usize, out: &mut Vec<f32>) {
        for Rope { config, inv_freq } in &self.ropes {
            let stretched =
                config.changes_beyond().is_some_and(|known| length > known).then(|| config.inv_freq(length));
            let scaling = config.attention_scaling();
            for inv_freq in stretched.as_ref().unwrap_or(inv_freq) {
                // The product is rounded to float32 as in torch, the functions are not.
                let (sin, cos) = f64::from(position as f32 * inv_freq).sin_cos();
                out.extend([cos as f32 * scaling, sin as f32 * scaling]);
            }
        }
    }
}

/// `y + linear(x)`, the sum's second part normalised where there is a norm.
fn add_normed(ops: &mut dyn Ops, y: Tensor, x: Tensor, linear: &Linear, norm: Option<&RmsNorm>) -> Result<Tensor> {
    match norm {
        Some(norm) => {
            let x = ops.linear(x, linear)?;
            ops.add_rms_norm(y, x, norm)
        }
        None => ops.add_linear(y, x, linear),
    }
}
