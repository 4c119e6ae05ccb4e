//! DataFusion's errors as ours: a code, a place, and words about the script instead of about DataFusion.

use datafusion::common::{DataFusionError, SchemaError};
use dflow_common::{CodeInfo, Diagnostic, Span};
use dflow_dsl::ast as dsl;

use super::compatible::Misfit;
use crate::error::{self, Errors, at};

/// What went wrong in an attempt at planning.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub(super) errors: Errors,
    /// Which part of the expression at fault, as [`super::blame`] counts them.
    pub(super) part: Option<usize>,
}

impl From<Errors> for Failed {
    fn from(errors: Errors) -> Self {
        Self { errors, part: None }
    }
}

impl From<Diagnostic> for Failed {
    fn from(d: Diagnostic) -> Self {
        Errors::from(d).into()
    }
}

impl Failed {
    /// Types that do not fit, somewhere in `span`.
    pub(super) fn misfit(misfit: Misfit, span: Span) -> Self {
        let d = at(misfit.code, span, misfit.message, "").with_help(misfit.help);
        Self { errors: d.into(), part: misfit.part }
    }
}

/// Translates an error of planning. `span` is the whole query.
pub(super) fn translate(e: &DataFusionError, span: Span) -> Diagnostic {
    let place = diagnostic_span(e, span).unwrap_or(span);
    match root(e) {
        DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => {
                let d = at(error::COLUMN_NOT_FOUND, place, format!("column `{}` not found", field.name), "not found");
                error::did_you_mean(d, &field.name, valid_fields.iter().map(|c| c.name.as_str()))
            }
            SchemaError::AmbiguousReference { field } => {
                at(error::COLUMN_AMBIGUOUS, place, format!("column `{}` is ambiguous", field.name), "which one?")
            }
            SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
                let message = format!("two columns of this query are called `{name}`");
                at(error::BAD_QUERY, place, message, "").with_help("give one of them another name with AS")
            }
        },
        root => plain(&root.strip_backtrace(), place),
    }
}

/// Whether two attempts at planning failed for one reason.
pub(super) fn same(a: &Errors, b: &Errors) -> bool {
    match (a.diagnostics(), b.diagnostics()) {
        ([a, ..], [b, ..]) => a.code == b.code && a.message == b.message,
        _ => false,
    }
}

/// Whether the place of an error is exact. That of an operator is the place of one of its operands.
pub(super) fn is_placed(e: &Errors, whole: Span) -> bool {
    let names = [error::COLUMN_NOT_FOUND, error::COLUMN_AMBIGUOUS, error::NOT_GROUPED].map(|c| c.code);
    e.diagnostics().iter().all(|d| names.contains(&d.code) && d.span() != Some(whole))
}

/// The error with the place and the name of the function it is about.
pub(super) fn about(e: &Errors, place: Option<Span>, function: Option<&str>) -> Errors {
    let mut d = e.clone().into_diagnostics().swap_remove(0);
    if let (Some(place), Some(label)) = (place, &mut d.primary) {
        label.span = place;
    }
    if let Some(name) = function.filter(|n| d.code == error::BAD_ARGUMENTS.code && !d.message.starts_with(*n)) {
        d.message = format!("{name}: {}", d.message);
    }
    d.into()
}

