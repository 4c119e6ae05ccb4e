//! Filter and projection in one pass.
//!
//! # Example
//! `SELECT id, 0.908 * price FROM bid WHERE 0.908 * price > 10`
//! ```text
//! in    id price            common  $2 = 0.908 * price         evaluated once
//!       1  100              filter  $2 > 10                    on the columns it needs
//!       2  5                keep    id, $2                     only these are copied by the filter
//! out   1  90.8             project id, $2                     passed on without evaluation
//! ```
//! # Input and output
//! Any changelog; a row keeps its kind. A predicate that is NULL drops the row.
//!
//! # Semantics that DataFusion leaves to us
//! * `WHERE b <> 0 AND a / b > 1` must not fail on `b = 0`: conjuncts that can fail run after those that cannot, and
//!   only on the rows that passed everything before them. The same holds for AND and OR anywhere else.
//! * A subexpression used twice is evaluated once, unless it is volatile, or can fail where a row might never reach it.
//!
//! # State
//! None. Emission is immediate.

mod guard;
mod program;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;
use dflow_common::{ChangeBatch, Span};
use dflow_runtime::Result;
use dflow_runtime::operator::{Operator, OperatorContext, OperatorFactory, Output};

use program::Program;
pub(crate) use program::widens;

/// An expression over the input's columns and where it is written.
#[derive(Clone, Debug)]
pub struct CalcExpr {
    /// What to compute.
    pub expr: Arc<dyn PhysicalExpr>,
    /// Its place in the script, for errors.
    pub span: Option<Span>,
}

impl CalcExpr {
    /// An expression with its place.
    pub fn new(expr: Arc<dyn PhysicalExpr>, span: Option<Span>) -> Self {
        Self { expr, span }
    }
}

/// Filter and projection.
#[derive(Clone, Debug)]
pub struct CalcSpec {
    /// Columns coming in.
    pub input: SchemaRef,
    /// Rows where this is true go on; `None` keeps all.
    pub predicate: Option<CalcExpr>,
    /// One per output column, of exactly the output column's type.
    pub projection: Vec<CalcExpr>,
    /// Columns going out.
    pub output: SchemaRef,
}

impl OperatorFactory for CalcSpec {
    fn create(&self, _: &OperatorContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Calc { program: Program::compile(self)? }))
    }
}

struct Calc {
    program: Program,
}

impl Operator for Calc {
    fn process(&mut self, _input: usize, batch: ChangeBatch, out: &mut Output) -> Result<()> {
        if let Some(batch) = self.program.run(batch)? {
            out.batch(batch);
        }
        Ok(())
    }
}
