//! DECIMAL arithmetic with Flink's result types.
//!
//! | operation | scale | precision |
//! |---|---|---|
//! | `a + b`, `a - b` | max(s1, s2) | max(p1 - s1, p2 - s2) + s + 1 |
//! | `a * b` | s1 + s2 | p1 + p2 + 1 |
//! | `a / b` | max(6, s1 + p2 + 1) | p1 - s1 + s2 + s |
//! | `a % b` | max(s1, s2) | min(p1 - s1, p2 - s2) + s |
//!
//! Beyond 38 digits the scale shrinks, to at least min(s, 6). Results are rounded half up (away from zero); one that does
//! not fit is NULL. Division by zero is an error. Whole numbers take part as DECIMAL(3 | 5 | 10 | 19, 0).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Int64Type, i256};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::error::EvalError;

/// 10^e for e in 0..=38.
const POWERS: [i128; 39] = {
    let mut powers = [1i128; 39];
    let mut e = 1;
    while e < 39 {
        powers[e] = powers[e - 1] * 10;
        e += 1;
    }
    powers
};

/// 10^e; `e` must be at most 38.
pub(crate) fn power(e: usize) -> i128 {
    POWERS[e]
}

/// Flink's result type of an operation on DECIMALs; `None` for operators that are not arithmetic.
pub fn result_type(op: Operator, (p1, s1): (u8, i8), (p2, s2): (u8, i8)) -> Option<(u8, i8)> {
    let (p1, s1, p2, s2) = (i32::from(p1), i32::from(s1), i32::from(p2), i32::from(s2));
    let (p, s) = match op {
        Operator::Plus | Operator::Minus => {
            let s = s1.max(s2);
            ((p1 - s1).max(p2 - s2) + s + 1, s)
        }
        Operator::Multiply => (p1 + p2 + 1, s1 + s2),
        Operator::Divide => {
            let s = (s1 + p2 + 1).max(6);
            (p1 - s1 + s2 + s, s)
        }
        Operator::Modulo => {
            let s = s1.max(s2);
            ((p1 - s1).min(p2 - s2) + s, s)
        }
        _ => return None,
    };
    Some(if p <= 38 { (p.max(1) as u8, s as i8) } else { (38, (38 - (p - s)).max(s.min(6)) as i8) })
}

/// The function of an operator on two numbers of these types, at least one of them a DECIMAL.
pub fn arithmetic(op: Operator, left: (u8, i8), right: (u8, i8)) -> Option<Arc<ScalarUDF>> {
    let result = result_type(op, left, right)?;
    let name = match op {
        Operator::Plus => "decimal_add",
        Operator::Minus => "decimal_subtract",
        Operator::Multiply => "decimal_multiply",
        Operator::Divide => "decimal_divide",
        _ => "decimal_modulo",
    };
    let signature = Signature::any(2, Volatility::Immutable);
    Some(Arc::new(ScalarUDF::from(Arithmetic { name, op, left, right, result, signature })))
}

/// An operator on two types.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Arithmetic {
    name: &'static str,
    op: Operator,
    left: (u8, i8),
    right: (u8, i8),
    result: (u8, i8),
    signature: Signature,
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Decimal128(self.result.0, self.result.1))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        // A result that may need more than 38 digits may be NULL.
        let nullable = self.result.0 == 38 || args.arg_fields.iter().any(|f| f.is_nullable());
        Ok(Arc::new(Field::new(self.name, self.return_type(&[])?, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let array = evaluate(self.op, (&args.args[0], self.left), (&args.args[1], self.right), rows)?;
        Ok(match constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?),
            false => ColumnarValue::Array(array),
        })
    }
}

/// Computes an operator on numbers of these types.
pub(crate) fn evaluate(
    op: Operator,
    (left, l): (&ColumnarValue, (u8, i8)),
    (right, r): (&ColumnarValue, (u8, i8)),
    rows: usize,
) -> Result<ArrayRef> {
    let Some((p, s)) = result_type(op, l, r) else {
        return Err(EvalError::other(format!("{op} on decimals")).into());
    };
    let values = compute(op, &Operand::new(left, l)?, &Operand::new(right, r)?, rows, (p, s))?;
    Ok(Arc::new(values.with_precision_and_scale(p, s)?))
}

/// A column or a constant.
enum Operand {
    Constant(Option<i128>, i8),
    Decimals(Decimal128Array, i8),
    Integers(arrow::array::Int64Array),
}

