//! A forward pass: what goes in, and what comes out of it by transformers' names.

use super::Engine;
use super::between::{Attentions, Between};
use super::encode::Source;
use super::forward::{Asked, Output, Run, Tokens, submit};
use super::recorded::output_tokens;
use super::runner::Runner;
use super::session::Session;
use crate::Result;
use crate::generation::{Chunk, GenerationError, Prompt, check_features, check_past, check_types};
use crate::hub::Abort;
use crate::models::clip::end_of_text;
use crate::models::{Outputs, Task};
use crate::tensor::ops::{Rows, Tensor};

/// One text.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inputs<'a> {
    /// Its tokens.
    pub ids: &'a [u32],
    /// Their types; empty: each is of type 0.
    pub types: &'a [u32],
    /// Rows that are read in the place of the first tokens' embeddings, `[n, embeds]`; the ids of those don't count.
    pub embeds: &'a [f32],
    /// The first tokens' positions, which those behind them go on from; empty: each token's is its place.
    pub position_ids: &'a [u32],
    /// So many of the first tokens are but read: what is given is of those behind them.
    pub past: usize,
    /// Rows of numbers, one for each token, of a model that reads such instead of ids (which are then all 0).
    pub features: &'a [f32],
    /// The text that has been written so far, of a model that reads with an encoder: `ids` and `features` are the encoder's.
    pub decoder_ids: &'a [u32],
    /// What else is wanted.
    pub more: More,
}

/// What a forward pass gives only where it is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct More {
    /// The hidden states between the layers.
    pub hidden_states: bool,
    /// By which shares tokens attend to each other, in each layer.
    pub attentions: bool,
}

/// Numbers in row-major order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Array {
    /// The shape.
    pub dims: Vec<usize>,
    /// The elements.
    pub data: Vec<f32>,
}

/// What a model gives for one text, as transformers' model outputs name it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelOutput {
    /// `[tokens, outputs]`, or `[outputs]` where a head reads all tokens at once.
    pub logits: Option<Array>,
    /// `[projection]`: a text's embedding, which those of images can be compared with.
    pub text_embeds: Option<Array>,
    /// `[projection]`: an image's.
    pub image_embeds: Option<Array>,
    /// `[tokens, hidden]`, of a model without a head or with a projection.
    pub last_hidden_state: Option<Array>,
    /// `[encoder's tokens, hidden]`, of a model that reads with an encoder.
    pub encoder_last_hidden_state: Option<Array>,
    /// `[hidden]`, of a model without a head that has a pooler.
    pub pooler_output: Option<Array>,
    /// `[tokens, hidden]` of the embeddings and of each layer, where asked for. The last one's is after the norm behind it, but in models
    /// that read images and in CLIP's.
    pub hidden_states: Vec<Array>,
    /// `[encoder's tokens, hidden]` likewise, of a model that reads with an encoder.
    pub encoder_hidden_states: Vec<Array>,
    /// `[heads, tokens, tokens]` of each layer, where asked for: by which share each token attends to each, those that were but read
    /// included.
    pub attentions: Vec<Array>,
    /// The same of an encoder's, of a model that reads with one.
    pub encoder_attentions: Vec<Array>,
    /// `[heads, tokens, encoder's tokens]` likewise: by which share each token attends to what the encoder has read.
    pub cross_attentions: Vec<Array>,
}

impl<'a> Inputs<'a> {
    /// The text of a decoder, or of an encoder that nothing is written from.
    fn prompt(&self) -> Prompt<'a> {
        Prompt { ids: self.ids, embeds: self.embeds, position_ids: self.position_ids }
    }
}

impl ModelOutput {
    /// Logits, embeddings, or the hidden states of a model without a head.
    pub fn main(self) -> Vec<f32> {
        self.logits.or(self.text_embeds).or(self.image_embeds).or(self.last_hidden_state).unwrap_or_default().data
    }
}

impl Engine {
    /// What the model gives for all tokens of a text.
    ///
    /// # Errors
    /// `INPUT_IDS` where an id or a type is unknown; `CONTEXT_LENGTH` where there are more tokens than the model has positions
    /// for; what the load or the device says.
    pub async fn forward(&self, inputs: Inputs<'_>, abort: &Abort) -> Result<ModelOutput> {
        self.on_some_device(async |runner| runner.forward(inputs, abort).await).await
    }

