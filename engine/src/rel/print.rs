//! Expressions as text: for fingerprints (frozen) and for people.
//!
//! The same printer serves both; only the names of columns differ. What it prints for an expression must never change:
//! operator ids, and with them the state of running jobs, depend on it. New kinds of expression may be added.

use datafusion::logical_expr::expr::{BinaryExpr, Case, Cast, InList, Like, TryCast};
use datafusion::logical_expr::{Between, Expr};

use super::expr::position;
use crate::bind::types::field_path;

/// Prints `e` with columns named by `name`.
pub(crate) fn expr(e: &Expr, name: &dyn Fn(usize) -> String) -> String {
    let p = |e: &Expr| expr(e, name);
    let list = |all: &[Expr]| all.iter().map(p).collect::<Vec<_>>().join(", ");
    let not = |negated: bool| if negated { "NOT " } else { "" };
    match e {
        Expr::Column(c) => position(c).map_or_else(|| c.name.clone(), name),
        Expr::Alias(a) => p(&a.expr),
        Expr::Literal(value, _) => literal(value),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => format!("({} {op} {})", p(left), p(right)),
        Expr::Not(x) => format!("NOT {}", p(x)),
        Expr::Negative(x) => format!("-{}", p(x)),
        Expr::IsNull(x) => format!("{} IS NULL", p(x)),
        Expr::IsNotNull(x) => format!("{} IS NOT NULL", p(x)),
        Expr::IsTrue(x) => format!("{} IS TRUE", p(x)),
        Expr::IsFalse(x) => format!("{} IS FALSE", p(x)),
        Expr::IsUnknown(x) => format!("{} IS UNKNOWN", p(x)),
        Expr::IsNotTrue(x) => format!("{} IS NOT TRUE", p(x)),
        Expr::IsNotFalse(x) => format!("{} IS NOT FALSE", p(x)),
        Expr::IsNotUnknown(x) => format!("{} IS NOT UNKNOWN", p(x)),
        Expr::Like(Like { negated, expr: x, pattern, escape_char, case_insensitive }) => {
            let escape = escape_char.map(|c| format!(" ESCAPE '{c}'")).unwrap_or_default();
            let like = if *case_insensitive { "ILIKE" } else { "LIKE" };
            format!("({} {}{like} {}{escape})", p(x), not(*negated), p(pattern))
        }
        Expr::Between(Between { expr: x, negated, low, high }) => {
            format!("({} {}BETWEEN {} AND {})", p(x), not(*negated), p(low), p(high))
        }
        Expr::InList(InList { expr: x, list: all, negated }) => {
            format!("({} {}IN ({}))", p(x), not(*negated), list(all))
        }
        Expr::Case(Case { expr: operand, when_then_expr, else_expr }) => {
            let mut out = "CASE".to_owned();
            if let Some(x) = operand {
                out += &format!(" {}", p(x));
            }
            for (when, then) in when_then_expr {
                out += &format!(" WHEN {} THEN {}", p(when), p(then));
            }
            if let Some(x) = else_expr {
                out += &format!(" ELSE {}", p(x));
            }
            out + " END"
        }
        Expr::Cast(Cast { expr: x, field }) => format!("CAST({} AS {})", p(x), type_name(field.data_type())),
        Expr::TryCast(TryCast { expr: x, field }) => {
            format!("TRY_CAST({} AS {})", p(x), type_name(field.data_type()))
        }
        Expr::ScalarFunction(f) => match (field_path(f).filter(|_| f.name() == "get_field"), f.args.as_slice()) {
            (Some((row, path)), _) => format!("{}.{}", p(row), path.join(".")),
            (None, args) => {
                match (crate::functions::float::operator(&f.func), crate::bind::library::cast_words(&f.func), args) {
                    // A comparison of floats is printed as what it stands for.
                    (Some(op), _, [left, right]) => format!("({} {op} {})", p(left), p(right)),
                    (_, Some((word, ty)), args) => format!("{word}({} AS {ty})", list(args)),
                    (_, None, args) => format!("{}({})", f.name().to_uppercase(), list(args)),
                }
            }
        },
        other => format!("{other}"),
    }
}

fn type_name(t: &arrow::datatypes::DataType) -> String {
    dflow_common::SqlType::from_arrow(t).map_or_else(|| t.to_string(), |t| t.to_string())
}

fn literal(value: &datafusion::common::ScalarValue) -> String {
    use datafusion::common::ScalarValue as V;
    match value {
        v if v.is_null() => "NULL".into(),
        V::Utf8(Some(s)) | V::Utf8View(Some(s)) | V::LargeUtf8(Some(s)) => format!("'{}'", s.replace('\'', "''")),
        V::Boolean(Some(b)) => if *b { "TRUE" } else { "FALSE" }.into(),
        V::Decimal128(Some(v), _, s) => decimal(*v, *s),
        V::Int8(Some(v)) => v.to_string(),
        V::Int16(Some(v)) => v.to_string(),
        V::Int32(Some(v)) => v.to_string(),
        V::Int64(Some(v)) => format!("{v}L"),
        V::Float32(Some(v)) => format!("{v:?}f"),
        V::Float64(Some(v)) => format!("{v:?}e0"),
        V::IntervalMonthDayNano(Some(v)) => {
            format!("INTERVAL {} months {} days {} ns", v.months, v.days, v.nanoseconds)
        }
        other => format!("{} {other}", type_name(&other.data_type())),
    }
}

fn decimal(unscaled: i128, scale: i8) -> String {
    let digits = unscaled.unsigned_abs().to_string();
    let scale = scale.max(0) as usize;
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}.") } else { format!("{sign}{whole}.{fraction}") }
}
