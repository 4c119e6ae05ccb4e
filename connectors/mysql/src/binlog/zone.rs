//! The time zone of a server: how its TIMESTAMPs read on its clock.

use std::str::FromStr;

use chrono::{FixedOffset, Offset, TimeZone};

use super::column::temporal::{Date, DateTime};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// A time zone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Zone {
    /// Always so many seconds east of UTC.
    Fixed(i32),
    /// By its rules.
    Named(chrono_tz::Tz),
}

impl Zone {
    /// UTC.
    pub const UTC: Zone = Zone::Fixed(0);

    /// The reading of its clock at an instant, both in microseconds since 1970.
    #[inline]
    pub fn local(self, utc_micros: i64) -> i64 {
        let offset = match self {
            Zone::Fixed(seconds) => seconds,
            Zone::Named(zone) => chrono::DateTime::from_timestamp_micros(utc_micros)
                .map_or(0, |utc| zone.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc()),
        };
        utc_micros + i64::from(offset) * SECOND
    }

    /// The same as calendar and clock.
    pub(super) fn date_time(self, utc_micros: i64) -> DateTime {
        let local = self.local(utc_micros);
        let day = chrono::NaiveDate::from_epoch_days(local.div_euclid(DAY) as i32).unwrap_or_default();
        let date = {
            use chrono::Datelike;
            Date { year: day.year() as u16, month: day.month() as u8, day: day.day() as u8 }
        };
        DateTime { date, micros: local.rem_euclid(DAY) }
    }
}

impl FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(zone) = text.parse::<chrono_tz::Tz>() {
            return Ok(Zone::Named(zone));
        }
        let offset = text.trim_start_matches("GMT").trim_start_matches("UTC");
        match offset.parse::<FixedOffset>() {
            Ok(offset) => Ok(Zone::Fixed(offset.local_minus_utc())),
            Err(_) => Err(format!("`{text}` is no time zone such as Europe/Berlin or +08:00")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_follow_their_rules() {
        let berlin: Zone = "Europe/Berlin".parse().unwrap();
        let hours = |zone: Zone, utc: i64| (zone.local(utc) - utc) / SECOND / 3_600;
        assert_eq!(hours(berlin, 0), 1);
        assert_eq!(hours(berlin, 1_782_864_000 * SECOND), 2, "July 2026");
        assert_eq!(hours("+08:00".parse().unwrap(), 0), 8);
        assert_eq!(hours("UTC".parse().unwrap(), 0), 0);
        assert!("Mars/Olympus".parse::<Zone>().is_err());
        assert_eq!(berlin.date_time(0).micros, 3_600 * SECOND);
    }
}
