//! Which expression an error of planning is about.
//!
//! DataFusion says what is wrong with types, and seldom where. The place is found by asking again, about less:
//! ```text
//! SELECT id, UPPER(CONCAT(name, 'x'), 1) FROM t     error E
//!   SELECT 1 FROM t                                 fine, so it is not in FROM
//!   SELECT id FROM t                                fine
//!   SELECT CONCAT(name, 'x') FROM t                 fine
//!   SELECT UPPER(CONCAT(name, 'x'), 1) FROM t       error E: here
//! ```
//! Innermost expressions first, subqueries and WITH before what reads them. Only the same error counts: an expression may
//! fail alone for other reasons. The search costs a planning per expression and happens when there is an error anyway.

use std::ops::ControlFlow;

use dflow_common::{SourceMap, Span};
use dflow_dsl::ast as dsl;
use sqlparser::ast::{self as sql, Spanned as _, Visit as _};

/// Expressions tried for one error: enough for any query a person wrote, and a bound for those that were generated.
const TRIES_MAX: usize = 2_000;

/// The innermost expression of `query` that has the error, if one has it; `same` plans a query and says whether it does.
/// Of inputs of a set operation that do not go together, and of rows of VALUES, `part` says which column, and which cell.
pub(super) fn in_query(
    query: &sql::Query,
    part: Option<usize>,
    same: &dyn Fn(sql::Query) -> bool,
) -> Option<sql::Expr> {
    Search { same, part, tries: 0 }.query(query, &[])
}

/// The part of an expression that an error is about: a branch of CASE (ELSE is the last, then come the conditions), an
/// argument, an item of IN, a bound of BETWEEN; the expression without a number.
pub(super) fn part(e: &sql::Expr, part: Option<usize>) -> &sql::Expr {
    let Some(i) = part else { return e };
    let found = match e {
        sql::Expr::Case { conditions, else_result, .. } => {
            let results = conditions.iter().map(|c| &c.result).chain(else_result.as_deref());
            results.chain(conditions.iter().map(|c| &c.condition)).nth(i)
        }
        sql::Expr::InList { list, .. } => list.get(i),
        sql::Expr::Between { low, high, .. } => Some(if i == 0 { low.as_ref() } else { high }),
        sql::Expr::Array(array) => array.elem.get(i),
        sql::Expr::Function(sql::Function { args: sql::FunctionArguments::List(list), .. }) => match list.args.get(i) {
            Some(sql::FunctionArg::Unnamed(sql::FunctionArgExpr::Expr(e))) => Some(e),
            _ => None,
        },
        _ => None,
    };
    found.unwrap_or(e)
}

/// As [`in_query`], for an expression.
pub(super) fn in_expr(expr: &sql::Expr, same: &dyn Fn(sql::Expr) -> bool) -> Option<sql::Expr> {
    innermost_first(expr).into_iter().take(TRIES_MAX).find(|e| same(e.clone()))
}

struct Search<'a> {
    same: &'a dyn Fn(sql::Query) -> bool,
    part: Option<usize>,
    tries: usize,
}

