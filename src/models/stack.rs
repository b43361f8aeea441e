//! A stack: what makes a row of each token, layers of attention and a feed-forward layer with norms before them, after them, or
//! both, and a norm behind. How a layer computes is here, once.

use super::Outputs;
use super::declare::{Declare, Modules, Norm};
use super::description::{Description, Names, RelativeBias};
use super::image::PatchEmbedding;
use super::mixture::Mixture;
use crate::Result;
use crate::config::{Activation, TransformerConfig};
use crate::tensor::ops::{
    Attention, AttentionKind, Linear, Number, Ops, QkNorm, Relative, RmsNorm, Rotary, Tensor, WeightId,
};
use crate::weights::init::Init;
use crate::weights::spec::{Arrangement, BlockSpec};

struct Layer {
    input_norm: Option<Norm>,
    qkv: Linear,
    qk_norm: Option<QkNorm>,
    attention: Attention,
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

impl Memory {
    /// Puts what the encoder has left into the layer's cache.
    pub fn take(&self, ops: &mut dyn Ops, x: Tensor) -> Result<()> {
        let kv = ops.linear(x, &self.kv)?;
        ops.remember(kv, &self.attention)
    }
}

/// Where a stack is in a model.
pub(super) struct Place<'a> {
    /// The module that it is in, with a dot, or nothing.
    pub prefix: &'a str,
    /// Whose the embedding is.
    pub embedding: Embedding,
    /// Its first cache.
    pub cache: usize,
    /// Of each layer, what it keeps of an encoder.
    pub memories: &'a [Memory],
}

/// Whose a stack's embedding is.
#[derive(Clone, Copy)]
pub(super) enum Embedding {
    /// Its own.
    Own,
    /// Another stack's.
    Shared(WeightId),
    /// There is none: its rows are made of something else.
    None,
}

/// A stack of some family.
pub(super) struct Stack {
    hidden_size: usize,
    hidden_act: Activation,
    gated: bool,
    parallel: bool,
    embedding_scale: f32,
    /// The embedding of ids.
    pub embedding: Option<WeightId>,
    /// What its tensor is called.
    pub embedding_name: String,
    /// A table by positions, and which of its rows a token's is.
    positions: Option<(WeightId, Number)>,
    token_types: Option<WeightId>,
    /// What makes rows of an image, where that is what it reads.
    pub patches: Option<PatchEmbedding>,
    embedding_norm: Option<Norm>,
    layers: Vec<Layer>,
}

