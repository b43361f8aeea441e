//! What goes from one device to the other: the hidden state, where the next block is computed elsewhere; a layer's keys and
//! values, where the next token's will be.

use std::rc::Rc;

use super::forward::{Output, Run};
use super::offload::Way;
use super::on_gpu::OnGpu;
use super::runner::Runner;
use super::session::{GpuSession, Session};
use crate::Result;
use crate::models::Cache;
use crate::tensor::gpu::device::{Buffer, Encoder, Gpu, GpuError, Usage};
use crate::tensor::gpu::dispatch::{BufferName, stride};
use crate::tensor::ops::Tensor;

impl Runner {
    /// Submits the work and reads the first rows of activations back.
    pub(super) async fn read_activations(
        &self,
        session: &mut Session,
        encoder: Encoder,
        from: &[(Tensor, usize)],
    ) -> Result<Vec<Vec<f32>>> {
        let size = |(tensor, rows): &(Tensor, usize)| stride(tensor.width) * 4 * rows;
        let session = session.on_gpu()?;
        let part = |one: &(Tensor, usize)| Ok((session.activation(one.0.id)?, size(one) as u64));
        let parts = from.iter().map(part).collect::<Result<Vec<_>>>()?;
        let bytes = read_back(&self.on_gpu()?.gpu, encoder, "rows", &parts).await?;
        let mut rest = bytes.as_slice();
        let mut read = Vec::new();
        for one in from {
            let (own, behind) = rest.split_at(size(one).min(rest.len()));
            read.push(values(own, one.0.width));
            rest = behind;
        }
        Ok(read)
    }

    /// What a block left, in rows; and the work, to be gone on with.
    pub(super) async fn read_state(
        &self,
        session: &mut Session,
        run: Run<'_>,
        block: usize,
        left: Option<Output>,
    ) -> Result<(Option<Output>, Vec<f32>)> {
        let tokens = session.ids.len();
        match left {
            None => Ok((None, Vec::new())),
            Some(Output::Cpu(outputs)) => {
                let rows = (0..tokens).flat_map(|row| session.memory.row(outputs.hidden, row).to_vec()).collect();
                Ok((Some(Output::Cpu(outputs)), rows))
            }
            Some(Output::Gpu(encoder)) => {
                let from = self.left_before(run, block + 1)?;
                let read = self.read_activations(session, encoder, &[(from, tokens)]).await?;
                let encoder = self.on_gpu()?.gpu.encoder();
                Ok((Some(Output::Gpu(encoder)), read.into_iter().flatten().collect()))
            }
        }
    }

    /// What the block before `block` left, in CPU memory.
    pub(super) async fn to_cpu(
        &self,
        session: &mut Session,
        run: Run<'_>,
        block: usize,
        left: Option<Output>,
    ) -> Result<Option<Tensor>> {
        let encoder = match left {
            None => return Ok(None),
            Some(Output::Cpu(outputs)) => return Ok(Some(outputs.hidden)),
            Some(Output::Gpu(encoder)) => encoder,
        };
        let x = self.left_before(run, block)?;
        let tokens = session.carried;
        let read = self.read_activations(session, encoder, &[(x, tokens)]).await?;
        let rows = read.into_iter().next().unwrap_or_default();
        session.memory.clear();
        Ok(Some(session.memory.insert(&rows, x.width, tokens)?))
    }

    /// An encoder for `block`, for which what the block before it left is on the GPU.
    pub(super) async fn to_gpu(
        &self,
        session: &mut Session,
        run: Run<'_>,
        block: usize,
        left: Option<Output>,
    ) -> Result<Encoder> {
        let gpu = &self.on_gpu()?.gpu;
        let x = match left {
            None => return Ok(gpu.encoder()),
            Some(Output::Gpu(encoder)) => return Ok(encoder),
            Some(Output::Cpu(outputs)) => outputs.hidden,
        };
        let to = self.left_before(run, block)?;
        let rows = (0..session.carried).map(|row| session.memory.row(x, row));
        let bytes = padded(rows, to.width);
        self.write_activation(session.on_gpu()?, to, &bytes).await?;
        Ok(gpu.encoder())
    }

    /// Gives the tokens that run their rows, of a model that reads such.
    pub(super) async fn give(&self, session: &mut Session, rows: &[f32]) -> Result<()> {
        session.features.clear();
        session.features.extend_from_slice(rows);
        let (Some(on), Some(session)) = (&self.gpu, &mut session.gpu) else { return Ok(()) };
        let Some(to) = on.recorded.features else { return Ok(()) };
        self.write_activation(session, to, &padded(rows.chunks(to.width.max(1)), to.width)).await
    }

