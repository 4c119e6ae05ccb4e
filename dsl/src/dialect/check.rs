//! What sqlparser lets through and Flink does not: reserved words as names, clauses of other databases, hints that hang on
//! nothing. A clause that nobody plans would be lost without a word; here it is refused.

use std::collections::HashSet;
use std::ops::ControlFlow;

use dflow_common::{Diagnostic, SourceId, Span};
use sqlparser::ast::{self as sql, Spanned as _, Visit, Visitor};

use super::hints;
use crate::ast::{Expr, HintTarget, Query, span_of};
use crate::{error, reserved};

/// The errors of a query's tree.
pub(super) fn query(query: &Query) -> Vec<Diagnostic> {
    let mut checker = Checker::new(query.span);
    let _ = query.ast.visit(&mut checker);
    let dangling = query.hints.iter().filter(|h| match h.target {
        HintTarget::Table(span) => !checker.relations.contains(&span),
        HintTarget::Select(_) => false,
    });
    checker.errors.extend(dangling.map(|h| hints::misplaced(h.span)));
    checker.errors
}

/// The errors of an expression's tree.
pub(super) fn expr(expr: &Expr) -> Vec<Diagnostic> {
    let mut checker = Checker::new(expr.span);
    let _ = expr.ast.visit(&mut checker);
    checker.errors
}

struct Checker {
    source: SourceId,
    /// The place of what has none.
    whole: Span,
    errors: Vec<Diagnostic>,
    /// The last part of every table name.
    relations: HashSet<Span>,
}

impl Checker {
    fn new(whole: Span) -> Self {
        Self { source: whole.source, whole, errors: Vec::new(), relations: HashSet::new() }
    }

    /// A name that is written without backticks must not be a reserved word.
    fn name(&mut self, ident: &sql::Ident) {
        let place = span_of(self.source, ident.span);
        let span = place.unwrap_or(self.whole);
        match ident.quote_style {
            // A name without a place is one of ours.
            None if place.is_some() && reserved::is_reserved(&ident.value) => {
                self.errors.push(reserved::error(span, &ident.value));
            }
            Some('\'') => self.errors.push(
                Diagnostic::error(error::QUERY_SYNTAX, "a string cannot be a name")
                    .with_span(span, "string used as a name")
                    .with_help(format!("a name stands in backticks: `{}`; strings are joined with `||`", ident.value)),
            ),
            _ => {}
        }
    }

    fn alias(&mut self, alias: &sql::TableAlias) {
        self.name(&alias.name);
        for column in &alias.columns {
            self.name(&column.name);
        }
    }

    /// Refuses a clause of another database.
    fn foreign(&mut self, found: bool, clause: &str, help: &str, span: impl Fn() -> sqlparser::tokenizer::Span) {
        if found {
            let span = span_of(self.source, span()).unwrap_or(self.whole);
            self.errors.push(
                Diagnostic::error(error::FOREIGN_SYNTAX, format!("Flink SQL has no {clause}"))
                    .with_span(span, "not a Flink SQL query")
                    .with_help(help),
            );
        }
    }

    fn join(&mut self, join: &sql::Join) {
        use sql::JoinOperator as J;
        let (clause, help) = match &join.join_operator {
            J::Semi(_) | J::LeftSemi(_) | J::RightSemi(_) => {
                ("SEMI JOIN", "write `WHERE key IN (SELECT key FROM …)` or EXISTS")
            }
            J::Anti(_) | J::LeftAnti(_) | J::RightAnti(_) => {
                ("ANTI JOIN", "write `WHERE NOT EXISTS (SELECT … FROM …)`")
            }
            J::CrossApply | J::OuterApply => {
                ("APPLY", "write `CROSS JOIN LATERAL (…)` or `LEFT JOIN LATERAL (…) ON TRUE`")
            }
            J::AsOf { .. } => ("ASOF JOIN", "write `JOIN t FOR SYSTEM_TIME AS OF time ON …`"),
            J::StraightJoin(_) => ("STRAIGHT_JOIN", "write `JOIN`"),
            _ => return,
        };
        self.foreign(true, clause, help, || join.relation.span());
    }
}

/// Whether Flink has a binary operator.
fn is_flinks(op: &sql::BinaryOperator) -> bool {
    use sql::BinaryOperator as B;
    matches!(
        op,
        B::Plus
            | B::Minus
            | B::Multiply
            | B::Divide
            | B::Modulo
            | B::StringConcat
            | B::Gt
            | B::Lt
            | B::GtEq
            | B::LtEq
            | B::Eq
            | B::NotEq
            | B::And
            | B::Or
            | B::Overlaps
    )
}

impl Visitor for Checker {
    type Break = ();

