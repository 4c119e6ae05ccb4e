//! Numbers: IF, MOD, ROUND, CEIL, FLOOR, TRUNCATE, SIGN, LOG, GREATEST, LEAST.
//!
//! | call | result type |
//! |---|---|
//! | `CEIL(d)`, `FLOOR(d)` of DECIMAL(p, s) | DECIMAL(p, 0) |
//! | `ROUND(d)`, `TRUNCATE(d)` | DECIMAL(p - s + 1, 0) |
//! | `ROUND(d, n)`, `TRUNCATE(d, n)` | DECIMAL(p - s + n + 1, n) for a literal `n` below s |
//! | of whole numbers and floats | the argument's type |
//! | `LOG(x)`, `LOG(base, x)` | DOUBLE; one argument: natural |

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, make_comparator};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{self, SortOptions};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::type_coercion::binary::type_union_coercion;
use datafusion::logical_expr::{ColumnarValue, Operator};

use super::call::{Call, Constants, Declaration, arity, shown};
use super::decimal::{half_up, power};
use super::error::EvalError;

pub(super) const FUNCTIONS: &[Declaration] = &[
    Declaration::new("if", coerce_if, |t| Ok(t[1].clone()), if_).nullable(),
    Declaration::new("mod", coerce_mod, mod_type, modulo),
    Declaration::new("ceil", number, whole_type, |c| round(c, Round::Ceil)),
    Declaration::new("ceiling", number, whole_type, |c| round(c, Round::Ceil)),
    Declaration::new("floor", number, whole_type, |c| round(c, Round::Floor)),
    Declaration::new("round", number_and_digits, rounded, |c| round(c, Round::HalfUp)).typed_by_constants(round_type),
    Declaration::new("truncate", number_and_digits, rounded, |c| round(c, Round::Down)).typed_by_constants(round_type),
    Declaration::new("sign", number, |t| Ok(t[0].clone()), sign),
    Declaration::new("log", floats, |_| Ok(DataType::Float64), log),
    Declaration::new("sqrt", one_float, double, |c| float(c, f64::sqrt)),
    Declaration::new(
        "e",
        |t| arity(t, 0..=0).map(|()| Vec::new()),
        double,
        |c| Ok(Arc::new(Float64Array::from_value(std::f64::consts::E, c.rows))),
    ),
    Declaration::new("greatest", common, |t| Ok(t[0].clone()), |c| extreme(c, Ordering::Greater)),
    Declaration::new("least", common, |t| Ok(t[0].clone()), |c| extreme(c, Ordering::Less)),
];

fn numeric(ty: &DataType) -> Result<DataType> {
    match ty {
        DataType::Null => Ok(DataType::Int32),
        t if t.is_signed_integer() || t.is_floating() || matches!(t, DataType::Decimal128(..)) => Ok(t.clone()),
        other => plan_err!("a number is expected, {} is given", shown(other)),
    }
}

fn number(types: &[DataType]) -> Result<Vec<DataType>> {
    arity(types, 1..=1)?;
    Ok(vec![numeric(&types[0])?])
}

fn number_and_digits(types: &[DataType]) -> Result<Vec<DataType>> {
    arity(types, 1..=2)?;
    let mut out = vec![numeric(&types[0])?];
    if let Some(digits) = types.get(1) {
        out.push(super::call::as_int(digits, DataType::Int64)?);
    }
    Ok(out)
}

fn floats(types: &[DataType]) -> Result<Vec<DataType>> {
    arity(types, 1..=2)?;
    types.iter().map(|t| numeric(t).map(|_| DataType::Float64)).collect()
}

fn one_float(types: &[DataType]) -> Result<Vec<DataType>> {
    arity(types, 1..=1)?;
    floats(types)
}

fn double(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Float64)
}

fn float(c: &Call<'_>, f: fn(f64) -> f64) -> Result<ArrayRef> {
    Ok(Arc::new(c.column(0)?.as_primitive::<Float64Type>().unary::<_, Float64Type>(f)))
}