/// Errors that are only text.
fn plain(text: &str, place: Span) -> Diagnostic {
    let text = [
        "Error during planning: ",
        "This feature is not implemented: ",
        "Execution error: ",
        "type_coercion\ncaused by\n",
        "Internal error: ",
        "Error during planning: ",
    ]
    .iter()
    .fold(text, |t, prefix| t.strip_prefix(prefix).unwrap_or(t));
    let first = clean(text.lines().next().unwrap_or(text).trim());
    // What a function says about its arguments, without what DataFusion says about the function.
    let first = match first.split_once("coercion failed with: ") {
        Some((_, why)) => ["Error during planning: ", "Execution error: "]
            .iter()
            .find_map(|prefix| why.strip_prefix(prefix))
            .unwrap_or(why),
        None => &first,
    };
    let first = first.split(" No function matches").next().unwrap_or(first).trim_end_matches('.');
    if let Some((info, message)) = reworded(first) {
        return at(info, place, message, "");
    }
    let lower = first.to_lowercase();
    let info = if lower.contains("must appear in the group by clause") || lower.contains("must be part of group by") {
        let column = first.split('"').nth(1).unwrap_or("a column").rsplit('.').next().unwrap_or("a column");
        return at(
            error::NOT_GROUPED,
            place,
            format!("column `{column}` is neither in GROUP BY nor inside an aggregate"),
            "neither grouped nor aggregated",
        )
        .with_help("add it to GROUP BY, or take its MIN or MAX");
    } else if [
        "no function matches",
        "candidate functions",
        " takes ",
        " does not take ",
        " expected, ",
        " have no type in common",
    ]
    .iter()
    .any(|w| lower.contains(w))
    {
        error::BAD_ARGUMENTS
    } else if lower.contains("cast") {
        error::BAD_CAST
    } else if lower.contains("coerc") || lower.contains("type") || lower.contains("cannot infer") {
        error::BAD_EXPRESSION
    } else {
        error::BAD_QUERY
    };
    at(info, place, first, "")
}

/// What DataFusion says most often, in words of SQL.
fn reworded(text: &str) -> Option<(CodeInfo, String)> {
    let between = |head: &str, tail: &str| text.strip_prefix(head)?.strip_suffix(tail);
    if let Some((name, rest)) = between("Function '", "").and_then(|t| t.split_once("' expects ")) {
        let name = name.to_uppercase();
        if let Some((n, given)) = rest.split_once(" arguments but received ") {
            let plural = if n == "1" { "" } else { "s" };
            let are = if given == "1" { "is" } else { "are" };
            return Some((error::BAD_ARGUMENTS, format!("{name} takes {n} argument{plural}, {given} {are} given")));
        }
        let (wanted, given) = rest.split_once(" but received ")?;
        let wanted = wanted.strip_prefix("NativeType::").unwrap_or(wanted).to_lowercase();
        return Some((error::BAD_ARGUMENTS, format!("{name} takes {wanted}, {} is given", given.to_uppercase())));
    }
    if let Some(operands) = between("Cannot infer common argument type for comparison operation ", "") {
        return Some((error::BAD_EXPRESSION, format!("these types cannot be compared: {operands}")));
    }
    if let Some(operands) = between("Cannot coerce arithmetic expression ", " to valid types") {
        return Some((error::BAD_EXPRESSION, format!("there is no such arithmetic: {operands}")));
    }
    if let Some((_, ty)) =
        between("Cannot create filter with non-boolean predicate ", "").and_then(|t| t.rsplit_once(" returning "))
    {
        return Some((error::BAD_EXPRESSION, format!("a condition is BOOLEAN, this one is {ty}")));
    }
    if let Some(ty) = between("Unary operator 'NOT' requires a boolean expression, got ", "") {
        return Some((error::BAD_EXPRESSION, format!("NOT takes BOOLEAN, {ty} is given")));
    }
    if let Some((number, _)) = text.strip_prefix("min/max was called with ").and_then(|t| t.split_once(" arguments")) {
        let are = if number == "1" { "is" } else { "are" };
        return Some((error::BAD_ARGUMENTS, format!("1 argument is taken, {number} {are} given")));
    }
    if let Some(types) = between("Cannot automatically convert ", "").and_then(|t| t.split_once(" to ")) {
        let name = |t: &str| if t.starts_with("Interval(") { "INTERVAL".to_owned() } else { t.to_owned() };
        return Some((error::BAD_EXPRESSION, format!("{} cannot stand beside {}", name(types.0), name(types.1))));
    }
    if let Some(ty) = between("Cannot access field at argument 1: type ", " is not Struct, Map, or Null") {
        return Some((error::BAD_EXPRESSION, format!("{ty} has no fields")));
    }
    if let Some(ty) = between("array_element does not support type ", "") {
        return Some((error::BAD_EXPRESSION, format!("[ ] takes an ARRAY or a MAP, {ty} is given")));
    }
    if let Some((_, ty)) =
        between("Function 'strpos' requires String, but received ", ")").and_then(|t| t.split_once(" (DataType: "))
    {
        return Some((error::BAD_ARGUMENTS, format!("POSITION takes STRING, {ty} is given")));
    }
    if text.starts_with("Unary operator '-' only supports") {
        return Some((error::BAD_EXPRESSION, "the sign `-` takes a number or an interval".into()));
    }
    if let Some(branches) = between("Failed to coerce then (", ") to common types in CASE WHEN expression") {
        let branches = branches.replace(") and else (", ", ");
        return Some((error::BAD_EXPRESSION, format!("the branches of CASE have no type in common: {branches}")));
    }
    if let Some((one, list)) =
        between("Can not find compatible types to compare ", "]").and_then(|t| t.split_once(" with ["))
    {
        return Some((error::BAD_EXPRESSION, format!("IN cannot compare {one} with {list}")));
    }
    if let Some(types) = between("Failed to coerce types ", " in BETWEEN expression") {
        return Some((error::BAD_EXPRESSION, format!("BETWEEN cannot compare {types}")));
    }
    if text.starts_with("Fail to find the coerced type") {
        return Some((error::BAD_ARGUMENTS, "the arguments have no type in common".into()));
    }
    if text.starts_with("Aggregate function calls cannot be nested") {
        return Some((error::BAD_EXPRESSION, "an aggregate cannot stand inside another one".into()));
    }
    if let Some((first, rest)) = between("Incompatible inputs for Union: Previous inputs were of type ", "")
        .and_then(|t| t.split_once(", but got incompatible type "))
    {
        let (second, column) = rest.split_once(" on column ").unwrap_or((rest, ""));
        let column = column.trim_matches('\'');
        let message = format!("UNION has no type for both {first} and {second} in one column, `{column}` of the later");
        return Some((error::BAD_EXPRESSION, message));
    }
    None
}

