//! DECIMAL: nine digits in four bytes, the highest first.
//!
//! ```text
//! DECIMAL(14,4)  1234567890.1234  ->  81 | 0D FB 38 D2 | 04 D2      1 digit, 9 digits . 4 digits
//! ```
//! The first bit is set for numbers that are not negative; negative ones have all bits inverted.

use super::super::bytes::{Cursor, Fault};

/// Bytes of fewer than nine digits.
const BYTES: [u8; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
const POWERS: [u32; 10] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];
/// Digits an i128 holds whatever they are.
pub(super) const DIGITS_I128: u8 = 38;
const BAD: Fault = Fault::Malformed("a DECIMAL has digits above 9");

/// The groups of digits of a precision and scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Digits in the first group of the integer part, below nine; then whole groups.
    head: u8,
    whole: u8,
    fraction: u8,
    /// Digits in the last group of the fraction, below nine.
    tail: u8,
    bytes: u8,
    /// Digits behind the point.
    pub scale: u8,
}

impl Layout {
    /// Of `DECIMAL(precision, scale)`.
    pub fn new(precision: u8, scale: u8) -> Result<Self, Fault> {
        let integer = precision.checked_sub(scale).filter(|_| precision <= 65);
        let integer = integer.ok_or(Fault::Malformed("a DECIMAL has an impossible precision"))?;
        let (head, whole, fraction, tail) = (integer % 9, integer / 9, scale / 9, scale % 9);
        let bytes = BYTES[usize::from(head)] + 4 * whole + 4 * fraction + BYTES[usize::from(tail)];
        Ok(Self { head, whole, fraction, tail, bytes, scale })
    }

    /// Bytes of a value.
    pub fn bytes(&self) -> usize {
        usize::from(self.bytes)
    }

    /// The number without its point; for 38 digits at most.
    #[inline]
    pub fn unscaled(&self, bytes: &[u8]) -> Result<i128, Fault> {
        let mut value: i128 = 0;
        let negative = self.groups(bytes, |digits, group| {
            value = value * i128::from(POWERS[usize::from(digits)]) + i128::from(group);
        })?;
        Ok(if negative { -value } else { value })
    }

    /// The number as text, of any precision: `-12.30`.
    pub fn write(&self, bytes: &[u8], out: &mut String) -> Result<(), Fault> {
        let mut digits = String::with_capacity(66);
        let negative = self.groups(bytes, |n, group| {
            if n > 0 {
                let text = format!("{group:0width$}", width = usize::from(n));
                digits.push_str(&text);
            }
        })?;
        let (integer, fraction) = digits.split_at(digits.len() - usize::from(self.scale));
        let integer = integer.trim_start_matches('0');
        if negative {
            out.push('-');
        }
        out.push_str(if integer.is_empty() { "0" } else { integer });
        if !fraction.is_empty() {
            out.push('.');
            out.push_str(fraction);
        }
        Ok(())
    }

    /// Calls `each` with every group and how many digits it has; answers whether the number is negative.
    #[inline]
    fn groups(&self, bytes: &[u8], mut each: impl FnMut(u8, u32)) -> Result<bool, Fault> {
        let first = *bytes.first().ok_or(Fault::Truncated)?;
        let negative = first & 0x80 == 0;
        let mask: u32 = if negative { u32::MAX } else { 0 };
        let mut c = Cursor(bytes);
        let mut sign: u32 = 0x80;
        let mut group = |digits: u8| -> Result<(), Fault> {
            let n = usize::from(BYTES[usize::from(digits)]);
            if n == 0 {
                return Ok(());
            }
            let raw = c.uint_be(n)? as u32 ^ (mask >> (32 - 8 * n)) ^ sign << (8 * (n - 1));
            sign = 0;
            if raw >= POWERS[usize::from(digits)] {
                return Err(BAD);
            }
            each(digits, raw);
            Ok(())
        };
        group(self.head)?;
        for _ in 0..self.whole + self.fraction {
            group(9)?;
        }
        group(self.tail)?;
        Ok(negative)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manuals_example_reads() {
        // From the server's source, strings/decimal.cc.
        let layout = Layout::new(14, 4).unwrap();
        let positive = [0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2];
        let negative = positive.map(|b| !b);
        assert_eq!(layout.bytes(), 7);
        assert_eq!(layout.unscaled(&positive), Ok(12_345_678_901_234));
        assert_eq!(layout.unscaled(&negative), Ok(-12_345_678_901_234));
        let mut text = String::new();
        layout.write(&negative, &mut text).unwrap();
        assert_eq!(text, "-1234567890.1234");
    }

    #[test]
    fn fraction_alone_has_a_zero_before_its_point() {
        let layout = Layout::new(2, 2).unwrap();
        let mut text = String::new();
        layout.write(&[0x80 | 7], &mut text).unwrap();
        assert_eq!((text.as_str(), layout.unscaled(&[0x80 | 7])), ("0.07", Ok(7)));
    }

    #[test]
    fn impossible_digits_are_refused() {
        let layout = Layout::new(9, 0).unwrap();
        assert_eq!(layout.unscaled(&(0x8000_0000u32 | 1_000_000_000).to_be_bytes()), Err(BAD));
        assert_eq!(layout.unscaled(&[]), Err(Fault::Truncated));
        assert!(Layout::new(2, 3).is_err() && Layout::new(66, 0).is_err());
    }
}
