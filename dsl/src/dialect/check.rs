//! What sqlparser lets through and Flink does not: reserved words as names, hints that hang on nothing.

use std::collections::HashSet;
use std::ops::ControlFlow;

use dflow_common::{Diagnostic, Span};
use sqlparser::ast::{self as sql, Visit, Visitor};

use super::hints;
use crate::ast::{Expr, HintTarget, Query, span_of};
use crate::reserved;

/// The errors of a query's tree.
pub(super) fn query(query: &Query) -> Vec<Diagnostic> {
    let mut checker = Checker { source: query.span.source, errors: Vec::new(), relations: HashSet::new() };
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
    let mut checker = Checker { source: expr.span.source, errors: Vec::new(), relations: HashSet::new() };
    let _ = expr.ast.visit(&mut checker);
    checker.errors
}

struct Checker {
    source: dflow_common::SourceId,
    errors: Vec<Diagnostic>,
    /// The last part of every table name.
    relations: HashSet<Span>,
}

impl Checker {
    /// A name that is written without backticks must not be a reserved word.
    fn name(&mut self, ident: &sql::Ident) {
        if ident.quote_style.is_none()
            && let Some(span) = span_of(self.source, ident.span)
            && reserved::is_reserved(&ident.value)
        {
            self.errors.push(reserved::error(span, &ident.value));
        }
    }

    fn alias(&mut self, alias: &sql::TableAlias) {
        self.name(&alias.name);
        for column in &alias.columns {
            self.name(&column.name);
        }
    }
}

impl Visitor for Checker {
    type Break = ();

    fn pre_visit_query(&mut self, query: &sql::Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|w| &w.cte_tables) {
            self.alias(&cte.alias);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &sql::Select) -> ControlFlow<()> {
        for item in &select.projection {
            if let sql::SelectItem::ExprWithAlias { alias, .. } = item {
                self.name(alias);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &sql::TableFactor) -> ControlFlow<()> {
        use sql::TableFactor as F;
        let alias = match factor {
            F::Table { alias, .. }
            | F::Derived { alias, .. }
            | F::TableFunction { alias, .. }
            | F::Function { alias, .. }
            | F::UNNEST { alias, .. }
            | F::NestedJoin { alias, .. }
            | F::MatchRecognize { alias, .. } => alias.as_ref(),
            _ => None,
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
            sql::Expr::CompoundIdentifier(parts) => parts.iter().for_each(|p| self.name(p)),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
