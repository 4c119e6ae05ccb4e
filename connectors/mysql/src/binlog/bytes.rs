//! Reading numbers and pieces out of bytes that may be cut short or wrong.
//!
//! # Invariants
//! Nothing here panics: a read past the end is [`Fault::Truncated`], and leaves the cursor where it was.

use std::fmt;

/// What is wrong with some bytes. The caller knows the place: the file, the position, the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They end before the value does.
    Truncated,
    /// They cannot be what they should be.
    Malformed(&'static str),
    /// They are of a kind dflow does not know.
    Unknown,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Truncated => f.write_str("it ends too early"),
            Fault::Malformed(why) => f.write_str(why),
            Fault::Unknown => f.write_str("it is of an unknown kind"),
        }
    }
}

/// Bytes and how far they are read.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    /// The next `n` bytes.
    #[inline]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Fault> {
        match self.0.split_at_checked(n) {
            Some((head, tail)) => {
                self.0 = tail;
                Ok(head)
            }
            None => Err(Fault::Truncated),
        }
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Whether nothing is left.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        match self.0.split_first_chunk::<N>() {
            Some((head, tail)) => {
                self.0 = tail;
                Ok(*head)
            }
            None => Err(Fault::Truncated),
        }
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, Fault> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes, the lowest first.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, Fault> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes, the lowest first.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes, the lowest first.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, Fault> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// `n <= 8` bytes, the lowest first.
    #[inline]
    pub fn uint_le(&mut self, n: usize) -> Result<u64, Fault> {
        Ok(self.take(n)?.iter().rev().fold(0, |v, b| v << 8 | u64::from(*b)))
    }

    /// `n <= 8` bytes, the highest first.
    #[inline]
    pub fn uint_be(&mut self, n: usize) -> Result<u64, Fault> {
        Ok(self.take(n)?.iter().fold(0, |v, b| v << 8 | u64::from(*b)))
    }

    /// A length-encoded integer: one byte below 251, or a marker and 2, 3 or 8 bytes.
    ///
    /// # Source
    /// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_dt_integers.html>
    pub fn lenenc(&mut self) -> Result<u64, Fault> {
        match self.u8()? {
            n @ 0..=250 => Ok(n.into()),
            0xfc => self.uint_le(2),
            0xfd => self.uint_le(3),
            0xfe => self.u64(),
            _ => Err(Fault::Malformed("a length has an unknown marker")),
        }
    }

    /// Bytes behind their length-encoded length.
    pub fn lenenc_bytes(&mut self) -> Result<&'a [u8], Fault> {
        let n = self.lenenc()?;
        self.take(usize::try_from(n).map_err(|_| Fault::Truncated)?)
    }

    /// An unsigned integer of MySQL's serialization library: as many low one bits as further bytes follow.
    pub fn varlen(&mut self) -> Result<u64, Fault> {
        let first = self.u8()?;
        let more = first.trailing_ones() as usize;
        if more == 8 {
            return self.u64();
        }
        let high = self.uint_le(more)?;
        // The first byte keeps 7 - `more` bits behind its ones and the zero that ends them.
        Ok(u64::from(first) >> (more + 1) | high << (7 - more))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_past_the_end_leaves_the_cursor() {
        let mut c = Cursor(&[1, 2, 3]);
        assert_eq!(c.u32(), Err(Fault::Truncated));
        assert_eq!(c.take(4), Err(Fault::Truncated));
        assert_eq!(c.u16(), Ok(0x0201));
        assert_eq!(c.rest(), [3]);
    }

    #[test]
    fn lengths_have_four_widths() {
        let read = |bytes: &[u8]| Cursor(bytes).lenenc();
        assert_eq!(read(&[250]), Ok(250));
        assert_eq!(read(&[0xfc, 1, 2]), Ok(0x0201));
        assert_eq!(read(&[0xfd, 1, 2, 3]), Ok(0x03_0201));
        assert_eq!(read(&[0xfe, 1, 0, 0, 0, 0, 0, 0, 1]), Ok(1 << 56 | 1));
        assert_eq!(read(&[0xff]), Err(Fault::Malformed("a length has an unknown marker")));
        assert_eq!(Cursor(&[3, 1]).lenenc_bytes(), Err(Fault::Truncated));
    }

    #[test]
    fn serialized_integers_have_nine_widths() {
        let read = |bytes: &[u8]| Cursor(bytes).varlen();
        assert_eq!(read(&[0b0000_0110]), Ok(3));
        assert_eq!(read(&[0b1111_1110]), Ok(127));
        assert_eq!(read(&[0b0000_0001, 2]), Ok(128));
        assert_eq!(read(&[0b0111_1111, 1, 0, 0, 0, 0, 0, 0]), Ok(1));
        assert_eq!(read(&[0xff, 1, 0, 0, 0, 0, 0, 0, 0x80]), Ok(1 << 63 | 1));
        assert_eq!(read(&[0b0000_0001]), Err(Fault::Truncated));
    }
}
