//! `yyyy-MM-dd HH:mm:ss.SSS`: Java's date patterns, compiled once, for writing and reading.
//!
//! Letters: `y u` year, `M L` month, `d` day, `D` day of year, `E` weekday, `H k K h` hour, `m` minute, `s` second, `S`
//! fraction, `a` AM/PM, `'…'` text. Other letters are refused by name.

use std::fmt::Write;

use chrono::{Datelike, NaiveDate};

use super::Wall;

/// The names of months and weekdays are English, as in Flink's default locale.
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Literal(String),
    /// A letter and how often it stands.
    Field(char, usize),
}

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    items: Vec<Item>,
    /// The shortest time that changes the text, in nanoseconds: a day, an hour, … Readings of one grain share a text.
    grain: i64,
}

impl Pattern {
    /// Compiles.
    ///
    /// # Errors
    /// A letter that is not supported, an open quote.
    pub fn new(text: &str) -> Result<Pattern, String> {
        let mut items: Vec<Item> = Vec::new();
        let mut literal = String::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            if c == '\'' {
                if chars.next_if_eq(&'\'').is_some() {
                    literal.push('\'');
                    continue;
                }
                loop {
                    match chars.next() {
                        Some('\'') if chars.next_if_eq(&'\'').is_some() => literal.push('\''),
                        Some('\'') => break,
                        Some(c) => literal.push(c),
                        None => return Err(format!("the pattern '{text}' has an open quote")),
                    }
                }
                continue;
            }
            if !c.is_ascii_alphabetic() {
                literal.push(c);
                continue;
            }
            if !literal.is_empty() {
                items.push(Item::Literal(std::mem::take(&mut literal)));
            }
            let mut n = 1;
            while chars.next_if_eq(&c).is_some() {
                n += 1;
            }
            if !"yuMLdDEHkKhmsSa".contains(c) || n > 9 {
                return Err(format!("the letter '{c}' of the pattern '{text}' is not supported"));
            }
            items.push(Item::Field(c, n));
        }
        if !literal.is_empty() {
            items.push(Item::Literal(literal));
        }
        let grain = items.iter().map(Item::grain).min().unwrap_or(i64::MAX);
        Ok(Pattern { items, grain })
    }

    /// Nanoseconds within which two readings of one day have the same text.
    pub(super) fn grain(&self) -> i64 {
        self.grain
    }

    /// Appends the text of a reading. `None` for years outside the calendar.
    pub fn write(&self, wall: Wall, out: &mut String) -> Option<()> {
        let date = wall.date()?;
        let seconds = wall.nanos / 1_000_000_000;
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        for item in &self.items {
            match item {
                Item::Literal(text) => out.push_str(text),
                Item::Field(letter, n) => {
                    let number = match letter {
                        'y' | 'u' if *n == 2 => i64::from(date.year()).rem_euclid(100),
                        'y' | 'u' => i64::from(date.year()),
                        'M' | 'L' if *n > 2 => {
                            let name = MONTHS[date.month0() as usize];
                            out.push_str(if *n == 3 { &name[..3] } else { name });
                            continue;
                        }
                        'M' | 'L' => i64::from(date.month()),
                        'd' => i64::from(date.day()),
                        'D' => i64::from(date.ordinal()),
                        'E' => {
                            let name = WEEKDAYS[date.weekday().num_days_from_monday() as usize];
                            out.push_str(if *n <= 3 { &name[..3] } else { name });
                            continue;
                        }
                        'a' => {
                            out.push_str(if hour < 12 { "AM" } else { "PM" });
                            continue;
                        }
                        'H' => hour,
                        'k' => (hour + 23) % 24 + 1,
                        'K' => hour % 12,
                        'h' => (hour + 11) % 12 + 1,
                        'm' => minute,
                        's' => second,
                        _ => wall.nanos % 1_000_000_000 / 10i64.pow(9 - *n as u32),
                    };
                    push_number(out, number, *n);
                }
            }
        }
        Some(())
    }

    /// Reads a whole text. `None` when it does not fit; missing fields are those of 1970-01-01T00:00.
    pub fn read(&self, text: &str) -> Option<Wall> {
        let mut rest = text;
        let (mut year, mut month, mut day, mut ordinal) = (1970, 1, 1, None);
        let (mut hour, mut half, mut minute, mut second, mut nanos) = (0, None, 0, 0, 0i64);
        for (i, item) in self.items.iter().enumerate() {
            let (letter, n) = match item {
                Item::Literal(expected) => {
                    rest = rest.strip_prefix(expected.as_str())?;
                    continue;
                }
                Item::Field(letter, n) => (*letter, *n),
            };
            match letter {
                'a' => {
                    half =
                        Some(rest.get(..2).filter(|h| h.eq_ignore_ascii_case("AM") || h.eq_ignore_ascii_case("PM"))?);
                    rest = &rest[2..];
                    continue;
                }
                'M' | 'L' if n > 2 => {
                    let at = MONTHS.iter().position(|m| starts_with(rest, if n == 3 { &m[..3] } else { m }))?;
                    rest = &rest[if n == 3 { 3 } else { MONTHS[at].len() }..];
                    month = at as i64 + 1;
                    continue;
                }
                'E' => {
                    let at = WEEKDAYS.iter().position(|d| starts_with(rest, if n <= 3 { &d[..3] } else { d }))?;
                    rest = &rest[if n <= 3 { 3 } else { WEEKDAYS[at].len() }..];
                    continue;
                }
                _ => {}
            }
            // Digits run on into the next field unless something stands between them.
            let fixed = matches!(self.items.get(i + 1), Some(Item::Field(l, m)) if l.is_ascii_alphabetic() && !"aE".contains(*l) && (*m < 3 || !"ML".contains(*l)))
                || letter == 'S';
            let widest = if fixed {
                n
            } else if matches!(letter, 'y' | 'u') && n != 2 {
                9
            } else {
                n.max(2).max(if letter == 'D' { 3 } else { 0 })
            };
            let digits = rest.bytes().take(widest).take_while(u8::is_ascii_digit).count();
            if digits == 0 || (fixed && digits < n) {
                return None;
            }
            let value: i64 = rest[..digits].parse().ok()?;
            rest = &rest[digits..];
            match letter {
                'y' | 'u' => year = if n == 2 { 2000 + value } else { value },
                'M' | 'L' => month = value,
                'd' => day = value,
                'D' => ordinal = Some(value),
                'H' => hour = value,
                'k' => hour = value % 24,
                'K' => hour = value,
                'h' => hour = value % 12,
                'm' => minute = value,
                's' => second = value,
                _ => nanos = value * 10i64.pow(9 - digits.min(9) as u32),
            }
        }
        if !rest.is_empty() || minute > 59 || second > 59 {
            return None;
        }
        if half.is_some_and(|h| h.eq_ignore_ascii_case("PM")) && hour < 12 {
            hour += 12;
        }
        if hour > 23 {
            return None;
        }
        let year = i32::try_from(year).ok()?;
        let date = match ordinal {
            Some(o) => NaiveDate::from_yo_opt(year, o.try_into().ok()?)?,
            None => NaiveDate::from_ymd_opt(year, month.try_into().ok()?, day.try_into().ok()?)?,
        };
        Some(Wall::of(date, (hour * 3_600 + minute * 60 + second) * 1_000_000_000 + nanos))
    }
}

