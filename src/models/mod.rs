//! Architectures: one file a family, saying which weights there are and how a block computes.

mod llama;

use crate::Result;
use crate::config::{Architecture, ModelConfig};
use crate::tensor::ops::{Ops, Tensor};
use crate::weights::keys::ModelKeys;
use crate::weights::spec::{BlockSpec, WeightSpecs};

pub use llama::Llama;

/// What a model is loaded for, which decides its head and the names of its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Task {
    /// `AutoModel`: no head, hidden states come out.
    Base,
    /// `AutoModelForCausalLM`: logits of the next token.
    #[default]
    CausalLm,
}

impl Task {
    /// What transformers calls the class of an architecture's model for this task.
    pub fn class_name(self, architecture: Architecture) -> String {
        let prefix = architecture.class_prefix();
        match self {
            Task::Base => format!("{prefix}Model"),
            Task::CausalLm => format!("{prefix}ForCausalLM"),
        }
    }
}

/// The cache and position facts that the engine needs of a decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderShape {
    /// Tokens known.
    pub vocab_size: usize,
    /// Elements of a row that comes out of the last block: `vocab_size` logits, or a hidden state without a head.
    pub output_size: usize,
    /// Layers with a key and value cache.
    pub layers: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// The longest context the model was made for.
    pub max_position_embeddings: usize,
}

/// A decoder: weights in blocks, and what each block computes.
pub trait Model {
    /// What it was made for.
    fn task(&self) -> Task;

    /// What the engine needs to know.
    fn shape(&self) -> DecoderShape;

    /// Its state dict's names, as transformers has them.
    fn keys(&self) -> ModelKeys;

    /// Every weight.
    fn weights(&self) -> &WeightSpecs;

    /// The blocks in forward order: embedding, layers, head or last norm.
    fn blocks(&self) -> &[BlockSpec];

    /// Computes block `index`. The first takes no input; the last gives its output for `all` rows or for the last one.
    fn block(&self, ops: &mut dyn Ops, index: usize, input: Option<Tensor>, head: HeadRows) -> Result<Tensor>;

    /// Cosine and sine for each pair of rotated elements at `position`, when the context is `length` tokens long.
    fn rope(&self, position: usize, length: usize, out: &mut Vec<f32>);
}

/// For which tokens the last block computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadRows {
    /// The last one: generation needs no others.
    Last,
    /// All of them.
    All,
}

/// The model that a config describes.
///
/// # Errors
/// What the config's parser says of a malformed or unknown config.
pub fn from_config(config: &ModelConfig, task: Task) -> Result<Box<dyn Model>> {
    match config.architecture()? {
        Architecture::Llama => Ok(Box::new(Llama::new(config, task)?)),
    }
}
