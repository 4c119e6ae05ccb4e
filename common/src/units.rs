//! Durations and memory sizes, written as Flink writes them.
//!
//! Duration: integer and unit (`ms s min m h d` and long names, space optional); a bare number is
//! milliseconds; ISO `PT10S` too. Size: `b k kb m mb g gb t tb`; a bare number is bytes.
//! `1 h 30 min`, `1w` and `1.5h` are refused, as by Flink 2.3.

use std::time::Duration;

/// Reads a duration. The error says what is accepted.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let t = text.trim();
    if t.starts_with(['P', 'p']) {
        return parse_iso(t).ok_or_else(|| bad_duration(text));
    }
    let (number, unit) = split(t).ok_or_else(|| bad_duration(text))?;
    let nanos_per_unit: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
        "us" | "µs" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000_000,
        "m" | "min" | "minute" | "minutes" => 60 * 1_000_000_000,
        "h" | "hour" | "hours" => 3_600 * 1_000_000_000,
        "d" | "day" | "days" => 86_400 * 1_000_000_000,
        _ => return Err(bad_duration(text)),
    };
    number
        .checked_mul(nanos_per_unit)
        .map(Duration::from_nanos)
        .ok_or_else(|| format!("`{text}` is too long a duration"))
}

/// Reads a memory size in bytes. The error says what is accepted.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is not a size; write a number and one of b, kb, mb, gb, tb, such as '512 mb'");
    let (number, unit) = split(text.trim()).ok_or_else(bad)?;
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" | "bytes" => 0,
        "k" | "kb" | "kibibytes" => 10,
        "m" | "mb" | "mebibytes" => 20,
        "g" | "gb" | "gibibytes" => 30,
        "t" | "tb" | "tebibytes" => 40,
        _ => return Err(bad()),
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("`{text}` is too large a size"))
}

/// A duration as short text: `250ms`, `10s`, `5min`.
pub fn format_duration(d: Duration) -> String {
    let ms = d.as_millis();
    match ms {
        0 => "0s".into(),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}min", ms / 60_000),
        _ if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        _ => format!("{ms}ms"),
    }
}

/// A number of bytes as short text: `18 MB`.
pub fn format_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value >= 100.0 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

fn bad_duration(text: &str) -> String {
    format!("`{text}` is not a duration; write a whole number and one of ms, s, min, h, d, such as '10 s'")
}

fn split(t: &str) -> Option<(u64, &str)> {
    let digits = t.find(|c: char| !c.is_ascii_digit()).unwrap_or(t.len());
    Some((t[..digits].parse().ok()?, t[digits..].trim_start()))
}

/// `PnDTnHnMnS`, whole numbers, seconds with a fraction.
fn parse_iso(t: &str) -> Option<Duration> {
    let body = &t[1..];
    let (date, time) = match body.find(['T', 't']) {
        Some(i) => (&body[..i], &body[i + 1..]),
        None => (body, ""),
    };
    if date.is_empty() && time.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    for (part, units) in [(date, &[('D', 86_400u64)][..]), (time, &[('H', 3_600), ('M', 60), ('S', 1)][..])] {
        let mut rest = part;
        let mut order = units.iter();
        while !rest.is_empty() {
            let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
            let letter = rest[end..].chars().next()?.to_ascii_uppercase();
            let (_, seconds) = order.find(|(u, _)| *u == letter)?;
            let number = &rest[..end];
            total += match number.split_once('.') {
                Some((whole, fraction)) if letter == 'S' && fraction.len() <= 9 => {
                    let nanos: u64 = format!("{fraction:0<9}").parse().ok()?;
                    Duration::from_secs(whole.parse().ok()?) + Duration::from_nanos(nanos)
                }
                _ => Duration::from_secs(number.parse::<u64>().ok()?.checked_mul(*seconds)?),
            };
            rest = &rest[end + 1..];
        }
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_flink_reads_them() {
        for (text, ms) in [
            ("10s", 10_000),
            ("10 min", 600_000),
            ("250", 250),
            ("1 d", 86_400_000),
            ("PT10S", 10_000),
            ("PT1H30M", 5_400_000),
            ("PT0.5S", 500),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["1 h 30 min", "1w", "1.5h", "", "s", "-1s", "PT", "PT1S1H"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_read_as_flink_reads_them() {
        for (text, bytes) in [("1", 1), ("64kb", 65_536), ("2 MB", 2 << 20), ("1g", 1 << 30)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        assert!(parse_size("1.5gb").is_err());
        assert!(parse_size("99999999999t").is_err());
    }

    #[test]
    fn sizes_print_short() {
        assert_eq!(format_size(512), "512 B");
        assert_eq!(format_size(18 << 20), "18.0 MB");
    }
}
