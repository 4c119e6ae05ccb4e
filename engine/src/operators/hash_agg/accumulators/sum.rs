//! Sums with their counts, for SUM and AVG.
//!
//! | argument | kept | SUM | AVG |
//! |---|---|---|---|
//! | whole numbers | i64, count | wraps in the argument's type | truncates |
//! | DECIMAL(p, s) | 192 bits, count | DECIMAL(38, s), NULL beyond it | DECIMAL(38, max(6, s)), HALF_UP |
//! | FLOAT, DOUBLE | compensated f64, count, count of NaN, +Inf, -Inf | | |
//!
//! # Invariants
//! * Taking a row back undoes it exactly for whole numbers and decimals, also across an overflow. Special floats are
//!   counted, not added, so they can leave again; finite floats are exact again when the last one has left.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field, Float64Type, Int32Type, Int64Type, i256};
use dflow_runtime::{Error, Result};

use super::super::super::key_table::{from_i64, to_i64};
use super::super::AggregateFunction;
use super::{Accumulator, Missing, Rows, extend};

/// 10^38, the first number DECIMAL(38, 0) does not hold.
const DECIMAL_END: i128 = 10i128.pow(38);

/// The accumulator for an argument of type `ty`.
pub(super) fn accumulator(ty: &DataType) -> Result<Box<dyn Accumulator>> {
    Ok(match ty {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            Box::new(Integers { ty: ty.clone(), state: Vec::new() })
        }
        DataType::Float32 | DataType::Float64 => {
            Box::new(Floats { single: *ty == DataType::Float32, state: Vec::new() })
        }
        DataType::Decimal128(_, scale) => Box::new(Decimals { scale: *scale, state: Vec::new() }),
        other => return Err(Error::internal(format!("SUM or AVG of {other}"))),
    })
}

/// Sum and count side by side: one cache line per row.
#[derive(Clone, Copy, Default)]
struct Sum<T> {
    sum: T,
    count: i64,
}

fn check<T>(least: i64, ok: T) -> Result<T, Missing> {
    if least < 0 { Err(Missing::Value) } else { Ok(ok) }
}

struct Integers {
    ty: DataType,
    state: Vec<Sum<i64>>,
}

impl Accumulator for Integers {
    fn grow(&mut self, end: usize) {
        extend(&mut self.state, end);
    }

    fn update(&mut self, rows: &Rows<'_>, values: &ArrayRef) -> Result<(), Missing> {
        let values = to_i64(values)?;
        let state = self.state.as_mut_slice();
        let mut least = 0;
        rows.for_each(|i, slot, sign| {
            let s = &mut state[slot];
            s.sum = s.sum.wrapping_add(values[i].wrapping_mul(sign));
            s.count += sign;
            least = least.min(s.count);
        });
        check(least, ())
    }

    fn emit(&self, function: AggregateFunction, slots: &[u32]) -> Result<ArrayRef> {
        let result = slots.iter().map(|slot| {
            let s = self.state[*slot as usize];
            let value = match function {
                _ if s.count == 0 => return None,
                AggregateFunction::Avg => s.sum.wrapping_div(s.count),
                _ => s.sum,
            };
            // Wrapping in 64 bits and then in fewer is wrapping in fewer from the start.
            Some(match self.ty {
                DataType::Int8 => i64::from(value as i8),
                DataType::Int16 => i64::from(value as i16),
                DataType::Int32 => i64::from(value as i32),
                _ => value,
            })
        });
        from_i64(&self.ty, result)
    }

    fn free(&mut self, slots: &[u32]) -> Result<(), Missing> {
        let mut left = 0;
        slots.iter().for_each(|s| left |= std::mem::take(&mut self.state[*s as usize]).count);
        if left == 0 { Ok(()) } else { Err(Missing::Value) }
    }

    fn fields(&self, name: &str) -> Vec<Field> {
        vec![
            Field::new(format!("{name}.sum"), DataType::Int64, true),
            Field::new(format!("{name}.count"), DataType::Int64, true),
        ]
    }

