//! CREATE TABLE and CREATE VIEW: from the tree to definitions.

use std::sync::Arc;

use dflow_common::limits::COLUMNS_MAX;
use dflow_common::{Diagnostic, SourceMap, Span, SqlType, TypeKind};
use dflow_dsl::ast::{self as dsl, LikeFeature, LikeMerge};

use super::Session;
use super::options::{duplicates, expand, mark_secrets, take_connector};
use crate::bind::Binder;
use crate::catalog::{Column, ColumnSource, Object, ObjectId, Table, View, Watermark};
use crate::error::{self, Errors, Result, at, unsupported};

/// What is known of a table that is being defined.
struct Draft<'a> {
    session: &'a Session,
    binder: &'a Binder<'a>,
    sources: &'a SourceMap,
    table: Table,
    errors: Vec<Diagnostic>,
}

/// The definition of CREATE TABLE. With AS, `query` are the columns of the query.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn table(
    session: &Session,
    binder: &Binder<'_>,
    sources: &SourceMap,
    create: &dsl::CreateTable,
    query: Option<&[(String, SqlType)]>,
) -> Result<Table> {
    let id = session.catalog.resolve(&create.name)?;
    let mut draft = Draft { session, binder, sources, table: empty(id, create), errors: Vec::new() };
    if let Some(d) = &create.distribution {
        draft.errors.push(unsupported("DISTRIBUTED", d.span));
    }
    if let Some(like) = &create.like {
        draft.like(like, create);
    }
    match query {
        Some(columns) => draft.columns_of_query(create, columns),
        None => draft.columns(create.columns()),
    }
    draft.limits(create.name.span);
    draft.computed_columns(create);
    if let Some(key) = create.primary_key() {
        draft.primary_key(key);
    }
    if !create.partitioned_by.is_empty() {
        draft.partition_keys(&create.partitioned_by);
    }
    if let Some(w) = create.watermark() {
        draft.watermark(w);
    }
    draft.options(create);
    match Errors::from_list(draft.errors) {
        Some(errors) => Err(errors),
        None => Ok(draft.table),
    }
}

fn empty(id: ObjectId, create: &dsl::CreateTable) -> Table {
    Table {
        id,
        temporary: create.temporary,
        columns: Vec::new(),
        primary_key: Vec::new(),
        primary_key_name: None,
        partition_keys: Vec::new(),
        watermark: None,
        connector: None,
        options: Vec::new(),
        comment: create.comment.as_ref().map(|c| c.value.clone()),
        span: create.name.span,
    }
}