/// The type that all have in common.
fn union(types: &[DataType]) -> Result<DataType> {
    let mut all = types[0].clone();
    for t in &types[1..] {
        all = match type_union_coercion(&all, t) {
            Some(t) => t,
            None => return plan_err!("{} and {} have no type in common", shown(&all), shown(t)),
        };
    }
    Ok(match all {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        other => other,
    })
}

fn common(types: &[DataType]) -> Result<Vec<DataType>> {
    arity(types, 1..=64)?;
    Ok(vec![union(types)?; types.len()])
}

fn coerce_if(types: &[DataType]) -> Result<Vec<DataType>> {
    arity(types, 3..=3)?;
    if !matches!(types[0], DataType::Boolean | DataType::Null) {
        return plan_err!("IF takes a BOOLEAN condition, {} is given", shown(&types[0]));
    }
    let value = union(&types[1..])?;
    Ok(vec![DataType::Boolean, value.clone(), value])
}

/// A NULL condition takes the second value.
fn if_(c: &Call<'_>) -> Result<ArrayRef> {
    let condition = c.column(0)?;
    let condition = condition.as_boolean();
    let truth: BooleanArray = match condition.nulls() {
        Some(nulls) => BooleanArray::new(condition.values() & nulls.inner(), None),
        None => condition.clone(),
    };
    Ok(zip(&truth, &c.column(1)?, &c.column(2)?)?)
}

fn coerce_mod(types: &[DataType]) -> Result<Vec<DataType>> {
    arity(types, 2..=2)?;
    let (l, r) = (numeric(&types[0])?, numeric(&types[1])?);
    match (&l, &r) {
        (DataType::Decimal128(..), t) | (t, DataType::Decimal128(..)) if !t.is_floating() => Ok(vec![l, r]),
        (l, r) if l.is_integer() && r.is_integer() => {
            let wide = if l.primitive_width() < r.primitive_width() { r } else { l };
            Ok(vec![wide.clone(), wide.clone()])
        }
        _ => Ok(vec![DataType::Float64; 2]),
    }
}

fn as_decimal(ty: &DataType) -> Option<(u8, i8)> {
    Some(match ty {
        DataType::Decimal128(p, s) => (*p, *s),
        DataType::Int8 => (3, 0),
        DataType::Int16 => (5, 0),
        DataType::Int32 => (10, 0),
        DataType::Int64 => (19, 0),
        _ => return None,
    })
}

fn mod_type(types: &[DataType]) -> Result<DataType> {
    let decimal = |t: &DataType| matches!(t, DataType::Decimal128(..));
    if types.iter().any(decimal)
        && let (Some(l), Some(r)) = (as_decimal(&types[0]), as_decimal(&types[1]))
        && let Some((p, s)) = super::decimal::result_type(Operator::Modulo, l, r)
    {
        return Ok(DataType::Decimal128(p, s));
    }
    Ok(types[0].clone())
}

fn modulo(c: &Call<'_>) -> Result<ArrayRef> {
    let (l, r) = (c.column(0)?, c.column(1)?);
    if let DataType::Decimal128(..) = &c.result
        && let (Some(lt), Some(rt)) = (as_decimal(l.data_type()), as_decimal(r.data_type()))
    {
        let value = |a: &ArrayRef| ColumnarValue::Array(Arc::clone(a));
        return super::decimal::evaluate(Operator::Modulo, (&value(&l), lt), (&value(&r), rt), c.rows);
    }
    Ok(compute::kernels::numeric::rem(&l, &r)?)
}

#[derive(Clone, Copy, PartialEq)]
enum Round {
    Ceil,
    Floor,
    HalfUp,
    Down,
}

