//! What a running job tells: head block, progress, summary. Pure functions from statuses to lines.
//!
//! ```text
//! dflow 0.1.0  orders  (pipeline.sql)
//!   plan       1 source, 2 operators, 2 sinks, parallelism 1
//!   guarantee  revenue_log exactly-once (published by the checkpoint) · revenue_shown at-least-once
//!   state      .dflow/orders, a checkpoint every 10s
//!   start      fresh
//! source[orders]  116 rows  58/s      sink[revenue_log]  9 rows  4/s      checkpoint 3  12ms  4.0 KB
//! finished after 2.1s: 116 rows in, 18 rows out, 3 checkpoints
//! ```

use std::time::Duration;

use dflow::common::metrics::{BAD_RECORDS, DEAD_LETTERS, LATE_RECORDS, MetricDesc, Metrics, NULLS_DROPPED};
use dflow::common::units::{format_duration, format_size};
use dflow::runtime::checkpoint::OperatorKind;
use dflow::runtime::job::{JobEnd, JobOutcome, JobState, JobStatus, NodeStatus};

/// `3 sources`, `1 source`.
pub(crate) fn plural(n: u64, one: &str) -> String {
    if n == 1 { format!("{n} {one}") } else { format!("{n} {one}s") }
}

/// One entry per source and sink, then the newest checkpoint. `before` is an earlier status of the same job.
pub(crate) fn entries(before: &JobStatus, now: &JobStatus) -> Vec<String> {
    let seconds = now.uptime.saturating_sub(before.uptime).as_secs_f64();
    let rate = |a: u64, b: u64| if seconds > 0.0 { a.saturating_sub(b) as f64 / seconds } else { 0.0 };
    let mut entries: Vec<String> = now
        .nodes
        .iter()
        .zip(&before.nodes)
        .filter_map(|(n, b)| match n.kind {
            OperatorKind::Source => Some(entry(n, n.rows_in, rate(n.rows_in, b.rows_in))),
            OperatorKind::Sink => Some(entry(n, n.rows_out, rate(n.rows_out, b.rows_out))),
            OperatorKind::Operator => None,
        })
        .collect();
    if let Some(c) = &now.last_checkpoint {
        entries.push(format!("checkpoint {}  {}  {}", c.epoch.0, format_duration(c.duration), format_size(c.bytes)));
    }
    match now.state {
        JobState::Starting => entries.insert(0, "starting".into()),
        JobState::Restarting => entries.insert(0, format!("restarting (attempt {})", now.restarts + 1)),
        JobState::Stopping => entries.insert(0, "stopping".into()),
        JobState::Running | JobState::Ended => {}
    }
    entries
}

fn entry(node: &NodeStatus, rows: u64, rate: f64) -> String {
    format!("{}  {}  {}/s", node.name, plural(rows, "row"), short_number(rate))
}

/// Entries side by side, as many as fit.
pub(crate) fn lines(entries: &[String], width: usize) -> Vec<String> {
    const GAP: &str = "    ";
    let mut lines: Vec<String> = Vec::new();
    for entry in entries {
        match lines.last_mut() {
            Some(line) if line.chars().count() + GAP.len() + entry.chars().count() < width => {
                line.push_str(GAP);
                line.push_str(entry);
            }
            // A line that wraps would make drawing over it wrong.
            _ => lines.push(entry.chars().take(width.saturating_sub(1)).collect()),
        }
    }
    lines
}

/// `950`, `3.1 K`, `12.0 M`.
pub(crate) fn short_number(n: f64) -> String {
    match n {
        n if n < 1_000.0 => format!("{n:.0}"),
        n if n < 1e6 => format!("{:.1} K", n / 1e3),
        n if n < 1e9 => format!("{:.1} M", n / 1e6),
        n => format!("{:.1} G", n / 1e9),
    }
}

/// Rows the sources read, and rows the sinks took.
pub(crate) fn totals(status: &JobStatus) -> (u64, u64) {
    let sum = |kind: OperatorKind, rows: fn(&NodeStatus) -> u64| {
        status.nodes.iter().filter(|n| n.kind == kind).map(rows).sum()
    };
    (sum(OperatorKind::Source, |n| n.rows_in), sum(OperatorKind::Sink, |n| n.rows_out))
}

/// How it ended, and what was not as it should be.
pub(crate) fn summary(outcome: &JobOutcome, metrics: &Metrics) -> Vec<String> {
    let (rows_in, rows_out) = totals(&outcome.status);
    let how = match outcome.end {
        JobEnd::Finished => "finished",
        JobEnd::Stopped => "stopped",
        JobEnd::Cancelled => "cancelled",
        JobEnd::Failed(_) => "failed",
    };
    let mut line = format!(
        "{how} after {}: {} in, {} out, {}",
        seconds(outcome.status.uptime),
        plural(rows_in, "row"),
        plural(rows_out, "row"),
        plural(outcome.status.checkpoints_completed, "checkpoint")
    );
    if outcome.restarts > 0 {
        line += &format!(", {}", plural(outcome.restarts, "restart"));
    }
    if outcome.status.checkpoints_failed > 0 {
        line += &format!(", {} failed", plural(outcome.status.checkpoints_failed, "checkpoint"));
    }
    let mut lines = vec![line];
    // A record in the dead-letter file was not skipped; the connector counts it as bad all the same.
    let dead = by_table(metrics, &DEAD_LETTERS);
    let mut skipped = by_table(metrics, &BAD_RECORDS);
    for (table, count) in &dead {
        if let Some((_, bad)) = skipped.iter_mut().find(|(t, _)| t == table) {
            *bad = bad.saturating_sub(*count);
        }
    }
    let losses = [
        (skipped, "skipped because they could not be decoded"),
        (dead, "written to the dead-letter file because they could not be decoded"),
        (by_table(metrics, &LATE_RECORDS), "dropped because they were late"),
        (by_table(metrics, &NULLS_DROPPED), "dropped because of NULL in a NOT NULL column"),
    ];
    for (counts, what) in losses {
        let total: u64 = counts.iter().map(|(_, n)| n).sum();
        if total > 0 {
            let parts: Vec<String> = counts.iter().filter(|(_, n)| *n > 0).map(|(t, n)| format!("{t} {n}")).collect();
            lines.push(format!("  {} {what} ({})", plural(total, "record"), parts.join(", ")));
        }
    }
    lines
}

