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

use arrow::datatypes::TimeUnit;
use dflow_common::types::unit_of;

const MS_PER_DAY: i64 = 86_400_000;

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

/// A number of two digits, or 255.
#[inline]
fn pair(tens: u8, ones: u8) -> u32 {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    if tens > 9 || ones > 9 { 255 } else { u32::from(tens) * 10 + u32::from(ones) }
}

/// Days since 1970 of `yyyy-MM-dd`.
pub(crate) fn date(text: &str) -> Option<i32> {
    i32::try_from(date_at(text.as_bytes().try_into().ok()?)?).ok()
}

#[inline]
fn date_at(b: &[u8; 10]) -> Option<i64> {
    let (century, year, month, day) = (pair(b[0], b[1]), pair(b[2], b[3]), pair(b[5], b[6]), pair(b[8], b[9]));
    if century > 99 || year > 99 || b[4] != b'-' || b[7] != b'-' {
        return None;
    }
    let year = i64::from(century * 100 + year);
    if !(1..=12).contains(&month) || day == 0 || (day > 28 && day > days_in_month(year, month)) {
        return None;
    }
    Some(days_from_civil(year, month, day))
}

fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// # Source
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y - era * 400;
    let shifted = i64::from((month + 9) % 12);
    let doy = (153 * shifted + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z - era * 146_097;
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = (doy - (153 * mp + 2) / 5 + 1) as u32;
    let month = if mp < 10 { mp + 3 } else { mp - 9 } as u32;
    (yoe + era * 400 + i64::from(month <= 2), month, day)
}

/// A time of day as text.
struct Clock {
    seconds: i64,
    nanos: i64,
    /// Digits of the fraction.
    digits: usize,
    /// Bytes it took.
    used: usize,
}

/// `HH:mm[:ss[.fffffffff]]` at the front of `b`.
#[inline]
fn time_at(b: &[u8]) -> Option<Clock> {
    let head = b.first_chunk::<5>()?;
    let (hour, minute) = (pair(head[0], head[1]), pair(head[3], head[4]));
    if hour > 23 || minute > 59 || head[2] != b':' {
        return None;
    }
    let mut clock = Clock { seconds: i64::from(hour * 3600 + minute * 60), nanos: 0, digits: 0, used: 5 };
    let Some([b':', tens, ones]) = b[5..].first_chunk::<3>() else {
        return (b.get(5) != Some(&b':')).then_some(clock);
    };
    let second = pair(*tens, *ones);
    if second > 59 {
        return None;
    }
    clock.seconds += i64::from(second);
    clock.used = 8;
    if b.get(8) == Some(&b'.') {
        for d in &b[9..] {
            let d = d.wrapping_sub(b'0');
            if d > 9 {
                break;
            }
            clock.nanos = clock.nanos * 10 + i64::from(d);
            clock.digits += 1;
            if clock.digits > 9 {
                return None;
            }
        }
        clock.nanos *= UNITS[9 - clock.digits];
        clock.used = 9 + clock.digits;
    }
    Some(clock)
}

/// 10^0 to 10^9.
const UNITS: [i64; 10] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

/// Milliseconds of the day.
pub(crate) fn time(text: &str) -> Option<i32> {
    let b = text.as_bytes();
    let clock = time_at(b)?;
    (clock.used == b.len()).then(|| (clock.seconds * 1_000 + clock.nanos / 1_000_000) as i32)
}

/// A timestamp in the unit of `TIMESTAMP(precision)`, digits beyond the precision cut. `separator` stands between
/// date and time. With `zoned`, a `Z` or an offset must follow and the result is UTC.
pub(crate) fn timestamp(text: &str, separator: u8, precision: u8, zoned: bool) -> Option<i64> {
    let b = text.as_bytes();
    let days = date_at(b.first_chunk::<10>()?)?;
    if b.get(10) != Some(&separator) {
        return None;
    }
    let clock = time_at(&b[11..])?;
    let mut seconds = days * 86_400 + clock.seconds;
    match (&b[11 + clock.used..], zoned) {
        ([], false) | ([b'Z'], true) => {}
        (offset, true) => seconds -= offset_seconds(offset)?,
        _ => return None,
    }
    let precision_digits = usize::from(precision.min(9));
    let mut nanos = clock.nanos;
    if clock.digits > precision_digits {
        nanos -= nanos % UNITS[9 - precision_digits];
    }
    match unit_of(precision) {
        TimeUnit::Nanosecond => seconds.checked_mul(1_000_000_000)?.checked_add(nanos),
        TimeUnit::Microsecond => Some(seconds * 1_000_000 + nanos / 1_000),
        _ => Some(seconds * 1_000 + nanos / 1_000_000),
    }
}

/// `+02`, `+0200` or `+02:00`, at most 18 hours as ISO-8601 libraries take.
fn offset_seconds(text: &[u8]) -> Option<i64> {
    let (hours, minutes) = match text {
        [_, a, b] => (pair(*a, *b), 0),
        [_, a, b, c, d] | [_, a, b, b':', c, d] => (pair(*a, *b), pair(*c, *d)),
        _ => return None,
    };
    if minutes > 59 || hours * 60 + minutes > 18 * 60 {
        return None;
    }
    let seconds = i64::from(hours * 3_600 + minutes * 60);
    match text.first() {
        Some(b'+') => Some(seconds),
        Some(b'-') => Some(-seconds),
        _ => None,
    }
}

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

const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
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

