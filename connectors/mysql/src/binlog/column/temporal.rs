//! Dates and times.
//!
//! | type | bytes |
//! |---|---|
//! | DATE | 3, lowest first: year 15 bits, month 4, day 5 |
//! | DATETIME(n) | 5, highest first, plus 2^39: year * 13 + month 17 bits, day 5, hour 5, minute 6, second 6; fraction |
//! | TIMESTAMP(n) | 4, highest first: seconds since 1970 in UTC; fraction |
//! | TIME(n) | 3, highest first, plus 2^23: hour 10 bits, minute 6, second 6; fraction; negative as a whole |
//! | fraction | `(n + 1) / 2` bytes: hundredths, ten-thousandths or microseconds |
//!
//! The types before MySQL 5.6 (and of old MariaDB tables) write decimal digits: 20261231235959.

use super::super::bytes::{Cursor, Fault};

/// A day, perhaps one that no calendar has: month and day may be 0, and February may have 31 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// 0 to 9999.
    pub year: u16,
    /// 0 to 12.
    pub month: u8,
    /// 0 to 31.
    pub day: u8,
}

/// A reading of calendar and clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime {
    /// The day.
    pub date: Date,
    /// Microseconds since midnight.
    pub micros: i64,
}

const SECOND: i64 = 1_000_000;

impl Date {
    /// Days since 1970-01-01; `None` for what is no day.
    #[inline]
    pub fn days(self) -> Option<i32> {
        let divides = |n: u16| self.year.is_multiple_of(n);
        let leap = divides(4) && (!divides(100) || divides(400));
        let last = match self.month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 => 28 + u8::from(leap),
            _ => return None,
        };
        if self.day == 0 || self.day > last {
            return None;
        }
        // Years begin in March, so that the leap day is the last one.
        let (y, m) = match self.month {
            1 | 2 => (i32::from(self.year) - 1, i32::from(self.month) + 9),
            _ => (i32::from(self.year), i32::from(self.month) - 3),
        };
        let (era, of_era) = (y.div_euclid(400), y.rem_euclid(400));
        let of_year = (153 * m + 2) / 5 + i32::from(self.day) - 1;
        Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
    }

    fn from_digits(digits: u64) -> Result<Self, Fault> {
        let (year, month, day) = (digits / 10_000, digits / 100 % 100, digits % 100);
        if year > 9_999 || month > 12 || day > 31 {
            return Err(Fault::Malformed("a date has impossible digits"));
        }
        Ok(Self { year: year as u16, month: month as u8, day: day as u8 })
    }
}

impl DateTime {
    /// Microseconds since 1970-01-01 00:00:00 on the same clock; `None` when the day is none.
    #[inline]
    pub fn micros(self) -> Option<i64> {
        Some(i64::from(self.date.days()?) * 86_400 * SECOND + self.micros)
    }
}

/// Bytes of a fraction of `digits` digits.
pub fn fraction_bytes(digits: u8) -> usize {
    usize::from(digits).div_ceil(2)
}

/// Microseconds of a fraction that has `bytes` bytes.
#[inline]
fn fraction(c: &mut Cursor<'_>, bytes: usize) -> Result<i64, Fault> {
    let value = c.uint_be(bytes)? as i64;
    let micros = match bytes {
        0 => 0,
        1 => value * 10_000,
        2 => value * 100,
        _ => value,
    };
    if micros < SECOND { Ok(micros) } else { Err(Fault::Malformed("a fraction of a second is above one second")) }
}

/// `DATE`.
#[inline]
pub fn date(c: &mut Cursor<'_>) -> Result<Date, Fault> {
    let v = c.uint_le(3)?;
    let date = Date { year: (v >> 9) as u16, month: (v >> 5 & 15) as u8, day: (v & 31) as u8 };
    if date.month > 12 || date.year > 9_999 {
        return Err(Fault::Malformed("a date has impossible digits"));
    }
    Ok(date)
}

/// `DATETIME(n)`.
#[inline]
pub fn datetime(c: &mut Cursor<'_>, fraction_bytes: usize) -> Result<DateTime, Fault> {
    const BAD: Fault = Fault::Malformed("a DATETIME has impossible digits");
    let packed = c.uint_be(5)?.checked_sub(1 << 39).ok_or(BAD)?;
    let (ymd, hms) = (packed >> 17, packed & 0x1_ffff);
    let (year_month, day) = (ymd >> 5, ymd & 31);
    let (hour, minute, second) = (hms >> 12, hms >> 6 & 63, hms & 63);
    if year_month / 13 > 9_999 || hour > 23 || minute > 59 || second > 59 {
        return Err(BAD);
    }
    let date = Date { year: (year_month / 13) as u16, month: (year_month % 13) as u8, day: day as u8 };
    let seconds = (hour * 3_600 + minute * 60 + second) as i64;
    Ok(DateTime { date, micros: seconds * SECOND + fraction(c, fraction_bytes)? })
}

/// `TIMESTAMP(n)`: microseconds since 1970 in UTC. 0 is the zero date.
#[inline]
pub fn timestamp(c: &mut Cursor<'_>, fraction_bytes: usize) -> Result<i64, Fault> {
    let seconds = c.uint_be(4)? as i64;
    Ok(seconds * SECOND + fraction(c, fraction_bytes)?)
}

