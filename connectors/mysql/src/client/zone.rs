//! Calendar and clock, and the time zone they are read in.

use chrono::{MappedLocalTime, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;

/// Microseconds of a second.
pub(crate) const SECOND: i64 = 1_000_000;
/// Microseconds of a day.
pub(crate) const DAY: i64 = 86_400 * SECOND;

/// A time zone by its IANA name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone(Tz);

impl Zone {
    /// By name; `None` when there is no such zone.
    pub fn named(name: &str) -> Option<Zone> {
        name.parse().ok().map(Zone)
    }

    /// What its clocks show at an instant (both in microseconds since 1970).
    pub fn local(self, instant: i64) -> i64 {
        if self.0 == Tz::UTC {
            return instant;
        }
        let offset = chrono::DateTime::from_timestamp_micros(instant)
            .map_or(0, |utc| self.0.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc());
        instant + i64::from(offset) * SECOND
    }

    /// The instant at which its clocks show this: the first of two, and the moment of the change for what they skip.
    pub fn instant(self, local: i64) -> i64 {
        if self.0 == Tz::UTC {
            return local;
        }
        let Some(naive) = chrono::DateTime::from_timestamp_micros(local).map(|d| d.naive_utc()) else { return local };
        let seconds = |at: NaiveDateTime| match self.0.offset_from_local_datetime(&at) {
            MappedLocalTime::Single(o) | MappedLocalTime::Ambiguous(o, _) => Some(o.fix().local_minus_utc()),
            MappedLocalTime::None => None,
        };
        let offset = seconds(naive).or_else(|| seconds(naive - chrono::Duration::hours(3))).unwrap_or(0);
        local - i64::from(offset) * SECOND
    }
}

/// Year, month and day of a day since 1970 (proleptic Gregorian).
pub fn civil(days: i64) -> (i64, u8, u8) {
    // Days since 0000-03-01, in eras of 400 years: http://howardhinnant.github.io/date_algorithms.html
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month as u8, day as u8)
}

/// The day since 1970 of a date; `None` when there is no such date.
pub fn days(year: i64, month: u8, day: u8) -> Option<i64> {
    if !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    let (y, m) = if month <= 2 { (year - 1, i64::from(month) + 9) } else { (year, i64::from(month) - 3) };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * m + 2) / 5 + i64::from(day) - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    (civil(days) == (year, month, day)).then_some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_has_one_date_and_other_dates_have_no_day() {
        for day in (-800_000..3_000_000).step_by(37).chain([0, -1, 59, 11_016, 11_017]) {
            let (y, m, d) = civil(day);
            assert_eq!(days(y, m, d), Some(day), "{y}-{m}-{d}");
        }
        assert_eq!((civil(0), civil(19_782), civil(-719_528)), ((1970, 1, 1), (2024, 2, 29), (0, 1, 1)));
        for (y, m, d) in [(2023, 2, 29), (1900, 2, 29), (2024, 0, 1), (2024, 13, 1), (2024, 4, 31), (2024, 1, 0)] {
            assert_eq!(days(y, m, d), None, "{y}-{m}-{d}");
        }
    }

    #[test]
    fn local_time_and_back_is_the_same_but_for_the_hour_that_is_twice() {
        let zone = Zone::named("Europe/Berlin").unwrap();
        let at = |text: &str| text.parse::<NaiveDateTime>().unwrap().and_utc().timestamp_micros();
        for (utc, local) in
            [("2024-01-01T00:00:00", "2024-01-01T01:00:00"), ("2024-07-01T00:00:00", "2024-07-01T02:00:00")]
        {
            assert_eq!((zone.local(at(utc)), zone.instant(at(local))), (at(local), at(utc)));
        }
        assert_eq!(zone.instant(at("2024-10-27T02:30:00")), at("2024-10-27T00:30:00"), "the first of two");
        assert_eq!(
            zone.instant(at("2024-03-31T02:30:00")),
            at("2024-03-31T01:30:00"),
            "a clock that was not changed yet"
        );
        assert_eq!(Zone::named("Europe/Berlim"), None);
        assert_eq!(Zone::named("UTC").unwrap().local(5), 5);
    }
}
