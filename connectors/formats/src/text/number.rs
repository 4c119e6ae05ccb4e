//! Numbers as text.
//!
//! Short numbers, which nearly all are, take one pass and no allocation; what does not fit a word goes through the
//! general parsers and writers. Both give the same result.

use super::clip;

/// Reads a whole number, also one written with a zero fraction or an exponent (`1.0`, `1e3`).
pub(crate) fn int(text: &str) -> Option<i64> {
    match int_digits(text.as_bytes()) {
        Some(v) => Some(v),
        None if text.bytes().any(|b| matches!(b, b'.' | b'e' | b'E')) => {
            let (negative, digits, exponent) = decimal_parts(text)?;
            let v = scaled(negative, digits, exponent, 0, true)?;
            i64::try_from(v).ok()
        }
        None => None,
    }
}

fn int_digits(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, bytes),
    };
    if digits.is_empty() || (digits.len() > 19 && digits.len() > 19 + leading_zeros(digits)) {
        return None;
    }
    let mut v: u64 = 0;
    if digits.len() <= 18 {
        // Cannot overflow.
        for d in digits {
            let d = d.wrapping_sub(b'0');
            if d > 9 {
                return None;
            }
            v = v * 10 + u64::from(d);
        }
        return Some(if negative { -(v as i64) } else { v as i64 });
    }
    for d in digits {
        let d = d.wrapping_sub(b'0');
        if d > 9 {
            return None;
        }
        v = v.checked_mul(10)?.checked_add(u64::from(d))?;
    }
    if negative { 0i64.checked_sub_unsigned(v) } else { i64::try_from(v).ok() }
}

fn leading_zeros(digits: &[u8]) -> usize {
    digits.iter().take_while(|d| **d == b'0').count()
}

/// Reads a floating-point number, correctly rounded.
pub(crate) fn float(text: &str) -> Option<f64> {
    // A negative zero keeps its sign only in the general parser.
    if let Some((mantissa @ (..=-1 | 1..), fraction)) = short_decimal(text.as_bytes())
        && let Some(v) = float_of(mantissa, fraction)
    {
        return Some(v);
    }
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" | "+Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        // Rust's parser also takes "inf" and "nan", which are not numbers in any of our formats.
        _ if text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E')) => text.parse().ok(),
        _ => None,
    }
}

const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// A number of at most 17 digits without exponent: its digits as one number, and how many of them are behind the dot.
#[inline]
fn short_decimal(bytes: &[u8]) -> Option<(i64, usize)> {
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, bytes),
    };
    if digits.len() > 17 {
        return None;
    }
    let (mut mantissa, mut fraction, mut dot, mut any) = (0i64, 0usize, false, false);
    for d in digits {
        match d.wrapping_sub(b'0') {
            v @ 0..=9 => {
                mantissa = mantissa * 10 + i64::from(v);
                fraction += usize::from(dot);
                any = true;
            }
            _ if *d == b'.' && !dot && any => dot = true,
            _ => return None,
        }
    }
    (any && !(dot && fraction == 0)).then_some((if negative { -mantissa } else { mantissa }, fraction))
}

