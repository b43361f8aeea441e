//! The zip archive around a PyTorch checkpoint: its directory, read from the end, and where each entry's bytes begin.
//!
//! By PKWARE's APPNOTE, sections 4.3.7 (local header), 4.3.9 (data descriptor), 4.3.12 (central directory), 4.3.14 to
//! 4.3.16 (ends of the directory) and 4.5.3 (zip64).

use std::collections::BTreeMap;
use std::ops::Range;

use super::TorchFault;

/// What a local header begins with.
pub(super) const LOCAL: [u8; 4] = *b"PK\x03\x04";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const END: [u8; 4] = *b"PK\x05\x06";
const END64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR64: [u8; 4] = *b"PK\x06\x07";

/// Bytes of a local header before its name.
pub(super) const LOCAL_LEN: u64 = 30;
const END_LEN: usize = 22;
const LOCATOR64_LEN: usize = 20;
/// A directory's end can have this much after it: a comment, its length in 16 bits. zip64's end and its locator before.
pub(super) const TAIL: u64 = 65_535 + END_LEN as u64 + LOCATOR64_LEN as u64 + 56;
/// No checkpoint's directory is near this.
pub(super) const MAX_DIRECTORY: u64 = 25_000_000;
/// torch's writer begins each entry's bytes at a multiple of this.
const ALIGNMENT: u64 = 64;

/// One file of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ZipEntry {
    /// Where its local header begins.
    pub header: u64,
    /// Bytes of its data.
    pub size: u64,
    pub name_len: u64,
    pub stored: bool,
    /// Whether a descriptor follows the data.
    descriptor: bool,
    /// Where the next local header, or the directory, begins.
    pub next: u64,
}

/// Reads little-endian numbers from a slice; beyond its end there is nothing.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..)?.first_chunk().copied()
    }

    fn u16(self, at: usize) -> Option<u64> {
        self.bytes(at).map(|bytes| u16::from_le_bytes(bytes).into())
    }

    fn u32(self, at: usize) -> Option<u64> {
        self.bytes(at).map(|bytes| u32::from_le_bytes(bytes).into())
    }

    fn u64(self, at: usize) -> Option<u64> {
        self.bytes(at).map(u64::from_le_bytes)
    }

    fn slice(self, at: usize, len: u64) -> Option<&'a [u8]> {
        self.0.get(at..at.checked_add(usize::try_from(len).ok()?)?)
    }
}

fn damaged(reason: &'static str) -> TorchFault {
    TorchFault::Zip { reason }
}

/// Where the directory lies, by the file's last bytes.
pub(super) fn directory(tail: &[u8], file_size: u64) -> Result<Range<u64>, TorchFault> {
    let tail_start = file_size.checked_sub(tail.len() as u64).ok_or_else(|| damaged("it is shorter than its end"))?;
    let fields = Fields(tail);
    // The comment may hold anything, also the signature: the end's own comment length must lead to the file's end.
    let is_end = |at: &usize| {
        fields.bytes(*at) == Some(END)
            && fields.u16(at + 20).is_some_and(|len| at + END_LEN + len as usize == tail.len())
    };
    let at = (0..(tail.len() + 1).saturating_sub(END_LEN)).rev().find(is_end);
    let at = at.ok_or_else(|| damaged("it has no end of the directory: it was cut short or is another file"))?;
    let (Some(mut size), Some(mut start)) = (fields.u32(at + 12), fields.u32(at + 16)) else {
        return Err(damaged("its end is cut short"));
    };
    let mut end = tail_start + at as u64;
    let locator = at.checked_sub(LOCATOR64_LEN).filter(|at| fields.bytes(*at) == Some(LOCATOR64));
    if let Some(locator) = locator {
        let offset = fields.u64(locator + 8).ok_or_else(|| damaged("its zip64 locator is cut short"))?;
        let record = offset.checked_sub(tail_start).and_then(|at| usize::try_from(at).ok());
        let record = record.filter(|at| fields.bytes(*at) == Some(END64));
        let record = record.ok_or_else(|| damaged("its zip64 locator leads nowhere"))?;
        let both = fields.u64(record + 40).zip(fields.u64(record + 48));
        (size, start) = both.ok_or_else(|| damaged("its zip64 end is cut short"))?;
        end = offset;
    }
    match start.checked_add(size) {
        Some(directory_end) if directory_end <= end => {}
        _ => return Err(damaged("its directory reaches beyond its end")),
    }
    if size > MAX_DIRECTORY {
        return Err(TorchFault::TooLarge { what: "zip directory", bytes: size, max: MAX_DIRECTORY });
    }
    Ok(start..start + size)
}

