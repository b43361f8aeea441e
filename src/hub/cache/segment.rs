//! A segment: the bytes of a file from one offset on, sealed so that none is believed that isn't right.
//!
//! ```text
//! data             at most MAX_SEGMENT bytes
//! a u64 a block    XXH64 of each BLOCK bytes of the data, the last one shorter
//! u64 start        the data's offset in the file
//! u64 length       of the data
//! u64 file size    u64::MAX where it isn't known
//! u64 seal         XXH64 of all of the above but the data, seeded with the file's identity
//! 8 bytes          MAGIC
//! ```
//!
//! All numbers are little-endian. What says how long the segment is comes last, so that one that was cut off has no seal.

use std::hash::Hasher;
use std::ops::Range;

use twox_hash::XxHash64;

use super::super::Chunk;

/// Bytes under one checksum: what is read, checked and handed on at a time.
pub(super) const BLOCK: u64 = 1 << 20;
/// The most data of one segment: as much as one request for weights brings, since opening and closing a file takes a
/// browser longer than writing 4 MB of it. A page that is killed loses at most so much of each stream.
pub(super) const MAX_SEGMENT: u64 = 8 << 20;
/// The most that stands behind the data.
pub(super) const MAX_TRAILER: u64 = trailer_size(MAX_SEGMENT);

const MAGIC: [u8; 8] = *b"LLSEG\0\0\x01";
const FOOTER: u64 = 40;
/// Bytes that are copied into wasm's memory at a time to be summed.
const SCRATCH: usize = 32 << 10;

/// How much stands behind `length` bytes of data.
pub(super) const fn trailer_size(length: u64) -> u64 {
    length.div_ceil(BLOCK) * 8 + FOOTER
}

/// Which file of which commit a segment belongs to: one that another file left in its place has another seal.
pub(super) fn identity(parts: &[&str]) -> u64 {
    let mut hasher = XxHash64::with_seed(0);
    for part in parts {
        hasher.write(part.as_bytes());
        hasher.write(&[0]);
    }
    hasher.finish()
}

/// The checksums of data that comes in pieces of any length.
#[derive(Default)]
pub(super) struct Sums {
    done: Vec<u64>,
    open: Option<XxHash64>,
    length: u64,
    scratch: Vec<u8>,
}

impl Sums {
    /// Bytes so far.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn add(&mut self, chunk: &Chunk) {
        self.scratch.resize(SCRATCH, 0);
        let mut from = 0;
        while from < chunk.len() {
            let room = BLOCK - self.length % BLOCK;
            let piece = chunk.slice(from..from + SCRATCH.min(usize::try_from(room).unwrap_or(SCRATCH)));
            let n = piece.copy_to(&mut self.scratch);
            let hasher = self.open.get_or_insert_with(|| XxHash64::with_seed(0));
            hasher.write(self.scratch.get(..n).unwrap_or_default());
            self.length += n as u64;
            from += n;
            if self.length.is_multiple_of(BLOCK) {
                self.close();
            }
        }
    }

    fn close(&mut self) {
        if let Some(hasher) = self.open.take() {
            self.done.push(hasher.finish());
        }
    }

    /// What stands behind the data.
    pub(super) fn trailer(mut self, identity: u64, start: u64, file_size: Option<u64>) -> Vec<u8> {
        self.close();
        let words = self.done.iter().copied().chain([start, self.length, file_size.unwrap_or(u64::MAX)]);
        let mut bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        let seal = XxHash64::oneshot(identity, &bytes);
        bytes.extend(seal.to_le_bytes());
        bytes.extend(MAGIC);
        bytes
    }
}

/// What a segment's trailer says, once its seal was found right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trailer {
    /// The data's place in the file.
    pub range: Range<u64>,
    /// The whole file's size, where it was known.
    pub file_size: Option<u64>,
    sums: Vec<u64>,
}

impl Trailer {
    /// Reads the trailer of a segment of `size` bytes from its `tail`, the last [`MAX_TRAILER`] bytes or all that there
    /// are. `None`: it isn't the whole segment of that file from `start` on.
    pub(super) fn parse(tail: &[u8], size: u64, identity: u64, start: u64) -> Option<Trailer> {
        let (rest, magic) = tail.split_last_chunk::<8>()?;
        let (_, seal) = rest.split_last_chunk::<8>()?;
        let (_, length) = rest.get(..rest.len().checked_sub(16)?)?.split_last_chunk::<8>()?;
        let length = u64::from_le_bytes(*length);
        if *magic != MAGIC || length > MAX_SEGMENT {
            return None;
        }
        let trailer = trailer_size(length);
        if size != length + trailer {
            return None;
        }
        let sealed = tail.get(tail.len().checked_sub(usize::try_from(trailer).ok()?)?..tail.len() - 16)?;
        if XxHash64::oneshot(identity, sealed) != u64::from_le_bytes(*seal) {
            return None;
        }
        let mut words: Vec<u64> = sealed.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let (file_size, _, from) = (words.pop()?, words.pop()?, words.pop()?);
        let range = start..start.checked_add(length)?;
        let file_size = (file_size != u64::MAX).then_some(file_size);
        let fits = file_size.is_none_or(|size| range.end <= size);
        (from == start && fits).then_some(Trailer { range, file_size, sums: words })
    }

