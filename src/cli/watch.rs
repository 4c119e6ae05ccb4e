//! Watching a job: progress, signals, `--until`, the end.
//!
//! ```text
//! tick (200 ms) ──> draw progress, ask `Until`          ┐
//! event ─────────> started, failed checkpoint, restart  ├─> keep watching │ handle.stop() │ the exit code
//! signal ────────> first: stop, second: now             │
//! outcome ───────> summary                              ┘
//! ```
//! # Signals
//! The first Ctrl-C or SIGTERM stops the job: sources end, a final checkpoint is taken, sinks commit. The second ends the
//! process at once with 130 or 143; the state is that of the last checkpoint.

use std::io;
use std::time::Duration;

use dflow::common::metrics::Metrics;
use dflow::common::units::format_duration;
use dflow::common::{Classified, Diagnostic, Env, Epoch, SourceMap};
use dflow::runtime::checkpoint::OperatorKind;
use dflow::runtime::job::{JobEnd, JobEvent, JobHandle, JobOutcome, JobState, JobStatus};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::broadcast::error::RecvError;

use super::args::Until;
use super::pipe::Pipe;
use super::progress;
use super::report::Report;

/// Between two looks at the job.
const TICK: Duration = Duration::from_millis(200);
/// Between two lines where nothing can be drawn over.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// `--until caught-up`: how long no source may have had anything to read.
const CAUGHT_UP_AFTER: Duration = Duration::from_secs(1);
/// Columns when the terminal does not say, or says nonsense.
const WIDTH: usize = 100;
/// Fewer columns are nonsense.
const WIDTH_MIN: usize = 20;

/// What the watcher needs to know.
pub(crate) struct Watch<'a> {
    pub(crate) report: &'a Report,
    pub(crate) sources: &'a SourceMap,
    pub(crate) env: &'a Env,
    pub(crate) metrics: &'a Metrics,
    pub(crate) until: Option<Until>,
    /// Standard output: its reader may leave, or have enough.
    pub(crate) pipe: &'a Pipe,
    /// Whether another process can go on from the checkpoints.
    pub(crate) keeps_state: bool,
    /// What the same command must leave out to go on from them, with a blank in front; empty for nothing.
    pub(crate) without: &'static str,
    /// Whether progress may be drawn over: not where rows appear between its lines.
    pub(crate) live: bool,
}

/// SIGINT and SIGTERM, from now on.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens. Call it inside a Tokio runtime.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The next signal, as the exit code it stands for when it is the second. Cancel safe.
    pub(crate) async fn next(&mut self) -> u8 {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }
}

/// Watches the job to its end; the exit code, and whether it read all its input.
pub(crate) async fn watch(job: &JobHandle, signals: &mut Signals, watch: &Watch<'_>) -> (u8, bool) {
    let mut events = job.events();
    let mut started = false;
    let mut observer = Observer::new(watch.until, job.status());
    let mut shown = job.status();
    let mut last_line = watch.env.clock.monotonic();
    let mut stopping = false;
    let mut tick = watch.env.clock.sleep(TICK);
    let outcome = {
        let ended = job.wait();
        tokio::pin!(ended);
        loop {
            tokio::select! {
                biased;
                code = signals.next() => {
                    if stopping {
                        job.cancel();
                        let status = job.status();
                        let last = status.last_checkpoint.map(|c| c.epoch).or(status.restored_from);
                        watch.report.status(&format!("stopped at once; {}", next_run(watch, last)));
                        return (code, false);
                    }
                    stopping = true;
                    watch.report.status("stopping: the final checkpoint is being taken (again to stop at once)");
                    job.stop();
                }
                outcome = &mut ended => break outcome,
                event = events.recv() => match event {
                    Ok(event) => started |= tell(&event, watch),
                    Err(RecvError::Lagged(_)) => {}
                    // The sender lives in the handle; its end is the outcome.
                    Err(RecvError::Closed) => watch.env.clock.sleep(TICK).await,
                },
                () = watch.pipe.done(), if !stopping => {
                    stopping = true;
                    job.stop();
                }
                () = &mut tick => {
                    tick = watch.env.clock.sleep(TICK);
                    let now = job.status();
                    if !stopping && observer.is_reached(&now) {
                        stopping = true;
                        job.stop();
                    }
                    let at = watch.env.clock.monotonic();
                    if watch.live {
                        watch.report.live(&progress::lines(&progress::entries(&shown, &now), width()));
                    } else if at.saturating_sub(last_line) >= LINE_EVERY {
                        last_line = at;
                        line(&shown, &now, watch.report);
                        shown = now;
                        continue;
                    }
                    // Rates over the last few seconds, not since the start.
                    if now.uptime.saturating_sub(shown.uptime) > Duration::from_secs(3) && watch.live {
                        shown = now;
                    }
                }
            }
        }
    };
    // What happened last is still in the channel.
    while let Ok(event) = events.try_recv() {
        started |= tell(&event, watch);
    }
    (end(&outcome, started, watch), matches!(outcome.end, JobEnd::Finished))
}

