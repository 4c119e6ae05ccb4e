//! What is allowed and probably not meant: warnings about a job that runs.
//!
//! | code | about |
//! |---|---|
//! | DF3001 | a group key that is new with every row, over a source without end: state grows with every row |
//! | DF3002 | a function of chance or of the clock over rows that are taken back |
//! | DF3003 | columns of an INSERT that go by position into one another's names |
//! | DF3004 | a clock reading that becomes an instant in a time zone nobody chose |
//!
//! A warning must not be about what people mean to write. What is only worth knowing is [`Advice::Note`], and shown by
//! `EXPLAIN PLAN_ADVICE` alone.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, Volatility};
use dflow_common::{Diagnostic, SourceMap, Span, SqlType, TypeKind};
use dflow_connector_api::ChangelogSupport;

use crate::catalog::Column;
use crate::error;
use crate::rel::props::Kind;
use crate::rel::{Op, Rel, Target};
use crate::stream::build::Physical;

/// Something to say about a plan.
#[derive(Clone, Debug)]
pub(crate) enum Advice {
    /// Also told by `check` and `run`.
    Warning(Diagnostic),
    /// Good to know.
    Note(String, Option<Span>),
}

impl Advice {
    /// One line, as EXPLAIN prints it.
    pub(crate) fn line(&self, sources: &SourceMap) -> String {
        let (kind, text, place) = match self {
            Advice::Warning(d) => ("WARNING", format!("{}: {}", d.code, d.message), d.span()),
            Advice::Note(text, place) => ("ADVICE", text.clone(), *place),
        };
        let place = place.and_then(|p| sources.place(p)).map(|p| format!(" ({p})")).unwrap_or_default();
        format!("[{kind}] {text}{place}")
    }
}

/// Everything there is to say about a streaming job.
pub(crate) fn advice(physical: &Physical) -> Vec<Advice> {
    let endless = physical.endless();
    let mut all = Vec::new();
    for (id, rel) in physical.plan.nodes.iter().enumerate() {
        match &rel.op {
            Op::Aggregate { group, calls } => {
                let input = &physical.plan.nodes[rel.inputs[0]];
                let growing = endless[id].then(|| group.iter().find_map(|g| ever_new(physical, input, *g))).flatten();
                if let Some(why) = growing {
                    all.push(Advice::Warning(grows(rel, &why)));
                } else if endless[id] && !group.is_empty() {
                    let names: Vec<&str> = group.iter().map(|g| input.fields[*g].name.as_str()).collect();
                    let text = format!("#{id} keeps one entry for every ({}) there ever was", names.join(", "));
                    all.push(Advice::Note(text, rel.span));
                }
                for call in calls.iter().filter(|c| c.distinct) {
                    let name = crate::rel::convert::call_name(call, &input.fields);
                    let text = format!("#{id} keeps every value of {name}, group by group, to tell new ones");
                    all.push(Advice::Note(text, call.span));
                }
                for g in
                    group.iter().filter(|g| matches!(input.fields[**g].ty.kind, TypeKind::Double | TypeKind::Float))
                {
                    let name = &input.fields[*g].name;
                    let text =
                        format!("#{id} groups by {name}, a float: values that print alike may be several groups");
                    all.push(Advice::Note(text, rel.span));
                }
            }
            Op::Calc { predicate, exprs } if physical.props[rel.inputs[0]].kind != Kind::Append => {
                let values = exprs.iter().find_map(volatile).filter(|_| remembers(physical, id));
                if let Some(function) = predicate.as_ref().and_then(volatile).or(values) {
                    all.push(Advice::Warning(taken_back(rel, &function)));
                }
            }
            _ => {}
        }
    }
    all
}

/// Why a column of an aggregate's input has a new value in every row, if it has.
fn ever_new(physical: &Physical, input: &Rel, column: usize) -> Option<String> {
    let field = &input.fields[column];
    if let Op::Calc { exprs, .. } = &input.op
        && let Some(function) = volatile(&exprs[column])
    {
        return Some(format!("{function} gives every row a new `{}`", field.name));
    }
    let is_time = matches!(field.ty.kind, TypeKind::Timestamp(1..) | TypeKind::TimestampLtz(1..));
    let of_source = |rel: &Rel| matches!(rel.op, Op::Source(_)) && rel.lineage.contains(&input.lineage[column]);
    (is_time && physical.plan.nodes.iter().any(of_source))
        .then(|| format!("`{}` is a point in time, which moves on with every row", field.name))
}

