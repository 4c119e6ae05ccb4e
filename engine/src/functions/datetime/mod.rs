//! Dates, times, time zones: how a column becomes a wall-clock reading, and back.
//!
//! A [`Wall`] is a day and a time of day. `TIMESTAMP` columns hold it directly, `TIMESTAMP_LTZ` columns hold an instant
//! that the session's [`Zone`] turns into one.

mod add;
mod functions;
mod local;
mod parse;
mod pattern;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Time32MillisecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use chrono::{DateTime, NaiveDate, NaiveDateTime, Offset, TimeZone};
use datafusion::common::{Result, exec_err};

pub(super) use add::FUNCTIONS as ADD_FUNCTIONS;
pub(super) use functions::FUNCTIONS;
pub use local::local_batch;
pub(crate) use parse::parse_time;
pub use parse::parse_timestamp;
pub use pattern::Pattern;

const NANOS_PER_DAY: i64 = 86_400_000_000_000;
/// Days from 0001-01-01 to 1970-01-01, chrono's epoch to ours.
const EPOCH_DAYS_FROM_CE: i32 = 719_163;

/// A wall-clock reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wall {
    /// Days since 1970-01-01.
    pub day: i32,
    /// Nanoseconds since midnight.
    pub nanos: i64,
}

impl Wall {
    /// From units since 1970-01-01T00:00.
    fn from_units(value: i64, units_per_day: i64) -> Wall {
        let nanos_per_unit = NANOS_PER_DAY / units_per_day;
        Wall { day: value.div_euclid(units_per_day) as i32, nanos: value.rem_euclid(units_per_day) * nanos_per_unit }
    }

    /// Milliseconds since 1970-01-01T00:00; the fraction below is cut.
    pub fn millis(self) -> i64 {
        i64::from(self.day) * 86_400_000 + self.nanos / 1_000_000
    }

    /// So much later.
    fn plus_nanos(self, nanos: i128) -> Option<Wall> {
        let all = i128::from(self.day) * i128::from(NANOS_PER_DAY) + i128::from(self.nanos) + nanos;
        let per_day = i128::from(NANOS_PER_DAY);
        Some(Wall { day: i32::try_from(all.div_euclid(per_day)).ok()?, nanos: all.rem_euclid(per_day) as i64 })
    }

    /// The calendar date; `None` outside the years chrono knows.
    pub fn date(self) -> Option<NaiveDate> {
        NaiveDate::from_num_days_from_ce_opt(self.day.checked_add(EPOCH_DAYS_FROM_CE)?)
    }

    /// Of a calendar date and a time of day.
    pub fn of(date: NaiveDate, nanos: i64) -> Wall {
        use chrono::Datelike;
        Wall { day: date.num_days_from_ce() - EPOCH_DAYS_FROM_CE, nanos }
    }
}

/// A time zone: a region or a fixed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// Such as `Europe/Paris`.
    Region(chrono_tz::Tz),
    /// Seconds east of UTC, such as `GMT+08:00`.
    Offset(i32),
}

impl Zone {
    /// UTC.
    pub const UTC: Zone = Zone::Offset(0);

    /// Reads `UTC`, `Asia/Shanghai`, `GMT+08:00`, `+08:00`. `None` for anything else.
    pub fn parse(text: &str) -> Option<Zone> {
        let t = text.trim();
        if t.eq_ignore_ascii_case("utc") || t.eq_ignore_ascii_case("gmt") || t.eq_ignore_ascii_case("z") {
            return Some(Zone::UTC);
        }
        if let Ok(region) = t.parse::<chrono_tz::Tz>() {
            return Some(Zone::Region(region));
        }
        let signed = ["GMT", "UTC", "UT"].iter().find_map(|p| t.strip_prefix(p)).unwrap_or(t);
        let (sign, digits) = match signed.as_bytes().first()? {
            b'+' => (1, &signed[1..]),
            b'-' => (-1, &signed[1..]),
            _ => return None,
        };
        let (hours, minutes) = digits.split_once(':').unwrap_or((digits, "0"));
        let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
        ((0..=18).contains(&hours) && (0..60).contains(&minutes))
            .then(|| Zone::Offset(sign * (hours * 3_600 + minutes * 60)))
    }

    /// Seconds to add to UTC at this instant.
    fn offset_at(self, instant_s: i64) -> i64 {
        match self {
            Zone::Offset(s) => i64::from(s),
            Zone::Region(tz) => match DateTime::from_timestamp(instant_s, 0) {
                Some(t) => i64::from(tz.offset_from_utc_datetime(&t.naive_utc()).fix().local_minus_utc()),
                None => 0,
            },
        }
    }

