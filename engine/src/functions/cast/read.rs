//! Values as text.
//!
//! Every reader trims blanks and says in a few words what is wrong.

use crate::functions::decimal::power;

/// Why text is not a value.
pub(super) type Why = &'static str;

const NOT_A_NUMBER: Why = "it is not a number";
const TOO_LARGE: Why = "it is out of the type's range";

/// A whole number; a fraction is cut. No exponent.
pub(super) fn whole(text: &str) -> Result<i64, Why> {
    let text = text.trim();
    let (negative, digits) = match text.as_bytes().first() {
        None => return Err("it is empty"),
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        Some(_) => (false, text),
    };
    let (integer, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digit = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if (integer.is_empty() && fraction.is_empty()) || !digit(integer) || !digit(fraction) {
        return Err(NOT_A_NUMBER);
    }
    let mut value = 0i64;
    // Negative numbers reach one further, so that is the direction to add up in.
    for b in integer.bytes() {
        let next = value.checked_mul(10).and_then(|v| v.checked_sub(i64::from(b - b'0')));
        value = next.ok_or(TOO_LARGE)?;
    }
    if negative { Ok(value) } else { value.checked_neg().ok_or(TOO_LARGE) }
}

/// A whole number of `bits` bits.
pub(super) fn whole_within(text: &str, bits: u32) -> Result<i64, Why> {
    let value = whole(text)?;
    let limit = 1i128 << (bits - 1);
    if (-limit..limit).contains(&i128::from(value)) { Ok(value) } else { Err(TOO_LARGE) }
}

/// A float, as Java reads it.
pub(super) fn float(text: &str) -> Result<f64, Why> {
    let text = text.trim();
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    if body != "NaN" && body != "Infinity" && !body.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(NOT_A_NUMBER);
    }
    text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text).parse().map_err(|_| NOT_A_NUMBER)
}

/// A decimal of this precision and scale, rounded half up; `None` when it does not fit.
pub(super) fn decimal(text: &str, precision: u8, scale: u8) -> Result<Option<i128>, Why> {
    let text = text.trim();
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((m, e)) => (m, e.parse::<i32>().map_err(|_| NOT_A_NUMBER)?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.as_bytes().first() {
        None => return Err("it is empty"),
        Some(b'-') => (true, &mantissa[1..]),
        Some(b'+') => (false, &mantissa[1..]),
        Some(_) => (false, mantissa),
    };
    let (integer, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if integer.is_empty() && fraction.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(NOT_A_NUMBER);
    }
    if fraction.contains('.') {
        return Err(NOT_A_NUMBER);
    }
    // Digits before the last one that is kept; one more decides about rounding.
    let kept = i64::from(exponent) + integer.len() as i64 + i64::from(scale);
    let mut value = 0i128;
    let all = integer.bytes().chain(fraction.bytes()).map(|b| i128::from(b - b'0'));
    let mut given = 0i64;
    let mut up = false;
    for digit in all {
        if given < kept {
            match value.checked_mul(10).and_then(|v| v.checked_add(digit)) {
                Some(v) => value = v,
                None => return Ok(None),
            }
        } else if given == kept {
            up = digit >= 5;
        }
        given += 1;
    }
    if kept > given && value != 0 {
        let zeros = usize::try_from(kept - given).ok().filter(|z| *z <= 38);
        match zeros.and_then(|z| value.checked_mul(power(z))) {
            Some(v) => value = v,
            None => return Ok(None),
        }
    }
    value += i128::from(up);
    Ok((value < power(usize::from(precision))).then_some(if negative { -value } else { value }))
}

/// `true`, `t`, `yes`, `y`, `1` and their opposites, in any case.
pub(super) fn boolean(text: &str) -> Result<bool, Why> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "1" => Ok(true),
        "false" | "f" | "no" | "n" | "0" => Ok(false),
        _ => Err("it is neither true nor false"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_cut_fractions_and_end_at_64_bits() {
        assert_eq!([" 42 ", "42.7", "-7.9", "+5", "5."].map(|t| whole(t).unwrap()), [42, 42, -7, 5, 5]);
        assert_eq!(whole("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(whole("9223372036854775808"), Err(TOO_LARGE));
        assert_eq!(whole_within("128", 8), Err(TOO_LARGE));
        for bad in ["", "-", ".", "1e3", "12abc", "0x10", "1 2", "1.2.3"] {
            assert!(whole(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn decimals_round_half_up_and_overflow_to_null() {
        let read = |t: &str| decimal(t, 5, 2);
        assert_eq!(
            ["1", "1.995", "-1.995", "1e2", ".5", "12.3e-1"].map(|t| read(t).unwrap()),
            [Some(100), Some(200), Some(-200), Some(10_000), Some(50), Some(123)]
        );
        assert_eq!(read("12345.678"), Ok(None));
        assert_eq!(read("999.995"), Ok(None), "rounded up, it has a digit too many");
        assert_eq!(read("1e999"), Ok(None));
        assert_eq!(read("1e-999"), Ok(Some(0)));
        assert_eq!(decimal("0.0049", 5, 2), Ok(Some(0)));
        assert_eq!(decimal("0.05e-1", 5, 2), Ok(Some(1)));
        for bad in ["", "a", "1.2.3", "1e", "e5", "--1"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn floats_are_javas() {
        assert_eq!(float("1e3"), Ok(1000.0));
        assert_eq!(float("-Infinity"), Ok(f64::NEG_INFINITY));
        assert!(float("NaN").unwrap().is_nan());
        assert!(float("inf").is_err() && float("nan").is_err() && float("").is_err());
    }
}
