//! Values as text, the way Flink's text formats write them.
//!
//! | type | text |
//! |---|---|
//! | `INT` … | `-17` |
//! | `DOUBLE` | `1.5`, `1e300`, `NaN`, `Infinity` |
//! | `DECIMAL(10, 2)` | `17.50`; excess digits are rounded half up, as Flink does; what does not fit is an error |
//! | `DATE` | `2024-01-02` |
//! | `TIME` | `03:04:05.678` |
//! | `TIMESTAMP` | `2024-01-02 03:04:05.678` (SQL) or `2024-01-02T03:04:05.678` (ISO-8601) |
//! | `TIMESTAMP_LTZ` | the same with `Z`; an offset such as `+02:00` is read too |
//! | `BYTES` | base64 |
//!
//! Parsers take exact text (no surrounding blanks) and return `None` or a reason; they never panic on any input.

mod number;
mod time;

pub(crate) use number::{
    decimal, decimal_of, float, float_of, int, write_decimal, write_double, write_float, write_int,
};
pub(crate) use time::{date, time, timestamp, write_date, write_time, write_timestamp};

/// True or false, case ignored.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// The text without blanks around it; cheap when there are none.
#[inline]
pub(crate) fn trim(text: &str) -> &str {
    match text.as_bytes() {
        [b'!'..=b'~'] => text,
        [b'!'..=b'~', .., b'!'..=b'~'] => text,
        _ => text.trim(),
    }
}

/// At most 40 characters of a value, for a message.
pub(crate) fn clip(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((i, _)) => format!("{}…", &text[..i]),
        None => text.to_owned(),
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends base64 with padding.
pub(crate) fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.chunks(3) {
        let n = chunk.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let sextet = n >> (18 - 6 * i) & 63;
            out.push(if i <= chunk.len() { BASE64[sextet as usize] } else { b'=' });
        }
    }
}

/// Reads base64, padding optional.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    if text.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    for chunk in text.chunks(4) {
        let mut n = 0u32;
        for b in chunk {
            let sextet = match b {
                b'A'..=b'Z' => b - b'A',
                b'a'..=b'z' => b - b'a' + 26,
                b'0'..=b'9' => b - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            n = n << 6 | u32::from(sextet);
        }
        n <<= 6 * (4 - chunk.len());
        out.extend_from_slice(&n.to_be_bytes()[1..chunk.len()]);
    }
    Some(out)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What a writer appends.
    pub(crate) fn written(f: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        f(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn base64_survives_the_way_back() {
        for n in 0..10u8 {
            let bytes: Vec<u8> = (0..n).map(|i| i.wrapping_mul(73)).collect();
            assert_eq!(base64(&written(|o| write_base64(o, &bytes))), Some(bytes));
        }
        assert_eq!((base64("a"), base64("ab!d")), (None, None));
    }
}
