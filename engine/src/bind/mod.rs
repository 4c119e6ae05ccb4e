//! From a query's text to a typed logical plan: names, types, and every error with its place.
//!
//! ```text
//! dsl::Query ─ prepass ─> sqlparser tree ─ SqlToRel ─> LogicalPlan ─ coercion, constants ─> LogicalPlan ─> crate::rel
//! ```
//! # Why DataFusion without its session
//! Its planner and its rules resolve names and types well; its execution is not ours in a stream. The list of rules is
//! short on purpose: what decides about state (pruning, push-down, sharing) happens on [`crate::rel`], so that an update of
//! DataFusion does not move operator ids.
//!
//! # Invariants
//! Errors are diagnostics of ours. An error of one statement does not hide those of another.

pub(crate) mod aggregates;
pub(crate) mod blame;
mod compatible;
pub(crate) mod context;
mod errors;
mod floats;
pub(crate) mod functions;
mod keys;
pub(crate) mod library;
pub(crate) mod prepass;
pub(crate) mod types;
pub(crate) mod views;

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection};
use datafusion::optimizer::analyzer::Analyzer;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::utils::NamePreserver;
use datafusion::optimizer::{Optimizer, OptimizerContext, OptimizerRule};
use datafusion::sql::planner::{ParserOptions, SqlToRel};
use dflow_common::{Diagnostic, SourceId, Span, SqlType, TypeKind};
use dflow_dsl::ast as dsl;
use sqlparser::ast as sql;

use crate::catalog::table_schema;
use crate::error::{self, Errors, Result, at};
use crate::rel::expr::with_source;

use errors::Failed;
pub(crate) use functions::Functions;

/// A bound query.
#[derive(Clone, Debug)]
pub(crate) struct BoundQuery {
    /// Typed, simplified.
    pub(crate) plan: LogicalPlan,
    /// The output columns.
    pub(crate) columns: Vec<(String, SqlType)>,
}

/// A bound expression over the columns of a table, which it names without qualifier.
#[derive(Clone, Debug)]
pub(crate) struct BoundExpr {
    pub(crate) expr: Expr,
    pub(crate) ty: SqlType,
}

/// Binds queries and expressions.
pub(crate) struct Binder<'a> {
    pub(crate) context: prepass::Context<'a>,
}

impl<'a> Binder<'a> {
    pub(crate) fn new(context: prepass::Context<'a>) -> Self {
        Self { context }
    }

    /// Binds a query without simplifying it: the definition of a view, which is simplified where it is used.
    ///
    /// # Errors
    /// All that names can have, or the first that types have.
    pub(crate) fn query_raw(&self, query: &dsl::Query) -> Result<(LogicalPlan, Vec<(String, SqlType)>)> {
        self.plan(query, |raw, _| Ok(raw))
    }

    /// Binds and simplifies a query.
    ///
    /// # Errors
    /// As [`Binder::query_raw`].
    pub(crate) fn query(&self, query: &dsl::Query) -> Result<BoundQuery> {
        let (plan, columns) = self.plan(query, |_, typed| simplify(typed, &config(), query.span))?;
        Ok(BoundQuery { plan, columns })
    }

