//! Filters offered to connectors.
//!
//! A filter goes to a source when every query on it has one and nothing between them minds: the offer is the OR of the
//! filters, translated as far as [`Predicate`] goes. The Calc keeps the whole filter: a connector may ignore the offer.
//!
//! Not across a watermark: rows the filter drops still tell the time. Not into change sources: the old and the new row of
//! an update must both be seen, and a key whose row no longer matches must be removed.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use dflow_connector_api::{CompareOp, Predicate, SourceChangelog, Value};

use super::{Op, Plan, expr};

/// Puts the offers into the sources.
pub(crate) fn push_down(plan: &mut Plan) {
    for id in 0..plan.nodes.len() {
        let Op::Source(source) = &plan.nodes[id].op else { continue };
        if source.changelog != SourceChangelog::Append {
            continue;
        }
        let column = |i: usize| source.projection.get(i).copied();
        let offers: Option<Vec<Predicate>> = plan
            .consumers(id)
            .map(|(_, rel)| match &rel.op {
                Op::Calc { predicate: Some(p), .. } => translate(p, &column),
                _ => None,
            })
            .collect();
        let offer = match offers {
            Some(mut all) if !all.is_empty() => {
                all.dedup();
                if all.len() == 1 { all.pop() } else { Some(Predicate::Or(all)) }
            }
            _ => None,
        };
        if let Op::Source(source) = &mut plan.nodes[id].op {
            source.predicate = offer;
        }
    }
}

/// The part of a filter over [`expr::column`]s that can be said; `None` when none can. It keeps every row the filter keeps.
/// `column`: the connector's number of a column, where it has one.
pub(crate) fn translate(e: &Expr, column: &dyn Fn(usize) -> Option<usize>) -> Option<Predicate> {
    match e {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            // Either half alone keeps what both keep.
            match (translate(left, column), translate(right, column)) {
                (Some(a), Some(b)) => Some(Predicate::And(flatten(a).into_iter().chain(flatten(b)).collect())),
                (a, b) => a.or(b),
            }
        }
        other => exact(other, column),
    }
}

fn flatten(p: Predicate) -> Vec<Predicate> {
    match p {
        Predicate::And(all) => all,
        one => vec![one],
    }
}

/// A filter that means exactly the same.
fn exact(e: &Expr, column: &dyn Fn(usize) -> Option<usize>) -> Option<Predicate> {
    let position = |e: &Expr| expr::as_column(e).and_then(column);
    match e {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And => Some(Predicate::And(vec![exact(left, column)?, exact(right, column)?])),
            Operator::Or => Some(Predicate::Or(vec![exact(left, column)?, exact(right, column)?])),
            _ => {
                let op = compare(*op)?;
                match (position(left), position(right)) {
                    (Some(c), None) => Some(Predicate::Compare(c, op, value(right)?)),
                    (None, Some(c)) => Some(Predicate::Compare(c, swap(op), value(left)?)),
                    _ => None,
                }
            }
        },
        Expr::IsNull(x) => Some(Predicate::IsNull(position(x)?)),
        Expr::IsNotNull(x) => Some(Predicate::IsNotNull(position(x)?)),
        Expr::InList(list) if !list.negated => {
            Some(Predicate::In(position(&list.expr)?, list.list.iter().map(value).collect::<Option<_>>()?))
        }
        Expr::Between(b) if !b.negated => {
            let c = position(&b.expr)?;
            let bound = |op, e: &Expr| Some(Predicate::Compare(c, op, value(e)?));
            Some(Predicate::And(vec![bound(CompareOp::GtEq, &b.low)?, bound(CompareOp::LtEq, &b.high)?]))
        }
        _ => None,
    }
}

fn compare(op: Operator) -> Option<CompareOp> {
    Some(match op {
        Operator::Eq => CompareOp::Eq,
        Operator::NotEq => CompareOp::NotEq,
        Operator::Lt => CompareOp::Lt,
        Operator::LtEq => CompareOp::LtEq,
        Operator::Gt => CompareOp::Gt,
        Operator::GtEq => CompareOp::GtEq,
        _ => return None,
    })
}

fn swap(op: CompareOp) -> CompareOp {
    match op {
        CompareOp::Lt => CompareOp::Gt,
        CompareOp::LtEq => CompareOp::GtEq,
        CompareOp::Gt => CompareOp::Lt,
        CompareOp::GtEq => CompareOp::LtEq,
        same => same,
    }
}

fn value(e: &Expr) -> Option<Value> {
    let Expr::Literal(v, _) = e else { return None };
    Some(match v {
        ScalarValue::Boolean(Some(b)) => Value::Bool(*b),
        ScalarValue::Int8(Some(n)) => Value::Int(i64::from(*n)),
        ScalarValue::Int16(Some(n)) => Value::Int(i64::from(*n)),
        ScalarValue::Int32(Some(n)) => Value::Int(i64::from(*n)),
        ScalarValue::Int64(Some(n)) => Value::Int(*n),
        ScalarValue::Float32(Some(n)) => Value::Float(f64::from(*n)),
        ScalarValue::Float64(Some(n)) => Value::Float(*n),
        ScalarValue::Decimal128(Some(n), _, s) => Value::Decimal(*n, *s),
        ScalarValue::Utf8View(Some(s)) | ScalarValue::Utf8(Some(s)) => Value::Text(s.clone()),
        ScalarValue::Date32(Some(d)) => Value::Date(*d),
        ScalarValue::TimestampMillisecond(Some(t), zone) => instant(t.checked_mul(1000)?, zone.is_some()),
        ScalarValue::TimestampMicrosecond(Some(t), zone) => instant(*t, zone.is_some()),
        _ => return None,
    })
}

fn instant(us: i64, zoned: bool) -> Value {
    if zoned { Value::Instant(us) } else { Value::Timestamp(us) }
}