impl Draft<'_> {
    /// Physical and metadata columns, and places for the computed ones.
    fn columns<'c>(&mut self, columns: impl Iterator<Item = &'c dsl::Column>) {
        for c in columns {
            let comment = c.comment.as_ref().map(|c| c.value.clone());
            let (ty, source) = match &c.kind {
                dsl::ColumnKind::Physical(ty) => (ty.value.clone(), ColumnSource::Physical),
                dsl::ColumnKind::Metadata { ty, key, is_virtual } => {
                    let key = key.as_ref().map_or_else(|| c.name.value.clone(), |k| k.value.clone());
                    (ty.value.clone(), ColumnSource::Metadata { key, is_virtual: *is_virtual })
                }
                // Filled in by `computed_columns`, when all others are known.
                dsl::ColumnKind::Computed(e) => (
                    SqlType::from(TypeKind::Null),
                    ColumnSource::Computed { expr: Box::default(), text: self.sources.text(e.span).to_owned() },
                ),
                dsl::ColumnKind::Name => {
                    self.errors.push(
                        at(error::BAD_NAME, c.span, format!("column `{}` has no type", c.name.value), "no type")
                            .with_help("only CREATE TABLE … AS query may list names alone"),
                    );
                    continue;
                }
            };
            self.add(Column { name: c.name.value.clone(), ty, source, comment, span: c.name.span });
        }
    }

    fn add(&mut self, column: Column) {
        if let Some(first) = self.table.columns.iter().find(|c| c.name == column.name) {
            let message = format!("column `{}` is defined twice", column.name);
            let d = at(error::DUPLICATE_COLUMN, column.span, message, "again");
            self.errors.push(d.with_label(first.span, "first here"));
            return;
        }
        self.table.columns.push(column);
    }

    /// The columns of `CREATE TABLE t AS query`: the query's, perhaps in another order, and computed ones.
    fn columns_of_query(&mut self, create: &dsl::CreateTable, query: &[(String, SqlType)]) {
        let physical = |(name, ty): &(String, SqlType), span| Column {
            name: name.clone(),
            // A literal's CHAR(n) is a fact about one value, not a type for a column.
            ty: match ty.kind {
                TypeKind::Char(_) => SqlType::STRING.with_nullable(ty.nullable),
                _ => ty.clone(),
            },
            source: ColumnSource::Physical,
            comment: None,
            span,
        };
        let names: Vec<&dsl::Column> = create.columns().filter(|c| matches!(c.kind, dsl::ColumnKind::Name)).collect();
        for c in create
            .columns()
            .filter(|c| matches!(c.kind, dsl::ColumnKind::Physical(_) | dsl::ColumnKind::Metadata { .. }))
        {
            self.errors.push(unsupported("a column with a type in CREATE TABLE … AS", c.span));
        }
        if names.is_empty() {
            for column in query {
                self.add(physical(column, self.table.span));
            }
        } else {
            for c in &names {
                match query.iter().find(|(n, _)| *n == c.name.value) {
                    Some(column) => self.add(physical(column, c.name.span)),
                    None => {
                        let message = format!("the query has no column `{}`", c.name.value);
                        let d = at(error::COLUMN_NOT_FOUND, c.name.span, message, "not in the query");
                        let all = query.iter().map(|(n, _)| n.as_str());
                        self.errors.push(error::did_you_mean(d, &c.name.value, all));
                    }
                }
            }
            if names.len() != query.len() && self.errors.is_empty() {
                let message = format!("the query has {} columns, the list names {}", query.len(), names.len());
                self.errors.push(at(error::SINK_COLUMN_COUNT, create.name.span, message, ""));
            }
        }
        self.columns(create.columns().filter(|c| matches!(c.kind, dsl::ColumnKind::Computed(_))));
    }

    fn limits(&mut self, span: Span) {
        let n = self.table.columns.len();
        if n > COLUMNS_MAX {
            let message = format!("a table has at most {COLUMNS_MAX} columns, this one has {n}");
            self.errors.push(at(error::TOO_MANY_COLUMNS, span, message, ""));
        }
        if n == 0 && self.errors.is_empty() {
            let message = format!("table `{}` has no columns", self.table.id.name);
            self.errors.push(at(error::BAD_NAME, span, message, "no columns"));
        }
    }

    /// Binds the computed columns over the others.
    fn computed_columns(&mut self, create: &dsl::CreateTable) {
        let inputs: Vec<(String, SqlType)> =
            self.table.columns.iter().filter(|c| c.from_connector()).map(|c| (c.name.clone(), c.ty.clone())).collect();
        for c in create.columns() {
            let dsl::ColumnKind::Computed(e) = &c.kind else { continue };
            match self.binder.expression(e, &inputs) {
                Ok(bound) => {
                    let text = self.sources.text(e.span).to_owned();
                    if let Some(column) = self.table.columns.iter_mut().find(|t| t.name == c.name.value) {
                        column.ty = bound.ty;
                        column.source = ColumnSource::Computed { expr: Box::new(bound.expr), text };
                    }
                }
                Err(errors) => self.errors.extend(errors.into_diagnostics()),
            }
        }
    }

    fn column(&mut self, name: &dsl::Ident, what: &str) -> Option<usize> {
        let found = self.table.index_of(&name.value);
        if found.is_none() {
            let message = format!("{what} column `{}` does not exist", name.value);
            let d = at(error::BAD_KEY_COLUMN, name.span, message, "not a column");
            let names = self.table.columns.iter().map(|c| c.name.as_str());
            self.errors.push(error::did_you_mean(d, &name.value, names));
        }
        found
    }

    fn primary_key(&mut self, key: &dsl::PrimaryKey) {
        let mut indices = Vec::new();
        for name in &key.columns {
            let Some(i) = self.column(name, "primary key") else { continue };
            if indices.contains(&i) || !matches!(self.table.columns[i].source, ColumnSource::Physical) {
                let message = format!("`{}` cannot be a primary key column", name.value);
                let why = if indices.contains(&i) { "listed twice" } else { "not a physical column" };
                self.errors.push(at(error::BAD_KEY_COLUMN, name.span, message, why));
                continue;
            }
            indices.push(i);
            self.table.columns[i].ty.nullable = false;
        }
        self.table.primary_key = indices;
        self.table.primary_key_name = key.name.as_ref().map(|n| n.value.clone());
    }

    fn partition_keys(&mut self, names: &[dsl::Ident]) {
        let mut indices = Vec::new();
        for name in names {
            let Some(i) = self.column(name, "partition") else { continue };
            if indices.contains(&i) || !self.table.columns[i].persisted() {
                let message = format!("`{}` cannot be a partition column", name.value);
                let why = if indices.contains(&i) { "listed twice" } else { "not a stored column" };
                self.errors.push(at(error::BAD_KEY_COLUMN, name.span, message, why));
                continue;
            }
            indices.push(i);
        }
        self.table.partition_keys = indices;
    }

    fn watermark(&mut self, w: &dsl::Watermark) {
        let [name] = w.column.as_slice() else {
            return self.errors.push(unsupported("a watermark on a field of a ROW", w.span));
        };
        let Some(column) = self.table.index_of(&name.value) else {
            let d = at(error::BAD_WATERMARK, name.span, format!("column `{}` not found", name.value), "not a column");
            let names = self.table.columns.iter().map(|c| c.name.as_str());
            return self.errors.push(error::did_you_mean(d, &name.value, names));
        };
        let ty = self.table.columns[column].ty.clone();
        if !matches!(ty.kind, TypeKind::Timestamp(0..=3) | TypeKind::TimestampLtz(0..=3)) {
            if ty.kind != TypeKind::Null {
                let message = format!("`{}` is {ty}; a watermark needs TIMESTAMP(3) or TIMESTAMP_LTZ(3)", name.value);
                let d = at(error::BAD_WATERMARK, name.span, message, format!("{ty}"));
                self.errors.push(d.with_help(format!(
                    "define a computed column such as ts AS CAST({} AS TIMESTAMP(3)) and put the watermark on it",
                    name.value
                )));
            }
            return;
        }
        let columns: Vec<(String, SqlType)> =
            self.table.columns.iter().map(|c| (c.name.clone(), c.ty.clone())).collect();
        match self.binder.expression(&w.expr, &columns) {
            Ok(bound) if same_clock(&bound.ty, &ty) => {
                let text = self.sources.text(w.expr.span).to_owned();
                self.table.watermark = Some(Watermark { column, expr: Box::new(bound.expr), text, span: w.span });
            }
            Ok(bound) => {
                let message = format!("the watermark is {}, its column {ty}", bound.ty);
                self.errors.push(at(error::BAD_WATERMARK, w.expr.span, message, "another type"));
            }
            Err(errors) => self.errors.extend(errors.into_diagnostics()),
        }
    }

    fn options(&mut self, create: &dsl::CreateTable) {
        let Some(options) = &create.options else {
            return mark_secrets(&self.session.engine.registry, self.connector().as_deref(), &mut self.table.options);
        };
        self.errors.extend(duplicates(options));
        let (mut own, errors) = expand(options, self.session.options.variables.as_ref());
        self.errors.extend(errors);
        if let Some(connector) = take_connector(&mut own) {
            self.table.connector = Some(connector);
        }
        self.table.options.retain(|o| own.iter().all(|new| new.key != o.key));
        self.table.options.extend(own);
        mark_secrets(&self.session.engine.registry, self.connector().as_deref(), &mut self.table.options);
    }

    fn connector(&self) -> Option<String> {
        self.table.connector.as_ref().map(|c| c.value.clone())
    }

    /// Takes over what LIKE asks for; the new table's own elements come on top.
    fn like(&mut self, like: &dsl::Like, create: &dsl::CreateTable) {
        let source = match self.session.catalog.get(&like.source) {
            Ok(Object::Table(t)) => t.clone(),
            Ok(Object::View(_)) => {
                let message = format!("`{}` is a view; LIKE needs a table", like.source);
                return self.errors.push(at(error::BAD_LIKE, like.source.span, message, "a view"));
            }
            Err(d) => return self.errors.push(*d),
        };
        let merge = |feature: LikeFeature, default: LikeMerge| {
            let rule = |f| like.options.iter().rev().find(|o| o.feature == f).map(|o| o.merge);
            rule(feature).or_else(|| rule(LikeFeature::All)).unwrap_or(default)
        };
        use LikeMerge::{Excluding, Including, Overwriting};
        for c in &source.columns {
            let feature = match &c.source {
                ColumnSource::Physical => None,
                ColumnSource::Metadata { .. } => Some(LikeFeature::Metadata),
                ColumnSource::Computed { .. } => Some(LikeFeature::Generated),
            };
            let rule = feature.map_or(Including, |f| merge(f, Including));
            let redefined = create.columns().any(|n| n.name.value == c.name);
            if rule == Excluding || (rule == Overwriting && redefined) {
                continue;
            }
            self.table.columns.push(c.clone());
        }
        let position = |table: &Table, i: &usize| table.index_of(&source.columns[*i].name);
        if merge(LikeFeature::Constraints, Including) != Excluding && create.primary_key().is_none() {
            self.table.primary_key = source.primary_key.iter().filter_map(|i| position(&self.table, i)).collect();
            self.table.primary_key_name.clone_from(&source.primary_key_name);
        }
        if merge(LikeFeature::Partitions, Including) != Excluding && create.partitioned_by.is_empty() {
            self.table.partition_keys = source.partition_keys.iter().filter_map(|i| position(&self.table, i)).collect();
        }
        let rule = merge(LikeFeature::Watermarks, Including);
        if let Some(w) = source.watermark.as_ref().filter(|_| rule != Excluding) {
            if create.watermark().is_none() {
                if let Some(column) = position(&self.table, &w.column) {
                    self.table.watermark = Some(Watermark { column, ..w.clone() });
                }
            } else if rule == Including {
                let message = format!("both `{}` and the new table define a watermark", like.source);
                self.errors.push(
                    at(error::BAD_LIKE, like.span, message, "")
                        .with_help("write OVERWRITING WATERMARKS or EXCLUDING WATERMARKS"),
                );
            }
        }
        let rule = merge(LikeFeature::Options, Overwriting);
        if rule != Excluding {
            self.table.connector.clone_from(&source.connector);
            self.table.options.clone_from(&source.options);
            if rule == Including
                && let Some(clash) = create.options.iter().flat_map(|o| &o.entries).find(|e| {
                    source.options.iter().any(|o| o.key == e.key.value)
                        || (e.key.value == "connector" && source.connector.is_some())
                })
            {
                let message = format!("option '{}' is in `{}` already", clash.key.value, like.source);
                self.errors
                    .push(at(error::BAD_LIKE, clash.key.span, message, "").with_help("write OVERWRITING OPTIONS"));
            }
        }
    }
}

