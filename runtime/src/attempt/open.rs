//! From a plan and a claimed checkpoint to tasks that are ready to run.
//!
//! Order matters: sinks recover what the checkpoint holds *before* any writer opens ([`recover_sinks`]); then every
//! task, each on its own, makes its operators, restores their state, and opens its readers and writers.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use dflow_common::metrics::{OPERATOR_BACKPRESSURED, OPERATOR_BUSY, RECORDS_IN, RECORDS_OUT};
use dflow_common::{Epoch, OperatorId};
use dflow_connector_api::{Committer, CommitterContext, ReaderContext, SourceContext, WriterContext};
use tokio::sync::mpsc;

use crate::channel::{Inbox, Sender};
use crate::checkpoint::{Claimed, InstanceId};
use crate::error::{Error, Result, panic_error};
use crate::exchange::Outgoing;
use crate::failpoint::{self, pass};
use crate::graph::{Exchange, JobGraph, Node, NodeIndex, NodeKind};
use crate::job::Job;
use crate::job::shared::Shared;
use crate::keys;
use crate::operator::OperatorContext;
use crate::plan::Plan;
use crate::state::{StateReader, StoredRows};
use crate::task::chain::{Chain, ChainNode, Meter, Route};
use crate::task::source::{FromReader, ReaderCommand, SourceInput};
use crate::task::{AttemptContext, LoopState, SinkOut, Stateful, Target, Task};
use crate::watermark::Valve;

/// Committers by sink; sinks without one commit nothing.
pub(crate) type Committers = BTreeMap<NodeIndex, Box<dyn Committer>>;

/// Runs connector or operator code that is not inside a task.
pub(crate) fn contain<T>(place: &str, f: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| Err(panic_error(place, panic.as_ref())))
}

/// Opens the committers and lets each finish what the restored checkpoint holds.
pub(crate) async fn recover_sinks(job: &Job, claimed: &Claimed) -> Result<Committers> {
    let restored = claimed.restored.as_ref();
    let mut committers = Committers::new();
    for (index, node) in job.graph.nodes.iter().enumerate() {
        let NodeKind::Sink { sink, .. } = &node.kind else { continue };
        let context = CommitterContext {
            job: job.config.name.clone(),
            owner: claimed.owner.clone(),
            sink: node.id.0.clone(),
            env: job.env.clone(),
            metrics: job.metrics.clone(),
            stage: job.store.stage(),
        };
        let committer = contain(&node.name, || Ok(sink.committer(&context)?)).map_err(|e| e.at_default(node.span))?;
        let Some(mut committer) = committer else { continue };
        let epoch = restored.map_or(Epoch(0), |c| c.epoch);
        let pending = restored.and_then(|c| c.sinks.get(&node.id)).map(|s| s.committables.clone()).unwrap_or_default();
        committer.recover(epoch, pending).await.map_err(|e| Error::from(e).at_default(node.span))?;
        committers.insert(index, committer);
    }
    Ok(committers)
}

/// The ends of the queues between an enumerator and its readers.
pub(crate) struct SourceQueues {
    pub(crate) from_readers: mpsc::UnboundedReceiver<FromReader>,
    pub(crate) readers: Vec<mpsc::UnboundedSender<ReaderCommand>>,
}

/// Everything that is needed to open one task, apart from all others.
pub(crate) struct TaskSeed {
    number: usize,
    nodes: Vec<NodeIndex>,
    subtask: usize,
    inbox: Inbox,
    /// Per input of the inbox: the edge, and which of its senders.
    inputs: Vec<(usize, usize)>,
    /// Per outgoing edge: the receivers.
    outputs: Vec<(usize, Vec<Sender>)>,
    sources: HashMap<NodeIndex, (mpsc::UnboundedReceiver<ReaderCommand>, mpsc::UnboundedSender<FromReader>)>,
}

impl TaskSeed {
    /// The names of its nodes, in the order of the chain.
    pub(crate) fn names(&self, graph: &JobGraph) -> Vec<String> {
        self.nodes.iter().map(|n| graph.nodes[*n].name.clone()).collect()
    }
}

