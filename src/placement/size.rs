//! Sizes as people write them. Semantics: accelerate's `convert_file_size_to_int`.

use super::PlacementError;

/// Bytes of `"2GB"` (decimal), `"2GiB"` (binary) or `"2Gb"` (bits), with K, M and G.
///
/// # Errors
/// [`PlacementError::Size`] where it is none.
pub fn parse_size(text: &str) -> Result<u64, PlacementError> {
    let wrong = || PlacementError::Size { text: text.to_owned() };
    let upper = text.to_ascii_uppercase();
    let units = [
        ("GIB", 1_u64 << 30),
        ("MIB", 1 << 20),
        ("KIB", 1 << 10),
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
        ("KB", 1000),
    ];
    let (unit, bytes) = units.into_iter().find(|(unit, _)| upper.ends_with(unit)).ok_or_else(wrong)?;
    let number = text.get(..text.len() - unit.len()).ok_or_else(wrong)?;
    let number: f64 = number.trim().replace('_', "").parse().map_err(|_| wrong())?;
    let size = (number * bytes as f64).trunc();
    if !(0.0..=9.0e18).contains(&size) {
        return Err(wrong());
    }
    let size = size as u64;
    Ok(if unit.len() == 2 && text.ends_with('b') { size / 8 } else { size })
}