/// The summary, and the error that ended it. `started`: it got past its claim, so that what it leaves behind is known.
fn end(outcome: &JobOutcome, started: bool, watch: &Watch<'_>) -> u8 {
    for line in progress::summary(outcome, watch.metrics) {
        watch.report.status(&line);
    }
    match &outcome.end {
        JobEnd::Finished | JobEnd::Cancelled => 0,
        JobEnd::Stopped => {
            if let Some(epoch) = outcome.last_checkpoint.filter(|_| watch.keeps_state) {
                let (number, without) = (epoch.0, watch.without);
                let line = format!("checkpoint {number} is durable; the same command{without} goes on from it");
                watch.report.status(&line);
            }
            0
        }
        JobEnd::Failed(error) => {
            let mut error = error.diagnostic();
            if started {
                error = error.with_note(next_run(watch, outcome.last_checkpoint));
            }
            watch.report.fail(&error, watch.sources)
        }
    }
}

/// What the same command does after a run that ended early. A checkpoint after `last` may be complete without our
/// knowing; the next run finds it.
fn next_run(watch: &Watch<'_>, last: Option<Epoch>) -> String {
    let without = watch.without;
    match last {
        _ if !watch.keeps_state => "no state is kept: the next run starts from the beginning".into(),
        Some(epoch) => {
            format!("checkpoint {epoch} is the last known to be complete: the next run{without} goes on from there")
        }
        None => "no checkpoint is known to be complete: the next run starts from the beginning".into(),
    }
}

/// The line that says what a job starts from, and what is to be said about the state before.
pub(crate) fn tell_start(report: &Report, restored: Option<Epoch>, notices: &[String]) {
    for notice in notices {
        report.event(&format!("  state      {notice}"), || json!({"msg": "state", "notice": notice}));
    }
    let how = match restored {
        Some(epoch) => format!("  start      from checkpoint {}", epoch.0),
        None => "  start      fresh: no earlier checkpoint is used".to_owned(),
    };
    report.event(&how, || json!({"msg": "started", "restored": restored.map(|e| e.0)}));
}

/// Tells what happened; whether it is that the job runs now.
fn tell(event: &JobEvent, watch: &Watch<'_>) -> bool {
    let report = watch.report;
    match event {
        JobEvent::Started { restored, notices, .. } => {
            tell_start(report, *restored, notices);
            return true;
        }
        JobEvent::CheckpointFailed { epoch, error } => {
            report.diagnostic(
                &warning(error.diagnostic(), format!("checkpoint {} was given up", epoch.0)),
                watch.sources,
            );
        }
        JobEvent::Restarting { error, delay, attempt } => {
            let what = format!("the job starts again in {} (restart {attempt})", format_duration(*delay));
            report.diagnostic(&warning(error.diagnostic(), what), watch.sources);
        }
        // Completed checkpoints are in the progress, and in the log with -v.
        JobEvent::CheckpointCompleted(_) | JobEvent::Ended(_) => {}
    }
    false
}

/// An error that did not end the job.
fn warning(mut diagnostic: Diagnostic, consequence: String) -> Diagnostic {
    diagnostic.severity = dflow::common::Severity::Warning;
    diagnostic.with_note(consequence)
}

/// One line about everything since the last.
fn line(before: &JobStatus, now: &JobStatus, report: &Report) {
    let (rows_in, rows_out) = progress::totals(now);
    report.event(&progress::entries(before, now).join("  ·  "), || {
        json!({
            "msg": "progress",
            "uptime_s": now.uptime.as_secs(),
            "rows_in": rows_in,
            "rows_out": rows_out,
            "restarts": now.restarts,
            "checkpoint": now.last_checkpoint.map(|c| c.epoch.0),
        })
    });
}

