//! `model.safetensors.index.json`: which shard holds each tensor.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::IndexFault;
use super::header::Pairs;
use crate::hub::is_plain_path;

/// No index that anyone has is near this.
pub(super) const MAX_INDEX: u64 = 25_000_000;

/// The shard of each tensor.
pub(super) fn parse(json: &[u8]) -> Result<BTreeMap<String, String>, IndexFault> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: Pairs<String>,
    }
    let index: Index =
        serde_json::from_slice(json).map_err(|error| IndexFault::Malformed { reason: error.to_string() })?;
    let mut weight_map = BTreeMap::new();
    for (tensor, shard) in index.weight_map.0 {
        if !is_plain_path(&shard) {
            return Err(IndexFault::ShardName { tensor, shard });
        }
        if weight_map.insert(tensor.clone(), shard).is_some() {
            return Err(IndexFault::Duplicate { tensor });
        }
    }
    if weight_map.is_empty() {
        return Err(IndexFault::Empty);
    }
    Ok(weight_map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weight_maps() {
        let json = br#"{"metadata":{"total_size":8},"weight_map":{"b":"model-00002-of-00002.safetensors","a":"x/y.safetensors"}}"#;
        let expected = [("a", "x/y.safetensors"), ("b", "model-00002-of-00002.safetensors")];
        let expected = expected.map(|(tensor, shard)| (tensor.to_owned(), shard.to_owned()));
        assert_eq!(parse(json), Ok(BTreeMap::from(expected)));
    }

    #[test]
    fn malformed_indices() {
        for json in ["", "[]", "{}", r#"{"weight_map":[]}"#, r#"{"weight_map":{"a":1}}"#, r#"{"weight_map":null}"#] {
            assert!(matches!(parse(json.as_bytes()), Err(IndexFault::Malformed { .. })), "{json}");
        }
        assert_eq!(parse(br#"{"weight_map":{}}"#), Err(IndexFault::Empty));
        assert_eq!(
            parse(br#"{"weight_map":{"a":"x","a":"y"}}"#),
            Err(IndexFault::Duplicate { tensor: "a".to_owned() })
        );
        for shard in ["/etc/passwd", "../x.safetensors", "a/../../x", "a\\\\b", "", "https://h/x"] {
            let json = format!(r#"{{"weight_map":{{"a":"{shard}"}}}}"#);
            assert!(matches!(parse(json.as_bytes()), Err(IndexFault::ShardName { .. })), "{shard}");
        }
    }
}
