//! What stops a job.

use dflow_common::{Class, Classified, Code, CodeInfo, Diagnostic, Span};
use dflow_connector_api as api;

/// Codes of the runtime: 4xxx progress, 8xxx state, 9xxx resources and internal.
pub const CODES: &[CodeInfo] = &[INTERNAL, FENCED];

/// A broken invariant of dflow.
pub const INTERNAL: CodeInfo = CodeInfo { code: Code(9001), title: "internal error", class: Class::Internal };

/// Another instance has claimed the state directory.
pub const FENCED: CodeInfo =
    CodeInfo { code: Code(8100), title: "another instance has taken over", class: Class::Fenced };

/// The result of runtime calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A runtime error.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Of a connector.
    #[error(transparent)]
    Connector(#[from] api::Error),
    /// Of the runtime or an operator, told for the user.
    #[error("{diagnostic}")]
    Diagnosed {
        /// The story.
        diagnostic: Box<Diagnostic>,
        /// Whether a restart may cure it.
        retryable: bool,
    },
}

impl Error {
    /// An error of a declared code.
    pub fn coded(info: CodeInfo, message: impl Into<String>) -> Self {
        Diagnostic::error(info, message).into()
    }

    /// A bug in dflow.
    pub fn internal(message: impl Into<String>) -> Self {
        Diagnostic::error(INTERNAL, message)
            .with_help("this is a bug in dflow; please report it with the script")
            .into()
    }

    /// The same error as one that a restart may cure.
    pub fn retry(self) -> Self {
        match self {
            Error::Diagnosed { diagnostic, .. } => Error::Diagnosed { diagnostic, retryable: true },
            Error::Connector(e) => Error::Connector(e.retry()),
        }
    }

    /// Points at `span` unless a place is known already.
    pub fn at_default(self, span: Option<Span>) -> Self {
        let Some(span) = span else { return self };
        match self {
            Error::Diagnosed { mut diagnostic, retryable } => {
                if diagnostic.primary.is_none() {
                    *diagnostic = diagnostic.with_span(span, "");
                }
                Error::Diagnosed { diagnostic, retryable }
            }
            Error::Connector(e) => Error::Connector(e.at_default(span)),
        }
    }
}

impl From<Diagnostic> for Error {
    fn from(diagnostic: Diagnostic) -> Self {
        Error::Diagnosed { diagnostic: Box::new(diagnostic), retryable: false }
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(e: arrow::error::ArrowError) -> Self {
        Error::internal(format!("arrow: {e}"))
    }
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Error::Connector(e) => e.class(),
            Error::Diagnosed { diagnostic, .. } => diagnostic.class,
        }
    }

    fn code(&self) -> Code {
        match self {
            Error::Connector(e) => e.code(),
            Error::Diagnosed { diagnostic, .. } => diagnostic.code,
        }
    }

    fn span(&self) -> Option<Span> {
        match self {
            Error::Connector(e) => e.span(),
            Error::Diagnosed { diagnostic, .. } => diagnostic.span(),
        }
    }

    fn retryable(&self) -> bool {
        match self {
            Error::Connector(e) => e.retryable(),
            Error::Diagnosed { retryable, .. } => *retryable,
        }
    }

    fn diagnostic(&self) -> Diagnostic {
        match self {
            Error::Connector(e) => e.diagnostic(),
            Error::Diagnosed { diagnostic, .. } => (**diagnostic).clone(),
        }
    }
}
