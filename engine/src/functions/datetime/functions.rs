//! Functions over dates and times.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Int32Array, Int64Array, Time32MillisecondArray, TimestampMillisecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMillisecondType};
use chrono::{Datelike, NaiveDate};
use datafusion::common::{Result, plan_err};

use super::{NANOS_PER_DAY, Pattern, Wall, WallColumn, Zone, parse_timestamp};
use crate::functions::call::{Call, Declaration, arity, as_int, as_text, shown, texts};
use crate::functions::error::EvalError;

pub(in crate::functions) const FUNCTIONS: &[Declaration] = &[
    Declaration::new("date_format", coerce_date_format, text, date_format).nullable(),
    Declaration::new("extract", coerce_extract, bigint, |c| {
        let unit = c.text(0).constant().flatten().unwrap_or_default();
        fields(c, 1, unit)
    }),
    Declaration::new("year", one_time, bigint, |c| fields(c, 0, "YEAR")),
    Declaration::new("quarter", one_time, bigint, |c| fields(c, 0, "QUARTER")),
    Declaration::new("month", one_time, bigint, |c| fields(c, 0, "MONTH")),
    Declaration::new("week", one_time, bigint, |c| fields(c, 0, "WEEK")),
    Declaration::new("dayofyear", one_time, bigint, |c| fields(c, 0, "DOY")),
    Declaration::new("dayofmonth", one_time, bigint, |c| fields(c, 0, "DAY")),
    Declaration::new("dayofweek", one_time, bigint, |c| fields(c, 0, "DOW")),
    Declaration::new("hour", one_time, bigint, |c| fields(c, 0, "HOUR")),
    Declaration::new("minute", one_time, bigint, |c| fields(c, 0, "MINUTE")),
    Declaration::new("second", one_time, bigint, |c| fields(c, 0, "SECOND")),
    Declaration::new("to_timestamp", |t| texts(t, 1..=2), timestamp, to_timestamp).nullable(),
    Declaration::new("to_timestamp_ltz", coerce_ltz, timestamp_ltz, to_timestamp_ltz).nullable(),
    Declaration::new("to_date", |t| texts(t, 1..=2), date, to_date).nullable(),
    Declaration::new("from_unixtime", coerce_from_unixtime, text, from_unixtime).nullable(),
    Declaration::new("floor_to", coerce_round, |t| Ok(t[0].clone()), |c| round(c, false)),
    Declaration::new("ceil_to", coerce_round, |t| Ok(t[0].clone()), |c| round(c, true)),
    Declaration::new("timestampdiff", coerce_diff, |_| Ok(DataType::Int32), timestampdiff),
    Declaration::new("current_timestamp", nothing, timestamp_ltz, now_instant).volatile(),
    Declaration::new("now", nothing, timestamp_ltz, now_instant).volatile(),
    Declaration::new("current_row_timestamp", nothing, timestamp_ltz, now_instant).volatile(),
    Declaration::new("proctime", nothing, timestamp_ltz, now_instant).volatile(),
    Declaration::new("localtimestamp", nothing, timestamp, |c| {
        let ms = local_now(c);
        Ok(Arc::new(TimestampMillisecondArray::from_value(ms, c.rows)))
    })
    .volatile(),
    Declaration::new("current_date", nothing, date, |c| {
        let day = local_now(c).div_euclid(86_400_000) as i32;
        Ok(Arc::new(Date32Array::from_value(day, c.rows)))
    })
    .volatile(),
    Declaration::new("current_time", nothing, time, local_time).volatile(),
    Declaration::new("localtime", nothing, time, local_time).volatile(),
];

fn text(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Utf8View)
}

fn bigint(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Int64)
}

fn date(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Date32)
}

fn time(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Time32(TimeUnit::Millisecond))
}

fn timestamp(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Timestamp(TimeUnit::Millisecond, None))
}

fn timestamp_ltz(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())))
}

fn nothing(t: &[DataType]) -> Result<Vec<DataType>> {
    arity(t, 0..=0)?;
    Ok(Vec::new())
}

/// A date, time or timestamp stays what it is.
pub(super) fn as_time(ty: &DataType) -> Result<DataType> {
    match ty {
        DataType::Date32 | DataType::Timestamp(..) | DataType::Time32(TimeUnit::Millisecond) => Ok(ty.clone()),
        DataType::Null => Ok(DataType::Timestamp(TimeUnit::Millisecond, None)),
        other => plan_err!("a date or timestamp is expected, {} is given", shown(other)),
    }
}

