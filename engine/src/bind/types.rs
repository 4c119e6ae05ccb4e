//! The SQL type of a bound expression.
//!
//! Arrow knows STRING but not VARCHAR(10), and nothing about NOT NULL inside a ROW. So columns keep the type they were
//! declared with, casts have the type they name, and everything else reads back from Arrow.

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, ExprSchemable};
use dflow_common::{SqlType, TypeKind};

/// The type of `expr` over `schema`; `column(i)` is the type of input column `i`.
pub(crate) fn sql_type(expr: &Expr, schema: &DFSchema, column: &dyn Fn(usize) -> SqlType) -> Option<SqlType> {
    match expr {
        Expr::Alias(a) => sql_type(&a.expr, schema, column),
        Expr::Column(c) => schema.index_of_column(c).ok().map(column),
        Expr::Literal(ScalarValue::Utf8(Some(s)) | ScalarValue::Utf8View(Some(s)), _) => {
            // Flink's CHAR(0) is an empty literal's type; columns need a length.
            Some(SqlType::from(TypeKind::Char(s.chars().count().max(1) as u32)).not_null())
        }
        Expr::ScalarFunction(f) if f.name() == "get_field" => {
            let Some((parent, path)) = field_path(f) else { return arrow_type(expr, schema) };
            let parent = sql_type(parent, schema, column)?;
            path.into_iter().try_fold(parent, field).or_else(|| arrow_type(expr, schema))
        }
        Expr::ScalarFunction(f) => match (super::library::cast_target(&f.func), f.name(), f.args.as_slice()) {
            (Some(ty), ..) => {
                let nullable = expr.nullable(schema).ok()?;
                Some(ty.with_nullable(nullable))
            }
            (None, "coalesce" | "nvl", all) => one_of(expr, &all.iter().collect::<Vec<_>>(), schema, column),
            (None, "if", [_, yes, no]) => one_of(expr, &[yes, no], schema, column),
            (None, "nullif", [value, _]) => one_of(expr, &[value], schema, column),
            _ => arrow_type(expr, schema),
        },
        Expr::Case(case) => {
            let results = case.when_then_expr.iter().map(|(_, then)| then.as_ref()).chain(case.else_expr.as_deref());
            one_of(expr, &results.collect::<Vec<_>>(), schema, column)
        }
        _ => arrow_type(expr, schema),
    }
}

/// The type of an expression whose value is that of one of `values`: what is known of the length of texts is kept.
fn one_of(expr: &Expr, values: &[&Expr], schema: &DFSchema, column: &dyn Fn(usize) -> SqlType) -> Option<SqlType> {
    let plain = arrow_type(expr, schema)?;
    if !plain.kind.is_string() {
        return Some(plain);
    }
    let kinds = values.iter().map(|e| match is_null(e) {
        true => Some(TypeKind::Null),
        false => sql_type(e, schema, column).map(|t| t.kind),
    });
    let kind = kinds.collect::<Option<Vec<_>>>().and_then(|kinds| text(kinds.iter()));
    Some(SqlType { kind: kind.unwrap_or(plain.kind), nullable: plain.nullable })
}

/// Whether an expression is NULL as it is written, whatever type it has been given.
pub(super) fn is_null(e: &Expr) -> bool {
    match e {
        Expr::Literal(value, _) => value.is_null(),
        Expr::Cast(c) => is_null(&c.expr),
        _ => false,
    }
}

/// The type of texts of several types: texts of one length are CHAR, others VARCHAR of the greatest. `None` when one of
/// them is no text.
pub(super) fn text<'a>(kinds: impl Iterator<Item = &'a TypeKind>) -> Option<TypeKind> {
    let mut all: Option<TypeKind> = None;
    for kind in kinds {
        if *kind == TypeKind::Null {
            continue;
        }
        all = Some(match (all, kind) {
            (None, TypeKind::Char(_) | TypeKind::VarChar(_)) => kind.clone(),
            (Some(TypeKind::Char(a)), TypeKind::Char(b)) if a == *b => TypeKind::Char(a),
            (Some(TypeKind::Char(a) | TypeKind::VarChar(a)), TypeKind::Char(b) | TypeKind::VarChar(b)) => {
                TypeKind::VarChar(a.max(*b))
            }
            _ => return None,
        });
    }
    all
}

/// What `row.a.b` reads: the row and the names. DataFusion writes one call for several names.
pub(crate) fn field_path(call: &ScalarFunction) -> Option<(&Expr, Vec<&str>)> {
    let (row, names) = call.args.split_first()?;
    let mut path = Vec::with_capacity(names.len());
    for name in names {
        let Expr::Literal(name, _) = name else { return None };
        path.push(name.try_as_str().flatten()?);
    }
    (!path.is_empty()).then_some((row, path))
}

/// The type of a field of a ROW.
pub(crate) fn field(row: SqlType, name: &str) -> Option<SqlType> {
    let TypeKind::Row(fields) = row.kind else { return None };
    let field = fields.into_iter().find(|f| f.name == name)?;
    let nullable = row.nullable || field.ty.nullable;
    Some(field.ty.with_nullable(nullable))
}

fn arrow_type(expr: &Expr, schema: &DFSchema) -> Option<SqlType> {
    let ty = SqlType::from_arrow(&expr.get_type(schema).ok()?)?;
    Some(ty.with_nullable(expr.nullable(schema).unwrap_or(true)))
}
