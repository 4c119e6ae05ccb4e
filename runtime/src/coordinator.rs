//! Decides when checkpoints begin, succeed and fail. A pure state machine: [`Coordinator::step`] takes an event and the
//! time, and answers with actions; it never waits, so every rule is a unit test.
//!
//! # Phases
//! ```text
//!  Quiet ──Inject──> Aligning ──all acks──> Committing ──durable──> Publishing ──sinks committed──> Quiet
//!    ▲                  │ timeout, a part failed   │ write failed        │ gave up, or fenced anywhere
//!    └──────Abort───────┴──────────────────────────┘                     └──> Fail (a restart commits it again)
//! ```
//! # Rules
//! * One checkpoint at a time. The next begins `interval` after the last one began and `min_pause` after it ended, and
//!   only when something has happened since; a request begins one at once.
//! * A failed or expired checkpoint does not fail the job until more than `tolerable_failures` fail in a row. For lack of
//!   room it is tried again after [`STARVED_PAUSE`] already, and in the end that error is the job's: a restart makes no room.
//! * The commit of the manifest is never abandoned half-way: the timeout covers the time before it.
//! * Once every task has reached the end of its input, one more checkpoint, begun after that, commits the tail; then the
//!   state is marked as finished. A graceful stop takes one that also stops the sources; then the state is marked as
//!   settled. Both checkpoints are tried again after [`RETRY_PAUSE`] within the tolerated number of failures.

use std::time::Duration;

use dflow_common::units::format_duration;
use dflow_common::{Class, Classified, Epoch};

use crate::config::CheckpointConfig;
use crate::error::{CHECKPOINT_EXPIRED, Error, TOO_MANY_FAILED_CHECKPOINTS, UNCLEAN_STOP};

/// Time between attempts of a final checkpoint.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Time to the next checkpoint, at most, after one for which there was no room.
pub(crate) const STARVED_PAUSE: Duration = Duration::from_secs(2);

/// Something the coordinator hears. Epochs that are over are ignored.
#[derive(Debug)]
pub(crate) enum Event {
    /// Nothing but time.
    Timer,
    /// A participant's part of a checkpoint is stored.
    Ack { participant: usize, epoch: Epoch },
    /// A participant's part could not be stored.
    PartFailed { epoch: Epoch, error: Error },
    /// The manifest is durable.
    Committed { epoch: Epoch },
    /// It is not.
    CommitFailed { epoch: Epoch, error: Error },
    /// Every sink has committed.
    Published { epoch: Epoch },
    /// A sink could not, with all retries.
    PublishFailed { error: Error },
    /// A task has reached the end of its input.
    TaskEnded { task: usize },
    /// Somebody wants a checkpoint now.
    Requested,
    /// A graceful end is wanted.
    Stop,
    /// The state is marked as finished or settled, or could not be.
    Marked(Result<(), Error>),
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Action {
    /// Hand the barrier to the sources; after the last one they stop.
    Inject { epoch: Epoch, last: bool },
    /// Write the manifest.
    Commit { epoch: Epoch },
    /// Forget what was collected for this checkpoint.
    Abort { epoch: Epoch, error: Error },
    /// Let the sinks commit.
    Publish { epoch: Epoch },
    /// The checkpoint is complete: tell the sources and everybody.
    Complete { epoch: Epoch, took: Duration },
    /// Mark the state as finished.
    MarkFinished,
    /// Note that the sinks have committed the last checkpoint.
    MarkSettled,
    /// The job is over, well.
    End(End),
    /// The job has failed.
    Fail(Error),
}

/// How a job ends well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Finished,
    Stopped,
}

#[derive(Debug)]
struct Running {
    epoch: Epoch,
    since: Duration,
    /// The activity at its barrier.
    activity: u64,
    /// Every task had ended before its barrier.
    tail: bool,
    /// It stops the sources.
    last: bool,
    acked: Vec<bool>,
    missing: usize,
}