    fn save(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let sums = Int64Array::from_iter_values(slots.iter().map(|s| self.state[*s as usize].sum));
        let counts = Int64Array::from_iter_values(slots.iter().map(|s| self.state[*s as usize].count));
        Ok(vec![Arc::new(sums), Arc::new(counts)])
    }

    fn load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let (sums, counts) = (columns[0].as_primitive::<Int64Type>(), columns[1].as_primitive::<Int64Type>());
        for (i, slot) in slots.iter().enumerate() {
            self.state[*slot as usize] = Sum { sum: sums.value(i), count: counts.value(i) };
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.state.capacity() * size_of::<Sum<i64>>()
    }
}

/// A sum of 128-bit numbers in 192 bits: `low + carry * 2^128`.
#[derive(Clone, Copy, Default)]
struct Wide {
    low: i128,
    carry: i32,
}

impl Wide {
    #[inline]
    fn add(&mut self, value: i128) {
        let (low, overflow) = self.low.overflowing_add(value);
        self.low = low;
        if overflow {
            self.carry += if value < 0 { -1 } else { 1 };
        }
    }

    fn to_i256(self) -> i256 {
        i256::from_parts(0, i128::from(self.carry)).wrapping_add(i256::from_i128(self.low))
    }
}

struct Decimals {
    scale: i8,
    state: Vec<Sum<Wide>>,
}

impl Decimals {
    fn average_scale(&self) -> i8 {
        self.scale.max(6)
    }

    fn sum(s: &Sum<Wide>) -> Option<i128> {
        (s.count != 0 && s.sum.carry == 0 && s.sum.low.abs_diff(0) < DECIMAL_END as u128).then_some(s.sum.low)
    }

    fn average(&self, s: &Sum<Wide>) -> Option<i128> {
        if s.count == 0 {
            return None;
        }
        let up = 10i128.pow((self.average_scale() - self.scale) as u32);
        if s.sum.carry == 0
            && let Some(scaled) = s.sum.low.checked_mul(up)
        {
            return half_up(scaled, i128::from(s.count)).filter(|v| v.abs_diff(0) < DECIMAL_END as u128);
        }
        let count = i256::from_i128(i128::from(s.count));
        let scaled = s.sum.to_i256().checked_mul(i256::from_i128(up))?;
        let (quotient, rest) = (scaled.checked_div(count)?, scaled.checked_rem(count)?);
        let quotient = quotient.to_i128()?;
        let round = rest.to_i128()?.abs() * 2 >= i128::from(s.count);
        let away = if round { if scaled < i256::ZERO { -1 } else { 1 } } else { 0 };
        Some(quotient + away).filter(|v| v.abs_diff(0) < DECIMAL_END as u128)
    }
}

/// `a / b` for `b > 0`, halves away from zero.
fn half_up(a: i128, b: i128) -> Option<i128> {
    let (quotient, rest) = (a.checked_div(b)?, a.checked_rem(b)?);
    Some(if rest.abs() >= b - rest.abs() { quotient + a.signum() } else { quotient })
}

impl Accumulator for Decimals {
    fn grow(&mut self, end: usize) {
        extend(&mut self.state, end);
    }

    fn update(&mut self, rows: &Rows<'_>, values: &ArrayRef) -> Result<(), Missing> {
        let values = values.as_primitive::<Decimal128Type>().values();
        let state = self.state.as_mut_slice();
        let mut least = 0;
        rows.for_each(|i, slot, sign| {
            let s = &mut state[slot];
            s.sum.add(if sign > 0 { values[i] } else { -values[i] });
            s.count += sign;
            least = least.min(s.count);
        });
        check(least, ())
    }

    fn emit(&self, function: AggregateFunction, slots: &[u32]) -> Result<ArrayRef> {
        let states = slots.iter().map(|slot| &self.state[*slot as usize]);
        let (values, scale): (Decimal128Array, i8) = match function {
            AggregateFunction::Avg => (states.map(|s| self.average(s)).collect(), self.average_scale()),
            _ => (states.map(Self::sum).collect(), self.scale),
        };
        Ok(Arc::new(values.with_precision_and_scale(38, scale)?))
    }

