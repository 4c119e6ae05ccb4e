//! Chaining: which nodes of the graph run together in one task.
//!
//! ```text
//!  Source ──Forward──> Calc ──Hash──> Aggregate ──Forward──> Sink
//!  └────── vertex 0 ──────┘           └─────── vertex 1 ───────┘       one task per vertex and subtask
//! ```
//! Nodes joined by `Forward` edges form one vertex, so that rows pass from one to the next by a function call.
//!
//! # Invariants
//! * The graph of vertices has no cycle, also where the graph of nodes has two ways around: a `Forward` edge whose
//!   chaining would close one stays an edge with a channel. (Two tasks that feed each other through bounded channels
//!   would stop for ever when both are full.)
//! * Vertices, and the nodes of each, are in topological order; both depend on the graph alone.

use std::collections::BTreeMap;

use crate::graph::{Exchange, JobGraph, NodeIndex};

/// Tasks to run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) vertices: Vec<Vertex>,
    /// Per edge of the graph: whether it is a function call inside a task.
    pub(crate) chained: Vec<bool>,
}

/// Nodes that run in one task.
#[derive(Debug)]
pub(crate) struct Vertex {
    /// In topological order.
    pub(crate) nodes: Vec<NodeIndex>,
    pub(crate) parallelism: usize,
}

/// Plans a valid graph.
pub(crate) fn plan(graph: &JobGraph) -> Plan {
    let order = topological(graph.nodes.len(), graph.edges.iter().map(|e| (e.from, e.to)));
    let order = order.expect("the graph is validated: no cycle");
    // `group[n]` names the vertex of node n by one of its nodes.
    let mut group: Vec<usize> = (0..graph.nodes.len()).collect();
    for &node in &order {
        for edge in graph.edges.iter().filter(|e| e.from == node && e.exchange == Exchange::Forward) {
            let merged = merge(&group, group[edge.from], group[edge.to]);
            if acyclic(graph, &merged) {
                group = merged;
            }
        }
    }
    let chained = |e: &crate::graph::Edge| e.exchange == Exchange::Forward && group[e.from] == group[e.to];
    let between = graph.edges.iter().filter(|e| !chained(e)).map(|e| (group[e.from], group[e.to]));
    let groups = topological(graph.nodes.len(), between).expect("merging keeps the vertices acyclic");
    let mut vertices: BTreeMap<usize, Vec<NodeIndex>> = BTreeMap::new();
    order.iter().for_each(|n| vertices.entry(group[*n]).or_default().push(*n));
    let vertices = groups
        .into_iter()
        .filter_map(|g| vertices.remove(&g))
        .map(|nodes| Vertex { parallelism: graph.nodes[nodes[0]].parallelism, nodes })
        .collect();
    Plan { vertices, chained: graph.edges.iter().map(chained).collect() }
}

fn merge(group: &[usize], a: usize, b: usize) -> Vec<usize> {
    group.iter().map(|g| if *g == b { a } else { *g }).collect()
}

/// Whether these vertices can be fed one after the other.
fn acyclic(graph: &JobGraph, group: &[usize]) -> bool {
    let outside = graph.edges.iter().filter(|e| e.exchange != Exchange::Forward || group[e.from] != group[e.to]);
    topological(group.len(), outside.map(|e| (group[e.from], group[e.to]))).is_some()
}

/// Kahn's algorithm, smallest number first; `None` when there is a cycle.
fn topological(nodes: usize, edges: impl Iterator<Item = (usize, usize)>) -> Option<Vec<usize>> {
    let edges: Vec<_> = edges.collect();
    let mut degree = vec![0; nodes];
    edges.iter().for_each(|(_, to)| degree[*to] += 1);
    let mut ready: std::collections::BTreeSet<usize> = (0..nodes).filter(|n| degree[*n] == 0).collect();
    let mut order = Vec::with_capacity(nodes);
    while let Some(node) = ready.pop_first() {
        order.push(node);
        for (_, to) in edges.iter().filter(|(from, _)| *from == node) {
            degree[*to] -= 1;
            if degree[*to] == 0 {
                ready.insert(*to);
            }
        }
    }
    (order.len() == nodes).then_some(order)
}

#[cfg(test)]
mod tests {
    use dflow_common::OperatorId;

    use super::*;
    use crate::graph::{Node, NodeKind};
    use crate::operator::{Operator, OperatorContext, OperatorFactory};

    struct Nothing;

    impl OperatorFactory for Nothing {
        fn create(&self, _: &OperatorContext) -> crate::Result<Box<dyn Operator>> {
            Err(crate::Error::internal("planned only"))
        }
    }

    fn vertices(nodes: usize, edges: &[(usize, usize, Exchange)]) -> Vec<Vec<usize>> {
        let mut graph = JobGraph::default();
        for i in 0..nodes {
            graph.node(Node {
                id: OperatorId(format!("{i:016x}")),
                name: format!("n{i}"),
                description: String::new(),
                span: None,
                origin: Default::default(),
                parallelism: 2,
                kind: NodeKind::Operator(std::sync::Arc::new(Nothing)),
            });
        }
        for (from, to, exchange) in edges {
            let input = graph.edges.iter().filter(|e| e.to == *to).count();
            graph.edge(*from, *to, input, exchange.clone());
        }
        graph.validate().unwrap();
        plan(&graph).vertices.into_iter().map(|v| v.nodes).collect()
    }

    fn hash() -> Exchange {
        Exchange::Hash(vec![0])
    }

    #[test]
    fn forward_edges_chain_and_a_hash_edge_cuts() {
        let f = Exchange::Forward;
        assert_eq!(vertices(3, &[(0, 1, f.clone()), (1, 2, f.clone())]), [vec![0, 1, 2]]);
        assert_eq!(vertices(4, &[(0, 1, f.clone()), (1, 2, hash()), (2, 3, f.clone())]), [vec![0, 1], vec![2, 3]]);
        assert_eq!(vertices(3, &[(0, 1, f.clone()), (0, 2, f)]), [vec![0, 1, 2]], "a shared source fans out inside");
    }

    #[test]
    fn a_way_around_through_an_exchange_is_not_chained_into_a_cycle() {
        // 0 ─F─> 1 ─F─> 3 and 0 ─Hash─> 2 ─F─> 3: all four in one vertex would feed itself.
        let f = Exchange::Forward;
        let v = vertices(4, &[(0, 1, f.clone()), (1, 3, f.clone()), (0, 2, hash()), (2, 3, f)]);
        assert_eq!(v, [vec![0, 1], vec![2, 3]]);
    }
}
