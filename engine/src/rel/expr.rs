//! Expressions over numbered columns.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::{Expr, ExprSchemable, Volatility, cast};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use dflow_common::{SourceId, Span, SqlType, TypeKind};

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

/// The number when the whole expression is a column of type `from`, cast to a type in which its values stay apart.
pub(crate) fn widened(e: &Expr, from: &TypeKind) -> Option<usize> {
    match e {
        Expr::Alias(a) => widened(&a.expr, from),
        Expr::ScalarFunction(f) => match (crate::bind::library::cast_words(&f.func)?, f.args.as_slice()) {
            (("CAST", to), [x]) if keeps_apart(from, &to.kind) => as_column(x),
            _ => None,
        },
        _ => None,
    }
}

/// Whether two values that differ still differ after a cast.
fn keeps_apart(from: &TypeKind, to: &TypeKind) -> bool {
    use TypeKind as T;
    let digits = |t: &T| match t {
        T::TinyInt => Some((3, 0)),
        T::SmallInt => Some((5, 0)),
        T::Int => Some((10, 0)),
        T::BigInt => Some((19, 0)),
        T::Decimal(p, s) => Some((i32::from(*p) - i32::from(*s), i32::from(*s))),
        _ => None,
    };
    match (from, to) {
        (T::Char(a) | T::VarChar(a), T::VarChar(b)) | (T::Binary(a) | T::VarBinary(a), T::VarBinary(b)) => a <= b,
        (T::TinyInt | T::SmallInt | T::Int, T::Double) | (T::Float, T::Double) => true,
        (a, b) if a.is_integer() && b.is_integer() => digits(a) <= digits(b),
        (a, T::Decimal(..)) => match (digits(a), digits(to)) {
            (Some((whole, fraction)), Some((more, finer))) => whole <= more && fraction <= finer,
            _ => false,
        },
        _ => false,
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
    e.exists(|e| Ok(matches!(e, Expr::ScalarFunction(f) if f.func.signature().volatility != Volatility::Immutable)))
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

/// The line that says a place is in `source`: the tokens of queries are all on line 1 and carry bytes as columns, so the line
/// is free, and 1 means that nobody has said yet.
fn line_of(source: SourceId) -> u64 {
    u64::from(source.0) + 2
}

/// The place an expression was written, from the columns in it; `None` when they are nowhere.
pub(crate) fn span(e: &Expr) -> Option<Span> {
    let mut all: Option<Span> = None;
    let _ = e.apply(|e| {
        if let Expr::Column(c) = e
            && let Some(s) = c.spans.first()
            && let Some(source) = s.start.line.checked_sub(2)
            && s.start.column > 0
            && s.end.column >= s.start.column
        {
            let here = Span::new(SourceId(source as u32), s.start.column as usize - 1, s.end.column as usize - 1);
            all = Some(all.map_or(here, |a| a.join(here)));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    all
}

/// Says which source the places in a freshly planned expression are in; places that know are left alone.
pub(crate) fn with_source(c: &mut Column, source: SourceId) {
    for span in &mut c.spans.0 {
        if span.start.line == 1 && span.end.line == 1 {
            (span.start.line, span.end.line) = (line_of(source), line_of(source));
        }
    }
}
