//! Walks over JSON text without building anything.
//!
//! The text of a record is valid UTF-8 and all structure is ASCII, so slices between structure are valid too.
//! Strings are searched eight bytes at a time.

use super::fault::{Fault, Result};
use crate::text::clip;

/// How deep arrays and objects may nest.
pub(crate) const DEPTH_MAX: usize = dflow_common::limits::NESTING_MAX;

/// A place in one record.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    bytes: &'a [u8],
    pub(crate) at: usize,
}

/// A string as it stands between its quotes.
#[derive(Clone, Copy)]
pub(crate) struct RawString<'a> {
    pub(crate) text: &'a str,
    pub(crate) escaped: bool,
}

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The offset of the first quote, backslash or control character, or the length.
#[inline]
pub(crate) fn string_stop(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(|b| b.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ (LOW * b'"' as u64);
        let slash = word ^ (LOW * b'\\' as u64);
        // A byte's high bit is set where the byte is zero (quote, slash) or below 0x20. Borrows can only spoil bytes
        // above the first hit, and the first hit is what counts.
        let hit = (quote.wrapping_sub(LOW) & !quote)
            | (slash.wrapping_sub(LOW) & !slash)
            | (word.wrapping_sub(LOW * 0x20) & !word);
        let hit = hit & HIGH;
        if hit != 0 {
            return at + (hit.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(b) = bytes.get(at) {
        if *b < 0x20 || *b == b'"' || *b == b'\\' {
            return at;
        }
        at += 1;
    }
    at
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0 }
    }

    /// The next byte that is not blank, not consumed; 0 at the end.
    #[inline]
    pub(crate) fn peek(&mut self) -> u8 {
        match self.bytes.get(self.at) {
            Some(b) if *b > b' ' => *b,
            _ => self.peek_behind_blanks(),
        }
    }

    #[inline(never)]
    fn peek_behind_blanks(&mut self) -> u8 {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.at += 1,
                Some(b) => return *b,
                None => return 0,
            }
        }
    }

    /// The bytes from here on.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Consumes this text if it is next.
    #[inline]
    pub(crate) fn literal(&mut self, text: &[u8]) -> bool {
        let is_next = self.rest().starts_with(text);
        if is_next {
            self.at += text.len();
        }
        is_next
    }

    /// Consumes `byte`, blanks before it allowed.
    #[inline]
    pub(crate) fn expect(&mut self, byte: u8, what: &'static str) -> Result<()> {
        if self.peek() == byte {
            self.at += 1;
            Ok(())
        } else {
            Err(self.unexpected(what))
        }
    }

    /// "expected … but found …", malformed.
    #[cold]
    pub(crate) fn unexpected(&self, expected: &str) -> Fault {
        let found = match self.text.get(self.at..).and_then(|t| t.chars().next()) {
            Some(c) => format!("{c:?}"),
            None => "the end of the record".to_owned(),
        };
        Fault::malformed(format!("expected {expected} but found {found} at byte {}", self.at + 1))
    }

    /// The text from `start` to here.
    pub(crate) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Consumes a string; the cursor is at its opening quote.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<RawString<'a>> {
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            at = string_stop(self.bytes, at);
            match self.bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    // Quotes are ASCII: both ends are character boundaries.
                    return Ok(RawString { text: self.text.get(start..at).unwrap_or_default(), escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    at += 2;
                }
                Some(b) => {
                    return Err(Fault::malformed(format!(
                        "a string holds the control character 0x{b:02x}, which must be escaped, at byte {}",
                        at + 1
                    )));
                }
                None => {
                    self.at = self.bytes.len();
                    return Err(Fault::malformed("a string is not closed".into()));
                }
            }
        }
    }

    /// Consumes a number or a word and returns it.
    #[inline]
    pub(crate) fn token(&mut self) -> &'a str {
        let start = self.at;
        while let Some(b'0'..=b'9' | b'+' | b'-' | b'.' | b'a'..=b'z' | b'A'..=b'Z') = self.bytes.get(self.at) {
            self.at += 1;
        }
        self.since(start)
    }

    /// Consumes a number of at most 18 digits without exponent: its digits as one number, and how many of them are
    /// behind the dot.
    #[inline]
    pub(crate) fn short_number(&mut self) -> Option<(i64, usize)> {
        let negative = self.bytes.get(self.at) == Some(&b'-');
        let start = self.at + usize::from(negative);
        let (mut at, mut v) = (start, 0i64);
        let mut digit = |at: &mut usize| {
            let Some(d @ b'0'..=b'9') = self.bytes.get(*at) else { return false };
            v = v.wrapping_mul(10).wrapping_add(i64::from(d - b'0'));
            *at += 1;
            true
        };
        while digit(&mut at) {}
        let whole = at - start;
        let mut fraction = 0;
        if self.bytes.get(at) == Some(&b'.') {
            let dot = at;
            at += 1;
            while digit(&mut at) {}
            fraction = at - dot - 1;
            if fraction == 0 {
                return None;
            }
        }
        // JSON has no leading zeros; the slow path reports them, and reads what is longer.
        let leading_zero = whole > 1 && self.bytes[start] == b'0';
        let ends = !matches!(self.bytes.get(at), Some(b'.' | b'+' | b'-' | b'a'..=b'z' | b'A'..=b'Z'));
        if whole == 0 || whole + fraction > 18 || leading_zero || !ends {
            return None;
        }
        self.at = at;
        Some((if negative { -v } else { v }, fraction))
    }

    /// Consumes `null` if it is next.
    #[inline]
    pub(crate) fn null(&mut self) -> bool {
        if self.bytes.get(self.at..self.at + 4) == Some(b"null") {
            self.at += 4;
            true
        } else {
            false
        }
    }

    /// Consumes one value of any kind; the cursor is at its first byte. Structure is checked, content is not decoded.
    pub(crate) fn skip(&mut self, depth: usize) -> Result<()> {
        match self.bytes.get(self.at) {
            Some(b'"') => self.string().map(drop),
            Some(b'{' | b'[') => self.skip_nested(depth),
            _ => {
                if self.short_number().is_some() {
                    return Ok(());
                }
                let start = self.at;
                let token = self.token();
                if is_scalar(token) {
                    Ok(())
                } else {
                    self.at = start;
                    Err(if token.is_empty() { self.unexpected("a value") } else { not_a_value(token) })
                }
            }
        }
    }

    #[inline(never)]
    fn skip_nested(&mut self, depth: usize) -> Result<()> {
        self.guard(depth)?;
        if self.bytes[self.at] == b'{' {
            self.at += 1;
            if self.peek() == b'}' {
                self.at += 1;
                return Ok(());
            }
            loop {
                if self.peek() != b'"' {
                    return Err(self.unexpected("a key"));
                }
                self.string()?;
                self.expect(b':', "':'")?;
                self.peek();
                self.skip(depth + 1)?;
                if !self.more(b'}')? {
                    return Ok(());
                }
            }
        }
        self.at += 1;
        if self.peek() == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.peek();
            self.skip(depth + 1)?;
            if !self.more(b']')? {
                return Ok(());
            }
        }
    }

    /// Consumes a comma (true) or the closing bracket (false).
    #[inline]
    pub(crate) fn more(&mut self, close: u8) -> Result<bool> {
        match self.peek() {
            b',' => {
                self.at += 1;
                Ok(true)
            }
            b if b == close => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.unexpected(if close == b'}' { "',' or '}'" } else { "',' or ']'" })),
        }
    }

    /// Refuses nesting beyond [`DEPTH_MAX`].
    #[inline]
    pub(crate) fn guard(&self, depth: usize) -> Result<()> {
        if depth >= DEPTH_MAX {
            return Err(Fault::malformed(format!("arrays and objects nest deeper than {DEPTH_MAX}")));
        }
        Ok(())
    }

    /// Nothing but blanks may follow.
    pub(crate) fn end(&mut self) -> Result<()> {
        if self.peek() == 0 && self.at >= self.bytes.len() {
            Ok(())
        } else {
            Err(self.unexpected("the end of the record"))
        }
    }
}

