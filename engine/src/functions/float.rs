//! Comparison of FLOAT and DOUBLE as Flink compares them: zeros are equal, NaN is unlike everything, also itself.
//!
//! Arrow's own kernels put floats in total order: `-0.0 < 0.0`, `NaN = NaN`, `NaN > 1`. GROUP BY, DISTINCT, MIN and MAX have
//! one NaN, which is the greatest, and one zero; see [`crate::operators::key_table`].
//!
//! ```text
//! d >= 0          FLOAT_GT_EQ(d, 0)        printed as (d >= 0), for people and for operator ids
//! d IN (1, 2)     d = 1 OR d = 2
//! NULLIF(d, 0)    CASE WHEN d = 0 THEN NULL ELSE d END
//! d > 1.4         d > CAST(1.4 AS DOUBLE)  DataFusion would make a DECIMAL of d, which fails for NaN and 1e16
//! ```

use std::any::Any;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ExprSchema, Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::{Between, BinaryExpr, Case, InList, ScalarFunction};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    cast,
};

/// The comparisons, with the names of their functions.
const COMPARISONS: [(Operator, &str); 8] = [
    (Operator::Eq, "float_eq"),
    (Operator::NotEq, "float_not_eq"),
    (Operator::Lt, "float_lt"),
    (Operator::LtEq, "float_lt_eq"),
    (Operator::Gt, "float_gt"),
    (Operator::GtEq, "float_gt_eq"),
    (Operator::IsDistinctFrom, "float_distinct"),
    (Operator::IsNotDistinctFrom, "float_not_distinct"),
];

/// Functions whose arguments (but conditions) are brought to one type.
const ONE_TYPE: [&str; 6] = ["coalesce", "nvl", "nullif", "if", "greatest", "least"];

/// The operator a function stands for.
pub(crate) fn operator(f: &ScalarUDF) -> Option<Operator> {
    (f.inner().as_ref() as &dyn Any).downcast_ref::<Compare>().map(|c| c.op)
}

/// The expression with every comparison of floats as Flink has it. Types must have been coerced.
///
/// # Errors
/// When a part of it has no type.
pub(crate) fn compare_as_flink(e: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    e.transform_up(|e| {
        let floats = |x: &Expr| is_float(x, schema);
        Ok(match e {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if name(op).is_some() && floats(&left)? => {
                Transformed::yes(compare(*left, op, *right))
            }
            Expr::Between(Between { expr, negated, low, high }) if floats(&expr)? => {
                let inside = compare((*expr).clone(), Operator::GtEq, *low).and(compare(*expr, Operator::LtEq, *high));
                Transformed::yes(if negated { !inside } else { inside })
            }
            Expr::InList(InList { expr, list, negated }) if floats(&expr)? => {
                let any = list.into_iter().map(|x| compare((*expr).clone(), Operator::Eq, x)).reduce(Expr::or);
                let any = any.unwrap_or_else(|| datafusion::prelude::lit(false));
                Transformed::yes(if negated { !any } else { any })
            }
            Expr::Case(Case { expr: Some(operand), when_then_expr, else_expr }) if floats(&operand)? => {
                let when = |w: Box<Expr>| Box::new(compare((*operand).clone(), Operator::Eq, *w));
                let when_then_expr = when_then_expr.into_iter().map(|(w, t)| (when(w), t)).collect();
                Transformed::yes(Expr::Case(Case { expr: None, when_then_expr, else_expr }))
            }
            Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "nullif" && floats(&args[0])? => {
                let null = ScalarValue::try_from(args[0].get_type(schema)?)?;
                let equal = compare(args[0].clone(), Operator::Eq, args[1].clone());
                let when_then_expr = vec![(Box::new(equal), Box::new(Expr::Literal(null, None)))];
                let else_expr = args.into_iter().next().map(Box::new);
                Transformed::yes(Expr::Case(Case { expr: None, when_then_expr, else_expr }))
            }
            other => Transformed::no(other),
        })
    })
}

