//! Transformers: layers of attention and a feed-forward layer, with norms before them, after them, or both.
//!
//! A family is a [`Description`] of one: which keys its config has, what its checkpoints call the weights, which norms
//! and windows its layers have, whether its tokens see those behind them. How a layer computes is here, once. Semantics:
//! transformers' `modeling_llama.py`, `modeling_bert.py` and their kin.

use std::collections::BTreeMap;

use super::declare::{Declare, Modules, Norm};
use super::description::{Description, Names};
use super::head::{Base, Head, HeadWeights};
use super::image::PatchEmbedding;
use super::{HeadRows, Model, ModelShape, Outputs, Task};
use crate::Result;
use crate::config::{ModelConfig, RopeConfig, TransformerConfig};
use crate::tensor::ops::{Attention, Linear, Number, Ops, QkNorm, RmsNorm, Rotary, Tensor, WeightId};
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
    attended_norm: Option<Norm>,
    fed_norm: Option<Norm>,
}

/// A transformer of some family.
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
    patches: Option<PatchEmbedding>,
    positions: Option<WeightId>,
    first_position: usize,
    token_types: Option<(WeightId, usize)>,
    embedding_norm: Option<Norm>,
    causal: bool,
    bare_states: bool,
    layers: Vec<Layer>,
    norm: Option<Norm>,
    head: HeadWeights,
    task: Task,
}

