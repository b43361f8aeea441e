//! The header of a safetensors file: `N: u64 LE`, then N bytes of JSON, then the tensors' bytes without gaps.
//!
//! The `safetensors` crate is not used for reading, because it wants the whole file in one slice, keeps the last of
//! two entries of one name, and counts offsets in `usize`, which on wasm32 ends at 4 GiB.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use super::HeaderFault;
use super::entry::{Entry, Header, Order, bytes, dims};
use crate::tensor::Dtype;

/// Bytes of the header's length.
pub(super) const LENGTH: u64 = 8;
/// The longest header that the Hub's clients accept.
pub(super) const MAX_HEADER: u64 = 25_000_000;

/// The JSON's length, from the file's first bytes.
pub(super) fn length(start: &[u8]) -> Result<u64, HeaderFault> {
    let bytes = start.first_chunk().ok_or(HeaderFault::NoLength { file_size: start.len() as u64 })?;
    match u64::from_le_bytes(*bytes) {
        length if length > MAX_HEADER => Err(HeaderFault::TooLong { length, max: MAX_HEADER }),
        length => Ok(length),
    }
}

/// Parses and checks the JSON. `file_size` is `None` where the transport doesn't tell it.
pub(super) fn parse(json: &[u8], file_size: Option<u64>) -> Result<Header, HeaderFault> {
    let text = std::str::from_utf8(json).map_err(|_| HeaderFault::NotUtf8)?;
    let raw: RawHeader =
        serde_json::from_str(text).map_err(|error| HeaderFault::Malformed { reason: error.to_string() })?;
    let mut metadata = BTreeMap::new();
    for (key, value) in raw.metadata {
        if metadata.insert(key.clone(), value).is_some() {
            return Err(HeaderFault::Duplicate { name: key });
        }
    }
    let mut entries = raw.entries;
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    let data_start = LENGTH + json.len() as u64;
    let mut end_before = 0;
    let mut tensors = BTreeMap::new();
    for (tensor, entry) in entries {
        if tensors.contains_key(&tensor) {
            return Err(HeaderFault::Duplicate { name: tensor });
        }
        let checked = check(&tensor, entry, data_start, end_before)?;
        end_before = checked.range.end - data_start;
        tensors.insert(tensor, checked);
    }
    let expected = data_start + end_before;
    match file_size {
        Some(file_size) if file_size != expected => Err(HeaderFault::FileSize { expected, file_size }),
        _ => Ok(Header { tensors, metadata }),
    }
}

fn check(tensor: &str, entry: RawEntry, data_start: u64, expected: u64) -> Result<Entry, HeaderFault> {
    let RawEntry { dtype: name, shape, data_offsets: (begin, end) } = entry;
    let Some(dtype) = Dtype::from_name(&name) else {
        return Err(HeaderFault::Dtype { tensor: tensor.to_owned(), dtype: name });
    };
    if begin != expected || end < begin {
        return Err(HeaderFault::Offsets { tensor: tensor.to_owned(), begin, end, expected });
    }
    let Some(range_end) = data_start.checked_add(end) else {
        return Err(HeaderFault::Overflow { tensor: tensor.to_owned(), shape });
    };
    let elements = shape.iter().try_fold(1u64, |elements, dim| elements.checked_mul(*dim));
    let (Some(bits), Some(dims)) = (elements.and_then(|elements| elements.checked_mul(dtype.bits())), dims(&shape))
    else {
        return Err(HeaderFault::Overflow { tensor: tensor.to_owned(), shape });
    };
    let Some(needed) = bytes(dtype, &shape) else {
        return Err(HeaderFault::Misaligned { tensor: tensor.to_owned(), dtype, shape, bits });
    };
    if needed != end - begin {
        let given = end - begin;
        return Err(HeaderFault::Size { tensor: tensor.to_owned(), dtype, shape, needed, given });
    }
    Ok(Entry { dtype, shape: dims, order: Order::RowMajor, range: data_start + begin..range_end })
}

