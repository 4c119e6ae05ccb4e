//! A job graph run by hand: one thread, no channels, no clock.
//!
//! The oracle needs tens of thousands of barriers, at several parallelisms, with restores in between. [`SyncJob`] calls
//! the same operators through the same interface as a task does, in topological order, and routes their output by the
//! graph's exchanges; only tasks, channels and storage are missing (the runtime's own tests cover those).

use std::collections::BTreeMap;

use arrow::array::UInt32Array;
use dflow_common::env::{Rng, SeededRng};
use dflow_common::metrics::Metrics;
use dflow_common::{ChangeBatch, Env};
use dflow_runtime::graph::{Exchange, JobGraph, NodeIndex, NodeKind};
use dflow_runtime::keys;
use dflow_runtime::operator::{Element, Operator, OperatorContext, Output, Watermark};
use dflow_runtime::state::{SnapshotMode, SnapshotWriter, StateOp, StateReader, StateRows};

/// What a checkpoint of a [`SyncJob`] holds: per node and table, the rows to replay.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint(BTreeMap<(String, usize), Vec<StateRows>>);

impl Checkpoint {
    /// Live rows over all tables: puts that no later row of the same key undid.
    pub fn live_rows(&self, graph: &JobGraph) -> usize {
        let mut live = 0;
        for ((id, table), rows) in &self.0 {
            let Some(node) = graph.nodes.iter().find(|n| n.id.0 == *id) else { continue };
            let NodeKind::Operator(factory) = &node.kind else { continue };
            let keys = factory.tables()[*table].key_columns;
            let mut seen = std::collections::BTreeSet::new();
            for r in rows {
                let key_batch = r.rows.project(&(0..keys).collect::<Vec<_>>()).expect("keys come first");
                for key in crate::changelog::row_texts(&key_batch) {
                    match r.op {
                        StateOp::Put => seen.insert(key),
                        StateOp::Delete => seen.remove(&key),
                    };
                }
            }
            live += seen.len();
        }
        live
    }
}

struct Instance {
    operator: Box<dyn Operator>,
    /// Watermark per (input, sending subtask).
    watermarks: BTreeMap<(usize, usize), Watermark>,
    combined: Watermark,
    /// Per table, what was snapshotted since its last base.
    history: Vec<Vec<StateRows>>,
    /// Per table, whether a delta may be asked for.
    has_base: Vec<bool>,
}

/// A running graph.
pub struct SyncJob {
    graph: JobGraph,
    order: Vec<NodeIndex>,
    instances: Vec<Vec<Instance>>,
    outputs: BTreeMap<String, Vec<ChangeBatch>>,
    max_parallelism: u16,
    rng: SeededRng,
    round_robin: usize,
}

impl SyncJob {
    /// Builds all operators, from a checkpoint when one is given.
    ///
    /// # Panics
    /// When the graph is broken or an operator refuses its own state: both are failures of the test.
    pub fn new(graph: JobGraph, env: &Env, max_parallelism: u16, seed: u64, restore: Option<&Checkpoint>) -> Self {
        graph.validate().expect("the planner builds valid graphs");
        let mut instances = Vec::new();
        for node in &graph.nodes {
            let NodeKind::Operator(factory) = &node.kind else {
                instances.push(Vec::new());
                continue;
            };
            let tables = factory.tables().len();
            instances.push(
                (0..node.parallelism)
                    .map(|subtask| {
                        let context = OperatorContext {
                            job: "oracle".into(),
                            id: node.id.clone(),
                            name: node.name.clone(),
                            subtask,
                            parallelism: node.parallelism,
                            key_groups: keys::group_range(max_parallelism, node.parallelism, subtask),
                            max_parallelism,
                            env: env.clone(),
                            metrics: Metrics::new(),
                        };
                        let mut operator = factory.create(&context).expect("operators open");
                        if let Some(checkpoint) = restore {
                            let mut read =
                                |table: usize, apply: &mut dyn FnMut(StateRows) -> dflow_runtime::Result<()>| {
                                    let rows = checkpoint.0.get(&(node.id.0.clone(), table));
                                    rows.into_iter().flatten().cloned().try_for_each(apply)
                                };
                            let mut reader = StateReader::new(context.key_groups.clone(), &mut read);
                            operator.restore(&mut reader).expect("operators restore their own state");
                        }
                        Instance {
                            operator,
                            watermarks: BTreeMap::new(),
                            combined: Watermark::MIN,
                            history: vec![Vec::new(); tables],
                            has_base: vec![false; tables],
                        }
                    })
                    .collect(),
            );
        }
        let order = topological(&graph);
        Self {
            graph,
            order,
            instances,
            outputs: BTreeMap::new(),
            max_parallelism,
            rng: SeededRng::new(seed),
            round_robin: 0,
        }
    }

