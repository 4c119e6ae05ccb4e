//! What stops a job.

use dflow_common::{Class, Classified, Code, CodeInfo, Diagnostic, Span};
use dflow_connector_api as api;

use crate::storage::codes as storage;

/// Codes of the runtime: 4xxx progress, 8xxx state, 9xxx resources and internal.
pub const CODES: &[CodeInfo] = &[
    UNCLEAN_STOP,
    FENCED,
    CHECKPOINT_FAILED,
    CHECKPOINT_EXPIRED,
    TOO_MANY_FAILED_CHECKPOINTS,
    INTERNAL,
    PANIC,
    RESTARTS_EXHAUSTED,
    storage::NO_STATE,
    storage::FOREIGN_STATE,
    storage::DAMAGED_STATE,
    storage::NEWER_STATE,
    storage::UNCLAIMED_STATE,
    storage::CHANGED_TABLES,
    storage::CHANGED_MAX_PARALLELISM,
    storage::UNUSABLE_DIRECTORY,
    storage::UNKNOWN_STORAGE,
    storage::STATE_IN_USE,
    storage::STORAGE_FAILED,
    storage::FOREIGN_FILES,
    storage::CHANGED_SOURCE,
    storage::DISK_FULL,
];

/// A graceful stop ended without a final checkpoint.
pub const UNCLEAN_STOP: CodeInfo = code(4000, "stopped without a final checkpoint", Class::UncleanStop);

/// Another instance has claimed the state directory.
pub const FENCED: CodeInfo = code(8100, "another instance has taken over", Class::Fenced);
/// A checkpoint was given up because a part of it failed.
pub const CHECKPOINT_FAILED: CodeInfo = code(8101, "checkpoint failed", Class::Checkpoint);
/// A checkpoint took longer than its timeout.
pub const CHECKPOINT_EXPIRED: CodeInfo = code(8102, "checkpoint expired", Class::Checkpoint);
/// More checkpoints in a row failed than is tolerated.
pub const TOO_MANY_FAILED_CHECKPOINTS: CodeInfo = code(8103, "too many failed checkpoints", Class::Checkpoint);
/// A broken invariant of dflow.
pub const INTERNAL: CodeInfo = code(9001, "internal error", Class::Internal);
/// A panic in an operator, a source or a sink.
pub const PANIC: CodeInfo = code(9002, "panic in a task", Class::Internal);
/// The restart strategy gave up.
pub const RESTARTS_EXHAUSTED: CodeInfo = code(9003, "restarts exhausted", Class::RestartsExhausted);

const fn code(code: u16, title: &'static str, class: Class) -> CodeInfo {
    CodeInfo { code: Code(code), title, class }
}

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

    /// The same error as one that must not lead to a restart.
    pub(crate) fn fatal(self) -> Self {
        match self {
            Error::Diagnosed { diagnostic, .. } => Error::Diagnosed { diagnostic, retryable: false },
            Error::Connector(e) => e.diagnostic().into(),
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

/// A contained panic of `place` as an error of [`PANIC`].
pub(crate) fn panic_error(place: &str, payload: &(dyn std::any::Any + Send)) -> Error {
    let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    let text = text.unwrap_or_else(|| "a payload that is not text".to_owned());
    Diagnostic::error(PANIC, format!("panic in {place}: {text}"))
        .with_help("this is a bug in dflow; please report it with the script")
        .into()
}
