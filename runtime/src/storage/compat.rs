//! Whether a job can go on from what a manifest holds.
//!
//! Operators are found by their id, a fingerprint of what they compute; a changed query is a new operator, and the old
//! one's state is without an owner. That is told, not dropped in silence.
//!
//! ```text
//! manifest   agg#1 (state)   agg#2 (state)   calc#3           graph   agg#1   agg#4
//!            unchanged       unclaimed       nothing lost             agg#4 is new and starts empty
//! ```
//! What has left the script together with its `INSERT` is let go with a line that says so; what still has a sink to feed
//! was changed, and refused. Output that may not be committed is never let go.
//!
//! What goes on without loss and still gives other results than a fresh start is told: an operator that is new and begins in
//! the middle of its input, and a sink whose query was edited behind the last operator with state.

use dflow_common::ids::KeyGroup;
use dflow_common::{Diagnostic, OperatorId};

use super::codes::{CHANGED_MAX_PARALLELISM, CHANGED_SOURCE, CHANGED_TABLES, START_FRESH, UNCLAIMED_STATE};
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

/// What is to be told when `request` goes on from `manifest`, a line each.
///
/// # Errors
/// Why it cannot.
pub fn check(place: &str, manifest: &Manifest, request: &ClaimRequest) -> Result<Vec<String>, Error> {
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
    let edited =
        comparison.unchanged.iter().filter_map(|new| edited(manifest.operator(&new.id)?, new, &request.operators));
    let added = comparison.added.iter().filter(|new| !new.tables.is_empty()).map(begins_here);
    if request.ignore_unclaimed_state {
        let dropped = comparison.unclaimed.iter().map(|old| format!("{}; it is dropped", nobody_claims(old)));
        return Ok(dropped.chain(edited).chain(added).collect());
    }
    let (removed, blocking): (Vec<&Operator>, Vec<&Operator>) =
        comparison.unclaimed.iter().partition(|old| removed(manifest, old, request, &comparison.added));
    if blocking.is_empty() {
        return Ok(removed.into_iter().map(let_go).chain(edited).chain(added).collect());
    }
    let moved = blocking.iter().find_map(|old| Some((*old, successor(old, &comparison.added)?)));
    let (first, mut error) = match moved {
        Some((old, new)) => (old, other_data(old, new)),
        None => (blocking[0], Diagnostic::error(UNCLAIMED_STATE, nobody_claims(blocking[0]))),
    };
    error = error.with_context("state", place);
    for old in &blocking {
        error = error.with_note(described(old));
    }
    if !comparison.added.is_empty() {
        let names: Vec<&str> = comparison.added.iter().map(|o| o.name.as_str()).collect();
        error = error.with_note(format!("new in this script, starting empty: {}", names.join(", ")));
    }
    if first.kind == OperatorKind::Sink {
        error = error.with_help(
            "put its INSERT back, run the script and stop it with Ctrl-C or `--until`: that commits; then remove it",
        );
    }
    if moved.is_some() {
        error = error.with_help("set the option back to go on from the stored position");
    }
    Err(error
        .with_help(START_FRESH)
        .with_help(
            "`SET 'execution.state-recovery.ignore-unclaimed-state' = 'true'` drops this state and keeps the rest",
        )
        .into())
}

/// Whether an operator has left the script with the `INSERT` it worked for, so that nobody misses what it held. One that
/// still has a sink to feed was changed instead. Two `INSERT`s into one table have sinks that differ by a number only:
/// one of them is gone when there are fewer, and no new operator feeds those that are left.
fn removed(manifest: &Manifest, old: &Operator, request: &ClaimRequest, added: &[OperatorInfo]) -> bool {
    let sinks_then = manifest.operators.iter().filter(|o| o.kind == OperatorKind::Sink).map(|o| &o.id);
    let sinks_now = request.operators.iter().filter(|o| o.kind == OperatorKind::Sink).map(|o| &o.id);
    let gone = |sink: &OperatorId| {
        let like = |other: &&OperatorId| base(other) == base(sink);
        let fewer = sinks_now.clone().filter(like).count() < sinks_then.clone().filter(like).count();
        fewer && !added.iter().any(|new| new.feeds.iter().any(|s| base(s) == base(sink)))
    };
    // What a sink has not committed is never let go; before there were `feeds` nobody can tell.
    old.kind != OperatorKind::Sink && !old.feeds.is_empty() && old.feeds.iter().all(gone)
}

