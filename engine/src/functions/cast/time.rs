//! Casts to dates and times.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Time32MillisecondArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::Result;
use dflow_common::{SqlType, TypeKind};

use super::number::read_texts;
use super::{Rules, impossible};
use crate::functions::datetime::{Wall, WallColumn, parse_time, parse_timestamp};
use crate::functions::error::EvalError;

const NANOS_PER_DAY: i128 = 86_400_000_000_000;

pub(super) fn cast(array: &ArrayRef, to: &SqlType, rules: &Rules) -> Result<ArrayRef> {
    let text = array.as_string_view_opt();
    Ok(match &to.kind {
        TypeKind::Date => match text {
            Some(text) => Arc::new(read_texts::<arrow::datatypes::Date32Type>(text, to, rules, |t| {
                parse_timestamp(t).map(|w| Some(w.day)).ok_or("it is not a date like 2024-01-02")
            })?),
            None => {
                let walls = WallColumn::new(array, rules.zone)?;
                Arc::new((0..array.len()).map(|i| walls.get(i).map(|w| w.day)).collect::<Date32Array>())
            }
        },
        TypeKind::Time(p) => {
            let unit = 10i64.pow(3 - u32::from((*p).min(3)));
            let millis = |nanos: i64| (nanos / 1_000_000 / unit * unit) as i32;
            match text {
                Some(text) => Arc::new(read_texts::<arrow::datatypes::Time32MillisecondType>(text, to, rules, |t| {
                    let time = t.trim();
                    let nanos = parse_time(time).or_else(|| parse_timestamp(time).map(|w| w.nanos));
                    nanos.map(|n| Some(millis(n))).ok_or("it is not a time like 03:04:05")
                })?),
                None => {
                    let walls = WallColumn::new(array, rules.zone)?;
                    let times = (0..array.len()).map(|i| walls.get(i).map(|w| millis(w.nanos)));
                    Arc::new(times.collect::<Time32MillisecondArray>())
                }
            }
        }
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => timestamps(array, to, rules, *p)?,
        _ => return Err(impossible(array.data_type(), to)),
    })
}

/// Readings of the clock cut to `p` digits, or the instants they are in the session's zone.
fn timestamps(array: &ArrayRef, to: &SqlType, rules: &Rules, p: u8) -> Result<ArrayRef> {
    let DataType::Timestamp(unit, zone) = to.to_arrow() else { return Err(impossible(array.data_type(), to)) };
    let instant = zone.is_some();
    // From instant to instant the clock on the wall does not matter.
    let same = matches!(array.data_type(), DataType::Timestamp(_, z) if z.is_some() == instant);
    let walls = match array.data_type() {
        DataType::Utf8View => None,
        DataType::Timestamp(..) if same => Some(WallColumn::new(array, crate::functions::datetime::Zone::UTC)?),
        _ => Some(WallColumn::new(array, rules.zone)?),
    };
    let cut = 10i128.pow(9 - u32::from(p.min(9)));
    let value = |w: Wall| -> i128 {
        let mut nanos = i128::from(w.day) * NANOS_PER_DAY + i128::from(w.nanos);
        nanos = nanos.div_euclid(cut) * cut;
        if instant && !same {
            let local_ms = nanos.div_euclid(1_000_000);
            let shift = local_ms - i128::from(rules.zone.to_instant_millis(local_ms as i64));
            nanos -= shift * 1_000_000;
        }
        nanos
    };
    let text = array.as_string_view_opt();
    let one = |row: usize| -> Result<Option<i128>, EvalError> {
        if array.is_null(row) {
            return Ok(None);
        }
        if let Some(text) = text {
            let text = text.value(row);
            return match parse_timestamp(text) {
                Some(w) => Ok(Some(value(w))),
                None => rules.failed(text, to, "it is not a timestamp like 2024-01-02 03:04:05.678"),
            };
        }
        Ok(walls.as_ref().and_then(|w| w.get(row)).map(value))
    };
    let per_unit = match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    };
    // What the unit cannot hold is NULL.
    let units = (0..array.len())
        .map(|row| Ok(one(row)?.and_then(|n| i64::try_from(n.div_euclid(per_unit)).ok())))
        .collect::<Result<Vec<Option<i64>>, EvalError>>()?;
    Ok(match unit {
        TimeUnit::Microsecond => Arc::new(TimestampMicrosecondArray::from(units).with_timezone_opt(zone)),
        TimeUnit::Nanosecond => Arc::new(TimestampNanosecondArray::from(units).with_timezone_opt(zone)),
        _ => Arc::new(TimestampMillisecondArray::from(units).with_timezone_opt(zone)),
    })
}
