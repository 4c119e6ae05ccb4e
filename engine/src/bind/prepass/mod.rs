//! What happens to a query's tree before DataFusion plans it.
//!
//! # Input and output
//! In: the tree `dsl` read. Out: a tree that DataFusion understands and that means the same, the tables it reads, and
//! all errors that names and clauses can have, each with its place.
//! ```text
//! SELECT id, id, price + 1 FROM orders /*+ OPTIONS('scan.x' = '1') */ AS o
//! SELECT o.id AS id, o.id AS id0, price + CAST(1 AS INT) AS EXPR$1 FROM `$t0` AS o        $t0 = orders with its hint
//! ```
//! # Why
//! DataFusion plans some Flink clauses as if they were not there (`FOR SYSTEM_TIME`, TABLESAMPLE, hints), names columns
//! by their expression and refuses equal names, reads `1` as BIGINT, and reports one error per query.
//!
//! # Invariants
//! Every clause is either rewritten, left to DataFusion on purpose, or refused by name: nothing is dropped in silence.
//! Every hint is used or refused.

mod expr;
mod from;
mod names;

use std::collections::HashSet;
use std::sync::Arc;

use dflow_common::{Diagnostic, SourceId, SourceMap, Span};
use dflow_connector_api::RawOption;
use dflow_dsl::ast as dsl;
use indexmap::IndexMap;
use sqlparser::ast::{self as sql, Spanned as _};

use crate::bind::Functions;
use crate::bind::views::{Chain, OpenedView};
use crate::catalog::{Catalog, Table};
use crate::error::{self, at, unsupported};
use crate::settings::RuntimeMode;

use names::{Namer, Relation, Scope, ScopeColumn};

/// The way out where only a stream refuses.
const BATCH_RUNS_IT: &str = "over bounded tables, SET 'execution.runtime-mode' = 'batch' runs it";

/// A table or view a query reads, with the options of its hint.
#[derive(Clone, Debug)]
pub(crate) struct TableRef {
    pub(crate) referenced: Referenced,
    pub(crate) hint: Vec<RawOption>,
    pub(crate) span: Span,
}

/// What a name in FROM stands for.
#[derive(Clone, Debug)]
pub(crate) enum Referenced {
    Table(Arc<Table>),
    View(OpenedView),
}

/// A query that is ready to be planned.
pub(crate) struct Prepared {
    pub(crate) ast: sql::Query,
    /// Tables by the number in their name: `$t0`, `$t1`, ….
    pub(crate) tables: Vec<TableRef>,
    /// The output columns.
    pub(crate) names: Vec<String>,
}

/// Options with their variables replaced, and what went wrong.
pub(crate) type Expand = dyn Fn(&dsl::Options) -> (Vec<RawOption>, Vec<Diagnostic>);

/// What the pre-pass needs to know.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) functions: &'a Functions,
    pub(crate) mode: RuntimeMode,
    /// `table.dynamic-table-options.enabled`
    pub(crate) dynamic_options: bool,
    /// Expands `${…}` in the values of hints.
    pub(crate) expand: &'a Expand,
    /// The text, for the places of errors.
    pub(crate) sources: &'a SourceMap,
    /// The views whose queries are being bound.
    pub(crate) views: Option<&'a Chain<'a>>,
}

/// Prepares a query.
///
/// # Errors
/// All that names and clauses can have.
pub(crate) fn query(context: Context<'_>, query: &dsl::Query) -> Result<Prepared, Vec<Diagnostic>> {
    let mut ast = (*query.ast).clone();
    let mut pass = Prepass::new(context, query.span, &query.hints);
    let names = pass.query(&mut ast, &Ctes::default());
    pass.unused_hints();
    if pass.errors.is_empty() { Ok(Prepared { ast, tables: pass.tables, names }) } else { Err(pass.into_errors()) }
}