    /// The block with the file's byte `at`, as bytes of the segment. Empty where the segment doesn't hold that byte.
    pub(super) fn block(&self, at: u64) -> Range<u64> {
        let length = self.range.end - self.range.start;
        match at.checked_sub(self.range.start) {
            Some(at) if at < length => {
                let first = at / BLOCK * BLOCK;
                first..length.min(first + BLOCK)
            }
            _ => 0..0,
        }
    }

    /// Whether `bytes` are the segment's block that begins at its byte `first`.
    pub(super) fn is_block(&self, first: u64, bytes: &Chunk) -> bool {
        let mut sums = Sums::default();
        sums.add(bytes);
        sums.close();
        let expected = usize::try_from(first / BLOCK).ok().and_then(|index| self.sums.get(index));
        sums.length <= BLOCK && expected.is_some_and(|sum| sums.done == [*sum])
    }
}

/// A small record as one sealed segment.
pub(super) fn seal(identity: u64, data: &[u8]) -> Vec<u8> {
    let mut sums = Sums::default();
    sums.add(&Chunk::from(data.to_vec()));
    let trailer = sums.trailer(identity, 0, Some(data.len() as u64));
    [data, &trailer].concat()
}

/// The record that [`seal`] sealed, if `bytes` are one whole.
pub(super) fn unseal(identity: u64, bytes: &[u8]) -> Option<&[u8]> {
    let tail = bytes.len().saturating_sub(MAX_TRAILER as usize);
    let trailer = Trailer::parse(bytes.get(tail..)?, bytes.len() as u64, identity, 0)?;
    let data = bytes.get(..usize::try_from(trailer.range.end).ok()?)?;
    (trailer.range.end <= BLOCK && (data.is_empty() || trailer.is_block(0, &Chunk::from(data.to_vec()))))
        .then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: u64 = 7;

    fn segment(data: &[u8], start: u64, pieces: usize) -> Vec<u8> {
        let mut sums = Sums::default();
        for piece in data.chunks(pieces) {
            sums.add(&Chunk::from(piece.to_vec()));
        }
        [data, &sums.trailer(FILE, start, Some(1 << 40))].concat()
    }

    fn parse(bytes: &[u8], identity: u64, start: u64) -> Option<Trailer> {
        let tail = &bytes[bytes.len().saturating_sub(MAX_TRAILER as usize)..];
        Trailer::parse(tail, bytes.len() as u64, identity, start)
    }

    fn data(n: usize) -> Vec<u8> {
        (0..n).map(|i| (i * 31 % 251) as u8).collect()
    }

    #[test]
    fn what_was_sealed_is_found_again_however_it_came() {
        let block = BLOCK as usize;
        for n in [1, 5, block - 1, block, block + 1, 3 * block + 17, MAX_SEGMENT as usize] {
            let data = data(n);
            let bytes = segment(&data, 99, 65_521);
            assert_eq!(bytes, segment(&data, 99, n));
            let trailer = parse(&bytes, FILE, 99).unwrap();
            assert_eq!((trailer.range.clone(), trailer.file_size), (99..99 + n as u64, Some(1 << 40)));
            for at in [99, 99 + n as u64 - 1] {
                let block = trailer.block(at);
                let bytes = &bytes[block.start as usize..block.end as usize];
                assert!(trailer.is_block(block.start, &Chunk::from(bytes.to_vec())));
            }
            assert_eq!((trailer.block(98), trailer.block(99 + n as u64)), (0..0, 0..0));
        }
        let empty = seal(FILE, &[]);
        assert_eq!(unseal(FILE, &empty), Some(&[][..]));
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let whole = seal(FILE, &data(300));
        assert_eq!(unseal(FILE, &whole), Some(&data(300)[..]));
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut spoilt = whole.clone();
                spoilt[at] ^= 1 << bit;
                assert_eq!(unseal(FILE, &spoilt), None, "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn cut_lengthened_and_foreign_segments_are_refused() {
        let whole = seal(FILE, &data(100));
        for n in 0..whole.len() {
            assert_eq!(unseal(FILE, &whole[..n]), None, "{n} bytes");
        }
        assert_eq!(unseal(FILE, &[&whole[..], &[0]].concat()), None);
        assert_eq!(unseal(FILE, &[&[0], &whole[..]].concat()), None);
        assert_eq!(unseal(FILE + 1, &whole), None);
        let bytes = segment(&data(100), 4096, 100);
        assert!(parse(&bytes, FILE, 4096).is_some());
        assert_eq!(parse(&bytes, FILE, 0), None);
        // A start that overflows.
        assert_eq!(parse(&segment(&data(100), u64::MAX, 100), FILE, u64::MAX), None);
    }

    #[test]
    fn identities_keep_their_parts_apart() {
        assert_ne!(identity(&["a", "b"]), identity(&["ab", ""]));
        assert_ne!(identity(&["a", "b"]), identity(&["a", "c"]));
    }
}
