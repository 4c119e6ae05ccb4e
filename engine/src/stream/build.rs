//! Plan to job graph: sources and sinks are opened, operators get their specs, edges their exchanges.
//!
//! # Exchanges
//! | into | edge |
//! |---|---|
//! | Aggregate, Normalize | by the key's hash; to one instance without a key |
//! | Consolidate of a keyed sink | by the sink's key, unless the rows come from the instance that owns a part of it |
//! | a node of another parallelism | round robin for rows without a key, by their key otherwise |
//! | all others, and everything at parallelism 1 | forward: one task |

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{DFSchema, DataFusionError, ScalarValue};
use datafusion::logical_expr::Expr;
use dflow_common::{Diagnostic, OperatorId, SourceMap};
use dflow_connector_api::{Boundedness, ChangelogSupport, ShareKey, Sink, Source};
use dflow_runtime::checkpoint::Origin;
use dflow_runtime::graph::{Edge, Exchange, JobGraph, Node, NodeIndex, NodeKind};

use super::connect::Connectors;
use super::output::OutputSink;
use super::summary::{JobSummary, SinkSummary, SourceSummary, guarantee};
use super::values::ValuesSource;
use crate::catalog::Table;
use crate::error::{self, Errors, Result};
use crate::operators::calc::{CalcExpr, CalcSpec};
use crate::operators::consolidate::ConsolidateSpec;
use crate::operators::hash_agg::{AggregateCall, HashAggSpec};
use crate::operators::normalize::NormalizeSpec;
use crate::operators::sink_edge::{SinkColumn, SinkEdgeSpec};
use crate::operators::union::UnionSpec;
use crate::operators::watermark::{WatermarkEmission, WatermarkSpec};
use crate::rel::convert::Sources as _;
use crate::rel::props::{Kind, StreamProps, derive};
use crate::rel::{Field, Op, Plan, Rel, Target, expr, fingerprint, print};
use crate::settings::Resolved;

/// A plan with everything decided about it.
pub(crate) struct Physical {
    pub(crate) plan: Plan,
    pub(crate) props: Vec<StreamProps>,
    pub(crate) ids: Vec<OperatorId>,
    origins: Vec<Origin>,
    /// Instances per node.
    pub(crate) parallelism: Vec<usize>,
    /// How rows get from `inputs[i]` of each node to it.
    pub(crate) exchanges: Vec<Vec<Exchange>>,
    sources: HashMap<usize, Arc<dyn Source>>,
    sinks: HashMap<usize, Arc<dyn Sink>>,
    pub(crate) summary: JobSummary,
}

