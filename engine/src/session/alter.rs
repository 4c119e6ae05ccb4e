//! ALTER TABLE and ALTER VIEW: a definition changed as if it had been created so.
//!
//! ```text
//! ALTER TABLE t ADD (c INT AFTER a, WATERMARK FOR ts AS ts)     columns first, then the watermark, then the key
//! ALTER TABLE t DROP (a, twice_a)                               a column goes together with what is computed from it
//! ```
//! Keys, watermark and computed columns name columns; they are looked up and bound again after every change. The checks
//! and most of their words are Flink's.

use std::sync::Arc;

use dflow_common::{SourceMap, Span};
use dflow_dsl::ast::{self as dsl, AlterElement, AlterTableAction};

use super::Session;
use super::draft::Draft;
use crate::bind::Binder;
use crate::catalog::{Column, ColumnSource, Table};
use crate::error::{self, Errors, Result, at, unsupported};

/// The definition of a table after ALTER TABLE. Renaming the table itself is the catalog's business.
///
/// # Errors
/// Everything that is wrong with the change.
pub(super) fn table(
    session: &Session,
    binder: &Binder<'_>,
    sources: &SourceMap,
    old: &Table,
    action: &AlterTableAction,
    name: &dsl::ObjectName,
) -> Result<Table> {
    let keys = Keys::of(old);
    let draft = Draft { session, binder, sources, table: old.clone(), errors: Vec::new() };
    let mut alter = Alter { draft, keys, name: name.span };
    match action {
        AlterTableAction::SetOptions(options) => alter.set(options),
        AlterTableAction::ResetOptions(names) => alter.reset(names),
        AlterTableAction::RenameColumn { from, to } => alter.rename(from, to),
        AlterTableAction::Add(elements) => alter.elements(elements, Change::Add),
        AlterTableAction::Modify(elements) => alter.elements(elements, Change::Modify),
        AlterTableAction::DropColumns(columns) => alter.drop_columns(columns),
        AlterTableAction::DropPrimaryKey => alter.drop_primary_key(None),
        AlterTableAction::DropConstraint(constraint) => alter.drop_primary_key(Some(constraint)),
        AlterTableAction::DropWatermark => alter.drop_watermark(),
        AlterTableAction::DropDistribution => alter.refuse(name.span, "the table has no distribution", ""),
        AlterTableAction::AddPartitions { .. } => alter.unsupported("ALTER TABLE … ADD PARTITION", name.span),
        AlterTableAction::DropPartitions { .. } => alter.unsupported("ALTER TABLE … DROP PARTITION", name.span),
        AlterTableAction::RenameTable(_) => {}
    }
    alter.finish()
}

/// The same table with its expressions bound again, for another time zone; `None` when it has none.
///
/// # Errors
/// What is wrong with them.
pub(super) fn bound_again(
    session: &Session,
    binder: &Binder<'_>,
    sources: &SourceMap,
    table: &Table,
) -> Result<Option<Table>> {
    if table.watermark.is_none() && table.columns.iter().all(Column::from_connector) {
        return Ok(None);
    }
    let draft = Draft { session, binder, sources, table: table.clone(), errors: Vec::new() };
    Alter { draft, keys: Keys::of(table), name: table.span }.finish().map(Some)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Add,
    Modify,
}

/// Keys by the names of their columns, which keep when columns move.
struct Keys {
    primary: Option<dsl::PrimaryKey>,
    partition: Vec<dsl::Ident>,
    watermark: Option<Arc<dsl::Watermark>>,
}

impl Keys {
    fn of(table: &Table) -> Self {
        let ident = |i: &usize| {
            let c = &table.columns[*i];
            dsl::Ident { value: c.name.clone(), quoted: true, span: c.span }
        };
        let primary = (!table.primary_key.is_empty()).then(|| dsl::PrimaryKey {
            name: table.primary_key_name.clone().map(|value| dsl::Ident { value, quoted: true, span: table.span }),
            columns: table.primary_key.iter().map(ident).collect(),
            span: table.span,
        });
        Self {
            primary,
            partition: table.partition_keys.iter().map(ident).collect(),
            watermark: table.watermark.as_ref().map(|w| w.written.clone()),
        }
    }
}

