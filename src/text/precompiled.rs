//! Checks SentencePiece's precompiled character map before it is used.
//!
//! The `tokenizers` crate indexes this table with values that it read from it, so a wrong one would end the program
//! in the middle of a text.

/// Checks that every walk through the map stays inside it, for every possible text.
///
/// `map` is `[u32 length of the trie in bytes][trie: u32 units][replacements: UTF-8, each ended by a zero byte]`, all
/// little-endian; the trie is a darts-clone double array.
pub(super) fn check(map: &[u8]) -> Result<(), String> {
    let (length, rest) = map.split_first_chunk::<4>().ok_or("it has no length")?;
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let (trie, replacements) = rest.split_at_checked(length & !3).ok_or("its trie is longer than it is")?;
    let replacements = std::str::from_utf8(replacements).map_err(|e| format!("its replacements are not UTF-8: {e}"))?;
    let units: Vec<u32> = trie.as_chunks::<4>().0.iter().map(|unit| u32::from_le_bytes(*unit)).collect();

    let root = *units.first().ok_or("its trie is empty")?;
    let mut seen = vec![false; units.len()];
    let mut nodes = vec![offset(root)];
    while let Some(base) = nodes.pop() {
        match seen.get_mut(base) {
            Some(true) => continue,
            Some(unseen) => *unseen = true,
            None => return Err(format!("its trie leads to unit {base} of {}", units.len())),
        }
        for byte in 1..=255_u8 {
            let at = base ^ usize::from(byte);
            let unit = *units.get(at).ok_or_else(|| format!("its trie leads to unit {at} of {}", units.len()))?;
            if unit & (1 << 31 | 0xFF) != u32::from(byte) {
                continue;
            }
            let child = at ^ offset(unit);
            if unit >> 8 & 1 == 1 {
                let value = units.get(child).map(|leaf| leaf & !(1 << 31)).and_then(|leaf| usize::try_from(leaf).ok());
                if !value.is_some_and(|start| replacements.is_char_boundary(start)) {
                    return Err(format!("unit {at} of its trie points at no replacement"));
                }
            }
            nodes.push(child);
        }
    }
    Ok(())
}

/// Where a unit's children lie, to be combined with its position by exclusive or.
fn offset(unit: u32) -> usize {
    ((unit >> 10) << ((unit & 1 << 9) >> 6)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(units: &[u32], replacements: &str) -> Vec<u8> {
        let length = (units.len() * 4) as u32;
        let units = units.iter().flat_map(|unit| unit.to_le_bytes());
        length.to_le_bytes().into_iter().chain(units).chain(replacements.bytes()).collect()
    }

    /// Root → `a` (a leaf) whose value is `value`.
    fn one_entry(value: u32) -> Vec<u32> {
        let mut units = vec![0; 512];
        units[0] = 256 << 10;
        let at = 256 ^ usize::from(b'a');
        // The offset is combined by exclusive or, so this one leads to unit 256.
        units[at] = u32::from(b'a') | 1 << 8 | (256 ^ at as u32) << 10;
        units[256] = value | 1 << 31;
        units
    }

    #[test]
    fn accepts_a_map_whose_walks_stay_inside() {
        assert_eq!(check(&map(&one_entry(0), "b\0")), Ok(()));
    }

    #[test]
    fn refuses_what_would_lead_outside() {
        assert!(check(&[]).unwrap_err().contains("no length"));
        assert!(check(&[255, 255, 255, 255]).unwrap_err().contains("longer"));
        assert!(check(&map(&[], "")).unwrap_err().contains("empty"));
        assert!(check(&map(&[256 << 10], "")).unwrap_err().contains("unit 256 of 1"));
        assert!(check(&map(&one_entry(99), "b\0")).unwrap_err().contains("no replacement"));
        // In the middle of a two-byte character.
        assert!(check(&map(&one_entry(1), "é\0")).unwrap_err().contains("no replacement"));
    }
}