/// Opens a plan's tables and decides parallelism and exchanges.
///
/// # Errors
/// What connectors refuse.
pub(crate) fn decide(
    plan: Plan,
    connectors: &Connectors<'_>,
    settings: &Resolved,
    outputs: &[Arc<OutputSink>],
    texts: &SourceMap,
) -> Result<Physical> {
    let props = derive(&plan);
    let ids = fingerprint::ids(&plan, &|table, options| connectors.identity(table, options));
    let mut errors = Vec::new();
    let (mut sources, mut sinks) = (HashMap::new(), HashMap::new());
    for (id, rel) in plan.nodes.iter().enumerate() {
        match &rel.op {
            Op::Source(s) => match connectors.source(s) {
                Ok(source) => drop(sources.insert(id, source)),
                Err(e) => errors.extend(e.into_diagnostics()),
            },
            Op::Values(rows) => match values(rows, rel) {
                Ok(source) => drop(sources.insert(id, source)),
                Err(e) => errors.push(at_rel(&e, rel)),
            },
            Op::Sink(Target::Table { table, options }) => match connectors.sink(table, options) {
                Ok(sink) => drop(sinks.insert(id, sink)),
                Err(e) => errors.extend(e.into_diagnostics()),
            },
            Op::Sink(Target::Output(n)) => drop(sinks.insert(id, outputs[*n].clone() as Arc<dyn Sink>)),
            _ => {}
        }
    }
    if let Some(errors) = Errors::from_list(errors) {
        return Err(errors);
    }
    let most = settings.parallelism;
    let mut parallelism: Vec<usize> = Vec::with_capacity(plan.nodes.len());
    let mut exchanges: Vec<Vec<Exchange>> = Vec::with_capacity(plan.nodes.len());
    // Columns whose hash decides which instance has a row; `None`: any may.
    let mut hashed: Vec<Option<Vec<usize>>> = Vec::with_capacity(plan.nodes.len());
    for (id, rel) in plan.nodes.iter().enumerate() {
        let inputs = |p: &Vec<usize>| rel.inputs.iter().map(|i| p[*i]).max().unwrap_or(1);
        let (p, key): (usize, Option<Vec<usize>>) = match &rel.op {
            Op::Source(_) | Op::Values(_) => {
                (sources[&id].max_parallelism().map_or(most, |m| m.min(most)).max(1), None)
            }
            Op::Aggregate { group, .. } if group.is_empty() => (1, Some(vec![])),
            Op::Aggregate { group, .. } => (most, Some(group.clone())),
            Op::Normalize { key } => (most, Some(key.clone())),
            Op::Consolidate { key } if feeds_keyed_sink(&plan, id, &sinks) => {
                let owned = hashed[rel.inputs[0]].as_ref().is_some_and(|h| h.iter().all(|c| key.contains(c)));
                (inputs(&parallelism), (!owned).then(|| key.clone()))
            }
            Op::Sink(_) => {
                let own = inputs(&parallelism);
                (sinks[&id].max_parallelism().map_or(own, |m| m.min(own)).max(1), None)
            }
            _ => (inputs(&parallelism), None),
        };
        let edges = rel
            .inputs
            .iter()
            .map(|i| match &key {
                Some(key) if parallelism[*i] > 1 || p > 1 => Exchange::Hash(key.clone()),
                _ if parallelism[*i] == p => Exchange::Forward,
                // Changes of one row must stay in order: they all take the same way.
                _ if props[*i].kind != Kind::Append => {
                    Exchange::Hash(props[*i].upsert_keys.first().cloned().unwrap_or_default())
                }
                _ => Exchange::Rebalance,
            })
            .collect();
        hashed.push(match (&rel.op, &key) {
            (Op::Aggregate { group, .. }, _) => Some((0..group.len()).collect()),
            (_, Some(key)) => Some(key.clone()),
            (Op::Calc { exprs, .. }, None) => hashed[rel.inputs[0]]
                .as_ref()
                .and_then(|h| h.iter().map(|c| exprs.iter().position(|e| expr::as_column(e) == Some(*c))).collect()),
            (Op::Source(_) | Op::Values(_) | Op::Union, None) => None,
            _ => hashed[rel.inputs[0]].clone(),
        });
        parallelism.push(p);
        exchanges.push(edges);
    }
    let summary = summarise(&plan, &sources, &sinks, settings);
    let origins = plan.nodes.iter().map(|rel| connectors.origin(rel, texts)).collect();
    Ok(Physical { plan, props, ids, origins, parallelism, exchanges, sources, sinks, summary })
}

fn feeds_keyed_sink(plan: &Plan, id: usize, sinks: &HashMap<usize, Arc<dyn Sink>>) -> bool {
    plan.nodes
        .iter()
        .enumerate()
        .any(|(s, rel)| rel.inputs == [id] && sinks.get(&s).is_some_and(|s| s.changelog() == ChangelogSupport::Upsert))
}

fn at_rel(e: &DataFusionError, rel: &Rel) -> Diagnostic {
    let d = Diagnostic::error(error::BAD_EXPRESSION, e.strip_backtrace());
    match rel.span {
        Some(span) => d.with_span(span, ""),
        None => d,
    }
}

impl Physical {
    /// Whether rows may come to each node without end.
    pub(crate) fn endless(&self) -> Vec<bool> {
        let mut all: Vec<bool> = Vec::with_capacity(self.plan.nodes.len());
        for (id, rel) in self.plan.nodes.iter().enumerate() {
            let own = self.sources.get(&id).is_some_and(|s| s.boundedness() == Boundedness::Unbounded);
            all.push(own || rel.inputs.iter().any(|i| all[*i]));
        }
        all
    }

    /// Which changes the sink of a node takes; `None` for other nodes.
    pub(crate) fn takes(&self, id: usize) -> Option<ChangelogSupport> {
        self.sinks.get(&id).map(|s| s.changelog())
    }

