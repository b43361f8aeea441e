//! The tokens of msgpack, one at a time, from as many bytes as are there.
//!
//! By the msgpack specification's formats; the only extension types are Flax's own.

/// One token. What it holds follows as further tokens; the bytes of a string are part of it, all others are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Map(u64),
    Array(u64),
    Text(String),
    Int(u64),
    True,
    /// Bytes that follow.
    Bytes(u64),
    /// Bytes of an extension that follow, and its type.
    Extension(i8, u64),
    /// Nothing that describes an array.
    Other,
}

/// The longest key or dtype that is accepted.
pub(super) const MAX_TEXT: u64 = 4096;
/// A token has at most this many bytes.
pub(super) const MAX_TOKEN: u64 = MAX_TEXT + 9;

/// Why there is no token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoToken {
    /// More bytes are needed.
    CutShort,
    /// None can ever come.
    Malformed(&'static str),
}

/// The first token of `bytes`, and how many it takes.
pub(super) fn token(bytes: &[u8]) -> Result<(Token, u64), NoToken> {
    let number = |len: usize| {
        let bytes = bytes.get(1..1 + len).ok_or(NoToken::CutShort)?;
        Ok(bytes.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    let kind = *bytes.first().ok_or(NoToken::CutShort)?;
    let text = |head: u64, len: u64| {
        if len > MAX_TEXT {
            return Err(NoToken::Malformed("a string is longer than any name"));
        }
        let end = head + len;
        // Both are small.
        let text = bytes.get(head as usize..end as usize).ok_or(NoToken::CutShort)?;
        let text = std::str::from_utf8(text).map_err(|_| NoToken::Malformed("a string is not UTF-8"))?;
        Ok((Token::Text(text.to_owned()), end))
    };
    let extension = |head: usize, len: u64| {
        let code = *bytes.get(head).ok_or(NoToken::CutShort)?;
        Ok((Token::Extension(code as i8, len), head as u64 + 1))
    };
    Ok(match kind {
        0x00..=0x7f => (Token::Int(kind.into()), 1),
        0x80..=0x8f => (Token::Map((kind & 0x0f).into()), 1),
        0x90..=0x9f => (Token::Array((kind & 0x0f).into()), 1),
        0xa0..=0xbf => text(1, (kind & 0x1f).into())?,
        0xc0 | 0xc2 | 0xe0..=0xff => (Token::Other, 1),
        0xc1 => return Err(NoToken::Malformed("0xc1 begins no value")),
        0xc3 => (Token::True, 1),
        0xc4 => (Token::Bytes(number(1)?), 2),
        0xc5 => (Token::Bytes(number(2)?), 3),
        0xc6 => (Token::Bytes(number(4)?), 5),
        0xc7 => extension(2, number(1)?)?,
        0xc8 => extension(3, number(2)?)?,
        0xc9 => extension(5, number(4)?)?,
        // Floats, then signed integers: no shape has them.
        0xca | 0xd2 => number(4).map(|_| (Token::Other, 5))?,
        0xcb | 0xd3 => number(8).map(|_| (Token::Other, 9))?,
        0xd0 => number(1).map(|_| (Token::Other, 2))?,
        0xd1 => number(2).map(|_| (Token::Other, 3))?,
        0xcc => (Token::Int(number(1)?), 2),
        0xcd => (Token::Int(number(2)?), 3),
        0xce => (Token::Int(number(4)?), 5),
        0xcf => (Token::Int(number(8)?), 9),
        0xd4..=0xd8 => extension(1, 1 << (kind - 0xd4))?,
        0xd9 => text(2, number(1)?)?,
        0xda => text(3, number(2)?)?,
        0xdb => text(5, number(4)?)?,
        0xdc => (Token::Array(number(2)?), 3),
        0xdd => (Token::Array(number(4)?), 5),
        0xde => (Token::Map(number(2)?), 3),
        0xdf => (Token::Map(number(4)?), 5),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        for (bytes, found, len) in [
            (&b"\x07"[..], Token::Int(7), 1),
            (b"\x82", Token::Map(2), 1),
            (b"\xde\x01\x00", Token::Map(256), 3),
            (b"\x93", Token::Array(3), 1),
            (b"\xa3abcd", Token::Text("abc".to_owned()), 4),
            (b"\xd9\x01z", Token::Text("z".to_owned()), 3),
            (b"\xc3", Token::True, 1),
            (b"\xc6\x00\x01\x00\x00", Token::Bytes(65536), 5),
            (b"\xc7\x2a\x01", Token::Extension(1, 42), 3),
            (b"\xc9\xff\xff\xff\xff\x01", Token::Extension(1, u32::MAX.into()), 6),
            (b"\xd8\x02", Token::Extension(2, 16), 2),
            (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", Token::Int(u64::MAX), 9),
            (b"\xcb\0\0\0\0\0\0\0\0", Token::Other, 9),
        ] {
            assert_eq!(token(bytes), Ok((found, len)), "{bytes:?}");
            for cut in 0..len as usize {
                assert_eq!(token(&bytes[..cut]), Err(NoToken::CutShort), "{bytes:?} up to {cut}");
            }
        }
        assert!(matches!(token(b"\xc1"), Err(NoToken::Malformed(_))));
        assert!(matches!(token(b"\xa1\xff"), Err(NoToken::Malformed(_))));
        assert!(matches!(token(b"\xdb\xff\xff\xff\xff"), Err(NoToken::Malformed(_))));
    }
}