/// DECIMAL loses its fraction; one more digit for what rounding may carry.
fn whole_type(types: &[DataType]) -> Result<DataType> {
    Ok(match &types[0] {
        DataType::Decimal128(p, s) if *s > 0 => {
            // Flink keeps the precision for CEIL and FLOOR: CEIL(DECIMAL(2, 1)) is DECIMAL(2, 0).
            DataType::Decimal128(*p, 0)
        }
        other => other.clone(),
    })
}

/// Without knowing the digits: a whole number.
fn rounded(types: &[DataType]) -> Result<DataType> {
    Ok(match &types[0] {
        DataType::Decimal128(p, s) if types.len() == 1 => DataType::Decimal128(round_precision(*p, *s, 0), 0),
        other => other.clone(),
    })
}

fn round_precision(p: u8, s: i8, digits: i8) -> u8 {
    (i32::from(p) - i32::from(s) + i32::from(digits) + 1).clamp(1, 38) as u8
}

fn round_type(types: &[DataType], constants: Constants<'_>) -> Result<DataType> {
    Ok(match (&types[0], digits(constants)) {
        (DataType::Decimal128(p, s), Some(n)) if n < i64::from(*s) => {
            let n = n.max(0) as i8;
            DataType::Decimal128(round_precision(*p, *s, n), n)
        }
        _ => rounded(types)?,
    })
}

/// The second argument when it is a literal.
fn digits(constants: Constants<'_>) -> Option<i64> {
    match constants.get(1)?.as_ref()? {
        ScalarValue::Int64(n) => *n,
        ScalarValue::Int32(n) => n.map(i64::from),
        ScalarValue::Int16(n) => n.map(i64::from),
        ScalarValue::Int8(n) => n.map(i64::from),
        _ => None,
    }
}

fn round(c: &Call<'_>, how: Round) -> Result<ArrayRef> {
    let values = c.column(0)?;
    let digits: Int64Array = match c.args.len() {
        1 => Int64Array::from_value(0, c.rows),
        _ => c.column(1)?.as_primitive::<Int64Type>().clone(),
    };
    let both = |i: usize| values.is_valid(i) && digits.is_valid(i);
    match values.data_type() {
        DataType::Decimal128(_, from) => {
            let DataType::Decimal128(p, to) = &c.result else {
                return Err(EvalError::other("the type of a rounded DECIMAL").into());
            };
            let (from, to, limit) = (i64::from(*from), i64::from(*to), power(usize::from(*p)).unsigned_abs());
            let decimals = values.as_primitive::<Decimal128Type>();
            let one = |i: usize| {
                let kept = digits.value(i).min(from);
                let cut = unit(from - kept).map_or(Some(0), |u| divide(decimals.value(i), u, how))?;
                // `cut` has `kept` digits behind the point; the result has `to`.
                let up = usize::try_from(to - kept).ok().filter(|u| *u <= 38)?;
                cut.checked_mul(power(up)).filter(|v| v.unsigned_abs() < limit)
            };
            let result: arrow::array::Decimal128Array =
                (0..c.rows).map(|i| if both(i) { one(i) } else { None }).collect();
            Ok(Arc::new(result.with_precision_and_scale(*p, to as i8)?))
        }
        t if t.is_floating() => {
            let wide = compute::cast(&values, &DataType::Float64)?;
            let floats = wide.as_primitive::<Float64Type>();
            let one = |i: usize| round_float(floats.value(i), digits.value(i), how);
            let result: arrow::array::Float64Array = (0..c.rows).map(|i| both(i).then(|| one(i))).collect();
            Ok(compute::cast(&result, values.data_type())?)
        }
        _ => {
            let wide = compute::cast(&values, &DataType::Int64)?;
            let whole = wide.as_primitive::<Int64Type>();
            let one = |i: usize| -> i64 {
                let (value, n) = (whole.value(i), digits.value(i));
                if n >= 0 {
                    return value;
                }
                let rounded = unit(-n).map_or(Some(0), |u| divide(i128::from(value), u, how)?.checked_mul(u));
                rounded.map_or(0, |v| v as i64)
            };
            let result: Int64Array = (0..c.rows).map(|i| both(i).then(|| one(i))).collect();
            let fit = compute::CastOptions { safe: true, ..Default::default() };
            Ok(compute::cast_with_options(&result, values.data_type(), &fit)?)
        }
    }
}

