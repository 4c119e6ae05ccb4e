//! Timestamps as SQL text: `2024-01-02 03:04:05.678`.

use chrono::NaiveDate;

use super::Wall;

/// Reads `yyyy-MM-dd`, optionally followed by ` HH:mm[:ss[.fraction]]`; digits may be fewer (`2024-1-2 3:4:5`).
/// No `T`, no zone. `None` for anything else.
pub fn parse_timestamp(text: &str) -> Option<Wall> {
    let text = text.trim();
    let (date, time) = match text.split_once(' ') {
        Some((date, time)) => (date, Some(time.trim_start())),
        None => (text, None),
    };
    let mut parts = date.splitn(3, '-');
    let (y, m, d) = (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let date = NaiveDate::from_ymd_opt(y as i32, m, d)?;
    let nanos = match time {
        Some(time) => parse_time(time)?,
        None => 0,
    };
    Some(Wall::of(date, nanos))
}

/// `HH:mm[:ss[.fraction]]` in nanoseconds since midnight.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    let (clock, fraction) = match text.split_once('.') {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (text, None),
    };
    let mut parts = clock.splitn(3, ':');
    let (hour, minute) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let second = parts.next().map_or(Some(0), |s| number(s, 2))?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let fraction = match fraction {
        None => 0,
        Some(f) if !f.is_empty() && f.len() <= 9 && f.bytes().all(|b| b.is_ascii_digit()) => {
            f.parse::<i64>().ok()? * 10i64.pow(9 - f.len() as u32)
        }
        Some(_) => return None,
    };
    Some(i64::from(hour * 3_600 + minute * 60 + second) * 1_000_000_000 + fraction)
}

fn number(text: &str, digits_max: usize) -> Option<u32> {
    ((1..=digits_max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_digits_are_read_and_other_forms_are_not() {
        let wall = Wall { day: 19_724, nanos: 11_045_000_000_000 };
        assert_eq!(parse_timestamp("2024-1-2 3:4:5"), Some(wall));
        assert_eq!(parse_timestamp("2024-01-02 03:04:05.678").unwrap().nanos, 11_045_678_000_000);
        assert_eq!(parse_timestamp("2024-01-02"), Some(Wall { nanos: 0, ..wall }));
        for bad in ["2024-01-02T03:04:05", "2024-01-02 03:04:05Z", "2024-02-30", "", "garbage", "2024-01-02 24:00:00"] {
            assert_eq!(parse_timestamp(bad), None, "{bad}");
        }
    }
}