#[derive(Debug)]
enum Phase {
    Quiet,
    Aligning(Running),
    Committing(Running),
    Publishing(Running),
    Marking(End),
    Over,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Coordinator {
    config: CheckpointConfig,
    stop_timeout: Duration,
    participants: usize,
    running_tasks: usize,
    ended: Vec<bool>,
    next_epoch: Epoch,
    phase: Phase,
    /// When the last one began; the start of the job before the first.
    began: Duration,
    /// When the next may begin at the earliest.
    not_before: Duration,
    activity: u64,
    failures: u32,
    requested: bool,
    stop_by: Option<Duration>,
}

impl Coordinator {
    /// `participants` acknowledge every checkpoint; the first `tasks` of them are tasks that can end.
    pub(crate) fn new(
        config: CheckpointConfig,
        stop_timeout: Duration,
        tasks: usize,
        participants: usize,
        next_epoch: Epoch,
        now: Duration,
    ) -> Self {
        Self {
            config,
            stop_timeout,
            participants,
            running_tasks: tasks,
            ended: vec![false; tasks],
            next_epoch,
            phase: Phase::Quiet,
            began: now,
            not_before: now,
            activity: 0,
            failures: 0,
            requested: false,
            stop_by: None,
        }
    }

    /// Takes one event. `activity` counts everything that has happened in tasks and enumerators.
    pub(crate) fn step(&mut self, now: Duration, activity: u64, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.take(now, event, &mut actions);
        self.expire(now, &mut actions);
        self.begin(now, activity, &mut actions);
        actions
    }

    /// When to step with [`Event::Timer`] if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let next = match &self.phase {
            Phase::Aligning(r) => Some(r.since + self.config.timeout),
            Phase::Quiet if self.wants_final() || self.requested => Some(self.not_before),
            Phase::Quiet => self.config.interval.map(|i| (self.began + i).max(self.not_before)),
            Phase::Over | Phase::Marking(End::Stopped) => return None,
            Phase::Committing(_) | Phase::Publishing(_) | Phase::Marking(_) => None,
        };
        match (next, self.stop_by) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn wants_final(&self) -> bool {
        self.stop_by.is_some() || self.running_tasks == 0
    }

