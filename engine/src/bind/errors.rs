//! DataFusion's errors as ours: a code, a place, and words about the script instead of about DataFusion.

use datafusion::common::{DataFusionError, SchemaError};
use dflow_common::{Diagnostic, Span};
use dflow_dsl::ast as dsl;

use crate::error::{self, at};

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

/// Errors that are only text.
fn plain(text: &str, place: Span) -> Diagnostic {
    let text = [
        "Error during planning: ",
        "This feature is not implemented: ",
        "Execution error: ",
        "type_coercion\ncaused by\n",
    ]
    .iter()
    .fold(text, |t, prefix| t.strip_prefix(prefix).unwrap_or(t));
    let first = text.lines().next().unwrap_or(text).trim();
    // What a function says about its arguments, without what DataFusion says about the function.
    let first = match first.split_once("coercion failed with: ") {
        Some((_, why)) => {
            let why = why.strip_prefix("Error during planning: ").unwrap_or(why);
            why.split(" No function matches").next().unwrap_or(why).trim_end_matches('.')
        }
        None => first,
    };
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
    } else if ["no function matches", "candidate functions", " takes ", " does not take "]
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
    at(info, place, clean(first), "")
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