/// An operator's id without the number that tells it from equal twins.
fn base(id: &OperatorId) -> &str {
    id.0.split('-').next().unwrap_or_default()
}

/// The source that reads the same table now, from somewhere else.
fn successor<'a>(old: &Operator, added: &'a [OperatorInfo]) -> Option<&'a OperatorInfo> {
    let same = |new: &&OperatorInfo| {
        new.kind == OperatorKind::Source && new.origin.table == old.origin.table && new.origin.data != old.origin.data
    };
    old.origin.table.as_ref().filter(|_| old.kind == OperatorKind::Source)?;
    added.iter().find(same)
}

/// A position in data that the table no longer reads.
fn other_data(old: &Operator, new: &OperatorInfo) -> Diagnostic {
    let table = new.origin.table.as_deref().unwrap_or(&new.name);
    let before = |name: &str| old.origin.data.iter().find(|d| d.name == name).map(|d| d.value.as_str());
    let mut changes = new.origin.data.iter().filter(|d| before(&d.name) != Some(&d.value));
    let shown = |value: Option<&str>| value.map_or("not set".to_owned(), |v| format!("'{v}'"));
    let (message, span, label) = match changes.next() {
        Some(d) => {
            let was = shown(before(&d.name));
            let message = format!("table `{table}` reads other data: '{}' was {was} and is '{}'", d.name, d.value);
            (message, d.span.or(new.span), format!("was {was}"))
        }
        None => {
            let left = old.origin.data.iter().find(|d| new.origin.data.iter().all(|n| n.name != d.name));
            let which = left.map_or("another connector".to_owned(), |d| format!("'{}' was '{}'", d.name, d.value));
            (format!("table `{table}` reads other data: {which}"), new.span, String::new())
        }
    };
    let error = Diagnostic::error(CHANGED_SOURCE, message);
    let error = match span {
        Some(span) => error.with_span(span, label),
        None => error,
    };
    changes.fold(error, |error, d| match d.span {
        Some(span) => error.with_label(span, format!("was {}", shown(before(&d.name)))),
        None => error,
    })
}

fn nobody_claims(old: &Operator) -> String {
    let name = &old.name;
    match old.kind {
        OperatorKind::Operator => format!("the script no longer has `{name}`, which holds state"),
        OperatorKind::Source => format!("the script no longer reads `{name}`, whose position is stored"),
        OperatorKind::Sink => format!("the script no longer writes `{name}`, whose last output may not be committed"),
    }
}

/// A sink that is given something else than before: its old rows were made by the old query, and what is taken back now is
/// not what was sent then. Of several `INSERT`s into one table each goes on as it was when its query is still among them.
fn edited(old: &Operator, new: &OperatorInfo, all: &[OperatorInfo]) -> Option<String> {
    let then = old.origin.written.as_ref()?;
    new.origin.written.as_ref()?;
    let mut twins = all.iter().filter(|o| base(&o.id) == base(&new.id));
    twins.all(|twin| twin.origin.written.as_ref() != Some(then)).then(|| {
        let name = &new.name;
        format!("the query of `{name}`{} was edited: rows it holds from before stay as they are", placed(old))
    })
}

/// An operator with state that the checkpoint does not know.
fn begins_here(new: &OperatorInfo) -> String {
    format!("`{}` is new: it has nothing of what was read before this checkpoint", new.name)
}

/// What leaves with a removed `INSERT`.
fn let_go(old: &Operator) -> String {
    let what = if old.kind == OperatorKind::Source { "the position" } else { "the state" };
    format!("{what} of `{}`{} is let go: its INSERT is no longer in the script", old.name, placed(old))
}

fn described(old: &Operator) -> String {
    format!("`{}` is: {}{}", old.name, old.description, placed(old))
}

/// Where an operator stood in the script of that time.
fn placed(old: &Operator) -> String {
    match (&old.origin.place, old.span) {
        (Some(place), _) => format!(" ({place} then)"),
        (None, Some(s)) => format!(" (bytes {}..{} of the script then)", s.start, s.end),
        (None, None) => String::new(),
    }
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
