//! From checked texts to the typed settings of a job.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dflow_common::limits::{MAX_PARALLELISM_MAX, PARALLELISM_MAX};
use dflow_common::{Diagnostic, Span};
use dflow_runtime::config::{CheckpointConfig, EmissionConfig, JobConfig, RestartStrategy, RestoreMode};

use super::{DEFAULT_PARALLELISM, Origin, Overridden, Settings, duration};
use crate::error::{self, Errors, Result};
use crate::operators::sink_edge::{LengthEnforcer, NotNullEnforcer};

/// How a script runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeMode {
    /// All INSERTs are one streaming job.
    Streaming,
    /// Statement by statement, over bounded tables.
    Batch,
}

/// Typed settings.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What the runtime needs.
    pub job: JobConfig,
    /// Instances per operator.
    pub parallelism: usize,
    /// An IANA name, or `UTC`.
    pub time_zone: String,
    /// How the script runs.
    pub mode: RuntimeMode,
    /// NULL in NOT NULL columns of sinks.
    pub not_null: NotNullEnforcer,
    /// Text longer than its CHAR(n) or VARCHAR(n) column in a sink.
    pub length: LengthEnforcer,
    /// A split without rows for this long does not hold the watermark back.
    pub idle_timeout: Option<Duration>,
    /// `execution.checkpointing.dir`: where state is kept, as written, with its place.
    pub state_dir: Option<(String, Option<Span>)>,
    /// Whether checkpoints survive a cancelled job.
    pub retain_on_cancel: bool,
    /// Whether change sources with a key are normalised because they may repeat events.
    pub cdc_events_duplicate: bool,
    /// Whether OPTIONS hints are allowed.
    pub dynamic_options: bool,
    /// What the script set and a flag has overridden.
    pub overridden: Vec<Overridden>,
}

/// What the settings fall back to.
pub(crate) struct Fallbacks<'a> {
    pub(crate) job_name: &'a str,
    pub(crate) parallelism: usize,
    pub(crate) time_zone: &'a str,
    /// Where relative paths of a script begin.
    pub(crate) base_dir: &'a Path,
}

impl Settings {
    /// The typed settings.
    ///
    /// # Errors
    /// Values that are out of range, or not supported in combination; all of them.
    pub(crate) fn resolve(&self, fallbacks: &Fallbacks<'_>) -> Result<Resolved> {
        let mut r = Reader { settings: self, errors: Vec::new() };
        let mut job = JobConfig::new(self.get("pipeline.name").unwrap_or(fallbacks.job_name));
        job.max_parallelism = r.int("pipeline.max-parallelism", 1, i64::from(MAX_PARALLELISM_MAX), "256") as u16;
        job.watermark_interval = r.duration("pipeline.auto-watermark-interval");
        job.checkpoint = r.checkpoint();
        job.restart = r.restart();
        job.emission = EmissionConfig {
            latency_max: r.duration("table.exec.mini-batch.allow-latency"),
            rows_max: r.int("table.exec.mini-batch.size", 1, i64::from(u32::MAX), "1048576") as usize,
        };
        job.restore = match self.setting("execution.state-recovery.path") {
            None => RestoreMode::Auto,
            // `--restore` has words of its own, which are paths in a script.
            Some(s) => match (s.origin.span(), s.value.expose()) {
                (None, "auto") => RestoreMode::Auto,
                (None, "require") => RestoreMode::Require,
                (None, "none") => RestoreMode::None,
                (None, path) => RestoreMode::Path(PathBuf::from(path)),
                (Some(_), path) => RestoreMode::Path(fallbacks.base_dir.join(path)),
            },
        };
        job.ignore_unclaimed_state = r.bool("execution.state-recovery.ignore-unclaimed-state");
        let parallelism = r.parallelism(fallbacks.parallelism, job.max_parallelism);
        let mode = match r.text("execution.runtime-mode").to_ascii_lowercase().as_str() {
            "batch" => RuntimeMode::Batch,
            _ => RuntimeMode::Streaming,
        };
        let time_zone = r.time_zone(fallbacks.time_zone);
        let idle = r.duration("table.exec.source.idle-timeout");
        let resolved = Resolved {
            job,
            parallelism,
            time_zone,
            mode,
            not_null: match r.text("table.exec.sink.not-null-enforcer").to_ascii_lowercase().as_str() {
                "drop" => NotNullEnforcer::Drop,
                _ => NotNullEnforcer::Error,
            },
            length: match r.text("table.exec.sink.type-length-enforcer").to_ascii_lowercase().as_str() {
                "trim_pad" | "trim-pad" => LengthEnforcer::TrimPad,
                "error" => LengthEnforcer::Error,
                _ => LengthEnforcer::Ignore,
            },
            idle_timeout: (!idle.is_zero()).then_some(idle),
            state_dir: self
                .setting("execution.checkpointing.dir")
                .map(|s| (s.value.expose().to_owned(), s.origin.span())),
            retain_on_cancel: self
                .get("execution.checkpointing.externalized-checkpoint-retention")
                .is_none_or(|v| super::same(dflow_connector_api::OptionType::Bool, v, "retain_on_cancellation")),
            cdc_events_duplicate: r.bool("table.exec.source.cdc-events-duplicate"),
            dynamic_options: r.bool("table.dynamic-table-options.enabled"),
            overridden: self.overridden(),
        };
        match Errors::from_list(r.errors) {
            Some(errors) => Err(errors),
            None => Ok(resolved),
        }
    }
}

