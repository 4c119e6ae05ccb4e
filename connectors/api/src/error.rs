//! What can go wrong in a connector, told so that a user can act on it.

use std::fmt;

use dflow_common::{Class, Classified, Code, CodeInfo, Diagnostic, Span};

/// Codes of problems every connector shares. Connectors add their own.
pub const CODES: &[CodeInfo] = &[
    UNKNOWN_CONNECTOR,
    UNKNOWN_OPTION,
    BAD_OPTION_VALUE,
    MISSING_OPTION,
    UNKNOWN_FORMAT,
    ROLE_NOT_SUPPORTED,
    FORMAT_ROLE_NOT_SUPPORTED,
    OPTION_WITHOUT_EFFECT,
];

/// No connector of that name.
pub const UNKNOWN_CONNECTOR: CodeInfo = script(2301, "unknown connector");
/// The connector or format has no such option.
pub const UNKNOWN_OPTION: CodeInfo = script(2302, "unknown option");
/// The value does not read as the option's type.
pub const BAD_OPTION_VALUE: CodeInfo = script(2303, "invalid option value");
/// A required option is absent.
pub const MISSING_OPTION: CodeInfo = script(2304, "missing option");
/// No format of that name.
pub const UNKNOWN_FORMAT: CodeInfo = script(2305, "unknown format");
/// The connector cannot be used as a source, or not as a sink.
pub const ROLE_NOT_SUPPORTED: CodeInfo = script(2306, "connector cannot be used this way");
/// The format cannot decode, or not encode.
pub const FORMAT_ROLE_NOT_SUPPORTED: CodeInfo = script(2307, "format cannot be used this way");
/// An option that is known and does nothing here.
pub const OPTION_WITHOUT_EFFECT: CodeInfo = script(2308, "option without effect");

const fn script(code: u16, title: &'static str) -> CodeInfo {
    CodeInfo { code: Code(code), title, class: Class::Script }
}

/// The result of connector calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A classified connector error. One pointer wide.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    diagnostic: Diagnostic,
    retryable: bool,
}

impl Error {
    /// An error of a declared code.
    pub fn new(info: CodeInfo, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { diagnostic: Diagnostic::error(info, message), retryable: false }))
    }

    /// Points at a place in the script.
    pub fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        self.0.diagnostic = self.0.diagnostic.with_span(span, text);
        self
    }

    /// Points at `span` unless a place is known already.
    pub fn at_default(self, span: Span) -> Self {
        if self.0.diagnostic.primary.is_some() { self } else { self.at(span, "") }
    }

    /// Adds why.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.0.diagnostic = self.0.diagnostic.with_note(note);
        self
    }

    /// Adds a way out.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.0.diagnostic = self.0.diagnostic.with_help(help);
        self
    }

    /// Adds run-time context, such as `file` or `line`.
    pub fn context(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.0.diagnostic = self.0.diagnostic.with_context(key, value);
        self
    }

    /// Marks it as one that a restart may cure.
    pub fn retry(mut self) -> Self {
        self.0.retryable = true;
        self
    }
}

impl From<Diagnostic> for Error {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(Box::new(Inner { diagnostic, retryable: false }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.diagnostic.fmt(f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.diagnostic.fmt(f)
    }
}

impl std::error::Error for Error {}

impl Classified for Error {
    fn class(&self) -> Class {
        self.0.diagnostic.class
    }

    fn code(&self) -> Code {
        self.0.diagnostic.code
    }

    fn span(&self) -> Option<Span> {
        self.0.diagnostic.span()
    }

    fn retryable(&self) -> bool {
        self.0.retryable
    }

    fn diagnostic(&self) -> Diagnostic {
        self.0.diagnostic.clone()
    }
}
