//! AND and OR from left to right, where the right side can fail.
//!
//! `b = 0 OR a / b > 1` must not divide where `b` is 0, in any row. DataFusion evaluates the right side for rows the left
//! side has decided, and puts a filter that stands above another in front of it. So here:
//! ```text
//! a OR b      CASE WHEN a THEN TRUE ELSE a OR b END          b is evaluated where a leaves it open
//! a AND b     CASE WHEN a IS FALSE THEN FALSE ELSE a AND b END
//! ```
//! and plans with filters that can fail keep them where they stand ([`keeps_filters`]). Streams do the same at run
//! time: [`crate::operators::calc`].

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{BinaryExpr, Case, Cast};
use datafusion::logical_expr::utils::{merge_schema, split_conjunction};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, lit};
use datafusion::optimizer::utils::NamePreserver;

use crate::functions::never_fails;
use crate::operators::calc::widens;
use crate::rel::expr::is_volatile;

/// The plan with every AND and OR guarded whose right side can fail.
pub(super) fn guard(plan: LogicalPlan) -> Result<LogicalPlan> {
    let done = plan.transform_up_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        node.map_expressions(|e| {
            let name = names.save(&e);
            Ok(e.transform_up(|e| Ok(guarded(e, &schema)))?.update_data(|e| name.restore(e)))
        })
    })?;
    Ok(done.data)
}

/// Whether filters must stay where they stand. One that can fail must not see rows that another one drops before it. One
/// that reads no column would be put below an aggregate without keys, which has a row for no rows.
pub(super) fn keeps_filters(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let _ = plan.apply_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        found |= match node {
            LogicalPlan::Filter(f) => {
                can_fail(&f.predicate, &schema)
                    || split_conjunction(&f.predicate).into_iter().any(|e| e.column_refs().is_empty())
            }
            LogicalPlan::Join(j) => j.filter.as_ref().is_some_and(|e| can_fail(e, &schema)),
            _ => false,
        };
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found
}

fn guarded(e: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let (when, then) = match &e {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, .. }) => (left.as_ref().clone(), true),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, .. }) => (Expr::IsFalse(left.clone()), false),
        _ => return Transformed::no(e),
    };
    let Expr::BinaryExpr(BinaryExpr { right, .. }) = &e else { return Transformed::no(e) };
    if !can_fail(right, schema) || is_volatile(&when) {
        return Transformed::no(e);
    }
    let when_then_expr = vec![(Box::new(when), Box::new(lit(then)))];
    Transformed::yes(Expr::Case(Case { expr: None, when_then_expr, else_expr: Some(Box::new(e)) }))
}

/// Whether evaluating it may fail on some row.
fn can_fail(e: &Expr, schema: &DFSchema) -> bool {
    e.exists(|e| {
        Ok(match e {
            Expr::BinaryExpr(b) => matches!(b.op, Operator::Divide | Operator::Modulo),
            Expr::ScalarFunction(f) => !never_fails(f.name()) && f.name() != "get_field",
            Expr::Cast(Cast { expr, field }) => {
                expr.get_type(schema).map_or(true, |from| !widens(&from, field.data_type()))
            }
            _ => false,
        })
    })
    .unwrap_or(true)
}
