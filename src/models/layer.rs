//! A layer: attention (or what else mixes its tokens), and a feed-forward layer or a choice of experts, with norms before them, after them, or both. What a layer
//! is made of and how it computes is here, once.

use super::Outputs;
use super::declare::{Declare, Modules, Norm};
use super::description::{Description, Names};
use super::mixing::Mixing;
use super::mixture::Mixture;
use super::stack::Place;
use crate::Result;
use crate::config::{Activation, TransformerConfig};
use crate::tensor::ops::{Attention, AttentionKind, Linear, Ops, RmsNorm, Rotary, Tensor};
use crate::weights::init::Init;
use crate::weights::spec::{Arrangement, BlockSpec};

/// A layer.
pub(super) struct Layer {
    hidden_size: usize,
    act: Activation,
    gated: bool,
    parallel: bool,
    residual_scale: f32,
    input_norm: Option<Norm>,
    mixing: Mixing,
    output: Linear,
    output_norm: Option<RmsNorm>,
    attended_norm: Option<Norm>,
    cross: Option<Cross>,
    mlp_norm: Option<Norm>,
    feed: Feed,
    down_norm: Option<RmsNorm>,
    fed_norm: Option<Norm>,
}

/// What comes behind a layer's attention.
enum Feed {
    /// A feed-forward layer.
    Dense(Mlp),
    /// A choice of such layers.
    Experts { router: Linear, experts: Vec<Mlp> },
}

/// A feed-forward layer.
struct Mlp {
    gate_up: Linear,
    down: Linear,
}

/// A layer's attention to what an encoder has read.
struct Cross {
    norm: Option<Norm>,
    query: Linear,
    attention: Attention,
    output: Linear,
    attended_norm: Option<Norm>,
}

/// What a layer keeps of what an encoder has read: its keys and values.
pub(super) struct Memory {
    kv: Linear,
    attention: Attention,
}

impl Layer {
    /// Declares the weights of a layer, which is called `name`, and its block; behind that those of its experts, if it has some.
    pub fn declare(
        description: &Description,
        place: &Place<'_>,
        layer: usize,
        name: String,
        declare: &mut Declare,
        blocks: &mut Vec<BlockSpec>,
    ) -> Layer {
        let parent = &format!("{name}.");
        let Description { config, names, qkv_bias, output_bias, mlp_bias, gated, .. } = description;
        let Names { cross, .. } = names;
        let (hidden, eps) = (config.hidden_size, config.norm_eps);
        let q = config.num_attention_heads * config.head_dim;
        let wide = config.intermediate_size;
        let output_rows = &[hidden];
        let gate_up_rows = if *gated { &[wide, wide][..] } else { &[wide] };
        let norm = |declare: &mut Declare, name: Option<&str>| {
            name.map(|name| declare.norm(&format!("{parent}{name}"), hidden, eps))
        };
        let output_norm = |declare: &mut Declare, name: Option<&str>| {
            name.map(|name| declare.rms_norm(&format!("{parent}{name}"), hidden, eps))
        };
        let plain = modules(description, parent, &[], &[], false);
        let down_names = &[names.down];
        let output = |names, inputs, bias| Modules {
            names,
            rows: output_rows,
            inputs,
            bias,
            std: new_std(description, inputs) * description.output_std,
            ..plain
        };
        let input_norm = norm(declare, names.input_norm.filter(|_| layer > 0 || description.first_input_norm));
        let (mixing, projected) = Mixing::declare(description, place, layer, parent, declare);
        let output_names = &[projected.name];
        let declared = Layer {
            hidden_size: hidden,
            act: config.hidden_act,
            gated: *gated,
            parallel: description.parallel,
            residual_scale: description.residual_scale,
            input_norm,
            mixing,
            output: declare.linear(output(output_names, projected.inputs, projected.bias)),
            output_norm: output_norm(declare, names.output_norm),
            attended_norm: norm(declare, names.attended_norm),
            cross: cross.zip(place.memories.get(layer)).map(|(names, memory)| Cross {
                norm: norm(declare, names.norm),
                query: queries_first(
                    description,
                    declare,
                    Modules { names: &[names.query], rows: &[q], bias: *qkv_bias, ..plain },
                ),
                attention: memory.attention,
                output: declare.linear(Modules { names: &[names.output], ..output(output_names, q, *output_bias) }),
                attended_norm: norm(declare, names.attended_norm),
            }),
            mlp_norm: norm(declare, names.mlp_norm),
            feed: match description.mixture.as_ref().filter(|mixture| mixture.layers.get(layer) == Some(&true)) {
                None => Feed::Dense(Mlp {
                    gate_up: declare.linear(Modules {
                        names: names.gate_up,
                        rows: gate_up_rows,
                        bias: *mlp_bias,
                        ..plain
                    }),
                    down: declare.linear(output(down_names, wide, *mlp_bias)),
                }),
                Some(Mixture { experts, names, .. }) => Feed::Experts {
                    router: declare.deciding(Modules { names: &[names.router], rows: &[*experts], ..plain }),
                    experts: Vec::new(),
                },
            },
            down_norm: output_norm(declare, names.down_norm),
            fed_norm: norm(declare, names.fed_norm),
        };
        blocks.push(declare.finish(name.clone(), &[]));
        let Feed::Experts { router, .. } = declared.feed else { return declared };
        let mut experts = Vec::new();
        if let Some(mixture) = &description.mixture {
            for expert in 0..mixture.experts {
                let name = format!("{name}.{}.{expert}", mixture.names.experts);
                experts.push(Mlp::declare(description, mixture, &format!("{name}."), declare));
                blocks.push(declare.finish(name, &[]));
            }
        }
        Layer { feed: Feed::Experts { router, experts }, ..declared }
    }

