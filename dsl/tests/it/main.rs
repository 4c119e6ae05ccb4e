//! Tests of the script language through its public face.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, missing_docs)]

mod codes;
mod corpus;
mod dump;
mod fuzz;
mod limits;
mod messages;
mod queries;
mod sets;
mod statements;
mod types;

use dflow_common::{Diagnostic, SourceId};
use dflow_dsl::ast::{Statement, StatementKind};
use dflow_dsl::{Parsed, parse};

pub(crate) const SOURCE: SourceId = SourceId(0);

/// The statements of a script that must have no error.
#[track_caller]
pub(crate) fn good(text: &str) -> Vec<Statement> {
    let parsed = parse(SOURCE, text);
    assert!(parsed.is_ok(), "{text}\n{}", errors(text, &parsed));
    parsed.script.statements
}

/// The one statement of a script that must have no error.
#[track_caller]
pub(crate) fn one(text: &str) -> StatementKind {
    let mut statements = good(text);
    assert_eq!(statements.len(), 1, "{text}");
    statements.remove(0).kind
}

/// The errors of a script that must have some.
#[track_caller]
pub(crate) fn bad(text: &str) -> Vec<Diagnostic> {
    let parsed = parse(SOURCE, text);
    assert!(!parsed.is_ok(), "accepted: {text}");
    parsed.diagnostics
}

/// All errors as lines `DF1001 "text under the span" message; help: …`.
pub(crate) fn errors(text: &str, parsed: &Parsed) -> String {
    parsed.diagnostics.iter().map(|d| error_line(text, d) + "\n").collect()
}

/// One error as a line.
pub(crate) fn error_line(text: &str, d: &Diagnostic) -> String {
    let span = d.span().map_or("", |s| &text[s.range()]);
    let help: String = d.help.iter().map(|h| format!("; help: {h}")).collect();
    format!("{} {span:?} {}{help}", d.code, d.message)
}
