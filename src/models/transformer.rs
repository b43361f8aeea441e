//! Decoders: layers of a norm, attention over what came before, another norm and a feed-forward layer.
//!
//! A family is a [`Description`] of one: which keys its config has, what its checkpoints call the weights, which norms
//! and windows its layers have. How a layer computes is here, once. Semantics: transformers' `modeling_llama.py` and
//! its kin.

use std::collections::BTreeMap;

use super::declare::{Declare, Modules, Norm};
use super::description::{Description, Names};
use super::{HeadRows, Model, ModelShape, Task};
use crate::Result;
use crate::config::{ModelConfig, RopeConfig, TransformerConfig};
use crate::tensor::ops::{Attention, Linear, Ops, QkNorm, RmsNorm, Rotary, Tensor, WeightId};
use crate::weights::init::Init;
use crate::weights::keys::ModelKeys;
use crate::weights::spec::{Arrangement, BlockSpec, WeightSpecs};

struct Layer {
    input_norm: Option<Norm>,
    qkv: Linear,
    qk_norm: Option<QkNorm>,
    attention: Attention,
    output: Linear,
    output_norm: Option<RmsNorm>,
    mlp_norm: Option<Norm>,
    gate_up: Linear,
    down: Linear,
    down_norm: Option<RmsNorm>,
}

/// A decoder of some family.
pub struct Transformer {
    config: TransformerConfig,
    ropes: Vec<Rope>,
    names: Names,
    gated: bool,
    parallel: bool,
    embedding_scale: f32,
    final_logit_softcapping: Option<f32>,
    specs: WeightSpecs,
    blocks: Vec<BlockSpec>,
    embedding: WeightId,
    positions: Option<WeightId>,
    layers: Vec<Layer>,
    norm: Norm,
    /// None where the model is loaded for its hidden states.
    head: Option<Linear>,
    task: Task,
}

/// What every family calls its head.
const HEAD: &str = "lm_head";

/// A rope, and its frequencies for a short context.
struct Rope {
    config: RopeConfig,
    inv_freq: Vec<f32>,
}

