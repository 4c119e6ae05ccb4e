//! Dates and times as text.
//!
//! Dates are days since 1970-01-01 in the proleptic Gregorian calendar.

use arrow::datatypes::TimeUnit;
use dflow_common::types::unit_of;

use super::number::{PAIRS, push_fmt};

const MS_PER_DAY: i64 = 86_400_000;

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

/// The two digits of a number below 100.
#[inline]
fn two(v: u32) -> [u8; 2] {
    let at = (v % 100) as usize * 2;
    [PAIRS[at], PAIRS[at + 1]]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::written;

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
}
