//! SET, SHOW, DESCRIBE, USE, EXPLAIN, plans, modules, jobs.

use dflow_common::{Diagnostic, Span, Spanned};

use super::ddl::object_kind;
use super::{Builder, Grammar, P, Rule, child, children, has};
use crate::ast::*;
use crate::lexer::{Token, unquote};
use crate::{error, message};

impl Builder<'_> {
    pub(super) fn command(&mut self, pair: &P) -> Option<StatementKind> {
        Some(match pair.as_rule() {
            Rule::set => StatementKind::Set(child(pair, Rule::set_pair).and_then(|p| self.set_pair(&p))),
            Rule::reset => {
                let key = pair.clone().into_inner().find(|p| p.as_rule() != Rule::kw_reset);
                StatementKind::Reset(key.map(|k| self.set_text(&k)))
            }
            Rule::use_ => StatementKind::Use(self.use_(pair)?),
            Rule::show => StatementKind::Show(Box::new(self.show(pair)?)),
            Rule::describe => StatementKind::Describe(self.describe(pair)?),
            Rule::explain => {
                let details = children(pair, Rule::detail).filter_map(|d| self.detail(&d)).collect();
                let target = self.plan_target(&child(pair, Rule::rest)?)?;
                StatementKind::Explain(Box::new(Explain { details, target }))
            }
            Rule::compile => StatementKind::CompilePlan(Box::new(CompilePlan {
                execute: has(pair, Rule::and_execute),
                path: self.string_in(pair)?,
                if_not_exists: has(pair, Rule::if_not_exists),
                target: self.plan_target(&child(pair, Rule::rest)?)?,
            })),
            Rule::execute_plan => StatementKind::ExecutePlan(self.string_in(pair)?),
            Rule::load => {
                let (name, options) = (self.ident_in(pair), self.with_options(pair));
                StatementKind::LoadModule(LoadModule { name: name?, options })
            }
            Rule::unload => StatementKind::UnloadModule(self.ident_in(pair)?),
            Rule::add_jar => StatementKind::AddJar(self.string_in(pair)?),
            Rule::remove_jar => StatementKind::RemoveJar(self.string_in(pair)?),
            Rule::call => {
                let text = child(pair, Rule::call_text)?;
                let (name, call) = (self.name_in(&text), self.expr(&text));
                StatementKind::Call(Box::new(Call { name: name?, call: call? }))
            }
            Rule::analyze => {
                let table = self.name_in(pair);
                let partition = child(pair, Rule::partition).map(|p| self.partition(&p));
                let columns = match child(pair, Rule::some_columns) {
                    Some(list) => AnalyzeColumns::Some(self.idents(&list)),
                    None if has(pair, Rule::all_columns) => AnalyzeColumns::All,
                    None => AnalyzeColumns::None,
                };
                StatementKind::Analyze(Box::new(Analyze { table: table?, partition, columns }))
            }
            Rule::stop => {
                let savepoint = child(pair, Rule::savepoint);
                StatementKind::StopJob(StopJob {
                    id: self.string_in(pair)?,
                    savepoint: savepoint.is_some(),
                    drain: savepoint.is_some_and(|s| has(&s, Rule::drain)),
                    span: self.span(pair),
                })
            }
            Rule::help => StatementKind::Help,
            Rule::quit => StatementKind::Quit,
            _ => StatementKind::Clear,
        })
    }

    fn set_pair(&mut self, pair: &P) -> Option<SetOption> {
        let mut parts = pair.clone().into_inner();
        let (key, value) = (parts.next()?, parts.next()?);
        Some(SetOption { key: self.set_text(&key), value: self.set_text(&value) })
    }

    /// A key or value of SET: quoted either way, or bare.
    fn set_text(&self, pair: &P) -> Text {
        let text = match pair.as_rule() {
            Rule::string | Rule::dq => unquote(pair.as_str()),
            _ => pair.as_str().to_owned(),
        };
        Spanned::new(text, self.span(pair))
    }

    fn use_(&mut self, pair: &P) -> Option<Use> {
        if let Some(catalog) = child(pair, Rule::use_catalog) {
            return self.ident_in(&catalog).map(Use::Catalog);
        }
        if let Some(modules) = child(pair, Rule::use_modules) {
            return Some(Use::Modules(self.idents(&modules)));
        }
        self.name_in(pair).map(Use::Database)
    }

    fn show(&mut self, pair: &P) -> Option<Show> {
        let subject = pair.clone().into_inner().find(|p| p.as_rule() != Rule::kw_show)?;
        let what = match subject.as_rule() {
            Rule::show_create => {
                let kind = object_kind(&child(&subject, Rule::show_kind)?);
                ShowWhat::Create(kind, self.name_in(&subject)?)
            }
            Rule::show_columns => ShowWhat::Columns(self.name_in(&subject)?),
            Rule::show_partitions => {
                let partition = child(&subject, Rule::partition).map(|p| self.partition(&p));
                ShowWhat::Partitions(self.name_in(&subject)?, partition)
            }
            Rule::show_functions => ShowWhat::Functions { user: has(&subject, Rule::user) },
            Rule::show_modules => ShowWhat::Modules { full: has(&subject, Rule::full) },
            Rule::show_current if has(&subject, Rule::kw_catalog) => ShowWhat::CurrentCatalog,
            Rule::show_current => ShowWhat::CurrentDatabase,
            _ => match subject.clone().into_inner().next()?.as_rule() {
                Rule::kw_materialized => ShowWhat::MaterializedTables,
                Rule::kw_catalogs => ShowWhat::Catalogs,
                Rule::kw_databases => ShowWhat::Databases,
                Rule::kw_tables => ShowWhat::Tables,
                Rule::kw_views => ShowWhat::Views,
                Rule::kw_procedures => ShowWhat::Procedures,
                Rule::kw_models => ShowWhat::Models,
                Rule::kw_jars => ShowWhat::Jars,
                _ => ShowWhat::Jobs,
            },
        };
        let scope = child(pair, Rule::scope).map(|s| self.name_in(&s));
        let filter = child(pair, Rule::like_filter).and_then(|f| {
            Some(ShowFilter {
                negated: has(&f, Rule::not_),
                case_insensitive: has(&f, Rule::ilike),
                pattern: self.string_in(&f)?,
            })
        });
        Some(Show { what, scope: scope.flatten(), filter })
    }

    fn describe(&mut self, pair: &P) -> Option<Describe> {
        let extended = has(pair, Rule::extended);
        if has(pair, Rule::kw_job) {
            return Some(Describe { target: DescribeTarget::Job(self.string_in(pair)?), extended });
        }
        let name = self.name_in(pair)?;
        let target = match child(pair, Rule::describe_kind) {
            Some(kind) => DescribeTarget::Object(object_kind(&kind), name),
            None => DescribeTarget::Table(name),
        };
        Some(Describe { target, extended })
    }

    fn detail(&self, pair: &P) -> Option<Spanned<ExplainDetail>> {
        let detail = match pair.clone().into_inner().next()?.as_rule() {
            Rule::kw_estimated_cost => ExplainDetail::EstimatedCost,
            Rule::kw_changelog_mode => ExplainDetail::ChangelogMode,
            Rule::kw_plan_advice => ExplainDetail::PlanAdvice,
            _ => ExplainDetail::JsonExecutionPlan,
        };
        Some(Spanned::new(detail, self.span(pair)))
    }

    /// What EXPLAIN and COMPILE PLAN are about: a query, an INSERT, or the statement set whose members were read before.
    fn plan_target(&mut self, rest: &P) -> Option<PlanTarget> {
        let tokens = self.tokens_of(rest);
        if let Some(set) = self.members.take() {
            return Some(PlanTarget::StatementSet(set));
        }
        let first = tokens.first()?;
        if first.is_word(self.text, "INSERT") || first.is_word(self.text, "EXECUTE") {
            return self.insert_of(tokens).map(|i| PlanTarget::Insert(Box::new(i)));
        }
        let starts_query =
            first.is_op("(") || ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|w| first.is_word(self.text, w));
        if !starts_query {
            let span = Span::new(self.source, first.start, first.end);
            self.errors.push(
                Diagnostic::error(
                    error::SYNTAX,
                    format!("expected a query, INSERT or STATEMENT SET, found {}", first.describe(self.text)),
                )
                .with_span(span, "not something that has a plan"),
            );
            return None;
        }
        self.query_of(tokens).map(PlanTarget::Query)
    }

    fn insert_of(&mut self, tokens: &[Token]) -> Option<Insert> {
        use pest::Parser;
        let (first, last) = (tokens.first()?, tokens.last()?);
        let text = self.text.clone();
        let base = std::mem::replace(&mut self.base, first.start);
        let insert = match Grammar::parse(Rule::statement, &text[first.start..last.end]) {
            Ok(mut pairs) => {
                let pair = pairs.next().and_then(|p| p.into_inner().next());
                pair.filter(|p| p.as_rule() == Rule::insert).and_then(|p| self.insert(&p))
            }
            Err(e) => {
                self.errors.push(message::grammar_error(self.source, &text, tokens, &e));
                None
            }
        };
        self.base = base;
        insert
    }
}
