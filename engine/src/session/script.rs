//! Statement by statement through a script.
//!
//! Definitions and settings take effect at once, so that later statements see them. INSERTs and a bare SELECT are bound
//! where they stand and planned together at the end: they form one streaming job. Several bare SELECTs print one after
//! the other: each is a job of its own, all but the last have an end, and there is no INSERT beside them. A statement
//! that failed poisons the names it was to create: later statements that use them are not reported.

use std::collections::HashSet;

use datafusion::logical_expr::LogicalPlan;
use dflow_common::{Diagnostic, Severity, SourceMap, Span, Spanned};
use dflow_connector_api::RawOption;
use dflow_dsl::ast::{self as dsl, StatementKind};

use super::job::{self, Work, WorkTarget};
use super::{CompiledScript, CompiledStatement, Session, alter, define, options};
use crate::bind::prepass::Context;
use crate::bind::{Binder, Functions, context};
use crate::catalog::{IfExists, Object, ObjectId, Rows, Table, describe, show_create};
use crate::error::{self, Errors, Result, at, unsupported};
use crate::explain;
use crate::lint::Advice;
use crate::settings::{Resolved, RuntimeMode};
use crate::sink;

/// Compiles a script; on errors the session is as before.
pub(super) fn compile(session: &mut Session, script: &dsl::Script, sources: &SourceMap) -> Result<CompiledScript> {
    let before = (session.catalog.clone(), session.settings.clone());
    let mut compiler = Compiler {
        session,
        sources,
        errors: Vec::new(),
        poisoned: HashSet::new(),
        statements: Vec::new(),
        warnings: Vec::new(),
        functions: None,
        works: Vec::new(),
        mode: None,
    };
    for statement in &script.statements {
        compiler.statement(statement);
    }
    let result = compiler.finish();
    if result.is_err() {
        (session.catalog, session.settings) = before;
    }
    result
}

struct Compiler<'a> {
    session: &'a mut Session,
    sources: &'a SourceMap,
    errors: Vec<Diagnostic>,
    /// Names whose definition failed.
    poisoned: HashSet<ObjectId>,
    statements: Vec<CompiledStatement>,
    warnings: Vec<Diagnostic>,
    /// The functions for the time zone they were made for.
    functions: Option<(String, Functions)>,
    /// INSERTs and SELECTs of the streaming job.
    works: Vec<Work>,
    /// The mode of the first of them, and where it is.
    mode: Option<(RuntimeMode, Span)>,
}