impl Stack {
    /// Declares the weights of a block that makes rows of tokens, and of a block for each layer.
    pub fn declare(
        description: &Description,
        place: &Place<'_>,
        declare: &mut Declare,
        blocks: &mut Vec<BlockSpec>,
    ) -> Stack {
        let Description { config, names, gated, parallel, embedding_scale, .. } = description;
        let (hidden, eps, std) = (config.hidden_size, config.norm_eps, config.initializer_range);
        let prefix = place.prefix;
        declare.layer_norms = description.layer_norms;

        let name = format!("{prefix}{}", names.embedding);
        let embedding_name = format!("{name}.weight");
        let init = Init::Normal { std, zero_row: description.padding_row };
        let patches = description.patches.map(|patches| patches.declare(declare, prefix, config));
        let embedding = match place.embedding {
            _ if patches.is_some() => None,
            Embedding::Own => Some(declare.table(&name, config.vocab_size, hidden, init)),
            Embedding::Shared(embedding) => Some(embedding),
            Embedding::None => None,
        };
        let table = |declare: &mut Declare, module: &str, rows, init| {
            declare.table(&format!("{prefix}{module}"), rows, hidden, init)
        };
        let first = description.first_position;
        let by = if description.numbers_positions { Number::PositionId } else { Number::Position { first } };
        let zero_row = first.checked_sub(1).filter(|_| description.numbers_positions);
        let init = if description.sinusoids { Init::Sinusoids } else { Init::Normal { std, zero_row } };
        let positions = names.positions.map(|module| (table(declare, module, description.position_rows(), init), by));
        let token_types = names
            .token_types
            .map(|module| table(declare, module, description.token_types, Init::Normal { std, zero_row: None }));
        let embedding_norm = names.embedding_norm.map(|norm| declare.norm(&format!("{prefix}{norm}"), hidden, eps));
        // The module of them all, where they have one; where the embedding is another's, that of the positions.
        let module = match (place.embedding, names.positions) {
            (Embedding::Shared(_) | Embedding::None, Some(positions)) => positions,
            _ => names.embeddings.unwrap_or(names.embedding),
        };
        let shared = if let Embedding::Shared(embedding) = place.embedding { Some(embedding) } else { None };
        blocks.push(declare.finish(format!("{prefix}{module}"), shared.as_slice()));

        let mut layers = Vec::new();
        for layer in 0..config.num_hidden_layers {
            let name = format!("{prefix}{}.{layer}", names.layers);
            let mut declared = declare_layer(description, place, layer, &format!("{name}."), declare);
            blocks.push(declare.finish(name.clone(), &[]));
            if let (Feed::Experts { experts, .. }, Some(mixture)) = (&mut declared.feed, &description.mixture) {
                for expert in 0..mixture.experts {
                    let name = format!("{name}.{}.{expert}", mixture.names.experts);
                    experts.push(declare_expert(description, mixture, &format!("{name}."), declare));
                    blocks.push(declare.finish(name, &[]));
                }
            }
            layers.push(declared);
        }
        Stack {
            hidden_size: hidden,
            hidden_act: config.hidden_act,
            gated: *gated,
            parallel: *parallel,
            embedding_scale: *embedding_scale,
            embedding,
            embedding_name,
            positions,
            token_types,
            patches,
            embedding_norm,
            layers,
        }
    }

    /// Declares what the layers keep of an encoder, a block each; their caches are from `cache` on.
    pub fn declare_memories(
        description: &Description,
        prefix: &str,
        cache: usize,
        declare: &mut Declare,
        blocks: &mut Vec<BlockSpec>,
    ) -> Vec<Memory> {
        let Description { config, names, .. } = description;
        let Some(cross) = names.cross else { return Vec::new() };
        let width = config.num_attention_heads * config.head_dim;
        let declare_one = |layer| {
            let parent = format!("{prefix}{}.{layer}.", names.layers);
            let kv = declare.linear(Modules {
                without_bias: description.bare_key.then_some(0),
                ..modules(description, &parent, cross.kv, &[width, width], description.qkv_bias)
            });
            let attention = Attention {
                layer: cache + layer,
                kind: AttentionKind::Cross,
                window: None,
                rotary: None,
                relative: None,
                ..attention(description, layer)
            };
            blocks.push(declare.finish(format!("{parent}{}", cross.memory), &[]));
            Memory { kv, attention }
        };
        (0..config.num_hidden_layers).map(declare_one).collect()
    }

    /// How many layers there are.
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// How many experts a layer has; 0: it has a feed-forward layer.
    pub fn experts(&self, layer: usize) -> usize {
        match self.layers.get(layer).map(|layer| &layer.feed) {
            Some(Feed::Experts { experts, .. }) => experts.len(),
            _ => 0,
        }
    }

    /// Whether it has a table of types of tokens.
    pub fn has_types(&self) -> bool {
        self.token_types.is_some()
    }

    /// Whether it has a table of positions.
    pub fn has_positions(&self) -> bool {
        self.positions.is_some() || self.patches.is_some()
    }

    /// A row of each token that runs.
    pub fn embed(&self, ops: &mut dyn Ops) -> Result<Tensor> {
        let x = match (&self.patches, self.embedding) {
            (Some(patches), _) => patches.embed(ops)?,
            (None, Some(embedding)) => ops.embed(embedding, self.hidden_size, self.embedding_scale)?,
            (None, None) => ops.features(self.hidden_size)?,
        };
        self.place(ops, x)
    }

    /// Rows that have been made, with what comes of their tokens' positions and types.
    pub fn place(&self, ops: &mut dyn Ops, mut x: Tensor) -> Result<Tensor> {
        if let Some((positions, by)) = self.positions {
            x = ops.add_rows(x, positions, by)?;
        }
        if let Some(types) = self.token_types {
            x = ops.add_rows(x, types, Number::TokenType)?;
        }
        normed(ops, x, self.embedding_norm.as_ref())
    }