    /// The job graph.
    ///
    /// # Errors
    /// Expressions that cannot be evaluated, sources that cannot be read together.
    pub(crate) fn graph(&self, settings: &Resolved) -> Result<JobGraph> {
        let mut graph = JobGraph::default();
        let mut shared: HashMap<ShareKey, NodeIndex> = HashMap::new();
        // Where each node of the plan is: graph node and output.
        let mut places: Vec<(NodeIndex, usize)> = Vec::with_capacity(self.plan.nodes.len());
        for (id, rel) in self.plan.nodes.iter().enumerate() {
            let kind = match (&rel.op, self.sources.get(&id)) {
                (_, Some(source)) => {
                    if let Some(place) = self.merge(source, &mut graph, &mut shared, rel)? {
                        places.push(place);
                        continue;
                    }
                    NodeKind::Source(source.clone())
                }
                (Op::Sink(_), _) => {
                    NodeKind::Sink { sink: self.sinks[&id].clone(), flush_at_barriers_only: self.out_of_order(id) }
                }
                _ => self.operator(rel, settings).map_err(|e| at_rel(&e, rel))?,
            };
            let key = self.sources.get(&id).and_then(|s| s.share_key());
            let operator_id = match &key {
                // Which tables share the reader may change; the reader stays.
                Some(key) => fingerprint::shared(&key.0),
                None => self.ids[id].clone(),
            };
            let index = graph.node(Node {
                id: operator_id,
                name: self.name(id),
                description: describe(rel, &self.plan),
                span: rel.span,
                origin: self.origins[id].clone(),
                parallelism: self.parallelism[id],
                kind,
            });
            if let Some(key) = key {
                shared.insert(key, index);
            }
            for (number, (input, exchange)) in rel.inputs.iter().zip(&self.exchanges[id]).enumerate() {
                let (from, output) = places[*input];
                graph.edges.push(Edge { from, output, to: index, input: number, exchange: exchange.clone() });
            }
            places.push((index, 0));
        }
        graph.validate().map_err(|e| Errors::from(dflow_common::Classified::diagnostic(&e)))?;
        Ok(graph)
    }

    /// Adds a source to the one it shares a reader with.
    fn merge(
        &self,
        source: &Arc<dyn Source>,
        graph: &mut JobGraph,
        shared: &mut HashMap<ShareKey, NodeIndex>,
        rel: &Rel,
    ) -> Result<Option<(NodeIndex, usize)>> {
        let Some(index) = source.share_key().and_then(|k| shared.get(&k).copied()) else { return Ok(None) };
        let NodeKind::Source(first) = &graph.nodes[index].kind else { return Ok(None) };
        let output = first.outputs().len();
        let merged = first.merge(source.as_ref()).map_err(|e| {
            Errors::from(match rel.span {
                Some(span) => vec![e.at_default(span)],
                None => vec![e],
            })
        })?;
        graph.nodes[index].kind = NodeKind::Source(merged);
        Ok(Some((index, output)))
    }

    /// Short name for metrics: `aggregate[2]`.
    pub(crate) fn name(&self, id: usize) -> String {
        let rel = &self.plan.nodes[id];
        match &rel.op {
            Op::Source(s) => format!("source[{}]", s.table.id.name),
            Op::Sink(Target::Table { table, .. }) => format!("sink[{}]", table.id.name),
            op => format!("{}[{id}]", op.name().to_lowercase()),
        }
    }

    /// Whether rows of one sink key may come in another order than they were made.
    fn out_of_order(&self, sink: usize) -> bool {
        let rel = &self.plan.nodes[sink];
        self.props[sink].kind != Kind::Append
            && self.sinks[&sink].changelog() == ChangelogSupport::Upsert
            && self.exchanges[sink].iter().any(|e| *e != Exchange::Forward)
            && !matches!(self.plan.nodes[rel.inputs[0]].op, Op::Consolidate { .. })
    }