    fn take(&mut self, now: Duration, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Timer => {}
            Event::Requested => self.requested = true,
            Event::Stop => {
                self.stop_by.get_or_insert(now + self.stop_timeout);
            }
            Event::TaskEnded { task } => {
                if !std::mem::replace(&mut self.ended[task], true) {
                    self.running_tasks -= 1;
                }
            }
            Event::Ack { participant, epoch } => self.ack(participant, epoch, actions),
            Event::PartFailed { epoch, error } => {
                if matches!(&self.phase, Phase::Aligning(r) if r.epoch == epoch) {
                    self.abort(now, epoch, error, actions);
                }
            }
            Event::Committed { epoch } => {
                if let Phase::Committing(r) = std::mem::replace(&mut self.phase, Phase::Quiet) {
                    debug_assert_eq!(r.epoch, epoch, "one checkpoint at a time");
                    self.phase = Phase::Publishing(r);
                    actions.push(Action::Publish { epoch });
                }
            }
            Event::CommitFailed { epoch, error } => {
                if error.class() == Class::Fenced {
                    self.fail(error, actions);
                } else {
                    self.abort(now, epoch, error, actions);
                }
            }
            Event::Published { epoch } => {
                if let Phase::Publishing(r) = std::mem::replace(&mut self.phase, Phase::Quiet) {
                    debug_assert_eq!(r.epoch, epoch, "one checkpoint at a time");
                    self.complete(now, r, actions);
                }
            }
            Event::PublishFailed { error } => self.fail(error, actions),
            Event::Marked(Ok(())) => {
                if let Phase::Marking(end) = self.phase {
                    self.end(end, actions);
                }
            }
            Event::Marked(Err(error)) => self.fail(error, actions),
        }
    }

    fn ack(&mut self, participant: usize, epoch: Epoch, actions: &mut Vec<Action>) {
        let Phase::Aligning(r) = &mut self.phase else { return };
        if r.epoch != epoch || std::mem::replace(&mut r.acked[participant], true) {
            return;
        }
        r.missing -= 1;
        if r.missing == 0
            && let Phase::Aligning(r) = std::mem::replace(&mut self.phase, Phase::Quiet)
        {
            self.phase = Phase::Committing(r);
            actions.push(Action::Commit { epoch });
        }
    }

    fn complete(&mut self, now: Duration, r: Running, actions: &mut Vec<Action>) {
        self.failures = 0;
        self.activity = r.activity;
        self.not_before = now + self.config.min_pause;
        actions.push(Action::Complete { epoch: r.epoch, took: now.saturating_sub(r.since) });
        if r.tail {
            self.phase = Phase::Marking(End::Finished);
            actions.push(Action::MarkFinished);
        } else if r.last {
            self.phase = Phase::Marking(End::Stopped);
            actions.push(Action::MarkSettled);
        }
    }

    fn abort(&mut self, now: Duration, epoch: Epoch, error: Error, actions: &mut Vec<Action>) {
        self.phase = Phase::Quiet;
        self.failures += 1;
        self.not_before =
            now + self.config.min_pause.max(if self.wants_final() { RETRY_PAUSE } else { Duration::ZERO });
        let starved = error.class() == Class::Resources;
        if starved && let Some(interval) = self.config.interval.filter(|i| *i > STARVED_PAUSE) {
            self.began = (now + STARVED_PAUSE).saturating_sub(interval);
        }
        let too_many = (self.failures > self.config.tolerable_failures).then(|| {
            let failures = self.failures;
            let message = format!("{failures} checkpoints in a row failed, {} are tolerated", failures - 1);
            let cause = error.diagnostic();
            if starved {
                return Error::from(cause.with_note(message));
            }
            let diagnostic = dflow_common::Diagnostic::error(TOO_MANY_FAILED_CHECKPOINTS, message)
                .with_note(format!("the last one: {}", cause.brief()))
                .with_help("see the cause above; 'execution.checkpointing.tolerable-failed-checkpoints' allows more");
            Error::from(diagnostic).retry()
        });
        actions.push(Action::Abort { epoch, error });
        if let Some(error) = too_many {
            self.fail(error, actions);
        }
    }

    fn expire(&mut self, now: Duration, actions: &mut Vec<Action>) {
        // A job whose last checkpoint is complete has stopped well, however long a note about it takes.
        if matches!(self.phase, Phase::Over | Phase::Marking(End::Stopped)) {
            return;
        }
        if let Phase::Aligning(r) = &self.phase
            && now >= r.since + self.config.timeout
        {
            let (epoch, missing) = (r.epoch, r.missing);
            let message = format!(
                "checkpoint {epoch} expired after {}: {missing} of {} parts are missing",
                format_duration(self.config.timeout),
                self.participants
            );
            let diagnostic = dflow_common::Diagnostic::error(CHECKPOINT_EXPIRED, message).with_help(
                "look for back-pressure (a slow sink, a slow disk), or raise 'execution.checkpointing.timeout'",
            );
            self.abort(now, epoch, diagnostic.into(), actions);
        }
        if self.stop_by.is_some_and(|by| now >= by) && !matches!(self.phase, Phase::Over) {
            let message = format!("no final checkpoint within {}", format_duration(self.stop_timeout));
            let diagnostic =
                dflow_common::Diagnostic::error(UNCLEAN_STOP, message).with_help("allow more time with --stop-timeout");
            self.fail(diagnostic.into(), actions);
        }
    }

    fn begin(&mut self, now: Duration, activity: u64, actions: &mut Vec<Action>) {
        if !matches!(self.phase, Phase::Quiet) {
            return;
        }
        let wanted = if self.wants_final() {
            now >= self.not_before
        } else if self.requested {
            true
        } else {
            let due = self.config.interval.is_some_and(|i| now >= (self.began + i).max(self.not_before));
            if due && activity == self.activity {
                self.began = now;
                return;
            }
            due
        };
        if !wanted {
            return;
        }
        let (epoch, last) = (self.next_epoch, self.stop_by.is_some());
        self.next_epoch = epoch.next();
        self.requested = false;
        self.began = now;
        self.phase = Phase::Aligning(Running {
            epoch,
            since: now,
            activity,
            tail: self.running_tasks == 0,
            last,
            acked: vec![false; self.participants],
            missing: self.participants,
        });
        actions.push(Action::Inject { epoch, last });
    }

    fn end(&mut self, end: End, actions: &mut Vec<Action>) {
        self.phase = Phase::Over;
        actions.push(Action::End(end));
    }

    fn fail(&mut self, error: Error, actions: &mut Vec<Action>) {
        self.phase = Phase::Over;
        actions.push(Action::Fail(error));
    }
}

#[cfg(test)]
mod tests;
