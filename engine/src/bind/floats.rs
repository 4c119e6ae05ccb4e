//! DOUBLE beside DECIMAL is DOUBLE, and floats compare as Flink's do: [`float`] applied to whole plans.
//!
//! ```text
//! SELECT d FROM t UNION ALL SELECT 1.5      DOUBLE; DataFusion: DECIMAL(30, 15), which holds neither NaN nor 1e16
//! VALUES (1e16), (1.5)                      DOUBLE
//! d > 1.5, d IN (0, 1.5)                    comparisons of DOUBLEs
//! ```

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Projection, Union, cast};
use datafusion::optimizer::utils::NamePreserver;

use crate::functions::float;

/// What must be said before types are coerced.
pub(super) fn before_coercion(plan: LogicalPlan) -> Result<LogicalPlan> {
    let done = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Union(union) => Ok(Transformed::yes(LogicalPlan::Union(unite(union)?))),
        other => expressions(other, float::decimals_as_floats),
    })?;
    Ok(done.data)
}

/// What needs the types.
pub(super) fn after_coercion(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(plan.transform_up_with_subqueries(|node| expressions(node, float::compare_as_flink))?.data)
}

/// Rewrites the expressions of a node over the columns they can name. Output names stay.
fn expressions(
    node: LogicalPlan,
    rewrite: fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&node.inputs());
    let names = NamePreserver::new(&node);
    let renamed = |e: Expr| {
        let name = names.save(&e);
        Ok(rewrite(e, &schema)?.update_data(|e| name.restore(e)))
    };
    let node = node.map_expressions(renamed)?;
    if node.transformed { node.map_data(LogicalPlan::recompute_schema) } else { Ok(node) }
}

/// Casts the DECIMAL columns of a union that stand under floats.
fn unite(union: Union) -> Result<Union> {
    let width = union.schema.fields().len();
    let column = |i: usize| union.inputs.iter().map(move |p| p.schema().field(i).data_type());
    let mixed: Vec<bool> =
        (0..width).map(|i| column(i).any(DataType::is_floating) && column(i).any(is_decimal)).collect();
    if !mixed.contains(&true) {
        // An input may be a union that has changed its types.
        return Union::try_new_with_loose_types(union.inputs);
    }
    let inputs = union.inputs.iter().map(|input| {
        let fields = input.schema().iter().enumerate();
        let exprs = fields.map(|(i, (qualifier, field))| {
            let e = Expr::Column(Column::from((qualifier, field.as_ref())));
            match mixed[i] && is_decimal(field.data_type()) {
                true => cast(e, DataType::Float64).alias_qualified(qualifier.cloned(), field.name()),
                false => e,
            }
        });
        Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(exprs.collect(), input.clone())?)))
    });
    Union::try_new_with_loose_types(inputs.collect::<Result<_>>()?)
}

/// The rows of VALUES as they were written, floats and DECIMALs in one column as DOUBLE.
pub(super) fn values(mut rows: Vec<Vec<Expr>>) -> Result<Vec<Vec<Expr>>> {
    let empty = DFSchema::empty();
    // Casts of the query are functions; this one was put there.
    let written = |e: &Expr| match e {
        Expr::Cast(c) if is_decimal(c.field.data_type()) => c.expr.as_ref().clone(),
        other => other.clone(),
    };
    for i in 0..rows.first().map_or(0, Vec::len) {
        let types = rows.iter().map(|r| written(&r[i]).get_type(&empty)).collect::<Result<Vec<_>>>()?;
        if types.iter().any(DataType::is_floating) && types.iter().any(is_decimal) {
            rows.iter_mut().for_each(|r| r[i] = cast(written(&r[i]), DataType::Float64));
        }
    }
    Ok(rows)
}

fn is_decimal(t: &DataType) -> bool {
    matches!(t, DataType::Decimal128(..))
}
