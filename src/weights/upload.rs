//! From the network's chunks to a weight's rows: straight where the elements are what the kernels read, through a
//! staging buffer and the cast kernel where they are not.

use std::ops::Range;
use std::rc::Rc;

use super::cast::number;
use super::layout::Layout;
use super::made::Made;
use super::plan::Extent;
use crate::hub::{ByteStream, Chunk};
use crate::tensor::Dtype;
use crate::tensor::gpu::device::{Binding, Buffer, Gpu, GpuError, Usage};
use crate::tensor::gpu::kernel::{Constant, Kernel, Source, Storage};
use crate::tensor::gpu::program::Pipelines;
use crate::{Error, Result};

/// Bytes that wait for the cast kernel at most, for each stream that is open.
pub const STAGING: u64 = 2 << 20;

/// Bytes of the cast kernel's parameters.
const PARAMS: u64 = 32;

const WORKGROUP: u32 = 64;

/// The kernel that brings an extent into its weight, or none where the bytes are right as they come.
pub fn cast_kernel(extent: &Extent, layout: &Layout) -> Option<Kernel> {
    if let Some(Made::Rounded(_)) = extent.made {
        return None;
    }
    let to = layout.storage;
    let same = matches!(
        (extent.dtype, to),
        (Dtype::F32, Storage::F32) | (Dtype::F16, Storage::F16 | Storage::F16Packed) | (Dtype::BF16, Storage::Bf16)
    );
    let is_whole = extent.cols.len() == layout.stride;
    if same && is_whole && !extent.transposed && !layout.plus_one {
        return None;
    }
    let to = match to {
        // Lines of words have floats, and what is moved as they are.
        Storage::F32 | Storage::Int4 | Storage::Int8 => 0,
        Storage::F16 | Storage::F16Packed => 1,
        Storage::Bf16 => 2,
    };
    let from = number(extent.dtype)?;
    Some(Kernel {
        source: Source::Cast,
        storage: None,
        reduction: None,
        constants: vec![
            Constant::U32("WORKGROUP", WORKGROUP),
            Constant::U32("FROM", from),
            Constant::U32("TO", to),
            Constant::Bool("PLUS_ONE", layout.plus_one),
        ],
    })
}

/// How an extent is cut: a line is what lies side by side in the file, a row or a column.
struct Lines<'a> {
    lines: &'a Range<usize>,
    /// Elements of one, and bytes.
    line: usize,
    bytes: u64,
    /// How many go together at least: a batch ends where a word of the target ends, and where rows are whole quads, columns share
    /// words.
    least: usize,
}

