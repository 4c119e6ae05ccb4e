//! Compressed pieces of the log: MariaDB's (zlib, `log_bin_compress`) and MySQL's (zstd,
//! `binlog_transaction_compression`).
//!
//! # Invariants
//! What is decompressed is exactly as long as it says, and never longer than [`DECOMPRESSED_BYTES_MAX`]: a length in a
//! damaged event cannot make us allocate.

use std::io::Read;

use super::bytes::{Cursor, Fault};
use super::event::Payload;

/// Bytes of a decompressed event or transaction at most: what a server can hold in one packet.
pub const DECOMPRESSED_BYTES_MAX: u64 = 1 << 30;

const TOO_LONG: Fault = Fault::Malformed("decompressed, it would be longer than 1 GiB");
const DAMAGED: Fault = Fault::Malformed("it cannot be decompressed");

/// `0x80 | algorithm << 4 | n`, the length in `n` bytes (highest first), a zlib stream.
///
/// # Source
/// `MariaDB/server`, `sql/log_event.cc: binlog_buf_compress`.
pub fn maria(bytes: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut c = Cursor(bytes);
    let head = c.u8()?;
    if head & 0xf0 != 0x80 {
        return Err(Fault::Malformed("its compression is not known"));
    }
    let n = usize::from(head & 0x07);
    let length = c.uint_be(n)?;
    exactly(flate2::read::ZlibDecoder::new(c.rest()), length)
}

/// A value of a MariaDB column with `COMPRESSED`: 0 and the bytes, or `algorithm << 4 | raw << 3 | n`, the length in `n`
/// bytes (highest first), and a zlib stream (`raw`: without its frame).
///
/// # Source
/// `MariaDB/server`, `sql/field_comp.cc`.
pub fn maria_column(bytes: &[u8]) -> Result<std::borrow::Cow<'_, [u8]>, Fault> {
    const ZLIB: u8 = 8;
    let mut c = Cursor(bytes);
    if c.is_empty() {
        return Ok(bytes.into());
    }
    let head = c.u8()?;
    if head == 0 {
        return Ok(c.rest().into());
    }
    if head >> 4 != ZLIB {
        return Err(Fault::Malformed("its compression is not known"));
    }
    let length = c.uint_be(usize::from(head & 0x07))?;
    let out = match head & 0x08 {
        0 => exactly(flate2::read::ZlibDecoder::new(c.rest()), length)?,
        _ => exactly(flate2::read::DeflateDecoder::new(c.rest()), length)?,
    };
    Ok(out.into())
}

/// The events of a compressed transaction.
pub fn payload(payload: &Payload<'_>) -> Result<Vec<u8>, Fault> {
    if !payload.zstd {
        return Ok(payload.data.to_vec());
    }
    let decoder = zstd::stream::read::Decoder::with_buffer(payload.data).map_err(|_| DAMAGED)?;
    exactly(decoder, payload.uncompressed)
}

fn exactly(reader: impl Read, length: u64) -> Result<Vec<u8>, Fault> {
    if length > DECOMPRESSED_BYTES_MAX {
        return Err(TOO_LONG);
    }
    let mut out = Vec::new();
    reader.take(length + 1).read_to_end(&mut out).map_err(|_| DAMAGED)?;
    if out.len() as u64 != length {
        return Err(Fault::Malformed("decompressed, it is not as long as it says"));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn compressed(text: &[u8], claimed: u16) -> Vec<u8> {
        let mut out = vec![0x82];
        out.extend(claimed.to_be_bytes());
        let mut zlib = flate2::write::ZlibEncoder::new(&mut out, flate2::Compression::default());
        zlib.write_all(text).unwrap();
        zlib.finish().unwrap();
        out
    }

    #[test]
    fn length_is_believed_only_when_it_is_right() {
        assert_eq!(maria(&compressed(b"abcabc", 6)), Ok(b"abcabc".to_vec()));
        let wrong = Err(Fault::Malformed("decompressed, it is not as long as it says"));
        assert_eq!(maria(&compressed(b"abcabc", 5)), wrong);
        assert_eq!(maria(&compressed(b"abcabc", 7)), wrong);
        let claim = |uncompressed| payload(&Payload { data: b"", zstd: true, uncompressed });
        assert_eq!(claim(DECOMPRESSED_BYTES_MAX + 1), Err(TOO_LONG));
        assert_eq!(claim(DECOMPRESSED_BYTES_MAX), Err(DAMAGED), "nothing is no zstd");
    }
}
