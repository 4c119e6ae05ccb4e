//! CREATE TABLE and CREATE VIEW: from the tree to definitions.

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use dflow_common::{SourceMap, SqlType, TypeKind};
use dflow_dsl::ast::{self as dsl, LikeFeature, LikeMerge};

use super::Session;
use super::draft::Draft;
use crate::bind::{Binder, views};
use crate::catalog::{Column, ColumnSource, Object, ObjectId, Table, View, Watermark};
use crate::error::{self, Errors, Result, at, unsupported};

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
    draft.computed_columns();
    if let Some(key) = create.primary_key() {
        draft.primary_key(key);
    }
    if !create.partitioned_by.is_empty() {
        draft.partition_keys(&create.partitioned_by);
    }
    if let Some(w) = create.watermark() {
        draft.watermark(w);
    }
    draft.options(create.options.as_ref());
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

/// The definition of CREATE VIEW, and the tables its query reads.
///
/// # Errors
/// What is wrong with its query or its column list.
pub(super) fn view(
    session: &Session,
    binder: &Binder<'_>,
    sources: &SourceMap,
    create: &dsl::CreateView,
) -> Result<(View, LogicalPlan)> {
    let id = session.catalog.resolve(&create.name)?;
    let (plan, mut columns) = views::define(binder, &id, &create.query)?;
    let query_columns = columns.iter().map(|(name, _)| name.clone()).collect();
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
    let view = View {
        id,
        temporary: create.temporary,
        columns,
        query_columns,
        query: Arc::new((*create.query).clone()),
        namespace: session.catalog.namespace(),
        text: sources.text(create.query.span).to_owned(),
        comment: create.comment.as_ref().map(|c| c.value.clone()),
        span: create.name.span,
    };
    Ok((view, plan))
}
