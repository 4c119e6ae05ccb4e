//! Batch mode: statement by statement on DataFusion's own execution.
//!
//! ```text
//! LogicalPlan ─ scans become bounded scans of the connectors ─> DataFusion's optimizer and ExecutionPlan ─> one epoch of the sink
//! ```
//! # Invariants
//! * Sources are bounded and append-only: [`dflow_connector_api::scan::bounded`] refuses others. Watermarks mean nothing here.
//! * The sink's writer gets all rows, prepares epoch 1, and its committer commits it: nothing shows before the statement has
//!   succeeded, where the sink can do that.
//! * The binder decides what is a valid query; batch mode runs all of it, ORDER BY and joins included.

mod guard;
mod provider;
mod run;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, DataFusionError, ScalarValue};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, LogicalPlanBuilder, TableScan};
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::{Optimizer, OptimizerContext, OptimizerRule};
use dflow_common::metrics::RECORDS_OUT;
use dflow_common::{Span, SqlType};
use dflow_connector_api::Predicate;

use crate::bind::Functions;
use crate::bind::context::planned_table;
use crate::catalog::{ColumnSource, Table, table_schema};
use crate::error::{self, Errors, Result, at};
use crate::rel;
use crate::rel::pushdown::translate;
use crate::session::merge_options;
use crate::settings::Resolved;
use crate::sink::{Feed, Mapping};
use crate::stream::build::sink_edge;
use crate::stream::connect::Connectors;
use crate::stream::output;

use provider::ScannedTable;
pub use run::BatchJob;
use run::{Destination, Statement};

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
    let plan = guard::guard(plan).map_err(|e| unplanned(&e, span))?;
    let keeps_filters = guard::keeps_filters(&plan);
    let plan = with_scans(connectors, plan, keeps_filters, span)?;
    let (plan, destination, output) = match target {
        Target::Table(mapping) => {
            let table = &mapping.table;
            let columns = table.persisted().into_iter().map(|i| &table.columns[i]);
            let destination = Destination {
                sink: connectors.sink(table, &mapping.options)?,
                name: table.id.to_string(),
                columns: columns.map(|c| (c.name.clone(), c.ty.clone())).collect(),
                edge: Some(sink_edge(table, settings)),
            };
            (project(plan, &mapping, functions).map_err(|e| unplanned(&e, span))?, destination, None)
        }
        Target::Output(columns) => {
            let (sink, query) = output(columns.clone(), true, &settings.time_zone);
            (plan, Destination { sink, name: "(result)".into(), columns, edge: None }, Some(query))
        }
    };
    let statement = Statement {
        plan,
        keeps_filters,
        destination,
        span,
        job: settings.job.name.clone(),
        parallelism: settings.parallelism,
        env: connectors.engine.env.clone(),
        metrics: connectors.engine.metrics.clone(),
    };
    Ok(BatchJob::new(description, output, statement))
}

