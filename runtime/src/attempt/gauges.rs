//! Gauges of a running job, refreshed now and then from what its tasks publish.

use std::time::Duration;

use dflow_common::metrics::{
    Gauge, JOB_UPTIME, Metrics, OPERATOR_WATERMARK, SOURCE_SPLITS, STATE_BYTES, STATE_ENTRIES,
};

use crate::checkpoint::OperatorKind;
use crate::graph::{JobGraph, NodeKind};
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
}

impl Gauges {
    pub(crate) fn new(job: &str, graph: &JobGraph, metrics: &Metrics) -> Self {
        let nodes = graph.nodes.iter().map(|node| {
            let labels = [job, node.name.as_str()];
            let operator = matches!(node.kind, NodeKind::Operator(_));
            let splits = match &node.kind {
                // The splits of a shared source are read for each of its tables.
                NodeKind::Source(source) => {
                    source.outputs().iter().map(|o| metrics.gauge(&SOURCE_SPLITS, &[job, &o.table])).collect()
                }
                _ => Vec::new(),
            };
            NodeGauges {
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
            if status.kind == OperatorKind::Source {
                gauges.splits.iter().for_each(|g| {
                    g.set(status.splits as f64);
                });
            }
        }
    }
}
