//! What a model has behind its layers, by the task that it is loaded for.

use super::Task;
use super::declare::{Declare, Modules, Norm};
use crate::Result;
use crate::config::{Activation, ConfigError, ModelConfig, TransformerConfig};
use crate::tensor::ops::{Linear, Ops, Pool, Tensor, WeightId};
use crate::weights::init::Init;
use crate::weights::spec::Arrangement;

/// What a model has behind its layers for a task: steps that are taken in this order, where there are any.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// All tokens' rows become one.
    pub pool: Option<Pool>,
    /// A projection to the same width, and its activation.
    pub dense: Option<Dense>,
    /// A LayerNorm.
    pub norm: Option<&'static str>,
    /// The projection that gives logits. Without it the model gives its hidden state, and what the steps before made of it
    /// is its pooled output.
    pub logits: Option<Logits>,
}

/// A projection to the same width within a head.
#[derive(Debug, Clone, Copy)]
pub struct Dense {
    /// Its name.
    pub module: &'static str,
    /// Whether it belongs to the model without a head, so that it is named below it.
    pub in_base: bool,
    /// Whether it has a bias.
    pub bias: bool,
    /// What follows.
    pub activation: Activation,
}

/// The projection that gives logits.
#[derive(Debug, Clone, Copy)]
pub struct Logits {
    /// Its name.
    pub module: &'static str,
    /// How many logits.
    pub outputs: usize,
    /// Whether its weight is the embedding's.
    pub tied: bool,
    /// What the bias is called, where there is one.
    pub bias: Option<&'static str>,
    /// Its shape, where it isn't a vector's.
    pub bias_dims: Option<[usize; 2]>,
    /// Whether it may be in checkpoints under the module's own name too.
    pub bias_has_two_names: bool,
}

impl Logits {
    /// One for each word, by the embedding where the config says so.
    pub fn of_words(module: &'static str, config: &TransformerConfig) -> Logits {
        let (outputs, tied) = (config.vocab_size, config.tie_word_embeddings);
        Logits { module, outputs, tied, bias: None, bias_dims: None, bias_has_two_names: false }
    }
}

impl Head {
    /// Of what may write texts: nothing, or the language model's head.
    ///
    /// # Errors
    /// None; those of encoders have some.
    pub fn of_decoder(_: &ModelConfig, config: &TransformerConfig, task: Task) -> Result<Head, ConfigError> {
        Ok(Head::of_words("lm_head", config, task))
    }

    /// … that is called otherwise.
    pub fn of_words(module: &'static str, config: &TransformerConfig, task: Task) -> Head {
        Head { logits: task.writes().then(|| Logits::of_words(module, config)), ..Head::default() }
    }

    /// Logits for each token, or for the row that there is, by a projection with a bias.
    pub fn classifier(module: &'static str, bias: &'static str, outputs: usize) -> Head {
        let logits =
            Logits { module, outputs, tied: false, bias: Some(bias), bias_dims: None, bias_has_two_names: false };
        Head { logits: Some(logits), ..Head::default() }
    }

    /// With a projection of its own, whatever the config says.
    #[must_use]
    pub fn untied(self) -> Head {
        Head { logits: self.logits.map(|logits| Logits { tied: false, ..logits }), ..self }
    }

    /// … that reads the first token's row after a layer of its own.
    #[must_use]
    pub fn after(self, dense: Dense) -> Head {
        Head { pool: Some(Pool::First), dense: Some(dense), ..self }
    }
}

/// The model that a head is put on.
pub(super) struct Base<'a> {
    /// What it is called, with a dot, or nothing.
    pub prefix: &'a str,
    /// Its embedding, which a tied projection reads.
    pub embedding: Option<WeightId>,
    /// What the embedding's tensor is called.
    pub embedding_name: &'a str,
    /// Its sizes.
    pub config: &'a TransformerConfig,
}

/// A head's weights.
pub(super) struct HeadWeights {
    pool: Option<Pool>,
    dense: Option<(Linear, Activation)>,
    norm: Option<Norm>,
    /// The projection that gives logits.
    pub logits: Option<Linear>,
    /// Names that are one tensor: a name, and the one whose tensor it is, with its shape.
    pub tied: Vec<(String, String, Vec<usize>)>,
    /// The one of them that is the projection and the embedding.
    pub words: Option<(String, String)>,
}

impl Head {
    /// The module that gives what comes out.
    pub(super) fn name(&self, base: &Base<'_>) -> Option<String> {
        let dense = |dense: Dense| format!("{}{}", if dense.in_base { base.prefix } else { "" }, dense.module);
        self.logits.map(|logits| logits.module.to_owned()).or_else(|| self.dense.map(dense))
    }

    /// Declares the weights.
    pub(super) fn declare(&self, declare: &mut Declare, base: &Base<'_>) -> HeadWeights {
        let TransformerConfig { hidden_size: hidden, initializer_range: std, norm_eps, .. } = *base.config;
        let arrangement = Arrangement::Rows;
        let dense = self.dense.map(|dense| {
            let parent = if dense.in_base { base.prefix } else { "" };
            let (names, rows, bias) = (&[dense.module], &[hidden], dense.bias);
            let inputs = hidden;
            let modules = Modules { parent, names, rows, arrangement, inputs, bias, without_bias: None, std };
            (declare.linear(modules), dense.activation)
        });
        let norm = self.norm.map(|norm| declare.norm(norm, hidden, norm_eps));
        let (mut tied, mut words) = (Vec::new(), None);
        let logits = self.logits.map(|logits| {
            let Logits { module, outputs, .. } = logits;
            let weight = match base.embedding.filter(|_| logits.tied) {
                Some(embedding) => {
                    let (own, of) = (format!("{module}.weight"), base.embedding_name.to_owned());
                    words = Some((own.clone(), of.clone()));
                    tied.push((own, of, vec![outputs, hidden]));
                    embedding
                }
                None => {
                    let (names, rows) = (&[module], &[outputs]);
                    let (inputs, bias, without_bias) = (hidden, false, None);
                    let modules = Modules { parent: "", names, rows, arrangement, inputs, bias, without_bias, std };
                    declare.deciding(modules).weight
                }
            };
            let bias = logits.bias.map(|bias| {
                let own = format!("{module}.bias");
                if logits.bias_has_two_names && own != bias {
                    tied.push((own, bias.to_owned(), vec![outputs]));
                }
                let id = declare.vector(bias, vec![(bias.to_owned(), outputs)], Init::Zeros);
                if let Some(dims) = logits.bias_dims {
                    declare.specs.shape(id, dims.to_vec());
                }
                id
            });
            Linear { weight, bias, inputs: hidden, outputs }
        });
        HeadWeights { pool: self.pool, dense, norm, logits, tied, words }
    }
}

impl HeadWeights {
    /// Logits where there are some, else the pooled output where there is one.
    pub fn run(&self, ops: &mut dyn Ops, x: Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let mut y = x;
        if let Some(pool) = self.pool {
            y = ops.pool(y, pool)?;
        }
        if let Some((dense, activation)) = &self.dense {
            y = ops.activated_linear(y, dense, *activation)?;
        }
        if let Some(norm) = &self.norm {
            y = norm.of(ops, y)?;
        }
        match &self.logits {
            Some(logits) => Ok((Some(ops.linear(y, logits)?), None)),
            None => Ok((None, (y != x).then_some(y))),
        }
    }
}