    /// What the model gives for an image: `pixels` as its image processor gives them, in the order of `dims`, which are
    /// channels, height and width.
    ///
    /// # Errors
    /// `PIXEL_VALUES` where the model takes images of another size, or none; what the load or the device says.
    pub async fn forward_image(
        &self,
        pixels: &[f32],
        dims: &[usize],
        more: More,
        abort: &Abort,
    ) -> Result<ModelOutput> {
        let no_images = || GenerationError::NoImages { class: self.class().to_owned() };
        let image = self.shape().image.ok_or_else(no_images)?;
        let features = image.unfold(pixels, dims)?;
        let ids = vec![0; image.tokens()];
        self.forward(Inputs { ids: &ids, features: &features, more, ..Inputs::default() }, abort).await
    }
}

/// The row of the token that stands for a text.
fn row_of_text(rows: Array, ids: &[u32], end: Option<u32>) -> Array {
    let width = rows.dims.last().copied().unwrap_or_default();
    let from = end.map_or(0, |end| end_of_text(ids, end)) * width;
    Array { dims: vec![width], data: rows.data.get(from..from + width).unwrap_or_default().to_vec() }
}

/// What comes out of several runs, row after row.
#[derive(Default)]
struct Collected {
    hidden: Vec<f32>,
    logits: Vec<f32>,
    pooled: Vec<f32>,
}

/// A forward pass that has been made.
struct Done<'a> {
    /// The tokens that it gives something for.
    text: &'a [u32],
    outputs: Outputs,
    all: Collected,
    between: Between,
    /// The same of an encoder, and its last hidden state, over so many tokens.
    of_encoder: Between,
    read: Vec<f32>,
    read_tokens: usize,
}

impl Runner {
    async fn forward(&self, inputs: Inputs<'_>, abort: &Abort) -> Result<ModelOutput> {
        let Inputs { types, more: More { hidden_states, attentions }, .. } = inputs;
        let shape = self.model.shape();
        let (source, prompt, features, encoding, read_tokens) = match &shape.encoder {
            None => (Source::default(), inputs.prompt(), inputs.features, Vec::new(), 0),
            Some(encoder) => {
                let source = Source { ids: inputs.ids, features: inputs.features };
                let tokens = source.size(encoder, shape.vocab_size)?.tokens;
                (source, Prompt { ids: inputs.decoder_ids, ..inputs.prompt() }, &[][..], self.ways(tokens), tokens)
            }
        };
        let ids = prompt.ids;
        let past = inputs.past;
        check_past(past, ids.len(), shape.causal && shape.encoder.is_none())?;
        check_types(types, ids.len(), shape.token_types)?;
        check_features(features.len(), ids.len(), shape.features)?;
        let ways = self.ways(ids.len());
        let asked = Asked { outputs: Some(inputs.more), ..Asked::of(ids.len()) };
        let mut session = self.open(prompt, &[&ways, &encoding], source, asked).await?;
        let cached = self.take_cached(&mut session, prompt, &ways).min(past);
        let shown = |all: [Option<Attentions>; 2]| all.into_iter().flatten().filter(|_| attentions).collect();
        let of_source = shape.encoder.as_ref().map(|_| Attentions::of_source(ids.len(), read_tokens));
        let mut of_encoder = Between::of(hidden_states, shown([Some(Attentions::of_text(0, read_tokens)), None]));
        // What the past attends to nobody wants. Where something has a past there is no encoder.
        submit(self.read_on(&mut session, prompt, cached..past, &ways, abort).await?);
        session.show(attentions);
        let read = self.read(&mut session, source, &encoding, &ways, Some(&mut of_encoder), abort).await?;
        let most = output_tokens(&shape);
        let mut all = Collected::default();
        let mut left = None;
        let blocks = self.writing_blocks();
        let mut between = Between::of(hidden_states, shown([Some(Attentions::of_text(past, ids.len())), of_source]));
        for Chunk { range, given } in prompt.chunks(past..ids.len(), most, shape.embeds) {
            let run = Run { given, shows: attentions, ..Run::output(&ways, blocks) };
            let of = |width: usize| range.start * width..range.end * width;
            let (position, count, length, read) = (range.start, range.len(), ids.len(), session.read);
            let types = types.get(range.clone()).unwrap_or_default();
            self.begin(&mut session, Tokens { position, length, count, ids: ids.get(range.clone()), types, read })?;
            let rows = match given {
                true => prompt.embeds.get(of(shape.embeds)),
                false => features.get(of(shape.features)),
            };
            if let Some(rows) = rows.filter(|rows| !rows.is_empty()) {
                self.give(&mut session, rows).await?;
            }
            let wanted = between.is_wanted().then_some(&mut between);
            let output = self.run(&mut session, run, None, wanted, abort).await?;
            left = Some(self.collect(&mut session, output, hidden_states, count, &mut all).await?);
        }
        let outputs = left.ok_or(GenerationError::EmptyInput)?;
        if types.is_empty() {
            self.keep_cached(&mut session, prompt, &[], &ways);
        }
        session.show(false);
        let text = ids.get(past..).unwrap_or_default();
        Ok(self.named(Done { text, outputs, all, between, of_encoder, read, read_tokens }))
    }

