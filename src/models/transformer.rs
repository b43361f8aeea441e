//! Transformers: a stack of layers, or one that reads an input and one that writes a text of what the first has read; behind
//! it a head.
//!
//! A family is a [`Description`]: which keys its config has, what its checkpoints call the weights, which norms and windows its
//! layers have, whether its tokens see those behind them. Semantics: transformers' `modeling_llama.py`, `modeling_bert.py`,
//! `modeling_bart.py` and their kin.

use std::collections::BTreeMap;

use super::convolution::Convolutions;
use super::declare::{Declare, Norm};
use super::description::{Description, Names};
use super::head::{Base, Head, HeadWeights};
use super::layer::{Memory, normed};
use super::mixture::{Experts, Mixture};
use super::stack::{Embedding, Place, Stack};
use super::{Cache, EncoderShape, HeadRows, Model, ModelShape, Outputs, Task};
use crate::Result;
use crate::config::{ModelConfig, RopeConfig};
use crate::tensor::ops::{Ops, Pool, Tensor};
use crate::weights::keys::ModelKeys;
use crate::weights::spec::{BlockSpec, WeightSpecs};

/// A transformer of some family.
pub struct Transformer {
    description: Description,
    encoder: Option<Encoder>,
    stack: Stack,
    norm: Option<Norm>,
    head: HeadWeights,
    ropes: Vec<Rope>,
    specs: WeightSpecs,
    blocks: Vec<BlockSpec>,
    steps: Vec<Step>,
    task: Task,
}

/// What reads an input for the stack that writes.
struct Encoder {
    convolutions: Option<Convolutions>,
    stack: Stack,
    norm: Option<Norm>,
    /// Of each layer of the other stack, what it keeps of the input.
    memories: Vec<Memory>,
}

/// What a block computes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Rows of what the caller gives.
    Convolve,
    /// Rows of the encoder's tokens.
    EncoderEmbed,
    /// A layer of the encoder.
    EncoderLayer(usize),
    /// The norm behind it.
    EncoderNorm,
    /// What a layer keeps of it.
    Remember(usize),
    /// Rows of tokens.
    Embed,
    /// A layer, up to its experts, if it has some.
    Layer(usize),
    /// An expert of a layer, by its number.
    Expert(usize, usize),
    /// The norm behind the layers, and the head.
    Finish,
}

