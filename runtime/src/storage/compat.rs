//! Whether a job can go on from what a manifest holds.
//!
//! Operators are found by their id, a fingerprint of what they compute; a changed query is a new operator, and the old
//! one's state is without an owner. That is told, not dropped in silence.
//!
//! ```text
//! manifest   agg#1 (state)   agg#2 (state)   calc#3           graph   agg#1   agg#4
//!            unchanged       unclaimed       nothing lost             agg#4 is new and starts empty
//! ```

use dflow_common::Diagnostic;
use dflow_common::ids::KeyGroup;

use super::codes::{CHANGED_MAX_PARALLELISM, CHANGED_TABLES, START_FRESH, UNCLAIMED_STATE};
use super::manifest::{Manifest, Operator, Table};
use crate::checkpoint::{ClaimRequest, OperatorInfo, OperatorKind};
use crate::error::Error;

/// The operators of a manifest beside those of a job.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Operators that find their state.
    pub unchanged: Vec<OperatorInfo>,
    /// Operators the manifest does not know.
    pub added: Vec<OperatorInfo>,
    /// Operators of the manifest that hold something and that the job has no place for.
    pub unclaimed: Vec<Operator>,
    /// Operators whose tables look different, with what is different.
    pub changed: Vec<(Operator, String)>,
}

/// Compares.
pub fn compare(manifest: &Manifest, operators: &[OperatorInfo]) -> Comparison {
    let mut comparison = Comparison::default();
    for operator in operators {
        match manifest.operator(&operator.id) {
            None => comparison.added.push(operator.clone()),
            Some(old) => match difference(old, operator) {
                Some(difference) => comparison.changed.push((old.clone(), difference)),
                None => comparison.unchanged.push(operator.clone()),
            },
        }
    }
    let gone = manifest.operators.iter().filter(|old| operators.iter().all(|o| o.id != old.id));
    comparison.unclaimed = gone.filter(|old| holds_something(manifest, old)).cloned().collect();
    comparison
}

/// Whether dropping an operator would lose something.
fn holds_something(manifest: &Manifest, operator: &Operator) -> bool {
    match operator.kind {
        OperatorKind::Operator => operator.tables.iter().flat_map(|t| &t.parts).any(|p| !p.files.is_empty()),
        OperatorKind::Source => manifest.sources.contains_key(&operator.id),
        OperatorKind::Sink => manifest.sinks.get(&operator.id).is_some_and(|s| !s.committables.is_empty()),
    }
}

fn difference(old: &Operator, new: &OperatorInfo) -> Option<String> {
    let new: Vec<Table> = new.tables.iter().map(Table::new).collect();
    if old.tables.len() != new.len() {
        return Some(format!("{} tables were stored, {} are expected", old.tables.len(), new.len()));
    }
    for (old, new) in old.tables.iter().zip(&new) {
        if old.name != new.name {
            return Some(format!("table `{}` was stored, `{}` is expected", old.name, new.name));
        }
        if (old.key_columns, &old.columns) != (new.key_columns, &new.columns) {
            return Some(format!(
                "table `{}` was stored as ({}), ({}) is expected",
                old.name,
                layout(old),
                layout(new)
            ));
        }
    }
    None
}

fn layout(table: &Table) -> String {
    let (key, value) = table.columns.split_at(table.key_columns.min(table.columns.len()));
    let show = |columns: &[super::manifest::Column]| {
        columns.iter().map(|c| format!("{} {}", c.name, c.ty)).collect::<Vec<_>>().join(", ")
    };
    format!("{} -> {}", show(key), show(value))
}

/// What was lost or must be said when `request` goes on from `manifest`: warnings.
///
/// # Errors
/// Why it cannot.
pub fn check(place: &str, manifest: &Manifest, request: &ClaimRequest) -> Result<Vec<Diagnostic>, Error> {
    if manifest.max_parallelism != request.max_parallelism {
        return Err(max_parallelism(place, manifest.max_parallelism, request.max_parallelism));
    }
    let comparison = compare(manifest, &request.operators);
    if let Some((old, difference)) = comparison.changed.first() {
        return Err(Diagnostic::error(
            CHANGED_TABLES,
            format!("the state of `{}` has another layout: {difference}", old.name),
        )
        .with_context("state", place)
        .with_note(described(old))
        .with_help("run the version of dflow that wrote it")
        .with_help(START_FRESH)
        .into());
    }
    let lost = |info: fn(_, String) -> Diagnostic| {
        comparison.unclaimed.iter().map(move |old| info(UNCLAIMED_STATE, nobody_claims(old)))
    };
    if request.ignore_unclaimed_state {
        return Ok(lost(|info, message| Diagnostic::warning(info, format!("{message}; it is dropped"))).collect());
    }
    let mut errors = lost(Diagnostic::error);
    let Some(mut error) = errors.next() else { return Ok(Vec::new()) };
    error = error.with_context("state", place);
    for old in &comparison.unclaimed {
        error = error.with_note(described(old));
    }
    if !comparison.added.is_empty() {
        let names: Vec<&str> = comparison.added.iter().map(|o| o.name.as_str()).collect();
        error = error.with_note(format!("new in this script, starting empty: {}", names.join(", ")));
    }
    Err(error
        .with_help(START_FRESH)
        .with_help(
            "`SET 'execution.state-recovery.ignore-unclaimed-state' = 'true'` drops this state and keeps the rest",
        )
        .into())
}

fn nobody_claims(old: &Operator) -> String {
    match old.kind {
        OperatorKind::Operator => format!("the script no longer has `{}`, which holds state", old.name),
        OperatorKind::Source => format!("the script no longer reads `{}`, whose position is stored", old.name),
        OperatorKind::Sink => {
            format!("the script no longer writes `{}`, which has output that may not be visible yet", old.name)
        }
    }
}

fn described(old: &Operator) -> String {
    let place = old.span.map_or(String::new(), |s| format!(" (bytes {}..{} of the script then)", s.start, s.end));
    format!("`{}` is: {}{place}", old.name, old.description)
}

fn max_parallelism(place: &str, stored: KeyGroup, asked: KeyGroup) -> Error {
    Diagnostic::error(
        CHANGED_MAX_PARALLELISM,
        format!("the state was written with max-parallelism {stored}, and the script asks for {asked}"),
    )
    .with_context("state", place)
    .with_note("it decides which rows live together and cannot change while there is state")
    .with_help(format!("SET 'pipeline.max-parallelism' = '{stored}'"))
    .with_help(START_FRESH)
    .into()
}