fn unplanned(e: &DataFusionError, span: Span) -> Errors {
    at(error::BAD_QUERY, span, e.strip_backtrace(), "").into()
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
///
/// Filters are first moved as near to the tables as they go, unless the plan keeps them; what stands right above a table is offered to its connector.
/// The filter stays: a connector may ignore the offer.
fn with_scans(connectors: &Connectors<'_>, plan: LogicalPlan, keeps_filters: bool, span: Span) -> Result<LogicalPlan> {
    let mut rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![Arc::new(OptimizeProjections::new())];
    if !keeps_filters {
        rules.insert(0, Arc::new(PushDownFilter::new()));
    }
    let rules = Optimizer::with_rules(rules);
    let plan = rules.optimize(plan, &OptimizerContext::new(), |_, _| {}).map_err(|e| unplanned(&e, span))?;
    let mut refused: Option<Errors> = None;
    let mut replace = |scan: &TableScan, filter: Option<&Expr>| match opened(connectors, scan, filter) {
        Ok(Some(done)) => done.map(Some),
        Ok(None) => Ok(None),
        Err(e) => {
            refused = Some(e);
            Err(DataFusionError::Plan("refused".into()))
        }
    };
    let changed = plan.transform_down_with_subqueries(|node| match &node {
        LogicalPlan::Filter(filter) => {
            let LogicalPlan::TableScan(scan) = filter.input.as_ref() else { return Ok(Transformed::no(node)) };
            let Some(input) = replace(scan, Some(&filter.predicate))? else { return Ok(Transformed::no(node)) };
            let filter = Filter::try_new(filter.predicate.clone(), Arc::new(input))?;
            Ok(Transformed::new(LogicalPlan::Filter(filter), true, TreeNodeRecursion::Jump))
        }
        LogicalPlan::TableScan(scan) => match replace(scan, None)? {
            Some(done) => Ok(Transformed::new(done, true, TreeNodeRecursion::Jump)),
            None => Ok(Transformed::no(node)),
        },
        _ => Ok(Transformed::no(node)),
    });
    match (refused, changed) {
        (Some(errors), _) => Err(errors),
        (None, Ok(done)) => Ok(done.data),
        (None, Err(e)) => Err(unplanned(&e, span)),
    }
}

/// A scan of a planned table, opened; `None` when the scan is of something else.
fn opened(
    connectors: &Connectors<'_>,
    scan: &TableScan,
    filter: Option<&Expr>,
) -> Result<Option<datafusion::common::Result<LogicalPlan>>> {
    let Some(planned) = planned_table(&scan.source) else { return Ok(None) };
    let table = &planned.table;
    let wanted: Vec<usize> = scan.projection.clone().unwrap_or_else(|| (0..table.columns.len()).collect());
    let (schema, indices) = table.connector_schema();
    let mut read: Vec<usize> = wanted.iter().flat_map(|i| inputs_of(table, *i, &indices)).collect();
    read.sort_unstable();
    read.dedup();
    if read.is_empty() && !schema.columns.is_empty() {
        // Rows without columns cannot be counted.
        read.push(0);
    }
    let options = merge_options(&table.options, &planned.hint);
    let predicate = filter.and_then(|f| predicate(table, f, &indices));
    let opened = connectors.scan(table, options, read.clone(), predicate).map_err(|e| e.at_default(planned.span))?;
    let name = format!("source[{}]", table.id);
    let scanned = ScannedTable {
        scan: opened,
        schema: table_schema(read.iter().map(|i| (schema.columns[*i].name.as_str(), &schema.columns[*i].ty))),
        name: table.id.to_string(),
        span: planned.span,
        read: connectors.engine.metrics.counter(&RECORDS_OUT, &[&connectors.job, &name]),
    };
    let column = |i: &usize| match &table.columns[*i].source {
        ColumnSource::Computed { expr, .. } => (**expr).clone().alias(table.columns[*i].name.as_str()),
        _ => Expr::Column(Column::new_unqualified(table.columns[*i].name.clone())),
    };
    let replaced = scanned.provider().and_then(|provider| {
        LogicalPlanBuilder::scan(scan.table_name.clone(), provider_as_source(Arc::new(provider)), None)?
            .project(wanted.iter().map(column))?
            .alias(scan.table_name.clone())?
            .build()
    });
    Ok(Some(replaced))
}

/// What of a filter above a table its connector can be told.
fn predicate(table: &Table, filter: &Expr, indices: &[usize]) -> Option<Predicate> {
    let numbered = |c: &Column| match table.index_of(&c.name) {
        Some(i) => Ok(rel::expr::column(i)),
        None => Err(DataFusionError::Plan(format!("no column {}", c.name))),
    };
    let filter = rel::expr::replace_columns(filter.clone(), &numbered).ok()?;
    translate(&filter, &|i| indices.iter().position(|k| *k == i))
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