impl<'a> Lines<'a> {
    fn of(extent: &'a Extent, layout: &Layout) -> Lines<'a> {
        let (lines, line) = match extent.transposed {
            true => (&extent.cols, extent.rows.len()),
            false => (&extent.rows, extent.cols.len()),
        };
        let least = if extent.transposed { 4 / layout.storage.size() } else { 1 };
        // What is made on the CPU waits as that, all at once.
        let least = if extent.made.is_some() { lines.len() } else { least };
        Lines { lines, line, bytes: line as u64 * extent.dtype.size().unwrap_or(1), least }
    }
}

/// Bytes of an extent that wait for the cast kernel at a time.
fn waiting_bytes(extent: &Extent, layout: &Layout) -> u64 {
    let Lines { bytes, least, .. } = Lines::of(extent, layout);
    let all = extent.range.end - extent.range.start;
    let least = bytes * least as u64;
    if extent.made.is_some() { least } else { least.max(all.min(STAGING)) }
}

/// Bytes of what a stream stages of these at most.
pub fn staging_bytes<'a>(extents: impl Iterator<Item = &'a Extent>, layouts: &[Layout]) -> u64 {
    let of = |extent: &Extent| {
        let layout = layouts.get(extent.weight.0).filter(|layout| cast_kernel(extent, layout).is_some())?;
        Some(waiting_bytes(extent, layout).next_multiple_of(4) + PARAMS)
    };
    extents.filter_map(of).max().unwrap_or(0)
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

    /// Takes one extent's bytes out of `stream` and brings them to `targets`, the weight's parts. `heard` is told of every
    /// chunk's length.
    pub async fn upload(
        &mut self,
        stream: &mut Chunks<'_>,
        extent: &Extent,
        layout: &Layout,
        targets: &[Rc<Buffer>],
        pipelines: &Pipelines,
        heard: &dyn Fn(u64),
    ) -> Result<()> {
        let parts = layout.parts.iter().zip(targets).map(|(part, target)| (part.first..part.first + part.rows, target));
        let parts = parts.filter(|(rows, _)| !overlap(rows, &extent.rows).is_empty());
        let mut floats = Vec::new();
        let Some(kernel) = cast_kernel(extent, layout) else {
            let length = extent.range.end - extent.range.start;
            // Rows that are right as they come, or as they are made, are of one part.
            for (part, target) in parts {
                let offset = |row: usize| ((row - part.start) * layout.stride * layout.storage.size()) as u64;
                let Some(made) = extent.made else {
                    copy(&self.gpu, stream, length, target, offset(extent.rows.start), heard).await?;
                    continue;
                };
                for (rows, length) in made.batches(extent) {
                    let bytes = read(stream, length as u64, heard).await?;
                    let shape = [rows.len(), made.cols(extent).len()];
                    let words = made.words(extent.dtype, &bytes, shape, &mut floats);
                    self.gpu.write(target, offset(rows.start), &words)?;
                }
            }
            return Ok(());
        };
        let Lines { lines, line, bytes: line_bytes, least } = Lines::of(extent, layout);
        let per_word = 4 / layout.storage.size();
        self.stage(waiting_bytes(extent, layout)).await?;
        let Some((staging, params)) = &self.staging else {
            return Ok(());
        };
        let pipeline = pipelines.get(&kernel)?;
        let parts: Vec<_> = parts
            .map(|(rows, target)| {
                let bindings = [Binding::Whole(params), Binding::Whole(staging), Binding::Whole(target)];
                (rows, self.gpu.bind(pipeline, &bindings))
            })
            .collect();
        let batch = usize::try_from(staging.size() / line_bytes.max(1)).unwrap_or(usize::MAX);
        let batch = (batch / least * least).max(least);
        let mut from = lines.start;
        while from < lines.end {
            let end = lines.end.min(from.saturating_add(batch));
            match extent.made {
                None => copy(&self.gpu, stream, (end - from) as u64 * line_bytes, staging, 0, heard).await?,
                Some(made) => {
                    let bytes = read(stream, extent.range.end - extent.range.start, heard).await?;
                    let shape = [extent.rows.len(), line];
                    self.gpu.write(staging, 0, &made.words(extent.dtype, &bytes, shape, &mut floats))?;
                }
            }
            for (part, bind_group) in &parts {
                // What of this batch lies in this part, as rows and columns of the weight.
                let (rows, cols) = match extent.transposed {
                    true => (overlap(part, &extent.rows), from..end),
                    false => (overlap(part, &(from..end)), extent.cols.clone()),
                };
                // Whoever writes the last column writes the padding behind it.
                let padded_end = if cols.end == layout.cols { layout.stride } else { cols.end };
                let width = (padded_end - cols.start) / per_word;
                let step = layout.stride / per_word;
                let words = rows.len() * width;
                if words == 0 {
                    continue;
                }
                let to = (rows.start - part.start) * step + cols.start / per_word;
                let (row_step, col_step, first) = match extent.transposed {
                    true => (1, line, rows.start - extent.rows.start),
                    false => (line, 1, (rows.start - from) * line),
                };
                let values = [cols.len(), width, words, to, step, row_step, col_step, first];
                let values: Vec<u8> = values.iter().flat_map(|value| (*value as u32).to_le_bytes()).collect();
                self.gpu.write(params, 0, &values)?;
                let mut encoder = self.gpu.encoder();
                let groups = (words as u32).div_ceil(WORKGROUP);
                let most = self.gpu.capabilities().max_workgroups_per_dimension.max(1);
                encoder.pass().dispatch(pipeline, bind_group, [groups.min(most), groups.div_ceil(most), 1]);
                encoder.submit();
            }
            from = end;
        }
        Ok(())
    }

    /// Makes a staging buffer that has room for `least` bytes, where there is none yet.
    async fn stage(&mut self, least: u64) -> Result<()> {
        if self.staging.as_ref().is_none_or(|(staging, _)| staging.size() < least) {
            // The smaller one goes first.
            self.staging = None;
            let size = least.next_multiple_of(4);
            let gpu = &self.gpu;
            let make = || {
                let staging = gpu.create_buffer("staging", size, Usage::Storage)?;
                Ok::<_, GpuError>((staging, gpu.create_buffer("cast params", PARAMS, Usage::Uniform)?))
            };
            self.staging = Some(gpu.checked("staging", make).await?);
        }
        Ok(())
    }
}

/// What both ranges have; empty where that is nothing.
fn overlap(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    let start = a.start.max(b.start);
    start..a.end.min(b.end).max(start)
}

/// The next `length` bytes of the stream.
async fn read(stream: &mut Chunks<'_>, length: u64, heard: &dyn Fn(u64)) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < length {
        let chunk = stream.next(length - bytes.len() as u64).await?;
        heard(chunk.len() as u64);
        let from = bytes.len();
        bytes.resize(from + chunk.len(), 0);
        chunk.copy_to(bytes.get_mut(from..).unwrap_or_default());
    }
    Ok(bytes)
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
    pub async fn next(&mut self, most: u64) -> Result<Chunk> {
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
