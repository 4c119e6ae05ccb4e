//! The command line.
//!
//! ```text
//! args ──parse──> command ──┬─ run, check, explain ── script (text, variables, state dir) ── dflow (library)
//!                           ├─ connectors, help, version, completions
//!                           └─ bench
//! data ──> stdout (rows, pages)          talk ──> report (stderr: diagnostics, progress, last line)
//! ```
//! *Architecture invariant:* only [`stdout`] writes to standard output and only [`report`] to standard error, so that a
//! pipe carries data and nothing else. Exit codes come from the class of the first error (`docs/exit-codes.md`).

mod args;
mod bench;
mod check;
mod connectors;
mod explain;
mod help;
mod log;
mod pipe;
mod progress;
mod report;
mod rows;
mod run;
mod script;
mod stdout;
mod tables;
mod watch;

use std::panic;
use std::sync::Arc;

use args::{Cli, Command};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use dflow::common::{Diagnostic, SourceMap};
use dflow::error::{BUG, USAGE};
use report::Report;

/// Runs what was typed; the exit code.
pub(crate) fn main() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let report = Arc::new(Report::new(&cli.global));
    log::start(&cli.global, &report);
    let Some(command) = cli.command else {
        // Nothing asked: help, but as talk, and not a success, so that a script notices.
        report.status(&Cli::command().render_help().to_string());
        return report.end(&Diagnostic::error(USAGE, "no command was given"));
    };
    guarded(&report, || dispatch(&command, &report))
}

fn dispatch(command: &Command, report: &Arc<Report>) -> u8 {
    match command {
        Command::Run(args) => run::run(args, report),
        Command::Check(args) => check::check(args, report),
        Command::Explain(args) => explain::explain(args, report),
        Command::Bench(args) => bench::bench(args, report),
        Command::Connectors(args) => connectors::connectors(args, report),
        Command::Help(args) => help::help(args, report),
        Command::Version => help::version(report),
        Command::Completions { shell } => help::completions(*shell, report),
    }
}

/// Runs `body`; a panic in it becomes a diagnostic and exit code 1.
fn guarded(report: &Report, body: impl FnOnce() -> u8) -> u8 {
    let place = Arc::new(std::sync::Mutex::new(None));
    let seen = place.clone();
    // The default hook prints a backtrace hint that helps nobody; the place is told with the diagnostic.
    panic::set_hook(Box::new(move |info| {
        let at = info.location().map(|l| format!("{}:{}:{}", l.file(), l.line(), l.column()));
        *seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = at;
    }));
    match panic::catch_unwind(panic::AssertUnwindSafe(body)) {
        Ok(code) => code,
        Err(payload) => {
            let what = payload
                .downcast_ref::<&str>()
                .map(|s| (*s).to_owned())
                .or_else(|| payload.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "no message".into());
            let at = place.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            report.fail(&bug(&what, at), &SourceMap::new())
        }
    }
}

fn bug(what: &str, at: Option<String>) -> Diagnostic {
    let mut error = Diagnostic::error(BUG, format!("dflow has a bug: {what}"))
        .with_help("please report it with the script and the output of `dflow version`");
    if let Some(at) = at {
        error = error.with_note(format!("at {at}"));
    }
    error
}

/// Help and version asked for by a flag are data; everything else is a usage error with its last line.
fn usage(error: &clap::Error) -> u8 {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // The reader may be gone.
        let _ = error.print();
        return 0;
    }
    let _ = error.print();
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    eprintln!("{}", dflow::render::last_line(&Diagnostic::error(USAGE, first)));
    USAGE.class.exit_code()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_diagnostic_with_its_place_and_exit_code_1() {
        let error = bug("index out of bounds", Some("a.rs:1:2".into()));
        assert_eq!((error.code, error.class.exit_code()), (BUG.code, 1));
        assert!(error.to_string().contains("DF9100") && error.notes[0] == "at a.rs:1:2");
        let global = args::Global {
            color: args::ColorChoice::Never,
            quiet: true,
            verbose: 0,
            log_format: args::LogFormat::Text,
        };
        let before = panic::take_hook();
        let code = guarded(&Report::new(&global), || panic!("on purpose"));
        panic::set_hook(before);
        assert_eq!(code, 1);
    }
}