fn grows(rel: &Rel, why: &str) -> Diagnostic {
    let what = if matches!(&rel.op, Op::Aggregate { calls, .. } if calls.is_empty()) { "DISTINCT" } else { "GROUP BY" };
    let d = Diagnostic::warning(error::STATE_GROWS, format!("the state of this {what} grows with every row"));
    let d = match rel.span {
        Some(span) => d.with_span(span, "never the same twice"),
        None => d,
    };
    d.with_note(why).with_help(
        "group by something that comes again, such as FLOOR(ts TO MINUTE), or leave the column out of DISTINCT",
    )
}

fn taken_back(rel: &Rel, function: &str) -> Diagnostic {
    let message = format!("{function} gives another value when a row is taken back");
    let d = Diagnostic::warning(error::VOLATILE_CHANGES, message);
    let d = match rel.span {
        Some(span) => d.with_span(span, format!("{function} over an updating query")),
        None => d,
    };
    d.with_note("an update is the old row taken back and the new one: computed again, the old one is not what was sent")
        .with_help(format!("compute {function} before rows are updated, in the SELECT over the append-only table"))
}

/// The first function in an expression whose value differs from call to call.
fn volatile(e: &Expr) -> Option<String> {
    let mut found = None;
    let _ = e.apply(|e| {
        if let Expr::ScalarFunction(f) = e
            && f.func.signature().volatility != Volatility::Immutable
        {
            found = Some(f.name().to_uppercase());
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// Whether something behind a node compares rows that are taken back with those it was given: state, or a table that is
/// sent both.
fn remembers(physical: &Physical, id: usize) -> bool {
    physical.plan.consumers(id).any(|(next, rel)| match &rel.op {
        Op::Aggregate { .. } => true,
        Op::Sink(Target::Table { .. }) => physical.takes(next) == Some(ChangelogSupport::All),
        Op::Sink(Target::Output(_)) => false,
        _ => remembers(physical, next),
    })
}

/// Columns of an INSERT that go by position into another column although there is one of their name.
pub(crate) fn positions(pairs: &[(&str, &Column)], place: impl Fn(usize) -> Span) -> Option<Diagnostic> {
    let swapped = pairs.iter().enumerate().find(|(i, (name, column))| {
        *name != column.name && pairs.iter().enumerate().any(|(j, (_, other))| j != *i && other.name == *name)
    });
    let (i, (name, column)) = swapped?;
    let message = format!("the query's `{name}` goes into column `{}`, by position", column.name);
    let d = Diagnostic::warning(error::SWAPPED_COLUMNS, message).with_span(place(i), format!("into `{}`", column.name));
    let sink: Vec<&str> = pairs.iter().map(|(_, c)| c.name.as_str()).collect();
    let query: Vec<&str> = pairs.iter().map(|(n, _)| *n).collect();
    Some(
        d.with_note(format!("query: {}", query.join(", ")))
            .with_note(format!("sink: {}", sink.join(", ")))
            .with_help(format!("list the columns as the query has them: INSERT INTO … ({}) …", query.join(", "))),
    )
}

/// A column of an INSERT that is cast between a clock reading and an instant.
pub(crate) fn zone(from: &SqlType, to: &Column, place: Span) -> Option<Diagnostic> {
    let reading = |a: &TypeKind| matches!(a, TypeKind::Timestamp(_));
    let instant = |a: &TypeKind| matches!(a, TypeKind::TimestampLtz(_));
    let (a, b) = (&from.kind, &to.ty.kind);
    if !((reading(a) && instant(b)) || (instant(a) && reading(b))) {
        return None;
    }
    let message = format!("{from} becomes {} in column `{}`, in UTC", to.ty, to.name);
    Some(
        Diagnostic::warning(error::ZONE_BY_DEFAULT, message)
            .with_span(place, "no time zone was chosen")
            .with_note("Flink would take the zone of the machine; here it is UTC unless the script says otherwise")
            .with_help("SET 'table.local-time-zone' = 'Europe/Paris', or 'UTC' when that is meant"),
    )
}
