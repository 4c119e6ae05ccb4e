//! One diagnostic object for every way dflow talks about trouble: terminal, JSON, logs, REST.
//!
//! # Shape
//! ```text
//! error[DF2107]: column `amout` not found in table `orders`      severity, code, message
//!   --> pipeline.sql:38:14                                       primary label
//!    = help: did you mean `amount` (DECIMAL(10,2))?              the way out
//! ```
//! A code never changes its meaning; each has a page in `docs/errors/` and a test that produces it.
//! Each crate exports its `CODES`; the root package checks that they are unique and documented.
//!
//! | range | about | | range | about |
//! |---|---|---|---|---|
//! | 1xxx | text and settings | | 6xxx | preflight |
//! | 2xxx | binding and types | | 7xxx | sinks |
//! | 3xxx | lints | | 8xxx | state and plan |
//! | 4xxx | progress | | 9xxx | resources and internal |
//! | 5xxx | sources and positions | | | |

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::span::Span;

/// A stable error number, printed as `DF2107`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Code(pub u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DF{:04}", self.0)
    }
}

/// What a crate declares about each of its codes.
#[derive(Clone, Copy, Debug)]
pub struct CodeInfo {
    /// The number.
    pub code: Code,
    /// One line, as in the index of `docs/errors/`.
    pub title: &'static str,
    /// Which exit code it leads to.
    pub class: Class,
}

/// What kind of trouble it is, and with it whether a restart can help.
///
/// 1x: restarting cannot help. 2x: it may (except [`Class::Fenced`]). 3x: a verdict that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// A bug in dflow.
    Internal,
    /// Wrong flags or arguments.
    Usage,
    /// The script does not parse, bind or plan.
    Script,
    /// A missing variable or secret, an unusable directory or port.
    Config,
    /// A source or sink cannot be used as configured.
    Preflight,
    /// No, damaged, foreign or incompatible state.
    State,
    /// The source no longer has the position we need.
    PositionLost,
    /// A bad record under policy `fail`.
    Data,
    /// The schema of the other side drifted or does not match.
    Schema,
    /// Could not connect within the retry budget.
    Unavailable,
    /// The restart strategy gave up.
    RestartsExhausted,
    /// Checkpoint storage fails, or too many checkpoints failed.
    Checkpoint,
    /// Memory budget, disk full, file descriptors.
    Resources,
    /// Another instance took over.
    Fenced,
    /// `check --deny warnings` found one.
    Lint,
    /// The stop timeout passed without a final checkpoint.
    UncleanStop,
}

impl Class {
    /// The process exit code (`docs/errors/README.md`). Stable.
    pub fn exit_code(self) -> u8 {
        match self {
            Class::Internal => 1,
            Class::Usage => 2,
            Class::Script => 10,
            Class::Config => 11,
            Class::Preflight => 12,
            Class::State => 13,
            Class::PositionLost => 14,
            Class::Data => 15,
            Class::Schema => 16,
            Class::Unavailable => 20,
            Class::RestartsExhausted => 21,
            Class::Checkpoint => 22,
            Class::Resources => 23,
            Class::Fenced => 24,
            Class::Lint => 31,
            Class::UncleanStop => 40,
        }
    }

    /// The name printed beside the exit code.
    pub fn name(self) -> &'static str {
        match self {
            Class::Internal => "internal",
            Class::Usage => "usage",
            Class::Script => "script",
            Class::Config => "config",
            Class::Preflight => "preflight",
            Class::State => "state",
            Class::PositionLost => "position-lost",
            Class::Data => "data",
            Class::Schema => "schema",
            Class::Unavailable => "unavailable",
            Class::RestartsExhausted => "restarts-exhausted",
            Class::Checkpoint => "checkpoint",
            Class::Resources => "resources",
            Class::Fenced => "fenced",
            Class::Lint => "lint",
            Class::UncleanStop => "unclean-stop",
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Stops the run.
    Error,
    /// Worth knowing; the run goes on.
    Warning,
    /// Information.
    Note,
}

/// A span with a word about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What about it; may be empty.
    pub text: String,
}

/// One thing to tell a user. Built with the `with_*` methods, rendered at the edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The stable number.
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// Which exit code.
    pub class: Class,
    /// What happened, one line.
    pub message: String,
    /// The place it is about.
    pub primary: Option<Label>,
    /// Other places that matter.
    pub labels: Vec<Label>,
    /// Why, and other facts.
    pub notes: Vec<String>,
    /// What to do or type.
    pub help: Vec<String>,
    /// Run-time context in print order: `table`, `file`, `line`, `position`, `op`.
    pub context: Vec<(&'static str, String)>,
}

impl Diagnostic {
    /// An error of a declared code.
    pub fn error(info: CodeInfo, message: impl Into<String>) -> Self {
        Self::new(info, Severity::Error, message)
    }

    /// A warning of a declared code.
    pub fn warning(info: CodeInfo, message: impl Into<String>) -> Self {
        Self::new(info, Severity::Warning, message)
    }

    fn new(info: CodeInfo, severity: Severity, message: impl Into<String>) -> Self {
        Self {
            code: info.code,
            severity,
            class: info.class,
            message: message.into(),
            primary: None,
            labels: Vec::new(),
            notes: Vec::new(),
            help: Vec::new(),
            context: Vec::new(),
        }
    }

    /// Points at the place it is about, with a short word for the caret line.
    pub fn with_span(mut self, span: Span, text: impl Into<String>) -> Self {
        self.primary = Some(Label { span, text: text.into() });
        self
    }

    /// Points at another place that matters.
    pub fn with_label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// Adds why.
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds a way out.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Adds run-time context.
    pub fn with_context(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.context.push((key, value.into()));
        self
    }

    /// What happened, in one line for a log or another message: `no room to write a (DF7201, file out/a)`.
    pub fn brief(&self) -> String {
        let context: String = self.context.iter().map(|(key, value)| format!(", {key} {value}")).collect();
        format!("{} ({}{context})", self.message, self.code)
    }

    /// The primary span.
    pub fn span(&self) -> Option<Span> {
        self.primary.as_ref().map(|l| l.span)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        write!(f, "{severity}[{}]: {}", self.code, self.message)?;
        for (key, value) in &self.context {
            write!(f, "; {key} {value}")?;
        }
        for help in &self.help {
            write!(f, "; help: {help}")?;
        }
        Ok(())
    }
}

/// An error that knows how it is to be reported. Every crate's `Error` implements it.
pub trait Classified: std::error::Error {
    /// What kind of trouble.
    fn class(&self) -> Class;
    /// The stable number.
    fn code(&self) -> Code;
    /// The place in the script it is about, where known.
    fn span(&self) -> Option<Span>;
    /// Whether the restart strategy may try again.
    fn retryable(&self) -> bool;
    /// The whole story for the user.
    fn diagnostic(&self) -> Diagnostic;
}