/// Prepares an expression over the columns of a table.
///
/// # Errors
/// All that names can have.
pub(crate) fn expression(
    context: Context<'_>,
    expr: &dsl::Expr,
    columns: &[(String, dflow_common::SqlType)],
) -> Result<sql::Expr, Vec<Diagnostic>> {
    let mut ast = expr.ast.clone();
    let mut pass = Prepass::new(context, expr.span, &[]);
    let columns = columns.iter().map(|(n, t)| ScopeColumn { name: n.clone(), ty: Some(t.clone()) }).collect();
    let scope = Scope { relations: vec![Relation { name: None, id: None, columns }], poisoned: false };
    pass.expr(&mut ast, &scope, expr::Place::Scalar);
    if pass.errors.is_empty() { Ok(ast) } else { Err(pass.errors) }
}

/// Common table expressions in sight, with their columns; `None` when their query has errors.
type Ctes = IndexMap<String, Option<Vec<ScopeColumn>>>;

struct Prepass<'a> {
    context: Context<'a>,
    source: SourceId,
    span: Span,
    hints: &'a [dsl::Hint],
    used_hints: HashSet<usize>,
    tables: Vec<TableRef>,
    errors: Vec<Diagnostic>,
}

impl<'a> Prepass<'a> {
    fn new(context: Context<'a>, span: Span, hints: &'a [dsl::Hint]) -> Self {
        let source = span.source;
        Self { context, source, span, hints, used_hints: HashSet::new(), tables: Vec::new(), errors: Vec::new() }
    }

    /// The place of a node, or of the whole text.
    fn place(&self, span: sqlparser::tokenizer::Span) -> Span {
        dsl::span_of(self.source, span).unwrap_or(self.span)
    }

    fn streaming(&self) -> bool {
        self.context.mode == RuntimeMode::Streaming
    }

    fn refuse(&mut self, what: impl std::fmt::Display, span: Span) {
        self.errors.push(unsupported(what, span));
    }

    /// Refuses a window, with what can be written meanwhile.
    fn refuse_window(&mut self, name: &str, span: Span) {
        let what = format!("the window {}", name.to_uppercase());
        self.errors.push(unsupported(what, span).with_help(
            "GROUP BY FLOOR(ts TO MINUTE), or another unit, groups by time too: its results are corrected as rows arrive",
        ));
    }

    /// What was found. Batch mode is no way out of a query in which it refuses something too.
    fn into_errors(mut self) -> Vec<Diagnostic> {
        let batch_refuses =
            self.errors.iter().any(|d| d.code == error::UNSUPPORTED.code && !d.help.iter().any(|h| h == BATCH_RUNS_IT));
        if batch_refuses {
            self.errors.iter_mut().for_each(|d| d.help.retain(|h| h != BATCH_RUNS_IT));
        }
        self.errors
    }

    /// Refuses what only batch mode can do so far.
    fn refuse_in_stream(&mut self, what: impl std::fmt::Display, span: Span) {
        if self.streaming() {
            self.errors.push(
                at(
                    error::UNSUPPORTED,
                    span,
                    format!("{what} is valid Flink SQL, but dflow does not support it in a stream"),
                    "not supported in a stream",
                )
                .with_help(BATCH_RUNS_IT),
            );
        }
    }

    /// Prepares a query and returns its columns.
    fn query(&mut self, q: &mut sql::Query, outer: &Ctes) -> Vec<String> {
        let whole = self.place(q.span());
        let mut ctes = outer.clone();
        if let Some(with) = &mut q.with {
            if with.recursive {
                self.refuse("WITH RECURSIVE", whole);
            }
            for cte in &mut with.cte_tables {
                let before = self.errors.len();
                let mut names = self.query(&mut cte.query, &ctes);
                rename(&mut names, &cte.alias);
                let columns =
                    (self.errors.len() == before).then(|| names.into_iter().map(ScopeColumn::untyped).collect());
                ctes.insert(cte.alias.name.value.clone(), columns);
            }
        }
        if let Some(order_by) = &q.order_by {
            let span = self.place(order_by.span());
            self.refuse_in_stream("ORDER BY", span);
        }
        if let Some(limit) = &q.limit_clause {
            let span = self.place(limit.span());
            self.refuse_in_stream("LIMIT", span);
            self.limits(limit, span);
        }
        if let Some(fetch) = q.fetch.take() {
            self.refuse_in_stream("FETCH FIRST", whole);
            if fetch.with_ties || fetch.percent {
                self.refuse("FETCH FIRST … PERCENT or WITH TIES", whole);
            }
            if q.limit_clause.is_none() {
                let limit = fetch.quantity.or_else(|| Some(sql::Expr::value(sql::Value::Number("1".into(), false))));
                q.limit_clause = Some(sql::LimitClause::LimitOffset { limit, offset: None, limit_by: vec![] });
            } else {
                self.refuse("FETCH FIRST together with LIMIT or OFFSET", whole);
            }
        }
        let foreign = [
            (!q.locks.is_empty(), "FOR UPDATE"),
            (q.for_clause.is_some(), "FOR XML"),
            (q.settings.is_some(), "SETTINGS"),
            (q.format_clause.is_some(), "FORMAT"),
            (!q.pipe_operators.is_empty(), "|>"),
        ];
        self.refuse_foreign(&foreign, whole);
        let names = self.set_expr(&mut q.body, &ctes);
        if let Some(sql::OrderBy { kind: sql::OrderByKind::Expressions(list), .. }) = &mut q.order_by {
            for item in list {
                self.expr(&mut item.expr, &Scope { relations: vec![], poisoned: true }, expr::Place::OrderBy);
            }
        }
        names
    }

