//! Architectures: one file a family, which describes it; what families share is computed in one place.

mod arcee;
mod bart;
mod bert;
pub mod clip;
mod cohere;
mod convolution;
mod declare;
mod description;
mod distilbert;
mod ernie4_5;
mod exaone4;
mod gemma;
mod gemma2;
mod gemma3;
mod glm;
mod gpt2;
mod gpt_neo;
mod gpt_neox;
mod granite;
mod head;
mod helium;
pub mod image;
mod layer;
mod lfm2;
mod llama;
mod m2m_100;
mod marian;
mod mbart;
mod mistral;
mod mixing;
mod mixtral;
mod mixture;
mod modernbert;
mod mpnet;
mod mt5;
mod olmo2;
mod olmo3;
mod olmoe;
mod opt;
mod pegasus;
mod phi;
mod phi3;
mod qwen2;
mod qwen3;
mod qwen3_moe;
mod registered;
mod roberta;
mod seed_oss;
mod smollm3;
mod stablelm;
mod stack;
mod starcoder2;
mod t5;
mod transformer;
mod vit;
mod whisper;
mod xlm_roberta;

use crate::Result;
use crate::config::{ConfigError, ModelConfig, TransformerConfig};
use crate::generation::Readable;
use crate::tensor::ops::{Ops, Tensor};
use crate::weights::init::Sinusoids;
use crate::weights::keys::ModelKeys;
use crate::weights::spec::{BlockSpec, WeightSpecs};
use image::ImageShape;
use transformer::Transformer;

pub use convolution::windows;
pub use description::{Description, Names, RelativeBias};
pub use head::{Dense, Head, Logits};
pub use mixing::{ShortConvolutionNames, ShortConvolutions};
pub use mixture::{Chosen, Experts, Mixture, MixtureNames};
pub use registered::{Architecture, Registered};

/// Every family that there is.
const FAMILIES: [Family; 52] = [
    arcee::FAMILY,
    bart::FAMILY,
    bert::FAMILY,
    clip::FAMILY,
    clip::TEXT_FAMILY,
    clip::VISION_FAMILY,
    cohere::FAMILY,
    cohere::SECOND,
    distilbert::FAMILY,
    ernie4_5::FAMILY,
    exaone4::FAMILY,
    gemma::FAMILY,
    gemma2::FAMILY,
    gemma3::FAMILY,
    gemma3::WITH_IMAGES,
    glm::FAMILY,
    glm::FOURTH,
    gpt2::FAMILY,
    gpt_neo::FAMILY,
    gpt_neox::FAMILY,
    granite::FAMILY,
    granite::HYBRID,
    helium::FAMILY,
    lfm2::FAMILY,
    llama::FAMILY,
    m2m_100::FAMILY,
    marian::FAMILY,
    mbart::FAMILY,
    mistral::FAMILY,
    mixtral::FAMILY,
    modernbert::FAMILY,
    mpnet::FAMILY,
    mt5::FAMILY,
    olmo2::FAMILY,
    olmo3::FAMILY,
    olmoe::FAMILY,
    opt::FAMILY,
    pegasus::FAMILY,
    phi::FAMILY,
    phi3::FAMILY,
    qwen2::FAMILY,
    qwen3::FAMILY,
    qwen3_moe::FAMILY,
    roberta::FAMILY,
    seed_oss::FAMILY,
    smollm3::FAMILY,
    stablelm::FAMILY,
    starcoder2::FAMILY,
    t5::FAMILY,
    vit::FAMILY,
    whisper::FAMILY,
    xlm_roberta::FAMILY,
];

/// An architecture by the name that configs have for it.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// The config's `model_type`.
    pub model_type: &'static str,
    /// What there is of it, and what transformers calls the classes.
    pub classes: &'static [(Task, &'static str)],
    /// The config's keys that mean something to it, beyond [`TransformerConfig::KEYS`].
    pub own_keys: &'static [&'static str],
    /// What a config says of the model.
    pub describe: fn(&ModelConfig) -> Result<Description, ConfigError>,
    /// What comes after its layers for a task that it has.
    pub head: fn(&ModelConfig, &TransformerConfig, Task) -> Result<Head, ConfigError>,
}