    fn operator(&self, rel: &Rel, settings: &Resolved) -> datafusion::common::Result<NodeKind> {
        let input = rel.inputs.first().map(|i| &self.plan.nodes[*i]);
        let fields: &[Field] = input.map_or(&[], |r| &r.fields);
        let schema = expr::schema(fields)?;
        let calc = |e: &Expr| -> datafusion::common::Result<CalcExpr> {
            Ok(CalcExpr::new(expr::physical(e, &schema)?, expr::span(e).or(rel.span)))
        };
        let factory: Arc<dyn dflow_runtime::operator::OperatorFactory> = match &rel.op {
            Op::Watermark { expr: e, .. } => Arc::new(WatermarkSpec {
                expr: expr::physical(e, &schema)?,
                span: rel.span,
                idle_timeout: settings.idle_timeout,
                emission: match settings.job.watermark_interval.is_zero() {
                    true => WatermarkEmission::EachBatch,
                    false => WatermarkEmission::Periodic,
                },
            }),
            Op::Calc { predicate, exprs } => Arc::new(CalcSpec {
                input: arrow(fields),
                predicate: predicate.as_ref().map(calc).transpose()?,
                projection: exprs.iter().map(calc).collect::<datafusion::common::Result<_>>()?,
                output: arrow(&rel.fields),
            }),
            Op::Union => Arc::new(UnionSpec),
            Op::Aggregate { group, calls } => Arc::new(HashAggSpec {
                input: arrow(fields),
                group_by: group.clone(),
                calls: calls
                    .iter()
                    .map(|c| AggregateCall {
                        function: c.function,
                        argument: c.argument,
                        distinct: c.distinct,
                        filter: c.filter,
                        span: c.span,
                    })
                    .collect(),
                output: arrow(&rel.fields),
                input_retracts: self.props[rel.inputs[0]].kind != Kind::Append,
                update_before: true,
            }),
            Op::Normalize { key } => {
                Arc::new(NormalizeSpec { schema: arrow(&rel.fields), key: key.clone(), update_before: true })
            }
            Op::SinkEdge(table) => Arc::new(SinkEdgeSpec {
                deletes_by_key: self.props[rel.inputs[0]].kind == Kind::Upsert,
                ..sink_edge(table, settings)
            }),
            Op::Consolidate { key } => Arc::new(ConsolidateSpec { schema: arrow(&rel.fields), key: key.clone() }),
            Op::Source(_) | Op::Values(_) | Op::Sink(_) => {
                return Err(DataFusionError::Internal("sources and sinks are no operators".into()));
            }
        };
        Ok(NodeKind::Operator(factory))
    }
}

/// The check in front of a table.
pub(crate) fn sink_edge(table: &Table, settings: &Resolved) -> SinkEdgeSpec {
    let columns = table.persisted().into_iter().map(|i| &table.columns[i]);
    SinkEdgeSpec {
        table: table.id.to_string(),
        output: Arc::new(Schema::new(columns.clone().map(|c| c.ty.to_field(&c.name)).collect::<Vec<_>>())),
        columns: columns.map(|c| SinkColumn { name: c.name.clone(), ty: c.ty.clone(), span: Some(c.span) }).collect(),
        not_null: settings.not_null,
        length: settings.length,
        deletes_by_key: false,
    }
}

/// The schema of batches: every field nullable.
pub(crate) fn arrow(fields: &[Field]) -> SchemaRef {
    Arc::new(Schema::new(fields.iter().map(|f| f.ty.to_field(&f.name)).collect::<Vec<_>>()))
}

fn values(rows: &[Vec<Expr>], rel: &Rel) -> datafusion::common::Result<Arc<dyn Source>> {
    let schema = arrow(&rel.fields);
    let one = ValuesSource::one_row();
    let empty = DFSchema::empty();
    let columns = (0..rel.fields.len())
        .map(|i| {
            let wanted = schema.field(i).data_type();
            let scalars = rows
                .iter()
                .map(|row| {
                    let value = expr::physical(&row[i], &empty)?.evaluate(&one)?.into_array(1)?;
                    ScalarValue::try_from_array(&value, 0)?.cast_to(wanted)
                })
                .collect::<datafusion::common::Result<Vec<_>>>()?;
            match scalars.is_empty() {
                true => Ok(arrow::array::new_empty_array(wanted)),
                false => ScalarValue::iter_to_array(scalars),
            }
        })
        .collect::<datafusion::common::Result<Vec<ArrayRef>>>()?;
    Ok(Arc::new(ValuesSource::new(schema, columns, rows.len())?))
}

