//! The job graph: what the engine hands to the runtime.
//!
//! ```text
//!  Source#0 ──Forward──> Calc ──Hash[0]──> Aggregate ──Forward──> Sink
//!     └──────Forward──> Sink                               nodes joined by Forward edges are chained into one task
//! ```
//! # Invariants
//! Acyclic; every operator input has exactly one edge; sinks have one input and no output; node ids are unique.
//! [`JobGraph::validate`] checks them.

use std::sync::Arc;

use dflow_common::{OperatorId, Span};
use dflow_connector_api::{Sink, Source};

use crate::checkpoint::Origin;
use crate::error::{Error, Result};
use crate::operator::OperatorFactory;

/// Index of a node in [`JobGraph::nodes`].
pub type NodeIndex = usize;

/// A node's work.
#[derive(Clone)]
pub enum NodeKind {
    /// Reads. Edge `output`s are indices into [`Source::outputs`].
    Source(Arc<dyn Source>),
    /// Computes.
    Operator(Arc<dyn OperatorFactory>),
    /// Writes.
    Sink {
        /// Where to.
        sink: Arc<dyn Sink>,
        /// Whether rows may only be flushed at barriers: the input crosses an exchange that is not hashed on the
        /// sink's key, so within an epoch `+new` may arrive before `-old`.
        flush_at_barriers_only: bool,
    },
}

/// One operator of the graph.
#[derive(Clone)]
pub struct Node {
    /// Identity of its state.
    pub id: OperatorId,
    /// Short name for metrics and messages, such as `aggregate[2]`.
    pub name: String,
    /// What it computes, as text, kept in the manifest for messages about old state.
    pub description: String,
    /// The script text it comes from.
    pub span: Option<Span>,
    /// The same in words, kept in the manifest too.
    pub origin: Origin,
    /// How many instances.
    pub parallelism: usize,
    /// Its work.
    pub kind: NodeKind,
}

/// How rows move along an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// To the instance of the same number. Both sides have the same parallelism; they are chained.
    Forward,
    /// By the key group of these columns; no columns: everything to key group 0's owner.
    Hash(Vec<usize>),
    /// Round robin by batch, to change the parallelism of keyless streams.
    Rebalance,
}

/// An edge.
#[derive(Clone, Debug)]
pub struct Edge {
    /// From this node…
    pub from: NodeIndex,
    /// …its output (0 unless a source with several)…
    pub output: usize,
    /// …to this node…
    pub to: NodeIndex,
    /// …its input.
    pub input: usize,
    /// How.
    pub exchange: Exchange,
}

/// A job.
#[derive(Clone, Default)]
pub struct JobGraph {
    /// All nodes.
    pub nodes: Vec<Node>,
    /// All edges.
    pub edges: Vec<Edge>,
}

impl JobGraph {
    /// Adds a node.
    pub fn node(&mut self, node: Node) -> NodeIndex {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Connects output 0 of `from` with an input of `to`.
    pub fn edge(&mut self, from: NodeIndex, to: NodeIndex, input: usize, exchange: Exchange) {
        self.edges.push(Edge { from, output: 0, to, input, exchange });
    }

    /// The sinks that a node's rows reach; itself when it is one.
    pub(crate) fn feeds(&self, node: NodeIndex) -> Vec<OperatorId> {
        let (mut reached, mut next) = (vec![false; self.nodes.len()], vec![node]);
        while let Some(at) = next.pop() {
            if !std::mem::replace(&mut reached[at], true) {
                next.extend(self.edges.iter().filter(|e| e.from == at).map(|e| e.to));
            }
        }
        let sinks = self.nodes.iter().zip(reached).filter(|(n, r)| *r && matches!(n.kind, NodeKind::Sink { .. }));
        sinks.map(|(n, _)| n.id.clone()).collect()
    }

    /// Checks the invariants.
    ///
    /// # Errors
    /// [`crate::error::INTERNAL`]: the planner built a broken graph.
    pub fn validate(&self) -> Result<()> {
        let broken = |why: String| Err(Error::internal(format!("job graph: {why}")));
        let mut ids: Vec<_> = self.nodes.iter().map(|n| &n.id).collect();
        ids.sort();
        if let Some(pair) = ids.windows(2).find(|p| p[0] == p[1]) {
            return broken(format!("two operators with id {}", pair[0]));
        }
        let mut inputs: Vec<_> = self.edges.iter().map(|e| (e.to, e.input)).collect();
        inputs.sort_unstable();
        if let Some(pair) = inputs.windows(2).find(|p| p[0] == p[1]) {
            return broken(format!("two edges into input {} of {}", pair[0].1, self.nodes[pair[0].0].name));
        }
        for edge in &self.edges {
            let (from, to) = (&self.nodes[edge.from], &self.nodes[edge.to]);
            if matches!(from.kind, NodeKind::Sink { .. }) || matches!(to.kind, NodeKind::Source(_)) {
                return broken(format!("edge from {} to {}", from.name, to.name));
            }
            if edge.exchange == Exchange::Forward && from.parallelism != to.parallelism {
                return broken(format!("forward edge between {} and {} of other parallelism", from.name, to.name));
            }
        }
        // Kahn's algorithm: what is left over is in a cycle.
        let mut degree: Vec<usize> = vec![0; self.nodes.len()];
        self.edges.iter().for_each(|e| degree[e.to] += 1);
        let mut ready: Vec<usize> = (0..self.nodes.len()).filter(|i| degree[*i] == 0).collect();
        let mut seen = 0;
        while let Some(i) = ready.pop() {
            seen += 1;
            for e in self.edges.iter().filter(|e| e.from == i) {
                degree[e.to] -= 1;
                if degree[e.to] == 0 {
                    ready.push(e.to);
                }
            }
        }
        if seen < self.nodes.len() { broken("it has a cycle".into()) } else { Ok(()) }
    }
}
