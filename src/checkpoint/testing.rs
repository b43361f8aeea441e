//! Zip archives for tests, laid out as torch lays them out, or otherwise.

/// One file of an archive.
#[derive(Debug, Clone)]
pub(super) struct ZipEntry {
    pub name: String,
    pub data: Vec<u8>,
}

/// How an archive is laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Aligned to 64, with descriptors.
    Torch,
    /// Nothing between name and data.
    Packed,
    /// As torch's, with all numbers in zip64's places.
    Zip64,
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

/// The files of an archive without a comment, in the directory's order.
pub(super) fn entries(zip: &[u8]) -> Vec<ZipEntry> {
    let end = zip.len() - 22;
    let mut at = u32_at(zip, end + 16);
    let mut entries = Vec::new();
    while zip[at..].starts_with(b"PK\x01\x02") {
        let (size, name, header) = (u32_at(zip, at + 24), u16_at(zip, at + 28), u32_at(zip, at + 42));
        let data = header + 30 + u16_at(zip, header + 26) + u16_at(zip, header + 28);
        entries.push(ZipEntry {
            name: String::from_utf8(zip[at + 46..][..name].to_vec()).unwrap(),
            data: zip[data..data + size].to_vec(),
        });
        at += 46 + name + u16_at(zip, at + 30) + u16_at(zip, at + 32);
    }
    entries
}

/// torch's archive with other files in it.
pub(super) fn rewrite(zip: &[u8], edit: impl FnOnce(&mut Vec<ZipEntry>)) -> Vec<u8> {
    let mut entries = entries(zip);
    edit(&mut entries);
    write(&entries, Layout::Torch)
}

/// The same files without padding.
pub(super) fn packed(zip: &[u8]) -> Vec<u8> {
    write(&entries(zip), Layout::Packed)
}

/// The same files with zip64's fields.
pub(super) fn zip64(zip: &[u8]) -> Vec<u8> {
    write(&entries(zip), Layout::Zip64)
}

fn write(entries: &[ZipEntry], layout: Layout) -> Vec<u8> {
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    let wide = layout == Layout::Zip64;
    let flags: u16 = if layout == Layout::Packed { 0 } else { 8 };
    for ZipEntry { name, data } in entries {
        let header = zip.len();
        let padding = match layout {
            Layout::Packed => 0,
            _ => (64 - (header + 30 + name.len() + 4) % 64) % 64 + 4,
        };
        zip.extend(b"PK\x03\x04\x2d\0");
        zip.extend(flags.to_le_bytes());
        zip.extend([0; 2 + 4 + 12]);
        zip.extend((name.len() as u16).to_le_bytes());
        zip.extend((padding as u16).to_le_bytes());
        zip.extend(name.as_bytes());
        zip.extend(std::iter::repeat_n(0, padding));
        zip.extend(data);
        match layout {
            Layout::Packed => {}
            Layout::Torch => zip.extend([0; 16]),
            Layout::Zip64 => zip.extend([0; 24]),
        }
        let sizes = if wide { u32::MAX } else { data.len() as u32 };
        directory.extend(b"PK\x01\x02\x2d\0\x2d\0");
        directory.extend(flags.to_le_bytes());
        directory.extend([0; 2 + 4 + 4]);
        directory.extend([sizes; 2].iter().flat_map(|size| size.to_le_bytes()));
        directory.extend((name.len() as u16).to_le_bytes());
        directory.extend((if wide { 28u16 } else { 0 }).to_le_bytes());
        directory.extend([0; 2 + 2 + 2 + 4]);
        directory.extend((if wide { u32::MAX } else { header as u32 }).to_le_bytes());
        directory.extend(name.as_bytes());
        if wide {
            directory.extend([1, 0, 24, 0]);
            let numbers = [data.len() as u64, data.len() as u64, header as u64];
            directory.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        }
    }
    let (start, size) = (zip.len() as u64, directory.len() as u64);
    zip.extend(&directory);
    if wide {
        let end = zip.len() as u64;
        zip.extend(b"PK\x06\x06\x2c\0\0\0\0\0\0\0");
        zip.extend([0; 2 + 2 + 4 + 4 + 8 + 8]);
        zip.extend(size.to_le_bytes());
        zip.extend(start.to_le_bytes());
        zip.extend(b"PK\x06\x07\0\0\0\0");
        zip.extend(end.to_le_bytes());
        zip.extend([1, 0, 0, 0]);
    }
    zip.extend(b"PK\x05\x06\0\0\0\0");
    zip.extend([0; 4]);
    let narrow = |number: u64| if wide { u32::MAX } else { number as u32 };
    zip.extend(narrow(size).to_le_bytes());
    zip.extend(narrow(start).to_le_bytes());
    zip.extend([0; 2]);
    zip
}