fn one_time(t: &[DataType]) -> Result<Vec<DataType>> {
    arity(t, 1..=1)?;
    Ok(vec![as_time(&t[0])?])
}

fn coerce_date_format(t: &[DataType]) -> Result<Vec<DataType>> {
    arity(t, 2..=2)?;
    let first = as_text(&t[0]).or_else(|_| as_time(&t[0]))?;
    Ok(vec![first, as_text(&t[1])?])
}

fn coerce_extract(t: &[DataType]) -> Result<Vec<DataType>> {
    arity(t, 2..=2)?;
    Ok(vec![as_text(&t[0])?, as_time(&t[1])?])
}

fn coerce_round(t: &[DataType]) -> Result<Vec<DataType>> {
    arity(t, 2..=2)?;
    Ok(vec![as_time(&t[0])?, as_text(&t[1])?])
}

fn coerce_diff(t: &[DataType]) -> Result<Vec<DataType>> {
    arity(t, 3..=3)?;
    Ok(vec![as_text(&t[0])?, as_time(&t[1])?, as_time(&t[2])?])
}

fn coerce_ltz(t: &[DataType]) -> Result<Vec<DataType>> {
    arity(t, 1..=3)?;
    if as_text(&t[0]).is_ok() && t[0] != DataType::Null {
        return texts(t, 1..=3);
    }
    arity(t, 1..=2)?;
    t.iter().map(|t| as_int(t, DataType::Int64)).collect()
}

fn coerce_from_unixtime(t: &[DataType]) -> Result<Vec<DataType>> {
    arity(t, 1..=2)?;
    let mut out = vec![as_int(&t[0], DataType::Int64)?];
    if t.len() == 2 {
        out.push(as_text(&t[1])?);
    }
    Ok(out)
}

/// The compiled pattern of a text argument; recompiled only when it changes from row to row.
#[derive(Default)]
pub(super) struct Patterns(Option<(String, Pattern)>);

impl Patterns {
    pub(super) fn get(&mut self, text: &str) -> Result<&Pattern> {
        if self.0.as_ref().is_none_or(|(t, _)| t != text) {
            let pattern = Pattern::new(text).map_err(EvalError::other)?;
            self.0 = Some((text.to_owned(), pattern));
        }
        Ok(&self.0.as_ref().expect("set above").1)
    }
}