/// The directory's entries by name. `directory` are its bytes, which begin at `start` in the file.
pub(super) fn entries(directory: &[u8], start: u64) -> Result<BTreeMap<String, ZipEntry>, TorchFault> {
    let mut listed = Vec::new();
    let mut rest = directory;
    while !rest.is_empty() {
        let (entry, len) = entry(rest).ok_or_else(|| damaged("its directory is cut short"))??;
        listed.push(entry);
        rest = rest.get(len..).unwrap_or_default();
    }
    listed.sort_by_key(|(_, entry)| entry.header);
    let mut next = start;
    for (_, entry) in listed.iter_mut().rev() {
        entry.next = next;
        next = entry.header;
        let end = entry.header.checked_add(LOCAL_LEN + entry.name_len).and_then(|data| data.checked_add(entry.size));
        if end.is_none_or(|end| end > entry.next) {
            return Err(damaged("two of its entries overlap"));
        }
    }
    let mut entries = BTreeMap::new();
    for (name, entry) in listed {
        if entries.insert(name, entry).is_some() {
            return Err(damaged("two of its entries have one name"));
        }
    }
    Ok(entries)
}

/// An entry with its name, and how many bytes of the directory it takes.
type Listed = ((String, ZipEntry), usize);

/// The directory's first entry; `None` where it is cut short.
fn entry(bytes: &[u8]) -> Option<Result<Listed, TorchFault>> {
    let fields = Fields(bytes);
    if fields.bytes(0)? != CENTRAL {
        return Some(Err(damaged("its directory has something else than entries")));
    }
    let (flags, method) = (fields.u16(8)?, fields.u16(10)?);
    let (mut packed, mut size) = (fields.u32(20)?, fields.u32(24)?);
    let (name_len, extra_len, comment_len) = (fields.u16(28)?, fields.u16(30)?, fields.u16(32)?);
    let mut header = fields.u32(42)?;
    let name = fields.slice(46, name_len)?;
    let Ok(name) = std::str::from_utf8(name) else {
        return Some(Err(damaged("an entry's name is not UTF-8")));
    };
    // zip64's extra field has those of the numbers that don't fit, in this order.
    let mut extra = fields.slice(46 + name_len as usize, extra_len)?;
    while let (Some(id), Some(len)) = (Fields(extra).u16(0), Fields(extra).u16(2)) {
        let values = Fields(extra).slice(4, len)?;
        if id == 1 {
            let mut at = 0;
            for number in [&mut size, &mut packed, &mut header] {
                if *number == u64::from(u32::MAX) {
                    *number = Fields(values).u64(at)?;
                    at += 8;
                }
            }
        }
        extra = extra.get(4 + len as usize..)?;
    }
    let stored = method == 0 && packed == size && flags & 1 == 0;
    let size = if stored { size } else { packed };
    let entry = ZipEntry { header, size, name_len, stored, descriptor: flags & 8 != 0, next: 0 };
    Some(Ok(((name.to_owned(), entry), 46 + (name_len + extra_len + comment_len) as usize)))
}

impl ZipEntry {
    /// Where the data begins, where that follows without a look at the local header, whose extra field has any length.
    ///
    /// torch pads it so that the data begins at a multiple of 64, and the data ends where the next entry begins, or a
    /// descriptor of 12 to 24 bytes before. Only one length of the descriptor can satisfy both.
    pub fn aligned_data(&self) -> Option<u64> {
        let first = self.header + LOCAL_LEN + self.name_len;
        let descriptors: &[u64] = if self.descriptor { &[12, 16, 20, 24] } else { &[0] };
        let starts = descriptors.iter().filter_map(|len| self.next.checked_sub(len + self.size));
        let mut aligned = starts.filter(|start| *start >= first && start.is_multiple_of(ALIGNMENT));
        // Beyond one padding and the largest fields of zip64 it is no layout of torch's.
        aligned.next().filter(|start| *start < first + ALIGNMENT + 32)
    }

    /// Where the data begins, by the first [`LOCAL_LEN`] bytes of the local header.
    pub fn data(&self, local: &[u8]) -> Result<u64, TorchFault> {
        let fields = Fields(local);
        let lens = fields.u16(26).zip(fields.u16(28)).filter(|_| fields.bytes(0) == Some(LOCAL));
        let (name, extra) = lens.ok_or_else(|| damaged("an entry is not where its directory says"))?;
        let data = self.header + LOCAL_LEN + name + extra;
        if data.checked_add(self.size).is_none_or(|end| end > self.next) {
            return Err(damaged("two of its entries overlap"));
        }
        Ok(data)
    }
}
