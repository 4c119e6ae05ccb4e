//! Log events of the crates below, as talk.
//!
//! | flags | level |
//! |---|---|
//! | `-q` | errors |
//! | none | warnings |
//! | `-v`, `-vv` | what happens; every step |
//! | `DFLOW_LOG=info,dflow_runtime=debug` | as the filter says, whatever the flags |
//!
//! One event is one line and goes the way of all talk ([`Report`]), so that it draws over no progress and shows no secret.

use std::io::{self, Write};
use std::sync::Arc;

use dflow::runtime::job::TOLD;
use tracing_subscriber::EnvFilter;

use super::args::{Global, LogFormat};
use super::report::Report;

/// From now on log events are told. Called once, at the start of the process.
pub(crate) fn start(global: &Global, report: &Arc<Report>) {
    let by_flags = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        // Only our own crates: the others' steps are no help to a user.
        (false, 1) => "warn,dflow=info,dflow_runtime=info,dflow_engine=info,dflow_connector_files=info",
        (false, _) => "info,dflow=debug,dflow_runtime=debug,dflow_engine=debug,dflow_connector_files=debug",
    };
    let wanted = std::env::var("DFLOW_LOG").ok().filter(|v| !v.is_empty());
    // Checkpoints that fail and restarts are told as diagnostics, and so is what ends the job.
    let by_flags = format!("{by_flags},{TOLD}=off");
    let filter = wanted.and_then(|w| EnvFilter::try_new(w).ok()).unwrap_or_else(|| EnvFilter::new(by_flags));
    let report = report.clone();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_target(global.verbose > 1)
        .with_writer(move || Line(report.clone()));
    // Somebody may have set a subscriber before us, as tests do; theirs stays.
    let _ = match global.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
}

/// Takes the text of one event.
struct Line(Arc<Report>);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        self.0.log(renamed(text.trim_end()).as_deref().unwrap_or(text.trim_end()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A JSON event with the names all other talk uses: `ts` and `msg`. `None` for what is no JSON.
fn renamed(line: &str) -> Option<String> {
    let mut event: serde_json::Map<String, serde_json::Value> =
        if line.starts_with('{') { serde_json::from_str(line).ok()? } else { return None };
    for (from, to) in [("timestamp", "ts"), ("message", "msg")] {
        if let Some(value) = event.remove(from) {
            event.insert(to.to_owned(), value);
        }
    }
    serde_json::to_string(&event).ok()
}