/// The expression with a DECIMAL that stands beside a float cast to DOUBLE, which is Flink's common type. Before coercion.
///
/// # Errors
/// Never: an expression without a type is left for coercion to refuse.
pub(crate) fn decimals_as_floats(e: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    e.transform_up(|mut e| {
        let changed = match &mut e {
            Expr::BinaryExpr(b) if name(b.op).is_some() => meet(vec![b.left.as_mut(), b.right.as_mut()], schema),
            Expr::Between(b) => meet(vec![b.expr.as_mut(), b.low.as_mut(), b.high.as_mut()], schema),
            Expr::InList(i) => meet(std::iter::once(i.expr.as_mut()).chain(&mut i.list).collect(), schema),
            Expr::Case(c) => {
                let (mut keys, mut values): (Vec<&mut Expr>, Vec<&mut Expr>) =
                    c.when_then_expr.iter_mut().map(|(w, t)| (w.as_mut(), t.as_mut())).unzip();
                keys.extend(c.expr.as_deref_mut());
                values.extend(c.else_expr.as_deref_mut());
                meet(keys, schema) | meet(values, schema)
            }
            Expr::ScalarFunction(f) if ONE_TYPE.contains(&f.func.name()) => meet(f.args.iter_mut().collect(), schema),
            _ => false,
        };
        Ok(if changed { Transformed::yes(e) } else { Transformed::no(e) })
    })
}

/// Casts the DECIMALs to DOUBLE when there is a float among them.
fn meet(all: Vec<&mut Expr>, schema: &DFSchema) -> bool {
    let types: Vec<Option<DataType>> = all.iter().map(|e| e.get_type(schema).ok()).collect();
    if !types.iter().flatten().any(DataType::is_floating) {
        return false;
    }
    let mut changed = false;
    for (e, ty) in all.into_iter().zip(types) {
        if let Some(DataType::Decimal128(..)) = ty {
            *e = cast(std::mem::take(e), DataType::Float64);
            changed = true;
        }
    }
    changed
}

fn is_float(e: &Expr, schema: &dyn ExprSchema) -> Result<bool> {
    Ok(matches!(e.get_type(schema)?, DataType::Float32 | DataType::Float64))
}

fn name(op: Operator) -> Option<&'static str> {
    COMPARISONS.iter().find(|(o, _)| *o == op).map(|(_, name)| *name)
}

