//! Character sets: how the bytes of a text column read.
//!
//! # Source
//! Numbers of collations: `information_schema.collations` of MySQL 9.7 and
//! `information_schema.collation_character_set_applicability` of MariaDB 10.11.

use std::borrow::Cow;

use encoding_rs::Encoding;

mod mended;

pub use self::mended::Mended;

/// How bytes read as text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Charset {
    /// Not text.
    Binary,
    /// UTF-8, of three or four bytes, and ASCII.
    Utf8,
    /// UTF-32, the highest byte first.
    Utf32,
    /// One that `encoding_rs` knows.
    Other(&'static Encoding),
    /// One that `encoding_rs` knows but for some characters.
    Mended(Mended),
}

impl Charset {
    /// Of a server's collation number. `None` when dflow cannot read it.
    pub fn of_collation(id: u64) -> Option<Charset> {
        Self::of_name(name_of_collation(id)?)
    }

    /// Of a server's character set name. `None` when dflow cannot read it.
    pub fn of_name(name: &str) -> Option<Charset> {
        use encoding_rs as e;
        let encoding = match name {
            "binary" => return Some(Charset::Binary),
            "utf8" | "utf8mb3" | "utf8mb4" | "ascii" => return Some(Charset::Utf8),
            "utf32" => return Some(Charset::Utf32),
            "ucs2" | "utf16" => e::UTF_16BE,
            "utf16le" => e::UTF_16LE,
            // What MySQL calls latin1 is Windows' code page.
            "latin1" => e::WINDOWS_1252,
            "latin2" => e::ISO_8859_2,
            "latin5" => return Some(Charset::Mended(Mended::Latin5)),
            "latin7" => e::ISO_8859_13,
            "greek" => return Some(Charset::Mended(Mended::Greek)),
            "hebrew" => return Some(Charset::Mended(Mended::Hebrew)),
            "tis620" => return Some(Charset::Mended(Mended::Tis620)),
            "cp1250" => e::WINDOWS_1250,
            "cp1251" => e::WINDOWS_1251,
            "cp1256" => e::WINDOWS_1256,
            "cp1257" => e::WINDOWS_1257,
            "cp866" => return Some(Charset::Mended(Mended::Cp866)),
            "koi8r" => e::KOI8_R,
            "koi8u" => return Some(Charset::Mended(Mended::Koi8u)),
            "macroman" => e::MACINTOSH,
            "gbk" => e::GBK,
            "gb2312" => return Some(Charset::Mended(Mended::Gb2312)),
            "gb18030" => return Some(Charset::Mended(Mended::Gb18030)),
            "big5" => return Some(Charset::Mended(Mended::Big5)),
            "cp932" => e::SHIFT_JIS,
            "sjis" => return Some(Charset::Mended(Mended::Sjis)),
            "ujis" => return Some(Charset::Mended(Mended::Ujis)),
            "eucjpms" => return Some(Charset::Mended(Mended::Eucjpms)),
            "euckr" => e::EUC_KR,
            _ => return None,
        };
        Some(Charset::Other(encoding))
    }

    /// The text of `bytes`, and whether some of them were no text and became U+FFFD.
    #[inline]
    pub fn decode<'a>(self, bytes: &'a [u8]) -> (Cow<'a, str>, bool) {
        match self {
            Charset::Utf8 | Charset::Binary => match std::str::from_utf8(bytes) {
                Ok(text) => (Cow::Borrowed(text), false),
                Err(_) => (Cow::Owned(String::from_utf8_lossy(bytes).into_owned()), true),
            },
            Charset::Utf32 => {
                let mut bad = !bytes.len().is_multiple_of(4);
                let text = bytes
                    .chunks_exact(4)
                    .map(|c| {
                        let char = char::from_u32(u32::from_be_bytes([c[0], c[1], c[2], c[3]]));
                        bad |= char.is_none();
                        char.unwrap_or(char::REPLACEMENT_CHARACTER)
                    })
                    .collect();
                (Cow::Owned(text), bad)
            }
            Charset::Other(encoding) => encoding.decode_without_bom_handling(bytes),
            Charset::Mended(mended) => mended.decode(bytes),
        }
    }
}

/// The character set a collation belongs to.
pub fn name_of_collation(id: u64) -> Option<&'static str> {
    Some(match id {
        63 => "binary",
        33 | 76 | 83 | 192..=215 | 223 | 576..=578 => "utf8mb3",
        45 | 46 | 224..=247 | 255..=323 | 608..=610 => "utf8mb4",
        11 | 65 => "ascii",
        5 | 8 | 15 | 31 | 47 | 48 | 49 | 94 => "latin1",
        2 | 9 | 21 | 27 | 77 => "latin2",
        30 | 78 => "latin5",
        20 | 41 | 42 | 79 => "latin7",
        1 | 84 => "big5",
        26 | 34 | 44 | 66 | 99 => "cp1250",
        14 | 23 | 50 | 51 | 52 => "cp1251",
        57 | 67 => "cp1256",
        29 | 58 | 59 => "cp1257",
        4 | 80 => "cp850",
        40 | 81 => "cp852",
        36 | 68 => "cp866",
        95 | 96 => "cp932",
        3 | 69 => "dec8",
        97 | 98 => "eucjpms",
        19 | 85 => "euckr",
        248..=250 => "gb18030",
        24 | 86 => "gb2312",
        28 | 87 => "gbk",
        92 | 93 => "geostd8",
        25 | 70 => "greek",
        16 | 71 => "hebrew",
        6 | 72 => "hp8",
        32 | 64 => "armscii8",
        37 | 73 => "keybcs2",
        7 | 74 => "koi8r",
        22 | 75 => "koi8u",
        38 | 43 => "macce",
        39 | 53 => "macroman",
        13 | 88 => "sjis",
        10 | 82 => "swe7",
        18 | 89 => "tis620",
        35 | 90 | 128..=151 | 159 | 640..=642 => "ucs2",
        12 | 91 => "ujis",
        54 | 55 | 101..=124 | 672..=674 => "utf16",
        56 | 62 => "utf16le",
        60 | 61 | 160..=183 | 736..=738 => "utf32",
        // MariaDB: the same without padding is 1024 further; its UCA 14 collations have 256 numbers a character set.
        1024..2048 => return name_of_collation(id - 1024),
        2048..2304 => "utf8mb3",
        2304..2560 => "utf8mb4",
        2560..2816 => "ucs2",
        2816..3072 => "utf16",
        3072..3328 => "utf32",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collations_of_both_servers_have_a_charset() {
        for (id, name) in [(8, "latin1"), (255, "utf8mb4"), (63, "binary"), (1270, "utf8mb4"), (2304, "utf8mb4")] {
            assert_eq!(name_of_collation(id), Some(name));
        }
        assert_eq!(Charset::of_collation(4), None, "cp850 is known to us by name only");
        assert_eq!(Charset::of_collation(99_999), None);
    }

    #[test]
    fn bytes_that_are_no_text_are_told() {
        assert_eq!(Charset::Utf8.decode(b"a\xffb"), ("a\u{fffd}b".into(), true));
        assert_eq!(Charset::of_collation(8).unwrap().decode(b"\x80\xe9"), ("€é".into(), false));
        assert_eq!(Charset::Utf32.decode(&[0, 1, 0xf6, 0x00]), ("😀".into(), false));
        assert_eq!(Charset::Utf32.decode(&[0, 0, 0xd8, 0x00, 1]), ("\u{fffd}".into(), true));
        assert_eq!(Charset::of_name("ucs2").unwrap().decode(&[0x20, 0xac]), ("€".into(), false));
    }
}