/// A counter by its last label: the table, the sink, the operator.
fn by_table(metrics: &Metrics, metric: &MetricDesc) -> Vec<(String, u64)> {
    metrics
        .snapshot()
        .iter()
        .filter(|s| s.name == metric.name)
        .filter_map(|s| s.labels.last().map(|(_, table)| (short_name(table).to_owned(), s.value as u64)))
        .collect()
}

/// A table without the catalog and database everything is in.
pub(crate) fn short_name(table: &str) -> &str {
    table.strip_prefix("default_catalog.default_database.").unwrap_or(table)
}

/// `2.1s`, `3min 20s`.
pub(crate) fn seconds(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        0..60 => format!("{:.1}s", d.as_secs_f64()),
        60..3_600 => format!("{}min {}s", s / 60, s % 60),
        _ => format!("{}h {}min", s / 3_600, s % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use dflow::common::{Epoch, OperatorId};
    use dflow::runtime::job::CheckpointStatus;
    use dflow::runtime::operator::StateSize;

    use super::*;

    fn node(name: &str, kind: OperatorKind, rows: u64) -> NodeStatus {
        NodeStatus {
            id: OperatorId(name.into()),
            name: name.into(),
            kind,
            rows_in: rows,
            rows_out: rows,
            watermark_us: None,
            state: StateSize::default(),
            splits: 0,
        }
    }

    fn status(uptime_s: u64, read: u64, written: u64) -> JobStatus {
        JobStatus {
            state: JobState::Running,
            uptime: Duration::from_secs(uptime_s),
            restarts: 0,
            restored_from: None,
            last_checkpoint: None,
            checkpoints_completed: 3,
            checkpoints_failed: 0,
            nodes: vec![
                node("source[orders]", OperatorKind::Source, read),
                node("aggregate[1]", OperatorKind::Operator, read),
                node("sink[totals]", OperatorKind::Sink, written),
            ],
        }
    }

    #[test]
    fn progress_shows_sources_and_sinks_with_their_rates() {
        let mut now = status(10, 41_000, 1);
        now.last_checkpoint = Some(CheckpointStatus {
            epoch: Epoch(3),
            duration: Duration::from_millis(12),
            bytes: 4096,
            completed_ms: 0,
        });
        assert_eq!(
            entries(&status(0, 10_000, 0), &now),
            ["source[orders]  41000 rows  3.1 K/s", "sink[totals]  1 row  0/s", "checkpoint 3  12ms  4.0 KB"]
        );
        now.state = JobState::Stopping;
        assert_eq!(entries(&status(0, 0, 0), &now)[0], "stopping");
    }

    #[test]
    fn entries_are_put_side_by_side_and_never_wrap() {
        let entries: Vec<String> = ["aaaa", "bbbb", "cccc"].map(String::from).to_vec();
        assert_eq!(lines(&entries, 80), ["aaaa    bbbb    cccc"]);
        assert_eq!(lines(&entries, 14), ["aaaa    bbbb", "cccc"]);
        assert_eq!(lines(&["abcdef".into()], 4), ["abc"]);
    }

    #[test]
    fn the_summary_counts_what_was_lost_and_where() {
        let outcome = |end| JobOutcome { end, last_checkpoint: None, restarts: 1, status: status(75, 100, 7) };
        let metrics = Metrics::new();
        let orders = "default_catalog.default_database.orders";
        metrics.counter(&DEAD_LETTERS, &["j", orders]).inc_by(3.0);
        metrics.counter(&BAD_RECORDS, &["j", orders]).inc_by(3.0);
        metrics.counter(&BAD_RECORDS, &["j", "users"]).inc_by(1.0);
        assert_eq!(
            summary(&outcome(JobEnd::Finished), &metrics),
            [
                "finished after 1min 15s: 100 rows in, 7 rows out, 3 checkpoints, 1 restart",
                "  1 record skipped because they could not be decoded (users 1)",
                "  3 records written to the dead-letter file because they could not be decoded (orders 3)"
            ]
        );
        assert!(summary(&outcome(JobEnd::Stopped), &Metrics::new())[0].starts_with("stopped after"));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.0, 999.0, 1_000.0, 2_500_000.0, 3e9].map(short_number), ["0", "999", "1.0 K", "2.5 M", "3.0 G"]);
    }
}
