//! Batch mode: statement by statement on DataFusion's own execution.
//!
//! ```text
//! LogicalPlan ─ scans become bounded scans of the connectors ─> DataFusion's optimizer and ExecutionPlan ─> one epoch of the sink
//! ```
//! # Invariants
//! Sources are bounded and append-only: [`dflow_connector_api::scan::bounded`] refuses others. The sink's writer gets all rows, prepares
//! epoch 1, and its committer commits it: nothing shows before the statement has succeeded, where the sink can do that.

mod provider;
mod run;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DataFusionError, ScalarValue};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::{Optimizer, OptimizerContext};
use dflow_common::{Span, SqlType};
use dflow_connector_api::Sink;

use crate::bind::Functions;
use crate::bind::context::planned_table;
use crate::catalog::{ColumnSource, Table, table_schema};
use crate::error::{self, Errors, Result, at};
use crate::session::merge_options;
use crate::settings::Resolved;
use crate::sink::{Feed, Mapping};

use crate::stream::connect::Connectors;
use crate::stream::output;

pub use run::BatchJob;

/// Where the rows of a statement go.
pub(crate) enum Target {
    /// INSERT.
    Table(Box<Mapping>),
    /// A bare SELECT.
    Output(Vec<(String, SqlType)>),
}

/// Plans a statement. Opens its tables, reads nothing.
///
/// # Errors
/// Sources that have no end, options that are wrong.
pub(crate) fn plan(
    connectors: &Connectors<'_>,
    plan: LogicalPlan,
    target: Target,
    settings: &Resolved,
    functions: &Functions,
    description: String,
    span: Span,
) -> Result<BatchJob> {
    let plan = with_scans(connectors, plan, span)?;
    let internal = |e: DataFusionError| Errors::from(at(error::BAD_QUERY, span, e.strip_backtrace(), ""));
    let (plan, sink, edge, name, columns) = match target {
        Target::Table(mapping) => {
            let sink: Arc<dyn Sink> = connectors.sink(&mapping.table, &mapping.options)?;
            let plan = project(plan, &mapping, functions).map_err(internal)?;
            let columns = mapping
                .table
                .persisted()
                .into_iter()
                .map(|i| (mapping.table.columns[i].name.clone(), mapping.table.columns[i].ty.clone()))
                .collect::<Vec<_>>();
            let edge = crate::stream::build::sink_edge(&mapping.table, settings);
            (plan, sink, Some(edge), mapping.table.id.to_string(), columns)
        }
        Target::Output(columns) => {
            let (sink, query) = output(columns.clone(), true);
            let mut job =
                BatchJob::new(connectors, plan, columns, sink, None, "(result)".into(), description, settings);
            job.output = Some(query);
            return Ok(job);
        }
    };
    Ok(BatchJob::new(connectors, plan, columns, sink, edge, name, description, settings))
}

/// The columns of the sink from those of the query.
fn project(plan: LogicalPlan, mapping: &Mapping, functions: &Functions) -> datafusion::common::Result<LogicalPlan> {
    let table = &mapping.table;
    let inputs = plan.schema().columns();
    let exprs = table
        .persisted()
        .iter()
        .zip(&mapping.feeds)
        .map(|(i, feed)| {
            let column = &table.columns[*i];
            let wanted = column.ty.to_arrow();
            let e = match feed {
                Feed::Query(q) => {
                    let e = Expr::Column(inputs[*q].clone());
                    match *plan.schema().field(*q).data_type() == wanted {
                        true => e,
                        false => functions.cast_to(&column.ty).call(vec![e]),
                    }
                }
                Feed::Constant(e) => e.clone(),
                Feed::Null => Expr::Literal(ScalarValue::try_from(&wanted)?, None),
            };
            Ok(e.alias(column.name.as_str()))
        })
        .collect::<datafusion::common::Result<Vec<_>>>()?;
    LogicalPlanBuilder::from(plan).project(exprs)?.build()
}

/// Puts bounded scans of the columns in use in the place of the tables, and their computed columns on top.
fn with_scans(connectors: &Connectors<'_>, plan: LogicalPlan, span: Span) -> Result<LogicalPlan> {
    let internal = |e: DataFusionError| Errors::from(at(error::BAD_QUERY, span, e.strip_backtrace(), ""));
    let prune = Optimizer::with_rules(vec![Arc::new(OptimizeProjections::new())]);
    let plan = prune.optimize(plan, &OptimizerContext::new(), |_, _| {}).map_err(internal)?;
    let mut refused: Option<Errors> = None;
    let changed = plan.transform_up(|node| {
        let LogicalPlan::TableScan(scan) = &node else { return Ok(Transformed::no(node)) };
        let Some(planned) = planned_table(&scan.source).cloned() else { return Ok(Transformed::no(node)) };
        let table = &planned.table;
        let wanted: Vec<usize> = scan.projection.clone().unwrap_or_else(|| (0..table.columns.len()).collect());
        let (schema, indices) = table.connector_schema();
        let mut read: Vec<usize> = wanted.iter().flat_map(|i| inputs_of(table, *i, &indices)).collect();
        read.sort_unstable();
        read.dedup();
        if read.is_empty() {
            // Rows without columns cannot be counted.
            read.push(0);
        }
        let options = merge_options(&table.options, &planned.hint);
        let opened = match connectors.scan(table, options, read.clone()) {
            Ok(opened) => opened,
            Err(e) => {
                refused.get_or_insert(e.at_default(planned.span));
                return Err(DataFusionError::Plan("refused".into()));
            }
        };
        let fields = table_schema(read.iter().map(|i| (schema.columns[*i].name.as_str(), &schema.columns[*i].ty)));
        let source = provider_as_source(Arc::new(provider::table(opened, fields)?));
        let exprs: Vec<Expr> = wanted
            .iter()
            .map(|i| match &table.columns[*i].source {
                ColumnSource::Computed { expr, .. } => (**expr).clone().alias(table.columns[*i].name.as_str()),
                _ => Expr::Column(Column::new_unqualified(table.columns[*i].name.clone())),
            })
            .collect();
        let scan = LogicalPlanBuilder::scan(scan.table_name.clone(), source, None)?
            .project(exprs)?
            .alias(scan.table_name.clone())?
            .build()?;
        Ok(Transformed::yes(scan))
    });
    match (refused, changed) {
        (Some(errors), _) => Err(errors),
        (None, Ok(done)) => Ok(done.data),
        (None, Err(e)) => Err(internal(e)),
    }
}

/// The connector's columns behind a table's column.
fn inputs_of(table: &Table, column: usize, indices: &[usize]) -> Vec<usize> {
    let position = |i: usize| indices.iter().position(|k| *k == i);
    match &table.columns[column].source {
        ColumnSource::Computed { expr, .. } => {
            expr.column_refs().into_iter().filter_map(|c| table.index_of(&c.name).and_then(position)).collect()
        }
        _ => position(column).into_iter().collect(),
    }
}
