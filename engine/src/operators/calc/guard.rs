//! AND and OR whose right side can fail.
//!
//! `b = 0 OR a / b > 1` must not divide where `b` is 0, in any row. DataFusion evaluates the right side for all rows unless
//! the left side decides most of them; [`Guarded`] evaluates it for exactly the rows the left side leaves open.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::{and_kleene, or_kleene};
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::BinaryExpr;

use super::program::can_fail;

/// `left AND right` or `left OR right`, from left to right.
#[derive(Debug, Eq)]
pub(super) struct Guarded {
    or: bool,
    left: Arc<dyn PhysicalExpr>,
    right: Arc<dyn PhysicalExpr>,
}

/// The expression with every AND and OR guarded whose right side can fail.
pub(super) fn guard(e: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
    if !can_fail(e, schema) {
        return Ok(Arc::clone(e));
    }
    let children = e.children().into_iter().map(|c| guard(c, schema)).collect::<Result<Vec<_>>>()?;
    if let Some(b) = e.downcast_ref::<BinaryExpr>()
        && matches!(b.op(), Operator::And | Operator::Or)
        && let [left, right] = children.as_slice()
        && can_fail(right, schema)
    {
        let or = *b.op() == Operator::Or;
        return Ok(Arc::new(Guarded { or, left: Arc::clone(left), right: Arc::clone(right) }));
    }
    if children.is_empty() { Ok(Arc::clone(e)) } else { Arc::clone(e).with_new_children(children) }
}

impl PartialEq for Guarded {
    fn eq(&self, other: &Self) -> bool {
        self.or == other.or && self.left.eq(&other.left) && self.right.eq(&other.right)
    }
}

impl Hash for Guarded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.or.hash(state);
        self.left.hash(state);
        self.right.hash(state);
    }
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} {} {})", self.left, if self.or { "OR" } else { "AND" }, self.right)
    }
}

impl PhysicalExpr for Guarded {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        Ok(self.left.nullable(schema)? || self.right.nullable(schema)?)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let left = self.left.evaluate(batch)?.into_array(batch.num_rows())?;
        let left = left.as_boolean();
        let decided = |i: usize| left.is_valid(i) && left.value(i) == self.or;
        let open: BooleanArray = (0..left.len()).map(|i| Some(!decided(i))).collect();
        let right = self.right.evaluate_selection(batch, &open)?.into_array(batch.num_rows())?;
        let right = right.as_boolean();
        Ok(ColumnarValue::Array(Arc::new(if self.or { or_kleene(left, right)? } else { and_kleene(left, right)? })))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.left, &self.right]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        match <[_; 2]>::try_from(children) {
            Ok([left, right]) => Ok(Arc::new(Guarded { or: self.or, left, right })),
            Err(other) => internal_err!("AND and OR have two sides, not {}", other.len()),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