    fn pre_visit_query(&mut self, query: &sql::Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|w| &w.cte_tables) {
            self.alias(&cte.alias);
        }
        let span = || query.body.span();
        self.foreign(!query.locks.is_empty(), "FOR UPDATE or FOR SHARE", "take it away: streams are not locked", span);
        self.foreign(query.for_clause.is_some(), "FOR XML, FOR JSON or FOR BROWSE", "use the JSON functions", span);
        let changes = matches!(
            *query.body,
            sql::SetExpr::Insert(_) | sql::SetExpr::Update(_) | sql::SetExpr::Delete(_) | sql::SetExpr::Merge(_)
        );
        self.foreign(
            changes,
            "INSERT, UPDATE, DELETE or MERGE inside a query",
            "write `INSERT INTO t WITH … SELECT …`",
            span,
        );
        let mut bodies = vec![&*query.body];
        while let Some(body) = bodies.pop() {
            if let sql::SetExpr::SetOperation { left, right, set_quantifier, .. } = body {
                use sql::SetQuantifier as Q;
                let by_name = matches!(set_quantifier, Q::ByName | Q::AllByName | Q::DistinctByName);
                self.foreign(by_name, "set operation BY NAME", "name the columns in the same order", || body.span());
                bodies.extend([&**left, &**right]);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &sql::Select) -> ControlFlow<()> {
        for item in &select.projection {
            match item {
                sql::SelectItem::ExprWithAlias { alias, .. } => self.name(alias),
                sql::SelectItem::ExprWithAliases { aliases, .. } => aliases.iter().for_each(|a| self.name(a)),
                _ => {}
            }
        }
        for join in select.from.iter().flat_map(|t| &t.joins) {
            self.join(join);
        }
        let span = || select.span();
        self.foreign(select.top.is_some(), "TOP", "write `LIMIT n` at the end", span);
        self.foreign(select.into.is_some(), "SELECT INTO", "write `INSERT INTO t SELECT …`", span);
        self.foreign(
            !select.lateral_views.is_empty(),
            "LATERAL VIEW",
            "write `CROSS JOIN UNNEST(…)` or `LATERAL TABLE(…)`",
            span,
        );
        self.foreign(!select.connect_by.is_empty(), "CONNECT BY", "join the table with itself", span);
        self.foreign(!select.cluster_by.is_empty(), "CLUSTER BY", "take it away", span);
        self.foreign(!select.distribute_by.is_empty(), "DISTRIBUTE BY", "take it away", span);
        self.foreign(!select.sort_by.is_empty(), "SORT BY", "write `ORDER BY`", span);
        self.foreign(select.prewhere.is_some(), "PREWHERE", "write `WHERE`", span);
        self.foreign(select.exclude.is_some(), "EXCLUDE", "name the columns", span);
        self.foreign(select.value_table_mode.is_some(), "SELECT AS STRUCT or AS VALUE", "write `ROW(…)`", span);
        let distinct_on = matches!(select.distinct, Some(sql::Distinct::On(_)));
        self.foreign(distinct_on, "DISTINCT ON", "number the rows with ROW_NUMBER() OVER (…) and keep the first", span);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &sql::TableFactor) -> ControlFlow<()> {
        use sql::TableFactor as F;
        if let F::Table { with_hints, partitions, json_path, index_hints, .. } = factor {
            let span = || factor.span();
            self.foreign(
                !with_hints.is_empty(),
                "WITH (…) behind a table",
                "write `/*+ OPTIONS('key' = 'value') */`",
                span,
            );
            self.foreign(!partitions.is_empty(), "PARTITION (…) behind a table", "write a condition in WHERE", span);
            self.foreign(json_path.is_some(), "JSON path behind a table", "use JSON_VALUE", span);
            self.foreign(!index_hints.is_empty(), "index hint", "take it away", span);
        }
        let alias = match factor {
            F::Table { alias, .. }
            | F::Derived { alias, .. }
            | F::TableFunction { alias, .. }
            | F::Function { alias, .. }
            | F::UNNEST { alias, .. }
            | F::MatchRecognize { alias, .. } => alias.as_ref(),
            F::NestedJoin { alias, table_with_joins } => {
                for join in &table_with_joins.joins {
                    self.join(join);
                }
                alias.as_ref()
            }
            F::Pivot { .. } | F::Unpivot { .. } => {
                self.foreign(
                    true,
                    "PIVOT or UNPIVOT",
                    "write one aggregate with FILTER (WHERE …) per column",
                    || factor.span(),
                );
                None
            }
            F::JsonTable { .. } | F::OpenJsonTable { .. } | F::XmlTable { .. } | F::SemanticView { .. } => {
                self.foreign(true, "such a table", "read the JSON with JSON_VALUE and JSON_QUERY", || factor.span());
                None
            }
        };
        if let Some(alias) = alias {
            self.alias(alias);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &sql::ObjectName) -> ControlFlow<()> {
        if let Some(sql::ObjectNamePart::Identifier(last)) = relation.0.last()
            && let Some(span) = span_of(self.source, last.span)
        {
            self.relations.insert(span);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &sql::Expr) -> ControlFlow<()> {
        match expr {
            sql::Expr::Identifier(ident) if !reserved::is_function_without_parentheses(&ident.value) => {
                self.name(ident)
            }
            sql::Expr::BinaryOp { op, .. } if !is_flinks(op) => {
                self.foreign(true, &format!("operator {op}"), "use a function such as DIV, BITAND or REGEXP", || {
                    expr.span()
                });
            }
            sql::Expr::RLike { .. } => {
                self.foreign(true, "operator RLIKE or REGEXP", "write `REGEXP(text, pattern)`", || expr.span());
            }
            sql::Expr::CompoundIdentifier(parts) => parts.iter().for_each(|p| self.name(p)),
            sql::Expr::Function(f) => {
                if let sql::FunctionArguments::List(list) = &f.args {
                    for arg in &list.args {
                        if let sql::FunctionArg::Named { name, .. } = arg {
                            self.name(name);
                        }
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
