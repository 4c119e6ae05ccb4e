//! What an operator computes, as frozen text, and the operator id made of it.
//!
//! ```text
//! rows     source(filesystem; path='/data')            which rows a stream carries
//! lineage  source(filesystem; path='/data').amount     what a column means
//! id       xxh3("aggregate 1; rows; keys; calls")      16 hexadecimal digits, `-1`, `-2` for equal twins
//! ```
//! Not in it: aliases, comments, hints, columns nobody uses, parallelism, passwords, options that do not say which data it is,
//! the order of statements, other queries on the same source, the names of views. What is in it is printed by
//! [`super::print`], whose output never changes.
//!
//! A stateful operator's rows are its own hash: texts stay short however long the plan.

use datafusion::logical_expr::Expr;
use dflow_common::OperatorId;
use dflow_connector_api::{ConnectorSpec, OptionText, RawOption};
use dflow_runtime::checkpoint::DataOption;
use xxhash_rust::xxh3::xxh3_64;

use super::{Call, Op, Plan, Rel, Target, print};
use crate::catalog::Table;

/// The 16 digits of a text.
fn hash(text: &str) -> String {
    format!("{:016x}", xxh3_64(text.as_bytes()))
}

/// The options of a table that say which data it is, with their values. One that came from `${env:…}` or `${file:…}` says
/// so too, but is not shown: a digest stands for it.
pub(crate) fn data(options: &[RawOption], spec: Option<&ConnectorSpec>) -> Vec<DataOption> {
    let mut data: Vec<DataOption> = Vec::new();
    for option in spec.iter().flat_map(|s| s.options).filter(|o| o.identity) {
        let mut given = options.iter().filter(|o| option.matches(&o.key)).peekable();
        if given.peek().is_none()
            && let Some(value) = option.default
        {
            data.push(DataOption { name: option.key.to_owned(), value: value.to_owned(), span: None });
        }
        for o in given {
            let value = match &o.value {
                OptionText::Plain(text) => text.clone(),
                OptionText::Secret(secret) => format!("*** {}", &hash(secret.expose())[..8]),
            };
            // A key with a part to fill in is many options, any other has one name.
            let name = if option.key.contains('#') { &o.key } else { option.key };
            data.push(DataOption { name: name.to_owned(), value, span: Some(o.value_span) });
        }
    }
    data
}

/// What a sink is given: which rows, and what their columns mean.
pub(crate) fn written(sink: &Rel) -> String {
    hash(&format!("{}; {:?}", sink.rows, sink.lineage))
}

/// Which data a table is: its connector and the options that say so. A table without such options is its name.
pub(crate) fn table(table: &Table, options: &[RawOption], spec: Option<&ConnectorSpec>) -> String {
    let connector = table.connector.as_ref().map_or("", |c| c.value.as_str());
    let quoted = |o: DataOption| format!("{}='{}'", o.name, o.value.replace('\'', "''"));
    let mut identity: Vec<String> = data(options, spec).into_iter().map(quoted).collect();
    if identity.is_empty() {
        identity.push(format!("table {}", table.id));
    }
    identity.sort();
    format!("{connector}; {}", identity.join("; "))
}

/// The rows of a source.
pub(crate) fn source(identity: &str) -> String {
    format!("source({identity})")
}

/// The rows of literal rows.
pub(crate) fn values(rows: &[Vec<Expr>]) -> String {
    let row = |r: &Vec<Expr>| r.iter().map(|e| print::expr(e, &|_| "?".into())).collect::<Vec<_>>().join(", ");
    format!("values({})", hash(&rows.iter().map(row).collect::<Vec<_>>().join("; ")))
}

fn over(e: &Expr, input: &Rel) -> String {
    print::expr(e, &|i| input.lineage.get(i).cloned().unwrap_or_default())
}

/// Rows and lineage behind a Calc: a filter makes other rows, a projection other columns.
pub(crate) fn calc(input: &Rel, predicate: Option<&Expr>, exprs: &[Expr]) -> (String, Vec<String>) {
    let rows = match predicate {
        Some(p) => format!("filter({}; {})", input.rows, over(p, input)),
        None => input.rows.clone(),
    };
    (rows, exprs.iter().map(|e| over(e, input)).collect())
}