    fn free(&mut self, slots: &[u32]) -> Result<(), Missing> {
        let mut left = 0;
        slots.iter().for_each(|s| left |= std::mem::take(&mut self.state[*s as usize]).count);
        if left == 0 { Ok(()) } else { Err(Missing::Value) }
    }

    fn fields(&self, name: &str) -> Vec<Field> {
        // The low half is stored as a number of 38 digits at scale 0; Parquet keeps all 128 bits of it.
        vec![
            Field::new(format!("{name}.sum_high"), DataType::Int64, true),
            Field::new(format!("{name}.sum_low"), DataType::Int64, true),
            Field::new(format!("{name}.carry"), DataType::Int32, true),
            Field::new(format!("{name}.count"), DataType::Int64, true),
        ]
    }

    fn save(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let states = || slots.iter().map(|s| &self.state[*s as usize]);
        Ok(vec![
            Arc::new(Int64Array::from_iter_values(states().map(|s| (s.sum.low >> 64) as i64))),
            Arc::new(Int64Array::from_iter_values(states().map(|s| s.sum.low as i64))),
            Arc::new(Int32Array::from_iter_values(states().map(|s| s.sum.carry))),
            Arc::new(Int64Array::from_iter_values(states().map(|s| s.count))),
        ])
    }

    fn load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let (high, low) = (columns[0].as_primitive::<Int64Type>(), columns[1].as_primitive::<Int64Type>());
        let (carry, count) = (columns[2].as_primitive::<Int32Type>(), columns[3].as_primitive::<Int64Type>());
        for (i, slot) in slots.iter().enumerate() {
            let low = (i128::from(high.value(i)) << 64) | i128::from(low.value(i) as u64);
            self.state[*slot as usize] = Sum { sum: Wide { low, carry: carry.value(i) }, count: count.value(i) };
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.state.capacity() * size_of::<Sum<Wide>>()
    }
}

/// Finite values are summed with Neumaier's compensation; the others are counted.
#[derive(Clone, Copy, Default)]
struct FloatSum {
    sum: f64,
    compensation: f64,
    finite: i64,
    nan: i64,
    plus_inf: i64,
    minus_inf: i64,
}

impl FloatSum {
    #[inline]
    fn add(&mut self, value: f64, sign: i64) -> i64 {
        if !value.is_finite() {
            let counter = if value.is_nan() {
                &mut self.nan
            } else if value > 0.0 {
                &mut self.plus_inf
            } else {
                &mut self.minus_inf
            };
            *counter += sign;
            return *counter;
        }
        let value = value * sign as f64;
        let sum = self.sum + value;
        self.compensation +=
            if self.sum.abs() >= value.abs() { (self.sum - sum) + value } else { (value - sum) + self.sum };
        self.sum = sum;
        self.finite += sign;
        if self.finite == 0 {
            (self.sum, self.compensation) = (0.0, 0.0);
        }
        self.finite
    }

    fn count(&self) -> i64 {
        self.finite + self.nan + self.plus_inf + self.minus_inf
    }

    fn total(&self) -> f64 {
        if self.nan > 0 || (self.plus_inf > 0 && self.minus_inf > 0) {
            f64::NAN
        } else if self.plus_inf > 0 {
            f64::INFINITY
        } else if self.minus_inf > 0 {
            f64::NEG_INFINITY
        } else if self.sum.is_finite() {
            self.sum + self.compensation
        } else {
            self.sum
        }
    }
}

struct Floats {
    single: bool,
    state: Vec<FloatSum>,
}

impl Accumulator for Floats {
    fn grow(&mut self, end: usize) {
        extend(&mut self.state, end);
    }

    fn update(&mut self, rows: &Rows<'_>, values: &ArrayRef) -> Result<(), Missing> {
        let values = cast(values, &DataType::Float64).map_err(Error::from)?;
        let values = values.as_primitive::<Float64Type>().values();
        let state = self.state.as_mut_slice();
        let mut least = 0;
        rows.for_each(|i, slot, sign| least = least.min(state[slot].add(values[i], sign)));
        check(least, ())
    }