impl Item {
    fn grain(&self) -> i64 {
        const SECOND: i64 = 1_000_000_000;
        match self {
            Item::Literal(_) => i64::MAX,
            Item::Field('H' | 'k' | 'K' | 'h' | 'a', _) => 3_600 * SECOND,
            Item::Field('m', _) => 60 * SECOND,
            Item::Field('s', _) => SECOND,
            Item::Field('S', n) => 10i64.pow(9 - *n as u32),
            Item::Field(..) => 86_400 * SECOND,
        }
    }
}

fn starts_with(text: &str, name: &str) -> bool {
    text.get(..name.len()).is_some_and(|t| t.eq_ignore_ascii_case(name))
}

fn push_number(out: &mut String, number: i64, width: usize) {
    if number >= 0 && (width == 2 && number < 100) {
        out.push((b'0' + (number / 10) as u8) as char);
        out.push((b'0' + (number % 10) as u8) as char);
    } else {
        // Writing to a String does not fail.
        let _ = write!(out, "{number:0width$}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-01-02 03:04:05.678
    const WALL: Wall = Wall { day: 19_724, nanos: 11_045_678_000_000 };

    fn written(pattern: &str) -> String {
        let mut out = String::new();
        Pattern::new(pattern).unwrap().write(WALL, &mut out).unwrap();
        out
    }

    #[test]
    fn patterns_write_as_java_writes_them() {
        for (pattern, text) in [
            ("yyyy-MM-dd HH:mm:ss", "2024-01-02 03:04:05"),
            ("yyyyMMdd-HHmmss.SSS", "20240102-030405.678"),
            ("EEE MMM d", "Tue Jan 2"),
            ("EEEE, d MMMM yy 'at' h a", "Tuesday, 2 January 24 at 3 AM"),
            ("''D''", "'2'"),
            ("kk KK S", "03 03 6"),
        ] {
            assert_eq!(written(pattern), text, "{pattern}");
        }
        assert!(Pattern::new("yyyy-QQ").unwrap_err().contains("'Q'"));
        assert!(Pattern::new("'open").is_err());
    }

    #[test]
    fn what_a_pattern_writes_it_reads() {
        for pattern in ["yyyy-MM-dd HH:mm:ss.SSS", "yyyyMMddHHmmssSSS", "d MMM yyyy h:mm:ss.SSS a"] {
            assert_eq!(Pattern::new(pattern).unwrap().read(&written(pattern)), Some(WALL), "{pattern}");
        }
        let p = Pattern::new("yyyy-MM-dd").unwrap();
        assert_eq!(p.read("2024-13-01"), None);
        assert_eq!(p.read("2024-01-02x"), None);
        assert_eq!(p.read(""), None);
    }

    #[test]
    fn the_grain_is_the_smallest_field() {
        assert_eq!(Pattern::new("yyyy-MM-dd").unwrap().grain(), 86_400_000_000_000);
        assert_eq!(Pattern::new("HH:mm").unwrap().grain(), 60_000_000_000);
        assert_eq!(Pattern::new("ss.SSS").unwrap().grain(), 1_000_000);
    }
}