    /// The tables the sources deliver, with the columns they want: `(table, projection)`.
    pub fn tables(&self) -> Vec<(String, Vec<usize>)> {
        let sources = self.graph.nodes.iter().filter_map(|n| match &n.kind {
            NodeKind::Source(s) => Some(s),
            _ => None,
        });
        sources.flat_map(|s| s.outputs().iter().map(|o| (o.table.clone(), o.projection.clone()))).collect()
    }

    /// Hands rows (all columns of the table) to every source output that reads it, in subtask `subtask` modulo its
    /// parallelism.
    pub fn feed(&mut self, table: &str, subtask: usize, batch: &ChangeBatch) {
        for node in 0..self.graph.nodes.len() {
            let NodeKind::Source(source) = self.graph.nodes[node].kind.clone() else { continue };
            for (output, schema) in source.outputs().iter().enumerate() {
                if !(schema.table == table || schema.table.ends_with(&format!(".{table}"))) {
                    continue;
                }
                let data = batch.data.project(&schema.projection).expect("the source projects its own columns");
                let subtask = subtask % self.graph.nodes[node].parallelism;
                self.route(node, output, subtask, Element::Batch(batch.with_data(data)));
            }
        }
    }

    /// Flushes everything and takes a checkpoint; each table is written as base or delta by chance.
    pub fn barrier(&mut self) -> Checkpoint {
        for node in self.order.clone() {
            for subtask in 0..self.instances[node].len() {
                let mut out = Output::new();
                self.instances[node][subtask].operator.flush(&mut out).expect("flush");
                self.emit(node, subtask, out);
            }
        }
        let mut checkpoint = Checkpoint::default();
        for (node, instances) in self.instances.iter_mut().enumerate() {
            for instance in instances {
                assert_eq!(instance.operator.pending_rows(), 0, "nothing pends after a flush");
                let modes: Vec<_> = instance
                    .has_base
                    .iter()
                    .map(|has| if *has && self.rng.below(4) > 0 { SnapshotMode::Delta } else { SnapshotMode::Base })
                    .collect();
                let mut writer = SnapshotWriter::new(modes);
                instance.operator.snapshot(&mut writer).expect("snapshot");
                for (table, snapshot) in writer.finish().into_iter().enumerate() {
                    if snapshot.mode == SnapshotMode::Base {
                        instance.history[table].clear();
                        instance.has_base[table] = true;
                    }
                    instance.history[table].extend(snapshot.rows);
                    let key = (self.graph.nodes[node].id.0.clone(), table);
                    checkpoint.0.entry(key).or_default().extend(instance.history[table].iter().cloned());
                }
            }
        }
        checkpoint
    }

    /// Sum over all operators of the entries they report to hold.
    pub fn state_entries(&self) -> u64 {
        self.instances.iter().flatten().map(|i| i.operator.state_size().entries).sum()
    }

    /// What arrived at the sink named `name` since the last call.
    pub fn take_output(&mut self, name: &str) -> Vec<ChangeBatch> {
        self.outputs.remove(name).unwrap_or_default()
    }

    /// What arrived at all sinks since the last call; for graphs with one sink.
    pub fn take_outputs(&mut self) -> Vec<ChangeBatch> {
        std::mem::take(&mut self.outputs).into_values().flatten().collect()
    }