impl Family {
    /// The family of a config.
    ///
    /// # Errors
    /// `UNSUPPORTED_MODEL_TYPE`, naming those that there are; `CONFIG_INVALID`
    pub fn of(config: &ModelConfig) -> Result<&'static Family, ConfigError> {
        const ALL: &[Family] = &FAMILIES;
        let model_type = config.model_type()?;
        let known = || ALL.iter().map(|family| family.model_type).collect();
        ALL.iter().find(|family| family.model_type == model_type).ok_or_else(|| config.unsupported_model_type(known()))
    }

    /// The model that a config describes; `ties`: its head is the embedding, where the config says so.
    ///
    /// # Errors
    /// What is wrong with the config; `UNSUPPORTED_MODEL_TYPE` where the family has no head for the task.
    pub fn build(&self, config: &ModelConfig, task: Task, ties: bool) -> Result<Box<dyn Model>> {
        self.class_name(config, task)?;
        if let Some(tower) = clip::tower(config, task)? {
            return Family::of(&tower)?.build(&tower, task, ties);
        }
        let description = (self.describe)(config)?;
        let head = (self.head)(config, &description.config, task)?;
        let head = if ties { head } else { head.untied() };
        Ok(Box::new(Transformer::new(description, head, config, task)?))
    }

    /// The config's keys that mean something to it.
    pub fn config_keys(&self) -> Vec<&'static str> {
        [TransformerConfig::KEYS, self.own_keys].concat()
    }

    /// What transformers calls the class of a model for this task.
    ///
    /// # Errors
    /// `UNSUPPORTED_MODEL_TYPE` where there is none.
    pub fn class_name(&self, config: &ModelConfig, task: Task) -> Result<&'static str, ConfigError> {
        let known = || self.classes.iter().map(|(task, _)| task.auto_class()).collect();
        let found = self.classes.iter().find(|(of, _)| *of == task).map(|(_, class)| *class);
        found.ok_or_else(|| config.unsupported_task(task.auto_class(), known()))
    }
}

/// What a model is loaded for, which decides its head and the names of its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Task {
    /// `AutoModel`: no head, hidden states come out.
    Base,
    /// `AutoModelForCausalLM`: logits of the next token.
    #[default]
    CausalLm,
    /// `AutoModelForMaskedLM`: logits of each token.
    MaskedLm,
    /// `AutoModelForSequenceClassification`: a logit for each label.
    SequenceClassification,
    /// `AutoModelForTokenClassification`: a logit for each label and token.
    TokenClassification,
    /// `AutoModelForQuestionAnswering`: of each token, logits of being the answer's start and its end.
    QuestionAnswering,
    /// `AutoModelForSeq2SeqLM`: logits of the next token of a text that is written of another.
    Seq2SeqLm,
    /// `AutoModelForSpeechSeq2Seq`: logits of the next token of a text that is written of sound.
    SpeechSeq2Seq,
    /// `AutoModelForImageClassification`: a logit for each label.
    ImageClassification,
    /// `CLIPTextModelWithProjection`: a text's embedding, which those of images can be compared with.
    TextProjection,
    /// `CLIPVisionModelWithProjection`: an image's.
    VisionProjection,
}

impl Task {
    /// Every task, by the name that the package has for it.
    pub const ALL: [(&'static str, Task); 11] = [
        ("base", Task::Base),
        ("causal-lm", Task::CausalLm),
        ("masked-lm", Task::MaskedLm),
        ("sequence-classification", Task::SequenceClassification),
        ("token-classification", Task::TokenClassification),
        ("question-answering", Task::QuestionAnswering),
        ("seq2seq-lm", Task::Seq2SeqLm),
        ("speech-seq2seq", Task::SpeechSeq2Seq),
        ("image-classification", Task::ImageClassification),
        ("text-projection", Task::TextProjection),
        ("vision-projection", Task::VisionProjection),
    ];

    /// The class by which a user loads a model for it.
    pub fn auto_class(self) -> &'static str {
        match self {
            Task::Base => "AutoModel",
            Task::CausalLm => "AutoModelForCausalLM",
            Task::MaskedLm => "AutoModelForMaskedLM",
            Task::SequenceClassification => "AutoModelForSequenceClassification",
            Task::TokenClassification => "AutoModelForTokenClassification",
            Task::QuestionAnswering => "AutoModelForQuestionAnswering",
            Task::Seq2SeqLm => "AutoModelForSeq2SeqLM",
            Task::SpeechSeq2Seq => "AutoModelForSpeechSeq2Seq",
            Task::ImageClassification => "AutoModelForImageClassification",
            Task::TextProjection => "CLIPTextModelWithProjection",
            Task::VisionProjection => "CLIPVisionModelWithProjection",
        }
    }

    /// Whether a model for it writes texts, token by token.
    pub fn writes(self) -> bool {
        matches!(self, Task::CausalLm | Task::Seq2SeqLm | Task::SpeechSeq2Seq)
    }

    /// Whether the last hidden state comes out too, be there a head or not.
    pub fn gives_hidden_state(self) -> bool {
        matches!(self, Task::Base | Task::TextProjection | Task::VisionProjection)
    }
}

