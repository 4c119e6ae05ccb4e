//! `EXPLAIN JSON_EXECUTION_PLAN`: the operators of a job, for programs.
//!
//! ```text
//! {"nodes":[{"id":1,"type":"Source: orders","pact":"Data Source","contents":"orders [id]","parallelism":4,
//!            "operator":"…","changelog":"append","place":"pipeline.sql:9:14"},
//!           {"id":2,"type":"Aggregate","pact":"Operator", …, "predecessors":[{"id":1,"ship_strategy":"HASH"}]}]}
//! ```
//! `id`, `type`, `pact`, `contents`, `parallelism` and `predecessors` are Flink's; the other fields are ours. The text of
//! the plan does not stand in front of it: what is printed is one JSON document.

use dflow_common::SourceMap;
use dflow_runtime::graph::Exchange;
use serde_json::{Value, json};

use super::names;
use crate::lint::Advice;
use crate::rel::{Op, Rel, Target};
use crate::stream::build::{Physical, describe};

/// The document. `advice` when it was asked for.
pub(crate) fn json(physical: &Physical, sources: &SourceMap, advice: Option<&[Advice]>) -> String {
    let plan = &physical.plan;
    let nodes: Vec<Value> = plan.nodes.iter().enumerate().map(|(id, rel)| node(physical, sources, id, rel)).collect();
    let mut document = json!({ "job": physical.summary.name, "nodes": nodes });
    if let Some(advice) = advice {
        document["advice"] = advice.iter().map(|a| Value::String(a.line(sources))).collect();
    }
    // Keys and values are text and numbers: nothing that cannot be written.
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

fn node(physical: &Physical, sources: &SourceMap, id: usize, rel: &Rel) -> Value {
    let (kind, pact) = match &rel.op {
        Op::Source(s) => (format!("Source: {}", s.table.id.name), "Data Source"),
        Op::Values(_) => ("Source: Values".to_owned(), "Data Source"),
        Op::Sink(Target::Table { table, .. }) => (format!("Sink: {}", table.id.name), "Data Sink"),
        Op::Sink(Target::Output(_)) => ("Sink: (result)".to_owned(), "Data Sink"),
        op => (op.name().to_owned(), "Operator"),
    };
    let props = &physical.props[id];
    let mut node = json!({
        "id": id + 1,
        "type": kind,
        "pact": pact,
        "contents": describe(rel, &physical.plan),
        "parallelism": physical.parallelism[id],
        "operator": physical.ids[id].0,
        "changelog": props.kind.word(),
        "stateful": rel.op.stateful(),
    });
    if !props.upsert_keys.is_empty() {
        node["keys"] = props.upsert_keys.iter().map(|k| Value::String(names(k, &rel.fields))).collect();
    }
    if let Some(place) = rel.span.and_then(|s| sources.place(s)) {
        node["place"] = place.into();
    }
    if !rel.inputs.is_empty() {
        let inputs = rel.inputs.iter().zip(&physical.exchanges[id]);
        node["predecessors"] =
            inputs.map(|(input, exchange)| json!({ "id": input + 1, "ship_strategy": strategy(exchange) })).collect();
    }
    node
}

/// Flink's word for how rows get to the next operator.
fn strategy(exchange: &Exchange) -> &'static str {
    match exchange {
        Exchange::Forward => "FORWARD",
        Exchange::Hash(key) if key.is_empty() => "GLOBAL",
        Exchange::Hash(_) => "HASH",
        Exchange::Rebalance => "REBALANCE",
    }
}