fn width() -> usize {
    comfy_table::Table::new().use_stderr().width().map(usize::from).filter(|w| *w >= WIDTH_MIN).unwrap_or(WIDTH)
}

/// Decides when `--until` is reached.
struct Observer {
    until: Option<Until>,
    rows: u64,
    /// Uptime when a row last moved, or a source last had something to read.
    moved: Duration,
}

impl Observer {
    fn new(until: Option<Until>, status: JobStatus) -> Self {
        Self { until, rows: 0, moved: status.uptime }
    }

    fn is_reached(&mut self, now: &JobStatus) -> bool {
        let (read, written) = progress::totals(now);
        let reading = now.nodes.iter().any(|n| n.kind == OperatorKind::Source && n.splits > 0);
        let rows = read + written;
        let still_caught_up = matches!(self.until, Some(Until::CaughtUp)) && reading;
        if rows != self.rows || now.state != JobState::Running || still_caught_up {
            self.rows = rows;
            self.moved = now.uptime;
        }
        let quiet = now.uptime.saturating_sub(self.moved);
        match self.until {
            None | Some(Until::End) => false,
            Some(Until::Rows(n)) => written >= n,
            Some(Until::Idle(d)) => quiet >= d,
            Some(Until::CaughtUp) => quiet >= CAUGHT_UP_AFTER,
        }
    }
}

#[cfg(test)]
mod tests {
    use dflow::common::OperatorId;
    use dflow::runtime::job::NodeStatus;
    use dflow::runtime::operator::StateSize;

    use super::*;

    fn status(ms: u64, read: u64, written: u64, splits: u64) -> JobStatus {
        let node = |kind, rows_in, rows_out, splits| NodeStatus {
            id: OperatorId(String::new()),
            name: String::new(),
            kind,
            rows_in,
            rows_out,
            watermark_us: None,
            state: StateSize::default(),
            splits,
        };
        JobStatus {
            state: JobState::Running,
            uptime: Duration::from_millis(ms),
            restarts: 0,
            restored_from: None,
            last_checkpoint: None,
            checkpoints_completed: 0,
            checkpoints_failed: 0,
            nodes: vec![node(OperatorKind::Source, read, read, splits), node(OperatorKind::Sink, written, written, 0)],
        }
    }

    fn observer(until: Until) -> Observer {
        Observer::new(Some(until), status(0, 0, 0, 0))
    }

    #[test]
    fn rows_counts_what_the_sinks_took() {
        let mut o = observer(Until::Rows(3));
        assert!(!o.is_reached(&status(1, 100, 2, 1)));
        assert!(o.is_reached(&status(2, 100, 3, 1)));
    }

    #[test]
    fn idle_waits_from_the_last_row_on() {
        let mut o = observer(Until::Idle(Duration::from_secs(2)));
        assert!(!o.is_reached(&status(1_000, 5, 5, 1)));
        assert!(!o.is_reached(&status(2_900, 5, 5, 1)));
        assert!(o.is_reached(&status(3_000, 5, 5, 1)));
        let mut o = observer(Until::Idle(Duration::from_secs(2)));
        assert!(!o.is_reached(&status(1_000, 5, 5, 1)));
        assert!(!o.is_reached(&status(3_000, 6, 5, 1)), "a row moved");
    }

    #[test]
    fn caught_up_is_a_second_in_which_no_source_had_anything_to_read() {
        let mut o = observer(Until::CaughtUp);
        assert!(!o.is_reached(&status(500, 0, 0, 0)), "it may not have looked yet");
        assert!(!o.is_reached(&status(900, 0, 0, 1)), "it reads a file");
        assert!(!o.is_reached(&status(5_000, 0, 0, 1)), "it still reads the file, slowly");
        assert!(!o.is_reached(&status(5_900, 10, 10, 0)));
        assert!(o.is_reached(&status(6_900, 10, 10, 0)));
    }

    #[test]
    fn end_is_decided_by_the_input_alone() {
        assert!(!observer(Until::End).is_reached(&status(u64::from(u32::MAX), 0, 0, 0)));
    }
}