    /// Plans a query; `finish` makes the result of the plan as it is written and the one with its types coerced.
    fn plan(
        &self,
        query: &dsl::Query,
        finish: impl Fn(LogicalPlan, LogicalPlan) -> Result<LogicalPlan>,
    ) -> Result<(LogicalPlan, Vec<(String, SqlType)>)> {
        let prepared = prepass::query(self.context, query).map_err(|e| errors_of(e, query.span))?;
        let options = config();
        let provider = context::Provider::new(self.context.functions, options.clone(), &prepared.tables);
        let planner = SqlToRel::new_with_options(&provider, parser_options(&options));
        let steps = |ast: sql::Query| -> Result<_, Failed> {
            let plan = planner
                .sql_statement_to_plan(sql::Statement::Query(Box::new(ast)))
                .map_err(|e| errors::translate(&e, query.span))?;
            let plan =
                keys::without_implied(normal(plan, query.span)?).map_err(|e| errors::translate(&e, query.span))?;
            if let Some(misfit) = compatible::misfit(&plan) {
                return Err(Failed::misfit(misfit, query.span));
            }
            // The types of the output come from the coerced plan; the raw one may not type at all.
            let typed = analyze(plan.clone(), &options, query.span)?;
            let types = output_types(&typed, query.span)?;
            Ok((finish(plan, typed)?, types))
        };
        let (plan, types) = steps(prepared.ast.clone()).map_err(|Failed { errors: e, part }| {
            let same = |ast: sql::Query| steps(ast).is_err_and(|other| errors::same(&other.errors, &e));
            match errors::is_placed(&e, query.span) {
                true => e,
                false => self.placed(&e, blame::in_query(&prepared.ast, part, &same), part, query.span),
            }
        })?;
        Ok((plan, prepared.names.into_iter().zip(types).collect()))
    }

    /// An error with the place and the name of the expression it is about.
    fn placed(&self, errors: &Errors, fault: Option<sql::Expr>, part: Option<usize>, whole: Span) -> Errors {
        match fault {
            None => errors.clone(),
            Some(e) => {
                let place = blame::place(blame::part(&e, part), whole, self.context.sources);
                errors::about(errors, place, blame::called(&e).as_deref())
            }
        }
    }

    /// Binds an expression over the columns of a table.
    ///
    /// # Errors
    /// All that names can have, or the first that types have.
    pub(crate) fn expression(&self, expr: &dsl::Expr, columns: &[(String, SqlType)]) -> Result<BoundExpr> {
        let ast = prepass::expression(self.context, expr, columns).map_err(|e| errors_of(e, expr.span))?;
        let options = config();
        let provider = context::Provider::new(self.context.functions, options.clone(), &[]);
        let planner = SqlToRel::new_with_options(&provider, parser_options(&options));
        let schema = DFSchema::try_from(table_schema(columns.iter().map(|(n, t)| (n.as_str(), t))).as_ref().clone())
            .map_err(|e| errors::translate(&e, expr.span))?;
        let steps = |ast: sql::Expr| -> Result<_, Failed> {
            let bound = planner
                .sql_to_expr(ast, &schema, &mut datafusion::sql::planner::PlannerContext::new())
                .map_err(|e| errors::translate(&e, expr.span))?;
            let bound = normal_expr(bound, expr.span.source).map_err(|e| errors::translate(&e, expr.span))?.data;
            if let Some(misfit) = compatible::of_expr(&bound, &schema) {
                return Err(Failed::misfit(misfit, expr.span));
            }
            let bound = typed_expression(bound, &schema, expr.span)?;
            let ty = types::sql_type(&bound, &schema, &|i| columns[i].1.clone()).ok_or_else(|| no_type(expr.span))?;
            Ok(BoundExpr { expr: bound, ty })
        };
        steps(ast.clone()).map_err(|Failed { errors: e, part }| {
            let same = |ast: sql::Expr| steps(ast).is_err_and(|other| errors::same(&other.errors, &e));
            match errors::is_placed(&e, expr.span) {
                true => e,
                false => self.placed(&e, blame::in_expr(&ast, &same), part, expr.span),
            }
        })
    }
}

fn errors_of(list: Vec<Diagnostic>, span: Span) -> Errors {
    Errors::from_list(list).unwrap_or_else(|| at(error::BAD_QUERY, span, "the query cannot be planned", "").into())
}

fn no_type(span: Span) -> Diagnostic {
    at(error::BAD_EXPRESSION, span, "the result has a type Flink SQL has no word for", "no SQL type")
}

/// DataFusion's options that make it read SQL as Flink does.
pub(crate) fn config() -> Arc<ConfigOptions> {
    let mut o = ConfigOptions::new();
    o.sql_parser.enable_ident_normalization = false;
    o.sql_parser.parse_float_as_decimal = true;
    o.sql_parser.map_string_types_to_utf8view = true;
    o.sql_parser.default_null_ordering = "nulls_min".into();
    o.sql_parser.collect_spans = true;
    // A projection that aliases every item is ours; DataFusion need not look for sorts in subqueries.
    o.optimizer.enable_leaf_expression_pushdown = false;
    Arc::new(o)
}