impl Transformer {
    /// Declares the weights.
    ///
    /// # Errors
    /// Where the kernels can't take the config's sizes; `raw` is that config.
    pub fn new(description: Description, raw: &ModelConfig, task: Task) -> Result<Transformer> {
        let Description { config, qkv_bias, output_bias, mlp_bias, names, gated, .. } = &description;
        if !config.head_dim.is_multiple_of(4) {
            return Err(raw.fields().unsupported("head_dim", "multiples of 4").into());
        }
        let mut declare = Declare {
            specs: WeightSpecs::default(),
            block: Vec::new(),
            layer_norms: description.layer_norms,
            norms_from_one: description.norms_from_one,
        };
        let mut blocks = Vec::new();
        let (hidden, eps, std) = (config.hidden_size, config.norm_eps, config.initializer_range);

        // A base model's state dict doesn't name itself.
        let model = if task == Task::Base { String::new() } else { format!("{}.", names.base) };

        let name = format!("{model}{}", names.embedding);
        let init = Init::Normal { std, zero_row: description.padding_row };
        let embedding = declare.table(&name, config.vocab_size, hidden, init);
        let positions = names.positions.map(|positions| {
            let init = Init::Normal { std, zero_row: None };
            declare.table(&format!("{model}{positions}"), config.max_position_embeddings, hidden, init)
        });
        blocks.push(declare.finish(name, &[]));

        let mut layers = Vec::new();
        let (q, kv) = (config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim);
        let wide = config.intermediate_size;
        let (heads, kv_heads, head_dim) = (config.num_attention_heads, config.num_key_value_heads, config.head_dim);
        let rotates = description.ropes.iter().any(Option::is_some);
        let tables = 1 + usize::from(config.local_rope.is_some());
        let rotary = |table| Rotary { table, tables, dim: config.rope.dim };
        let plain = if description.transposed { Arrangement::Columns } else { Arrangement::Rows };
        let qkv_rows = if description.qkv_by_head { Arrangement::ByHead { heads, kinds: 3 } } else { plain };
        let output_rows = &[hidden];
        let gate_up_rows = if *gated { &[wide, wide][..] } else { &[wide] };
        for layer in 0..config.num_hidden_layers {
            let name = format!("{model}{}.{layer}", names.layers);
            let parent = format!("{name}.");
            let norm = |declare: &mut Declare, name: Option<&str>| {
                name.map(|name| declare.norm(&format!("{parent}{name}"), hidden, eps))
            };
            let output_norm = |declare: &mut Declare, name: Option<&str>| {
                name.map(|name| declare.rms_norm(&format!("{parent}{name}"), hidden, eps))
            };
            let modules = |names, rows, inputs, bias| Modules {
                parent: &parent,
                names,
                rows,
                arrangement: plain,
                inputs,
                bias,
                std,
            };
            let output = |name, inputs, bias| Modules {
                std: std * description.output_std,
                ..modules(std::slice::from_ref(name), output_rows, inputs, bias)
            };
            let by_layer = if description.scale_by_layer { (layer + 1) as f32 } else { 1.0 };
            layers.push(Layer {
                input_norm: norm(&mut declare, names.input_norm),
                qkv: declare
                    .linear(Modules { arrangement: qkv_rows, ..modules(names.qkv, &[q, kv, kv], hidden, *qkv_bias) }),
                qk_norm: names.qk_norm.map(|[q_name, k_name]| {
                    let each = !description.qk_norm_over_all;
                    let (q_width, k_width) = if each { (head_dim, head_dim) } else { (q, kv) };
                    let q = declare.rms_norm(&format!("{parent}{q_name}"), q_width, eps);
                    let k = declare.rms_norm(&format!("{parent}{k_name}"), k_width, eps);
                    QkNorm { q, k, heads, kv_heads, head_dim, each }
                }),
                attention: Attention {
                    layer,
                    heads,
                    kv_heads,
                    head_dim,
                    scale: description.scale / by_layer,
                    softcap: description.attn_logit_softcapping,
                    window: description.windows.get(layer).copied().flatten(),
                    rotary: description.ropes.get(layer).copied().flatten().map(rotary),
                },
                output: declare.linear(output(&names.output, q, *output_bias)),
                output_norm: output_norm(&mut declare, names.output_norm),
                mlp_norm: norm(&mut declare, names.mlp_norm),
                gate_up: declare.linear(modules(names.gate_up, gate_up_rows, hidden, *mlp_bias)),
                down: declare.linear(output(&names.down, wide, *mlp_bias)),
                down_norm: output_norm(&mut declare, names.down_norm),
            });
            blocks.push(declare.finish(name, &[]));
        }

        let norm_name = format!("{model}{}", names.last_norm);
        let norm = declare.norm(&norm_name, hidden, eps);
        let head = match task {
            Task::Base => None,
            Task::CausalLm if config.tie_word_embeddings => {
                Some(Linear { weight: embedding, bias: None, inputs: hidden, outputs: config.vocab_size })
            }
            Task::CausalLm => Some(declare.linear(Modules {
                parent: "",
                names: &[HEAD],
                rows: &[config.vocab_size],
                arrangement: Arrangement::Rows,
                inputs: hidden,
                bias: false,
                std,
            })),
        };
        let last = if head.is_some() { HEAD.to_owned() } else { norm_name };
        let tied = head.filter(|head| head.weight == embedding).map(|head| head.weight);
        blocks.push(declare.finish(last, tied.as_slice()));

        let rope = |config: RopeConfig| Rope { inv_freq: config.inv_freq(0), config };
        let Description { config, names, gated, parallel, embedding_scale, final_logit_softcapping, .. } = description;
        let ropes = [Some(&config.rope), config.local_rope.as_ref()].into_iter().flatten().filter(|_| rotates);
        let ropes = ropes.cloned().map(rope).collect();
        let specs = declare.specs;
        Ok(Transformer {
            config,
            ropes,
            names,
            gated,
            parallel,
            embedding_scale,
            final_logit_softcapping,
            specs,
            blocks,
            embedding,
            positions,
            layers,
            norm,
            head,
            task,
        })
    }
}

impl Model for Transformer {
    fn task(&self) -> Task {
        self.task
    }