const WHOLE_POWERS: [i128; 39] = {
    let mut powers = [1i128; 39];
    let mut i = 1;
    while i < 39 {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// Digits with `fraction` of them behind the dot as `DECIMAL(precision, scale)`, when nothing must be rounded.
#[inline]
pub(crate) fn decimal_of(mantissa: i64, fraction: usize, precision: u8, scale: u8) -> Option<i128> {
    let shift = usize::from(scale).checked_sub(fraction)?;
    let v = i128::from(mantissa).checked_mul(*WHOLE_POWERS.get(shift)?)?;
    (v.unsigned_abs() < WHOLE_POWERS.get(usize::from(precision))?.unsigned_abs()).then_some(v)
}

/// Digits with `fraction` of them behind the dot as a correctly rounded floating-point number: Clinger's fast path, a
/// mantissa below 2^53 divided by an exact power of ten. `None` needs the general parser.
#[inline]
pub(crate) fn float_of(mantissa: i64, fraction: usize) -> Option<f64> {
    (mantissa.unsigned_abs() < 1 << 53).then(|| mantissa as f64 / POWERS[fraction])
}

/// Reads `DECIMAL(precision, scale)` as its unscaled value.
pub(crate) fn decimal(text: &str, precision: u8, scale: u8) -> Result<i128, String> {
    if let Some((mantissa, fraction)) = short_decimal(text.as_bytes())
        && let Some(v) = decimal_of(mantissa, fraction, precision, scale)
    {
        return Ok(v);
    }
    let (negative, digits, exponent) =
        decimal_parts(text).ok_or_else(|| format!("`{}` is not a number", clip(text)))?;
    let limit = 10i128.checked_pow(u32::from(precision)).unwrap_or(i128::MAX);
    scaled(negative, digits, exponent, i64::from(scale), false)
        .filter(|v| v.unsigned_abs() < limit.unsigned_abs())
        .ok_or_else(|| format!("`{}` does not fit DECIMAL({precision}, {scale})", clip(text)))
}

/// Sign, digits (with their dot) and the power of ten they are multiplied with.
fn decimal_parts(text: &str) -> Option<(bool, &str, i64)> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (digits, exponent) = match rest.find(['e', 'E']) {
        Some(i) => (&rest[..i], rest[i + 1..].parse::<i32>().ok()?),
        None => (rest, 0),
    };
    let valid = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && digits.bytes().filter(|b| *b == b'.').count() <= 1
        && digits.bytes().any(|b| b.is_ascii_digit());
    valid.then_some((negative, digits, i64::from(exponent)))
}

/// `digits * 10^(exponent + scale)` as a whole number; a fraction rounds half up, or is refused with `exact`.
fn scaled(negative: bool, digits: &str, exponent: i64, scale: i64, exact: bool) -> Option<i128> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    // The position behind the last digit that counts, seen from the first digit.
    let keep = whole.len() as i64 + exponent + scale;
    let (mut v, mut seen) = (0i128, 0i64);
    let mut all = whole.bytes().chain(fraction.bytes());
    for d in all.by_ref().take(usize::try_from(keep.max(0)).unwrap_or(0)) {
        v = v.checked_mul(10)?.checked_add(i128::from(d - b'0'))?;
        seen += 1;
    }
    let next = if keep >= 0 { all.next() } else { None };
    let rest = all.any(|d| d != b'0')
        || next.is_some_and(|d| d != b'0')
        || (keep < 0 && digits.bytes().any(|d| d.is_ascii_digit() && d != b'0'));
    if rest && exact {
        return None;
    }
    if v != 0 {
        for _ in seen..keep {
            v = v.checked_mul(10)?;
        }
    }
    if next.is_some_and(|d| d >= b'5') {
        v = v.checked_add(1)?;
    }
    Some(if negative { -v } else { v })
}

pub(super) const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
2021222324252627282930313233343536373839\
4041424344454647484950515253545556575859\
6061626364656667686970717273747576777879\
8081828384858687888990919293949596979899";

/// Appends a whole number.
pub(crate) fn write_int(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    write_unsigned(out, value.unsigned_abs());
}

fn write_unsigned(out: &mut Vec<u8>, mut v: u64) {
    let mut buffer = [0u8; 20];
    let mut at = buffer.len();
    while v >= 100 {
        let pair = (v % 100) as usize * 2;
        v /= 100;
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if v >= 10 {
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&PAIRS[v as usize * 2..v as usize * 2 + 2]);
    } else {
        at -= 1;
        buffer[at] = b'0' + v as u8;
    }
    out.extend_from_slice(&buffer[at..]);
}