/// What the last block of a stack is called where it has no module: what it gives.
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
        let reader = description.encoder.as_deref();
        if [Some(&description), reader].into_iter().flatten().any(|one| !one.config.head_dim.is_multiple_of(4)) {
            return Err(raw.fields().unsupported("head_dim", "multiples of 4").into());
        }
        let mut declare = Declare {
            specs: WeightSpecs::default(),
            block: Vec::new(),
            layer_norms: description.layer_norms,
            norm_bias: description.norm_bias,
            norms_from_one: description.norms_from_one,
        };
        let (mut blocks, mut steps) = (Vec::new(), Vec::new());
        // A base model's state dict doesn't name itself.
        let prefix = match description.names.base {
            "" => String::new(),
            _ if task == Task::Base => String::new(),
            base => format!("{base}."),
        };
        let layers = description.config.num_hidden_layers;

        let encoder = reader.map(|reader| {
            let convolutions = reader.convolutions.map(|names| {
                steps.push(Step::Convolve);
                Convolutions::declare(names, &reader.config, &prefix, &mut declare, &mut blocks)
            });
            let embedding = if convolutions.is_some() { Embedding::None } else { Embedding::Own };
            let place = Place { prefix: &prefix, embedding, cache: 2 * layers, memories: &[] };
            let stack = Stack::declare(reader, &place, &mut declare, &mut blocks);
            steps.push(Step::EncoderEmbed);
            steps.extend((0..stack.len()).map(Step::EncoderLayer));
            let name = reader.names.last_norm.map(|norm| format!("{prefix}{norm}"));
            let norm = name.as_ref().map(|name| declare.norm(name, reader.config.hidden_size, reader.config.norm_eps));
            steps.push(Step::EncoderNorm);
            blocks.push(declare.finish(name.unwrap_or_else(|| format!("encoder_{NO_HEAD}")), &[]));
            let memories = Stack::declare_memories(&description, &prefix, layers, &mut declare, &mut blocks);
            steps.extend((0..memories.len()).map(Step::Remember));
            Encoder { convolutions, stack, norm, memories }
        });

        let shared = encoder.as_ref().and_then(|encoder| encoder.stack.embedding);
        let place = Place {
            prefix: &prefix,
            embedding: shared.map_or(Embedding::Own, Embedding::Shared),
            cache: 0,
            memories: encoder.as_ref().map_or(&[], |encoder| &encoder.memories),
        };
        let stack = Stack::declare(&description, &place, &mut declare, &mut blocks);
        steps.push(Step::Embed);
        for layer in 0..layers {
            steps.push(Step::Layer(layer));
            steps.extend((0..stack.experts(layer)).map(|expert| Step::Expert(layer, expert)));
        }

        let config = &description.config;
        let norm_name = description.names.last_norm.map(|norm| format!("{prefix}{norm}"));
        let norm = norm_name.as_ref().map(|name| declare.norm(name, config.hidden_size, config.norm_eps));
        let base = Base { prefix: &prefix, embedding: stack.embedding, embedding_name: &stack.embedding_name, config };
        let last = head.name(&base).or(norm_name).unwrap_or_else(|| NO_HEAD.to_owned());
        let mut head = head.declare(&mut declare, &base);
        let tied = head.logits.filter(|logits| Some(logits.weight) == stack.embedding).map(|logits| logits.weight);
        blocks.push(declare.finish(last, tied.as_slice()));
        steps.push(Step::Finish);
        let shape = [config.vocab_size, config.hidden_size].to_vec();
        let also = description.names.also_embedding.iter().map(|name| format!("{prefix}{name}.weight"));
        head.tied.extend(also.map(|name| (name, stack.embedding_name.clone(), shape.clone())));

        let rotates = description.ropes.iter().any(Option::is_some);
        let rope = |config: &RopeConfig| Rope { inv_freq: config.inv_freq(0), config: config.clone() };
        let ropes = [Some(&config.rope), config.local_rope.as_ref()].into_iter().flatten().filter(|_| rotates);
        let ropes = ropes.map(rope).collect();
        let specs = declare.specs;
        Ok(Transformer { description, encoder, stack, norm, head, ropes, specs, blocks, steps, task })
    }

    /// What comes after the layers.
    fn finish(&self, ops: &mut dyn Ops, x: Tensor, rows: HeadRows) -> Result<Outputs> {
        let hidden = match (rows, &self.norm) {
            (HeadRows::Last, Some(norm)) => norm.of_last(ops, x)?,
            (HeadRows::Last, None) => ops.pool(x, Pool::Last)?,
            (HeadRows::All, norm) => normed(ops, x, norm.as_ref())?,
        };
        let (logits, pooled) = self.head.run(ops, hidden)?;
        let logits = match (logits, self.description.final_logit_softcapping) {
            (Some(logits), Some(cap)) => Some(ops.softcap(logits, cap)?),
            (logits, _) => logits,
        };
        let logits = match (logits, self.description.logit_scale) {
            (Some(logits), scale) if scale != 1.0 => Some(ops.scale(logits, scale)?),
            (logits, _) => logits,
        };
        Ok(Outputs { hidden, logits, pooled, routing: None })
    }

    /// The block that computes a step. Nothing is allocated: the token loop asks for the model's shape.
    fn block_of(&self, step: Step) -> usize {
        self.steps.iter().position(|one| *one == step).unwrap_or_default()
    }

    /// The blocks that compute some step.
    fn blocks_of(&self, is: impl Fn(Step) -> bool) -> Vec<usize> {
        self.steps.iter().enumerate().filter(|(_, step)| is(**step)).map(|(block, _)| block).collect()
    }
}

impl Model for Transformer {
    fn task(&self) -> Task {
        self.task
    }

    fn keys(&self) -> ModelKeys {
        let mut shapes: BTreeMap<_, _> = self.specs.stored().map(|(name, shape)| (name.to_owned(), shape)).collect();
        let mut tied = Vec::new();
        for (name, of, shape) in &self.head.tied {
            shapes.insert(name.clone(), shape.clone());
            tied.push((name.clone(), of.clone()));
        }
        let Names { base: base_prefix, renamed, ignored, spared, .. } = self.description.names;
        ModelKeys { base_prefix, shapes, tied, head: self.head.words.clone(), renamed, ignored, spared }
    }

    fn shape(&self) -> ModelShape {
        let Description { config, .. } = &self.description;
        ModelShape {
            vocab_size: config.vocab_size,
            features: self.stack.patches.as_ref().map_or(0, |patches| patches.image.row()),
            image: self.stack.patches.as_ref().map(|patches| patches.image),
            end_of_text: config.special.eos.first().copied().filter(|_| self.task == Task::TextProjection),
            token_types: if self.stack.has_types() { self.description.token_types } else { 0 },
            output_size: self.head.logits.map_or(config.hidden_size, |logits| logits.outputs),
            angles: self.ropes.iter().map(|rope| rope.inv_freq.len()).sum(),
            angles_change_beyond: self.ropes.iter().filter_map(|rope| rope.config.changes_beyond()).min(),
            causal: self.description.causal,
            bare_states: self.description.bare_states,
            max_position_embeddings: config.max_position_embeddings,
            embeds: if self.encoder.is_none() && self.stack.patches.is_none() { config.hidden_size } else { 0 },
            has_positions: [Some(&self.stack), self.encoder.as_ref().map(|encoder| &encoder.stack)]
                .into_iter()
                .flatten()
                .any(Stack::has_positions),
            position_ids: self.stack.has_positions().then(|| self.description.position_ids()),
            positions: self.stack.has_positions().then(|| self.description.positions()),
            encoder: self.encoder.as_ref().zip(self.description.encoder.as_ref()).map(|(encoder, description)| {
                EncoderShape {
                    blocks: self.block_of(Step::Embed),
                    ends: self.block_of(Step::EncoderNorm),
                    features: encoder.convolutions.as_ref().map_or(0, Convolutions::inputs),
                    positions: encoder.stack.has_positions().then(|| description.positions()),
                }
            }),
        }
    }