impl Compiler<'_> {
    fn statement(&mut self, statement: &dsl::Statement) {
        if let StatementKind::Invalid(invalid) = &statement.kind {
            if let Some(name) = &invalid.creates {
                self.poison(name);
            }
            return;
        }
        if let Err(errors) = self.run(statement) {
            let mut errors = errors.into_diagnostics();
            // A name whose definition failed is reported once, where it was to be defined.
            errors.retain(|d| !self.is_consequence(d));
            self.errors.extend(errors);
            match &statement.kind {
                StatementKind::CreateTable(c) => self.poison(&c.name),
                StatementKind::CreateView(c) => self.poison(&c.name),
                _ => {}
            }
        }
    }

    fn poison(&mut self, name: &dsl::ObjectName) {
        if let Ok(id) = self.session.catalog.resolve(name) {
            self.poisoned.insert(id);
        }
    }

    /// Whether an error says that a poisoned name does not exist.
    fn is_consequence(&self, d: &Diagnostic) -> bool {
        if d.code != error::TABLE_NOT_FOUND.code {
            return false;
        }
        let text = d.span().map(|s| self.sources.text(s).replace('`', ""));
        let last = text.as_deref().and_then(|t| t.rsplit('.').next()).map(str::trim);
        self.poisoned.iter().any(|id| Some(id.name.as_str()) == last)
    }

    fn run(&mut self, statement: &dsl::Statement) -> Result<()> {
        let span = statement.span;
        match &statement.kind {
            StatementKind::CreateTable(create) => self.create_table(create, span),
            StatementKind::CreateView(create) => self.create_view(create),
            StatementKind::CreateCatalog(c) => self.create_catalog(c),
            StatementKind::CreateDatabase(c) => Ok(self.session.catalog.create_database(&c.name, c.if_not_exists)?),
            StatementKind::AlterTable(alter) => self.alter_table(alter),
            StatementKind::AlterView(alter) => self.alter_view(alter),
            StatementKind::Drop(drop) => self.drop(drop, span),
            StatementKind::Use(target) => self.use_object(target, span),
            StatementKind::Set(None) => {
                let rows = self.session.settings.shown();
                let rows = rows.into_iter().map(|(k, v)| vec![Some(k), Some(v)]).collect();
                self.rows(Rows { columns: vec!["key".into(), "value".into()], rows });
                Ok(())
            }
            StatementKind::Set(Some(set)) => self.in_zone(|c| c.set(set)),
            StatementKind::Reset(key) => {
                let key = key.as_ref().map(|k| Spanned::new(k.value.clone(), k.span));
                self.in_zone(|c| Ok(c.session.settings.reset(key.as_ref())?))
            }
            StatementKind::Show(show) => self.show(show, span),
            StatementKind::Describe(d) => self.describe(d, span),
            StatementKind::Help | StatementKind::Quit | StatementKind::Clear => Ok(()),
            StatementKind::Insert(insert) => {
                let work = self.insert(insert)?;
                self.work(work)
            }
            StatementKind::StatementSet(set) => {
                for insert in &set.inserts {
                    let work = self.insert(insert)?;
                    self.work(work)?;
                }
                Ok(())
            }
            StatementKind::Query(query) => {
                let work = self.select(query)?;
                self.work(work)
            }
            StatementKind::Explain(explain) => self.explain(explain),
            other => Err(unsupported(name_of(other), span).into()),
        }
    }

    /// Binds an INSERT.
    fn insert(&mut self, insert: &dsl::Insert) -> Result<Work> {
        if insert.overwrite {
            return Err(unsupported("INSERT OVERWRITE", insert.span)
                .with_note(
                    "a sink publishes whole files and never removes one: between the new files and the removal of the old \
                     ones a crash would leave both, or neither",
                )
                .with_help("write into a new 'path' and point readers at it, or empty the directory before the run")
                .into());
        }
        let table = match self.session.catalog.get(&insert.table)? {
            Object::Table(t) => t.clone(),
            Object::View(v) => {
                let message = format!("`{}` is a view; rows go into tables", insert.table);
                let d = at(error::WRONG_KIND, insert.table.span, message, "a view");
                return Err(d.with_label(v.span, "defined here").into());
            }
        };
        let mut options = table.options.clone();
        if let Some(hint) = &insert.hint {
            if !self.resolved()?.dynamic_options {
                return Err(at(error::BAD_HINT, hint.span, "OPTIONS hints are turned off", "not allowed")
                    .with_note("'table.dynamic-table-options.enabled' is 'false'")
                    .into());
            }
            let (mut own, errors) = options::expand(hint, self.session.options.variables.as_ref());
            if let Some(errors) = Errors::from_list(errors) {
                return Err(errors);
            }
            let connector = table.connector.as_ref().map(|c| c.value.as_str());
            options::mark_secrets(&self.session.engine.registry, connector, &mut own);
            self.check_hint(&table, &own);
            options = options::merge(&options, &own);
        }
        let zone_chosen = self.session.settings.setting("table.local-time-zone").is_some();
        let (work, warnings) = self.bind(|_, binder, _| {
            let query = binder.query(&insert.query)?;
            let (mapping, mut warnings) = sink::map(binder, insert, &table, options, &query.columns)?;
            warnings.retain(|w| !zone_chosen || w.code != error::ZONE_BY_DEFAULT.code);
            let target = WorkTarget::Table(Box::new(mapping));
            Ok((Work { plan: query.plan, target, span: insert.span }, warnings))
        })?;
        // One setting answers all warnings about the zone.
        let zone = error::ZONE_BY_DEFAULT.code;
        let told = self.warnings.iter().any(|w| w.code == zone);
        self.warnings.extend(warnings.into_iter().filter(|w| !told || w.code != zone));
        self.check_hints(&work.plan);
        Ok(work)
    }

    /// Binds a bare SELECT.
    fn select(&mut self, query: &dsl::Query) -> Result<Work> {
        let work = self.bind(|_, binder, _| {
            let bound = binder.query(query)?;
            Ok(Work { plan: bound.plan, target: WorkTarget::Output(bound.columns), span: query.span })
        })?;
        self.check_hints(&work.plan);
        Ok(work)
    }

    /// Checks options of a table against what its connector declares. What is wrong is told whether the table is used or
    /// not, and does not keep later statements from using its columns.
    fn check_options(&mut self, table: &Table, options: &[RawOption]) {
        let Some(connector) = &table.connector else { return };
        let found = self.session.engine.registry.check(connector, options, table.span);
        let (errors, warnings): (Vec<_>, Vec<_>) = found.into_iter().partition(|d| d.severity == Severity::Error);
        self.errors.extend(errors);
        // LIKE and views bring the same option twice.
        self.warnings.extend(warnings.into_iter().filter(|w| !self.warnings.contains(w)).collect::<Vec<_>>());
    }

    /// Checks the OPTIONS hints of a query.
    fn check_hints(&mut self, plan: &LogicalPlan) {
        for planned in context::planned_tables(plan) {
            self.check_hint(&planned.table, &planned.hint);
        }
    }

    fn check_hint(&mut self, table: &Table, hint: &[RawOption]) {
        // The format decides whose options these are.
        let format: Vec<RawOption> = table.options.iter().filter(|o| o.key == "format").cloned().collect();
        self.check_options(table, &options::merge(&format, hint));
    }

    /// Puts a statement into the job, or makes it one of its own in batch mode.
    fn work(&mut self, work: Work) -> Result<()> {
        let resolved = self.resolved()?;
        let (first, place) = *self.mode.get_or_insert((resolved.mode, work.span));
        if first != resolved.mode {
            return Err(at(
                error::SETTING_CONFLICT,
                work.span,
                "this statement runs in another mode than an earlier one",
                "",
            )
            .with_label(place, "the earlier one")
            .with_help("SET 'execution.runtime-mode' once, before the first INSERT or SELECT")
            .into());
        }
        match resolved.mode {
            RuntimeMode::Streaming => self.works.push(work),
            RuntimeMode::Batch => {
                let functions = self.functions(&resolved.time_zone);
                let job = job::batch(self.session, work, &resolved, &functions, self.sources)?;
                self.statements.push(CompiledStatement::Batch(Box::new(job)));
            }
        }
        Ok(())
    }

    fn explain(&mut self, explain: &dsl::Explain) -> Result<()> {
        let mut shown = job::Shown::default();
        for detail in &explain.details {
            match detail.value {
                // Kinds of change are always shown.
                dsl::ExplainDetail::ChangelogMode => {}
                dsl::ExplainDetail::EstimatedCost => {
                    return Err(unsupported("EXPLAIN ESTIMATED_COST", detail.span)
                        .with_note("sources have no statistics to estimate from")
                        .with_help("leave it out: the plan names the state and the parallelism of each operator")
                        .into());
                }
                dsl::ExplainDetail::PlanAdvice => shown.advice = true,
                dsl::ExplainDetail::JsonExecutionPlan => shown.json = true,
            }
        }
        let works = match &explain.target {
            dsl::PlanTarget::Query(query) => vec![self.select(query)?],
            dsl::PlanTarget::Insert(insert) => vec![self.insert(insert)?],
            dsl::PlanTarget::StatementSet(set) => {
                set.inserts.iter().map(|i| self.insert(i)).collect::<Result<Vec<_>>>()?
            }
        };
        let resolved = self.resolved()?;
        let functions = self.functions(&resolved.time_zone);
        let text = match resolved.mode {
            RuntimeMode::Streaming => {
                job::explained(self.session, &works, &resolved, &functions, self.sources, &shown)?
            }
            RuntimeMode::Batch => {
                if let Some(detail) = explain.details.iter().find(|_| shown.json || shown.advice) {
                    return Err(unsupported("this detail of EXPLAIN in batch mode", detail.span)
                        .with_help("leave it out: EXPLAIN prints the plan of the statement")
                        .into());
                }
                works.iter().map(|w| explain::batch(&w.plan)).collect::<Vec<_>>().join("\n")
            }
        };
        self.rows(Rows::list("result", [text]));
        Ok(())
    }

    /// The settings as they are now.
    fn resolved(&self) -> Result<Resolved> {
        self.session.settings.resolve(&crate::settings::Fallbacks {
            job_name: &self.session.options.job_name,
            parallelism: self.session.options.parallelism,
            time_zone: &self.session.options.time_zone,
            base_dir: &self.session.options.base_dir,
        })
    }

    fn functions(&mut self, time_zone: &str) -> Functions {
        match &self.functions {
            Some((zone, functions)) if zone == time_zone => functions.clone(),
            _ => {
                let functions =
                    Functions::new(time_zone, &self.session.engine.env.clock, &self.session.engine.functions);
                self.functions = Some((time_zone.to_owned(), functions.clone()));
                functions
            }
        }
    }

    /// Calls `f` with a binder for the catalog and settings as they are now.
    fn bind<T>(&mut self, f: impl FnOnce(&Session, &Binder<'_>, &SourceMap) -> Result<T>) -> Result<T> {
        let resolved = self.resolved()?;
        let functions = self.functions(&resolved.time_zone);
        let variables = self.session.options.variables.clone();
        let expand = move |o: &dsl::Options| options::expand(o, variables.as_ref());
        let context = Context {
            catalog: &self.session.catalog,
            functions: &functions,
            mode: resolved.mode,
            dynamic_options: resolved.dynamic_options,
            expand: &expand,
            sources: self.sources,
            views: None,
        };
        f(self.session, &Binder::new(context), self.sources)
    }

    fn create_table(&mut self, create: &dsl::CreateTable, span: Span) -> Result<()> {
        if let Some(query) = &create.query {
            return self.create_table_as(create, query, span);
        }
        let table = self.bind(|session, binder, sources| define::table(session, binder, sources, create, None))?;
        self.check_options(&table, &table.options);
        let if_exists = if_exists(create.if_not_exists, create.mode);
        Ok(self.session.catalog.create(Object::Table(table.into()), if_exists, &create.name)?)
    }

    /// `CREATE TABLE t … AS query`: the table, then the INSERT.
    fn create_table_as(&mut self, create: &dsl::CreateTable, query: &dsl::Query, span: Span) -> Result<()> {
        if create.temporary {
            return Err(at(error::BAD_QUERY, span, "CREATE TABLE … AS cannot be TEMPORARY", "").into());
        }
        if create.if_not_exists && self.session.catalog.find(&self.session.catalog.resolve(&create.name)?).is_some() {
            return Ok(());
        }
        let (bound, table) = self.bind(|session, binder, sources| {
            let bound = binder.query(query)?;
            let table = define::table(session, binder, sources, create, Some(&bound.columns))?;
            Ok((bound, std::sync::Arc::new(table)))
        })?;
        self.check_options(&table, &table.options);
        let if_exists = if_exists(create.if_not_exists, create.mode);
        self.session.catalog.create(Object::Table(table.clone()), if_exists, &create.name)?;
        let feeds = table
            .persisted()
            .into_iter()
            .map(|i| {
                let found = bound.columns.iter().position(|(n, _)| *n == table.columns[i].name);
                found.map_or(sink::Feed::Null, sink::Feed::Query)
            })
            .collect();
        let options = table.options.clone();
        let mapping = sink::Mapping { table, options, feeds, on_conflict: None, span: create.name.span };
        self.work(Work { plan: bound.plan, target: WorkTarget::Table(Box::new(mapping)), span })
    }

    fn create_view(&mut self, create: &dsl::CreateView) -> Result<()> {
        let (view, plan) = self.bind(|session, binder, sources| define::view(session, binder, sources, create))?;
        self.check_hints(&plan);
        let if_exists = if_exists(create.if_not_exists, create.mode);
        Ok(self.session.catalog.create(Object::View(view.into()), if_exists, &create.name)?)
    }

    fn alter_table(&mut self, alter: &dsl::AlterTable) -> Result<()> {
        let Some(Object::Table(old)) = self.session.catalog.to_alter(&alter.name, "table", alter.if_exists)? else {
            return Ok(());
        };
        let old = old.clone();
        if let dsl::AlterTableAction::RenameTable(new) = &alter.action {
            return Ok(self.session.catalog.rename(&old.id, new)?);
        }
        let table = self.bind(|session, binder, sources| {
            alter::table(session, binder, sources, &old, &alter.action, &alter.name)
        })?;
        self.check_options(&table, &table.options);
        self.session.catalog.replace(Object::Table(table.into()));
        Ok(())
    }

    fn alter_view(&mut self, alter: &dsl::AlterView) -> Result<()> {
        let Some(Object::View(old)) = self.session.catalog.to_alter(&alter.name, "view", false)? else {
            return Ok(());
        };
        let old = old.clone();
        let query = match &alter.action {
            dsl::AlterViewAction::Rename(new) => return Ok(self.session.catalog.rename(&old.id, new)?),
            dsl::AlterViewAction::Query(query) => query,
        };
        let create = dsl::CreateView {
            mode: dsl::CreateMode::Replace,
            temporary: false,
            if_not_exists: false,
            name: alter.name.clone(),
            columns: Vec::new(),
            comment: None,
            query: query.clone(),
        };
        let (mut view, plan) = self.bind(|session, binder, sources| define::view(session, binder, sources, &create))?;
        view.comment.clone_from(&old.comment);
        self.check_hints(&plan);
        self.session.catalog.replace(Object::View(view.into()));
        Ok(())
    }

    fn create_catalog(&mut self, create: &dsl::CreateCatalog) -> Result<()> {
        let entries = create.options.iter().flat_map(|o| &o.entries);
        for option in entries {
            let known = match option.key.value.as_str() {
                "type" => option.value.value == "generic_in_memory",
                "default-database" => true,
                _ => false,
            };
            if !known {
                let what = format!("a catalog with '{}' = '{}'", option.key.value, option.value.value);
                return Err(unsupported(what, option.span)
                    .with_help("catalogs live in memory: 'type' = 'generic_in_memory'")
                    .into());
            }
        }
        Ok(self.session.catalog.create_catalog(&create.name, create.if_not_exists)?)
    }

    fn drop(&mut self, drop: &dsl::Drop, span: Span) -> Result<()> {
        let catalog = &mut self.session.catalog;
        match drop.kind {
            dsl::ObjectKind::Table => catalog.drop_object(&drop.name, "table", drop.temporary, drop.if_exists)?,
            dsl::ObjectKind::View => catalog.drop_object(&drop.name, "view", drop.temporary, drop.if_exists)?,
            dsl::ObjectKind::Database => catalog.drop_database(&drop.name, drop.if_exists, drop.cascade)?,
            dsl::ObjectKind::Catalog => catalog.drop_catalog(drop.name.object(), drop.if_exists)?,
            _ if drop.if_exists => {}
            dsl::ObjectKind::Function => return Err(unsupported("DROP FUNCTION", span).into()),
            dsl::ObjectKind::Model => return Err(unsupported("DROP MODEL", span).into()),
            dsl::ObjectKind::MaterializedTable => return Err(unsupported("DROP MATERIALIZED TABLE", span).into()),
        }
        Ok(())
    }

    fn use_object(&mut self, target: &dsl::Use, span: Span) -> Result<()> {
        match target {
            dsl::Use::Catalog(name) => Ok(self.session.catalog.use_catalog(name)?),
            dsl::Use::Database(name) => Ok(self.session.catalog.use_database(name)?),
            dsl::Use::Modules(_) => Err(unsupported("USE MODULES", span).into()),
        }
    }

    /// Changes settings. The expressions of tables mean what they mean in the time zone they are used in: another zone binds
    /// them again.
    fn in_zone(&mut self, change: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let zone = |c: &Self| c.resolved().ok().map(|r| r.time_zone);
        let before = zone(self);
        change(self)?;
        let after = zone(self);
        if after.is_none() || after == before {
            return Ok(());
        }
        for table in self.session.catalog.tables() {
            let bound = self.bind(|session, binder, sources| alter::bound_again(session, binder, sources, &table))?;
            if let Some(table) = bound {
                self.session.catalog.replace(Object::Table(table.into()));
            }
        }
        Ok(())
    }

    fn set(&mut self, set: &dsl::SetOption) -> Result<()> {
        let value = match options::expand_text(&set.value, self.session.options.variables.as_ref()) {
            Ok(value) => value,
            Err(errors) => return Err(Errors::from_list(errors).expect("an expansion that fails says why")),
        };
        let key = Spanned::new(set.key.value.clone(), set.key.span);
        Ok(self.session.settings.set(&key, value, set.value.span)?)
    }

    fn rows(&mut self, rows: Rows) {
        self.statements.push(CompiledStatement::Rows(rows));
    }

    fn show(&mut self, show: &dsl::Show, span: Span) -> Result<()> {
        let catalog = &self.session.catalog;
        let scope = |name: &Option<dsl::ObjectName>| match name {
            None => Ok((catalog.current_catalog().to_owned(), catalog.current_database().to_owned())),
            Some(name) => catalog.database_name(name).map(|(c, d)| (c, d.value)),
        };
        let rows = match &show.what {
            dsl::ShowWhat::Catalogs => catalog.show_catalogs(),
            dsl::ShowWhat::Databases => {
                let catalog_name = show.scope.as_ref().map(|s| s.object().value.clone());
                catalog.show_databases(catalog_name.as_deref().unwrap_or(catalog.current_catalog()))
            }
            dsl::ShowWhat::Tables | dsl::ShowWhat::Views => {
                let (c, d) = scope(&show.scope)?;
                catalog.show_tables(&c, &d, matches!(show.what, dsl::ShowWhat::Views))
            }
            dsl::ShowWhat::Columns(name) => describe(catalog.get(name)?),
            dsl::ShowWhat::Create(kind @ (dsl::ObjectKind::Table | dsl::ObjectKind::View), name) => {
                let object = catalog.get(name)?;
                let wanted = if *kind == dsl::ObjectKind::View { "view" } else { "table" };
                if object.kind() != wanted {
                    let message = format!("`{name}` is a {}, not a {wanted}", object.kind());
                    return Err(at(error::WRONG_KIND, name.span, message, "").into());
                }
                show_create(object)
            }
            dsl::ShowWhat::CurrentCatalog => Rows::list("current catalog name", [catalog.current_catalog().to_owned()]),
            dsl::ShowWhat::CurrentDatabase => {
                Rows::list("current database name", [catalog.current_database().to_owned()])
            }
            dsl::ShowWhat::Functions { user } => {
                let mut names: Vec<String> = if *user {
                    self.session.engine.functions.iter().map(|f| f.name().to_lowercase()).collect()
                } else {
                    let zone = self.resolved()?.time_zone;
                    self.functions(&zone).names().map(str::to_owned).collect()
                };
                names.sort();
                names.dedup();
                Rows::list("function name", names)
            }
            dsl::ShowWhat::MaterializedTables => Rows::list("table name", []),
            dsl::ShowWhat::Modules { .. } => Rows::list("module name", ["core".to_owned()]),
            dsl::ShowWhat::Procedures => Rows::list("procedure name", []),
            dsl::ShowWhat::Models => Rows::list("model name", []),
            dsl::ShowWhat::Jars => Rows::list("jars", []),
            dsl::ShowWhat::Jobs => return Err(unsupported("SHOW JOBS", span).into()),
            dsl::ShowWhat::Partitions(..) => return Err(unsupported("SHOW PARTITIONS", span).into()),
            dsl::ShowWhat::Create(..) => return Err(unsupported("SHOW CREATE of this kind of object", span).into()),
        };
        let rows = match &show.filter {
            Some(f) => rows.like(&f.pattern.value, f.negated, f.case_insensitive),
            None => rows,
        };
        self.rows(rows);
        Ok(())
    }

    fn describe(&mut self, d: &dsl::Describe, span: Span) -> Result<()> {
        match &d.target {
            dsl::DescribeTarget::Table(name) => {
                let rows = describe(self.session.catalog.get(name)?);
                self.rows(rows);
                Ok(())
            }
            dsl::DescribeTarget::Object(kind, _) => Err(unsupported(format!("DESCRIBE {kind:?}"), span).into()),
            dsl::DescribeTarget::Job(_) => Err(unsupported("DESCRIBE JOB", span).into()),
        }
    }

    /// The statements of each streaming job.
    fn jobs(&mut self) -> Vec<Vec<Work>> {
        let works = std::mem::take(&mut self.works);
        let is_query = |w: &&Work| matches!(w.target, WorkTarget::Output(_));
        if works.iter().filter(is_query).count() < 2 {
            return vec![works];
        }
        if let Some(insert) = works.iter().find(|w| !is_query(w)) {
            let query = works.iter().filter(is_query).nth(1).map_or(insert.span, |w| w.span);
            let message = "a script with an INSERT prints the rows of one SELECT";
            self.errors.push(
                at(error::SEVERAL_QUERIES, query, message, "another one")
                    .with_label(insert.span, "the INSERT")
                    .with_help("put the SELECTs into a script of their own: there they run one after the other"),
            );
            return vec![works];
        }
        works.into_iter().map(|w| vec![w]).collect()
    }

    fn finish(mut self) -> Result<CompiledScript> {
        let settings = match self.resolved() {
            Ok(settings) => Some(settings),
            Err(errors) => {
                self.errors.extend(errors.into_diagnostics());
                None
            }
        };
        self.warnings.extend(self.session.settings.warning());
        if let Some(settings) = settings.as_ref().filter(|_| !self.works.is_empty()) {
            let functions = self.functions(&settings.time_zone);
            let jobs = self.jobs();
            let last = jobs.len() - 1;
            for (number, works) in jobs.iter().enumerate() {
                match job::stream(self.session, works, settings, &functions, self.sources) {
                    Ok((job, _)) if number < last && !job.summary.bounded => {
                        let message = "this SELECT never ends, so that the one after it would never begin";
                        self.errors.push(
                            at(error::SEVERAL_QUERIES, works[0].span, message, "never ends")
                                .with_help("put it last, or into a script of its own"),
                        );
                    }
                    Ok((job, advice)) => {
                        self.warnings.extend(advice.into_iter().filter_map(|a| match a {
                            Advice::Warning(d) => Some(d),
                            Advice::Note(..) => None,
                        }));
                        self.statements.push(CompiledStatement::Stream(Box::new(job)));
                    }
                    Err(errors) => self.errors.extend(errors.into_diagnostics()),
                }
            }
        }
        match (Errors::from_list(self.errors), settings) {
            (Some(errors), _) => Err(errors),
            (None, Some(settings)) => {
                Ok(CompiledScript { statements: self.statements, warnings: self.warnings, settings })
            }
            (None, None) => Err(Errors::from(Diagnostic::error(error::SETTING_VALUE, "settings do not resolve"))),
        }
    }
}