    /// LIMIT and OFFSET are whole numbers as they are written.
    fn limits(&mut self, clause: &sql::LimitClause, whole: Span) {
        let sql::LimitClause::LimitOffset { limit, offset, .. } = clause else {
            return self.refuse_foreign(&[(true, "LIMIT a, b")], whole);
        };
        for (word, e) in [("LIMIT", limit.as_ref()), ("OFFSET", offset.as_ref().map(|o| &o.value))] {
            let is_whole = |e: &sql::Expr| match e {
                sql::Expr::Value(v) => {
                    matches!(&v.value, sql::Value::Number(n, _) if n.to_string().parse::<u64>().is_ok())
                }
                _ => false,
            };
            if let Some(e) = e.filter(|e| !is_whole(e)) {
                let span = dsl::span_of(self.source, e.span()).unwrap_or(whole);
                let message = format!("{word} takes a whole number");
                self.errors.push(at(error::BAD_EXPRESSION, span, message, "not a whole number"));
            }
        }
    }

    /// Clauses of other databases that sqlparser reads and Flink does not have.
    fn refuse_foreign(&mut self, found: &[(bool, &str)], span: Span) {
        for (_, clause) in found.iter().filter(|(there, _)| *there) {
            self.errors.push(at(
                error::BAD_QUERY,
                span,
                format!("{clause} is not a clause of Flink SQL"),
                "not Flink SQL",
            ));
        }
    }

    fn set_expr(&mut self, body: &mut Box<sql::SetExpr>, ctes: &Ctes) -> Vec<String> {
        match body.as_mut() {
            sql::SetExpr::Select(select) => self.select(select, ctes),
            sql::SetExpr::Query(query) => self.query(query, ctes),
            sql::SetExpr::SetOperation { op, set_quantifier, left, right } => {
                let names = self.set_expr(left, ctes);
                let others = self.set_expr(right, ctes);
                let span = self.place(right.span());
                if names.len() != others.len() && !names.is_empty() && !others.is_empty() {
                    let message = format!("{op} of {} and {} columns", names.len(), others.len());
                    self.errors.push(at(error::BAD_QUERY, span, message, format!("{} columns", others.len())));
                }
                let all = matches!(set_quantifier, sql::SetQuantifier::All);
                match (&op, &*set_quantifier) {
                    (sql::SetOperator::Union, sql::SetQuantifier::All | sql::SetQuantifier::None) => {}
                    (sql::SetOperator::Union, sql::SetQuantifier::Distinct) => {}
                    (sql::SetOperator::Intersect | sql::SetOperator::Except, _) if all => {
                        self.refuse(format!("{op} ALL"), span);
                    }
                    (sql::SetOperator::Intersect | sql::SetOperator::Except, _) => {
                        self.refuse_in_stream(&op, span);
                    }
                    _ => self.refuse_foreign(&[(true, &format!("{op} {set_quantifier}"))], span),
                }
                names
            }
            sql::SetExpr::Values(values) => {
                let names = self.values(values);
                let rows =
                    std::mem::replace(values, sql::Values { explicit_row: false, value_keyword: false, rows: vec![] });
                **body = sql::SetExpr::Select(Box::new(select_values(rows, &names)));
                names
            }
            other => {
                let span = self.place(other.span());
                self.refuse_foreign(&[(true, "this")], span);
                Vec::new()
            }
        }
    }

