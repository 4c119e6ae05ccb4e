//! Group keys as the query wrote them.
//!
//! ```text
//! SELECT k, COUNT(*) FROM (SELECT k, SUM(v) AS s FROM t GROUP BY k) GROUP BY k
//! DataFusion: GROUP BY k, s        because k determines s, a query may name s (which Flink refuses)
//! here:       GROUP BY k
//! ```
//! In a stream a longer key is another key: state is kept by it, and the result is no longer known to be unique by `k`.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::get_required_group_by_exprs_indices;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{Aggregate, Expr, Filter, LogicalPlan, Projection};

/// The plan without group keys that others determine and nobody above the aggregate names.
pub(super) fn without_implied(plan: LogicalPlan) -> Result<LogicalPlan> {
    let done = plan.transform_down(|node| {
        let LogicalPlan::Projection(p) = &node else { return Ok(Transformed::no(node)) };
        let mut conditions = Vec::new();
        let mut input = p.input.as_ref();
        while let LogicalPlan::Filter(f) = input {
            conditions.push(f.predicate.clone());
            input = f.input.as_ref();
        }
        let LogicalPlan::Aggregate(a) = input else { return Ok(Transformed::no(node)) };
        let used: HashSet<usize> = p
            .expr
            .iter()
            .chain(&conditions)
            .flat_map(Expr::column_refs)
            .filter_map(|c| a.schema.index_of_column(c).ok())
            .collect();
        let implied = implied(a);
        let keep: Vec<Expr> = a
            .group_expr
            .iter()
            .enumerate()
            .filter(|(i, e)| used.contains(i) || !implied.contains(*e))
            .map(|(_, e)| e.clone())
            .collect();
        if keep.len() == a.group_expr.len() {
            return Ok(Transformed::no(node));
        }
        let aggregate = Aggregate::try_new(a.input.clone(), keep, a.aggr_expr.clone())?;
        let mut input = LogicalPlan::Aggregate(aggregate);
        for condition in conditions.into_iter().rev() {
            input = LogicalPlan::Filter(Filter::try_new(condition, Arc::new(input))?);
        }
        Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(p.expr.clone(), Arc::new(input))?)))
    })?;
    Ok(done.data)
}

/// The columns among the group keys that the others determine.
fn implied(a: &Aggregate) -> Vec<Expr> {
    let columns: Vec<&Expr> = a.group_expr.iter().filter(|e| matches!(e, Expr::Column(_))).collect();
    let names: Vec<String> = columns.iter().map(|e| e.schema_name().to_string()).collect();
    match get_required_group_by_exprs_indices(a.input.schema(), &names) {
        Some(required) => {
            columns.into_iter().enumerate().filter(|(i, _)| !required.contains(i)).map(|(_, e)| e.clone()).collect()
        }
        None => vec![],
    }
}
