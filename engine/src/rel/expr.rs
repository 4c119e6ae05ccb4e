//! Expressions over numbered columns.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DataFusionError, Result};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::{Expr, ExprSchemable, Volatility, cast};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use dflow_common::{SourceId, Span, SqlType};

use super::Field;
use crate::catalog::table_schema;

/// Column `i` of the input.
pub(crate) fn column(i: usize) -> Expr {
    Expr::Column(Column::new_unqualified(format!("${i}")))
}

/// The number of a column made by [`column`].
pub(crate) fn position(c: &Column) -> Option<usize> {
    c.name.strip_prefix('$').and_then(|n| n.parse().ok())
}

/// The number when the whole expression is one column.
pub(crate) fn as_column(e: &Expr) -> Option<usize> {
    match e {
        Expr::Column(c) => position(c),
        Expr::Alias(a) => as_column(&a.expr),
        _ => None,
    }
}

/// The schema expressions over these columns are typed with.
pub(crate) fn schema(fields: &[Field]) -> Result<DFSchema> {
    let names: Vec<String> = (0..fields.len()).map(|i| format!("${i}")).collect();
    let schema = table_schema(names.iter().zip(fields).map(|(n, f)| (n.as_str(), &f.ty)));
    DFSchema::try_from(schema.as_ref().clone())
}

/// Replaces every column by what `f` makes of it, and drops aliases.
pub(crate) fn replace_columns(e: Expr, f: &dyn Fn(&Column) -> Result<Expr>) -> Result<Expr> {
    let done = e.transform_up(|e| {
        Ok(match e {
            Expr::Column(c) => Transformed::yes(f(&c)?),
            Expr::Alias(a) => Transformed::yes(*a.expr),
            other => Transformed::no(other),
        })
    })?;
    Ok(done.data)
}

/// The columns an expression reads.
pub(crate) fn columns_of(e: &Expr) -> BTreeSet<usize> {
    let mut all = BTreeSet::new();
    let _ = e.apply(|e| {
        if let Expr::Column(c) = e {
            all.extend(position(c));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    all
}

/// Renumbers columns.
pub(crate) fn renumber(e: Expr, new: &dyn Fn(usize) -> usize) -> Expr {
    let done = e.transform_up(|e| {
        Ok(match e {
            Expr::Column(mut c) => {
                if let Some(i) = position(&c) {
                    c.name = format!("${}", new(i));
                }
                Transformed::yes(Expr::Column(c))
            }
            other => Transformed::no(other),
        })
    });
    done.map(|t| t.data).expect("renaming a column cannot fail")
}

/// Whether evaluating twice may give two values.
pub(crate) fn is_volatile(e: &Expr) -> bool {
    e.exists(|e| {
        Ok(matches!(e, Expr::ScalarFunction(f) if f.func.signature().volatility != Volatility::Immutable))
    })
    .unwrap_or(true)
}

/// The expression in exactly the Arrow type that carries `ty`.
pub(crate) fn in_type(e: Expr, schema: &DFSchema, ty: &SqlType) -> Result<Expr> {
    let wanted = ty.to_arrow();
    Ok(if e.get_type(schema)? == wanted { e } else { cast(e, wanted) })
}

/// What the runtime evaluates.
pub(crate) fn physical(e: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    create_physical_expr(e, schema, &ExecutionProps::new(), &Default::default())
}

/// The place an expression was written, from the columns in it; `None` when they are nowhere.
pub(crate) fn span(e: &Expr) -> Option<Span> {
    let mut all: Option<Span> = None;
    let _ = e.apply(|e| {
        if let Expr::Column(c) = e
            && let Some(s) = c.spans.first()
            && let Some(source) = s.start.line.checked_sub(1)
            && s.end.column >= s.start.column
            && s.start.column > 0
        {
            let here = Span::new(SourceId(source as u32), s.start.column as usize - 1, s.end.column as usize - 1);
            all = Some(all.map_or(here, |a| a.join(here)));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    all
}

/// Says which source the places in a freshly planned expression are in: DataFusion's spans have lines, which the script's
/// have not, so the line carries the source.
pub(crate) fn with_source(e: Expr, source: SourceId) -> Result<Transformed<Expr>, DataFusionError> {
    e.transform_up(|e| {
        Ok(match e {
            Expr::Column(mut c) if c.spans.first().is_some() => {
                let spans = c.spans.iter().map(|s| {
                    let mut s = *s;
                    (s.start.line, s.end.line) = (u64::from(source.0) + 1, u64::from(source.0) + 1);
                    s
                });
                let mut all = datafusion::common::Spans::new();
                spans.for_each(|s| all.add_span(s));
                c.spans = all;
                Transformed::yes(Expr::Column(c))
            }
            other => Transformed::no(other),
        })
    })
}