impl Operand {
    /// An operand that was planned as a number of this precision and scale.
    fn new(value: &ColumnarValue, (_, scale): (u8, i8)) -> Result<Self> {
        let array = match value {
            ColumnarValue::Array(a) => a.clone(),
            ColumnarValue::Scalar(s) => s.to_array()?,
        };
        let whole = |a: &ArrayRef| -> Result<arrow::array::Int64Array> {
            Ok(cast(a, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
        };
        if let ColumnarValue::Scalar(_) = value {
            let constant = if array.is_null(0) {
                None
            } else if let Some(d) = array.as_primitive_opt::<Decimal128Type>() {
                Some(d.value(0))
            } else {
                Some(i128::from(whole(&array)?.value(0)))
            };
            return Ok(Operand::Constant(constant, scale));
        }
        Ok(match array.as_primitive_opt::<Decimal128Type>() {
            Some(d) => Operand::Decimals(d.clone(), scale),
            None => Operand::Integers(whole(&array)?),
        })
    }

    fn scale(&self) -> i8 {
        match self {
            Operand::Constant(_, s) | Operand::Decimals(_, s) => *s,
            Operand::Integers(_) => 0,
        }
    }

    fn nulls(&self, rows: usize) -> Option<NullBuffer> {
        match self {
            Operand::Constant(Some(_), _) => None,
            Operand::Constant(None, _) => Some(NullBuffer::new_null(rows)),
            Operand::Decimals(a, _) => a.nulls().cloned(),
            Operand::Integers(a) => a.nulls().cloned(),
        }
    }
}

/// Calls `f(a, b)` for every row. The pairs are told apart here, so that each loop is over plain slices.
#[inline(always)]
fn zip(l: &Operand, r: &Operand, rows: usize, mut f: impl FnMut(i128, i128) -> i128) -> Vec<i128> {
    use Operand::{Constant, Decimals, Integers};
    match (l, r) {
        (Decimals(a, _), Decimals(b, _)) => a.values().iter().zip(b.values()).map(|(a, b)| f(*a, *b)).collect(),
        (Decimals(a, _), Integers(b)) => a.values().iter().zip(b.values()).map(|(a, b)| f(*a, (*b).into())).collect(),
        (Integers(a), Decimals(b, _)) => a.values().iter().zip(b.values()).map(|(a, b)| f((*a).into(), *b)).collect(),
        (Integers(a), Integers(b)) => {
            a.values().iter().zip(b.values()).map(|(a, b)| f((*a).into(), (*b).into())).collect()
        }
        (Decimals(a, _), Constant(b, _)) => {
            let b = b.unwrap_or_default();
            a.values().iter().map(|a| f(*a, b)).collect()
        }
        (Integers(a), Constant(b, _)) => {
            let b = b.unwrap_or_default();
            a.values().iter().map(|a| f((*a).into(), b)).collect()
        }
        (Constant(a, _), Decimals(b, _)) => {
            let a = a.unwrap_or_default();
            b.values().iter().map(|b| f(a, *b)).collect()
        }
        (Constant(a, _), Integers(b)) => {
            let a = a.unwrap_or_default();
            b.values().iter().map(|b| f(a, (*b).into())).collect()
        }
        (Constant(a, _), Constant(b, _)) => {
            vec![f(a.unwrap_or_default(), b.unwrap_or_default()); rows]
        }
    }
}

fn compute(op: Operator, l: &Operand, r: &Operand, rows: usize, to: (u8, i8)) -> Result<Decimal128Array> {
    let nulls = NullBuffer::union(l.nulls(rows).as_ref(), r.nulls(rows).as_ref());
    let (s1, s2, s) = (i32::from(l.scale()), i32::from(r.scale()), i32::from(to.1));
    let limit = power(usize::from(to.0));
    // Products and sums whose exact type has at most 38 digits cannot overflow.
    let exact = to.0 < 38;
    let values = match op {
        Operator::Multiply if exact && s == s1 + s2 => zip(l, r, rows, |a, b| a.wrapping_mul(b)),
        Operator::Plus | Operator::Minus if exact && s == s1.max(s2) => {
            let (up1, up2) = (power((s - s1) as usize), power((s - s2) as usize));
            if op == Operator::Plus {
                zip(l, r, rows, |a, b| a.wrapping_mul(up1).wrapping_add(b.wrapping_mul(up2)))
            } else {
                zip(l, r, rows, |a, b| a.wrapping_mul(up1).wrapping_sub(b.wrapping_mul(up2)))
            }
        }
        _ => return checked(op, l, r, rows, (s1, s2, s), limit, nulls),
    };
    Ok(Decimal128Array::new(values.into(), nulls))
}

/// The general way: row by row, NULL when the result does not fit.
fn checked(
    op: Operator,
    l: &Operand,
    r: &Operand,
    rows: usize,
    (s1, s2, s): (i32, i32, i32),
    limit: i128,
    nulls: Option<NullBuffer>,
) -> Result<Decimal128Array> {
    let mut valid = vec![true; rows];
    let (mut row, mut by_zero) = (0, false);
    let values = zip(l, r, rows, |a, b| {
        let i = row;
        row += 1;
        if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
            return 0;
        }
        if b == 0 && matches!(op, Operator::Divide | Operator::Modulo) {
            by_zero = true;
            return 0;
        }
        match one(op, a, b, s1, s2, s).filter(|v| v.unsigned_abs() < limit.unsigned_abs()) {
            Some(v) => v,
            None => {
                valid[i] = false;
                0
            }
        }
    });
    if by_zero {
        return Err(EvalError::division_by_zero().into());
    }
    let nulls = NullBuffer::union(nulls.as_ref(), Some(&NullBuffer::from(valid)));
    Ok(Decimal128Array::new(values.into(), nulls.filter(|n| n.null_count() > 0)))
}

fn one(op: Operator, a: i128, b: i128, s1: i32, s2: i32, s: i32) -> Option<i128> {
    let wide = i256::from_i128;
    match op {
        Operator::Multiply => match a.checked_mul(b) {
            Some(v) => rescale(v, s1 + s2, s),
            None => divide_half_up(wide(a).checked_mul(wide(b))?, wide_power(s1 + s2 - s)?),
        },
        Operator::Divide => {
            // a / 10^s1 divided by b / 10^s2, times 10^s.
            let up = s - s1 + s2;
            if up >= 0 {
                if up <= 38
                    && let Some(scaled) = a.checked_mul(power(up as usize))
                {
                    return half_up(scaled, b);
                }
                divide_half_up(wide(a).checked_mul(wide_power(up)?)?, wide(b))
            } else {
                divide_half_up(wide(a), wide(b).checked_mul(wide_power(-up)?)?)
            }
        }
        Operator::Plus | Operator::Minus | Operator::Modulo => {
            let common = s1.max(s2);
            let x = wide(a).checked_mul(wide_power(common - s1)?)?;
            let y = wide(b).checked_mul(wide_power(common - s2)?)?;
            let exact = match op {
                Operator::Plus => x.checked_add(y)?,
                Operator::Minus => x.checked_sub(y)?,
                _ => x.checked_rem(y)?,
            };
            if common >= s { divide_half_up(exact, wide_power(common - s)?) } else { None }
        }
        _ => None,
    }
}

fn wide_power(e: i32) -> Option<i256> {
    i256::from_i128(10).checked_pow(u32::try_from(e).ok()?)
}

/// The same number with another scale, rounded half up; `None` when it does not fit 128 bits.
pub(crate) fn rescale(value: i128, from: i32, to: i32) -> Option<i128> {
    match to - from {
        0 => Some(value),
        up @ 1..=38 => value.checked_mul(power(up as usize)),
        down @ -38..=-1 => half_up(value, power(-down as usize)),
        up if up > 0 => (value == 0).then_some(0),
        _ => Some(0),
    }
}

/// `a / b`, halves away from zero.
pub(crate) fn half_up(a: i128, b: i128) -> Option<i128> {
    let (quotient, rest) = (a.checked_div(b)?, a.checked_rem(b)?);
    let (rest, divisor) = (rest.unsigned_abs(), b.unsigned_abs());
    Some(if rest >= divisor - rest { quotient + if (a < 0) == (b < 0) { 1 } else { -1 } } else { quotient })
}

fn divide_half_up(a: i256, b: i256) -> Option<i128> {
    let (quotient, rest) = (a.checked_div(b)?, a.checked_rem(b)?);
    let (rest, divisor) = (rest.wrapping_abs(), b.wrapping_abs());
    let away = i256::from_i128(if (a < i256::ZERO) == (b < i256::ZERO) { 1 } else { -1 });
    let rounded =
        if rest != i256::ZERO && rest >= divisor.wrapping_sub(rest) { quotient.checked_add(away)? } else { quotient };
    rounded.to_i128()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_types_are_flinks() {
        let ty = |op, l, r| result_type(op, l, r).unwrap();
        assert_eq!(ty(Operator::Divide, (2, 1), (10, 0)), (13, 12));
        assert_eq!(ty(Operator::Divide, (10, 0), (2, 1)), (17, 6));
        assert_eq!(ty(Operator::Divide, (10, 2), (10, 2)), (23, 13));
        assert_eq!(ty(Operator::Divide, (38, 10), (5, 2)), (38, 8));
        assert_eq!(ty(Operator::Multiply, (2, 1), (2, 1)), (5, 2));
        assert_eq!(ty(Operator::Multiply, (38, 10), (38, 10)), (38, 6));
        assert_eq!(ty(Operator::Plus, (10, 2), (12, 4)), (13, 4));
        assert_eq!(ty(Operator::Multiply, (3, 3), (19, 0)), (23, 3), "0.908 * BIGINT");
    }

    #[test]
    fn halves_round_away_from_zero_for_all_signs() {
        let pairs = [(5, 2), (-5, 2), (5, -2), (-5, -2), (1, 3), (-2, 3), (0, 3), (4, -2)];
        assert_eq!(pairs.map(|(a, b)| half_up(a, b).unwrap()), [3, -3, -3, 3, 0, -1, 0, -2]);
        let wide = pairs.map(|(a, b)| divide_half_up(i256::from_i128(a), i256::from_i128(b)).unwrap());
        assert_eq!(wide, [3, -3, -3, 3, 0, -1, 0, -2]);
    }
}