/// Lays out all tasks and the queues between them.
pub(crate) fn lay_out(job: &Job, plan: &Plan) -> (Vec<TaskSeed>, BTreeMap<NodeIndex, SourceQueues>) {
    let graph = &job.graph;
    let mut queues = BTreeMap::new();
    let mut seeds: Vec<TaskSeed> = Vec::new();
    // Seeds of a vertex are consecutive; where each begins.
    let mut first: HashMap<NodeIndex, usize> = HashMap::new();
    for vertex in &plan.vertices {
        vertex.nodes.iter().for_each(|n| {
            first.insert(*n, seeds.len());
        });
        for subtask in 0..vertex.parallelism {
            seeds.push(TaskSeed {
                number: seeds.len(),
                nodes: vertex.nodes.clone(),
                subtask,
                inbox: Inbox::default(),
                inputs: Vec::new(),
                outputs: Vec::new(),
                sources: HashMap::new(),
            });
        }
    }
    for (index, edge) in graph.edges.iter().enumerate().filter(|(i, _)| !plan.chained[*i]) {
        for from in 0..graph.nodes[edge.from].parallelism {
            let receivers: Vec<usize> = match edge.exchange {
                Exchange::Forward => vec![from],
                Exchange::Hash(_) | Exchange::Rebalance => (0..graph.nodes[edge.to].parallelism).collect(),
            };
            let connect = |to: &usize| {
                let seed = &mut seeds[first[&edge.to] + to];
                let sender = if edge.exchange == Exchange::Forward { 0 } else { from };
                seed.inputs.push((index, sender));
                seed.inbox.add(job.config.channel)
            };
            let senders = receivers.iter().map(connect).collect();
            seeds[first[&edge.from] + from].outputs.push((index, senders));
        }
    }
    for (index, node) in graph.nodes.iter().enumerate() {
        if !matches!(node.kind, NodeKind::Source(_)) {
            continue;
        }
        let (to_enumerator, from_readers) = mpsc::unbounded_channel();
        let mut readers = Vec::new();
        for subtask in 0..node.parallelism {
            let (commands, receiver) = mpsc::unbounded_channel();
            readers.push(commands);
            seeds[first[&index] + subtask].sources.insert(index, (receiver, to_enumerator.clone()));
        }
        queues.insert(index, SourceQueues { from_readers, readers });
    }
    (seeds, queues)
}

/// What every task of an attempt is opened with.
pub(crate) struct Opener {
    pub(crate) job: Arc<Job>,
    /// Of the claim.
    pub(crate) owner: String,
    pub(crate) shared: Arc<Shared>,
    pub(crate) context: AttemptContext,
    /// The restored checkpoint; `None` starts fresh.
    pub(crate) restored: Option<Epoch>,
}

impl Opener {
    /// Makes operators, restores them, opens readers and writers.
    pub(crate) async fn open(
        &self,
        mut seed: TaskSeed,
        activity: Arc<AtomicU64>,
        at: Arc<AtomicUsize>,
    ) -> Result<Task> {
        let graph = &self.job.graph;
        let local: HashMap<NodeIndex, usize> = seed.nodes.iter().enumerate().map(|(i, n)| (*n, i)).collect();
        let mut targets: Vec<Target> = Vec::new();
        let mut edge_target: HashMap<usize, usize> = HashMap::new();
        for (edge, receivers) in seed.outputs.drain(..) {
            let exchange = graph.edges[edge].exchange.clone();
            edge_target.insert(edge, targets.len());
            let groups = self.job.config.max_parallelism;
            targets.push(Target::Exchange(Outgoing::new(exchange, receivers, groups, seed.subtask)));
        }
        let (mut nodes, mut stateful, mut sources) = (Vec::new(), Vec::new(), Vec::new());
        for (chain_node, index) in seed.nodes.iter().copied().enumerate() {
            at.store(chain_node, std::sync::atomic::Ordering::Relaxed);
            let node = &graph.nodes[index];
            let mut outputs = 1;
            let mut operator = None;
            let mut sink_target = None;
            match &node.kind {
                NodeKind::Source(source) => {
                    outputs = source.outputs().len().max(1);
                    let context = ReaderContext { source: self.source_context(node), subtask: seed.subtask };
                    let reader = source.reader(&context).map_err(|e| Error::from(e).at_default(node.span))?;
                    let (commands, enumerator) =
                        seed.sources.remove(&index).ok_or_else(|| Error::internal("a source without its queues"))?;
                    sources.push(SourceInput {
                        node: index,
                        chain_node,
                        subtask: seed.subtask,
                        span: node.span,
                        reader,
                        commands,
                        enumerator,
                        splits: HashMap::new(),
                        current: vec![None; outputs],
                        latest: None,
                        blocked: false,
                        stopped: false,
                        ended: false,
                    });
                }
                NodeKind::Operator(factory) => {
                    let context = self.operator_context(node, seed.subtask);
                    let mut made = factory.create(&context).map_err(|e| e.at_default(node.span))?;
                    let tables = factory.tables();
                    if !tables.is_empty() {
                        let rows = self.load(&node.id, tables.len(), context.key_groups.clone()).await?;
                        if let Some(rows) = rows {
                            let mut reader = StateReader::new(context.key_groups.clone(), rows);
                            made.restore(&mut reader).map_err(|e| e.at_default(node.span))?;
                        }
                        stateful.push(Stateful {
                            chain_node,
                            instance: InstanceId { operator: node.id.clone(), subtask: seed.subtask },
                            key_groups: context.key_groups,
                            schemas: tables.into_iter().map(|t| t.schema).collect(),
                        });
                    }
                    operator = Some(made);
                }
                NodeKind::Sink { sink, flush_at_barriers_only } => {
                    let context = self.writer_context(node, seed.subtask);
                    let writer = sink.writer(&context).map_err(|e| Error::from(e).at_default(node.span))?;
                    sink_target = Some(targets.len());
                    targets.push(Target::Sink(SinkOut {
                        node: index,
                        span: node.span,
                        writer,
                        flush_at_barriers_only: *flush_at_barriers_only,
                        unflushed: false,
                        prepared: Vec::new(),
                    }));
                }
            }
            let mut routes: Vec<Vec<Route>> = vec![Vec::new(); outputs];
            for (e, edge) in graph.edges.iter().enumerate().filter(|(_, edge)| edge.from == index) {
                routes[edge.output].push(match edge_target.get(&e) {
                    Some(target) => Route::Target(*target),
                    None => Route::Node { node: local[&edge.to], input: edge.input, slot: self.slot(edge.to, e, 0) },
                });
            }
            routes[0].extend(sink_target.map(Route::Target));
            let senders = self.senders(index).max(1);
            nodes.push(ChainNode {
                node: index,
                span: node.span,
                operator,
                routes,
                valve: Valve::new(senders),
                open: senders,
                meter: self.meter(node),
            });
        }
        let inputs = seed.inputs.iter().map(|(e, sender)| {
            let edge = &graph.edges[*e];
            Route::Node { node: local[&edge.to], input: edge.input, slot: self.slot(edge.to, *e, *sender) }
        });
        let inputs = inputs.collect();
        let head = &graph.nodes[seed.nodes[0]].name;
        let labels = [self.job.config.name.as_str(), head.as_str()];
        Ok(Task {
            number: seed.number,
            context: self.context.clone(),
            emission: self.job.config.emission.clone(),
            watermark_interval: self.job.config.watermark_interval,
            chain: Chain::new(nodes, seed.subtask, Arc::clone(&self.shared), at),
            inbox: seed.inbox,
            inputs,
            sources,
            targets,
            stateful,
            activity,
            busy: self.job.metrics.counter(&OPERATOR_BUSY, &labels),
            backpressured: self.job.metrics.counter(&OPERATOR_BACKPRESSURED, &labels),
            state: LoopState::default(),
        })
    }

