//! Beam search: several texts that grow side by side, each one token a step.
//!
//! They run one after the other in the same caches, and where two of them part is known: the keys and values of all that any of them
//! has read are kept apart, a place for each beam and step, and a text's own are copied back before it runs, from where it parts from
//! the one that ran before.

use std::rc::Rc;

use super::Engine;
use super::encode::Source;
use super::forward::Asked;
use super::generate::{Begun, Wished};
use super::offload::Way;
use super::runner::Runner;
use super::session::Session;
use crate::Result;
use crate::generation::{Beams, GenerateOptions, GenerationError, Prompt};
use crate::hub::Abort;
use crate::models::Cache;
use crate::tensor::cpu::resize;
use crate::tensor::gpu::device::{Buffer, GpuError, Usage};

/// What messages call what is kept.
const WHAT: &str = "the keys and values of beams";

impl Engine {
    /// Continues `prompt`, or writes a text of what an encoder reads, by the likeliest of several texts that grow side by side. Gives the
    /// new ids of the best ones, best first, as many as `num_return_sequences` says, and their scores. What a lost device has read is
    /// searched anew.
    ///
    /// # Errors
    /// As [`generate_from`](Self::generate_from)
    pub async fn beam_search(
        &self,
        source: Source<'_>,
        prompt: Prompt<'_>,
        options: &GenerateOptions,
        abort: &Abort,
    ) -> Result<Vec<(Vec<u32>, f32)>> {
        self.has_head()?;
        let Wished { by_ids, options, .. } = self.wished(prompt, options)?;
        self.on_some_device(async |runner| {
            runner.search(source, prompt, Beams::new(&options, &self.generation, by_ids)?, abort).await
        })
        .await
    }
}

impl Runner {
    async fn search(
        &self,
        source: Source<'_>,
        prompt: Prompt<'_>,
        mut beams: Beams,
        abort: &Abort,
    ) -> Result<Vec<(Vec<u32>, f32)>> {
        let (tokens, count) = (prompt.ids.len(), beams.last_ids().len());
        // A text that goes on beyond the positions that there are ends in an error.
        let room = self.model.shape().positions.map_or(usize::MAX, |positions| positions.saturating_sub(tokens));
        let most = beams.most().min(room);
        let asked = Asked { beams: count, ..Asked::of(tokens.saturating_add(most)) };
        let Begun { mut session, writing, left } = self.begin_text(source, prompt, asked, abort).await?;
        let on_gpu = writing.iter().all(|way| *way == Way::Gpu);
        if on_gpu {
            self.link_decode(&mut session).await?;
        }
        let mut kept = Kept::new(self, &writing, tokens, (count, most)).await?;
        let mut backs = vec![None; count];
        // All are the same text at first.
        let mut first = Vec::new();
        self.last_logits(&mut session, left, &mut None)?.into(&mut first).await?;
        let mut rows = vec![first; count];
        for step in 0.. {
            self.alive()?;
            if abort.is_aborted() {
                return Err(GenerationError::Aborted.into());
            }
            let Some(parents) = beams.advance(&mut rows) else { break };
            kept.follow(&parents);
            let mut coming = Vec::with_capacity(count);
            for (beam, (id, back)) in beams.last_ids().into_iter().zip(&mut backs).enumerate() {
                kept.bring(self, &mut session, beam)?;
                let output = self.step(&mut session, tokens + step, Some(id), &writing, abort).await?;
                coming.push(self.last_logits(&mut session, output, back)?);
                kept.keep(self, &mut session, beam)?;
            }
            for (logits, row) in coming.into_iter().zip(&mut rows) {
                logits.into(row).await?;
            }
        }
        self.keep_cached(&mut session, prompt, &[], &writing);
        Ok(beams.into_best())
    }
}

/// Where a layer's keys and values are kept.
enum Place {
    Gpu([Rc<Buffer>; 2]),
    Cpu([Vec<u16>; 2]),
}

/// The keys and values that beams have read behind their prompt.
struct Kept {
    /// Of each cache.
    places: Vec<(Cache, Place)>,
    /// Where the prompt ends.
    prompt: usize,
    /// Places of each beam.
    most: usize,
    /// Of each text, the places of its tokens.
    paths: Vec<Vec<usize>>,
    /// The places of the tokens that the caches have.
    live: Vec<usize>,
}

