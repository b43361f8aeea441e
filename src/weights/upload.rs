//! From the network's chunks to a weight's rows: straight where the elements are what the kernels read, through a
//! staging buffer and the cast kernel where they are not.

use std::rc::Rc;

use super::layout::Layout;
use super::plan::Extent;
use crate::hub::{ByteStream, Chunk};
use crate::tensor::Dtype;
use crate::tensor::gpu::device::{Binding, Buffer, Gpu, GpuError, Usage};
use crate::tensor::gpu::kernel::{Constant, Kernel, Source, Storage};
use crate::tensor::gpu::program::Pipelines;
use crate::{Error, Result};

/// Bytes that wait for the cast kernel, for each stream that is open.
pub const STAGING: u64 = 2 << 20;

const WORKGROUP: u32 = 64;

/// The kernel that brings `from` into `to`, or none where the bytes are right as they come.
pub fn cast_kernel(from: Dtype, layout: &Layout) -> Option<Kernel> {
    let to = layout.storage;
    let same = matches!(
        (from, to),
        (Dtype::F32, Storage::F32) | (Dtype::F16, Storage::F16 | Storage::F16Packed) | (Dtype::BF16, Storage::Bf16)
    );
    if same && layout.stride == layout.cols {
        return None;
    }
    let from = match from {
        Dtype::F32 => 0,
        Dtype::F16 => 1,
        _ => 2,
    };
    let to = match to {
        Storage::F32 => 0,
        Storage::F16 | Storage::F16Packed => 1,
        Storage::Bf16 => 2,
    };
    Some(Kernel {
        source: Source::Cast,
        storage: None,
        reduction: None,
        constants: vec![Constant::U32("WORKGROUP", WORKGROUP), Constant::U32("FROM", from), Constant::U32("TO", to)],
    })
}

/// One open stream's way to the device.
pub struct Uploader {
    gpu: Gpu,
    staging: Option<(Buffer, Buffer)>,
}

/// Bytes of a chunk that did not fill a word, kept for the next write: WebGPU writes whole words.
#[derive(Default)]
struct Carry {
    bytes: [u8; 4],
    len: usize,
}

impl Uploader {
    /// Uploads to `gpu`.
    pub fn new(gpu: Gpu) -> Uploader {
        Uploader { gpu, staging: None }
    }

    /// Bytes that the staging buffer takes.
    pub fn staging_bytes(&self) -> u64 {
        self.staging.as_ref().map_or(0, |(staging, _)| staging.size())
    }

    /// Takes one extent's bytes out of `stream` and brings them to `target`. `heard` is told of every chunk's length.
    pub async fn upload(
        &mut self,
        stream: &mut Chunks<'_>,
        extent: &Extent,
        layout: &Layout,
        target: &Rc<Buffer>,
        pipelines: &Pipelines,
        heard: &dyn Fn(u64),
    ) -> Result<()> {
        let length = extent.range.end - extent.range.start;
        let Some(kernel) = cast_kernel(extent.dtype, layout) else {
            let offset = (extent.row * layout.stride * layout.storage.size()) as u64;
            return copy(&self.gpu, stream, length, target, offset, heard).await;
        };
        let row_bytes = (layout.cols * extent.dtype.size()) as u64;
        if self.staging.as_ref().is_none_or(|(staging, _)| staging.size() < row_bytes) {
            let size = STAGING.max(row_bytes);
            let gpu = &self.gpu;
            let make = || {
                let staging = gpu.create_buffer("staging", size, Usage::Storage)?;
                Ok((staging, gpu.create_buffer("cast params", 32, Usage::Uniform)?))
            };
            self.staging = Some(gpu.checked("staging", make).await?);
        }
        let Some((staging, params)) = &self.staging else {
            return Ok(());
        };
        let pipeline = pipelines.get(&kernel)?;
        let bind_group =
            self.gpu.bind(pipeline, &[Binding::Whole(params), Binding::Whole(staging), Binding::Whole(target)]);
        // A batch ends where a word of the target ends: rows are whole quads, and a vector's batches are even.
        let batch = match usize::try_from(staging.size() / row_bytes) {
            Ok(rows) if layout.cols == 1 && rows > 1 => rows & !1,
            Ok(rows) => rows.max(1),
            Err(_) => usize::MAX,
        };
        let per_word = if layout.storage == Storage::F32 { 1 } else { 2 };
        let mut done = 0;
        while done < extent.rows {
            let rows = batch.min(extent.rows - done);
            copy(&self.gpu, stream, rows as u64 * row_bytes, staging, 0, heard).await?;
            let words = (rows * layout.stride / per_word) as u32;
            let to = ((extent.row + done) * layout.stride / per_word) as u32;
            let values: Vec<u8> = [layout.cols as u32, layout.stride as u32, words, to, 0, 0, 0, 0]
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .collect();
            self.gpu.write(params, 0, &values)?;
            let mut encoder = self.gpu.encoder();
            let groups = words.div_ceil(WORKGROUP);
            let most = self.gpu.capabilities().max_workgroups_per_dimension.max(1);
            encoder.pass().dispatch(pipeline, &bind_group, [groups.min(most), groups.div_ceil(most), 1]);
            encoder.submit();
            done += rows;
        }
        Ok(())
    }
}