/// Rows and lineage behind a union.
pub(crate) fn union(inputs: &[&Rel]) -> (String, Vec<String>) {
    let rows = inputs.iter().map(|r| r.rows.as_str()).collect::<Vec<_>>().join("; ");
    let width = inputs.first().map_or(0, |r| r.lineage.len());
    let lineage = (0..width)
        .map(|i| {
            let all = inputs.iter().map(|r| r.lineage[i].as_str()).collect::<Vec<_>>().join(" | ");
            format!("union({})", hash(&all))
        })
        .collect();
    (format!("union({})", hash(&rows)), lineage)
}

/// Rows and lineage behind a normalisation by key.
pub(crate) fn normalized(input: &Rel, key: &[usize]) -> (String, Vec<String>) {
    let keys = key.iter().map(|k| input.lineage[*k].as_str()).collect::<Vec<_>>().join(", ");
    let rows = hash(&format!("normalize 1; {}; {keys}", input.rows));
    let lineage = input.fields.iter().map(|f| format!("@{rows}.{}", f.name)).collect();
    (format!("@{rows}"), lineage)
}

/// An aggregate call over what its columns mean.
pub(crate) fn call(c: &Call, input: &Rel) -> String {
    let argument = c.argument.map_or("*", |a| input.lineage[a].as_str());
    let distinct = if c.distinct { "DISTINCT " } else { "" };
    let filter = c.filter.map(|f| format!(" FILTER {}", input.lineage[f])).unwrap_or_default();
    format!("{}({distinct}{argument}){filter}", c.function.name())
}

/// Rows and lineage behind an aggregation.
pub(crate) fn aggregate(input: &Rel, group: &[usize], calls: &[Call]) -> (String, Vec<String>) {
    let keys: Vec<&str> = group.iter().map(|g| input.lineage[*g].as_str()).collect();
    let calls: Vec<String> = calls.iter().map(|c| call(c, input)).collect();
    let rows = hash(&format!("aggregate 1; {}; {}; {}", input.rows, keys.join(", "), calls.join(", ")));
    let lineage = (0..keys.len())
        .map(|i| format!("@{rows}.key{i}"))
        .chain((0..calls.len()).map(|i| format!("@{rows}.call{i}")))
        .collect();
    (format!("@{rows}"), lineage)
}

/// The id of a reader that several tables share.
pub(crate) fn shared(key: &str) -> OperatorId {
    OperatorId(hash(&format!("shared({key})")))
}

/// The ids of all nodes of a plan. Equal twins are numbered by what they read, then by their place.
pub(crate) fn ids(plan: &Plan, identity: &dyn Fn(&Table, &[RawOption]) -> String) -> Vec<OperatorId> {
    let printed: Vec<(String, String)> = plan
        .nodes
        .iter()
        .map(|rel| {
            let text = match &rel.op {
                // A stateful operator's hash is its id: the state is named by what it holds.
                Op::Aggregate { .. } | Op::Normalize { .. } => rel.rows.trim_start_matches('@').to_owned(),
                Op::Source(_) => hash(&rel.rows),
                Op::Sink(Target::Table { table, options, .. }) => hash(&format!("sink({})", identity(table, options))),
                Op::Sink(Target::Output(n)) => hash(&format!("output {n}")),
                Op::SinkEdge(table) => hash(&format!("check({}; {}; {:?})", table.id, rel.rows, rel.lineage)),
                op => hash(&format!("{}; {}; {:?}", op.name(), rel.rows, rel.lineage)),
            };
            (text, rel.rows.clone())
        })
        .collect();
    (0..printed.len())
        .map(|i| {
            let (text, rows) = &printed[i];
            let before = printed.iter().enumerate().filter(|(j, (t, r))| t == text && (r, *j) < (rows, i)).count();
            OperatorId(if before == 0 { text.clone() } else { format!("{text}-{before}") })
        })
        .collect()
}