impl Kept {
    /// Room for so many beams, and so many tokens of each.
    async fn new(runner: &Runner, writing: &[Way], prompt: usize, (beams, most): (usize, usize)) -> Result<Kept> {
        let elements = |cache: &Cache| beams.saturating_mul(most).saturating_mul(cache.width);
        let is_on_gpu = |cache: &Cache| cache.blocks.last().and_then(|block| writing.get(*block)) == Some(&Way::Gpu);
        let own = runner.model.caches().into_iter().filter(|cache| !cache.of_encoder);
        let (on_gpu, on_cpu): (Vec<Cache>, Vec<Cache>) = own.partition(is_on_gpu);
        let mut places = Vec::with_capacity(on_gpu.len() + on_cpu.len());
        for cache in on_cpu {
            let mut both = [Vec::new(), Vec::new()];
            both.iter_mut().try_for_each(|half| resize(half, elements(&cache), WHAT))?;
            places.push((cache, Place::Cpu(both)));
        }
        if !on_gpu.is_empty() {
            let gpu = &runner.on_gpu()?.gpu;
            let one = |cache: &Cache| gpu.create_buffer(WHAT, elements(cache) as u64 * 2, Usage::Storage).map(Rc::new);
            let make = |cache: &Cache| Ok((cache.clone(), Place::Gpu([one(cache)?, one(cache)?])));
            let make_all = || on_gpu.iter().map(make).collect::<Result<Vec<_>, GpuError>>();
            places.extend(gpu.checked(WHAT, make_all).await?);
        }
        Ok(Kept { places, prompt, most, paths: vec![Vec::new(); beams], live: Vec::new() })
    }

    /// Each text goes on one of those that there were.
    fn follow(&mut self, parents: &[usize]) {
        self.paths = parents.iter().map(|parent| self.paths.get(*parent).cloned().unwrap_or_default()).collect();
    }

    /// Brings a text's keys and values into the caches.
    fn bring(&mut self, runner: &Runner, session: &mut Session, beam: usize) -> Result<()> {
        let path = self.paths.get(beam).cloned().unwrap_or_default();
        let differs = |at: &usize| self.live.get(*at) != path.get(*at);
        let mut at = 0;
        let mut runs = Vec::new();
        while let Some(first) = (at..path.len()).find(differs) {
            // As far as they lie behind each other.
            let start = path.get(first).copied().unwrap_or_default();
            let end = (first..path.len()).find(|at| !differs(at) || path.get(*at) != Some(&(start + at - first)));
            at = end.unwrap_or(path.len());
            runs.push(Copied { from: start, to: self.prompt + first, count: at - first });
        }
        self.copy(runner, session, &runs, false)?;
        self.live = path;
        Ok(())
    }

    /// Keeps the keys and values of the token that has just run for a text.
    fn keep(&mut self, runner: &Runner, session: &mut Session, beam: usize) -> Result<()> {
        let Some(path) = self.paths.get_mut(beam) else { return Ok(()) };
        let place = beam * self.most + path.len();
        let from = self.prompt + path.len();
        path.push(place);
        self.live.push(place);
        self.copy(runner, session, &[Copied { from, to: place, count: 1 }], true)
    }

    /// Copies positions from the caches to what is kept, or back.
    fn copy(&mut self, runner: &Runner, session: &mut Session, runs: &[Copied], away: bool) -> Result<()> {
        if runs.is_empty() {
            return Ok(());
        }
        let mut encoder = None;
        for (Cache { index, width, .. }, place) in &mut self.places {
            match place {
                Place::Gpu(kept) => {
                    let gpu = &runner.on_gpu()?.gpu;
                    let encoder = encoder.get_or_insert_with(|| gpu.encoder());
                    let Some(own) = session.on_gpu()?.cache(*index) else { continue };
                    for (kept, own) in kept.iter().zip(own) {
                        let (from, to) = if away { (own, kept) } else { (kept, own) };
                        for run in runs {
                            let [first, second, size] = [run.from, run.to, run.count].map(|n| (n * *width * 2) as u64);
                            encoder.copy(from, first, to, second, size)?;
                        }
                    }
                }
                Place::Cpu(kept) => {
                    let Some(own) = session.memory.cache_mut(*index) else { continue };
                    for (kept, own) in kept.iter_mut().zip(own) {
                        let (from, to) = if away { (&*own, kept.as_mut_slice()) } else { (kept.as_slice(), own) };
                        for run in runs {
                            let [first, second, size] = [run.from, run.to, run.count].map(|n| n * *width);
                            let halves = (from.get(first..first + size), to.get_mut(second..second + size));
                            if let (Some(from), Some(to)) = halves {
                                to.copy_from_slice(from);
                            }
                        }
                    }
                }
            }
        }
        if let Some(encoder) = encoder {
            encoder.submit();
        }
        Ok(())
    }
}

/// Positions that are copied.
struct Copied {
    from: usize,
    to: usize,
    count: usize,
}