/// Appends the shortest text that reads back as the same number; `NaN`, `Infinity` and `-Infinity` by name.
pub(crate) fn write_double(out: &mut Vec<u8>, v: f64) {
    if let Some((mantissa, fraction)) = short_form(v) {
        if v < 0.0 {
            out.push(b'-');
        }
        write_digits(out, mantissa, fraction);
    } else if v.is_finite() {
        push_fmt(out, format_args!("{v:?}"));
    } else {
        out.extend_from_slice(not_finite(v).as_bytes());
    }
}

/// A number with at most four digits behind the dot as its digits and how many of them are behind the dot (at least one).
///
/// A decimal of at most 15 digits that reads back as `v` is the shortest one: two such decimals are never the same
/// double.
#[inline]
fn short_form(v: f64) -> Option<(u64, usize)> {
    let scaled = v.abs() * 1e4;
    if !(1.0..1e15).contains(&scaled) {
        return None;
    }
    let mut mantissa = scaled.round() as u64;
    if mantissa as f64 / 1e4 != v.abs() {
        return None;
    }
    let mut fraction = 4;
    while fraction > 1 && mantissa.is_multiple_of(10) {
        mantissa /= 10;
        fraction -= 1;
    }
    Some((mantissa, fraction))
}

/// Appends digits with a dot before the last `fraction` of them.
#[inline]
fn write_digits(out: &mut Vec<u8>, mantissa: u64, fraction: usize) {
    let mut buffer = [b'0'; 40];
    let mut at = buffer.len();
    let (mut rest, mut left) = (mantissa, fraction);
    while left > 0 {
        at -= 1;
        buffer[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        left -= 1;
    }
    if fraction > 0 {
        at -= 1;
        buffer[at] = b'.';
    }
    write_unsigned(out, rest);
    out.extend_from_slice(&buffer[at..]);
}

/// [`write_double`] in single precision.
pub(crate) fn write_float(out: &mut Vec<u8>, v: f32) {
    if v.is_finite() {
        push_fmt(out, format_args!("{v:?}"));
    } else {
        out.extend_from_slice(not_finite(f64::from(v)).as_bytes());
    }
}

fn not_finite(v: f64) -> &'static str {
    match (v.is_nan(), v > 0.0) {
        (true, _) => "NaN",
        (_, true) => "Infinity",
        _ => "-Infinity",
    }
}

pub(super) fn push_fmt(out: &mut Vec<u8>, args: std::fmt::Arguments<'_>) {
    use std::io::Write;
    out.write_fmt(args).expect("writing to a Vec does not fail");
}