fn if_exists(keep: bool, mode: dsl::CreateMode) -> IfExists {
    match (keep, mode) {
        (true, _) => IfExists::Keep,
        (false, dsl::CreateMode::Replace) => IfExists::Replace,
        (false, dsl::CreateMode::Create) => IfExists::Error,
    }
}

/// The words a statement begins with.
fn name_of(kind: &StatementKind) -> &'static str {
    match kind {
        StatementKind::CreateFunction(_) => "CREATE FUNCTION",
        StatementKind::CreateModel(_) => "CREATE MODEL",
        StatementKind::CreateMaterializedTable(_) => "CREATE MATERIALIZED TABLE",
        StatementKind::AlterCatalog(_) => "ALTER CATALOG",
        StatementKind::AlterDatabase(_) => "ALTER DATABASE",
        StatementKind::AlterFunction(_) => "ALTER FUNCTION",
        StatementKind::AlterModel(_) => "ALTER MODEL",
        StatementKind::AlterMaterializedTable(_) => "ALTER MATERIALIZED TABLE",
        StatementKind::Truncate(_) => "TRUNCATE TABLE",
        StatementKind::Update(_) => "UPDATE",
        StatementKind::Delete(_) => "DELETE",
        StatementKind::CompilePlan(_) => "COMPILE PLAN",
        StatementKind::ExecutePlan(_) => "EXECUTE PLAN",
        StatementKind::LoadModule(_) => "LOAD MODULE",
        StatementKind::UnloadModule(_) => "UNLOAD MODULE",
        StatementKind::AddJar(_) => "ADD JAR",
        StatementKind::RemoveJar(_) => "REMOVE JAR",
        StatementKind::Call(_) => "CALL",
        StatementKind::Analyze(_) => "ANALYZE TABLE",
        StatementKind::StopJob(_) => "STOP JOB",
        _ => "this statement",
    }
}
