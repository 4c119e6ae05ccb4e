//! Errors of operators: codes DF4100 to DF4149, and how failed expressions become job errors.

use datafusion::common::DataFusionError;
use dflow_common::{Class, Code, CodeInfo, Diagnostic, Span};
use dflow_runtime::Error;

use crate::functions::error::diagnose;

/// Codes of operators.
pub const CODES: &[CodeInfo] = &[RETRACT_MISSING, RETRACT_VALUE_MISSING, KEY_NULL, NOT_NULL_VIOLATED, VALUE_TOO_LONG];

/// A changelog removes a row whose group does not exist.
pub const RETRACT_MISSING: CodeInfo =
    CodeInfo { code: Code(4100), title: "the changelog removes a row that was never added", class: Class::Data };

/// A changelog removes a row with other values than it was added with.
pub const RETRACT_VALUE_MISSING: CodeInfo =
    CodeInfo { code: Code(4101), title: "the changelog removes a value that was never added", class: Class::Data };

/// A row of an upsert changelog has NULL in its primary key.
pub const KEY_NULL: CodeInfo =
    CodeInfo { code: Code(4102), title: "NULL in the primary key of an upsert changelog", class: Class::Data };

/// NULL for a NOT NULL column of a sink.
pub const NOT_NULL_VIOLATED: CodeInfo =
    CodeInfo { code: Code(4110), title: "NULL for a NOT NULL column of a sink", class: Class::Data };

/// A text or byte string is longer than the sink's column.
pub const VALUE_TOO_LONG: CodeInfo =
    CodeInfo { code: Code(4111), title: "a value is longer than the sink's column", class: Class::Data };

/// A failed expression as a job error that points at the expression.
pub(crate) fn expression(error: &DataFusionError, span: Option<Span>, what: &str) -> Error {
    let diagnostic = diagnose(error).with_context("expression", what);
    Error::from(diagnostic).at_default(span)
}

/// A removed row without its group.
pub(crate) fn retract_missing(operator: &str) -> Error {
    Diagnostic::error(RETRACT_MISSING, format!("{operator}: a row is removed that was never added"))
        .with_note("a changelog must add a row before it removes or updates it")
        .with_help("start the source where its history is complete (a snapshot, or the beginning of the log)")
        .into()
}

/// A removed row whose values differ from those it was added with.
pub(crate) fn retract_value_missing(operator: &str, column: &str) -> Error {
    Diagnostic::error(
        RETRACT_VALUE_MISSING,
        format!("{operator}: a row is removed whose value of `{column}` was never added"),
    )
    .with_note("the old row of an update or delete must equal the row that was added")
    .with_help("check that the source delivers full old rows and that no CURRENT_TIMESTAMP or RAND feeds this column")
    .into()
}
