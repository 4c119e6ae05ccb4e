//! Job settings. Defaults are those of the architecture's table (§6).

use std::time::Duration;

use dflow_common::limits::{CHANNEL_BYTES_MAX, CHANNEL_ROWS_MAX, MAX_PARALLELISM_DEFAULT};

/// When and how checkpoints are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointConfig {
    /// Time between two; `None` takes only the final one.
    pub interval: Option<Duration>,
    /// A checkpoint that takes longer is given up.
    pub timeout: Duration,
    /// Quiet time after one before the next begins.
    pub min_pause: Duration,
    /// Failed checkpoints in a row that do not fail the job.
    pub tolerable_failures: u32,
    /// Completed checkpoints that are kept.
    pub retained: usize,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self {
            interval: Some(Duration::from_secs(10)),
            timeout: Duration::from_secs(600),
            min_pause: Duration::ZERO,
            tolerable_failures: 3,
            retained: 3,
        }
    }
}

/// What happens after a transient failure. Names and meaning are Flink's.
#[derive(Clone, Debug, PartialEq)]
pub enum RestartStrategy {
    /// Never again.
    None,
    /// `attempts` restarts, `delay` apart.
    FixedDelay {
        /// How many.
        attempts: u32,
        /// How far apart.
        delay: Duration,
    },
    /// At most `max_failures` within `interval`.
    FailureRate {
        /// How many.
        max_failures: u32,
        /// Within how long.
        interval: Duration,
        /// Between restarts.
        delay: Duration,
    },
    /// Growing delays, reset after a quiet time.
    ExponentialDelay {
        /// First delay.
        initial: Duration,
        /// Longest delay.
        max: Duration,
        /// Growth per failure.
        multiplier: f64,
        /// Quiet time after which the delay starts over.
        reset_after: Duration,
        /// Random part of a delay, 0.0..=1.0.
        jitter: f64,
        /// Restarts before giving up.
        attempts: u32,
    },
}

impl Default for RestartStrategy {
    fn default() -> Self {
        RestartStrategy::ExponentialDelay {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(60),
            multiplier: 1.5,
            reset_after: Duration::from_secs(3_600),
            jitter: 0.1,
            attempts: 10,
        }
    }
}

/// When updating operators flush besides "inbox empty" and "barrier".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmissionConfig {
    /// Longest time a change waits (`table.exec.mini-batch.allow-latency`).
    pub latency_max: Duration,
    /// Input rows after which a task flushes (`table.exec.mini-batch.size`).
    pub rows_max: usize,
}

impl Default for EmissionConfig {
    fn default() -> Self {
        Self { latency_max: Duration::from_millis(500), rows_max: 1 << 20 }
    }
}

/// What one channel may hold before its sender waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelLimits {
    /// Rows.
    pub rows_max: usize,
    /// Bytes.
    pub bytes_max: usize,
}

impl Default for ChannelLimits {
    fn default() -> Self {
        Self { rows_max: CHANNEL_ROWS_MAX, bytes_max: CHANNEL_BYTES_MAX }
    }
}

/// How to start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RestoreMode {
    /// From the newest checkpoint when there is one.
    #[default]
    Auto,
    /// From the newest checkpoint, or fail.
    Require,
    /// Fresh; old state is kept aside.
    None,
    /// From this manifest or state directory.
    Path(std::path::PathBuf),
}

/// Settings of one job.
#[derive(Clone, Debug)]
pub struct JobConfig {
    /// Its name: metrics, commit tokens, state directory.
    pub name: String,
    /// Key groups.
    pub max_parallelism: u16,
    /// Checkpoints.
    pub checkpoint: CheckpointConfig,
    /// After failures.
    pub restart: RestartStrategy,
    /// Flushing.
    pub emission: EmissionConfig,
    /// How to start.
    pub restore: RestoreMode,
    /// Whether state of operators that are gone may be dropped
    /// (`execution.state-recovery.ignore-unclaimed-state`).
    pub ignore_unclaimed_state: bool,
    /// How long a graceful stop may take.
    pub stop_timeout: Duration,
    /// Rows and bytes queued in one channel before its sender waits.
    pub channel: ChannelLimits,
    /// How often sources look at their watermark and idleness.
    pub watermark_interval: Duration,
}

impl JobConfig {
    /// Defaults for a job of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            max_parallelism: MAX_PARALLELISM_DEFAULT,
            checkpoint: CheckpointConfig::default(),
            restart: RestartStrategy::default(),
            emission: EmissionConfig::default(),
            restore: RestoreMode::default(),
            ignore_unclaimed_state: false,
            stop_timeout: Duration::from_secs(25),
            channel: ChannelLimits::default(),
            watermark_interval: Duration::from_millis(200),
        }
    }
}
