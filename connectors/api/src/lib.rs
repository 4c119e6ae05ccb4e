//! The contract between dflow and the systems it reads from and writes to.
//!
//! A connector is one crate that implements [`ConnectorFactory`] and is registered in a [`ConnectorRegistry`]
//! by the root package. Its options are declared once, as [`OptionSpec`]s; validation, `dflow connectors`, the
//! documentation and the secret canary test all read that declaration.
//!
//! ```text
//!  source table ──> Source ──> Enumerator (one)  ── splits ──> Reader (one per subtask) ──> batches
//!  sink table   ──> Sink   ──> Writer (one per subtask) ── committables ──> Committer (one per sink and epoch)
//! ```
//!
//! *Unstable:* until three systems have used it, this API may change in any release.

pub mod check;
#[cfg(any(test, feature = "test-util"))]
pub mod contract;
pub mod error;
pub mod format;
pub mod options;
pub mod predicate;
pub mod registry;
pub mod scan;
pub mod schema;
pub mod sink;
pub mod source;
#[cfg(any(test, feature = "test-util"))]
pub mod testing;

pub use error::{CODES, Error, Result};
pub use options::{OptionSpec, OptionText, OptionType, Options, RawOption};
pub use predicate::{CompareOp, Predicate, Value};
pub use registry::{ConnectorFactory, ConnectorRegistry, ConnectorSpec, FormatSpec, Roles, TableRequest};
pub use scan::TableScan;
pub use schema::{Column, ColumnKind, FieldMask, TableSchema};
pub use sink::{
    ChangelogSupport, Committable, Committer, CommitterContext, Sink, SinkMode, StageStore, StagedRef, Writer,
    WriterContext,
};
pub use source::{
    Boundedness, Enumerator, EnumeratorEvent, OutputSchema, Reader, ReaderContext, ReaderEvent, Replay, ShareKey,
    Source, SourceChangelog, SourceContext, SplitAssignment, SplitId,
};
