//! What is known of the stream behind each node: which changes it carries, and what identifies a row.
//!
//! | node | kind | upsert keys |
//! |---|---|---|
//! | Source | as it says | its primary key |
//! | Watermark, Check, Consolidate | as its input | as its input |
//! | Calc | as its input | those whose columns it passes on, also cast to a wider type |
//! | Union | the weakest of its inputs | none |
//! | Aggregate | retract | the group columns; without any, the empty key: there is one row |
//! | Normalize | retract | its key |
//!
//! *Upsert key*: at any time there is at most one row of each value of it, and all changes of that row arrive in order.

use dflow_connector_api::SourceChangelog;

use super::{Op, Plan, expr};

/// Which changes a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// `+I` only.
    Append,
    /// `+` and `-` of full rows.
    Retract,
    /// Latest row by key; a delete may carry the key only.
    Upsert,
}

impl Kind {
    /// As EXPLAIN prints it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::Append => "append",
            Kind::Retract => "retract",
            Kind::Upsert => "upsert",
        }
    }
}

/// What is known of a stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StreamProps {
    pub(crate) kind: Kind,
    /// Each a set of columns, sorted.
    pub(crate) upsert_keys: Vec<Vec<usize>>,
    /// The columns that were time attributes at the source, by position.
    pub(crate) time_columns: Vec<usize>,
}

/// The properties of every node.
pub(crate) fn derive(plan: &Plan) -> Vec<StreamProps> {
    let mut all: Vec<StreamProps> = Vec::with_capacity(plan.nodes.len());
    for rel in &plan.nodes {
        let input = |i: usize| &all[rel.inputs[i]];
        let props = match &rel.op {
            Op::Source(s) => StreamProps {
                kind: match s.changelog {
                    SourceChangelog::Append => Kind::Append,
                    SourceChangelog::Retract => Kind::Retract,
                    SourceChangelog::Upsert => Kind::Upsert,
                },
                upsert_keys: {
                    let (schema, _) = s.table.connector_schema();
                    let key: Option<Vec<usize>> =
                        schema.primary_key.iter().map(|k| s.projection.iter().position(|p| p == k)).collect();
                    key.filter(|k| !k.is_empty()).map(sorted).into_iter().collect()
                },
                time_columns: Vec::new(),
            },
            Op::Values(_) => StreamProps { kind: Kind::Append, upsert_keys: vec![], time_columns: vec![] },
            Op::Watermark { column, .. } => {
                let mut props = input(0).clone();
                props.time_columns.extend(rel.fields.iter().position(|f| f.name == *column));
                props
            }
            Op::SinkEdge(_) | Op::Consolidate { .. } | Op::Sink(_) => input(0).clone(),
            Op::Calc { exprs, .. } => {
                let input = input(0);
                let new = |old: usize| exprs.iter().position(|e| expr::as_column(e) == Some(old));
                let fields = &plan.nodes[rel.inputs[0]].fields;
                let same_values = |old: usize| {
                    new(old).or_else(|| exprs.iter().position(|e| expr::widened(e, &fields[old].ty.kind) == Some(old)))
                };
                StreamProps {
                    kind: input.kind,
                    upsert_keys: input
                        .upsert_keys
                        .iter()
                        .filter_map(|key| key.iter().map(|c| same_values(*c)).collect::<Option<Vec<_>>>())
                        .map(sorted)
                        .collect(),
                    time_columns: input.time_columns.iter().filter_map(|c| new(*c)).collect(),
                }
            }
            Op::Union => StreamProps {
                kind: rel.inputs.iter().map(|i| all[*i].kind).max().unwrap_or(Kind::Append),
                upsert_keys: vec![],
                time_columns: input(0).time_columns.clone(),
            },
            Op::Aggregate { group, .. } => {
                StreamProps { kind: Kind::Retract, upsert_keys: vec![(0..group.len()).collect()], time_columns: vec![] }
            }
            Op::Normalize { key } => StreamProps {
                kind: Kind::Retract,
                upsert_keys: vec![sorted(key.clone())],
                time_columns: input(0).time_columns.clone(),
            },
        };
        all.push(props);
    }
    all
}

fn sorted(mut v: Vec<usize>) -> Vec<usize> {
    v.sort_unstable();
    v.dedup();
    v
}