impl Search<'_> {
    fn query(&mut self, query: &sql::Query, outer: &[sql::Cte]) -> Option<sql::Expr> {
        let mut ctes = outer.to_vec();
        for cte in query.with.iter().flat_map(|w| &w.cte_tables) {
            if let Some(found) = self.query(&cte.query, &ctes) {
                return Some(found);
            }
            ctes.push(cte.clone());
        }
        self.body(&query.body, &ctes)
    }

    fn body(&mut self, body: &sql::SetExpr, ctes: &[sql::Cte]) -> Option<sql::Expr> {
        match body {
            sql::SetExpr::Select(select) => self.select(select, ctes),
            sql::SetExpr::Query(query) => self.query(query, ctes),
            sql::SetExpr::SetOperation { left, right, .. } => {
                self.body(left, ctes).or_else(|| self.body(right, ctes)).or_else(|| {
                    let column = column_of(right, self.part?)?;
                    self.has_it(body.clone(), ctes).then(|| column.clone())
                })
            }
            sql::SetExpr::Values(values) => {
                let width = values.rows.first()?.content.len().max(1);
                let part = self.part?;
                let cell = values.rows.get(part / width)?.content.get(part % width)?;
                self.has_it(body.clone(), ctes).then(|| cell.clone())
            }
            _ => None,
        }
    }

    fn select(&mut self, select: &sql::Select, ctes: &[sql::Cte]) -> Option<sql::Expr> {
        for factor in select.from.iter().flat_map(factors) {
            if let sql::TableFactor::Derived { subquery, .. } = factor
                && let Some(found) = self.query(subquery, ctes)
            {
                return Some(found);
            }
        }
        let mut bare = select.clone();
        bare.projection = vec![sql::SelectItem::UnnamedExpr(sql::Expr::value(sql::Value::Boolean(true)))];
        (bare.distinct, bare.selection, bare.having) = (None, None, None);
        bare.group_by = sql::GroupByExpr::Expressions(vec![], vec![]);
        let conditions = take_conditions(&mut bare);
        if self.select_has_it(&bare, ctes) {
            return None;
        }
        let items = select.projection.iter().filter_map(item);
        let groups = match &select.group_by {
            sql::GroupByExpr::Expressions(all, _) => all.as_slice(),
            sql::GroupByExpr::All(_) => &[],
        };
        let predicates = || conditions.iter().chain(&select.selection).chain(&select.having);
        for e in items.chain(groups).chain(predicates()).flat_map(innermost_first) {
            let mut one = bare.clone();
            one.projection = vec![sql::SelectItem::UnnamedExpr(e.clone())];
            if self.select_has_it(&one, ctes) {
                return Some(e);
            }
        }
        // One that is fine as a value and wrong as a condition.
        for e in predicates() {
            let mut one = bare.clone();
            one.selection = Some(e.clone());
            if self.select_has_it(&one, ctes) {
                return Some(e.clone());
            }
        }
        None
    }

    fn select_has_it(&mut self, select: &sql::Select, ctes: &[sql::Cte]) -> bool {
        self.has_it(sql::SetExpr::Select(Box::new(select.clone())), ctes)
    }

    fn has_it(&mut self, body: sql::SetExpr, ctes: &[sql::Cte]) -> bool {
        self.tries += 1;
        let with = (!ctes.is_empty()).then(|| sql::With {
            with_token: sql::helpers::attached_token::AttachedToken::empty(),
            recursive: false,
            cte_tables: ctes.to_vec(),
        });
        self.tries <= TRIES_MAX
            && (self.same)(sql::Query {
                with,
                body: Box::new(body),
                order_by: None,
                limit_clause: None,
                fetch: None,
                locks: vec![],
                for_clause: None,
                settings: None,
                format_clause: None,
                pipe_operators: vec![],
            })
    }
}

fn factors(from: &sql::TableWithJoins) -> impl Iterator<Item = &sql::TableFactor> {
    std::iter::once(&from.relation).chain(from.joins.iter().map(|j| &j.relation))
}

/// The ON conditions, with TRUE left in their places.
fn take_conditions(select: &mut sql::Select) -> Vec<sql::Expr> {
    use sql::JoinOperator as J;
    let mut all = Vec::new();
    for join in select.from.iter_mut().flat_map(|f| &mut f.joins) {
        if let J::Join(c)
        | J::Inner(c)
        | J::Left(c)
        | J::LeftOuter(c)
        | J::Right(c)
        | J::RightOuter(c)
        | J::FullOuter(c) = &mut join.join_operator
            && let sql::JoinConstraint::On(e) = c
        {
            all.push(std::mem::replace(e, sql::Expr::value(sql::Value::Boolean(true))));
        }
    }
    all
}

fn item(item: &sql::SelectItem) -> Option<&sql::Expr> {
    match item {
        sql::SelectItem::UnnamedExpr(e) | sql::SelectItem::ExprWithAlias { expr: e, .. } => Some(e),
        _ => None,
    }
}

fn innermost_first(e: &sql::Expr) -> Vec<sql::Expr> {
    struct Collect(Vec<sql::Expr>);
    impl sql::Visitor for Collect {
        type Break = ();
        fn post_visit_expr(&mut self, e: &sql::Expr) -> ControlFlow<()> {
            self.0.push(e.clone());
            ControlFlow::Continue(())
        }
    }
    let mut all = Collect(Vec::new());
    let _ = e.visit(&mut all);
    all.0
}

/// The function an expression calls, if the script calls it by its name.
pub(super) fn called(e: &sql::Expr) -> Option<String> {
    let sql::Expr::Function(f) = e else { return None };
    let name = f.name.0.last()?.as_ident()?;
    name.quote_style.is_none().then(|| name.value.to_uppercase())
}