    /// How many experts it has; 0: it has a feed-forward layer.
    pub fn experts(&self) -> usize {
        match &self.feed {
            Feed::Experts { experts, .. } => experts.len(),
            Feed::Dense(_) => 0,
        }
    }

    /// What it makes of rows.
    pub fn run(&self, ops: &mut dyn Ops, x: Tensor) -> Result<Outputs> {
        let (projected, read) = match &self.input_norm {
            Some(Norm::Rms(norm)) if !self.shares_norm() => (ops.norm_linear(x, norm, self.mixing.input())?, x),
            norm => {
                let normal = normed(ops, x, norm.as_ref())?;
                (ops.linear(normal, self.mixing.input())?, if self.shares_norm() { normal } else { x })
            }
        };
        let attended = self.mixing.mix(ops, projected)?;
        let attended = self.scaled(ops, attended)?;
        let add_attended = |ops: &mut dyn Ops| add_normed(ops, x, attended, &self.output, self.output_norm.as_ref());
        // Adding to x uses it up, so what is parallel reads it before.
        let (x, wide, down) = match &self.feed {
            Feed::Dense(mlp) if self.parallel => {
                let wide = self.widen(ops, read, mlp)?;
                (add_attended(ops)?, wide, &mlp.down)
            }
            feed => {
                let x = add_attended(ops)?;
                let x = normed(ops, x, self.attended_norm.as_ref())?;
                let x = self.cross.as_ref().map_or(Ok(x), |cross| cross.add(ops, x))?;
                match feed {
                    Feed::Dense(mlp) => (x, self.widen(ops, x, mlp)?, &mlp.down),
                    Feed::Experts { router, .. } => return self.route(ops, x, router),
                }
            }
        };
        let wide = self.scaled(ops, wide)?;
        let x = add_normed(ops, x, wide, down, self.down_norm.as_ref())?;
        Ok(Outputs::hidden(normed(ops, x, self.fed_norm.as_ref())?))
    }

    /// Whether the feed-forward layer reads what attention reads.
    fn shares_norm(&self) -> bool {
        self.parallel && self.mlp_norm.is_none()
    }

    /// What is going to be projected and added, as much as of it is added.
    fn scaled(&self, ops: &mut dyn Ops, x: Tensor) -> Result<Tensor> {
        if self.residual_scale == 1.0 { Ok(x) } else { ops.scale(x, self.residual_scale) }
    }

    /// The feed-forward layer up to its output's projection.
    fn widen(&self, ops: &mut dyn Ops, x: Tensor, mlp: &Mlp) -> Result<Tensor> {
        let act = self.act;
        if let (Some(Norm::Rms(norm)), true) = (&self.mlp_norm, self.gated) {
            return ops.norm_gated_linear(x, norm, &mlp.gate_up, act);
        }
        let x = normed(ops, x, self.mlp_norm.as_ref())?;
        match self.gated {
            true => ops.gated_linear(x, &mlp.gate_up, act),
            false => ops.activated_linear(x, &mlp.gate_up, act),
        }
    }

    /// By which experts each row goes on, and what they read beside it.
    fn route(&self, ops: &mut dyn Ops, x: Tensor, router: &Linear) -> Result<Outputs> {
        let read = normed(ops, x, self.mlp_norm.as_ref())?;
        let logits = ops.linear(read, router)?;
        Ok(Outputs { routing: Some(logits), ..Outputs::hidden(ops.beside(x, read)?) })
    }

    /// What an expert adds to the rows of tokens that are routed to it.
    pub fn run_expert(&self, ops: &mut dyn Ops, x: Tensor, expert: usize) -> Result<Tensor> {
        let Feed::Experts { experts, .. } = &self.feed else { return Ok(x) };
        let Some(Mlp { gate_up, down }) = experts.get(expert) else { return Ok(x) };
        let input = ops.routed(x, self.hidden_size, self.hidden_size)?;
        let wide = ops.gated_linear(input, gate_up, self.act)?;
        let y = ops.linear(wide, down)?;
        ops.add_routed(x, y)
    }
}