    /// How many tasks send to one instance of a node through an edge.
    fn senders_of(&self, edge: usize) -> usize {
        let e = &self.job.graph.edges[edge];
        match e.exchange {
            Exchange::Forward => 1,
            Exchange::Hash(_) | Exchange::Rebalance => self.job.graph.nodes[e.from].parallelism,
        }
    }

    /// How many tasks and chained nodes send to one instance of a node.
    fn senders(&self, node: NodeIndex) -> usize {
        self.edges_into(node).map(|e| self.senders_of(e)).sum()
    }

    /// The number of a sender among all senders of a node.
    fn slot(&self, node: NodeIndex, edge: usize, sender: usize) -> usize {
        self.edges_into(node).take_while(|e| *e != edge).map(|e| self.senders_of(e)).sum::<usize>() + sender
    }

    fn edges_into(&self, node: NodeIndex) -> impl Iterator<Item = usize> {
        self.job.graph.edges.iter().enumerate().filter(move |(_, e)| e.to == node).map(|(i, _)| i)
    }

    /// The stored rows of all tables of an operator; `None` on a fresh start.
    async fn load(
        &self,
        operator: &OperatorId,
        tables: usize,
        groups: std::ops::Range<dflow_common::ids::KeyGroup>,
    ) -> Result<Option<Vec<StoredRows>>> {
        if self.restored.is_none() {
            return Ok(None);
        }
        pass(&self.context.env, failpoint::BEFORE_RESTORE).await?;
        let mut rows = Vec::with_capacity(tables);
        for table in 0..tables {
            rows.push(self.context.store.restore(operator, table, groups.clone()).await?);
        }
        Ok(Some(rows))
    }

    fn meter(&self, node: &Node) -> Meter {
        let labels = [self.job.config.name.as_str(), node.name.as_str()];
        Meter {
            rows_in: 0,
            rows_out: 0,
            published: (0, 0),
            records_in: self.job.metrics.counter(&RECORDS_IN, &labels),
            records_out: self.job.metrics.counter(&RECORDS_OUT, &labels),
        }
    }

    /// For readers and the enumerator of a source.
    pub(crate) fn source_context(&self, node: &Node) -> SourceContext {
        SourceContext {
            job: self.job.config.name.clone(),
            parallelism: node.parallelism,
            env: self.job.env.clone(),
            metrics: self.job.metrics.clone(),
        }
    }

    fn operator_context(&self, node: &Node, subtask: usize) -> OperatorContext {
        let max_parallelism = self.job.config.max_parallelism;
        OperatorContext {
            job: self.job.config.name.clone(),
            id: node.id.clone(),
            name: node.name.clone(),
            subtask,
            parallelism: node.parallelism,
            key_groups: keys::group_range(max_parallelism, node.parallelism, subtask),
            max_parallelism,
            env: self.job.env.clone(),
            metrics: self.job.metrics.clone(),
        }
    }

    fn writer_context(&self, node: &Node, subtask: usize) -> WriterContext {
        WriterContext {
            job: self.job.config.name.clone(),
            owner: self.owner.clone(),
            sink: node.id.0.clone(),
            subtask,
            parallelism: node.parallelism,
            restored: self.restored.unwrap_or_default(),
            env: self.job.env.clone(),
            metrics: self.job.metrics.clone(),
            stage: self.context.store.stage(),
        }
    }
}