    /// Writes an activation's first rows, which are padded.
    async fn write_activation(&self, session: &mut GpuSession, to: Tensor, rows: &[u8]) -> Result<()> {
        let OnGpu { gpu, recorded, .. } = self.on_gpu()?;
        session.allocate(gpu, recorded, [BufferName::Activation(to.id)].iter()).await?;
        Ok(gpu.write(session.activation(to.id)?, 0, rows)?)
    }

    fn left_before(&self, run: Run<'_>, block: usize) -> Result<Tensor> {
        let left = block.checked_sub(1).and_then(|before| self.on_gpu().ok()?.recorded.left_by(run.mode, before));
        let nothing = || GpuError::Refused { what: "a block", message: format!("nothing comes before {block}") };
        Ok(left.ok_or_else(nothing)?)
    }

    /// Brings what is in caches, for `positions`, to the devices by which blocks go on that read them: in those of what an
    /// encoder has read, or in the others.
    pub(super) async fn move_caches(
        &self,
        session: &mut Session,
        from: &[Way],
        to: &[Way],
        positions: usize,
        of_encoder: bool,
    ) -> Result<()> {
        let shape = self.model.shape();
        let moved = |cache: &Cache| {
            let ends = cache.blocks.first().zip(cache.blocks.last());
            let moves = |(written, read): (&usize, &usize)| {
                // What only an encoder's own layers read is done with.
                let is_read = shape.encoder.as_ref().is_none_or(|encoder| *read >= encoder.blocks);
                is_read && from.get(*written) == Some(&Way::Gpu) && to.get(*read) == Some(&Way::Cpu)
            };
            cache.of_encoder == of_encoder && ends.is_some_and(moves)
        };
        let caches: Vec<Cache> = self.model.caches().into_iter().filter(moved).collect();
        // WebGPU copies and maps whole words.
        let size = |cache: &Cache| (positions * cache.width * 2).next_multiple_of(4);
        let Some(largest) = caches.iter().map(size).max() else { return Ok(()) };
        let gpu = &self.on_gpu()?.gpu;
        // All at once, unless they have only the room that weights had which came and went; room for one there always is.
        self.loader().drop_spares();
        let free = self.offload.free_bytes().map_or(usize::MAX, |free| usize::try_from(free).unwrap_or(usize::MAX));
        for caches in caches.chunks((free / (2 * largest).max(1)).max(1)) {
            let halves = |cache: &Cache| session.gpu.as_ref()?.cache(cache.index).map(|halves| halves.each_ref());
            let parts = caches.iter().filter_map(|cache| Some((halves(cache)?, size(cache) as u64)));
            let parts: Vec<_> = parts.flat_map(|(halves, size)| halves.map(|buffer| (buffer, size))).collect();
            let all = read_back(gpu, gpu.encoder(), "moved caches", &parts).await?;
            let mut rest = all.as_slice();
            for cache in caches {
                let Some((both, behind)) = rest.split_at_checked(2 * size(cache)) else { break };
                rest = behind;
                let mut halves = both.chunks_exact(size(cache).max(1));
                let mut half = || halves.next().and_then(|half| half.get(..positions * cache.width * 2));
                if let (Some(keys), Some(values)) = (half(), half()) {
                    session.memory.fill_cache(cache.index, keys, values);
                }
            }
        }
        Ok(())
    }
}

/// Submits the work and reads the first bytes of buffers back, one after the other; `what` they are.
pub(super) async fn read_back(
    gpu: &Gpu,
    mut encoder: Encoder,
    what: &'static str,
    from: &[(&Rc<Buffer>, u64)],
) -> Result<Vec<u8>> {
    let all = from.iter().map(|(_, size)| size).sum();
    let back = Rc::new(gpu.checked(what, || gpu.create_buffer(what, all, Usage::Readback)).await?);
    let mut at = 0;
    for (buffer, size) in from {
        encoder.copy(buffer, 0, &back, at, *size)?;
        at += size;
    }
    encoder.submit();
    Ok(gpu.map(&back, all).bytes().await?)
}

/// Rows of `width` elements, without the padding that they have on the GPU.
pub(super) fn values(bytes: &[u8], width: usize) -> Vec<f32> {
    let rows = bytes.chunks_exact(stride(width).max(1) * 4);
    rows.flat_map(|row| row.as_chunks::<4>().0.iter().take(width).map(|word| f32::from_le_bytes(*word))).collect()
}

/// Rows of `width` elements as they lie on the GPU.
fn padded<'a>(rows: impl Iterator<Item = &'a [f32]>, width: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for row in rows {
        bytes.extend(row.iter().flat_map(|value| value.to_le_bytes()));
        bytes.resize(bytes.len() + stride(width).saturating_sub(row.len()) * 4, 0);
    }
    bytes
}