    fn values(&mut self, values: &mut sql::Values) -> Vec<String> {
        let scope = Scope::default();
        for row in &mut values.rows {
            for e in row.content.iter_mut() {
                self.expr(e, &scope, expr::Place::Scalar);
            }
        }
        let width = values.rows.first().map_or(0, |r| r.content.len());
        (0..width).map(|i| format!("EXPR${i}")).collect()
    }

    fn select(&mut self, select: &mut sql::Select, ctes: &Ctes) -> Vec<String> {
        let keyword = self.place(select.select_token.0.span);
        self.select_hints(keyword);
        let foreign = [
            (select.select_modifiers.as_ref().is_some_and(|m| m.is_any_set()), "this modifier of SELECT"),
            (select.top.is_some(), "TOP"),
            (select.exclude.is_some(), "EXCLUDE"),
            (select.into.is_some(), "INTO"),
            (!select.lateral_views.is_empty(), "LATERAL VIEW"),
            (select.prewhere.is_some(), "PREWHERE"),
            (!select.connect_by.is_empty(), "CONNECT BY"),
            (!select.cluster_by.is_empty(), "CLUSTER BY"),
            (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
            (!select.sort_by.is_empty(), "SORT BY"),
            (select.value_table_mode.is_some(), "SELECT AS"),
            (matches!(select.distinct, Some(sql::Distinct::On(_))), "DISTINCT ON"),
            (matches!(select.group_by, sql::GroupByExpr::All(_)), "GROUP BY ALL"),
        ];
        self.refuse_foreign(&foreign, keyword);
        let scope = self.from(&mut select.from, ctes);
        if let Some(e) = &mut select.selection {
            self.expr(e, &scope, expr::Place::Scalar);
        }
        if let sql::GroupByExpr::Expressions(list, modifiers) = &mut select.group_by {
            if !modifiers.is_empty() {
                self.refuse("this modifier of GROUP BY", keyword);
            }
            for e in list.iter_mut() {
                self.expr(e, &scope, expr::Place::GroupBy);
            }
        }
        if let Some(e) = &mut select.having {
            self.expr(e, &scope, expr::Place::Aggregates);
        }
        if let Some(e) = &mut select.qualify {
            let span = self.place(e.span());
            self.refuse_in_stream("QUALIFY", span);
            self.expr(e, &scope, expr::Place::Aggregates);
        }
        if !select.named_window.is_empty() {
            self.refuse("WINDOW", keyword);
        }
        self.projection(&mut select.projection, &scope)
    }

    /// Expands `*` and gives every item its name.
    fn projection(&mut self, items: &mut Vec<sql::SelectItem>, scope: &Scope) -> Vec<String> {
        let mut namer = Namer::default();
        let mut named = Vec::with_capacity(items.len());
        for item in items.drain(..) {
            let span = self.place(item.span());
            match item {
                sql::SelectItem::UnnamedExpr(mut expr) => {
                    let own = own_name(&expr);
                    self.expr(&mut expr, scope, expr::Place::Aggregates);
                    named.push(aliased(expr, &namer.next(own.as_deref())));
                }
                sql::SelectItem::ExprWithAlias { mut expr, alias } => {
                    self.expr(&mut expr, scope, expr::Place::Aggregates);
                    named.push(aliased(expr, &namer.next(Some(&alias.value))));
                }
                sql::SelectItem::Wildcard(options) => {
                    self.wildcard_options(&options, span);
                    if scope.relations.is_empty() && !scope.poisoned {
                        self.errors.push(at(error::BAD_QUERY, span, "SELECT * without FROM", "nothing to expand"));
                    }
                    for relation in &scope.relations {
                        expand(relation, &mut namer, &mut named);
                    }
                }
                sql::SelectItem::QualifiedWildcard(kind, options) => {
                    self.wildcard_options(&options, span);
                    self.qualified_wildcard(&kind, span, scope, &mut namer, &mut named);
                }
                sql::SelectItem::ExprWithAliases { .. } => self.refuse_foreign(&[(true, "AS (…)")], span),
            }
        }
        *items = named;
        namer.finish()
    }

    fn qualified_wildcard(
        &mut self,
        kind: &sql::SelectItemQualifiedWildcardKind,
        span: Span,
        scope: &Scope,
        namer: &mut Namer,
        named: &mut Vec<sql::SelectItem>,
    ) {
        let sql::SelectItemQualifiedWildcardKind::ObjectName(name) = kind else {
            return self.refuse("the expansion of an expression with .*", span);
        };
        let parts: Vec<&str> = name.0.iter().filter_map(|p| p.as_ident()).map(|i| i.value.as_str()).collect();
        if let Some(relation) = scope.relations.iter().find(|r| {
            // A table's `*` is asked for by any of its names.
            let star: Vec<&str> = parts.iter().copied().chain(r.columns.first().map(|c| c.name.as_str())).collect();
            matches!(
                (Scope { relations: vec![(*r).clone()], poisoned: false }).find(&star),
                names::Found::Column { replace, .. } if replace == parts.len()
            )
        }) {
            return expand(relation, namer, named);
        }
        if matches!(scope.find(&parts), names::Found::Column { .. }) {
            return self.refuse(format!("the expansion of the ROW `{}` with .*", parts.join(".")), span);
        }
        if !scope.poisoned {
            let d = at(error::TABLE_NOT_FOUND, span, format!("no table `{}` in FROM", parts.join(".")), "not in FROM");
            let names: Vec<&str> = scope.relations.iter().filter_map(|r| r.name.as_deref()).collect();
            self.errors.push(error::did_you_mean(d, &parts.join("."), names));
        }
    }

    fn wildcard_options(&mut self, o: &sql::WildcardAdditionalOptions, span: Span) {
        let any = o.opt_ilike.is_some()
            || o.opt_exclude.is_some()
            || o.opt_except.is_some()
            || o.opt_replace.is_some()
            || o.opt_rename.is_some();
        self.refuse_foreign(&[(any, "this option of *")], span);
    }

    /// Hints at a SELECT. None changes a plan so far.
    fn select_hints(&mut self, keyword: Span) {
        for (i, hint) in self.hints.iter().enumerate() {
            if hint.target != dsl::HintTarget::Select(keyword) {
                continue;
            }
            self.used_hints.insert(i);
            match hint.name.as_str() {
                // They choose how a join runs, never what it returns.
                "BROADCAST" | "SHUFFLE_HASH" | "SHUFFLE_MERGE" | "NEST_LOOP" | "MULTI_JOIN" => {}
                "STATE_TTL" | "LOOKUP" => self.refuse(format!("the hint {}", hint.name), hint.span),
                "OPTIONS" => self.errors.push(
                    at(error::BAD_HINT, hint.span, "OPTIONS is a hint for a table", "stands at a SELECT")
                        .with_help("write it behind the table's name, before its alias"),
                ),
                other => {
                    let d = at(error::BAD_HINT, hint.span, format!("unknown hint {other}"), "unknown");
                    let known = ["BROADCAST", "SHUFFLE_HASH", "SHUFFLE_MERGE", "NEST_LOOP", "STATE_TTL", "LOOKUP"];
                    self.errors.push(error::did_you_mean(d, other, known));
                }
            }
        }
    }

    /// Hints that no clause has used: a hint must not be dropped in silence.
    fn unused_hints(&mut self) {
        if !self.errors.is_empty() {
            return;
        }
        for (i, hint) in self.hints.iter().enumerate() {
            if !self.used_hints.contains(&i) {
                let message = format!("the hint {} has nothing to act on", hint.name);
                self.errors.push(at(error::BAD_HINT, hint.span, message, "not used"));
            }
        }
    }

    /// The options of the hints at a table.
    fn table_hints(&mut self, name: Span, is_table: bool) -> Vec<RawOption> {
        let mut all = Vec::new();
        for (i, hint) in self.hints.iter().enumerate() {
            if hint.target != dsl::HintTarget::Table(name) {
                continue;
            }
            self.used_hints.insert(i);
            match (&hint.args, hint.name.as_str()) {
                (dsl::HintArgs::Options(options), "OPTIONS") if is_table && self.context.dynamic_options => {
                    let (options, errors) = (self.context.expand)(options);
                    all.extend(options);
                    self.errors.extend(errors);
                }
                (_, "OPTIONS") if is_table && !self.context.dynamic_options => self.errors.push(
                    at(error::BAD_HINT, hint.span, "OPTIONS hints are turned off", "not allowed")
                        .with_note("'table.dynamic-table-options.enabled' is 'false'"),
                ),
                (_, "OPTIONS") => self.errors.push(
                    at(error::BAD_HINT, hint.span, "OPTIONS needs a table", "not a table")
                        .with_help("views and WITH queries have no options; put the hint at the table they read"),
                ),
                (_, other) => {
                    let message = format!("unknown hint {other} at a table");
                    self.errors
                        .push(at(error::BAD_HINT, hint.span, message, "unknown").with_help("tables take OPTIONS"));
                }
            }
        }
        all
    }

    /// Registers a table or view and returns the name DataFusion sees.
    fn register(&mut self, referenced: Referenced, hint: Vec<RawOption>, span: Span) -> sql::ObjectName {
        self.tables.push(TableRef { referenced, hint, span });
        sql::ObjectName::from(vec![quoted(&format!("$t{}", self.tables.len() - 1))])
    }
}

/// The name an unnamed item has by itself: that of its column or last field.
fn own_name(expr: &sql::Expr) -> Option<String> {
    match expr {
        sql::Expr::Identifier(i) => Some(i.value.clone()),
        sql::Expr::CompoundIdentifier(parts) => parts.last().map(|i| i.value.clone()),
        sql::Expr::Nested(e) => own_name(e),
        sql::Expr::Function(f) if matches!(f.args, sql::FunctionArguments::None) => {
            f.name.0.last().and_then(|p| p.as_ident()).map(|i| i.value.clone())
        }
        _ => None,
    }
}

fn aliased(expr: sql::Expr, name: &str) -> sql::SelectItem {
    sql::SelectItem::ExprWithAlias { expr, alias: quoted(name) }
}

fn quoted(name: &str) -> sql::Ident {
    sql::Ident::with_quote('`', name)
}

/// `r.*`
fn expand(relation: &Relation, namer: &mut Namer, named: &mut Vec<sql::SelectItem>) {
    for column in &relation.columns {
        let expr = match &relation.name {
            Some(r) => sql::Expr::CompoundIdentifier(vec![quoted(r), quoted(&column.name)]),
            None => sql::Expr::Identifier(quoted(&column.name)),
        };
        named.push(aliased(expr, &namer.next(Some(&column.name))));
    }
}

/// Applies the column list of an alias.
fn rename(names: &mut [String], alias: &sql::TableAlias) {
    for (name, column) in names.iter_mut().zip(&alias.columns) {
        name.clone_from(&column.name.value);
    }
}

/// `SELECT column1 AS EXPR$0, … FROM (VALUES …)`: DataFusion names the columns of VALUES itself.
fn select_values(values: sql::Values, names: &[String]) -> sql::Select {
    let inner = sql::Query {
        with: None,
        body: Box::new(sql::SetExpr::Values(values)),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: vec![],
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: vec![],
    };
    let relation = sql::TableFactor::Derived { lateral: false, subquery: Box::new(inner), alias: None, sample: None };
    let items = names
        .iter()
        .enumerate()
        .map(|(i, name)| aliased(sql::Expr::Identifier(quoted(&format!("column{}", i + 1))), name))
        .collect();
    sql::Select {
        select_token: sql::helpers::attached_token::AttachedToken::empty(),
        optimizer_hints: vec![],
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: items,
        exclude: None,
        into: None,
        from: vec![sql::TableWithJoins { relation, joins: vec![] }],
        lateral_views: vec![],
        prewhere: None,
        selection: None,
        connect_by: vec![],
        group_by: sql::GroupByExpr::Expressions(vec![], vec![]),
        cluster_by: vec![],
        distribute_by: vec![],
        sort_by: vec![],
        having: None,
        named_window: vec![],
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: sql::SelectFlavor::Standard,
    }
}