fn compare(left: Expr, op: Operator, right: Expr) -> Expr {
    let signature = Signature::any(2, Volatility::Immutable);
    Arc::new(ScalarUDF::from(Compare { op, signature })).call(vec![left, right])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Compare {
    op: Operator,
    signature: Signature,
}

impl ScalarUDFImpl for Compare {
    fn name(&self) -> &str {
        name(self.op).unwrap_or("float_compare")
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let side = |v: &ColumnarValue| match v {
            ColumnarValue::Array(a) => Ok((a.clone(), false)),
            ColumnarValue::Scalar(s) => Ok::<_, datafusion::common::DataFusionError>((s.to_array_of_size(1)?, true)),
        };
        let (left, right) = (side(&args.args[0])?, side(&args.args[1])?);
        let result: ArrayRef = Arc::new(self.evaluate(&left, &right, rows)?);
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

impl Compare {
    /// Each side with whether it is one value for all rows.
    fn evaluate(&self, left: &(ArrayRef, bool), right: &(ArrayRef, bool), rows: usize) -> Result<BooleanArray> {
        macro_rules! values {
            ($t:ty) => {
                self.bits(
                    left.0.as_primitive::<$t>().values(),
                    left.1,
                    right.0.as_primitive::<$t>().values(),
                    right.1,
                    rows,
                )
            };
        }
        let bits = match (left.0.data_type(), right.0.data_type()) {
            (DataType::Float64, DataType::Float64) => values!(Float64Type),
            (DataType::Float32, DataType::Float32) => values!(Float32Type),
            (l, r) => return internal_err!("{} of {l} and {r}", self.name()),
        };
        let (l, r) = (nulls(left, rows), nulls(right, rows));
        let distinct = match self.op {
            Operator::IsDistinctFrom => true,
            Operator::IsNotDistinctFrom => false,
            _ => return Ok(BooleanArray::new(bits, NullBuffer::union(l.as_ref(), r.as_ref()))),
        };
        let valid = |n: &Option<NullBuffer>, i: usize| n.as_ref().is_none_or(|n| n.is_valid(i));
        let bits = BooleanBuffer::collect_bool(rows, |i| match (valid(&l, i), valid(&r, i)) {
            (true, true) => bits.value(i),
            (a, b) => (a != b) == distinct,
        });
        Ok(BooleanArray::new(bits, None))
    }

    fn bits<T: Copy + PartialOrd>(&self, l: &[T], l_one: bool, r: &[T], r_one: bool, rows: usize) -> BooleanBuffer {
        match self.op {
            Operator::Eq | Operator::IsNotDistinctFrom => bits(l, l_one, r, r_one, rows, |a, b| a == b),
            Operator::NotEq | Operator::IsDistinctFrom => bits(l, l_one, r, r_one, rows, |a, b| a != b),
            Operator::Lt => bits(l, l_one, r, r_one, rows, |a, b| a < b),
            Operator::LtEq => bits(l, l_one, r, r_one, rows, |a, b| a <= b),
            Operator::Gt => bits(l, l_one, r, r_one, rows, |a, b| a > b),
            _ => bits(l, l_one, r, r_one, rows, |a, b| a >= b),
        }
    }
}

/// One bit per row; a side that is one value has it at 0.
fn bits<T: Copy>(l: &[T], l_one: bool, r: &[T], r_one: bool, rows: usize, f: impl Fn(T, T) -> bool) -> BooleanBuffer {
    match (l_one, r_one) {
        (false, false) => BooleanBuffer::collect_bool(rows, |i| f(l[i], r[i])),
        (false, true) => BooleanBuffer::collect_bool(rows, |i| f(l[i], r[0])),
        (true, false) => BooleanBuffer::collect_bool(rows, |i| f(l[0], r[i])),
        (true, true) => BooleanBuffer::collect_bool(rows, |_| f(l[0], r[0])),
    }
}

fn nulls((array, one): &(ArrayRef, bool), rows: usize) -> Option<NullBuffer> {
    match one {
        false => array.nulls().cloned(),
        true => array.is_null(0).then(|| NullBuffer::new_null(rows)),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Float64Array;

    use super::*;

    fn run(op: Operator, l: &[Option<f64>], r: &[Option<f64>]) -> Vec<Option<bool>> {
        let compare = Compare { op, signature: Signature::any(2, Volatility::Immutable) };
        let side = |v: &[Option<f64>]| -> (ArrayRef, bool) { (Arc::new(Float64Array::from(v.to_vec())), v.len() == 1) };
        compare.evaluate(&side(l), &side(r), l.len().max(r.len())).unwrap().iter().collect()
    }

    #[test]
    fn zeros_are_equal_and_nan_is_unlike_everything() {
        let values = [Some(0.0), Some(-0.0), Some(f64::NAN), None, Some(1.0)];
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(run(Operator::Eq, &values, &[Some(0.0)]), [yes, yes, no, None, no]);
        assert_eq!(run(Operator::NotEq, &values, &[Some(0.0)]), [no, no, yes, None, yes]);
        assert_eq!(run(Operator::Lt, &values, &[Some(0.0)]), [no, no, no, None, no]);
        assert_eq!(run(Operator::GtEq, &values, &[Some(0.0)]), [yes, yes, no, None, yes]);
        assert_eq!(run(Operator::Eq, &values, &values), [yes, yes, no, None, yes]);
        assert_eq!(run(Operator::Gt, &[Some(f64::NAN)], &values), [no, no, no, None, no]);
        assert_eq!(run(Operator::LtEq, &values, &[None]), [None; 5]);
        assert_eq!(run(Operator::IsDistinctFrom, &values, &[None]), [yes, yes, yes, no, yes]);
        assert_eq!(run(Operator::IsNotDistinctFrom, &values, &values), [yes, yes, no, yes, yes]);
    }
}