/// `DATE_FORMAT(t, 'yyyy-MM-dd')`. Neighbouring rows of one grain (a day, for this pattern) share their text.
fn date_format(c: &Call<'_>) -> Result<ArrayRef> {
    let column = c.column(0)?;
    let patterns = c.text(1);
    let strings = column.as_string_view_opt();
    let walls = match strings {
        Some(_) => None,
        None => Some(WallColumn::new(&column, c.session.zone)?),
    };
    let read = |row: usize| match (&walls, strings) {
        (Some(walls), _) => walls.get(row),
        (None, Some(s)) => s.is_valid(row).then(|| parse_timestamp(s.value(row))).flatten(),
        (None, None) => None,
    };
    let mut out = arrow::array::StringViewBuilder::with_capacity(c.rows);
    let mut compiled = Patterns::default();
    let mut last: Option<(i32, i64)> = None;
    let mut last_pattern = None;
    let mut buffer = String::new();
    for row in 0..c.rows {
        let (Some(wall), Some(text)) = (read(row), patterns.get(row)) else {
            out.append_null();
            continue;
        };
        let pattern = compiled.get(text)?;
        let grain = (wall.day, wall.nanos / pattern.grain());
        if last != Some(grain) || last_pattern != Some(text) {
            buffer.clear();
            last = pattern.write(wall, &mut buffer).map(|()| grain);
            last_pattern = Some(text);
        }
        match last {
            Some(_) => out.append_value(&buffer),
            None => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// One field of a date or time as BIGINT. The unit is a constant of the query.
fn fields(c: &Call<'_>, arg: usize, unit: &str) -> Result<ArrayRef> {
    let column = c.column(arg)?;
    // The hour of a plain timestamp needs no calendar.
    if let (DataType::Timestamp(TimeUnit::Millisecond, None), Some(per)) = (column.data_type(), clock_unit(unit)) {
        let (step, modulus) = per;
        let ms = column.as_primitive::<TimestampMillisecondType>();
        return Ok(Arc::new(ms.unary::<_, Int64Type>(|t| t.div_euclid(step).rem_euclid(modulus))));
    }
    let field: fn(Wall) -> Option<i64> = match unit {
        "MILLENNIUM" => |w| w.date().map(|d| century_like(d.year(), 1_000)),
        "CENTURY" => |w| w.date().map(|d| century_like(d.year(), 100)),
        "DECADE" => |w| w.date().map(|d| i64::from(d.year().div_euclid(10))),
        "YEAR" => |w| w.date().map(|d| i64::from(d.year())),
        "QUARTER" => |w| w.date().map(|d| i64::from(d.month0() / 3 + 1)),
        "MONTH" => |w| w.date().map(|d| i64::from(d.month())),
        "WEEK" => |w| w.date().map(|d| i64::from(d.iso_week().week())),
        "DOY" => |w| w.date().map(|d| i64::from(d.ordinal())),
        "DAY" => |w| w.date().map(|d| i64::from(d.day())),
        "DOW" => |w| w.date().map(|d| i64::from(d.weekday().num_days_from_sunday() + 1)),
        "ISODOW" => |w| w.date().map(|d| i64::from(d.weekday().number_from_monday())),
        "HOUR" => |w| Some(w.nanos / 3_600_000_000_000),
        "MINUTE" => |w| Some(w.nanos / 60_000_000_000 % 60),
        "SECOND" => |w| Some(w.nanos / 1_000_000_000 % 60),
        "MILLISECOND" => |w| Some(w.nanos / 1_000_000 % 1_000),
        "MICROSECOND" => |w| Some(w.nanos / 1_000 % 1_000_000),
        "EPOCH" => |w| Some(i64::from(w.day) * 86_400 + w.nanos / 1_000_000_000),
        other => return Err(EvalError::other(format!("EXTRACT({other} FROM …) is not supported")).into()),
    };
    let walls = WallColumn::new(&column, c.session.zone)?;
    Ok(Arc::new((0..c.rows).map(|row| walls.get(row).and_then(field)).collect::<Int64Array>()))
}

/// The century or millennium of a year: the first begins with year 1, and there is none numbered 0.
fn century_like(year: i32, years: i32) -> i64 {
    i64::from(if year > 0 { (year + years - 1) / years } else { -((years - year) / years) })
}

/// Milliseconds of one unit of the clock, and how many there are.
fn clock_unit(unit: &str) -> Option<(i64, i64)> {
    match unit {
        "HOUR" => Some((3_600_000, 24)),
        "MINUTE" => Some((60_000, 60)),
        "SECOND" => Some((1_000, 60)),
        _ => None,
    }
}

/// Reads by the default form, or by a pattern.
fn read_wall(c: &Call<'_>, compiled: &mut Patterns, row: usize) -> Result<Option<Wall>> {
    let Some(text) = c.text(0).get(row) else { return Ok(None) };
    if c.args.len() == 1 {
        return Ok(parse_timestamp(text));
    }
    let patterns = c.text(1);
    Ok(match patterns.get(row) {
        Some(pattern) => compiled.get(pattern)?.read(text),
        None => None,
    })
}

fn to_timestamp(c: &Call<'_>) -> Result<ArrayRef> {
    let mut compiled = Patterns::default();
    let values =
        (0..c.rows).map(|row| Ok(read_wall(c, &mut compiled, row)?.map(Wall::millis))).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(TimestampMillisecondArray::from(values)))
}

fn to_date(c: &Call<'_>) -> Result<ArrayRef> {
    let mut compiled = Patterns::default();
    let values =
        (0..c.rows).map(|row| Ok(read_wall(c, &mut compiled, row)?.map(|w| w.day))).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Date32Array::from(values)))
}

