//! Bound statements to jobs.

use dflow_common::{SourceMap, Span, SqlType};

use super::{Session, StreamJob};
use crate::batch::BatchJob;
use crate::bind::Functions;
use crate::error::{Errors, Result};
use crate::lint::{self, Advice};
use crate::rel::convert::Converter;
use crate::rel::props::{Kind, derive};
use crate::rel::{prune, pushdown};
use crate::settings::Resolved;
use crate::sink::{self, Mapping};
use crate::stream::build::{self, Physical};
use crate::stream::connect::Connectors;
use crate::stream::{QueryOutput, output};
use crate::{batch, explain};

/// A bound statement.
pub(super) struct Work {
    pub(super) plan: datafusion::logical_expr::LogicalPlan,
    pub(super) target: WorkTarget,
    pub(super) span: Span,
}

/// Where its rows go.
pub(super) enum WorkTarget {
    /// INSERT.
    Table(Box<Mapping>),
    /// A bare SELECT with these columns.
    Output(Vec<(String, SqlType)>),
}

fn connectors<'a>(session: &'a Session, settings: &Resolved) -> Connectors<'a> {
    Connectors {
        engine: &session.engine,
        base_dir: session.options.base_dir.clone(),
        time_zone: settings.time_zone.clone(),
        job: settings.job.name.clone(),
    }
}

/// One streaming job of all these statements, with what is to be said about it.
///
/// # Errors
/// All statements that a stream cannot run.
pub(super) fn stream(
    session: &Session,
    works: &[Work],
    settings: &Resolved,
    functions: &Functions,
    sources: &SourceMap,
) -> Result<(StreamJob, Vec<Advice>)> {
    let (physical, queries) = physical(session, works, settings, functions, sources)?;
    let graph = physical.graph(settings)?;
    let advice = lint::advice(&physical);
    let explain = explain::text(&physical, sources);
    Ok((StreamJob { graph, config: settings.job.clone(), summary: physical.summary, queries, explain }, advice))
}

/// The plan of these statements as EXPLAIN shows it.
///
/// # Errors
/// As [`stream`].
pub(super) fn explained(
    session: &Session,
    works: &[Work],
    settings: &Resolved,
    functions: &Functions,
    sources: &SourceMap,
    shown: &Shown,
) -> Result<String> {
    let (physical, _) = physical(session, works, settings, functions, sources)?;
    physical.graph(settings)?;
    let advice = shown.advice.then(|| lint::advice(&physical));
    Ok(match (shown.json, advice) {
        (true, advice) => explain::json(&physical, sources, advice.as_deref()),
        (false, None) => explain::text(&physical, sources),
        (false, Some(advice)) => explain::text(&physical, sources) + &explain::advice(&advice, sources),
    })
}

/// What EXPLAIN shows beside the operators.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shown {
    /// `JSON_EXECUTION_PLAN`: as one JSON document.
    pub(super) json: bool,
    /// `PLAN_ADVICE`
    pub(super) advice: bool,
}

fn physical(
    session: &Session,
    works: &[Work],
    settings: &Resolved,
    functions: &Functions,
    sources: &SourceMap,
) -> Result<(Physical, Vec<QueryOutput>)> {
    let connectors = connectors(session, settings);
    let mut errors = Vec::new();
    let first = works.first().map(|w| w.span).unwrap_or(Span::new(dflow_common::SourceId(0), 0, 0));
    let mut converter = Converter::new(&connectors, settings.cdc_events_duplicate, first);
    let mut results: Vec<(usize, Vec<(String, SqlType)>)> = Vec::new();
    for work in works {
        let attached = converter.query(&work.plan, work.span).and_then(|fragment| match &work.target {
            WorkTarget::Table(mapping) => {
                let changelog = connectors.sink(&mapping.table, &mapping.options)?.changelog();
                sink::attach(&mut converter, fragment, mapping, functions, &changelog, work.span)
            }
            WorkTarget::Output(columns) => {
                let node = sink::attach_output(&mut converter, fragment, results.len(), work.span)?;
                results.push((node, columns.clone()));
                Ok(node)
            }
        });
        if let Err(e) = attached {
            errors.extend(e.into_diagnostics());
        }
    }
    if let Some(errors) = Errors::from_list(errors) {
        return Err(errors);
    }
    let mut plan = prune::prune(converter.plan);
    pushdown::push_down(&mut plan);
    let props = derive(&plan);
    let (sinks, queries): (Vec<_>, Vec<_>) = results
        .into_iter()
        .map(|(node, columns)| output(columns, props[node].kind == Kind::Append, &settings.time_zone))
        .unzip();
    Ok((build::decide(plan, &connectors, settings, &sinks, sources)?, queries))
}

/// A batch job of one statement.
///
/// # Errors
/// A source that is not bounded, a sink that cannot be opened.
pub(super) fn batch(
    session: &Session,
    work: Work,
    settings: &Resolved,
    functions: &Functions,
    sources: &SourceMap,
) -> Result<BatchJob> {
    let connectors = connectors(session, settings);
    let description = sources.text(work.span).to_owned();
    let target = match work.target {
        WorkTarget::Table(mapping) => batch::Target::Table(mapping),
        WorkTarget::Output(columns) => batch::Target::Output(columns),
    };
    batch::plan(&connectors, work.plan, target, settings, functions, description, work.span)
}