/// What the last block is called where it has no module: what it gives.
const NO_HEAD: &str = "last_hidden_state";

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
    pub fn new(description: Description, head: Head, raw: &ModelConfig, task: Task) -> Result<Transformer> {
        let Description { config, qkv_bias, output_bias, mlp_bias, names, gated, .. } = &description;
        if !config.head_dim.is_multiple_of(4) {
            return Err(raw.fields().unsupported("head_dim", "multiples of 4").into());
        }
        let mut declare = Declare {
            specs: WeightSpecs::default(),
            block: Vec::new(),
            layer_norms: description.layer_norms,
            norm_bias: description.norm_bias,
            norms_from_one: description.norms_from_one,
        };
        let mut blocks = Vec::new();
        let (hidden, eps, std) = (config.hidden_size, config.norm_eps, config.initializer_range);

        // A base model's state dict doesn't name itself.
        let model = if task == Task::Base { String::new() } else { format!("{}.", names.base) };

        let name = format!("{model}{}", names.embedding);
        let init = Init::Normal { std, zero_row: description.padding_row };
        let patches = description.patches.map(|patches| patches.declare(&mut declare, &model, config));
        let embedding = match &patches {
            Some(patches) => patches.kernels(),
            None => declare.table(&name, config.vocab_size, hidden, init),
        };
        let embedding_name = format!("{name}.weight");
        let positions = names.positions.map(|positions| {
            let init = Init::Normal { std, zero_row: description.first_position.checked_sub(1) };
            declare.table(&format!("{model}{positions}"), config.max_position_embeddings, hidden, init)
        });
        let token_types = names.token_types.map(|types| {
            let init = Init::Normal { std, zero_row: None };
            let count = description.token_types;
            (declare.table(&format!("{model}{types}"), count, hidden, init), count)
        });
        let embedding_norm = names.embedding_norm.map(|norm| declare.norm(&format!("{model}{norm}"), hidden, eps));
        // The module of them all, where they have one.
        let embeddings = names.embedding.rsplit_once('.').map_or(name, |(module, _)| format!("{model}{module}"));
        blocks.push(declare.finish(embeddings, &[]));

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
                input_norm: norm(&mut declare, names.input_norm.filter(|_| layer > 0 || description.first_input_norm)),
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
                    // What isn't causal has no use for its keys and values when a layer is done.
                    layer: if description.causal { layer } else { 0 },
                    heads,
                    kv_heads,
                    head_dim,
                    scale: description.scale / by_layer,
                    softcap: description.attn_logit_softcapping,
                    causal: description.causal,
                    window: description.windows.get(layer).copied().flatten(),
                    rotary: description.ropes.get(layer).copied().flatten().map(rotary),
                },
                output: declare.linear(output(&names.output, q, *output_bias)),
                output_norm: output_norm(&mut declare, names.output_norm),
                mlp_norm: norm(&mut declare, names.mlp_norm),
                gate_up: declare.linear(modules(names.gate_up, gate_up_rows, hidden, *mlp_bias)),
                down: declare.linear(output(&names.down, wide, *mlp_bias)),
                down_norm: output_norm(&mut declare, names.down_norm),
                attended_norm: norm(&mut declare, names.attended_norm),
                fed_norm: norm(&mut declare, names.fed_norm),
            });
            blocks.push(declare.finish(name, &[]));
        }

        let norm_name = names.last_norm.map(|norm| format!("{model}{norm}"));
        let norm = norm_name.as_ref().map(|name| declare.norm(name, hidden, eps));
        let base = Base { prefix: &model, embedding, embedding_name: &embedding_name, config };
        let last = head.name(&base).or(norm_name).unwrap_or_else(|| NO_HEAD.to_owned());
        let head = head.declare(&mut declare, &base);
        let tied = head.logits.filter(|logits| logits.weight == embedding).map(|logits| logits.weight);
        blocks.push(declare.finish(last, tied.as_slice()));

        let rope = |config: RopeConfig| Rope { inv_freq: config.inv_freq(0), config };
        let Description { config, names, gated, parallel, embedding_scale, final_logit_softcapping, .. } = description;
        let Description { first_position, causal, bare_states, .. } = description;
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
            patches,
            positions,
            first_position,
            token_types,
            embedding_norm,
            causal,
            bare_states,
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
        for (name, of, shape) in &self.head.tied {
            shapes.insert(name.clone(), shape.clone());
            tied.push((name.clone(), of.clone()));
        }
        let Names { base, renamed, ignored, .. } = self.names;
        ModelKeys { base_prefix: base, shapes, tied, renamed, ignored }
    }

    fn shape(&self) -> ModelShape {
        ModelShape {
            vocab_size: self.config.vocab_size,
            features: self.patches.as_ref().map_or(0, |patches| patches.image.row()),
            image: self.patches.as_ref().map(|patches| patches.image),
            end_of_text: self.config.special.eos.first().copied().filter(|_| self.task == Task::TextProjection),
            token_types: self.token_types.map_or(0, |(_, types)| types),
            output_size: self.head.logits.map_or(self.config.hidden_size, |logits| logits.outputs),
            layers: self.config.num_hidden_layers,
            kv_heads: self.config.num_key_value_heads,
            head_dim: self.config.head_dim,
            angles: self.ropes.iter().map(|rope| rope.inv_freq.len()).sum(),
            causal: self.causal,
            bare_states: self.bare_states,
            max_position_embeddings: self.config.max_position_embeddings,
            numbers_positions: self.first_position > 0,
            positions: (self.positions.is_some() || self.patches.is_some())
                .then(|| self.config.max_position_embeddings.saturating_sub(self.first_position)),
        }
    }

    fn weights(&self) -> &WeightSpecs {
        &self.specs
    }

    fn blocks(&self) -> &[BlockSpec] {
        &self.blocks
    }

    fn block(&self, ops: &mut dyn Ops, index: usize, input: Option<Tensor>, rows: HeadRows) -> Result<Outputs> {
        match (input, index.checked_sub(1).and_then(|i| self.layers.get(i))) {
            (None, _) => Ok(Outputs::hidden(self.embed(ops)?)),
            (Some(x), Some(layer)) => Ok(Outputs::hidden(self.layer(ops, x, layer)?)),
            (Some(x), None) => self.finish(ops, x, rows),
        }
    }

    fn position_ids(&self, ids: &[u32]) -> Option<Vec<u32>> {
        // As in fairseq: padding has a position of its own, which comes before the first token's.
        let padding = u32::try_from(self.first_position.checked_sub(1)?).ok()?;
        let mut last = padding;
        let number = |id: &u32| {
            last += u32::from(*id != padding);
            if *id == padding { padding } else { last }
        };
        Some(ids.iter().map(number).collect())
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
    fn embed(&self, ops: &mut dyn Ops) -> Result<Tensor> {
        if let Some(patches) = &self.patches {
            let x = patches.embed(ops)?;
            return normed(ops, x, self.embedding_norm.as_ref());
        }
        let mut x = ops.embed(self.embedding, self.config.hidden_size, self.embedding_scale)?;
        if let Some(positions) = self.positions {
            let by = if self.first_position > 0 { Number::PositionId } else { Number::Position };
            x = ops.add_rows(x, positions, by)?;
        }
        if let Some((types, _)) = self.token_types {
            x = ops.add_rows(x, types, Number::TokenType)?;
        }
        normed(ops, x, self.embedding_norm.as_ref())
    }

    /// What comes after the layers.
    fn finish(&self, ops: &mut dyn Ops, x: Tensor, rows: HeadRows) -> Result<Outputs> {
        let hidden = match (rows, &self.norm) {
            (HeadRows::Last, Some(norm)) => norm.of_last(ops, x)?,
            (_, norm) => normed(ops, x, norm.as_ref())?,
        };
        let (logits, pooled) = self.head.run(ops, hidden)?;
        let logits = match (logits, self.final_logit_softcapping) {
            (Some(logits), Some(cap)) => Some(ops.softcap(logits, cap)?),
            (logits, _) => logits,
        };
        Ok(Outputs { hidden, logits, pooled })
    }

    fn layer(&self, ops: &mut dyn Ops, x: Tensor, layer: &Layer) -> Result<Tensor> {
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
            let x = normed(ops, x, layer.attended_norm.as_ref())?;
            (x, self.widen(ops, x, layer)?)
        };
        let x = add_normed(ops, x, wide, &layer.down, layer.down_norm.as_ref())?;
        normed(ops, x, layer.fed_norm.as_ref())
    }

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
    norm.map_or(Ok(x), |norm| norm.of(ops, x))
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
