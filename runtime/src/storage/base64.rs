//! Base64 (RFC 4648, with padding): small state files inside a JSON manifest.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The text of some bytes.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let n = chunk.iter().enumerate().fold(0u32, |n, (i, b)| n | u32::from(*b) << (16 - 8 * i));
        for i in 0..4 {
            // `k` bytes fill `k + 1` characters.
            let character = if i <= chunk.len() { ALPHABET[(n >> (18 - 6 * i)) as usize & 63] } else { b'=' };
            text.push(char::from(character));
        }
    }
    text
}

/// The bytes of a text that [`encode`] made; `None` for any other text.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for chunk in text.as_bytes().chunks(4) {
        let characters = chunk.iter().take_while(|c| **c != b'=').count();
        let mut n = 0u32;
        for (i, character) in chunk[..characters].iter().enumerate() {
            n |= (ALPHABET.iter().position(|a| a == character)? as u32) << (18 - 6 * i);
        }
        bytes.extend_from_slice(&n.to_be_bytes()[1..][..characters.checked_sub(1)?]);
    }
    // Other spellings of the same bytes (bits behind the end, padding in the middle) are not ours.
    (encode(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfc_s_examples_read_back_and_other_spellings_do_not() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()));
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)), Some(all));
        for wrong in ["Zh==", "Zg=", "Zg", "Z", "=", "Zm=v", "Zm 9", "Zg==Zg=="] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
