//! A stack: what makes a row of each token, and layers.

use super::Outputs;
use super::declare::{Declare, Norm};
use super::description::Description;
use super::image::PatchEmbedding;
use super::layer::{Layer, Memory, normed};
use crate::Result;
use crate::tensor::ops::{Number, Ops, Tensor, WeightId};
use crate::weights::init::Init;
use crate::weights::spec::BlockSpec;

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
        let Description { config, names, embedding_scale, .. } = description;
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
        // Where padding is numbered too, numbers are the table's rows.
        let by = Number::Position { first: if description.numbers_positions { 0 } else { first } };
        let zero_row = first.checked_sub(1).filter(|_| description.numbers_positions);
        let init = description.sinusoids.map_or(Init::Normal { std, zero_row }, Init::Sinusoids);
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
            layers.push(Layer::declare(description, place, layer, name, declare, blocks));
        }
        Stack {
            hidden_size: hidden,
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
        let declare_one = |layer| {
            let parent = format!("{prefix}{}.{layer}.", names.layers);
            Memory::declare(description, &parent, layer, cache + layer, declare, blocks)
        };
        (0..config.num_hidden_layers).filter_map(declare_one).collect()
    }

    /// How many layers there are.
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// How many experts a layer has; 0: it has a feed-forward layer.
    pub fn experts(&self, layer: usize) -> usize {
        self.layers.get(layer).map_or(0, Layer::experts)
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

    /// The residual stream alone: a layer with experts leaves what those read beside it.
    pub fn alone(&self, ops: &mut dyn Ops, x: Tensor) -> Result<Tensor> {
        if x.width == self.hidden_size { Ok(x) } else { ops.columns(x, 0, self.hidden_size) }
    }

    /// What a layer makes of rows.
    pub fn layer(&self, ops: &mut dyn Ops, x: Tensor, layer: usize) -> Result<Outputs> {
        self.layers.get(layer).map_or_else(|| Ok(Outputs::hidden(x)), |layer| layer.run(ops, x))
    }

    /// What an expert of a layer adds to the rows of tokens that are routed to it.
    pub fn expert(&self, ops: &mut dyn Ops, x: Tensor, layer: usize, expert: usize) -> Result<Tensor> {
        self.layers.get(layer).map_or(Ok(x), |layer| layer.run_expert(ops, x, expert))
    }
}
