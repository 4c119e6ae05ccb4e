//! Metric names and the registry that counts them.
//!
//! One [`Metrics`] per engine. Every name of the system is a constant here, with its meaning and labels; a
//! handle ([`Counter`], [`Gauge`]) is taken once and then costs one atomic add.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

pub use prometheus_client::metrics::counter::Counter;
/// A gauge of floating-point values.
pub type Gauge = prometheus_client::metrics::gauge::Gauge<f64, AtomicU64>;

/// What a metric measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// One metric of the system.
#[derive(Clone, Copy, Debug)]
pub struct MetricDesc {
    /// Its Prometheus name.
    pub name: &'static str,
    /// Counter or gauge.
    pub kind: MetricKind,
    /// Its label names, in order.
    pub labels: &'static [&'static str],
    /// What it measures, one sentence.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($ident:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(#[doc = $help] pub const $ident: MetricDesc = MetricDesc {
            name: $name, kind: MetricKind::$kind, labels: &[$($label),*], help: $help,
        };)*
        /// Every metric of the system.
        pub const ALL: &[MetricDesc] = &[$($ident),*];
    };
}

metrics! {
    RECORDS_IN = Counter "dflow_records_in_total" ["job", "op"] "Changes an operator received.";
    RECORDS_OUT = Counter "dflow_records_out_total" ["job", "op"] "Changes an operator emitted.";
    BYTES_IN = Counter "dflow_bytes_in_total" ["job", "op"] "Bytes a source read.";
    BYTES_OUT = Counter "dflow_bytes_out_total" ["job", "op"] "Bytes a sink wrote.";
    LATE_RECORDS = Counter "dflow_late_records_total" ["job", "op"] "Rows dropped because the watermark had passed them.";
    BAD_RECORDS = Counter "dflow_bad_records_total" ["job", "table"] "Records skipped because they could not be decoded.";
    DEAD_LETTERS = Counter "dflow_dead_letter_records_total" ["job", "table"] "Records written to the dead-letter file.";
    NULLS_DROPPED = Counter "dflow_not_null_dropped_total" ["job", "sink"] "Rows dropped by the NOT NULL enforcer.";
    OPERATOR_WATERMARK = Gauge "dflow_operator_watermark_seconds" ["job", "op"] "The operator's output watermark, seconds since 1970.";
    OPERATOR_BUSY = Counter "dflow_operator_busy_seconds_total" ["job", "op"] "Seconds a task spent computing.";
    OPERATOR_BACKPRESSURED = Counter "dflow_operator_backpressured_seconds_total" ["job", "op"] "Seconds a task waited for room downstream.";
    STATE_BYTES = Gauge "dflow_state_bytes" ["job", "op"] "Bytes of state an operator holds in memory.";
    STATE_ENTRIES = Gauge "dflow_state_entries" ["job", "op"] "Entries of state an operator holds.";
    CHECKPOINTS = Counter "dflow_checkpoints_total" ["job", "result"] "Checkpoints by result: completed, failed, expired.";
    CHECKPOINT_DURATION = Gauge "dflow_checkpoint_last_duration_seconds" ["job"] "How long the last completed checkpoint took.";
    CHECKPOINT_SIZE = Gauge "dflow_checkpoint_last_size_bytes" ["job"] "Bytes the last completed checkpoint wrote.";
    CHECKPOINT_LAST_ID = Gauge "dflow_checkpoint_last_completed_id" ["job"] "The number of the last completed checkpoint.";
    CHECKPOINT_LAST_TIME = Gauge "dflow_checkpoint_last_completed_timestamp_seconds" ["job"] "When the last checkpoint completed, seconds since 1970.";
    RESTORE_DURATION = Gauge "dflow_restore_duration_seconds" ["job"] "How long the restore took.";
    JOB_RESTARTS = Counter "dflow_job_restarts_total" ["job", "code"] "Restarts by the code of the error that caused them.";
    JOB_UPTIME = Gauge "dflow_job_uptime_seconds" ["job"] "Seconds since the job started.";
    SOURCE_SPLITS = Gauge "dflow_source_splits" ["job", "table"] "Splits a source reads at the moment.";
    SOURCE_IDLE = Gauge "dflow_source_idle" ["job", "table"] "1 while every split of the source is idle.";
    SINK_COMMITS = Counter "dflow_sink_commits_total" ["job", "sink", "result"] "Commits by result: ok, failed.";
    SINK_PENDING_BYTES = Gauge "dflow_sink_pending_bytes" ["job", "sink"] "Bytes written but not yet committed.";
}