/// Arrow's names of types as SQL's; DataFusion's advice to its own users left out.
fn clean(text: &str) -> String {
    let mut out = text.split(" You might need").next().unwrap_or(text).to_owned();
    for (arrow, sql) in [
        ("Utf8View", "STRING"),
        ("Utf8", "STRING"),
        ("BinaryView", "BYTES"),
        ("Decimal128", "DECIMAL"),
        ("Int64", "BIGINT"),
        ("Int32", "INT"),
        ("Int16", "SMALLINT"),
        ("Int8", "TINYINT"),
        ("Float64", "DOUBLE"),
        ("Float32", "FLOAT"),
        ("Boolean", "BOOLEAN"),
        ("Date32", "DATE"),
        ("Time32(ms)", "TIME"),
        ("Timestamp(ms)", "TIMESTAMP(3)"),
        ("Timestamp(µs)", "TIMESTAMP(6)"),
        ("Timestamp(ns)", "TIMESTAMP(9)"),
    ] {
        out = out.replace(arrow, sql);
    }
    out
}

fn root(e: &DataFusionError) -> &DataFusionError {
    match e {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => root(inner),
        DataFusionError::Shared(inner) => root(inner),
        DataFusionError::Collection(all) if !all.is_empty() => root(&all[0]),
        other => other,
    }
}

/// The place DataFusion kept, which is in bytes of the script (see `dflow_dsl::ast::span_of`).
fn diagnostic_span(e: &DataFusionError, query: Span) -> Option<Span> {
    let span = match e {
        DataFusionError::Diagnostic(d, inner) => d.span.or_else(|| inner.diagnostic().and_then(|d| d.span)),
        other => other.diagnostic().and_then(|d| d.span),
    }?;
    let location = |l: datafusion::common::Location| sqlparser::tokenizer::Location { line: l.line, column: l.column };
    dsl::span_of(query.source, sqlparser::tokenizer::Span { start: location(span.start), end: location(span.end) })
}
