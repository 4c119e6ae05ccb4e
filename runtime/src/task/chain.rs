//! The operators of one task, joined by function calls.
//!
//! # What flows
//! ```text
//!            ┌─> Calc ──> Watermark ─┬─> sink 0         a batch runs depth first through everything that is reachable;
//!  Source ───┤                       └─> exchange 1     what reaches a sink or an exchange collects in the outbox,
//!            └─> Calc ──> sink 2                        in order, and the task sends it on
//! ```
//! Calls are synchronous. The chain holds no rows between two calls but what operators keep for their flush.
//!
//! # Invariants
//! * Per edge, order is preserved. `flush` runs in topological order, so that what an operator emits is flushed by the
//!   ones behind it in the same call.
//! * A watermark leaves a node only when it grew.
//! * A node ends when all its senders have: its watermark is then `MAX`, `end` and `flush` are called, and the end goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use dflow_common::metrics::CounterHandle;
use dflow_common::{ChangeBatch, Span};

use crate::error::Result;
use crate::graph::NodeIndex;
use crate::job::shared::{Rows, Shared};
use crate::operator::{Element, Operator, Output, SplitEvent, Watermark};
use crate::state::SnapshotWriter;
use crate::watermark::{Signal, Valve};

/// Where an output goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Route {
    /// To an input of another node of the chain, as this sender of it.
    Node { node: usize, input: usize, slot: usize },
    /// Out of the chain.
    Target(usize),
}

/// What leaves the chain.
#[derive(Debug)]
pub(crate) enum Item {
    Element(Element),
    End,
}

/// A node of the chain. Sources and sinks have no operator: they pass on.
pub(crate) struct ChainNode {
    pub(crate) node: NodeIndex,
    pub(crate) span: Option<Span>,
    pub(crate) operator: Option<Box<dyn Operator>>,
    /// Per output.
    pub(crate) routes: Vec<Vec<Route>>,
    pub(crate) valve: Valve,
    /// Senders that have not ended.
    pub(crate) open: usize,
    pub(crate) meter: Meter,
}

/// What a node counts: locally per batch, published now and then.
pub(crate) struct Meter {
    pub(crate) rows_in: u64,
    pub(crate) rows_out: u64,
    /// What was published in this attempt.
    pub(crate) published: Rows,
    pub(crate) records_in: CounterHandle,
    pub(crate) records_out: CounterHandle,
}

/// See the module.
pub(crate) struct Chain {
    pub(crate) nodes: Vec<ChainNode>,
    /// What has left and is to be sent on, by target.
    pub(crate) outbox: Vec<(usize, Item)>,
    /// The node at work, to name it after a panic.
    pub(crate) at: Arc<AtomicUsize>,
    pub(crate) subtask: usize,
    shared: Arc<Shared>,
    /// Output watermark of each node.
    emitted: Vec<Watermark>,
    /// Emission buffers, one per node, reused.
    buffers: Vec<Output>,
    running: usize,
}

impl Chain {
    pub(crate) fn new(nodes: Vec<ChainNode>, subtask: usize, shared: Arc<Shared>, at: Arc<AtomicUsize>) -> Self {
        Self {
            outbox: Vec::new(),
            at,
            subtask,
            shared,
            emitted: vec![Watermark::MIN; nodes.len()],
            buffers: nodes.iter().map(|_| Output::new()).collect(),
            running: nodes.len(),
            nodes,
        }
    }

    /// Whether every node has ended.
    pub(crate) fn ended(&self) -> bool {
        self.running == 0
    }

    /// Whether an operator waits for `flush`.
    pub(crate) fn pending(&self) -> bool {
        self.nodes.iter().any(|n| n.operator.as_ref().is_some_and(|o| o.pending_rows() > 0))
    }

    /// Rows that a source read.
    pub(crate) fn source_batch(&mut self, node: usize, output: usize, batch: ChangeBatch) -> Result<()> {
        let rows = batch.num_rows() as u64;
        self.nodes[node].meter.rows_in += rows;
        self.send(node, output, Element::Batch(batch))
    }

    /// Something happened to a split of a source; `output` when it is of one only.
    pub(crate) fn source_split(&mut self, node: usize, output: Option<usize>, event: SplitEvent) -> Result<()> {
        for o in 0..self.nodes[node].routes.len() {
            if output.is_none_or(|only| only == o) {
                self.split(node, o, event)?;
            }
        }
        Ok(())
    }

    /// A source has read everything.
    pub(crate) fn source_end(&mut self, node: usize) -> Result<()> {
        self.end(node, 0)
    }

    fn split(&mut self, node: usize, output: usize, event: SplitEvent) -> Result<()> {
        for i in 0..self.nodes[node].routes[output].len() {
            if let Route::Node { node: to, .. } = self.nodes[node].routes[output][i] {
                self.call(to, |operator, out| operator.split(event, out))?;
                if !self.nodes[to].routes.is_empty() {
                    self.split(to, 0, event)?;
                }
            }
        }
        Ok(())
    }

    /// Takes what came in at a route from outside.
    pub(crate) fn receive(&mut self, route: Route, item: Item) -> Result<()> {
        match (route, item) {
            (Route::Node { node, input, slot }, Item::Element(element)) => self.accept(node, input, slot, element),
            (Route::Node { node, slot, .. }, Item::End) => self.end(node, slot),
            (Route::Target(target), item) => {
                self.outbox.push((target, item));
                Ok(())
            }
        }
    }

    /// Flushes every operator, in order.
    pub(crate) fn flush(&mut self) -> Result<()> {
        (0..self.nodes.len()).try_for_each(|node| self.call(node, |operator, out| operator.flush(out)))
    }