    fn keys(&self) -> ModelKeys {
        let mut shapes: BTreeMap<_, _> =
            self.specs.tensors().map(|(name, shape, _)| (name.to_owned(), shape)).collect();
        let mut tied = Vec::new();
        if self.task == Task::CausalLm && self.config.tie_word_embeddings {
            let Names { base, embedding, .. } = self.names;
            let (head, embedding) = (format!("{HEAD}.weight"), format!("{base}.{embedding}.weight"));
            shapes.insert(head.clone(), vec![self.config.vocab_size, self.config.hidden_size]);
            tied.push((head, embedding));
        }
        let Names { base, renamed, ignored, .. } = self.names;
        ModelKeys { base_prefix: base, shapes, tied, renamed, ignored }
    }

    fn shape(&self) -> ModelShape {
        ModelShape {
            vocab_size: self.config.vocab_size,
            output_size: self.head.map_or(self.config.hidden_size, |head| head.outputs),
            layers: self.config.num_hidden_layers,
            kv_heads: self.config.num_key_value_heads,
            head_dim: self.config.head_dim,
            angles: self.ropes.iter().map(|rope| rope.inv_freq.len()).sum(),
            max_position_embeddings: self.config.max_position_embeddings,
            positions: self.positions.map(|_| self.config.max_position_embeddings),
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
            let x = ops.embed(self.embedding, self.config.hidden_size, self.embedding_scale)?;
            return match self.positions {
                Some(positions) => ops.add_positions(x, positions),
                None => Ok(x),
            };
        };
        let Some(layer) = index.checked_sub(1).and_then(|i| self.layers.get(i)) else {
            let x = match (head, &self.norm) {
                (HeadRows::Last, Norm::Rms(norm)) => ops.rms_norm_last(x, norm)?,
                (HeadRows::Last, Norm::Layer(norm)) => ops.layer_norm_last(x, norm)?,
                (HeadRows::All, norm) => normed(ops, x, Some(norm))?,
            };
            let Some(head) = &self.head else { return Ok(x) };
            let logits = ops.linear(x, head)?;
            return match self.final_logit_softcapping {
                Some(cap) => ops.softcap(logits, cap),
                None => Ok(logits),
            };
        };
        let qkv = match &layer.input_norm {
            Some(Norm::Rms(norm)) => ops.norm_linear(x, norm, &layer.qkv)?,
            norm => {
                let x = normed(ops, x, norm.as_ref())?;
                ops.linear(x, &layer.qkv)?
            }
        };
        let attended = match &layer.qk_norm {
            Some(norm) => ops.qk_norm_attention(qkv, norm, &layer.attention)?,
            None => ops.attention(qkv, &layer.attention)?,
        };
        let add_attended = |ops: &mut dyn Ops| add_normed(ops, x, attended, &layer.output, layer.output_norm.as_ref());
        // Adding to x uses it up, so what is parallel reads it before.
        let (x, wide) = if self.parallel {
            let wide = self.widen(ops, x, layer)?;
            (add_attended(ops)?, wide)
        } else {
            let x = add_attended(ops)?;
            (x, self.widen(ops, x, layer)?)
        };
        add_normed(ops, x, wide, &layer.down, layer.down_norm.as_ref())
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

impl Transformer {
    /// The feed-forward layer up to its output's projection.
    fn widen(&self, ops: &mut dyn Ops, x: Tensor, layer: &Layer) -> Result<Tensor> {
        let act = self.config.hidden_act;
        if let (Some(Norm::Rms(norm)), true) = (&layer.mlp_norm, self.gated) {
            return ops.norm_gated_linear(x, norm, &layer.gate_up, act);
        }
        let x = normed(ops, x, layer.mlp_norm.as_ref())?;
        match self.gated {
            true => ops.gated_linear(x, &layer.gate_up, act),
            false => ops.activated_linear(x, &layer.gate_up, act),
        }
    }
}

/// Normalised, where there is a norm.
fn normed(ops: &mut dyn Ops, x: Tensor, norm: Option<&Norm>) -> Result<Tensor> {
    match norm {
        Some(Norm::Rms(norm)) => ops.rms_norm(x, norm),
        Some(Norm::Layer(norm)) => ops.layer_norm(x, norm),
        None => Ok(x),
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
