//! FROM: which relations a SELECT reads, and what is refused there.

use dflow_common::{Span, SqlType};
use dflow_dsl::ast as dsl;
use sqlparser::ast::{self as sql, Spanned as _};

use super::expr::Place;
use super::names::{Relation, Scope, ScopeColumn};
use super::{Ctes, Prepass, Referenced, rename};
use crate::bind::views;
use crate::catalog::Object;
use crate::error::{self, at};

impl Prepass<'_> {
    /// The scope of a FROM clause.
    pub(super) fn from(&mut self, items: &mut [sql::TableWithJoins], ctes: &Ctes) -> Scope {
        let mut scope = Scope::default();
        for (i, item) in items.iter_mut().enumerate() {
            let span = self.place(item.relation.span());
            let before = self.errors.len();
            self.table_with_joins(item, ctes, &mut scope);
            if i > 0 && !self.refused_since(before) {
                self.refuse_in_stream("a join by comma", span);
            }
        }
        scope
    }

    /// Whether something was refused by name since there were `before` errors: what it is joined with is no news then.
    fn refused_since(&self, before: usize) -> bool {
        self.errors[before..].iter().any(|d| d.code == error::UNSUPPORTED.code)
    }

    fn table_with_joins(&mut self, item: &mut sql::TableWithJoins, ctes: &Ctes, scope: &mut Scope) {
        self.relation(&mut item.relation, ctes, scope);
        for join in &mut item.joins {
            let span = self.place(join.relation.span());
            let before = self.errors.len();
            self.relation(&mut join.relation, ctes, scope);
            let refused = self.refused_since(before);
            use sql::JoinOperator as J;
            match &mut join.join_operator {
                J::Join(c)
                | J::Inner(c)
                | J::Left(c)
                | J::LeftOuter(c)
                | J::Right(c)
                | J::RightOuter(c)
                | J::FullOuter(c)
                | J::CrossJoin(c) => match c {
                    // Their merged columns would need Flink's rules for `*`.
                    sql::JoinConstraint::Using(_) => self.refuse("JOIN … USING", span),
                    sql::JoinConstraint::Natural => self.refuse("NATURAL JOIN", span),
                    sql::JoinConstraint::On(_) | sql::JoinConstraint::None => {
                        if !refused {
                            self.refuse_in_stream("JOIN", span);
                        }
                        if let sql::JoinConstraint::On(e) = c {
                            self.expr(e, scope, Place::Scalar);
                        }
                    }
                },
                _ => self.refuse("this kind of join", span),
            }
        }
    }

    fn relation(&mut self, factor: &mut sql::TableFactor, ctes: &Ctes, scope: &mut Scope) {
        let span = self.place(factor.span());
        match factor {
            sql::TableFactor::Table { .. } => self.table_factor(factor, span, ctes, scope),
            sql::TableFactor::Derived { lateral, subquery, alias, sample } => {
                if *lateral {
                    self.refuse("LATERAL", span);
                }
                if sample.is_some() {
                    self.refuse("TABLESAMPLE", span);
                }
                let before = self.errors.len();
                let mut names = self.query(subquery, ctes);
                scope.poisoned |= self.errors.len() > before;
                let name = alias.as_ref().map(|a| {
                    rename(&mut names, a);
                    a.name.value.clone()
                });
                let columns = names.into_iter().map(ScopeColumn::untyped).collect();
                self.enter(scope, Relation { name, id: None, columns }, span);
            }
            sql::TableFactor::NestedJoin { table_with_joins, alias } => {
                self.refuse_in_stream("JOIN", span);
                if alias.is_some() {
                    self.refuse("an alias for a join in parentheses", span);
                }
                self.table_with_joins(table_with_joins, ctes, scope);
            }
            other => {
                scope.poisoned = true;
                let what: String = match other {
                    sql::TableFactor::TableFunction { expr: sql::Expr::Function(f), .. } => {
                        return self.refuse_table_function(&f.name, span);
                    }
                    sql::TableFactor::TableFunction { .. } => "TABLE(…)".into(),
                    sql::TableFactor::Function { args, .. } => match args.first() {
                        Some(sql::FunctionArg::Unnamed(sql::FunctionArgExpr::Expr(sql::Expr::Function(f)))) => {
                            return self.refuse_table_function(&f.name, span);
                        }
                        _ => "a table function".into(),
                    },
                    sql::TableFactor::UNNEST { .. } => "UNNEST".into(),
                    sql::TableFactor::MatchRecognize { .. } => "MATCH_RECOGNIZE".into(),
                    _ => {
                        self.refuse_foreign(&[(true, "this in FROM")], span);
                        return;
                    }
                };
                self.refuse(what, span);
            }
        }
    }

    /// Adds a relation to a FROM, which has each name once.
    fn enter(&mut self, scope: &mut Scope, relation: Relation, span: Span) {
        if let Some(name) = &relation.name
            && scope.relations.iter().any(|r| r.name.as_ref() == Some(name))
        {
            let d = at(error::BAD_QUERY, span, format!("two tables of FROM are called `{name}`"), "again");
            self.errors.push(d.with_help("give one of them another name with AS"));
            scope.poisoned = true;
            return;
        }
        scope.relations.push(relation);
    }

    fn refuse_table_function(&mut self, name: &sql::ObjectName, span: Span) {
        let name = name.to_string().trim_matches('`').to_uppercase();
        match name.as_str() {
            "TUMBLE" | "HOP" | "CUMULATE" | "SESSION" => self.refuse_window(&name, span),
            _ => self.refuse(format!("the table function {name}"), span),
        }
    }

    fn table_factor(&mut self, factor: &mut sql::TableFactor, span: Span, ctes: &Ctes, scope: &mut Scope) {
        let sql::TableFactor::Table {
            name,
            alias,
            args,
            with_hints,
            version,
            with_ordinality,
            partitions,
            json_path,
            sample,
            index_hints,
        } = factor
        else {
            return;
        };
        if args.is_some() {
            scope.poisoned = true;
            return self.refuse_table_function(name, span);
        }
        if version.is_some() {
            self.refuse("FOR SYSTEM_TIME AS OF", span);
        }
        if sample.is_some() {
            self.refuse("TABLESAMPLE", span);
        }
        let foreign = [
            (!with_hints.is_empty() || !index_hints.is_empty(), "a table hint that is not a comment"),
            (*with_ordinality, "WITH ORDINALITY at a table"),
            (!partitions.is_empty(), "PARTITION at a table"),
            (json_path.is_some(), "a path behind a table"),
        ];
        self.refuse_foreign(&foreign, span);
        let parts: Vec<dsl::Ident> = name
            .0
            .iter()
            .filter_map(|p| p.as_ident())
            .map(|i| dsl::Ident { value: i.value.clone(), quoted: i.quote_style.is_some(), span: self.place(i.span) })
            .collect();
        let Some((first, last)) = parts.first().zip(parts.last()) else {
            return self.refuse_foreign(&[(true, "this table name")], span);
        };
        let name_span = first.span.join(last.span);
        let last_span = last.span;
        let own = last.value.clone();
        if let ([only], Some(cte)) = (parts.as_slice(), ctes.get(&first.value)) {
            self.table_hints(last_span, false);
            scope.poisoned |= cte.is_none();
            let name = alias.as_ref().map_or(only.value.clone(), |a| a.name.value.clone());
            let columns = renamed(cte.clone().unwrap_or_default(), alias.as_ref());
            self.enter(scope, Relation { name: Some(name), id: None, columns }, span);
            return;
        }
        let object_name = dsl::ObjectName { parts, span: name_span };
        let object = match self.context.catalog.get(&object_name) {
            Ok(object) => object.clone(),
            Err(d) => {
                scope.poisoned = true;
                let near_cte = d
                    .help
                    .is_empty()
                    .then(|| dflow_common::suggest::nearest(&own, ctes.keys().map(String::as_str)).map(str::to_owned));
                self.errors.push(match near_cte.flatten() {
                    Some(near) => d.with_help(format!("did you mean `{near}`?")),
                    None => *d,
                });
                return;
            }
        };
        let hint = self.table_hints(last_span, matches!(object, Object::Table(_)));
        let typed = |(name, ty): (&String, &SqlType)| ScopeColumn { name: name.clone(), ty: Some(ty.clone()) };
        let (columns, referenced): (Vec<ScopeColumn>, _) = match &object {
            Object::Table(t) => {
                (t.columns.iter().map(|c| typed((&c.name, &c.ty))).collect(), Referenced::Table(t.clone()))
            }
            Object::View(v) => match views::open(self.context, v, name_span) {
                Ok(view) => (view.columns.iter().map(|(n, t)| typed((n, t))).collect(), Referenced::View(view)),
                Err(errors) => {
                    scope.poisoned = true;
                    return self.errors.extend(errors);
                }
            },
        };
        let internal = self.register(referenced, hint, name_span);
        let id = alias.is_none().then(|| object.id().clone());
        let visible = alias.as_ref().map_or(own, |a| a.name.value.clone());
        let columns = renamed(columns, alias.as_ref());
        if let Some(a) = alias.as_ref()
            && a.columns.len() > columns.len()
        {
            let message =
                format!("`{}` has {} columns, the alias lists {}", a.name.value, columns.len(), a.columns.len());
            self.errors.push(error::at(error::BAD_QUERY, span, message, "too many names"));
        }
        *name = internal;
        if alias.is_none() {
            *alias = Some(sql::TableAlias { explicit: true, name: super::quoted(&visible), columns: vec![], at: None });
        }
        self.enter(scope, Relation { name: Some(visible), id, columns }, span);
    }
}

fn renamed(mut columns: Vec<ScopeColumn>, alias: Option<&sql::TableAlias>) -> Vec<ScopeColumn> {
    for (column, name) in columns.iter_mut().zip(alias.iter().flat_map(|a| &a.columns)) {
        column.name.clone_from(&name.name.value);
    }
    columns
}