fn parser_options(o: &ConfigOptions) -> ParserOptions {
    ParserOptions::from(&o.sql_parser)
}

/// Coerces types; comparisons of floats become Flink's.
fn analyze(plan: LogicalPlan, options: &ConfigOptions, span: Span) -> Result<LogicalPlan> {
    let failed = |e| Errors::from(errors::translate(&e, span));
    let plan = floats::before_coercion(plan).map_err(failed)?;
    let plan = Analyzer::new().execute_and_check(plan, options, |_, _| {}).map_err(failed)?;
    floats::after_coercion(plan).map_err(failed)
}

/// Folds constants. `CURRENT_TIMESTAMP` and its like stay: they have no value before the job runs.
fn simplify(plan: LogicalPlan, options: &Arc<ConfigOptions>, span: Span) -> Result<LogicalPlan> {
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![Arc::new(SimplifyExpressions::new())];
    let context = OptimizerContext::new_with_config_options(options.clone()).without_query_execution_start_time();
    Optimizer::with_rules(rules)
        .optimize(plan, &context, |_, _| {})
        .map_err(|e| Errors::from(errors::translate(&e, span)))
}

/// Text literals as Utf8View, which is what columns of text are; places with the source they are in.
fn normal_expr(e: Expr, source: SourceId) -> datafusion::common::Result<Transformed<Expr>> {
    e.transform(|e| {
        Ok(match e {
            Expr::Literal(ScalarValue::Utf8(s), m) => Transformed::yes(Expr::Literal(ScalarValue::Utf8View(s), m)),
            Expr::Column(mut c) if c.spans.first().is_some() => {
                with_source(&mut c, source);
                Transformed::yes(Expr::Column(c))
            }
            other => Transformed::no(other),
        })
    })
}

fn normal(plan: LogicalPlan, span: Span) -> Result<LogicalPlan> {
    let changed = plan.transform_up(|node| {
        // The schema of VALUES comes from its literals, and DataFusion does not compute it again.
        if let LogicalPlan::Values(v) = node {
            let row = |r: Vec<Expr>| r.into_iter().map(|e| Ok(normal_expr(e, span.source)?.data)).collect();
            let rows = v.values.into_iter().map(row).collect::<datafusion::common::Result<Vec<_>>>()?;
            return Ok(Transformed::yes(LogicalPlanBuilder::values(floats::values(rows)?)?.build()?));
        }
        // Nodes above refer to the columns of an aggregate by names that hold its literals.
        let names = NamePreserver::new(&node);
        let rename = |e: Expr| {
            let name = names.save(&e);
            Ok(normal_expr(e, span.source)?.update_data(|e| name.restore(e)))
        };
        node.map_expressions(rename)?.map_data(LogicalPlan::recompute_schema)
    });
    changed.map(|t| t.data).map_err(|e| errors::translate(&e, span).into())
}

/// Coerces and simplifies one expression, by way of a projection over an empty relation of the schema.
fn typed_expression(expr: Expr, schema: &DFSchema, span: Span) -> Result<Expr> {
    let options = config();
    let input = LogicalPlan::EmptyRelation(datafusion::logical_expr::EmptyRelation {
        produce_one_row: false,
        schema: Arc::new(schema.clone()),
    });
    let plan = Projection::try_new(vec![expr.alias("$")], Arc::new(input))
        .map(LogicalPlan::Projection)
        .map_err(|e| errors::translate(&e, span))?;
    let plan = simplify(analyze(plan, &options, span)?, &options, span)?;
    match plan {
        LogicalPlan::Projection(p) => Ok(p.expr.into_iter().next().map(Expr::unalias).unwrap_or_default()),
        _ => Err(at(error::BAD_EXPRESSION, span, "the expression cannot be planned", "").into()),
    }
}