/// What a node computes, for people.
pub(crate) fn describe(rel: &Rel, plan: &Plan) -> String {
    let input: &[Field] = rel.inputs.first().map_or(&[], |i| &plan.nodes[*i].fields);
    let name = |i: usize| input.get(i).map_or_else(|| format!("${i}"), |f| f.name.clone());
    let names = |all: &[usize]| all.iter().map(|i| name(*i)).collect::<Vec<_>>().join(", ");
    let fields = || rel.fields.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().join(", ");
    match &rel.op {
        Op::Source(s) => format!("{} [{}]", s.table.id.name, fields()),
        Op::Values(rows) => format!("{} rows [{}]", rows.len(), fields()),
        Op::Watermark { expr: e, column } => format!("{column} AS {}", print::expr(e, &name)),
        Op::Calc { predicate, exprs } => {
            let exprs = exprs
                .iter()
                .zip(&rel.fields)
                .map(|(e, f)| {
                    let text = print::expr(e, &name);
                    if text == f.name { text } else { format!("{text} AS {}", f.name) }
                })
                .collect::<Vec<_>>()
                .join(", ");
            match predicate {
                Some(p) => format!("[{exprs}] WHERE {}", print::expr(p, &name)),
                None => format!("[{exprs}]"),
            }
        }
        Op::Union => format!("{} inputs", rel.inputs.len()),
        Op::Aggregate { group, calls } => {
            let calls: Vec<String> = calls.iter().map(|c| crate::rel::convert::call_name(c, input)).collect();
            let by = if group.is_empty() { String::new() } else { format!(" GROUP BY {}", names(group)) };
            format!("[{}]{by}", calls.join(", "))
        }
        Op::Normalize { key } | Op::Consolidate { key } => format!("by ({})", names(key)),
        Op::SinkEdge(_) => "NOT NULL and lengths".into(),
        Op::Sink(Target::Table { table, .. }) => table.id.name.clone(),
        Op::Sink(Target::Output(_)) => "(result)".into(),
    }
}

fn summarise(
    plan: &Plan,
    sources: &HashMap<usize, Arc<dyn Source>>,
    sinks: &HashMap<usize, Arc<dyn Sink>>,
    settings: &Resolved,
) -> JobSummary {
    let connector = |t: &Table| t.connector.as_ref().map_or(String::new(), |c| c.value.clone());
    let source = |id: usize, rel: &Rel| {
        let opened = &sources[&id];
        let (table, connector) = match &rel.op {
            Op::Source(s) => (s.table.id.to_string(), connector(&s.table)),
            _ => ("(values)".to_owned(), "values".to_owned()),
        };
        SourceSummary {
            table,
            connector,
            changelog: opened.outputs().first().map_or(dflow_connector_api::SourceChangelog::Append, |o| o.changelog),
            boundedness: opened.boundedness(),
            seekable: opened.replay() == dflow_connector_api::Replay::Seekable,
            span: rel.span,
        }
    };
    let is_source = |rel: &Rel| rel.inputs.is_empty();
    let all: HashMap<usize, SourceSummary> =
        plan.nodes.iter().enumerate().filter(|(_, r)| is_source(r)).map(|(id, rel)| (id, source(id, rel))).collect();
    let upstream = |id: usize| {
        let (mut open, mut found) = (vec![id], Vec::new());
        while let Some(id) = open.pop() {
            open.extend(&plan.nodes[id].inputs);
            found.extend(all.get(&id));
        }
        found
    };
    let sinks = plan
        .nodes
        .iter()
        .enumerate()
        .filter_map(|(id, rel)| {
            let Op::Sink(target) = &rel.op else { return None };
            let (table, connector) = match target {
                Target::Table { table, .. } => (table.id.to_string(), connector(table)),
                Target::Output(_) => ("(result)".to_owned(), "result".to_owned()),
            };
            let mode = sinks[&id].mode();
            let (guarantee, reason) = guarantee(mode, &upstream(id));
            Some(SinkSummary { table, connector, mode, guarantee, reason, span: rel.span })
        })
        .collect();
    let ordered = (0..plan.nodes.len()).filter_map(|id| all.get(&id).cloned()).collect::<Vec<_>>();
    JobSummary {
        name: settings.job.name.clone(),
        parallelism: settings.parallelism,
        bounded: ordered.iter().all(|s| s.boundedness == Boundedness::Bounded),
        sources: ordered,
        sinks,
        stateful_operators: plan.nodes.iter().filter(|r| r.op.stateful()).count(),
    }
}