/// The place of an expression, with the parentheses at its ends, which sqlparser leaves out.
pub(super) fn place(e: &sql::Expr, query: Span, sources: &SourceMap) -> Option<Span> {
    let span = dsl::span_of(query.source, e.span())?;
    let text = sources.text(query);
    let (mut start, mut end) = ((span.start - query.start) as usize, (span.end - query.start) as usize);
    // `COUNT` of `COUNT(*)`
    if matches!(e, sql::Expr::Function(_))
        && text.get(end..)?.trim_start().starts_with('(')
        && let Some(close) = text.get(end..)?.find(')')
    {
        end += close + 1;
    }
    let (mut depth, mut lowest) = (0i64, 0i64);
    for c in text.get(start..end)?.bytes() {
        depth += i64::from(c == b'(') - i64::from(c == b')');
        lowest = lowest.min(depth);
    }
    for _ in lowest..0 {
        match text.get(..start)?.trim_end().strip_suffix('(') {
            Some(before) => start = before.len(),
            None => return Some(span),
        }
    }
    for _ in lowest..depth {
        match text.get(end..)?.trim_start().strip_prefix(')') {
            Some(behind) => end = text.len() - behind.len(),
            None => return Some(span),
        }
    }
    Some(Span::new(span.source, query.start as usize + start, query.start as usize + end))
}

/// The place of the `i`-th column a query writes; the query when it does not write it by itself.
pub(crate) fn column(query: &dsl::Query, i: usize, sources: &SourceMap) -> Span {
    column_of(&query.ast.body, i).and_then(|e| place(e, query.span, sources)).unwrap_or(query.span)
}

fn column_of(body: &sql::SetExpr, i: usize) -> Option<&sql::Expr> {
    match body {
        // Behind a `*` nobody knows.
        sql::SetExpr::Select(s) if s.projection.iter().take(i + 1).all(|p| item(p).is_some()) => {
            s.projection.get(i).and_then(item)
        }
        sql::SetExpr::Query(q) => column_of(&q.body, i),
        sql::SetExpr::SetOperation { left, .. } => column_of(left, i),
        sql::SetExpr::Values(v) => v.rows.first()?.content.get(i),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use sqlparser::parser::Parser;

    use super::*;

    /// The text under the place of the first expression of a query, which `dsl` read.
    fn shown(text: &str) -> String {
        let mut sources = SourceMap::new();
        let id = sources.add("x.sql", text);
        let parsed = dflow_dsl::parse(id, text);
        let dsl::StatementKind::Query(query) = &parsed.script.statements[0].kind else { panic!("a query") };
        sources.text(column(query, 0, &sources)).to_owned()
    }

    #[test]
    fn a_place_has_its_parentheses() {
        for (text, place) in [
            ("SELECT a FROM t", "a"),
            ("SELECT UPPER(LOWER(a) ) FROM t", "UPPER(LOWER(a) )"),
            ("SELECT (a + b) * c FROM t", "(a + b) * c"),
            ("SELECT ( (a + b)) * F(c) FROM t", "( (a + b)) * F(c)"),
            ("SELECT COUNT( * ) AS n FROM t", "COUNT( * )"),
            ("SELECT F('(', a) FROM t", "F('(', a"),
            ("SELECT *, a FROM t", "SELECT *, a FROM t"),
            ("VALUES (1, 2)", "1"),
        ] {
            assert_eq!(shown(text), place, "{text}");
        }
    }

    #[test]
    fn the_innermost_expression_with_the_error_is_found_and_no_other() {
        let dialect = sqlparser::dialect::GenericDialect {};
        let blamed = |text: &str| {
            let query = Parser::new(&dialect).try_with_sql(text).unwrap().parse_query().unwrap();
            in_query(&query, None, &|q| q.to_string().contains("bad")).map(|e| e.to_string())
        };
        for (text, expected) in [
            ("SELECT a, f(g(bad), 1) FROM t", Some("bad")),
            ("SELECT a FROM t WHERE h(bad + 1)", Some("bad")),
            ("WITH c AS (SELECT bad FROM t) SELECT x, y FROM c", Some("bad")),
            ("SELECT x FROM (SELECT k(bad) AS x FROM t) JOIN u ON a = b", Some("bad")),
            ("SELECT x FROM t JOIN u ON bad = b", Some("bad")),
            ("SELECT x FROM t UNION ALL SELECT bad FROM t", Some("bad")),
            // In FROM, where no expression is: nothing else is blamed for it.
            ("SELECT x, y FROM bad WHERE z", None),
        ] {
            assert_eq!(blamed(text).as_deref(), expected, "{text}");
        }
    }
}
