//! From [`crate::rel`] to a job of the runtime.

mod output;
mod summary;

pub use output::QueryOutput;
pub(crate) use output::output;
pub use summary::{Guarantee, JobSummary, SinkSummary, SourceSummary};