impl Mlp {
    /// An expert of a layer: a feed-forward layer with a gate.
    fn declare(description: &Description, mixture: &Mixture, module: &str, declare: &mut Declare) -> Mlp {
        let Mixture { width, names, .. } = mixture;
        let plain = modules(description, module, names.gate_up, &[], false);
        Mlp {
            gate_up: declare.linear(Modules { rows: &[*width, *width], ..plain }),
            down: declare.linear(Modules {
                names: &[names.down],
                rows: &[description.config.hidden_size],
                inputs: *width,
                std: plain.std * description.output_std,
                ..plain
            }),
        }
    }
}

impl Cross {
    fn add(&self, ops: &mut dyn Ops, x: Tensor) -> Result<Tensor> {
        let normal = normed(ops, x, self.norm.as_ref())?;
        let query = ops.linear(normal, &self.query)?;
        let attended = ops.attention(query, &self.attention)?;
        let x = ops.add_linear(x, attended, &self.output)?;
        normed(ops, x, self.attended_norm.as_ref())
    }
}

impl Memory {
    /// Declares what a layer keeps of an encoder in a cache, as a block of its own; `None` where it attends to none.
    pub fn declare(
        description: &Description,
        parent: &str,
        layer: usize,
        cache: usize,
        declare: &mut Declare,
        blocks: &mut Vec<BlockSpec>,
    ) -> Option<Memory> {
        let cross = description.names.cross?;
        let width = description.config.num_attention_heads * description.config.head_dim;
        let kv = declare.linear(Modules {
            without_bias: description.bare_key.then_some(0),
            ..modules(description, parent, cross.kv, &[width, width], description.qkv_bias)
        });
        let attention = Attention {
            layer: cache,
            kind: AttentionKind::Cross,
            window: None,
            rotary: None,
            relative: None,
            ..attention(description, layer)
        };
        blocks.push(declare.finish(format!("{parent}{}", cross.memory), &[]));
        Some(Memory { kv, attention })
    }

    /// Puts what the encoder has left into the layer's cache.
    pub fn take(&self, ops: &mut dyn Ops, x: Tensor) -> Result<()> {
        let kv = ops.linear(x, &self.kv)?;
        ops.remember(kv, &self.attention)
    }
}

/// A layer's attention, over a cache that has its number.
pub(super) fn attention(description: &Description, layer: usize) -> Attention {
    let config: &TransformerConfig = &description.config;
    let tables = 1 + usize::from(config.local_rope.is_some());
    let rotary = |table| Rotary { table, tables, dim: config.rope.dim, neighbours: description.rotates_neighbours };
    let by_layer = if description.scale_by_layer { (layer + 1) as f32 } else { 1.0 };
    Attention {
        layer,
        heads: config.num_attention_heads,
        kv_heads: config.num_key_value_heads,
        head_dim: config.head_dim,
        scale: description.scale / by_layer,
        softcap: description.attn_logit_softcapping,
        kind: if description.causal { AttentionKind::Causal } else { AttentionKind::Bidirectional },
        window: description.windows.get(layer).copied().flatten(),
        rotary: description.ropes.get(layer).copied().flatten().map(rotary),
        relative: None,
    }
}

/// Modules of which the first gives queries.
pub(super) fn queries_first(description: &Description, declare: &mut Declare, modules: Modules<'_>) -> Linear {
    let linear = declare.linear(modules);
    if description.std_by_inputs {
        let std = modules.std / (description.config.head_dim as f32).sqrt();
        declare.specs.initialise(linear.weight, 0, Init::Normal { std, zero_row: None });
    }
    linear
}

/// The standard deviation of weights of a layer that are initialised anew, which have so many inputs.
pub(super) fn new_std(description: &Description, inputs: usize) -> f32 {
    let std = description.config.initializer_range;
    if description.std_by_inputs { std / (inputs as f32).sqrt() } else { std }
}

/// Modules of a layer that read rows of the stack's width.
pub(super) fn modules<'a>(
    description: &Description,
    parent: &'a str,
    names: &'a [&'a str],
    rows: &'a [usize],
    bias: bool,
) -> Modules<'a> {
    Modules {
        parent,
        names,
        rows,
        arrangement: if description.transposed { Arrangement::Columns } else { Arrangement::Rows },
        inputs: description.config.hidden_size,
        bias,
        without_bias: None,
        std: new_std(description, description.config.hidden_size),
    }
}

/// Normalised, where there is a norm.
pub(super) fn normed(ops: &mut dyn Ops, x: Tensor, norm: Option<&Norm>) -> Result<Tensor> {
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