/// From seconds (precision 0) or milliseconds (3), or from text that is read in UTC unless a third argument says where.
fn to_timestamp_ltz(c: &Call<'_>) -> Result<ArrayRef> {
    let values: Vec<Option<i64>> = if c.args[0].data_type() == &DataType::Int64 {
        (0..c.rows)
            .map(|row| {
                let (value, precision) = (c.long(0, row)?, if c.args.len() == 2 { c.long(1, row)? } else { 3 });
                match precision {
                    0 => value.checked_mul(1_000),
                    3 => Some(value),
                    _ => None,
                }
            })
            .collect()
    } else {
        let mut compiled = Patterns::default();
        (0..c.rows)
            .map(|row| {
                let zone = match c.args.len() {
                    3 => c.text(2).get(row).and_then(Zone::parse),
                    _ => Some(Zone::UTC),
                };
                let wall = read_wall(c, &mut compiled, row)?;
                Ok(wall.zip(zone).map(|(w, z)| z.to_instant_millis(w.millis())))
            })
            .collect::<Result<_>>()?
    };
    Ok(Arc::new(TimestampMillisecondArray::from(values).with_timezone("UTC")))
}

/// Seconds since 1970 as text in the session's zone.
fn from_unixtime(c: &Call<'_>) -> Result<ArrayRef> {
    let patterns = (c.args.len() == 2).then(|| c.text(1));
    let mut compiled = Patterns::default();
    let mut out = arrow::array::StringViewBuilder::with_capacity(c.rows);
    let mut buffer = String::new();
    for row in 0..c.rows {
        let pattern = match &patterns {
            Some(p) => p.get(row),
            None => Some("yyyy-MM-dd HH:mm:ss"),
        };
        let (Some(seconds), Some(pattern)) = (c.long(0, row).and_then(|s| s.checked_mul(1_000)), pattern) else {
            out.append_null();
            continue;
        };
        buffer.clear();
        let wall = Wall::from_units(c.session.zone.to_local_millis(seconds), 86_400_000);
        match compiled.get(pattern)?.write(wall, &mut buffer) {
            Some(()) => out.append_value(&buffer),
            None => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// `FLOOR(t TO unit)`, `CEIL(t TO unit)`: the type stays; weeks start on Sunday.
fn round(c: &Call<'_>, up: bool) -> Result<ArrayRef> {
    let unit = c.text(1).constant().flatten().unwrap_or_default();
    let column = c.column(0)?;
    let walls = WallColumn::new(&column, c.session.zone)?;
    let instant = matches!(column.data_type(), DataType::Timestamp(_, Some(_)));
    let mut days = Vec::with_capacity(c.rows);
    for row in 0..c.rows {
        days.push(match walls.get(row) {
            None => None,
            Some(wall) => {
                let floor = floor_to(wall, unit)?;
                Some(if up && floor != wall { next_unit(floor, unit) } else { floor })
            }
        });
    }
    let result: ArrayRef = match column.data_type() {
        DataType::Date32 => Arc::new(days.iter().map(|w| w.map(|w| w.day)).collect::<Date32Array>()),
        DataType::Time32(_) => {
            Arc::new(days.iter().map(|w| w.map(|w| (w.nanos / 1_000_000) as i32)).collect::<Time32MillisecondArray>())
        }
        _ => {
            let zone = c.session.zone;
            let ms = |w: Wall| if instant { zone.to_instant_millis(w.millis()) } else { w.millis() };
            let array = days.iter().map(|w| w.map(ms)).collect::<TimestampMillisecondArray>();
            cast(&array, &DataType::Timestamp(TimeUnit::Millisecond, None))?
        }
    };
    // From milliseconds to the unit and zone of the argument; both are the same instant.
    match column.data_type() {
        DataType::Timestamp(_, Some(zone)) => {
            let utc = result.as_primitive::<TimestampMillisecondType>().clone().with_timezone(Arc::clone(zone));
            Ok(cast(&utc, column.data_type())?)
        }
        other => Ok(cast(&result, other)?),
    }
}

fn floor_to(wall: Wall, unit: &str) -> Result<Wall> {
    let clock = |step: i64| Wall { day: wall.day, nanos: wall.nanos / step * step };
    let start_of = |date: Option<NaiveDate>| date.map(|d| Wall::of(d, 0)).unwrap_or(wall);
    let date = wall.date();
    Ok(match unit {
        "MILLISECOND" => clock(1_000_000),
        "SECOND" => clock(1_000_000_000),
        "MINUTE" => clock(60_000_000_000),
        "HOUR" => clock(3_600_000_000_000),
        "DAY" => Wall { day: wall.day, nanos: 0 },
        "WEEK" => {
            let since_sunday = date.map_or(0, |d| d.weekday().num_days_from_sunday() as i32);
            Wall { day: wall.day - since_sunday, nanos: 0 }
        }
        "MONTH" => start_of(date.and_then(|d| d.with_day(1))),
        "QUARTER" => start_of(date.and_then(|d| NaiveDate::from_ymd_opt(d.year(), d.month0() / 3 * 3 + 1, 1))),
        "YEAR" => start_of(date.and_then(|d| NaiveDate::from_ymd_opt(d.year(), 1, 1))),
        other => return Err(EvalError::other(format!("FLOOR or CEIL TO {other} is not supported")).into()),
    })
}

/// The start of the unit after the one that begins at `floor`.
fn next_unit(floor: Wall, unit: &str) -> Wall {
    let months = |n: u32| {
        let date = floor.date().and_then(|d| d.checked_add_months(chrono::Months::new(n)));
        date.map_or(floor, |d| Wall::of(d, 0))
    };
    let step = match unit {
        "MILLISECOND" => 1_000_000,
        "SECOND" => 1_000_000_000,
        "MINUTE" => 60_000_000_000,
        "HOUR" => 3_600_000_000_000,
        "DAY" => NANOS_PER_DAY,
        "WEEK" => 7 * NANOS_PER_DAY,
        "MONTH" => return months(1),
        "QUARTER" => return months(3),
        _ => return months(12),
    };
    let nanos = floor.nanos + step;
    Wall { day: floor.day + (nanos / NANOS_PER_DAY) as i32, nanos: nanos % NANOS_PER_DAY }
}

/// Whole units from the first time to the second, cut towards zero. A month is over when the day of the month is
/// reached again, or the month ends before it.
fn timestampdiff(c: &Call<'_>) -> Result<ArrayRef> {
    let unit = c.text(0).constant().flatten().unwrap_or_default();
    let (from, to) = (c.column(1)?, c.column(2)?);
    let (from, to) = (WallColumn::new(&from, c.session.zone)?, WallColumn::new(&to, c.session.zone)?);
    enum Unit {
        Millis(i64),
        Months(i64),
    }
    let unit = match unit.trim_end_matches('S') {
        "MILLISECOND" => Unit::Millis(1),
        "SECOND" => Unit::Millis(1_000),
        "MINUTE" => Unit::Millis(60_000),
        "HOUR" => Unit::Millis(3_600_000),
        "DAY" => Unit::Millis(86_400_000),
        "WEEK" => Unit::Millis(7 * 86_400_000),
        "MONTH" => Unit::Months(1),
        "QUARTER" => Unit::Months(3),
        "YEAR" => Unit::Months(12),
        other => return Err(EvalError::other(format!("TIMESTAMPDIFF({other}, …) is not supported")).into()),
    };
    let values = (0..c.rows).map(|row| {
        let (a, b) = (from.get(row)?, to.get(row)?);
        Some(match unit {
            Unit::Millis(step) => ((b.millis() - a.millis()) / step) as i32,
            Unit::Months(step) => (months_between(a, b)? / step) as i32,
        })
    });
    Ok(Arc::new(values.collect::<Int32Array>()))
}

fn months_between(a: Wall, b: Wall) -> Option<i64> {
    if b < a {
        return months_between(b, a).map(|m| -m);
    }
    let (x, y) = (a.date()?, b.date()?);
    let months = i64::from(y.year() - x.year()) * 12 + i64::from(y.month()) - i64::from(x.month());
    let last_day = y.with_day(1)?.checked_add_months(chrono::Months::new(1))?.pred_opt()?.day();
    let reached = (y.day().min(last_day), b.nanos) >= (x.day().min(last_day), a.nanos);
    Some(if reached { months } else { months - 1 })
}

fn now_instant(c: &Call<'_>) -> Result<ArrayRef> {
    let ms = c.session.clock.wall_ms();
    Ok(Arc::new(TimestampMillisecondArray::from_value(ms, c.rows).with_timezone("UTC")))
}

fn local_now(c: &Call<'_>) -> i64 {
    c.session.zone.to_local_millis(c.session.clock.wall_ms())
}

/// TIME(0): whole seconds.
fn local_time(c: &Call<'_>) -> Result<ArrayRef> {
    let ms = local_now(c).rem_euclid(86_400_000) / 1_000 * 1_000;
    Ok(Arc::new(Time32MillisecondArray::from_value(ms as i32, c.rows)))
}