    fn emit(&mut self, node: NodeIndex, subtask: usize, mut out: Output) {
        let elements: Vec<_> = out.drain().collect();
        for element in elements {
            self.route(node, 0, subtask, element);
        }
    }

    fn route(&mut self, from: NodeIndex, output: usize, subtask: usize, element: Element) {
        let edges: Vec<_> = self.graph.edges.iter().filter(|e| e.from == from && e.output == output).cloned().collect();
        for edge in edges {
            let targets = self.graph.nodes[edge.to].parallelism;
            match (&element, &edge.exchange) {
                (Element::Batch(batch), Exchange::Forward) => self.deliver(edge.to, subtask, edge.input, batch.clone()),
                (Element::Batch(batch), Exchange::Rebalance) => {
                    self.round_robin += 1;
                    self.deliver(edge.to, self.round_robin % targets, edge.input, batch.clone());
                }
                (Element::Batch(batch), Exchange::Hash(columns)) => {
                    let keys: Vec<_> = columns.iter().map(|c| batch.column(*c).clone()).collect();
                    let groups = if keys.is_empty() {
                        vec![0; batch.num_rows()]
                    } else {
                        keys::key_groups(&keys, self.max_parallelism)
                    };
                    for target in 0..targets {
                        let rows: UInt32Array = groups
                            .iter()
                            .enumerate()
                            .filter(|(_, g)| keys::owner(self.max_parallelism, targets, **g) == target)
                            .map(|(i, _)| i as u32)
                            .collect();
                        if !rows.is_empty() {
                            let part = batch.take(&rows).expect("rows of the batch");
                            self.deliver(edge.to, target, edge.input, part);
                        }
                    }
                }
                (Element::Watermark(watermark), exchange) => {
                    let all = if *exchange == Exchange::Forward { subtask..subtask + 1 } else { 0..targets };
                    for target in all {
                        self.deliver_watermark(edge.to, target, edge.input, subtask, *watermark);
                    }
                }
                (Element::Idle | Element::Active, _) => {}
            }
        }
    }

    fn deliver(&mut self, node: NodeIndex, subtask: usize, input: usize, batch: ChangeBatch) {
        if matches!(self.graph.nodes[node].kind, NodeKind::Sink { .. }) {
            self.outputs.entry(self.graph.nodes[node].name.clone()).or_default().push(batch);
            return;
        }
        let mut out = Output::new();
        self.instances[node][subtask].operator.process(input, batch, &mut out).expect("process");
        self.emit(node, subtask, out);
    }

    fn deliver_watermark(&mut self, node: NodeIndex, subtask: usize, input: usize, from: usize, watermark: Watermark) {
        let Some(instance) = self.instances[node].get_mut(subtask) else { return };
        instance.watermarks.insert((input, from), watermark);
        let senders: usize = self
            .graph
            .edges
            .iter()
            .filter(|e| e.to == node)
            .map(|e| if e.exchange == Exchange::Forward { 1 } else { self.graph.nodes[e.from].parallelism })
            .sum();
        let lowest = instance.watermarks.values().min().copied().unwrap_or(Watermark::MIN);
        if instance.watermarks.len() == senders && lowest > instance.combined {
            instance.combined = lowest;
            let mut out = Output::new();
            instance.operator.watermark(lowest, &mut out).expect("watermark");
            self.emit(node, subtask, out);
        }
    }
}

fn topological(graph: &JobGraph) -> Vec<NodeIndex> {
    let mut degree = vec![0; graph.nodes.len()];
    graph.edges.iter().for_each(|e| degree[e.to] += 1);
    let mut ready: Vec<_> = (0..graph.nodes.len()).filter(|n| degree[*n] == 0).collect();
    let mut order = Vec::new();
    while let Some(node) = ready.pop() {
        order.push(node);
        for edge in graph.edges.iter().filter(|e| e.from == node) {
            degree[edge.to] -= 1;
            if degree[edge.to] == 0 {
                ready.push(edge.to);
            }
        }
    }
    order
}