/// The two digits of a number below 100.
#[inline]
fn two(v: u32) -> [u8; 2] {
    let at = (v % 100) as usize * 2;
    [PAIRS[at], PAIRS[at + 1]]
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

fn push_fmt(out: &mut Vec<u8>, args: std::fmt::Arguments<'_>) {
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

/// Appends `yyyy-MM-dd`.
pub(crate) fn write_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil_from_days(days);
    let ([m, n], [d, e]) = (two(month), two(day));
    match u32::try_from(year) {
        Ok(y) if y <= 9999 => {
            let ([a, b], [c, f]) = (two(y / 100), two(y % 100));
            out.extend_from_slice(&[a, b, c, f, b'-', m, n, b'-', d, e]);
        }
        _ => {
            // Java prints a sign in front of years that need more than four digits.
            push_fmt(out, format_args!("{year:+05}"));
            out.extend_from_slice(&[b'-', m, n, b'-', d, e]);
        }
    }
}

/// Appends `HH:mm:ss` and, when not zero, the fraction without trailing zeros.
fn write_time_of_day(out: &mut Vec<u8>, seconds: u32, nanos: u32) {
    let ([a, b], [c, d], [e, f]) = (two(seconds / 3_600), two(seconds / 60 % 60), two(seconds % 60));
    out.extend_from_slice(&[a, b, b':', c, d, b':', e, f]);
    if nanos > 0 {
        let mut buffer = *b".000000000";
        let mut rest = nanos;
        for digit in buffer[1..].iter_mut().rev() {
            *digit += (rest % 10) as u8;
            rest /= 10;
        }
        let end = buffer.iter().rposition(|d| *d != b'0').map_or(0, |i| i + 1);
        out.extend_from_slice(&buffer[..end]);
    }
}

/// Appends a time of day given in milliseconds.
pub(crate) fn write_time(out: &mut Vec<u8>, ms: i32) {
    let ms = i64::from(ms).rem_euclid(MS_PER_DAY);
    write_time_of_day(out, (ms / 1_000) as u32, (ms % 1_000) as u32 * 1_000_000);
}

/// Appends a timestamp of the given unit; `zoned` adds the `Z`.
pub(crate) fn write_timestamp(out: &mut Vec<u8>, value: i64, unit: TimeUnit, separator: u8, zoned: bool) {
    let per_second = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let (seconds, fraction) = (value.div_euclid(per_second), value.rem_euclid(per_second));
    write_date(out, seconds.div_euclid(86_400));
    out.push(separator);
    write_time_of_day(out, seconds.rem_euclid(86_400) as u32, (fraction * (1_000_000_000 / per_second)) as u32);
    if zoned {
        out.push(b'Z');
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
mod tests {
    use super::*;

    fn written(f: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        f(&mut out);
        String::from_utf8(out).unwrap()
    }

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

    #[test]
    fn dates_and_times_survive_the_way_to_text_and_back() {
        for days in [-719_162, -1, 0, 1, 11_016, 19_724, 2_932_896] {
            let text = written(|o| write_date(o, days));
            assert_eq!(date(&text), Some(days as i32), "{text}");
        }
        for text in
            ["2024-02-30", "2023-02-29", "2024-13-01", "2024-1-02", "24-01-02", "2024-01-02 ", "", "２０２４-01-02"]
        {
            assert_eq!(date(text), None, "{text}");
        }
        for ms in [0, 1, 43_200_000, 86_399_999] {
            assert_eq!(time(&written(|o| write_time(o, ms))), Some(ms));
        }
        assert_eq!((time("24:00:00"), time("12:60:00"), time("12:00:00.1234567890")), (None, None, None));
    }

    #[test]
    fn timestamps_follow_their_standard_and_precision() {
        let ms = 1_704_164_645_678;
        assert_eq!(timestamp("2024-01-02 03:04:05.678", b' ', 3, false), Some(ms));
        assert_eq!(timestamp("2024-01-02T03:04:05.678", b' ', 3, false), None);
        assert_eq!(timestamp("2024-01-02T03:04:05.678", b'T', 6, false), Some(ms * 1000));
        assert_eq!(timestamp("2024-01-02T03:04:05.678Z", b'T', 3, true), Some(ms));
        assert_eq!(timestamp("2024-01-02T05:04:05.678+02:00", b'T', 3, true), Some(ms));
        assert_eq!(timestamp("2024-01-01T21:34:05.678-0530", b'T', 3, true), Some(ms));
        for bad in ["", "+2", "+02:60", "+0x:00", "+19:00", "+02:00x", "z", "*02:00"] {
            assert_eq!(timestamp(&format!("2024-01-02T03:04:05.678{bad}"), b'T', 3, true), None, "{bad}");
        }
        assert_eq!(timestamp("2024-01-02 03:04", b' ', 3, false), Some(ms - 5_678));
        for bad in [
            "2024-01-02 03:04:",
            "2024-01-02 03:04:5",
            "2024-01-02 03:04:05.1234567891",
            "2024-01-02 03",
            "2024-01-02 ",
        ] {
            assert_eq!(timestamp(bad, b' ', 3, false), None, "{bad}");
        }
        assert_eq!(timestamp("2024-01-02 03:04:05.678", b' ', 0, false), Some(ms - 678));
        assert_eq!(timestamp("9999-12-31 00:00:00", b' ', 9, false), None, "beyond what nanoseconds can hold");
        assert_eq!(written(|o| write_timestamp(o, ms, TimeUnit::Millisecond, b' ', false)), "2024-01-02 03:04:05.678");
        assert_eq!(
            written(|o| write_timestamp(o, -1, TimeUnit::Microsecond, b'T', true)),
            "1969-12-31T23:59:59.999999Z"
        );
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