type Labels = Vec<(&'static str, String)>;

/// A counted metric as [`Metrics::snapshot`] reports it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name.
    pub name: &'static str,
    /// Label names and values.
    pub labels: Vec<(&'static str, String)>,
    /// The value now.
    pub value: f64,
}

#[derive(Default)]
struct Inner {
    counters: BTreeMap<(&'static str, Labels), Counter<f64, AtomicU64>>,
    gauges: BTreeMap<(&'static str, Labels), Gauge>,
}

/// The metrics of one engine. Cheap to clone; handles stay valid for ever.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<Inner>>);

/// A counter of whole things or seconds.
pub type CounterHandle = Counter<f64, AtomicU64>;

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The counter of these label values, in the order of `desc.labels`.
    pub fn counter(&self, desc: &MetricDesc, values: &[&str]) -> CounterHandle {
        debug_assert!(desc.kind == MetricKind::Counter, "{} is a counter", desc.name);
        self.lock().counters.entry((desc.name, labels(desc, values))).or_default().clone()
    }

    /// The gauge of these label values, in the order of `desc.labels`.
    pub fn gauge(&self, desc: &MetricDesc, values: &[&str]) -> Gauge {
        debug_assert!(desc.kind == MetricKind::Gauge, "{} is a gauge", desc.name);
        self.lock().gauges.entry((desc.name, labels(desc, values))).or_default().clone()
    }

    /// All values now, sorted by name and labels.
    pub fn snapshot(&self) -> Vec<Sample> {
        let inner = self.lock();
        let counters = inner.counters.iter().map(|((n, l), c)| Sample { name: n, labels: l.clone(), value: c.get() });
        let gauges = inner.gauges.iter().map(|((n, l), g)| Sample { name: n, labels: l.clone(), value: g.get() });
        let mut all: Vec<Sample> = counters.chain(gauges).collect();
        all.sort_by(|a, b| (a.name, &a.labels).cmp(&(b.name, &b.labels)));
        all
    }

    /// The sum of a metric over all its labels.
    pub fn total(&self, desc: &MetricDesc) -> f64 {
        self.snapshot().iter().filter(|s| s.name == desc.name).map(|s| s.value).sum()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // A panic elsewhere leaves the maps whole: every change is one insertion.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

fn labels(desc: &MetricDesc, values: &[&str]) -> Labels {
    debug_assert_eq!(desc.labels.len(), values.len(), "{}: one value per label", desc.name);
    desc.labels.iter().copied().zip(values.iter().map(|v| (*v).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_of_the_same_labels_share_one_value() {
        let m = Metrics::new();
        m.counter(&RECORDS_IN, &["j", "source"]).inc_by(2.0);
        m.counter(&RECORDS_IN, &["j", "source"]).inc_by(3.0);
        m.counter(&RECORDS_IN, &["j", "calc"]).inc_by(10.0);
        assert_eq!(m.total(&RECORDS_IN), 15.0);
        assert_eq!(m.snapshot()[1].value, 5.0);
    }

    #[test]
    fn names_follow_the_rules_and_are_unique() {
        let mut names: Vec<_> = ALL.iter().map(|d| d.name).collect();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        for d in ALL {
            assert!(d.name.starts_with("dflow_") && d.help.ends_with('.'), "{}", d.name);
            assert_eq!(d.kind == MetricKind::Counter, d.name.ends_with("_total"), "{}", d.name);
        }
    }
}
