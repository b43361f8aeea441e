//! What goes from one device to the other: the hidden state, where the next block is computed elsewhere; a layer's keys and
//! values, where the next token's will be.

use std::rc::Rc;

use super::forward::{Output, Run};
use super::offload::Way;
use super::on_gpu::OnGpu;
use super::runner::Runner;
use super::session::Session;
use crate::Result;
use crate::tensor::gpu::device::{Encoder, GpuError, Usage};
use crate::tensor::gpu::dispatch::{BufferName, stride};
use crate::tensor::ops::Tensor;

impl Runner {
    /// Submits the work and reads rows of an activation back.
    pub(super) async fn read_activation(
        &self,
        session: &mut Session,
        mut encoder: Encoder,
        from: Tensor,
        rows: usize,
    ) -> Result<Vec<f32>> {
        let gpu = &self.on_gpu()?.gpu;
        let buffer = session.on_gpu()?.activation(from.id)?;
        let row = stride(from.width) * 4;
        let bytes = (row * rows) as u64;
        let back = Rc::new(gpu.create_buffer("rows", bytes, Usage::Readback)?);
        encoder.copy(buffer, 0, &back, 0, bytes)?;
        encoder.submit();
        let bytes = gpu.map(&back, bytes).bytes().await?;
        let mut values = Vec::with_capacity(rows * from.width);
        for row in bytes.chunks_exact(row) {
            values.extend(row.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).take(from.width));
        }
        Ok(values)
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
            Some(Output::Cpu(x)) => return Ok(Some(x)),
            Some(Output::Gpu(encoder)) => encoder,
        };
        let x = self.left_before(run, block)?;
        let tokens = session.ids.len();
        let rows = self.read_activation(session, encoder, x, tokens).await?;
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
        let OnGpu { gpu, recorded, .. } = self.on_gpu()?;
        let x = match left {
            None => return Ok(gpu.encoder()),
            Some(Output::Gpu(encoder)) => return Ok(encoder),
            Some(Output::Cpu(x)) => x,
        };
        let to = self.left_before(run, block)?;
        let mut bytes = Vec::new();
        for row in 0..session.ids.len() {
            let row = session.memory.row(x, row);
            bytes.extend(row.iter().flat_map(|value| value.to_le_bytes()));
            bytes.resize(bytes.len() + (stride(to.width) - to.width.min(row.len())) * 4, 0);
        }
        let session = session.on_gpu()?;
        session.allocate(gpu, recorded, [BufferName::Activation(to.id)].iter()).await?;
        gpu.write(session.activation(to.id)?, 0, &bytes)?;
        Ok(gpu.encoder())
    }

    fn left_before(&self, run: Run<'_>, block: usize) -> Result<Tensor> {
        let left = block.checked_sub(1).and_then(|before| self.on_gpu().ok()?.recorded.left_by(run.mode, before));
        let nothing = || GpuError::Refused { what: "a block", message: format!("nothing comes before {block}") };
        Ok(left.ok_or_else(nothing)?)
    }

    /// Brings what layers have in their caches, for `positions`, to the devices by which they go on.
    pub(super) async fn move_caches(
        &self,
        session: &mut Session,
        from: &[Way],
        to: &[Way],
        positions: usize,
    ) -> Result<()> {
        let shape = self.model.shape();
        let bytes = positions * shape.kv_heads * shape.head_dim * 2;
        let moved = |block: &usize| {
            self.is_layer(*block) && from.get(*block) == Some(&Way::Gpu) && to.get(*block) == Some(&Way::Cpu)
        };
        let layers: Vec<usize> = (0..self.model.blocks().len()).filter(moved).map(|block| block - 1).collect();
        if layers.is_empty() {
            return Ok(());
        }
        let gpu = &self.on_gpu()?.gpu;
        // WebGPU copies and maps whole words.
        let size = bytes.next_multiple_of(4);
        let all = (size * 2 * layers.len()) as u64;
        let back = Rc::new(gpu.checked("moved caches", || gpu.create_buffer("caches", all, Usage::Readback)).await?);
        let mut encoder = gpu.encoder();
        let caches = layers.iter().filter_map(|layer| session.gpu.as_ref()?.cache(*layer)).flatten();
        for (at, buffer) in caches.enumerate() {
            encoder.copy(buffer, 0, &back, (at * size) as u64, size as u64)?;
        }
        encoder.submit();
        let all = gpu.map(&back, all).bytes().await?;
        let mut halves = all.chunks_exact(size).filter_map(|half| half.get(..bytes));
        for layer in layers {
            if let (Some(keys), Some(values)) = (halves.next(), halves.next()) {
                session.memory.fill_cache(layer, keys, values);
            }
        }
        Ok(())
    }
}