    /// What has come out, by its names.
    fn named(&self, done: Done<'_>) -> ModelOutput {
        let Done { text, outputs, all, between, of_encoder, read, read_tokens } = done;
        let (shape, task) = (self.model.shape(), self.model.task());
        let array = |tensor: Tensor, data| {
            let rows = (tensor.rows == Rows::All).then_some(text.len());
            Array { dims: rows.into_iter().chain([tensor.width]).collect(), data }
        };
        let wants_states = between.states.is_some();
        let mut states = between.states.unwrap_or_default();
        if wants_states && !shape.bare_states {
            states.push(all.hidden.clone());
        }
        let of_source = |data| Array { dims: vec![read_tokens, outputs.hidden.width], data };
        let read_states = of_encoder.states.into_iter().flatten().filter(|state| !state.is_empty());
        let mut attentions = between.attentions.into_iter().map(Attentions::into_arrays);
        let logits = outputs.logits.map(|logits| array(logits, all.logits));
        let (logits, text_embeds, image_embeds) = match task {
            Task::TextProjection => (None, logits.map(|rows| row_of_text(rows, text, shape.end_of_text)), None),
            Task::VisionProjection => (None, None, logits),
            _ => (logits, None, None),
        };
        ModelOutput {
            logits,
            text_embeds,
            image_embeds,
            last_hidden_state: task.gives_hidden_state().then(|| array(outputs.hidden, all.hidden)),
            encoder_last_hidden_state: shape.encoder.is_some().then(|| of_source(read)),
            pooler_output: outputs.pooled.map(|pooled| array(pooled, all.pooled)),
            hidden_states: states.into_iter().map(|state| array(outputs.hidden, state)).collect(),
            encoder_hidden_states: read_states.map(of_source).collect(),
            attentions: attentions.next().unwrap_or_default(),
            encoder_attentions: of_encoder.attentions.into_iter().flat_map(Attentions::into_arrays).collect(),
            cross_attentions: attentions.next().unwrap_or_default(),
        }
    }

    /// Takes what a run of `tokens` tokens left; the hidden state where it is wanted.
    async fn collect(
        &self,
        session: &mut Session,
        left: Output,
        hidden: bool,
        tokens: usize,
        all: &mut Collected,
    ) -> Result<Outputs> {
        let outputs = match &left {
            Output::Gpu(_) => self.on_gpu()?.recorded.output,
            Output::Cpu(outputs) => *outputs,
        };
        let mut wanted: Vec<(Tensor, &mut Vec<f32>)> = Vec::new();
        wanted.extend(outputs.logits.map(|logits| (logits, &mut all.logits)));
        wanted.extend(outputs.pooled.map(|pooled| (pooled, &mut all.pooled)));
        if hidden || outputs.logits.is_none() || self.model.task().gives_hidden_state() {
            wanted.push((outputs.hidden, &mut all.hidden));
        }
        let rows = |tensor: Tensor| if tensor.rows == Rows::All { tokens } else { 1 };
        match left {
            Output::Gpu(encoder) => {
                let from: Vec<_> = wanted.iter().map(|(tensor, _)| (*tensor, rows(*tensor))).collect();
                let read = self.read_activations(session, encoder, &from).await?;
                wanted.into_iter().zip(read).for_each(|((_, to), values)| to.extend(values));
            }
            Output::Cpu(_) => {
                for (tensor, to) in wanted {
                    (0..rows(tensor)).for_each(|row| to.extend_from_slice(session.memory.row(tensor, row)));
                }
            }
        }
        Ok(outputs)
    }
}