/// What the engine needs to know of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelShape {
    /// Tokens known.
    pub vocab_size: usize,
    /// Numbers of a row that it reads for each token instead of an id; 0: it reads ids.
    pub features: usize,
    /// The images that it reads, where its rows are those of an image; it has then as many tokens as an image has.
    pub image: Option<ImageShape>,
    /// The id of the token whose row is a text's, where a text has one row; see [`clip::end_of_text`].
    pub end_of_text: Option<u32>,
    /// Types of tokens known; 0: the model has no types.
    pub token_types: usize,
    /// Elements of a row that comes out of the last block: logits, or a hidden state without a head.
    pub output_size: usize,
    /// Angles of a position, all ropes together.
    pub angles: usize,
    /// The length of a text beyond which the angles of all of its positions change with it.
    pub angles_change_beyond: Option<usize>,
    /// Whether tokens attend to those before them alone. Where they don't, all of an input's run together.
    pub causal: bool,
    /// Whether the last of its hidden states is what the last layer gives, rather than what the norm behind it makes of that.
    pub bare_states: bool,
    /// The longest context the model was made for.
    pub max_position_embeddings: usize,
    /// Numbers of a row that can be read in an id's place, as its embedding; 0: none can.
    pub embeds: usize,
    /// Whether some of its blocks read tokens' positions by their numbers: it has a table of them.
    pub has_positions: bool,
    /// How many numbers positions may have, where there is a limit: it has a table of them.
    pub position_ids: Option<usize>,
    /// What reads an input for it, where it is a model of two stacks.
    pub encoder: Option<EncoderShape>,
    /// How many positions it knows, where it knows no others: it has learned them.
    pub positions: Option<usize>,
}

impl ModelShape {
    /// What it can read.
    pub fn readable(&self) -> Readable {
        let (vocab_size, embeds, positions) = (self.vocab_size, self.embeds, self.position_ids);
        Readable { vocab_size, embeds, tokens: self.positions, positions }
    }
}

/// What the engine needs to know of what reads an input.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderShape {
    /// Its blocks are the first so many. The block behind them takes no input.
    pub blocks: usize,
    /// The block that leaves what it has read.
    pub ends: usize,
    /// Numbers of a row that it reads instead of an id, where its first block leaves half as many tokens as there are rows;
    /// 0: it reads ids.
    pub features: usize,
    /// How many positions it knows, where it knows no others.
    pub positions: Option<usize>,
}

/// A cache of keys and values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// Its number.
    pub index: usize,
    /// The blocks that write and read it.
    pub blocks: Vec<usize>,
    /// Whether it has what an encoder has read.
    pub of_encoder: bool,
    /// Elements that a position has in each of its halves: of keys, and of values.
    pub width: usize,
}

/// A model: weights in blocks, and what each block computes.
pub trait Model {
    /// What it was made for.
    fn task(&self) -> Task;

    /// What the engine needs to know.
    fn shape(&self) -> ModelShape;

    /// Its state dict's names, as transformers has them.
    fn keys(&self) -> ModelKeys;

    /// Every weight.
    fn weights(&self) -> &WeightSpecs;

    /// The blocks in forward order: embedding, layers, each with its experts behind it, head or last norm; an encoder's before.
    fn blocks(&self) -> &[BlockSpec];

    /// Whether a block is a layer, rather than what comes before or behind those.
    fn is_layer(&self, block: usize) -> bool;

    /// The experts that a block routes its tokens to, if it does. Their blocks run over those tokens alone: each adds to what
    /// that block has left.
    fn experts(&self, block: usize) -> Option<Experts>;

    /// Whether a block is an expert.
    fn is_expert(&self, block: usize) -> bool;

    /// The caches that blocks keep keys and values in.
    fn caches(&self) -> Vec<Cache>;

    /// Computes block `index`. The first takes no input, or rows of [`ModelShape::embeds`]; the last computes `rows`.
    fn block(&self, ops: &mut dyn Ops, index: usize, input: Option<Tensor>, rows: HeadRows) -> Result<Outputs>;

    /// The positions of an input's tokens, where the model gives them others than their places.
    fn position_ids(&self, ids: &[u32]) -> Option<Vec<u32>>;

    /// Cosine and sine for each pair of rotated elements of each rope at `position`, when the context is `length` tokens long.
    fn rope(&self, position: usize, length: usize, out: &mut Vec<f32>);
}

/// What a block leaves.
#[derive(Debug, Clone, Copy)]
pub struct Outputs {
    /// The hidden state, which the next block reads; of the last block, after the last norm. Of a block that routes to experts,
    /// and of those, with what they read behind it in each row.
    pub hidden: Tensor,
    /// The last block's logits, where the model has a head.
    pub logits: Option<Tensor>,
    /// What the last block makes of all tokens, where the model has no head but a pooler.
    pub pooled: Option<Tensor>,
    /// Of a block that routes its tokens to experts, a logit for each of those.
    pub routing: Option<Tensor>,
}

impl Outputs {
    /// A hidden state alone.
    pub fn hidden(hidden: Tensor) -> Outputs {
        Outputs { hidden, logits: None, pooled: None, routing: None }
    }

    /// Logits, or the hidden state of a model without a head.
    pub fn main(&self) -> Tensor {
        self.logits.unwrap_or(self.hidden)
    }
}

/// For which tokens the last block computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadRows {
    /// The last one: generation needs no others.
    Last,
    /// All of them.
    All,
}

#[cfg(test)]
mod tests;