/// 10^n, `None` when every value of 38 digits is less than half of it.
fn unit(n: i64) -> Option<i128> {
    usize::try_from(n).ok().filter(|n| *n <= 38).map(power)
}

fn divide(value: i128, unit: i128, how: Round) -> Option<i128> {
    match how {
        Round::HalfUp => half_up(value, unit),
        Round::Down => Some(value / unit),
        Round::Floor => Some(value.div_euclid(unit)),
        Round::Ceil => Some(-(-value).div_euclid(unit)),
    }
}

/// Floats round as their shortest decimal text does, as in Java's `BigDecimal.valueOf`.
fn round_float(value: f64, digits: i64, how: Round) -> f64 {
    match how {
        Round::Ceil => return value.ceil(),
        Round::Floor => return value.floor(),
        _ => {}
    }
    if !value.is_finite() || value == 0.0 {
        return value;
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let fraction = mantissa.split_once('.').map_or(0, |(_, f)| f.len() as i64);
    let unscaled: i128 = mantissa.replace('.', "").parse().unwrap_or_default();
    // value = unscaled * 10^-scale
    let scale = fraction - exponent.parse::<i64>().unwrap_or_default();
    if digits >= scale {
        return value;
    }
    let rounded = unit(scale - digits).map_or(Some(0), |u| divide(unscaled, u, how)).unwrap_or_default();
    format!("{rounded}e{}", -digits).parse().unwrap_or(value)
}

fn sign(c: &Call<'_>) -> Result<ArrayRef> {
    let values = c.column(0)?;
    Ok(match values.data_type() {
        DataType::Decimal128(p, s) => {
            let one = power((*s).max(0) as usize);
            let signs: arrow::array::Decimal128Array =
                values.as_primitive::<Decimal128Type>().unary(|v| v.signum() * one);
            Arc::new(signs.with_precision_and_scale(*p, *s)?)
        }
        t if t.is_floating() => {
            let wide = compute::cast(&values, &DataType::Float64)?;
            let sign = |v: f64| if v == 0.0 || v.is_nan() { v } else { v.signum() };
            let signs = wide.as_primitive::<Float64Type>().unary::<_, Float64Type>(sign);
            compute::cast(&signs, values.data_type())?
        }
        _ => {
            let wide = compute::cast(&values, &DataType::Int64)?;
            let signs = wide.as_primitive::<Int64Type>().unary::<_, Int64Type>(i64::signum);
            compute::cast(&signs, values.data_type())?
        }
    })
}

fn log(c: &Call<'_>) -> Result<ArrayRef> {
    let first = c.column(0)?;
    let first = first.as_primitive::<Float64Type>();
    if c.args.len() == 1 {
        return Ok(Arc::new(first.unary::<_, Float64Type>(f64::ln)));
    }
    let x = c.column(1)?;
    let log = |base: f64, x: f64| x.ln() / base.ln();
    Ok(Arc::new(compute::binary::<_, _, _, Float64Type>(first, x.as_primitive::<Float64Type>(), log)?))
}

/// The greatest or least argument; NULL when any is NULL.
fn extreme(c: &Call<'_>, wanted: Ordering) -> Result<ArrayRef> {
    let mut best = c.column(0)?;
    for i in 1..c.args.len() {
        let next = c.column(i)?;
        let take_next: BooleanArray = {
            let compare = make_comparator(&next, &best, SortOptions::default())?;
            // A NULL stays once it is there, and wins when it comes.
            (0..c.rows).map(|r| Some(best.is_valid(r) && (next.is_null(r) || compare(r, r) == wanted))).collect()
        };
        best = zip(&take_next, &next, &best)?;
    }
    Ok(best)
}
