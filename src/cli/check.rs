//! `dflow check`: every problem of some scripts, and a verdict.
//!
//! ```text
//! √ pipeline.sql   1 source, 2 sinks
//! ~ other.sql      1 warning
//! x broken.sql     2 errors
//! ```

use std::sync::Arc;

use dflow::common::{Diagnostic, Severity, SourceMap};
use dflow::error::WARNINGS_DENIED;
use dflow::pipeline::{self, Compiled};
use dflow::{CompiledStatement, render};

use super::args::{CheckArgs, CheckOutput, Deny, ScriptArgs};
use super::progress::plural;
use super::report::Report;
use super::run::{House, compiled};
use super::stdout;

/// Checks scripts; the exit code is that of the first error.
pub(crate) fn check(args: &CheckArgs, report: &Arc<Report>) -> u8 {
    let house = match House::open() {
        Ok(house) => house,
        Err(e) => return report.fail(&e, &SourceMap::new()),
    };
    let mut first_error: Option<Diagnostic> = None;
    let mut warnings = 0;
    for script in &args.scripts {
        let mut sources = SourceMap::new();
        let script_args = ScriptArgs { script: script.clone(), vars: args.vars.clone() };
        let (told, line) = match compiled(&house, &script_args, &[], &mut sources, report) {
            Ok((_, Compiled(mut done))) => {
                if args.connect {
                    done.warnings.extend(asked(&house, &done.statements));
                }
                let errors = done.warnings.iter().filter(|d| d.severity == Severity::Error).count();
                let count = done.warnings.len() - errors;
                warnings += count;
                let (mark, found) = match (errors, count) {
                    (0, 0) => ('√', contents(&done.statements)),
                    (0, n) => ('~', plural(n as u64, "warning")),
                    (n, _) => ('x', plural(n as u64, "error")),
                };
                (done.warnings, format!("{mark} {}  {found}\n", script.display()))
            }
            Err(found) => {
                let errors = found.iter().filter(|d| d.severity == Severity::Error).count();
                let line = format!("x {}  {}\n", script.display(), plural(errors as u64, "error"));
                (found, line)
            }
        };
        first_error = first_error.or_else(|| render::deciding(&told).cloned());
        let code = match args.output {
            CheckOutput::Text => {
                told.iter().for_each(|d| report.diagnostic(d, &sources));
                stdout::print(&line, report)
            }
            CheckOutput::Jsonl => {
                let lines: String = told.iter().map(|d| format!("{}\n", render::json(d, &sources))).collect();
                stdout::print(&report.masked(&lines), report)
            }
        };
        if code != 0 {
            return code;
        }
    }
    match first_error {
        Some(error) => report.end(&error),
        None if args.deny == Some(Deny::Warnings) && warnings > 0 => {
            report.end(&Diagnostic::error(WARNINGS_DENIED, plural(warnings as u64, "warning")))
        }
        None => 0,
    }
}

/// What the systems say that the streaming jobs of a script read and write.
fn asked(house: &House, statements: &[CompiledStatement]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for statement in statements {
        if let CompiledStatement::Stream(job) = statement {
            found.extend(house.env.spawner.block_on(pipeline::preflight(job, &house.env)));
        }
    }
    found
}

fn contents(statements: &[CompiledStatement]) -> String {
    let parts: Vec<String> = statements
        .iter()
        .map(|s| match s {
            CompiledStatement::Rows(_) => "an answer".to_owned(),
            CompiledStatement::Stream(job) => format!(
                "{}, {}",
                plural(job.summary.sources.len() as u64, "source"),
                plural(job.summary.sinks.len() as u64, "sink")
            ),
            CompiledStatement::Batch(job) => job.description.clone(),
        })
        .collect();
    if parts.is_empty() { "definitions only".into() } else { parts.join("; ") }
}
