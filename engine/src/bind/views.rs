//! Views by the text of their query: what it names is looked up where the view is used.
//!
//! ```text
//! CREATE TABLE t (a INT, b INT); CREATE VIEW v AS SELECT * FROM t;
//! DROP TABLE t; CREATE TABLE t (b INT, c INT, a INT);
//! SELECT * FROM v      a, b of the new t: the columns the view was created with
//! ```
//! # Invariants
//! A view has the columns and types it was created with. When its query no longer gives them, the error names the view.
//! A view does not read itself, by whatever way, and at most [`NESTED_VIEWS_MAX`] views read one another.

use std::sync::Arc;

use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use dflow_common::limits::NESTED_VIEWS_MAX;
use dflow_common::{Diagnostic, Span, SqlType};
use dflow_dsl::ast as dsl;

use super::Binder;
use super::prepass::Context;
use crate::catalog::{ObjectId, View};
use crate::error::{self, Result, at};
use crate::sink::implicit;

/// A view as a query reads it.
#[derive(Clone, Debug)]
pub(crate) struct OpenedView {
    pub(crate) plan: Arc<LogicalPlan>,
    pub(crate) columns: Vec<(String, SqlType)>,
}

/// The views whose queries are being bound, from the innermost out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain<'a> {
    view: &'a ObjectId,
    outer: Option<&'a Chain<'a>>,
}

impl Chain<'_> {
    fn all(&self) -> impl Iterator<Item = &ObjectId> {
        let links = std::iter::successors(Some(self), |link| link.outer);
        links.map(|link| link.view)
    }
}

/// Binds the query of a view that is being defined.
///
/// # Errors
/// What is wrong with the query; a view that reads itself.
pub(crate) fn define(
    binder: &Binder<'_>,
    id: &ObjectId,
    query: &dsl::Query,
) -> Result<(LogicalPlan, Vec<(String, SqlType)>)> {
    let chain = Chain { view: id, outer: None };
    let mut context = binder.context;
    context.views = Some(&chain);
    Binder::new(context).query_raw(query)
}

/// Binds a view that a query reads at `place`.
///
/// # Errors
/// A view that no longer fits what it reads, that reads itself, or lies too deep.
pub(super) fn open(context: Context<'_>, view: &View, place: Span) -> Result<OpenedView, Vec<Diagnostic>> {
    if let Some(chain) = context.views {
        if chain.all().any(|id| *id == view.id) {
            let message = format!("view `{}` reads itself", view.id.name);
            return Err(vec![at(error::BAD_VIEW, place, message, "its own definition leads here")]);
        }
        if chain.all().count() >= NESTED_VIEWS_MAX {
            let message = format!("more than {NESTED_VIEWS_MAX} views read one another");
            return Err(vec![at(error::BAD_VIEW, place, message, format!("view `{}` is one too many", view.id.name))]);
        }
    }
    let catalog = context.catalog.seen_from(&view.namespace);
    let chain = Chain { view: &view.id, outer: context.views };
    let mut inner: Context<'_> = context;
    (inner.catalog, inner.views) = (catalog.as_ref(), Some(&chain));
    let (plan, found) = Binder::new(inner).query_raw(&view.query).map_err(|errors| {
        errors.into_diagnostics().into_iter().map(|d| explained(d, view, place)).collect::<Vec<_>>()
    })?;
    fit(context, view, plan, &found).map_err(|why| vec![stale(view, place, why)])
}

/// The query's columns as those the view was created with, or why that cannot be.
fn fit(
    context: Context<'_>,
    view: &View,
    plan: LogicalPlan,
    found: &[(String, SqlType)],
) -> std::result::Result<OpenedView, String> {
    let inputs = plan.schema().columns();
    let mut exprs = Vec::with_capacity(view.columns.len());
    let mut columns = Vec::with_capacity(view.columns.len());
    for (i, (own, (name, wanted))) in view.query_columns.iter().zip(&view.columns).enumerate() {
        let same_place = found.get(i).is_some_and(|(n, _)| n == own).then_some(i);
        let Some(position) = same_place.or_else(|| found.iter().position(|(n, _)| n == own)) else {
            return Err(format!("its query has no column `{own}`"));
        };
        let ty = &found[position].1;
        let column = Expr::Column(inputs[position].clone());
        let wanted = wanted.clone().with_nullable(ty.nullable);
        let expr = match ty.kind == wanted.kind {
            true => column,
            false if implicit(ty, &wanted) => context.functions.cast_to(&wanted).call(vec![column]),
            false => return Err(format!("its column `{name}` was {wanted} and is {ty} now")),
        };
        exprs.push(expr.alias(name.as_str()));
        columns.push((name.clone(), wanted));
    }
    let plan = LogicalPlanBuilder::from(plan).project(exprs).and_then(LogicalPlanBuilder::build);
    let plan = Arc::new(plan.map_err(|e| e.strip_backtrace())?);
    Ok(OpenedView { plan, columns })
}

fn stale(view: &View, place: Span, why: String) -> Diagnostic {
    let name = &view.id.name;
    at(error::STALE_VIEW, place, format!("view `{name}` no longer fits what it reads: {why}"), "read here")
        .with_label(view.span, "defined here")
        .with_help(format!("ALTER VIEW {name} AS …, or give its tables what it asks for"))
}

/// An error inside of a view, told at the place that uses it.
fn explained(d: Diagnostic, view: &View, place: Span) -> Diagnostic {
    let names = [error::STALE_VIEW, error::BAD_VIEW, error::UNSUPPORTED].map(|c| c.code);
    if names.contains(&d.code) {
        // What is wrong lies deeper, or in the mode: the view is on the way to it.
        return d.with_label(place, format!("read through view `{}`", view.id.name));
    }
    let label = d.primary.clone();
    let stale = stale(view, place, d.message);
    match label {
        Some(label) if label.span != view.span => stale.with_label(label.span, label.text),
        _ => stale,
    }
}