struct Reader<'a> {
    settings: &'a Settings,
    errors: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn text(&self, key: &str) -> String {
        self.settings.get(key).unwrap_or_default().trim().to_owned()
    }

    fn bool(&self, key: &str) -> bool {
        self.text(key).eq_ignore_ascii_case("true")
    }

    fn duration(&self, key: &str) -> Duration {
        duration(&self.text(key))
    }

    fn float(&self, key: &str) -> f64 {
        self.text(key).parse().unwrap_or_default()
    }

    /// A whole number in `min..=max`; -1 means the default, as in Flink.
    fn int(&mut self, key: &str, min: i64, max: i64, default: &str) -> i64 {
        let text = self.text(key);
        let text = if text == "-1" || text.is_empty() { default.to_owned() } else { text };
        match text.parse::<i64>() {
            Ok(n) if (min..=max).contains(&n) => n,
            _ => {
                self.refuse_value(key, &format!("'{key}' must be between {min} and {max}"));
                min
            }
        }
    }

    fn parallelism(&mut self, cores: usize, max_parallelism: u16) -> usize {
        let by_flag = matches!(self.settings.setting("parallelism.default"), Some(s) if s.origin.span().is_none());
        let key = match self.text(DEFAULT_PARALLELISM).as_str() {
            "-1" | "" => "parallelism.default",
            _ if by_flag => "parallelism.default",
            _ => DEFAULT_PARALLELISM,
        };
        let most = PARALLELISM_MAX.min(usize::from(max_parallelism));
        let default = cores.clamp(1, most).to_string();
        self.int(key, 1, most as i64, &default) as usize
    }

    fn time_zone(&mut self, fallback: &str) -> String {
        let key = "table.local-time-zone";
        let text = self.text(key);
        let name = if text.eq_ignore_ascii_case("default") { fallback.to_owned() } else { text };
        match zone(&name) {
            Some(name) => name,
            None => {
                let names = chrono_tz::TZ_VARIANTS.iter().map(|z| z.name());
                let near = dflow_common::suggest::nearest(&name, names)
                    .map_or("write an IANA name such as 'Europe/Berlin', or 'UTC'".to_owned(), |near| {
                        format!("did you mean '{near}'?")
                    });
                self.refuse(key, &format!("unknown time zone '{name}'"), &near);
                "UTC".into()
            }
        }
    }

    fn checkpoint(&mut self) -> CheckpointConfig {
        let interval = self.duration("execution.checkpointing.interval");
        CheckpointConfig {
            interval: (!interval.is_zero()).then_some(interval),
            timeout: self.duration("execution.checkpointing.timeout"),
            min_pause: self.duration("execution.checkpointing.min-pause"),
            tolerable_failures: self.int(
                "execution.checkpointing.tolerable-failed-checkpoints",
                0,
                i64::from(u32::MAX),
                "3",
            ) as u32,
            retained: self.int("execution.checkpointing.num-retained", 1, 1_000_000, "3") as usize,
        }
    }

    fn restart(&mut self) -> RestartStrategy {
        let most = i64::from(u32::MAX);
        let kind = self.text("restart-strategy.type").to_ascii_lowercase();
        match kind.as_str() {
            "none" | "off" | "disable" => RestartStrategy::None,
            "fixed-delay" | "fixeddelay" => RestartStrategy::FixedDelay {
                attempts: self.int("restart-strategy.fixed-delay.attempts", 0, most, "1") as u32,
                delay: self.duration("restart-strategy.fixed-delay.delay"),
            },
            "failure-rate" | "failurerate" => RestartStrategy::FailureRate {
                max_failures: self.int("restart-strategy.failure-rate.max-failures-per-interval", 0, most, "1") as u32,
                interval: self.duration("restart-strategy.failure-rate.failure-rate-interval"),
                delay: self.duration("restart-strategy.failure-rate.delay"),
            },
            _ => RestartStrategy::ExponentialDelay {
                initial: self.duration("restart-strategy.exponential-delay.initial-backoff"),
                max: self.duration("restart-strategy.exponential-delay.max-backoff"),
                multiplier: self.float("restart-strategy.exponential-delay.backoff-multiplier").max(1.0),
                reset_after: self.duration("restart-strategy.exponential-delay.reset-backoff-threshold"),
                jitter: self.float("restart-strategy.exponential-delay.jitter-factor").clamp(0.0, 1.0),
                attempts: self.int("restart-strategy.exponential-delay.attempts-before-reset-backoff", 0, most, "10")
                    as u32,
            },
        }
    }

    fn refuse(&mut self, key: &str, message: &str, help: &str) {
        self.push(Diagnostic::error(error::SETTING_NOT_SUPPORTED, message).with_help(help), key);
    }

    fn refuse_value(&mut self, key: &str, message: &str) {
        self.push(Diagnostic::error(error::SETTING_VALUE, message), key);
    }

    fn push(&mut self, d: Diagnostic, key: &str) {
        self.errors.push(match self.settings.setting(key).map(|s| &s.origin) {
            Some(Origin::Script { value, .. }) => d.with_span(*value, ""),
            Some(Origin::Flag(flag)) => d.with_note(format!("given by {flag}")),
            None => d,
        });
    }
}

/// The IANA name of a zone as Java writes it; `None` when it is none. Whole-hour offsets have IANA names
/// (`GMT+08:00` is `Etc/GMT-8`: the sign is the other way round), others have none.
fn zone(name: &str) -> Option<String> {
    if matches!(name, "Z" | "UTC" | "GMT") {
        return Some("UTC".into());
    }
    if let Ok(zone) = name.parse::<chrono_tz::Tz>() {
        return Some(zone.name().to_owned());
    }
    let offset = name.strip_prefix("GMT").or_else(|| name.strip_prefix("UTC")).unwrap_or(name);
    let (sign, rest) = match offset.split_at_checked(1)? {
        ("+", rest) => ('-', rest),
        ("-", rest) => ('+', rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "0"));
    let hours: u8 = hours.parse().ok()?;
    let minutes: u8 = minutes.parse().ok()?;
    if minutes != 0 || hours > 14 {
        return None;
    }
    if hours == 0 { Some("UTC".into()) } else { Some(format!("Etc/GMT{sign}{hours}")) }
}

#[cfg(test)]
pub(super) fn zone_for_test(name: &str) -> Option<String> {
    zone(name)
}