/// Appends a decimal; without `plain` very small numbers get an exponent, as Java's `BigDecimal.toString` does.
pub(crate) fn write_decimal(out: &mut Vec<u8>, unscaled: i128, scale: u8, plain: bool) {
    if unscaled < 0 {
        out.push(b'-');
    }
    let scale = usize::from(scale);
    // One digit before the dot rules scientific notation out.
    if let Ok(mantissa) = u64::try_from(unscaled.unsigned_abs())
        && scale <= 19
        && (plain || scale <= 6 || i128::from(mantissa) >= WHOLE_POWERS[scale])
    {
        return write_digits(out, mantissa, scale);
    }
    let digits = unscaled.unsigned_abs().to_string();
    // The exponent of the first digit; Java switches to scientific notation below -6.
    let adjusted = digits.len() as i64 - 1 - scale as i64;
    if scale == 0 {
        out.extend_from_slice(digits.as_bytes());
    } else if plain || adjusted >= -6 {
        if digits.len() > scale {
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            out.extend_from_slice(whole.as_bytes());
            out.push(b'.');
            out.extend_from_slice(fraction.as_bytes());
        } else {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + scale - digits.len(), b'0');
            out.extend_from_slice(digits.as_bytes());
        }
    } else {
        let (first, rest) = digits.split_at(1);
        out.extend_from_slice(first.as_bytes());
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest.as_bytes());
        }
        push_fmt(out, format_args!("E{adjusted}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::written;

    #[test]
    fn whole_numbers_read_at_their_limits_and_not_beyond() {
        for (text, v) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("00000000000000000000017", Some(17)),
            ("1.0", Some(1)),
            ("1e3", Some(1000)),
            ("1.50e1", Some(15)),
            ("1.5", None),
            ("1e-1", None),
            ("0.00", Some(0)),
            ("1e999999999", None),
            ("0e999999999", Some(0)),
            ("", None),
            ("-", None),
            ("1x", None),
            (".", None),
            ("e", None),
        ] {
            assert_eq!(int(text), v, "{text}");
        }
        for v in [0, 7, 10, 99, 100, 12345, -1, i64::MIN, i64::MAX] {
            assert_eq!(written(|o| write_int(o, v)), v.to_string());
        }
    }

    #[test]
    fn floats_equal_the_exact_parser() {
        for text in
            ["0.1", "-17.25", "123456789.123456", "1e300", "0.30000000000000004", "5", "-0.0", "9007199254740993"]
        {
            assert_eq!(float(text).map(f64::to_bits), Some(text.parse::<f64>().unwrap().to_bits()), "{text}");
        }
        assert_eq!((float("inf"), float("nan"), float("."), float("1.2.3"), float("")), (None, None, None, None, None));
        assert!(float("NaN").unwrap().is_nan());
        for v in [
            1e21,
            0.1,
            -17.25,
            100.0,
            0.0001,
            0.00011,
            123456.7891,
            99999999999.9999,
            0.30000000000000004,
            -0.0,
            1e10,
            5e-324,
            1.0 / 3.0,
        ] {
            let text = written(|o| write_double(o, v));
            assert_eq!(text, format!("{v:?}"));
            assert_eq!(float(&text).map(f64::to_bits), Some(v.to_bits()));
        }
    }

    #[test]
    fn decimals_are_exact_round_half_up_and_never_overflow_silently() {
        for (text, p, s, v) in [
            ("17.5", 10, 2, Some(1750)),
            ("-0.005", 10, 2, Some(-1)),
            ("0.004", 10, 2, Some(0)),
            ("0.0049", 10, 2, Some(0)),
            ("1e2", 10, 2, Some(10_000)),
            ("15e-1", 10, 0, Some(2)),
            ("0.5e-1", 10, 0, Some(0)),
            ("99999999.99", 10, 2, Some(9_999_999_999)),
            ("99999999.995", 10, 2, None),
            ("100000000", 10, 2, None),
            ("0.1e", 10, 2, None),
            ("-12.345", 10, 2, Some(-1235)),
            ("12345678901234567", 38, 20, Some(12_345_678_901_234_567 * 10i128.pow(20))),
            ("1.", 10, 2, Some(100)),
            (".5", 10, 2, Some(50)),
            ("99999999999999999999999999999999999999", 38, 0, Some(10i128.pow(38) - 1)),
            ("1e-2147483648", 10, 2, Some(0)),
            ("1e2147483647", 10, 2, None),
        ] {
            assert_eq!(decimal(text, p, s).ok(), v, "{text}");
        }
    }

    #[test]
    fn decimals_print_as_javas_big_decimal() {
        for (v, s, text, plain) in [
            (27, 9, "2.7E-8", "0.000000027"),
            (0, 10, "0E-10", "0.0000000000"),
            (-1750, 2, "-17.50", "-17.50"),
            (5, 1, "0.5", "0.5"),
            (12, 0, "12", "12"),
            (1, 6, "0.000001", "0.000001"),
            (1, 7, "1E-7", "0.0000001"),
            (12_345_678, 7, "1.2345678", "1.2345678"),
            (1_234_567, 7, "0.1234567", "0.1234567"),
            (i128::from(u64::MAX) + 1, 20, "0.18446744073709551616", "0.18446744073709551616"),
        ] {
            assert_eq!(written(|o| write_decimal(o, v, s, false)), text);
            assert_eq!(written(|o| write_decimal(o, v, s, true)), plain);
        }
    }
}
