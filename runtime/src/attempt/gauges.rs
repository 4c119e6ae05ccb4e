//! Gauges of a running job, refreshed now and then from what its tasks publish.

use std::time::Duration;

use dflow_common::metrics::{
    Gauge, JOB_UPTIME, Metrics, OPERATOR_WATERMARK, SOURCE_IDLE, SOURCE_SPLITS, STATE_BYTES, STATE_ENTRIES,
};

use crate::checkpoint::OperatorKind;
use crate::graph::{Exchange, JobGraph, NodeIndex, NodeKind};
use crate::job::shared::Shared;

/// Handles, taken once.
pub(crate) struct Gauges {
    uptime: Gauge,
    nodes: Vec<NodeGauges>,
}

struct NodeGauges {
    watermark: Gauge,
    entries: Option<Gauge>,
    bytes: Option<Gauge>,
    splits: Vec<Gauge>,
    /// Per table of a source: its gauge, and the nodes chained behind it. One of them, the one that assigns watermarks,
    /// says when the source is idle; those behind it repeat it.
    idle: Vec<(Gauge, Vec<NodeIndex>)>,
}

impl Gauges {
    pub(crate) fn new(job: &str, graph: &JobGraph, metrics: &Metrics) -> Self {
        let nodes = graph.nodes.iter().enumerate().map(|(index, node)| {
            let labels = [job, node.name.as_str()];
            let operator = matches!(node.kind, NodeKind::Operator(_));
            let splits = match &node.kind {
                // The splits of a shared source are read for each of its tables.
                NodeKind::Source(source) => {
                    source.outputs().iter().map(|o| metrics.gauge(&SOURCE_SPLITS, &[job, &o.table])).collect()
                }
                _ => Vec::new(),
            };
            let idle = match &node.kind {
                NodeKind::Source(source) => {
                    let table = |(i, o): (usize, &dflow_connector_api::OutputSchema)| {
                        (metrics.gauge(&SOURCE_IDLE, &[job, &o.table]), behind(graph, index, i))
                    };
                    source.outputs().iter().enumerate().map(table).collect()
                }
                _ => Vec::new(),
            };
            NodeGauges {
                idle,
                watermark: metrics.gauge(&OPERATOR_WATERMARK, &labels),
                entries: operator.then(|| metrics.gauge(&STATE_ENTRIES, &labels)),
                bytes: operator.then(|| metrics.gauge(&STATE_BYTES, &labels)),
                splits,
            }
        });
        Self { uptime: metrics.gauge(&JOB_UPTIME, &[job]), nodes: nodes.collect() }
    }

    pub(crate) fn refresh(&self, shared: &Shared, uptime: Duration) {
        self.uptime.set(uptime.as_secs_f64());
        for (gauges, stats) in self.nodes.iter().zip(&shared.nodes) {
            let status = stats.status();
            if let Some(w) = status.watermark_us {
                gauges.watermark.set(w as f64 / 1e6);
            }
            if let Some(gauge) = &gauges.entries {
                gauge.set(status.state.entries as f64);
            }
            if let Some(gauge) = &gauges.bytes {
                gauge.set(status.state.bytes as f64);
            }
            for (gauge, nodes) in &gauges.idle {
                gauge.set(f64::from(nodes.iter().any(|n| shared.nodes[*n].idle())));
            }
            if status.kind == OperatorKind::Source {
                gauges.splits.iter().for_each(|g| {
                    g.set(status.splits as f64);
                });
            }
        }
    }
}

/// The nodes that are reached from an output through `Forward` edges only.
fn behind(graph: &JobGraph, source: NodeIndex, output: usize) -> Vec<NodeIndex> {
    let mut found = Vec::new();
    let mut next = vec![(source, output)];
    while let Some((node, output)) = next.pop() {
        for edge in graph.edges.iter().filter(|e| (e.from, e.output) == (node, output)) {
            if edge.exchange == Exchange::Forward && !found.contains(&edge.to) {
                found.push(edge.to);
                next.push((edge.to, 0));
            }
        }
    }
    found
}
