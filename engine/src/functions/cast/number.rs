//! Casts to numbers and booleans.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Decimal128Array, Float32Array, Float64Array,
    PrimitiveArray, StringViewArray,
};
use arrow::compute;
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use datafusion::common::Result;
use dflow_common::{SqlType, TypeKind};

use super::read::{self, Why};
use super::{Rules, impossible};
use crate::functions::decimal::{power, rescale};
use crate::functions::error::EvalError;

pub(super) fn cast(array: &ArrayRef, to: &SqlType, rules: &Rules) -> Result<ArrayRef> {
    let int = |bits| -> Result<PrimitiveArray<Int64Type>> { whole(array, to, rules, bits) };
    Ok(match &to.kind {
        TypeKind::Boolean => Arc::new(boolean(array, to, rules)?),
        // Wrapping in 64 bits and then cutting is wrapping in fewer bits.
        TypeKind::TinyInt => Arc::new(int(8)?.unary::<_, Int8Type>(|v| v as i8)),
        TypeKind::SmallInt => Arc::new(int(16)?.unary::<_, Int16Type>(|v| v as i16)),
        TypeKind::Int => Arc::new(int(32)?.unary::<_, Int32Type>(|v| v as i32)),
        TypeKind::BigInt => Arc::new(int(64)?),
        TypeKind::Double => Arc::new(double(array, to, rules)?),
        TypeKind::Float => float(array, to, rules)?,
        TypeKind::Decimal(p, s) => Arc::new(decimal(array, to, rules, *p, *s)?),
        _ => return Err(impossible(array.data_type(), to)),
    })
}

/// Reads every text.
pub(super) fn read_texts<T: ArrowPrimitiveType>(
    text: &StringViewArray,
    to: &SqlType,
    rules: &Rules,
    read: impl Fn(&str) -> Result<Option<T::Native>, Why>,
) -> Result<PrimitiveArray<T>> {
    let one = |value: Option<&str>| -> Result<Option<T::Native>, EvalError> {
        let Some(value) = value else { return Ok(None) };
        read(value).or_else(|why| rules.failed(value, to, why))
    };
    Ok(text.iter().map(one).collect::<Result<PrimitiveArray<T>, _>>()?)
}

fn boolean(array: &ArrayRef, to: &SqlType, rules: &Rules) -> Result<BooleanArray> {
    Ok(match array.data_type() {
        DataType::Utf8View => {
            let one = |value: Option<&str>| -> Result<Option<bool>, EvalError> {
                let Some(value) = value else { return Ok(None) };
                read::boolean(value).map(Some).or_else(|why| rules.failed(value, to, why))
            };
            array.as_string_view().iter().map(one).collect::<Result<_, _>>()?
        }
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().iter().map(|v| v.map(|v| v != 0)).collect(),
        t if t.is_floating() => double(array, to, rules)?.iter().map(|v| v.map(|v| v != 0.0)).collect(),
        _ => whole(array, to, rules, 64)?.iter().map(|v| v.map(|v| v != 0)).collect(),
    })
}

/// As 64 bits; floats saturate at `bits`, wider numbers are cut by the caller.
fn whole(array: &ArrayRef, to: &SqlType, rules: &Rules, bits: u32) -> Result<PrimitiveArray<Int64Type>> {
    Ok(match array.data_type() {
        DataType::Utf8View => read_texts(array.as_string_view(), to, rules, |t| read::whole_within(t, bits).map(Some))?,
        DataType::Boolean => array.as_boolean().iter().map(|v| v.map(i64::from)).collect(),
        DataType::Decimal128(_, scale) => {
            let unit = power((*scale).max(0) as usize);
            array.as_primitive::<Decimal128Type>().unary(|v| (v / unit) as i64)
        }
        t if t.is_floating() => {
            let values = double(array, to, rules)?;
            match bits {
                // Java casts to INT first and then cuts to the narrower type.
                8 | 16 | 32 => values.unary(|v| i64::from(v as i32)),
                _ => values.unary(|v| v as i64),
            }
        }
        t if t.is_integer() => compute::cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone(),
        other => return Err(impossible(other, to)),
    })
}

fn double(array: &ArrayRef, to: &SqlType, rules: &Rules) -> Result<Float64Array> {
    Ok(match array.data_type() {
        DataType::Utf8View => read_texts(array.as_string_view(), to, rules, |t| read::float(t).map(Some))?,
        DataType::Boolean => array.as_boolean().iter().map(|v| v.map(|v| f64::from(u8::from(v)))).collect(),
        DataType::Decimal128(_, scale) => {
            let scale = *scale;
            // Both parts of a short decimal are exact floats, and so their quotient is rounded once; longer ones are read.
            let exact = |v: i128| v.unsigned_abs() < 1 << 53 && scale <= 22;
            array.as_primitive::<Decimal128Type>().unary(|v| {
                if exact(v) {
                    v as f64 / power(scale.max(0) as usize) as f64
                } else {
                    format!("{v}e-{scale}").parse().unwrap_or(f64::NAN)
                }
            })
        }
        t if t.is_numeric() => compute::cast(array, &DataType::Float64)?.as_primitive::<Float64Type>().clone(),
        other => return Err(impossible(other, to)),
    })
}

fn float(array: &ArrayRef, to: &SqlType, rules: &Rules) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Float32 => Arc::clone(array),
        t if t.is_integer() => compute::cast(array, &DataType::Float32)?,
        _ => {
            let narrow: Float32Array = double(array, to, rules)?.unary::<_, Float32Type>(|v| v as f32);
            Arc::new(narrow)
        }
    })
}

fn decimal(array: &ArrayRef, to: &SqlType, rules: &Rules, p: u8, s: u8) -> Result<Decimal128Array> {
    let limit = power(usize::from(p)).unsigned_abs();
    let fit = |v: i128, scale: i32| rescale(v, scale, i32::from(s)).filter(|v| v.unsigned_abs() < limit);
    let values: Decimal128Array = match array.data_type() {
        DataType::Utf8View => read_texts(array.as_string_view(), to, rules, |t| read::decimal(t, p, s))?,
        DataType::Decimal128(_, scale) => {
            let scale = i32::from(*scale);
            array.as_primitive::<Decimal128Type>().unary_opt(|v| fit(v, scale))
        }
        t if t.is_floating() => {
            let single = *t == DataType::Float32;
            let values = double(array, to, rules)?;
            // The shortest text that reads back as the float is what Java rounds.
            values.unary_opt(|v| {
                let text = if single { format!("{:e}", v as f32) } else { format!("{v:e}") };
                read::decimal(&text, p, s).ok().flatten()
            })
        }
        _ => whole(array, to, rules, 64)?.unary_opt(|v| fit(v.into(), 0)),
    };
    Ok(values.with_precision_and_scale(p, s as i8)?)
}