#[cold]
pub(crate) fn not_a_value(token: &str) -> Fault {
    Fault::malformed(format!("`{}` is not a JSON value", clip(token)))
}

/// `true`, `false`, `null` or a number.
pub(crate) fn is_scalar(token: &str) -> bool {
    matches!(token, "true" | "false" | "null") || is_number(token)
}

/// `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`
pub(crate) fn is_number(token: &str) -> bool {
    let b = token.as_bytes();
    let digits = |mut at: usize| {
        while matches!(b.get(at), Some(b'0'..=b'9')) {
            at += 1;
        }
        at
    };
    let start = usize::from(b.first() == Some(&b'-'));
    let mut at = digits(start);
    if at == start || (b[start] == b'0' && at > start + 1) {
        return false;
    }
    if b.get(at) == Some(&b'.') {
        let end = digits(at + 1);
        if end == at + 1 {
            return false;
        }
        at = end;
    }
    if matches!(b.get(at), Some(b'e' | b'E')) {
        let from = at + 1 + usize::from(matches!(b.get(at + 1), Some(b'+' | b'-')));
        let end = digits(from);
        if end == from {
            return false;
        }
        at = end;
    }
    at == b.len()
}

/// Appends the string with its escapes resolved. A lone surrogate becomes U+FFFD, as nothing else could carry it.
pub(crate) fn unescape(raw: &str, out: &mut String) -> Result<()> {
    let mut rest = raw;
    while let Some(i) = rest.find('\\') {
        out.push_str(&rest[..i]);
        let escape = rest.as_bytes().get(i + 1).copied();
        let mut used = 2;
        match escape {
            Some(c @ (b'"' | b'\\' | b'/')) => out.push(char::from(c)),
            Some(b'b') => out.push('\u{8}'),
            Some(b'f') => out.push('\u{c}'),
            Some(b'n') => out.push('\n'),
            Some(b'r') => out.push('\r'),
            Some(b't') => out.push('\t'),
            Some(b'u') => {
                let high = hex4(rest, i + 2)?;
                used = 6;
                let second = rest.get(i + 6..i + 8).filter(|s| *s == "\\u" && (0xd800..0xdc00).contains(&high));
                match second.map(|_| hex4(rest, i + 8)).transpose()? {
                    Some(low @ 0xdc00..0xe000) => {
                        used = 12;
                        let c = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                        out.push(char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                    _ => out.push(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER)),
                }
            }
            _ => return Err(Fault::malformed("a string holds an unknown escape".into())),
        }
        rest = rest.get(i + used..).unwrap_or_default();
    }
    out.push_str(rest);
    Ok(())
}

fn hex4(text: &str, at: usize) -> Result<u32> {
    text.get(at..at + 4)
        .filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()))
        .and_then(|h| u32::from_str_radix(h, 16).ok())
        .ok_or_else(|| Fault::malformed("a string holds a \\u escape without four hexadecimal digits".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_stop_is_found_at_every_offset() {
        for stop in [b'"', b'\\', 0u8, 0x1f] {
            for at in 0..40 {
                let mut bytes = vec![0x80 | b'a'; 40];
                bytes[at] = stop;
                bytes.push(b'"');
                assert_eq!(string_stop(&bytes, 0), at);
            }
        }
        assert_eq!(string_stop(b"abc", 0), 3);
        assert_eq!(string_stop(b" !#[]~\x7f\xff", 0), 8);
        assert_eq!(string_stop(b"a", 7), 7);
    }

    #[test]
    fn numbers_are_json_numbers() {
        for good in ["0", "-0", "10", "1.5", "-1.5e-7", "2E+3"] {
            assert!(is_number(good), "{good}");
        }
        for bad in ["", "-", "01", "1.", ".5", "1e", "+1", "1.5.2", "nan", "0x10", "--1"] {
            assert!(!is_number(bad), "{bad}");
        }
    }

    #[test]
    fn escapes_resolve_and_lone_surrogates_are_replaced() {
        let un = |s| {
            let mut out = String::new();
            unescape(s, &mut out).map(|()| out)
        };
        assert_eq!(un(r#"a\"\\\/\b\f\n\r\tz"#).unwrap(), "a\"\\/\u{8}\u{c}\n\r\tz");
        assert_eq!(un(r"\u00e9\ud83d\ude00").unwrap(), "é😀");
        assert_eq!(un(r"\ud83dx\udc00").unwrap(), "\u{fffd}x\u{fffd}");
        assert_eq!(un(r"\ud83d\u0041").unwrap(), "\u{fffd}A");
        for bad in [r"\x", r"\u12", r"\u12g4", "\\", r"\u+123", "\\ué1"] {
            assert!(un(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn skipping_checks_structure_and_depth() {
        let skip = |text: &str| {
            let mut c = Cursor::new(text);
            c.peek();
            c.skip(0).and_then(|()| c.end())
        };
        for good in [r#"{"a":[1,{"b":null}],"c":"x\"y"}"#, "[]", " [ ] ", "{}", "-1.5e3", "true"] {
            assert!(skip(good).is_ok(), "{good}");
        }
        for bad in ["{", "[1,]", "{\"a\"}", "{a:1}", "[1}", "tru", "", "1 2", "\"\\", "\"a\u{1}\""] {
            assert!(skip(bad).is_err(), "{bad}");
        }
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(skip(&nested(DEPTH_MAX)).is_ok());
        assert!(skip(&nested(DEPTH_MAX + 1)).is_err());
    }
}