/// The header as written, duplicates included.
struct RawHeader {
    entries: Vec<(String, RawEntry)>,
    metadata: Vec<(String, String)>,
}

#[derive(serde::Deserialize)]
struct RawEntry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut header = RawHeader { entries: Vec::new(), metadata: Vec::new() };
                while let Some(name) = map.next_key::<String>()? {
                    let named = |error| A::Error::custom(format_args!("entry {name:?}: {error}"));
                    if name == "__metadata__" {
                        let metadata: Option<Pairs<String>> = map.next_value().map_err(named)?;
                        header.metadata.extend(metadata.map(|pairs| pairs.0).unwrap_or_default());
                    } else {
                        let entry = map.next_value().map_err(named)?;
                        header.entries.push((name, entry));
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// A JSON object as a list, so that duplicate keys can be seen.
pub(super) struct Pairs<V>(pub Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Pairs<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect<V>(std::marker::PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Collect<V> {
            type Value = Pairs<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<V>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Collect(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A genuine file by the reference implementation.
    fn genuine() -> Vec<u8> {
        use safetensors::tensor::{Dtype, TensorView, serialize};
        let data: Vec<u8> = (0..24).collect();
        let view = |dtype, shape: &[usize], n: usize| TensorView::new(dtype, shape.to_vec(), &data[..n]).unwrap();
        let tensors = [
            ("w", view(Dtype::BF16, &[3, 4], 24)),
            ("scalar", view(Dtype::F32, &[], 4)),
            ("empty", view(Dtype::I64, &[0, 7], 0)),
            ("mask", view(Dtype::BOOL, &[3], 3)),
        ];
        let metadata = [("format".to_owned(), "pt".to_owned())].into();
        serialize(tensors, Some(metadata)).unwrap()
    }

    fn parse_file(file: &[u8]) -> Result<Header, HeaderFault> {
        let n = length(file)?;
        let json = file.get(8..8 + n as usize).ok_or(HeaderFault::Truncated { length: n })?;
        parse(json, Some(file.len() as u64))
    }

    #[test]
    fn reads_what_the_reference_writes() {
        let file = genuine();
        let header = parse_file(&file).unwrap();
        let reference = safetensors::SafeTensors::deserialize(&file).unwrap();
        assert_eq!(header.tensors.len(), reference.len());
        for (name, view) in reference.iter() {
            let entry = &header.tensors[name];
            assert_eq!(entry.shape, view.shape(), "{name}");
            assert_eq!(entry.dtype.name(), format!("{:?}", view.dtype()), "{name}");
            let range = entry.range.start as usize..entry.range.end as usize;
            assert_eq!(&file[range], view.data(), "{name}");
        }
        assert_eq!(header.metadata, BTreeMap::from([("format".to_owned(), "pt".to_owned())]));
    }

    #[test]
    fn lengths() {
        assert_eq!(length(b"1234567"), Err(HeaderFault::NoLength { file_size: 7 }));
        assert_eq!(length(&25_000_000u64.to_le_bytes()), Ok(25_000_000));
        let max = MAX_HEADER;
        assert_eq!(length(&25_000_001u64.to_le_bytes()), Err(HeaderFault::TooLong { length: 25_000_001, max }));
        assert_eq!(length(&[255; 8]), Err(HeaderFault::TooLong { length: u64::MAX, max }));
    }

    #[test]
    fn malformed_headers() {
        let name = |name: &str| name.to_owned();
        let cases = [
            (
                r#"{"a":{"dtype":"F7","shape":[1],"data_offsets":[0,1]}}"#,
                HeaderFault::Dtype { tensor: name("a"), dtype: name("F7") },
            ),
            (
                r#"{"a":{"dtype":"F4","shape":[3,1],"data_offsets":[0,1]}}"#,
                HeaderFault::Misaligned { tensor: name("a"), dtype: Dtype::F4, shape: vec![3, 1], bits: 12 },
            ),
            (
                r#"{"a":{"dtype":"F6_E3M2","shape":[4],"data_offsets":[0,4]}}"#,
                HeaderFault::Size { tensor: name("a"), dtype: Dtype::F6E3M2, shape: vec![4], needed: 3, given: 4 },
            ),
            (
                r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#,
                HeaderFault::Duplicate { name: name("a") },
            ),
            (
                r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#,
                HeaderFault::Duplicate { name: name("a") },
            ),
            (r#"{"__metadata__":{"k":"1","k":"2"}}"#, HeaderFault::Duplicate { name: name("k") }),
            (r#"{"__metadata__":{"k":"1"},"__metadata__":{"k":"2"}}"#, HeaderFault::Duplicate { name: name("k") }),
            (
                r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#,
                HeaderFault::Offsets { tensor: name("a"), begin: 1, end: 2, expected: 0 },
            ),
            (
                r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#,
                HeaderFault::Offsets { tensor: name("b"), begin: 1, end: 3, expected: 2 },
            ),
            (
                r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,0]}}"#,
                HeaderFault::Offsets { tensor: name("b"), begin: 2, end: 0, expected: 2 },
            ),
            (
                r#"{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,12]}}"#,
                HeaderFault::Size { tensor: name("a"), dtype: Dtype::F32, shape: vec![2, 2], needed: 16, given: 12 },
            ),
            (
                r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#,
                HeaderFault::Overflow { tensor: name("a"), shape: vec![1 << 32, 1 << 32] },
            ),
            (
                r#"{"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,18446744073709551615]}}"#,
                HeaderFault::Overflow { tensor: name("a"), shape: vec![u64::MAX] },
            ),
        ];
        for (json, fault) in cases {
            assert_eq!(parse(json.as_bytes(), None), Err(fault), "{json}");
        }
        assert_eq!(parse(b"{\"\xff\":1}", None), Err(HeaderFault::NotUtf8));
    }

    #[test]
    fn what_the_parser_says_names_the_entry() {
        for (json, said) in [
            ("", "EOF"),
            ("[]", "a JSON object of tensors"),
            ("{} {}", "trailing"),
            (r#"{"a":1}"#, "entry \"a\""),
            (r#"{"a":{"dtype":"U8","shape":[1]}}"#, "entry \"a\": missing field `data_offsets`"),
            (r#"{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, "duplicate field `dtype`"),
            (r#"{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}"#, "entry \"a\""),
            (r#"{"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}}"#, "entry \"a\""),
            (r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}}"#, "entry \"a\""),
            (r#"{"__metadata__":{"k":1}}"#, "entry \"__metadata__\""),
        ] {
            match parse(json.as_bytes(), None) {
                Err(HeaderFault::Malformed { reason }) => assert!(reason.contains(said), "{json}: {reason}"),
                other => panic!("{json}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_last_end_is_the_files_end() {
        let mut file = genuine();
        let full = file.len() as u64;
        file.pop();
        assert_eq!(parse_file(&file), Err(HeaderFault::FileSize { expected: full, file_size: full - 1 }));
        file.extend([0, 0]);
        assert_eq!(parse_file(&file), Err(HeaderFault::FileSize { expected: full, file_size: full + 1 }));
        assert_eq!(parse(b"{}", Some(10)), Ok(Header::default()));
    }

    #[test]
    fn no_header_panics() {
        let file = genuine();
        for len in 0..file.len() {
            assert!(parse_file(&file[..len]).is_err());
        }
        // Every byte of the header replaced by each of a few that mean something to a parser.
        let end = 8 + length(&file).unwrap() as usize;
        for at in 0..end {
            for byte in *b"\0\x01\xff\"{}[],:09-e\\" {
                let mut broken = file.clone();
                broken[at] = byte;
                let _ = parse_file(&broken);
            }
        }
    }
}