    /// What an expert of a layer adds to the rows of tokens that are routed to it.
    pub fn expert(&self, ops: &mut dyn Ops, x: Tensor, layer: usize, expert: usize) -> Result<Tensor> {
        let Some(Feed::Experts { experts, .. }) = self.layers.get(layer).map(|layer| &layer.feed) else { return Ok(x) };
        let Some(Mlp { gate_up, down }) = experts.get(expert) else { return Ok(x) };
        let input = ops.routed(x, self.hidden_size, self.hidden_size)?;
        let wide = ops.gated_linear(input, gate_up, self.hidden_act)?;
        let y = ops.linear(wide, down)?;
        ops.add_routed(x, y)
    }

    /// The residual stream alone: a layer with experts leaves what those read beside it.
    pub fn alone(&self, ops: &mut dyn Ops, x: Tensor) -> Result<Tensor> {
        if x.width == self.hidden_size { Ok(x) } else { ops.columns(x, 0, self.hidden_size) }
    }

    /// What a layer makes of rows.
    pub fn layer(&self, ops: &mut dyn Ops, x: Tensor, layer: usize) -> Result<Outputs> {
        let Some(layer) = self.layers.get(layer) else { return Ok(Outputs::hidden(x)) };
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
        let (x, wide, down) = match &layer.feed {
            Feed::Dense(mlp) if self.parallel => {
                let wide = self.widen(ops, x, layer, mlp)?;
                (add_attended(ops)?, wide, &mlp.down)
            }
            feed => {
                let x = add_attended(ops)?;
                let x = normed(ops, x, layer.attended_norm.as_ref())?;
                let x = layer.cross.as_ref().map_or(Ok(x), |cross| cross.add(ops, x))?;
                match feed {
                    Feed::Dense(mlp) => (x, self.widen(ops, x, layer, mlp)?, &mlp.down),
                    Feed::Experts { router, .. } => return route(ops, x, layer, router),
                }
            }
        };
        let x = add_normed(ops, x, wide, down, layer.down_norm.as_ref())?;
        Ok(Outputs::hidden(normed(ops, x, layer.fed_norm.as_ref())?))
    }

    /// The feed-forward layer up to its output's projection.
    fn widen(&self, ops: &mut dyn Ops, x: Tensor, layer: &Layer, mlp: &Mlp) -> Result<Tensor> {
        let act = self.hidden_act;
        if let (Some(Norm::Rms(norm)), true) = (&layer.mlp_norm, self.gated) {
            return ops.norm_gated_linear(x, norm, &mlp.gate_up, act);
        }
        let x = normed(ops, x, layer.mlp_norm.as_ref())?;
        match self.gated {
            true => ops.gated_linear(x, &mlp.gate_up, act),
            false => ops.activated_linear(x, &mlp.gate_up, act),
        }
    }
}

