//! A table while it is being defined or altered: columns, keys, watermark, options, and what is wrong with them.

use std::sync::Arc;

use dflow_common::limits::COLUMNS_MAX;
use dflow_common::{Diagnostic, SourceMap, Span, SqlType, TypeKind};
use dflow_dsl::ast as dsl;

use super::Session;
use super::options::{duplicates, expand, mark_secrets, take_connector};
use crate::bind::Binder;
use crate::catalog::{Column, ColumnSource, Table, Watermark};
use crate::error::{self, at, unsupported};

/// What is known of a table that is being defined.
pub(super) struct Draft<'a> {
    pub(super) session: &'a Session,
    pub(super) binder: &'a Binder<'a>,
    pub(super) sources: &'a SourceMap,
    pub(super) table: Table,
    pub(super) errors: Vec<Diagnostic>,
}

impl Draft<'_> {
    /// Physical and metadata columns, and places for the computed ones.
    pub(super) fn columns<'c>(&mut self, columns: impl Iterator<Item = &'c dsl::Column>) {
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
                    ColumnSource::Computed {
                        expr: Box::default(),
                        written: Arc::new((**e).clone()),
                        text: self.sources.text(e.span).to_owned(),
                    },
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

    pub(super) fn add(&mut self, column: Column) {
        if let Some(first) = self.table.columns.iter().find(|c| c.name == column.name) {
            let message = format!("column `{}` is defined twice", column.name);
            let d = at(error::DUPLICATE_COLUMN, column.span, message, "again");
            self.errors.push(d.with_label(first.span, "first here"));
            return;
        }
        self.table.columns.push(column);
    }

    pub(super) fn limits(&mut self, span: Span) {
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
    pub(super) fn computed_columns(&mut self) {
        let inputs: Vec<(String, SqlType)> =
            self.table.columns.iter().filter(|c| c.from_connector()).map(|c| (c.name.clone(), c.ty.clone())).collect();
        for column in &mut self.table.columns {
            let ColumnSource::Computed { expr, written, .. } = &mut column.source else { continue };
            match self.binder.expression(written, &inputs) {
                Ok(bound) => (column.ty, **expr) = (bound.ty, bound.expr),
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

    pub(super) fn primary_key(&mut self, key: &dsl::PrimaryKey) {
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

    pub(super) fn partition_keys(&mut self, names: &[dsl::Ident]) {
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

    pub(super) fn watermark(&mut self, w: &dsl::Watermark) {
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
                // A watermark that is bound again keeps the text it was first read from.
                let before = self.table.watermark.take().filter(|old| old.written.span == w.span);
                let text = before.map_or_else(|| self.sources.text(w.expr.span).to_owned(), |old| old.text);
                let (expr, written) = (Box::new(bound.expr), Arc::new(w.clone()));
                self.table.watermark = Some(Watermark { column, expr, written, text, span: w.span });
            }
            Ok(bound) => {
                let message = format!("the watermark is {}, its column {ty}", bound.ty);
                self.errors.push(at(error::BAD_WATERMARK, w.expr.span, message, "another type"));
            }
            Err(errors) => self.errors.extend(errors.into_diagnostics()),
        }
    }

    /// Lays options over those there are.
    pub(super) fn options(&mut self, options: Option<&dsl::Options>) {
        if let Some(options) = options {
            self.errors.extend(duplicates(options));
            let (mut own, errors) = expand(options, self.session.options.variables.as_ref());
            self.errors.extend(errors);
            if let Some(connector) = take_connector(&mut own) {
                self.table.connector = Some(connector);
            }
            self.table.options.retain(|o| own.iter().all(|new| new.key != o.key));
            self.table.options.extend(own);
        }
        mark_secrets(&self.session.engine.registry, self.connector().as_deref(), &mut self.table.options);
    }

    fn connector(&self) -> Option<String> {
        self.table.connector.as_ref().map(|c| c.value.clone())
    }
}

/// Whether a watermark of type `watermark` is a reading of the same clock as its column.
fn same_clock(watermark: &SqlType, column: &SqlType) -> bool {
    matches!(
        (&watermark.kind, &column.kind),
        (TypeKind::Timestamp(_), TypeKind::Timestamp(_)) | (TypeKind::TimestampLtz(_), TypeKind::TimestampLtz(_))
    )
}