/// The SQL types of a plan's output.
fn output_types(plan: &LogicalPlan, span: Span) -> Result<Vec<SqlType>> {
    if let Some(types) = lineage_types(plan) {
        return Ok(types);
    }
    arrow_types(plan).ok_or_else(|| no_type(span).into())
}

/// The types of a plan's columns, from the tables up.
fn lineage_types(plan: &LogicalPlan) -> Option<Vec<SqlType>> {
    Some(match plan {
        LogicalPlan::TableScan(scan) => {
            let table = context::planned_table(&scan.source)?;
            let all: Vec<SqlType> = table.table.columns.iter().map(|c| c.ty.clone()).collect();
            match &scan.projection {
                Some(p) => p.iter().map(|i| all[*i].clone()).collect(),
                None => all,
            }
        }
        LogicalPlan::Projection(p) => {
            let input = lineage_types(&p.input)?;
            let expr = |e| types::sql_type(e, p.input.schema(), &|i| input[i].clone());
            p.expr.iter().map(expr).collect::<Option<_>>()?
        }
        LogicalPlan::Values(v) => {
            let null = SqlType::from(TypeKind::Null);
            let cell = |e: &Expr| match types::is_null(e) {
                true => Some(null.clone()),
                false => types::sql_type(e, &DFSchema::empty(), &|_| null.clone()),
            };
            let inputs = v.values.iter().map(|row| row.iter().map(cell).collect::<Option<Vec<_>>>());
            let inputs = inputs.collect::<Option<Vec<_>>>()?;
            let mut types = united(plan, &inputs)?;
            // Literals of several lengths: Flink says VARCHAR, and then does not take them for a CHAR column.
            for (i, ty) in types.iter_mut().enumerate() {
                if let TypeKind::VarChar(n) = ty.kind
                    && inputs.iter().all(|row| matches!(row[i].kind, TypeKind::Char(_) | TypeKind::Null))
                {
                    ty.kind = TypeKind::Char(n);
                }
            }
            types
        }
        LogicalPlan::Union(u) => {
            let inputs = u.inputs.iter().map(|i| lineage_types(i)).collect::<Option<Vec<_>>>()?;
            united(plan, &inputs)?
        }
        LogicalPlan::SubqueryAlias(a) => lineage_types(&a.input)?,
        LogicalPlan::Filter(f) => lineage_types(&f.input)?,
        LogicalPlan::Distinct(d) => lineage_types(d.input())?,
        LogicalPlan::Sort(s) => lineage_types(&s.input)?,
        LogicalPlan::Limit(l) => lineage_types(&l.input)?,
        // Grouping sets have one expression for all their keys, and a column of their own.
        LogicalPlan::Aggregate(a) if !matches!(a.group_expr.as_slice(), [Expr::GroupingSet(_)]) => {
            let input = lineage_types(&a.input)?;
            let expr = |e| types::sql_type(e, a.input.schema(), &|i| input[i].clone());
            a.group_expr.iter().chain(&a.aggr_expr).map(expr).collect::<Option<_>>()?
        }
        _ => arrow_types(plan)?,
    })
}

/// The types of columns that come from several inputs.
fn united(plan: &LogicalPlan, inputs: &[Vec<SqlType>]) -> Option<Vec<SqlType>> {
    let mut types = arrow_types(plan)?;
    for (i, ty) in types.iter_mut().enumerate() {
        let kinds = || inputs.iter().filter_map(|input| Some(&input.get(i)?.kind)).filter(|k| **k != TypeKind::Null);
        let first = kinds().next();
        let same = first.filter(|first| kinds().all(|k| k == *first)).cloned();
        if let Some(kind) = same.filter(|_| ty.kind != TypeKind::Null).or_else(|| types::text(kinds())) {
            ty.kind = kind;
        }
    }
    Some(types)
}

/// The types Arrow has for a plan's columns.
fn arrow_types(plan: &LogicalPlan) -> Option<Vec<SqlType>> {
    let fields = plan.schema().fields().iter();
    fields.map(|f| SqlType::from_arrow(f.data_type()).map(|t| t.with_nullable(f.is_nullable()))).collect()
}
