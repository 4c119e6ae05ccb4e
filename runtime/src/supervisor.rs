//! Runs a job attempt by attempt: decides after each whether the job is over or starts again.
//!
//! A failure that a restart may cure goes to the restart strategy; every other one ends the job. What was committed
//! before stays: the next attempt claims the state anew and goes on from the newest checkpoint.

use std::sync::Arc;
use std::time::Duration;

use dflow_common::metrics::JOB_RESTARTS;
use dflow_common::{Classified, Diagnostic};

use crate::attempt::{Commands, attempt};
use crate::error::{CHECKPOINT_FAILED, Error, RESTARTS_EXHAUSTED, UNCLEAN_STOP};
use crate::job::shared::{Command, Shared};
use crate::job::{Job, JobEnd, JobEvent, JobOutcome, JobState};
use crate::plan::plan;
use crate::restart::Restarts;

/// Runs the job to its end, and tells the outcome.
pub(crate) async fn supervise(job: Job, shared: Arc<Shared>) {
    let Some(receiver) = shared.take_commands() else { return };
    let mut commands = Commands { receiver, stop: false, claimed: false };
    let plan = Arc::new(plan(&job.graph));
    let job = Arc::new(job);
    let mut restarts = Restarts::new(job.config.restart.clone());
    let end = loop {
        let end = attempt(&job, &plan, &shared, &mut commands).await;
        let JobEnd::Failed(error) = end else { break end };
        match restart(&job, &shared, &mut commands, &mut restarts, error).await {
            Next::Again => {}
            Next::Over(end) => break end,
        }
    };
    shared.set_state(JobState::Ended);
    let status = shared.status();
    match &end {
        JobEnd::Failed(error) => tracing::error!(job = %job.config.name, %error, "job failed"),
        end => tracing::info!(job = %job.config.name, ?end, "job ended"),
    }
    let outcome = JobOutcome {
        end: end.clone(),
        last_checkpoint: status.last_checkpoint.map(|c| c.epoch).or(status.restored_from),
        restarts: status.restarts,
        status,
    };
    shared.emit(JobEvent::Ended(end));
    // Closed and drained, so that nobody waits for an answer that cannot come.
    commands.receiver.close();
    while let Ok(command) = commands.receiver.try_recv() {
        refuse(command);
    }
    shared.outcome.send_replace(Some(outcome));
}

enum Next {
    Again,
    Over(JobEnd),
}

/// After a failure: waits for the next attempt, or gives up.
async fn restart(job: &Job, shared: &Shared, commands: &mut Commands, restarts: &mut Restarts, error: Error) -> Next {
    if !error.retryable() {
        return Next::Over(JobEnd::Failed(error));
    }
    if commands.stop {
        return Next::Over(JobEnd::Failed(unclean(&error)));
    }
    let clock = &job.env.clock;
    let Some(delay) = restarts.failed(clock.monotonic(), job.env.rng.unit()) else {
        let restarts = shared.progress().restarts;
        // Never restarted: the cause alone is the story.
        return Next::Over(JobEnd::Failed(if restarts == 0 { error } else { exhausted(restarts, &error) }));
    };
    let attempt = {
        let mut progress = shared.progress();
        progress.state = JobState::Restarting;
        progress.restarts += 1;
        progress.restarts
    };
    job.metrics.counter(&JOB_RESTARTS, &[&job.config.name, &error.code().to_string()]).inc();
    tracing::warn!(job = %job.config.name, %error, ?delay, attempt, "job failed, starting again");
    shared.emit(JobEvent::Restarting { error: error.clone(), delay, attempt });
    wait(job, shared, commands, delay, &error).await
}

async fn wait(job: &Job, shared: &Shared, commands: &mut Commands, delay: Duration, error: &Error) -> Next {
    let mut sleep = job.env.clock.sleep(delay);
    loop {
        tokio::select! {
            biased;
            () = shared.cancel.cancelled() => return Next::Over(JobEnd::Cancelled),
            Some(command) = commands.receiver.recv() => match command {
                Command::Stop => return Next::Over(JobEnd::Failed(unclean(error))),
                command => refuse(command),
            },
            () = &mut sleep => return Next::Again,
        }
    }
}

/// Answers a command that comes when no task runs.
fn refuse(command: Command) {
    if let Command::Checkpoint(reply) = command {
        let _ = reply.send(Err(Error::coded(CHECKPOINT_FAILED, "no checkpoint: the job does not run at the moment")));
    }
}

fn unclean(cause: &Error) -> Error {
    Diagnostic::error(UNCLEAN_STOP, "the job failed before its final checkpoint")
        .with_note(format!("the failure: {cause}"))
        .with_note("the next run goes on from the last periodic checkpoint and repeats what came after it")
        .into()
}

fn exhausted(restarts: u64, cause: &Error) -> Error {
    let mut diagnostic = Diagnostic::error(RESTARTS_EXHAUSTED, format!("gave up after {restarts} restarts: {cause}"))
        .with_note("the last checkpoint is intact; the next run goes on from it")
        .with_help("cure the cause, or allow more with the options of 'restart-strategy.type'");
    if let Some(span) = cause.span() {
        diagnostic = diagnostic.with_span(span, "");
    }
    diagnostic.into()
}
