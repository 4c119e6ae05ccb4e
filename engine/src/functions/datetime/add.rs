//! TIMESTAMPADD and UNIX_TIMESTAMP.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, Int64Array, PrimitiveArray};
use arrow::datatypes::{
    ArrowTimestampType, DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use chrono::Months;
use datafusion::common::{Result, ScalarValue, plan_err};
use dflow_common::types::precision_of;

use super::functions::{Patterns, as_time};
use super::{NANOS_PER_DAY, Wall, WallColumn, parse_timestamp};
use crate::functions::call::{Call, Constants, Declaration, arity, as_int, as_text, texts};
use crate::functions::error::EvalError;

pub(crate) const FUNCTIONS: &[Declaration] = &[
    Declaration::new("timestampadd", coerce_add, |t| Ok(t[2].clone()), add).typed_by_constants(add_type).nullable(),
    Declaration::new("unix_timestamp", |t| texts(t, 0..=2), |_| Ok(DataType::Int64), unix_timestamp)
        .volatile()
        .nullable(),
];

/// What UNIX_TIMESTAMP makes of text that is no timestamp.
const NOT_A_TIME: i64 = i64::MIN;

fn coerce_add(t: &[DataType]) -> Result<Vec<DataType>> {
    arity(t, 3..=3)?;
    Ok(vec![as_text(&t[0])?, as_int(&t[1], DataType::Int64)?, as_time(&t[2])?])
}

/// A unit: so many months, or so many nanoseconds.
enum Unit {
    Months(i64),
    Nanos(i64),
}

fn unit(name: &str) -> Option<Unit> {
    Some(match name.trim_end_matches('S') {
        "MICROSECOND" => Unit::Nanos(1_000),
        "MILLISECOND" => Unit::Nanos(1_000_000),
        "SECOND" => Unit::Nanos(1_000_000_000),
        "MINUTE" => Unit::Nanos(60_000_000_000),
        "HOUR" => Unit::Nanos(3_600_000_000_000),
        "DAY" => Unit::Nanos(NANOS_PER_DAY),
        "WEEK" => Unit::Nanos(7 * NANOS_PER_DAY),
        "MONTH" => Unit::Months(1),
        "QUARTER" => Unit::Months(3),
        "YEAR" => Unit::Months(12),
        _ => return None,
    })
}

/// The type stays; a DATE and hours or less make a TIMESTAMP(6).
fn add_type(types: &[DataType], constants: Constants<'_>) -> Result<DataType> {
    let name = constants.first().copied().flatten().and_then(ScalarValue::try_as_str).flatten().unwrap_or_default();
    match (unit(name), &types[2]) {
        (None, _) => plan_err!("TIMESTAMPADD({name}, …) is not supported"),
        (Some(Unit::Nanos(n)), DataType::Date32) if n < NANOS_PER_DAY => {
            Ok(DataType::Timestamp(TimeUnit::Microsecond, None))
        }
        (_, DataType::Time32(_)) => plan_err!("TIMESTAMPADD takes a DATE or TIMESTAMP"),
        (_, other) => Ok(other.clone()),
    }
}

/// Month ends stay in their month: 31 January and a month is the last of February.
fn add(c: &Call<'_>) -> Result<ArrayRef> {
    let name = c.text(0).get(0).unwrap_or_default().to_owned();
    let Some(unit) = unit(&name) else {
        return Err(EvalError::other(format!("TIMESTAMPADD({name}, …) is not supported")).into());
    };
    let times = c.column(2)?;
    let walls = WallColumn::new(&times, c.session.zone)?;
    // Days and less of an instant do not depend on the clock on the wall.
    let instant = matches!(times.data_type(), DataType::Timestamp(_, Some(_)));
    let exact = WallColumn::new(&times, super::Zone::UTC)?;
    let moved = |row: usize| -> Option<Wall> {
        let n = c.long(1, row)?;
        match unit {
            Unit::Nanos(step) => exact.get(row)?.plus_nanos(i128::from(n) * i128::from(step)),
            Unit::Months(step) => {
                let wall = walls.get(row)?;
                let (date, months) = (wall.date()?, n.checked_mul(step)?);
                let size = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
                let date = if months < 0 { date.checked_sub_months(size) } else { date.checked_add_months(size) }?;
                let wall = Wall::of(date, wall.nanos);
                if !instant {
                    return Some(wall);
                }
                let shift = wall.millis() - c.session.zone.to_instant_millis(wall.millis());
                wall.plus_nanos(-i128::from(shift) * 1_000_000)
            }
        }
    };
    fn stamps<T: ArrowTimestampType>(c: &Call<'_>, moved: impl Fn(usize) -> Option<Wall>) -> ArrayRef {
        let digits = u32::from(9 - precision_of(T::UNIT));
        let value = |w: Wall| {
            let nanos = i128::from(w.day) * i128::from(NANOS_PER_DAY) + i128::from(w.nanos);
            i64::try_from(nanos.div_euclid(10i128.pow(digits))).ok()
        };
        let values: PrimitiveArray<T> = (0..c.rows).map(|row| moved(row).and_then(value)).collect();
        Arc::new(values.with_data_type(c.result.clone()))
    }
    Ok(match &c.result {
        DataType::Date32 => Arc::new((0..c.rows).map(|row| moved(row).map(|w| w.day)).collect::<Date32Array>()),
        DataType::Timestamp(TimeUnit::Microsecond, _) => stamps::<TimestampMicrosecondType>(c, moved),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => stamps::<TimestampNanosecondType>(c, moved),
        _ => stamps::<TimestampMillisecondType>(c, moved),
    })
}

/// Seconds since 1970: now, or of a text in the session's zone.
fn unix_timestamp(c: &Call<'_>) -> Result<ArrayRef> {
    if c.args.is_empty() {
        return Ok(Arc::new(Int64Array::from_value(c.session.clock.wall_ms().div_euclid(1_000), c.rows)));
    }
    let texts = c.text(0);
    let pattern = (c.args.len() == 2).then(|| c.text(1));
    let mut patterns = Patterns::default();
    let mut values = Vec::with_capacity(c.rows);
    for row in 0..c.rows {
        let wall = match (texts.get(row), pattern.as_ref().map(|p| p.get(row))) {
            (Some(text), None) => parse_timestamp(text),
            (Some(text), Some(Some(pattern))) => patterns.get(pattern)?.read(text),
            _ => None,
        };
        values.push(match wall {
            Some(w) => c.session.zone.to_instant_millis(w.millis()).div_euclid(1_000),
            None => NOT_A_TIME,
        });
    }
    let nulls = c.column(0)?.as_string_view().nulls().cloned();
    Ok(Arc::new(Int64Array::new(values.into(), nulls)))
}