    fn emit(&self, function: AggregateFunction, slots: &[u32]) -> Result<ArrayRef> {
        let result = slots.iter().map(|slot| {
            let s = &self.state[*slot as usize];
            let count = s.count();
            let divisor = if function == AggregateFunction::Avg { count as f64 } else { 1.0 };
            (count != 0).then(|| s.total() / divisor)
        });
        Ok(if self.single {
            Arc::new(result.map(|v| v.map(|v| v as f32)).collect::<Float32Array>())
        } else {
            Arc::new(result.collect::<Float64Array>())
        })
    }

    fn free(&mut self, slots: &[u32]) -> Result<(), Missing> {
        let mut left = 0;
        slots.iter().for_each(|s| left |= std::mem::take(&mut self.state[*s as usize]).count());
        if left == 0 { Ok(()) } else { Err(Missing::Value) }
    }

    fn fields(&self, name: &str) -> Vec<Field> {
        let field = |part: &str, ty| Field::new(format!("{name}.{part}"), ty, true);
        vec![
            field("sum", DataType::Float64),
            field("compensation", DataType::Float64),
            field("finite", DataType::Int64),
            field("nan", DataType::Int64),
            field("plus_inf", DataType::Int64),
            field("minus_inf", DataType::Int64),
        ]
    }

    fn save(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let states = || slots.iter().map(|s| &self.state[*s as usize]);
        Ok(vec![
            Arc::new(Float64Array::from_iter_values(states().map(|s| s.sum))),
            Arc::new(Float64Array::from_iter_values(states().map(|s| s.compensation))),
            Arc::new(Int64Array::from_iter_values(states().map(|s| s.finite))),
            Arc::new(Int64Array::from_iter_values(states().map(|s| s.nan))),
            Arc::new(Int64Array::from_iter_values(states().map(|s| s.plus_inf))),
            Arc::new(Int64Array::from_iter_values(states().map(|s| s.minus_inf))),
        ])
    }

    fn load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let floats = |i: usize| columns[i].as_primitive::<Float64Type>();
        let counts = |i: usize| columns[i].as_primitive::<Int64Type>();
        for (i, slot) in slots.iter().enumerate() {
            self.state[*slot as usize] = FloatSum {
                sum: floats(0).value(i),
                compensation: floats(1).value(i),
                finite: counts(2).value(i),
                nan: counts(3).value(i),
                plus_inf: counts(4).value(i),
                minus_inf: counts(5).value(i),
            };
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.state.capacity() * size_of::<FloatSum>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_sum_comes_back_from_beyond_128_bits() {
        let mut w = Wide::default();
        let big = DECIMAL_END - 1;
        for _ in 0..5 {
            w.add(big);
        }
        assert_ne!(w.carry, 0);
        for _ in 0..4 {
            w.add(-big);
        }
        assert_eq!((w.low, w.carry), (big, 0));
    }

    #[test]
    fn a_wide_decimal_average_is_exact() {
        let d = Decimals { scale: 0, state: Vec::new() };
        let mut sum = Wide::default();
        let big = 10i128.pow(31);
        (0..30_000_000).step_by(10_000_000).for_each(|_| sum.add(big));
        assert_eq!(d.average(&Sum { sum, count: 3 }), Some(big * 1_000_000));
        let mut huge = Wide::default();
        (0..4).for_each(|_| huge.add(DECIMAL_END - 1));
        assert_eq!(d.average(&Sum { sum: huge, count: 4 }), None, "38 digits and 6 more do not fit");
    }

    #[test]
    fn halves_round_away_from_zero() {
        assert_eq!([5, -5, 4, -4, 7].map(|a| half_up(a, 2).unwrap()), [3, -3, 2, -2, 4]);
        assert_eq!([1, 2, -1, -2].map(|a| half_up(a, 3).unwrap()), [0, 1, 0, -1]);
    }
}