struct Alter<'a> {
    draft: Draft<'a>,
    keys: Keys,
    /// The table's name in the statement.
    name: Span,
}

impl Alter<'_> {
    fn refuse(&mut self, span: Span, message: impl Into<String>, label: &str) {
        self.draft.errors.push(at(error::BAD_ALTER, span, message, label));
    }

    fn unsupported(&mut self, what: &str, span: Span) {
        self.draft.errors.push(unsupported(what, span));
    }

    /// The altered table: everything that names columns looked up and bound again.
    fn finish(mut self) -> Result<Table> {
        let draft = &mut self.draft;
        if draft.errors.is_empty() {
            draft.limits(self.name);
            draft.computed_columns();
            (draft.table.primary_key, draft.table.primary_key_name) = (Vec::new(), None);
            if let Some(key) = &self.keys.primary {
                draft.primary_key(key);
            }
            draft.partition_keys(&self.keys.partition);
            match &self.keys.watermark {
                Some(w) => draft.watermark(w),
                None => draft.table.watermark = None,
            }
        }
        match Errors::from_list(self.draft.errors) {
            Some(errors) => Err(errors),
            None => Ok(self.draft.table),
        }
    }

    fn set(&mut self, options: &dsl::Options) {
        if options.entries.is_empty() {
            return self.refuse(options.span, "ALTER TABLE … SET needs a key", "empty");
        }
        self.draft.options(Some(options));
    }

    fn reset(&mut self, names: &[dsl::Text]) {
        if names.is_empty() {
            return self.refuse(self.name, "ALTER TABLE … RESET needs a key", "");
        }
        for name in names {
            let options = &mut self.draft.table.options;
            let before = options.len();
            options.retain(|o| o.key != name.value);
            if options.len() < before {
                continue;
            }
            let d = match name.value.as_str() {
                "connector" => at(error::BAD_ALTER, name.span, "'connector' cannot be reset", "every table needs one")
                    .with_help("SET another one, or drop the table"),
                key => {
                    let message = format!("the table has no option '{key}'");
                    let d = at(error::BAD_ALTER, name.span, message, "not set");
                    let all = self.draft.table.options.iter().map(|o| o.key.as_str());
                    error::did_you_mean(d, key, all)
                }
            };
            self.draft.errors.push(d);
        }
    }

    /// ADD and MODIFY.
    fn elements(&mut self, elements: &[AlterElement], change: Change) {
        let mut named: Vec<&dsl::Ident> = Vec::new();
        for element in elements {
            let AlterElement::Column { column, position } = element else { continue };
            if let Some(first) = named.iter().find(|n| n.value == column.name.value) {
                let message = format!("column `{}` is named twice", column.name.value);
                let d = at(error::DUPLICATE_COLUMN, column.name.span, message, "again");
                self.draft.errors.push(d.with_label(first.span, "first here"));
                continue;
            }
            named.push(&column.name);
            self.column(column, position.as_ref(), change);
        }
        for element in elements {
            match element {
                AlterElement::Column { column, .. } => {
                    if let Some(key) = &column.primary_key {
                        self.primary_key(key, change);
                    }
                }
                AlterElement::Watermark(w) => self.watermark(w, change),
                AlterElement::PrimaryKey(key) => self.primary_key(key, change),
                AlterElement::Distribution(d) => self.unsupported("DISTRIBUTED", d.span),
            }
        }
    }

    fn column(&mut self, new: &dsl::Column, position: Option<&dsl::ColumnPosition>, change: Change) {
        let name = &new.name;
        let place = self.draft.table.index_of(&name.value);
        let old: Option<(usize, Column)> = match (change, place) {
            (Change::Add, Some(i)) => {
                let message = format!("column `{}` exists already in the table", name.value);
                let d = at(error::DUPLICATE_COLUMN, name.span, message, "again");
                let first = self.draft.table.columns[i].span;
                return self
                    .draft
                    .errors
                    .push(d.with_label(first, "defined here").with_help("MODIFY changes a column"));
            }
            (Change::Add, None) => None,
            (Change::Modify, None) => return self.not_found(name, "MODIFY a column that does not exist in the table"),
            (Change::Modify, Some(i)) => Some((i, self.draft.table.columns.remove(i))),
        };
        self.draft.columns(std::iter::once(new));
        let Some(mut column) = self.draft.table.columns.pop().filter(|c| c.name == name.value) else { return };
        if column.comment.is_none() {
            column.comment = old.as_ref().and_then(|(_, c)| c.comment.clone());
        }
        let columns = &self.draft.table.columns;
        let at = match position {
            Some(dsl::ColumnPosition::First) => 0,
            Some(dsl::ColumnPosition::After(other)) => match self.draft.table.index_of(&other.value) {
                Some(i) => i + 1,
                None => return self.not_found(other, "AFTER a column that does not exist in the table"),
            },
            None => old.map_or(columns.len(), |(i, _)| i),
        };
        self.draft.table.columns.insert(at, column);
    }

    fn not_found(&mut self, name: &dsl::Ident, what: &str) {
        let d = at(error::COLUMN_NOT_FOUND, name.span, format!("{what}: `{}`", name.value), "not a column");
        let names: Vec<&str> = self.draft.table.columns.iter().map(|c| c.name.as_str()).collect();
        self.draft.errors.push(error::did_you_mean(d, &name.value, names));
    }

    fn primary_key(&mut self, key: &dsl::PrimaryKey, change: Change) {
        match (change, &self.keys.primary) {
            (Change::Add, Some(old)) => {
                let names: Vec<String> = old.columns.iter().map(|c| format!("`{}`", c.value)).collect();
                let message = format!("the table has the primary key ({}) already", names.join(", "));
                let d = at(error::BAD_ALTER, key.span, message, "a second one");
                self.draft.errors.push(d.with_help("drop it first, or MODIFY it"));
            }
            (Change::Modify, None) => {
                let d = at(error::BAD_ALTER, key.span, "the table has no primary key to modify", "");
                self.draft.errors.push(d.with_help("ADD one"));
            }
            _ => self.keys.primary = Some(key.clone()),
        }
    }

    fn watermark(&mut self, watermark: &dsl::Watermark, change: Change) {
        match (change, &self.draft.table.watermark) {
            (Change::Add, Some(old)) => {
                let column = &self.draft.table.columns.get(old.column).map_or("", |c| c.name.as_str());
                let message = format!("the table has the watermark `{column}` AS {} already", old.text);
                let d = at(error::BAD_ALTER, watermark.span, message, "a second one");
                self.draft.errors.push(d.with_help("drop it first, or MODIFY it"));
            }
            (Change::Modify, None) => {
                let d = at(error::BAD_ALTER, watermark.span, "the table has no watermark to modify", "");
                self.draft.errors.push(d.with_help("ADD one"));
            }
            _ => self.keys.watermark = Some(Arc::new(watermark.clone())),
        }
    }

    fn rename(&mut self, from: &[dsl::Ident], to: &dsl::Ident) {
        let Some(i) = self.existing(from) else { return };
        let old = from[0].value.clone();
        if let Some(other) = self.draft.table.index_of(&to.value) {
            let message = format!("column `{}` exists already in the table", to.value);
            let d = at(error::DUPLICATE_COLUMN, to.span, message, "name is taken");
            let first = self.draft.table.columns[other].span;
            return self.draft.errors.push(d.with_label(first, "defined here"));
        }
        if !self.is_free(&from[0], &[]) {
            return;
        }
        let column = &mut self.draft.table.columns[i];
        // Metadata without a key of its own was read by the old name.
        column.name.clone_from(&to.value);
        column.span = to.span;
        for key in self.keys.primary.iter_mut().flat_map(|k| &mut k.columns).filter(|c| c.value == old) {
            *key = to.clone();
        }
    }

    fn drop_columns(&mut self, columns: &[Vec<dsl::Ident>]) {
        let mut dropped: Vec<&str> = Vec::new();
        for parts in columns {
            let Some(_) = self.existing(parts) else { continue };
            if dropped.contains(&parts[0].value.as_str()) {
                let message = format!("column `{}` is named twice", parts[0].value);
                self.draft.errors.push(at(error::DUPLICATE_COLUMN, parts[0].span, message, "again"));
            }
            dropped.push(&parts[0].value);
        }
        for parts in columns {
            let [name] = parts.as_slice() else { continue };
            if self.draft.table.index_of(&name.value).is_none() {
                continue;
            }
            let is_key = self.keys.primary.iter().flat_map(|k| &k.columns).any(|c| c.value == name.value);
            if self.is_free(name, &dropped) && is_key {
                let message = format!("column `{}` is part of the primary key", name.value);
                let d = at(error::BAD_ALTER, name.span, message, "a key column");
                self.draft.errors.push(d.with_help("DROP PRIMARY KEY first"));
            }
        }
        if self.draft.errors.is_empty() {
            self.draft.table.columns.retain(|c| !dropped.contains(&c.name.as_str()));
        }
    }

    /// The index of a column that is named in full.
    fn existing(&mut self, parts: &[dsl::Ident]) -> Option<usize> {
        let [name] = parts else {
            let (first, last) = (parts.first()?, parts.last()?);
            self.unsupported("ALTER TABLE of a field of a ROW", first.span.join(last.span));
            return None;
        };
        let found = self.draft.table.index_of(&name.value);
        if found.is_none() {
            self.not_found(name, "no such column in the table");
        }
        found
    }

    /// Whether nothing but a primary key needs a column; what does is told. Columns in `dropped` do not count.
    fn is_free(&mut self, name: &dsl::Ident, dropped: &[&str]) -> bool {
        let needs = |e: &datafusion::logical_expr::Expr| e.column_refs().iter().any(|c| c.name == name.value);
        let table = &self.draft.table;
        let computed = table.columns.iter().find(|c| match &c.source {
            ColumnSource::Computed { expr, .. } => needs(expr) && !dropped.contains(&c.name.as_str()),
            _ => false,
        });
        let (why, place) = if let Some(c) = computed {
            (format!("column `{}` is used by the computed column `{}`", name.value, c.name), c.span)
        } else if self.keys.partition.iter().any(|k| k.value == name.value) {
            (format!("column `{}` is a partition column", name.value), table.span)
        } else if let Some(w) = table
            .watermark
            .as_ref()
            .filter(|w| needs(&w.expr) || table.columns.get(w.column).is_some_and(|c| c.name == name.value))
        {
            (format!("column `{}` is used by the watermark", name.value), w.span)
        } else {
            return true;
        };
        self.draft.errors.push(at(error::BAD_ALTER, name.span, why, "still used").with_label(place, "used here"));
        false
    }

    fn drop_primary_key(&mut self, constraint: Option<&dsl::Ident>) {
        match (&self.keys.primary, constraint) {
            (None, _) => self.refuse(self.name, "the table has no primary key to drop", ""),
            (Some(key), Some(wanted)) if key.name.as_ref().is_none_or(|n| n.value != wanted.value) => {
                let message = format!("the primary key of the table is not called `{}`", wanted.value);
                let d = at(error::BAD_ALTER, wanted.span, message, "no such constraint");
                let d = match &key.name {
                    Some(name) => error::did_you_mean(d, &wanted.value, [name.value.as_str()])
                        .with_note(format!("it is called `{}`", name.value)),
                    None => d.with_help("DROP PRIMARY KEY needs no name"),
                };
                self.draft.errors.push(d);
            }
            _ => self.keys.primary = None,
        }
    }

    fn drop_watermark(&mut self) {
        match self.keys.watermark.take() {
            Some(_) => self.draft.table.watermark = None,
            None => self.refuse(self.name, "the table has no watermark to drop", ""),
        }
    }
}
