//! FROM: which relations a SELECT reads, and what is refused there.

use dflow_common::Span;
use dflow_dsl::ast as dsl;
use sqlparser::ast::{self as sql, Spanned as _};

use super::expr::Place;
use super::names::{Relation, Scope, ScopeColumn};
use super::{Ctes, Prepass, rename};
use crate::catalog::Object;
use crate::error;

impl Prepass<'_> {
    /// The scope of a FROM clause.
    pub(super) fn from(&mut self, items: &mut [sql::TableWithJoins], ctes: &Ctes) -> Scope {
        let mut scope = Scope::default();
        for (i, item) in items.iter_mut().enumerate() {
            if i > 0 {
                let span = self.place(item.relation.span());
                self.refuse_in_stream("a join by comma", span);
            }
            self.table_with_joins(item, ctes, &mut scope);
        }
        scope
    }

    fn table_with_joins(&mut self, item: &mut sql::TableWithJoins, ctes: &Ctes, scope: &mut Scope) {
        self.relation(&mut item.relation, ctes, scope);
        for join in &mut item.joins {
            let span = self.place(join.relation.span());
            self.refuse_in_stream("JOIN", span);
            self.relation(&mut join.relation, ctes, scope);
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
                    sql::JoinConstraint::On(e) => self.expr(e, scope, Place::Scalar),
                    sql::JoinConstraint::None => {}
                    // Their merged columns would need Flink's rules for `*`.
                    sql::JoinConstraint::Using(_) => self.refuse("JOIN … USING", span),
                    sql::JoinConstraint::Natural => self.refuse("NATURAL JOIN", span),
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
                scope.relations.push(Relation { name, id: None, columns });
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
                let what = match other {
                    sql::TableFactor::TableFunction { expr: sql::Expr::Function(f), .. } => {
                        format!("the table function {}", f.name.to_string().to_uppercase())
                    }
                    sql::TableFactor::TableFunction { .. } => "TABLE(…)".into(),
                    sql::TableFactor::Function { args, .. } => match args.first() {
                        Some(sql::FunctionArg::Unnamed(sql::FunctionArgExpr::Expr(sql::Expr::Function(f)))) => {
                            format!("the table function {}", f.name.to_string().to_uppercase())
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
            return self.refuse(format!("the table function {}", name.to_string().to_uppercase()), span);
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
            scope.relations.push(Relation { name: Some(name), id: None, columns });
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
        let (columns, internal): (Vec<ScopeColumn>, _) = match &object {
            Object::Table(t) => {
                let columns =
                    t.columns.iter().map(|c| ScopeColumn { name: c.name.clone(), ty: Some(c.ty.clone()) }).collect();
                (columns, self.table(t, hint, name_span))
            }
            Object::View(v) => {
                let columns =
                    v.columns.iter().map(|(n, t)| ScopeColumn { name: n.clone(), ty: Some(t.clone()) }).collect();
                (columns, self.register(object.clone(), hint, name_span))
            }
        };
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
        scope.relations.push(Relation { name: Some(visible), id, columns });
    }
}

fn renamed(mut columns: Vec<ScopeColumn>, alias: Option<&sql::TableAlias>) -> Vec<ScopeColumn> {
    for (column, name) in columns.iter_mut().zip(alias.iter().flat_map(|a| &a.columns)) {
        column.name.clone_from(&name.name.value);
    }
    columns
}
