//! Runs a job attempt by attempt.

use std::sync::Arc;

use crate::job::shared::Shared;
use crate::job::{Job, JobEnd, JobOutcome, JobState};

/// Runs the job to its end.
pub(crate) async fn supervise(job: Job, shared: Arc<Shared>) {
    let _ = (job, shared.take_commands());
    shared.cancel.cancelled().await;
    shared.set_state(JobState::Ended);
    let status = shared.status();
    let outcome = JobOutcome { end: JobEnd::Cancelled, last_checkpoint: None, restarts: 0, status };
    shared.outcome.send_replace(Some(outcome));
}