/// Whether a watermark of type `watermark` is a reading of the same clock as its column.
fn same_clock(watermark: &SqlType, column: &SqlType) -> bool {
    matches!(
        (&watermark.kind, &column.kind),
        (TypeKind::Timestamp(_), TypeKind::Timestamp(_)) | (TypeKind::TimestampLtz(_), TypeKind::TimestampLtz(_))
    )
}

/// The definition of CREATE VIEW.
///
/// # Errors
/// What is wrong with its query or its column list.
pub(super) fn view(
    session: &Session,
    binder: &Binder<'_>,
    sources: &SourceMap,
    create: &dsl::CreateView,
) -> Result<View> {
    let id = session.catalog.resolve(&create.name)?;
    let (plan, mut columns) = binder.query_raw(&create.query)?;
    if !create.columns.is_empty() && create.columns.len() != columns.len() {
        let message = format!("the view lists {} columns, its query has {}", create.columns.len(), columns.len());
        return Err(at(error::BAD_VIEW, create.name.span, message, "").into());
    }
    for ((name, _), new) in columns.iter_mut().zip(&create.columns) {
        name.clone_from(&new.name.value);
    }
    for (i, c) in create.columns.iter().enumerate() {
        if let Some(first) = create.columns[..i].iter().find(|o| o.name.value == c.name.value) {
            let message = format!("column `{}` is named twice", c.name.value);
            let d = at(error::DUPLICATE_COLUMN, c.name.span, message, "again");
            return Err(d.with_label(first.name.span, "first here").into());
        }
    }
    let plan = rename(plan, &columns)
        .map_err(|e| Errors::from(at(error::BAD_VIEW, create.name.span, e.strip_backtrace(), "")))?;
    Ok(View {
        id,
        temporary: create.temporary,
        columns,
        plan: Arc::new(plan),
        text: sources.text(create.query.span).to_owned(),
        comment: create.comment.as_ref().map(|c| c.value.clone()),
        span: create.name.span,
    })
}

/// The same columns under other names.
fn rename(
    plan: datafusion::logical_expr::LogicalPlan,
    columns: &[(String, SqlType)],
) -> datafusion::common::Result<datafusion::logical_expr::LogicalPlan> {
    use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
    let renamed: Vec<Expr> = plan
        .schema()
        .columns()
        .into_iter()
        .zip(columns)
        .map(|(c, (name, _))| Expr::Column(c).alias(name.as_str()))
        .collect();
    LogicalPlanBuilder::from(plan).project(renamed)?.build()
}
