//! Runs a job attempt by attempt: decides after each whether the job is over or starts again.
//!
//! A failure that a restart may cure goes to the restart strategy; every other one ends the job. What was committed
//! before stays: the next attempt claims the state anew and goes on from the newest checkpoint.
//!
//! A full disk is in between: room may return, but seldom by itself. The strategy decides about the first
//! [`STARVED_RESTARTS`] restarts; when none of them has completed a checkpoint, the job ends with that error.

use std::sync::Arc;
use std::time::Duration;

use dflow_common::metrics::JOB_RESTARTS;
use dflow_common::{Class, Classified, Diagnostic, Epoch};

use crate::attempt::{Commands, attempt};
use crate::error::{CHECKPOINT_FAILED, Error, RESTARTS_EXHAUSTED, UNCLEAN_STOP};
use crate::job::shared::{Command, Shared};
use crate::job::{Job, JobEnd, JobEvent, JobOutcome, JobState, TOLD};
use crate::plan::plan;
use crate::restart::Restarts;

/// Restarts for lack of room, memory or files without a checkpoint in between, before the job gives up.
const STARVED_RESTARTS: u32 = 3;

/// Counts failures for lack of resources since the last progress.
#[derive(Default)]
struct Starved {
    count: u32,
    progress: Option<Epoch>,
}

impl Starved {
    /// Whether one more failure is one too many. `progress` is the newest complete checkpoint.
    fn gives_up(&mut self, error: &Error, progress: Option<Epoch>) -> bool {
        if error.class() != Class::Resources {
            return false;
        }
        if self.progress != progress {
            *self = Self { count: 0, progress };
        }
        self.count += 1;
        self.count > STARVED_RESTARTS
    }
}

/// Runs the job to its end, and tells the outcome.
pub(crate) async fn supervise(job: Job, shared: Arc<Shared>) {
    let Some(receiver) = shared.take_commands() else { return };
    let mut commands = Commands { receiver, stop: false, claimed: false };
    let plan = Arc::new(plan(&job.graph));
    let job = Arc::new(job);
    let mut restarts = Restarts::new(job.config.restart.clone());
    let mut starved = Starved::default();
    let end = loop {
        let end = attempt(&job, &plan, &shared, &mut commands).await;
        let JobEnd::Failed(error) = end else { break end };
        let progress = shared.progress().last_checkpoint.map(|c| c.epoch);
        if error.retryable() && starved.gives_up(&error, progress) {
            let note = format!("{STARVED_RESTARTS} restarts did not help");
            break JobEnd::Failed(error.diagnostic().with_note(note).into());
        }
        match restart(&job, &shared, &mut commands, &mut restarts, error).await {
            Next::Again => {}
            Next::Over(end) => break end,
        }
    };
    shared.set_state(JobState::Ended);
    let status = shared.status();
    match &end {
        JobEnd::Failed(error) => {
            tracing::error!(target: TOLD, job = %job.config.name, error = %error.diagnostic().brief(), "job failed");
        }
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
    let brief = error.diagnostic().brief();
    tracing::warn!(target: TOLD, job = %job.config.name, error = brief, ?delay, attempt, "job failed, starting again");
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
    let cause = cause.diagnostic();
    let mut diagnostic = Diagnostic::error(UNCLEAN_STOP, "the job failed before its final checkpoint")
        .with_note(format!("the failure: {}", cause.brief()));
    diagnostic.help = cause.help;
    diagnostic.into()
}

/// The story of the last failure, under the code of a strategy that gave up.
fn exhausted(restarts: u64, cause: &Error) -> Error {
    let cause = cause.diagnostic();
    let of = format!("what failed: dflow help {}", cause.code);
    let story = Diagnostic {
        code: RESTARTS_EXHAUSTED.code,
        class: RESTARTS_EXHAUSTED.class,
        message: format!("gave up after {restarts} restarts: {}", cause.message),
        ..cause
    };
    story.with_note(of).with_help("cure the cause, or allow more with the options of 'restart-strategy.type'").into()
}