/// Writes the next `length` bytes of the stream to `buffer` from `offset`, a multiple of 4, on.
async fn copy(
    gpu: &Gpu,
    stream: &mut Chunks<'_>,
    length: u64,
    buffer: &Buffer,
    mut offset: u64,
    heard: &dyn Fn(u64),
) -> Result<()> {
    let mut carry = Carry::default();
    let mut left = length;
    while left > 0 {
        let chunk = stream.next(left).await?;
        let len = chunk.len();
        left -= len as u64;
        heard(len as u64);
        let mut from = 0;
        if carry.len > 0 {
            while carry.len < 4 && from < len {
                let mut byte = [0];
                chunk.slice(from..from + 1).copy_to(&mut byte);
                if let ([byte], Some(place)) = (byte, carry.bytes.get_mut(carry.len)) {
                    *place = byte;
                }
                carry.len += 1;
                from += 1;
            }
            if carry.len == 4 {
                gpu.write(buffer, offset, &carry.bytes)?;
                offset += 4;
                carry = Carry::default();
            }
        }
        let whole = (len - from) & !3;
        if whole > 0 {
            gpu.write_chunk(buffer, offset, &chunk.slice(from..from + whole))?;
            offset += whole as u64;
            from += whole;
        }
        if from < len {
            let rest = chunk.slice(from..len);
            carry.len = rest.copy_to(&mut carry.bytes);
        }
    }
    if carry.len > 0 {
        gpu.write(buffer, offset, &carry.bytes)?;
    }
    Ok(())
}

/// A stream of bytes that can be taken in pieces of any length.
pub struct Chunks<'a> {
    stream: &'a mut dyn ByteStream,
    rest: Option<Chunk>,
    what: &'a str,
}

impl<'a> Chunks<'a> {
    /// The bytes of `stream`; `what` is for messages.
    pub fn new(stream: &'a mut dyn ByteStream, what: &'a str) -> Self {
        Chunks { stream, rest: None, what }
    }

    /// The next chunk, of at most `most` bytes.
    async fn next(&mut self, most: u64) -> Result<Chunk> {
        let chunk = match self.rest.take() {
            Some(chunk) => chunk,
            None => self.stream.next().await?.ok_or_else(|| {
                Error::from(GpuError::Refused { what: "an upload", message: format!("{} ended early", self.what) })
            })?,
        };
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        if chunk.len() <= most {
            return Ok(chunk);
        }
        self.rest = Some(chunk.slice(most..chunk.len()));
        Ok(chunk.slice(0..most))
    }
}
