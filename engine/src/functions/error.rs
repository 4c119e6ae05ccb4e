//! What goes wrong while an expression is computed, and how it is told.
//!
//! Kernels return a [`DataFusionError`]. Those of this crate put an [`EvalError`] inside, which knows its code; what
//! DataFusion's own kernels return is mapped by [`diagnose`]. A failed expression is a property of the data, so the
//! class is always [`Class::Data`]: a restart meets the same row again.

use arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use dflow_common::{Class, Code, CodeInfo, Diagnostic};

/// Codes of expression evaluation.
pub const CODES: &[CodeInfo] = &[EXPRESSION_FAILED, DIVISION_BY_ZERO, CAST_FAILED];

/// Any other failure.
pub const EXPRESSION_FAILED: CodeInfo =
    CodeInfo { code: Code(2500), title: "an expression failed on a row", class: Class::Data };

/// `INT / 0`, `DECIMAL / 0`, `MOD(x, 0)`.
pub const DIVISION_BY_ZERO: CodeInfo = CodeInfo { code: Code(2501), title: "division by zero", class: Class::Data };

/// `CAST('12abc' AS INT)`.
pub const CAST_FAILED: CodeInfo =
    CodeInfo { code: Code(2502), title: "a value cannot be cast to the type", class: Class::Data };

/// Characters of a value that a message shows.
const VALUE_CHARS_MAX: usize = 80;

/// A failure with its code.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct EvalError {
    /// Which.
    pub info: CodeInfo,
    /// What happened, with the value.
    pub message: String,
    /// The way out.
    pub help: &'static str,
}

impl EvalError {
    /// A whole number or decimal was divided by zero.
    pub fn division_by_zero() -> Self {
        EvalError {
            info: DIVISION_BY_ZERO,
            message: "division by zero".into(),
            help: "guard the divisor, for example `x / NULLIF(y, 0)`",
        }
    }

    /// `value` is not a `target`.
    pub fn cast(value: &str, target: &str, why: &str) -> Self {
        EvalError {
            info: CAST_FAILED,
            message: format!("cannot cast '{}' to {target}: {why}", shorten(value)),
            help: "TRY_CAST returns NULL for values that cannot be cast",
        }
    }

    /// Any other.
    pub fn other(message: impl Into<String>) -> Self {
        EvalError { info: EXPRESSION_FAILED, message: message.into(), help: "" }
    }
}

impl From<EvalError> for DataFusionError {
    fn from(e: EvalError) -> Self {
        DataFusionError::External(Box::new(e))
    }
}

/// The start of a long value.
fn shorten(value: &str) -> String {
    match value.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

/// The story of a failed expression. The caller adds the place.
pub fn diagnose(error: &DataFusionError) -> Diagnostic {
    let known = match error.find_root() {
        DataFusionError::External(e) => e.downcast_ref::<EvalError>().cloned(),
        DataFusionError::ArrowError(e, _) => from_arrow(e),
        _ => None,
    };
    let EvalError { info, message, help } =
        known.unwrap_or_else(|| EvalError::other(format!("the expression failed: {}", error.strip_backtrace())));
    let diagnostic = Diagnostic::error(info, message);
    if help.is_empty() { diagnostic } else { diagnostic.with_help(help) }
}

fn from_arrow(error: &ArrowError) -> Option<EvalError> {
    match error {
        ArrowError::DivideByZero => Some(EvalError::division_by_zero()),
        ArrowError::CastError(why) => Some(EvalError {
            info: CAST_FAILED,
            message: why.clone(),
            help: "TRY_CAST returns NULL for values that cannot be cast",
        }),
        ArrowError::ExternalError(e) => e.downcast_ref::<EvalError>().cloned(),
        _ => None,
    }
}
