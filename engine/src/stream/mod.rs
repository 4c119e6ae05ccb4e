//! From [`crate::rel`] to a job of the runtime.

pub(crate) mod build;
pub(crate) mod connect;
mod output;
mod summary;
mod values;

pub use output::QueryOutput;
pub(crate) use output::output;
pub use summary::{Guarantee, JobSummary, SinkSummary, SourceSummary};