    /// Lets a node's operator write its state.
    pub(crate) fn snapshot(&mut self, node: usize, writer: &mut SnapshotWriter) -> Result<()> {
        self.at.store(node, Relaxed);
        let node = &mut self.nodes[node];
        let written = node.operator.as_mut().map_or(Ok(()), |o| o.snapshot(writer));
        written.map_err(|e| e.at_default(node.span))
    }

    /// Publishes what was counted.
    pub(crate) fn publish(&mut self) {
        for node in &mut self.nodes {
            let m = &mut node.meter;
            let stats = &self.shared.nodes[node.node];
            m.published = (m.published.0 + m.rows_in, m.published.1 + m.rows_out);
            if m.rows_in > 0 {
                stats.rows_in.fetch_add(m.rows_in, Relaxed);
                m.records_in.inc_by(std::mem::take(&mut m.rows_in) as f64);
            }
            if m.rows_out > 0 {
                stats.rows_out.fetch_add(m.rows_out, Relaxed);
                m.records_out.inc_by(std::mem::take(&mut m.rows_out) as f64);
            }
        }
    }

    /// What each node has counted in this attempt.
    pub(crate) fn counted(&self) -> Vec<(NodeIndex, Rows)> {
        let sum = |m: &Meter| (m.published.0 + m.rows_in, m.published.1 + m.rows_out);
        self.nodes.iter().map(|n| (n.node, sum(&n.meter))).collect()
    }

    /// Publishes how many splits a source reads.
    pub(crate) fn count_splits(&self, source: NodeIndex, splits: u64) {
        self.shared.nodes[source].instances[self.subtask].splits.store(splits, Relaxed);
    }

    /// Publishes how much state each operator holds.
    pub(crate) fn publish_state(&self) {
        for node in &self.nodes {
            if let Some(operator) = &node.operator {
                let size = operator.state_size();
                let stats = &self.shared.nodes[node.node].instances[self.subtask];
                stats.state_entries.store(size.entries, Relaxed);
                stats.state_bytes.store(size.bytes, Relaxed);
            }
        }
    }

    fn accept(&mut self, node: usize, input: usize, slot: usize, element: Element) -> Result<()> {
        let signal = match element {
            Element::Batch(batch) => {
                self.nodes[node].meter.rows_in += batch.num_rows() as u64;
                if self.nodes[node].operator.is_none() {
                    return self.send(node, 0, Element::Batch(batch));
                }
                return self.call(node, |operator, out| operator.process(input, batch, out));
            }
            Element::Watermark(w) => Signal::Watermark(w),
            Element::Idle => Signal::Idle,
            Element::Active => Signal::Active,
        };
        self.signal(node, slot, signal)
    }

    fn signal(&mut self, node: usize, slot: usize, signal: Signal) -> Result<()> {
        let change = self.nodes[node].valve.signal(slot, signal);
        if change.active {
            self.send(node, 0, Element::Active)?;
        }
        if let Some(w) = change.watermark {
            if self.nodes[node].operator.is_some() {
                self.call(node, |operator, out| operator.watermark(w, out))?;
            } else {
                self.send(node, 0, Element::Watermark(w))?;
            }
        }
        if change.idle {
            self.send(node, 0, Element::Idle)?;
        }
        Ok(())
    }

    fn end(&mut self, node: usize, slot: usize) -> Result<()> {
        self.signal(node, slot, Signal::Watermark(Watermark::MAX))?;
        self.nodes[node].open -= 1;
        if self.nodes[node].open > 0 {
            return Ok(());
        }
        self.call(node, |operator, out| operator.end(out))?;
        self.call(node, |operator, out| operator.flush(out))?;
        self.running -= 1;
        for output in 0..self.nodes[node].routes.len() {
            for i in 0..self.nodes[node].routes[output].len() {
                self.receive(self.nodes[node].routes[output][i], Item::End)?;
            }
        }
        Ok(())
    }

    /// Calls the node's operator, if it has one, and passes on what it emits.
    fn call(&mut self, node: usize, f: impl FnOnce(&mut dyn Operator, &mut Output) -> Result<()>) -> Result<()> {
        let span = self.nodes[node].span;
        let Some(operator) = self.nodes[node].operator.as_deref_mut() else { return Ok(()) };
        self.at.store(node, Relaxed);
        f(operator, &mut self.buffers[node]).map_err(|e| e.at_default(span))?;
        if self.buffers[node].is_empty() {
            return Ok(());
        }
        // Sending may come back to no node before this one, so that its buffer is free until it is put back.
        let mut buffer = std::mem::take(&mut self.buffers[node]);
        for element in buffer.drain() {
            self.send(node, 0, element)?;
        }
        self.buffers[node] = buffer;
        Ok(())
    }

    /// Passes on one element of a node's output.
    fn send(&mut self, node: usize, output: usize, element: Element) -> Result<()> {
        match &element {
            Element::Batch(batch) => self.nodes[node].meter.rows_out += batch.num_rows() as u64,
            Element::Watermark(w) => {
                if *w <= self.emitted[node] {
                    return Ok(());
                }
                self.emitted[node] = *w;
                let stats = &self.shared.nodes[self.nodes[node].node];
                stats.instances[self.subtask].watermark.store(w.0, Relaxed);
            }
            Element::Idle | Element::Active => {
                let stats = &self.shared.nodes[self.nodes[node].node];
                stats.instances[self.subtask].idle.store(matches!(element, Element::Idle), Relaxed);
            }
        }
        let routes = self.nodes[node].routes[output].len();
        for i in 1..routes {
            self.receive(self.nodes[node].routes[output][i], Item::Element(element.clone()))?;
        }
        if routes > 0 {
            self.receive(self.nodes[node].routes[output][0], Item::Element(element))?;
        }
        Ok(())
    }
}