    /// The wall-clock reading of an instant, both in milliseconds.
    pub fn to_local_millis(self, instant_ms: i64) -> i64 {
        instant_ms + 1_000 * self.offset_at(instant_ms.div_euclid(1_000))
    }

    /// The instant of a wall-clock reading, both in milliseconds. In a gap the clock moves on; of two, the earlier.
    pub fn to_instant_millis(self, local_ms: i64) -> i64 {
        match self {
            Zone::Offset(s) => local_ms - 1_000 * i64::from(s),
            Zone::Region(tz) => {
                let Some(local) = DateTime::from_timestamp_millis(local_ms).map(|t| t.naive_utc()) else {
                    return local_ms;
                };
                let offset =
                    |t: NaiveDateTime| tz.offset_from_local_datetime(&t).earliest().map(|o| o.fix().local_minus_utc());
                let seconds = offset(local).or_else(|| {
                    // A gap: the offset before it, so that 02:30 becomes 03:30.
                    offset(local - chrono::TimeDelta::hours(3))
                });
                local_ms - 1_000 * i64::from(seconds.unwrap_or(0))
            }
        }
    }
}

/// A date, time or timestamp column as wall-clock readings.
pub(crate) struct WallColumn {
    column: ArrayRef,
    zone: Option<Zone>,
}

impl WallColumn {
    /// `zone` is used for instants only.
    pub(crate) fn new(column: &ArrayRef, zone: Zone) -> Result<WallColumn> {
        let zone = match column.data_type() {
            DataType::Timestamp(_, Some(_)) => Some(zone),
            DataType::Timestamp(_, None) | DataType::Date32 | DataType::Time32(TimeUnit::Millisecond) => None,
            other => return exec_err!("a date or time is expected, {other} is given"),
        };
        Ok(WallColumn { column: Arc::clone(column), zone })
    }

    /// The reading of row `i`.
    pub(crate) fn get(&self, i: usize) -> Option<Wall> {
        let c = &self.column;
        if c.is_null(i) {
            return None;
        }
        let wall = match c.data_type() {
            DataType::Date32 => Wall { day: c.as_primitive::<Date32Type>().value(i), nanos: 0 },
            DataType::Time32(_) => {
                Wall { day: 0, nanos: i64::from(c.as_primitive::<Time32MillisecondType>().value(i)) * 1_000_000 }
            }
            DataType::Timestamp(TimeUnit::Second, _) => {
                Wall::from_units(c.as_primitive::<TimestampSecondType>().value(i), 86_400)
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                Wall::from_units(c.as_primitive::<TimestampMillisecondType>().value(i), 86_400_000)
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Wall::from_units(c.as_primitive::<TimestampMicrosecondType>().value(i), 86_400_000_000)
            }
            _ => Wall::from_units(c.as_primitive::<TimestampNanosecondType>().value(i), NANOS_PER_DAY),
        };
        let Some(zone) = self.zone else { return Some(wall) };
        let shift = zone.offset_at(i64::from(wall.day) * 86_400 + wall.nanos / 1_000_000_000);
        let nanos = wall.nanos + shift * 1_000_000_000;
        Some(Wall { day: wall.day + nanos.div_euclid(NANOS_PER_DAY) as i32, nanos: nanos.rem_euclid(NANOS_PER_DAY) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_read_as_java_reads_them() {
        assert_eq!(Zone::parse("GMT+08:00"), Some(Zone::Offset(28_800)));
        assert_eq!(Zone::parse("UTC"), Some(Zone::UTC));
        assert!(matches!(Zone::parse("Asia/Shanghai"), Some(Zone::Region(_))));
        assert_eq!(Zone::parse("Mars/Olympus"), None);
        assert_eq!(Zone::parse("+99"), None);
    }

    #[test]
    fn local_time_and_back_over_a_change_of_clocks() {
        let paris = Zone::parse("Europe/Paris").unwrap();
        // 2024-03-31T01:00Z: 02:00 local does not exist, it is 03:00.
        let change = 1_711_846_800_000;
        assert_eq!(paris.to_local_millis(change), change + 7_200_000);
        assert_eq!(paris.to_local_millis(change - 1), change - 1 + 3_600_000);
        assert_eq!(paris.to_instant_millis(change + 7_200_000), change);
        // 02:30 in the gap becomes 03:30.
        assert_eq!(paris.to_instant_millis(change + 3_600_000 + 1_800_000), change + 1_800_000);
    }

    #[test]
    fn times_before_1970_keep_a_positive_time_of_day() {
        assert_eq!(Wall::from_units(-1, 86_400_000), Wall { day: -1, nanos: 86_399_999_000_000 });
        assert_eq!(Wall { day: -1, nanos: 86_399_999_000_000 }.millis(), -1);
    }
}
