//! EXPLAIN: the operators of a job, for people.
//!
//! ```text
//! #0 Source      orders [id, amount]            append            p=4   pipeline.sql:9:14
//! #1 Aggregate   <- #0  [SUM(amount)] GROUP BY id   retract (id)  p=4   state  pipeline.sql:8:8   hash(id)
//! ```
//! Secrets never: option values are not shown at all.

mod json;

use std::fmt::Write as _;

use datafusion::common::TableReference;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::LogicalPlan;
use dflow_common::SourceMap;
use dflow_connector_api::SinkMode;
use dflow_runtime::graph::Exchange;

use crate::bind::context::planned_table;
use crate::lint::Advice;
use crate::rel::{Field, Op};
use crate::stream::build::{Physical, describe};

pub(crate) use json::json;

/// The text of EXPLAIN.
pub(crate) fn text(physical: &Physical, sources: &SourceMap) -> String {
    let plan = &physical.plan;
    let mut out = String::new();
    for (id, rel) in plan.nodes.iter().enumerate() {
        let inputs: Vec<String> = rel
            .inputs
            .iter()
            .zip(&physical.exchanges[id])
            .map(|(i, e)| format!("#{i}{}", exchange(e, &plan.nodes[*i].fields)))
            .collect();
        let from = if inputs.is_empty() { String::new() } else { format!(" <- {}", inputs.join(", ")) };
        let _ = writeln!(out, "#{id} {}{from}", rel.op.name());
        let _ = writeln!(out, "     {}", describe(rel, plan));
        let props = &physical.props[id];
        let mut facts = vec![props.kind.word().to_owned()];
        let keys: Vec<String> = props.upsert_keys.iter().map(|k| names(k, &rel.fields)).collect();
        if !keys.is_empty() {
            facts.push(format!("key {}", keys.join(" or ")));
        }
        if !props.time_columns.is_empty() {
            facts.push(format!("time {}", names(&props.time_columns, &rel.fields)));
        }
        if rel.op.stateful() {
            facts.push(format!("state {}", physical.ids[id]));
        }
        if let Op::Source(s) = &rel.op
            && let Some(predicate) = &s.predicate
        {
            facts.push(format!("filter offered: {}", self::predicate(predicate, &s.table.connector_schema().0)));
        }
        facts.push(format!("parallelism {}", physical.parallelism[id]));
        facts.extend(rel.span.and_then(|s| sources.place(s)));
        let _ = writeln!(out, "     {}", facts.join("; "));
    }
    for sink in &physical.summary.sinks {
        let mode = match sink.mode {
            SinkMode::Idempotent => "idempotent",
            SinkMode::Staged => "staged",
            SinkMode::Transactional => "transactional",
            SinkMode::AtLeastOnce => "direct",
        };
        let _ = writeln!(out, "{}: {} ({mode}: {})", sink.table, sink.guarantee, sink.reason);
    }
    out
}

/// The text of EXPLAIN for a statement of batch mode: DataFusion's plan, with the names of the script's tables.
pub(crate) fn batch(plan: &LogicalPlan) -> String {
    let named = plan.clone().transform_up(|node| {
        Ok(match node {
            LogicalPlan::TableScan(mut scan) => {
                if let Some(planned) = planned_table(&scan.source) {
                    scan.table_name = TableReference::bare(planned.table.id.name.as_str());
                }
                Transformed::yes(LogicalPlan::TableScan(scan))
            }
            other => Transformed::no(other),
        })
    });
    named.map_or_else(|_| plan.display_indent().to_string(), |named| named.data.display_indent().to_string())
}

/// What `EXPLAIN PLAN_ADVICE` says below the plan, in Flink's form.
pub(crate) fn advice(all: &[Advice], sources: &SourceMap) -> String {
    if all.is_empty() {
        return "No available advice...\n".into();
    }
    let lines = all.iter().enumerate().map(|(i, a)| format!("advice[{}]: {}\n", i + 1, a.line(sources)));
    lines.collect()
}

fn names(columns: &[usize], fields: &[Field]) -> String {
    let all: Vec<&str> = columns.iter().map(|c| fields[*c].name.as_str()).collect();
    format!("({})", all.join(", "))
}

fn exchange(e: &Exchange, fields: &[Field]) -> String {
    match e {
        Exchange::Forward => String::new(),
        Exchange::Hash(key) if key.is_empty() => " to one".into(),
        Exchange::Hash(key) => format!(" hash{}", names(key, fields)),
        Exchange::Rebalance => " rebalance".into(),
    }
}

fn predicate(p: &dflow_connector_api::Predicate, schema: &dflow_connector_api::TableSchema) -> String {
    use dflow_connector_api::{CompareOp, Predicate as P, Value as V};
    let name = |c: &usize| schema.columns[*c].name.clone();
    let value = |v: &V| match v {
        V::Bool(b) => b.to_string(),
        V::Int(n) => n.to_string(),
        V::Float(n) => n.to_string(),
        V::Decimal(n, s) => format!("{n}e-{s}"),
        V::Text(s) => format!("'{}'", s.replace('\'', "''")),
        V::Bytes(b) => format!("{} bytes", b.len()),
        V::Date(d) => format!("day {d}"),
        V::Timestamp(t) | V::Instant(t) => format!("{t} us"),
    };
    let list = |all: &[P], word: &str| {
        let all: Vec<String> = all.iter().map(|p| predicate(p, schema)).collect();
        format!("({})", all.join(word))
    };
    match p {
        P::Compare(c, op, v) => {
            let op = match op {
                CompareOp::Eq => "=",
                CompareOp::NotEq => "<>",
                CompareOp::Lt => "<",
                CompareOp::LtEq => "<=",
                CompareOp::Gt => ">",
                CompareOp::GtEq => ">=",
            };
            format!("{} {op} {}", name(c), value(v))
        }
        P::IsNull(c) => format!("{} IS NULL", name(c)),
        P::IsNotNull(c) => format!("{} IS NOT NULL", name(c)),
        P::In(c, all) => format!("{} IN ({})", name(c), all.iter().map(value).collect::<Vec<_>>().join(", ")),
        P::And(all) => list(all, " AND "),
        P::Or(all) => list(all, " OR "),
        P::Not(p) => format!("NOT {}", predicate(p, schema)),
    }
}
