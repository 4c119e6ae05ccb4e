//! The plan of a job: operators with types, places and changelog properties.
//!
//! ```text
//! LogicalPlan ─ convert ─> Plan (every column) ─ prune ─> Plan (columns in use) ─ props ─> checked ─> crate::stream
//!
//! #0 Source orders            id, amount                append
//! #1 Calc  <- #0              amount > 10               append
//! #2 Aggregate <- #1          GROUP BY id               retract, key (id)
//! #3 Sink <- #2
//! ```
//! # Why not DataFusion's plan
//! Its nodes keep no place in the script, know nothing of changelogs, and change with its versions. Operator ids, and with
//! them the state users have on disk, must not.
//!
//! # Invariants
//! * Nodes are in flow order: an input has a smaller number than what reads it.
//! * An expression of a node names the columns of its input by position: `$0`, `$1`, ….
//! * A source or watermark that several queries read is one node.

pub(crate) mod convert;
pub(crate) mod expr;
pub(crate) mod fingerprint;
pub(crate) mod print;
pub(crate) mod props;
pub(crate) mod prune;
pub(crate) mod pushdown;

use std::sync::Arc;

use datafusion::logical_expr::Expr;
use dflow_common::{Span, SqlType};
use dflow_connector_api::{FieldMask, Predicate, RawOption, SourceChangelog};

use crate::catalog::Table;
use crate::operators::hash_agg::AggregateFunction;

/// Index into [`Plan::nodes`].
pub(crate) type NodeId = usize;

/// A column of a node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) ty: SqlType,
}

/// What a column means, apart from its name: printed into fingerprints.
pub(crate) type Lineage = String;

/// A source as the plan reads it.
#[derive(Clone, Debug)]
pub(crate) struct SourceOp {
    pub(crate) table: Arc<Table>,
    pub(crate) options: Vec<RawOption>,
    /// Indices into the connector's schema.
    pub(crate) projection: Vec<usize>,
    /// What is read of each.
    pub(crate) masks: Vec<FieldMask>,
    pub(crate) predicate: Option<Predicate>,
    pub(crate) changelog: SourceChangelog,
}

/// An aggregate call over columns of the input.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) function: AggregateFunction,
    pub(crate) argument: Option<usize>,
    pub(crate) distinct: bool,
    pub(crate) filter: Option<usize>,
    pub(crate) span: Option<Span>,
}

/// Where rows end.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A table.
    Table { table: Arc<Table>, options: Vec<RawOption> },
    /// The caller, for a bare SELECT; the number counts them.
    Output(usize),
}

/// What a node does.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Source(Box<SourceOp>),
    /// Literal rows.
    Values(Vec<Vec<Expr>>),
    Watermark {
        /// The watermark of a row.
        expr: Expr,
        /// The time column, by name.
        column: String,
    },
    Calc {
        predicate: Option<Expr>,
        exprs: Vec<Expr>,
    },
    Union,
    Aggregate {
        group: Vec<usize>,
        calls: Vec<Call>,
    },
    Normalize {
        key: Vec<usize>,
    },
    /// Checks rows against a sink's columns.
    SinkEdge(Arc<Table>),
    Consolidate {
        key: Vec<usize>,
    },
    Sink(Target),
}

impl Op {
    /// Its name in EXPLAIN and metrics.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Op::Source(_) => "Source",
            Op::Values(_) => "Values",
            Op::Watermark { .. } => "Watermark",
            Op::Calc { .. } => "Calc",
            Op::Union => "Union",
            Op::Aggregate { calls, .. } if calls.is_empty() => "Distinct",
            Op::Aggregate { .. } => "Aggregate",
            Op::Normalize { .. } => "Normalize",
            Op::SinkEdge(_) => "Check",
            Op::Consolidate { .. } => "Consolidate",
            Op::Sink(_) => "Sink",
        }
    }

    /// Whether it keeps state.
    pub(crate) fn stateful(&self) -> bool {
        matches!(self, Op::Aggregate { .. } | Op::Normalize { .. })
    }
}

/// An operator of the plan.
#[derive(Clone, Debug)]
pub(crate) struct Rel {
    pub(crate) op: Op,
    pub(crate) inputs: Vec<NodeId>,
    pub(crate) fields: Vec<Field>,
    /// What each column means.
    pub(crate) lineage: Vec<Lineage>,
    /// Which rows they are, apart from their columns.
    pub(crate) rows: String,
    pub(crate) span: Option<Span>,
}

/// The operators of a job.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) nodes: Vec<Rel>,
}

impl Plan {
    pub(crate) fn push(&mut self, rel: Rel) -> NodeId {
        self.nodes.push(rel);
        self.nodes.len() - 1
    }

    /// The nodes that read `id`.
    pub(crate) fn consumers(&self, id: NodeId) -> impl Iterator<Item = (NodeId, &Rel)> {
        self.nodes.iter().enumerate().filter(move |(_, r)| r.inputs.contains(&id))
    }
}