    fn caches(&self) -> Vec<Cache> {
        let layers = self.stack.len();
        let width = |layer| self.description.cache_width(layer);
        let mut caches = Vec::new();
        if self.description.causal {
            let of = |layer| {
                let blocks = vec![self.block_of(Step::Layer(layer))];
                Cache { index: layer, blocks, of_encoder: false, width: width(layer) }
            };
            caches.extend((0..layers).map(of));
        } else {
            let blocks = self.blocks_of(|step| matches!(step, Step::Layer(_)));
            caches.push(Cache { index: 0, blocks, of_encoder: false, width: width(0) });
        }
        if self.encoder.is_some() {
            let of = |layer| {
                let blocks = [Step::Remember(layer), Step::Layer(layer)].map(|step| self.block_of(step)).to_vec();
                Cache { index: layers + layer, blocks, of_encoder: true, width: width(layer) }
            };
            caches.extend((0..layers).map(of));
            let blocks = self.blocks_of(|step| matches!(step, Step::EncoderLayer(_)));
            caches.push(Cache { index: 2 * layers, blocks, of_encoder: true, width: width(0) });
        }
        caches
    }

    fn weights(&self) -> &WeightSpecs {
        &self.specs
    }

    fn blocks(&self) -> &[BlockSpec] {
        &self.blocks
    }

    fn is_layer(&self, block: usize) -> bool {
        matches!(self.steps.get(block), Some(Step::Layer(_) | Step::EncoderLayer(_)))
    }

    fn experts(&self, block: usize) -> Option<Experts> {
        let Some(Step::Layer(layer)) = self.steps.get(block) else { return None };
        let Description { config, mixture, .. } = &self.description;
        let Mixture { per_token, normalised, .. } = *mixture.as_ref().filter(|_| self.stack.experts(*layer) > 0)?;
        let blocks = block + 1..block + 1 + self.stack.experts(*layer);
        Some(Experts { blocks, per_token, normalised, hidden_size: config.hidden_size })
    }

    fn is_expert(&self, block: usize) -> bool {
        matches!(self.steps.get(block), Some(Step::Expert(..)))
    }

    fn block(&self, ops: &mut dyn Ops, index: usize, input: Option<Tensor>, rows: HeadRows) -> Result<Outputs> {
        let step = self.steps.get(index).copied().unwrap_or(Step::Finish);
        let input = match (step, input) {
            (Step::Layer(_) | Step::Finish, Some(x)) => Some(self.stack.alone(ops, x)?),
            (_, input) => input,
        };
        let x = match (step, &self.encoder, input) {
            (Step::Embed, None, Some(rows)) => self.stack.place(ops, rows)?,
            (Step::Embed, _, _) => self.stack.embed(ops)?,
            (Step::Layer(layer), _, Some(x)) => return self.stack.layer(ops, x, layer),
            (Step::Expert(layer, expert), _, Some(x)) => self.stack.expert(ops, x, layer, expert)?,
            (Step::Convolve, Some(Encoder { convolutions: Some(convolutions), .. }), _) => convolutions.first(ops)?,
            (Step::EncoderEmbed, Some(Encoder { convolutions: Some(convolutions), stack, .. }), Some(x)) => {
                let x = convolutions.second(ops, x)?;
                stack.place(ops, x)?
            }
            (Step::EncoderEmbed, Some(encoder), _) => encoder.stack.embed(ops)?,
            (Step::EncoderLayer(layer), Some(encoder), Some(x)) => encoder.stack.layer(ops, x, layer)?.hidden,
            (Step::EncoderNorm, Some(encoder), Some(x)) => normed(ops, x, encoder.norm.as_ref())?,
            (Step::Remember(layer), Some(encoder), Some(x)) => {
                encoder.memories.get(layer).map_or(Ok(()), |memory| memory.take(ops, x))?;
                x
            }
            (_, _, Some(x)) => return self.finish(ops, x, rows),
            (_, _, None) => self.stack.embed(ops)?,
        };
        Ok(Outputs::hidden(x))
    }

    fn position_ids(&self, ids: &[u32]) -> Option<Vec<u32>> {
        if !self.description.numbers_positions {
            return None;
        }
        // As in fairseq: padding has a position of its own, which comes before the first token's.
        let padding = u32::try_from(self.description.first_position.checked_sub(1)?).ok()?;
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
