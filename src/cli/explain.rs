//! `dflow explain`: how a script would run.

use std::sync::Arc;

use dflow::CompiledStatement;
use dflow::common::SourceMap;
use dflow::pipeline::Compiled;

use super::args::ExplainArgs;
use super::report::Report;
use super::run::{House, compiled, parallelism_flag};
use super::{stdout, tables};

/// Prints the plan of a script; the exit code.
pub(crate) fn explain(args: &ExplainArgs, report: &Arc<Report>) -> u8 {
    let mut sources = SourceMap::new();
    let house = match House::open() {
        Ok(house) => house,
        Err(e) => return report.fail(&e, &sources),
    };
    let flags: Vec<_> = parallelism_flag(args.parallelism, house.cores).into_iter().collect();
    let Compiled(script) = match compiled(&house, &args.script, &flags, &mut sources, report) {
        Ok((_, script)) => script,
        Err(errors) => return report.all(&errors, &sources),
    };
    for warning in &script.warnings {
        report.diagnostic(warning, &sources);
    }
    let mut text = String::new();
    for statement in &script.statements {
        match statement {
            CompiledStatement::Rows(rows) => text += &tables::text(rows),
            CompiledStatement::Stream(job) => text += &job.explain,
            CompiledStatement::Batch(job) => text += &format!("{}\n", job.description),
        }
    }
    stdout::print(&report.masked(&text), report)
}
