//! What a job does and promises, before the first row moves.

use std::fmt;

use dflow_common::Span;
use dflow_connector_api::{Boundedness, SinkMode, SourceChangelog};

/// A source of a job.
#[derive(Clone, Debug)]
pub struct SourceSummary {
    /// `catalog.database.table`
    pub table: String,
    /// The connector.
    pub connector: String,
    /// What changes it delivers.
    pub changelog: SourceChangelog,
    /// Whether it ends.
    pub boundedness: Boundedness,
    /// Whether a restart can read it again.
    pub seekable: bool,
    /// Where the script reads it.
    pub span: Option<Span>,
}

/// How often a row of a source shows in a sink, whatever crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guarantee {
    /// Rows may be lost: a source cannot be read again.
    AtMostOnce,
    /// Rows may be repeated: the sink cannot take back or recognise what it has.
    AtLeastOnce,
    /// Each change counts once.
    ExactlyOnce,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Guarantee::AtMostOnce => "at most once",
            Guarantee::AtLeastOnce => "at least once",
            Guarantee::ExactlyOnce => "exactly once",
        })
    }
}

/// A sink of a job.
#[derive(Clone, Debug)]
pub struct SinkSummary {
    /// `catalog.database.table`, or `(result)` for a bare SELECT.
    pub table: String,
    /// The connector.
    pub connector: String,
    /// How it writes.
    pub mode: SinkMode,
    /// What is promised.
    pub guarantee: Guarantee,
    /// Why, in words.
    pub reason: String,
    /// Where the script writes it.
    pub span: Option<Span>,
}

/// A job in words.
#[derive(Clone, Debug)]
pub struct JobSummary {
    /// Its name.
    pub name: String,
    /// Instances per operator.
    pub parallelism: usize,
    /// What it reads.
    pub sources: Vec<SourceSummary>,
    /// What it writes.
    pub sinks: Vec<SinkSummary>,
    /// Operators that keep state.
    pub stateful_operators: usize,
    /// Whether all sources end.
    pub bounded: bool,
}

/// The guarantee of a sink fed by these sources.
pub(crate) fn guarantee(mode: SinkMode, sources: &[&SourceSummary]) -> (Guarantee, String) {
    if let Some(source) = sources.iter().find(|s| !s.seekable) {
        return (Guarantee::AtMostOnce, format!("{} cannot be read again", source.table));
    }
    match mode {
        SinkMode::Idempotent => (Guarantee::ExactlyOnce, "repeated writes of a key converge".into()),
        SinkMode::Staged => (Guarantee::ExactlyOnce, "rows are staged in the checkpoint and published after it".into()),
        SinkMode::Transactional => (Guarantee::ExactlyOnce, "rows become visible with the checkpoint".into()),
        SinkMode::AtLeastOnce => (Guarantee::AtLeastOnce, "rows are shown at once and repeated after a restart".into()),
    }
}