/// By which experts each row goes on, and what they read beside it.
fn route(ops: &mut dyn Ops, x: Tensor, layer: &Layer, router: &Linear) -> Result<Outputs> {
    let read = normed(ops, x, layer.mlp_norm.as_ref())?;
    let logits = ops.linear(read, router)?;
    Ok(Outputs { routing: Some(logits), ..Outputs::hidden(ops.beside(x, read)?) })
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

/// A layer's attention, over a cache that has its number.
fn attention(description: &Description, layer: usize) -> Attention {
    let config: &TransformerConfig = &description.config;
    let tables = 1 + usize::from(config.local_rope.is_some());
    let rotary = |table| Rotary { table, tables, dim: config.rope.dim };
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

/// Declares a layer's own table of what scores get by distance. All layers' come from one tensor: that each has the few
/// hundred numbers spares it the wait for another block.
fn declare_relative(description: &Description, prefix: &str, declare: &mut Declare) -> Option<Relative> {
    let RelativeBias { module, buckets } = description.relative?;
    let heads = description.config.num_attention_heads;
    let rows = buckets.count * if description.causal { 1 } else { 2 };
    let name = format!("{prefix}{module}.weight");
    let std = new_std(description, description.config.hidden_size);
    let table = declare.vector(&name, vec![(name.clone(), rows * heads)], Init::Normal { std, zero_row: None });
    declare.specs.shape(table, vec![rows, heads]);
    Some(Relative { table, buckets })
}

/// Modules of which the first gives queries.
fn queries_first(description: &Description, declare: &mut Declare, modules: Modules<'_>) -> Linear {
    let linear = declare.linear(modules);
    if description.std_by_inputs {
        let std = modules.std / (description.config.head_dim as f32).sqrt();
        declare.specs.initialise(linear.weight, 0, Init::Normal { std, zero_row: None });
    }
    linear
}

/// The standard deviation of weights of a layer that are initialised anew, which have so many inputs.
fn new_std(description: &Description, inputs: usize) -> f32 {
    let std = description.config.initializer_range;
    if description.std_by_inputs { std / (inputs as f32).sqrt() } else { std }
}

/// Modules of a layer that read rows of the stack's width.
fn modules<'a>(
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

fn declare_layer(
    description: &Description,
    place: &Place<'_>,
    layer: usize,
    parent: &str,
    declare: &mut Declare,
) -> Layer {
    let Description { config, names, qkv_bias, output_bias, mlp_bias, gated, .. } = description;
    let Names { cross, .. } = names;
    let (hidden, eps) = (config.hidden_size, config.norm_eps);
    let (heads, kv_heads, head_dim) = (config.num_attention_heads, config.num_key_value_heads, config.head_dim);
    let (q, kv) = (heads * head_dim, kv_heads * head_dim);
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
    let (output_names, down_names) = (&[names.output], &[names.down]);
    let output = |names, inputs, bias| Modules {
        names,
        rows: output_rows,
        inputs,
        bias,
        std: new_std(description, inputs) * description.output_std,
        ..plain
    };
    let by_head = Arrangement::ByHead { heads, kinds: 3 };
    let relative = declare_relative(description, place.prefix, declare);
    let own = Attention { relative, ..attention(description, layer) };
    // What isn't causal has no use for its keys and values when a layer is done.
    let cache = if description.causal { place.cache + layer } else { place.cache };
    Layer {
        input_norm: norm(declare, names.input_norm.filter(|_| layer > 0 || description.first_input_norm)),
        qkv: queries_first(
            description,
            declare,
            Modules {
                names: names.qkv,
                rows: &[q, kv, kv],
                arrangement: if description.qkv_by_head { by_head } else { plain.arrangement },
                bias: *qkv_bias,
                without_bias: description.bare_key.then_some(1),
                ..plain
            },
        ),
        qk_norm: names.qk_norm.map(|[q_name, k_name]| {
            let each = !description.qk_norm_over_all;
            let (q_width, k_width) = if each { (head_dim, head_dim) } else { (q, kv) };
            let q = declare.rms_norm(&format!("{parent}{q_name}"), q_width, eps);
            let k = declare.rms_norm(&format!("{parent}{k_name}"), k_width, eps);
            QkNorm { q, k, heads, kv_heads, head_dim, each }
        }),
        attention: Attention { layer: cache, ..own },
        output: declare.linear(output(output_names, q, *output_bias)),
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
                gate_up: declare.linear(Modules { names: names.gate_up, rows: gate_up_rows, bias: *mlp_bias, ..plain }),
                down: declare.linear(output(down_names, wide, *mlp_bias)),
            }),
            Some(Mixture { experts, names, .. }) => Feed::Experts {
                router: declare.linear(Modules { names: &[names.router], rows: &[*experts], ..plain }),
                experts: Vec::new(),
            },
        },
        down_norm: output_norm(declare, names.down_norm),
        fed_norm: norm(declare, names.fed_norm),
    }
}

/// An expert of a layer: a feed-forward layer with a gate.
fn declare_expert(description: &Description, mixture: &Mixture, module: &str, declare: &mut Declare) -> Mlp {
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