/// `TIME(n)`: microseconds, between -838:59:59 and 838:59:59.
#[inline]
pub fn time(c: &mut Cursor<'_>, fraction_bytes: usize) -> Result<i64, Fault> {
    // Integer and fraction are one number, offset so that it has no sign.
    let bits = 8 * fraction_bytes;
    let packed = c.uint_be(3 + fraction_bytes)? as i64 - (1 << (23 + bits));
    let (negative, packed) = (packed < 0, packed.unsigned_abs());
    let (hms, raw) = (packed >> bits, packed & ((1 << bits) - 1));
    let (hour, minute, second) = (hms >> 12 & 0x3ff, hms >> 6 & 63, hms & 63);
    let raw = raw.to_be_bytes();
    let micros = fraction(&mut Cursor(&raw[8 - fraction_bytes..]), fraction_bytes)?;
    if hour > 838 || minute > 59 || second > 59 {
        return Err(Fault::Malformed("a TIME has impossible digits"));
    }
    let value = (hour * 3_600 + minute * 60 + second) as i64 * SECOND + micros;
    Ok(if negative { -value } else { value })
}

/// `DATETIME` of old tables.
pub fn old_datetime(c: &mut Cursor<'_>) -> Result<DateTime, Fault> {
    let v = c.u64()?;
    let date = Date::from_digits(v / 1_000_000)?;
    let (hour, minute, second) = (v / 10_000 % 100, v / 100 % 100, v % 100);
    if hour > 23 || minute > 59 || second > 59 {
        return Err(Fault::Malformed("a DATETIME has impossible digits"));
    }
    Ok(DateTime { date, micros: (hour * 3_600 + minute * 60 + second) as i64 * SECOND })
}

/// `TIMESTAMP` of old tables.
pub fn old_timestamp(c: &mut Cursor<'_>) -> Result<i64, Fault> {
    Ok(i64::from(c.u32()?) * SECOND)
}

/// `TIME` of old tables.
pub fn old_time(c: &mut Cursor<'_>) -> Result<i64, Fault> {
    // Three bytes with a sign.
    let v = i64::from((c.uint_le(3)? as i32) << 8 >> 8);
    let (negative, v) = (v < 0, v.abs());
    let (hour, minute, second) = (v / 10_000, v / 100 % 100, v % 100);
    if hour > 838 || minute > 59 || second > 59 {
        return Err(Fault::Malformed("a TIME has impossible digits"));
    }
    let value = (hour * 3_600 + minute * 60 + second) * SECOND;
    Ok(if negative { -value } else { value })
}

/// `2026-12-31`.
pub fn write_date(date: Date, out: &mut String) {
    use std::fmt::Write;
    let _ = write!(out, "{:04}-{:02}-{:02}", date.year, date.month, date.day);
}

/// `2026-12-31 23:59:59.000001` with `digits` of fraction.
pub fn write_datetime(value: DateTime, digits: u8, out: &mut String) {
    write_date(value.date, out);
    out.push(' ');
    write_time(value.micros, digits, out);
}

/// `-838:59:59.0` with `digits` of fraction.
pub fn write_time(micros: i64, digits: u8, out: &mut String) {
    use std::fmt::Write;
    if micros < 0 {
        out.push('-');
    }
    let micros = micros.unsigned_abs();
    let seconds = micros / SECOND as u64;
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if digits > 0 {
        let fraction = format!("{:06}", micros % SECOND as u64);
        out.push('.');
        out.push_str(&fraction[..usize::from(digits.min(6))]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_count_from_1970() {
        let days = |year, month, day| Date { year, month, day }.days();
        assert_eq!(days(1970, 1, 1), Some(0));
        assert_eq!(days(2000, 2, 29), Some(11_016));
        assert_eq!(days(0, 1, 1), Some(-719_528));
        assert_eq!(days(9999, 12, 31), Some(2_932_896));
        for (y, m, d) in [(0, 0, 0), (2026, 0, 1), (2026, 1, 0), (2026, 2, 29), (1900, 2, 29), (2026, 4, 31)] {
            assert_eq!(days(y, m, d), None, "{y}-{m}-{d}");
        }
    }

    #[test]
    fn negative_time_has_its_fraction_on_the_same_side() {
        // From the server's source, sql-common/my_time.cc: -00:00:00.01 is 7F FF FF and FF.
        assert_eq!(time(&mut Cursor(&[0x7f, 0xff, 0xff, 0xff]), 1), Ok(-10_000));
        assert_eq!(time(&mut Cursor(&[0x80, 0, 0]), 0), Ok(0));
        let mut text = String::new();
        write_time(-10_000, 2, &mut text);
        assert_eq!(text, "-00:00:00.01");
    }

    #[test]
    fn old_types_are_decimal() {
        assert_eq!(old_time(&mut Cursor(&(-8_385_959i32).to_le_bytes()[..3])), Ok(-3_020_399 * SECOND));
        let read = old_datetime(&mut Cursor(&20_261_231_235_959u64.to_le_bytes())).unwrap();
        let mut text = String::new();
        write_datetime(read, 0, &mut text);
        assert_eq!(text, "2026-12-31 23:59:59");
        assert!(old_datetime(&mut Cursor(&20_261_331_235_959u64.to_le_bytes())).is_err());
    }
}
