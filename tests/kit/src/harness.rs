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
use dflow_runtime::operator::{Element, Operator, OperatorContext, Output, SplitEvent, Watermark};
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
    /// Per table, what was snapshotted since its last base.
    history: Vec<Vec<StateRows>>,
    /// Per table, whether a delta may be asked for.
    has_base: Vec<bool>,
}

/// What an instance, also one of a sink, was told about time.
struct Inbox {
    /// Watermark per (input, sending subtask).
    watermarks: BTreeMap<(usize, usize), Watermark>,
    combined: Watermark,
}

/// A running graph.
pub struct SyncJob {
    graph: JobGraph,
    order: Vec<NodeIndex>,
    instances: Vec<Vec<Instance>>,
    inboxes: Vec<Vec<Inbox>>,
    /// Per sink, batches with the subtask that would write them.
    outputs: BTreeMap<String, Vec<(usize, ChangeBatch)>>,
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
                            let stored = |table| checkpoint.0.get(&(node.id.0.clone(), table)).cloned();
                            let stored = (0..tables).map(|t| stored(t).unwrap_or_default().into()).collect();
                            let mut reader = StateReader::new(context.key_groups.clone(), stored);
                            operator.restore(&mut reader).expect("operators restore their own state");
                        }
                        Instance { operator, history: vec![Vec::new(); tables], has_base: vec![false; tables] }
                    })
                    .collect(),
            );
        }
        let order = topological(&graph);
        let inbox = |_| Inbox { watermarks: BTreeMap::new(), combined: Watermark::MIN };
        let inboxes = graph.nodes.iter().map(|n| (0..n.parallelism).map(inbox).collect()).collect();
        let mut job = Self {
            graph,
            order,
            instances,
            inboxes,
            outputs: BTreeMap::new(),
            max_parallelism,
            rng: SeededRng::new(seed),
            round_robin: 0,
        };
        job.split(SplitEvent::Added(0));
        job
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

    /// Time passes for the sources: watermarks that grew are sent.
    pub fn tick(&mut self, now_us: u64) {
        self.split(SplitEvent::Tick(now_us));
    }

    /// Flushes one instance of one operator, as a task does whose inbox runs empty.
    pub fn flush_one(&mut self) {
        let operators: Vec<_> = (0..self.instances.len()).filter(|n| !self.instances[*n].is_empty()).collect();
        if operators.is_empty() {
            return;
        }
        let node = operators[self.rng.below(operators.len() as u64) as usize];
        let subtask = self.rng.below(self.instances[node].len() as u64) as usize;
        self.flush(node, subtask);
    }

    fn flush(&mut self, node: NodeIndex, subtask: usize) {
        let mut out = Output::new();
        self.instances[node][subtask].operator.flush(&mut out).expect("flush");
        self.emit(node, subtask, out);
    }

    /// The least watermark over all instances of all sinks.
    pub fn sink_watermark(&self) -> Watermark {
        let sinks = (0..self.graph.nodes.len()).filter(|n| matches!(self.graph.nodes[*n].kind, NodeKind::Sink { .. }));
        sinks.flat_map(|n| &self.inboxes[n]).map(|i| i.combined).min().unwrap_or(Watermark::MIN)
    }

    /// Tells the operators in the tasks of all sources.
    fn split(&mut self, event: SplitEvent) {
        let sources = |n: &usize| matches!(self.graph.nodes[*n].kind, NodeKind::Source(_));
        for source in (0..self.graph.nodes.len()).filter(sources).collect::<Vec<_>>() {
            for subtask in 0..self.graph.nodes[source].parallelism {
                self.split_behind(source, subtask, event);
            }
        }
    }

    fn split_behind(&mut self, node: NodeIndex, subtask: usize, event: SplitEvent) {
        let chained = |e: &&dflow_runtime::graph::Edge| e.from == node && e.exchange == Exchange::Forward;
        for next in self.graph.edges.iter().filter(chained).map(|e| e.to).collect::<Vec<_>>() {
            let Some(instance) = self.instances[next].get_mut(subtask) else { continue };
            let mut out = Output::new();
            instance.operator.split(event, &mut out).expect("split");
            self.emit(next, subtask, out);
            self.split_behind(next, subtask, event);
        }
    }

    /// Flushes everything and takes a checkpoint; each table is written as base or delta by chance.
    pub fn barrier(&mut self) -> Checkpoint {
        for node in self.order.clone() {
            (0..self.instances[node].len()).for_each(|subtask| self.flush(node, subtask));
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

    /// What arrived at all sinks since the last call, with the subtask of the sink; for graphs with one sink.
    pub fn take_outputs(&mut self) -> Vec<(usize, ChangeBatch)> {
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
            self.outputs.entry(self.graph.nodes[node].name.clone()).or_default().push((subtask, batch));
            return;
        }
        let mut out = Output::new();
        self.instances[node][subtask].operator.process(input, batch, &mut out).expect("process");
        self.emit(node, subtask, out);
    }

    fn deliver_watermark(&mut self, node: NodeIndex, subtask: usize, input: usize, from: usize, watermark: Watermark) {
        let inbox = &mut self.inboxes[node][subtask];
        inbox.watermarks.insert((input, from), watermark);
        let senders: usize = self
            .graph
            .edges
            .iter()
            .filter(|e| e.to == node)
            .map(|e| if e.exchange == Exchange::Forward { 1 } else { self.graph.nodes[e.from].parallelism })
            .sum();
        let lowest = inbox.watermarks.values().min().copied().unwrap_or(Watermark::MIN);
        if inbox.watermarks.len() == senders && lowest > inbox.combined {
            inbox.combined = lowest;
            let Some(instance) = self.instances[node].get_mut(subtask) else { return };
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
