//! The captured tables as they were when last seen, and what the catalog says of them.
//!
//! # When the catalog is asked
//! When a table map does not say enough; again when the table was changed since, and once more for a table map that it does not
//! fit. A table that fits neither way is another one than was logged: its rows cannot be told apart.
//!
//! # Invariants
//! Names of the catalog are given to a table map only when their number and their types are those of the map.

use std::collections::HashMap;
use std::sync::Arc;

use super::definition::{Definition, TableName, definitions};
use super::drift::{Change, SchemaChanges, changes, of_statement};
use super::rows::Wanted;
use super::table_map::{CatalogColumn, TableMap};
use crate::error::{self, Error, Place};

/// A table map's types; the catalog is asked once for each.
type Shape = Vec<(u8, u16)>;

struct Known {
    columns: Vec<CatalogColumn>,
    /// For which table map it was asked.
    asked_for: Shape,
}

/// See the [module](self).
#[derive(Default)]
pub(super) struct Schemas {
    /// Of each output.
    behaviors: Vec<SchemaChanges>,
    versions: HashMap<TableName, Arc<TableMap>>,
    catalog: HashMap<TableName, Known>,
    asking: HashMap<TableName, Shape>,
}

impl Schemas {
    /// What changes do to each output; [`SchemaChanges::Lenient`] to those behind them.
    pub(super) fn set_behaviors(&mut self, behaviors: Vec<SchemaChanges>) {
        self.behaviors = behaviors;
    }

    /// Whether the catalog must be asked before the table map can be read.
    pub(super) fn must_ask(&mut self, map: &TableMap) -> bool {
        if map.is_complete() {
            return false;
        }
        let (name, shape) = (name(map), shape(map));
        let is_known = self
            .catalog
            .get(&name)
            .is_some_and(|known| known.asked_for == shape || map.clone().complete(&known.columns).is_ok());
        if !is_known {
            self.asking.insert(name, shape);
        }
        !is_known
    }

    /// What the catalog answered.
    pub(super) fn add_catalog(&mut self, name: TableName, columns: Vec<CatalogColumn>) {
        let asked_for = self.asking.remove(&name).unwrap_or_default();
        self.catalog.insert(name, Known { columns, asked_for });
    }

    /// Adds what the catalog knows to a table map.
    ///
    /// # Errors
    /// [`error::TABLE_CHANGED`].
    pub(super) fn complete(&self, map: &mut TableMap, place: Place<'_>) -> Result<(), Error> {
        match self.catalog.get(&name(map)) {
            Some(known) if !map.is_complete() => {
                let table = format!("{}.{}", map.database, map.table);
                map.complete(&known.columns).map_err(|why| error::table_changed(place, &table, &why))
            }
            _ => Ok(()),
        }
    }

    /// What is new of a table since it was last seen.
    pub(super) fn changed(&mut self, map: &Arc<TableMap>) -> Vec<Change> {
        match self.versions.insert(name(map), map.clone()) {
            Some(old) => changes(&old, map),
            None => Vec::new(),
        }
    }

    /// What a statement does to tables that were seen or that `is_captured`. The catalog is asked again for those it changes.
    pub(super) fn stated(
        &mut self,
        text: &[u8],
        database: &str,
        mut is_captured: impl FnMut(&TableName) -> bool,
    ) -> Vec<(TableName, Change)> {
        let mut found = Vec::new();
        for definition in definitions(text, database) {
            let about: Vec<TableName> = match &definition {
                Definition::DroppedDatabase(database) => {
                    self.versions.keys().filter(|(d, _)| d == database).cloned().collect()
                }
                Definition::Dropped(name) | Definition::Emptied(name) | Definition::Altered(name) => vec![name.clone()],
                Definition::Renamed(from, to) => {
                    self.catalog.remove(to);
                    vec![from.clone()]
                }
            };
            for name in about {
                self.catalog.remove(&name);
                if let Some(change) = of_statement(&definition, &name.0, &name.1)
                    && is_captured(&name)
                {
                    found.push((name, change));
                }
            }
        }
        found
    }

    /// Whether a change of a table that these outputs read should be told.
    ///
    /// # Errors
    /// [`error::TABLE_REDEFINED`] when one of them does not allow it.
    pub(super) fn allow<'a>(
        &self,
        (database, table): &TableName,
        change: &Change,
        outputs: impl Iterator<Item = (usize, &'a [Wanted])>,
        place: Place<'_>,
    ) -> Result<bool, Error> {
        let mut is_told = false;
        for (output, wanted) in outputs {
            let behavior = self.behaviors.get(output).copied().unwrap_or_default();
            if !change.is_allowed(behavior, wanted) {
                return Err(error::table_redefined(place, &format!("{database}.{table}"), change, behavior));
            }
            is_told |= behavior != SchemaChanges::Ignore;
        }
        Ok(is_told)
    }
}

fn name(map: &TableMap) -> TableName {
    (map.database.clone(), map.table.clone())
}

fn shape(map: &TableMap) -> Shape {
    map.columns.iter().map(|c| (c.ty, c.meta)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::table_map::{ColumnDef, column_type as t};

    fn map(types: &[u8]) -> TableMap {
        let columns = types.iter().map(|ty| ColumnDef { ty: *ty, ..ColumnDef::default() }).collect();
        TableMap { table_id: 1, database: "d".into(), table: "t".into(), columns, primary_key: vec![] }
    }

    fn catalog(columns: &[(&str, u8)]) -> Vec<CatalogColumn> {
        let column = |(name, ty): &(&str, u8)| CatalogColumn {
            name: (*name).into(),
            kind: Some((*ty, 0)),
            ..CatalogColumn::default()
        };
        columns.iter().map(column).collect()
    }

    fn names() -> TableName {
        ("d".into(), "t".into())
    }

    #[test]
    fn catalog_is_asked_again_when_the_table_was_changed_and_once_for_what_does_not_fit() {
        let mut schemas = Schemas::default();
        let (old, new) = (map(&[t::LONG]), map(&[t::LONG, t::DATE]));
        assert!(schemas.must_ask(&old));
        schemas.add_catalog(names(), catalog(&[("id", t::LONG)]));
        assert!(!schemas.must_ask(&old));
        // A column was added, and nobody said so.
        assert!(schemas.must_ask(&new));
        schemas.add_catalog(names(), catalog(&[("id", t::LONG), ("day", t::DATE)]));
        assert!(!schemas.must_ask(&new));
        // The log goes on with what was logged before: it does not fit, which is asked once.
        assert!(schemas.must_ask(&old));
        schemas.add_catalog(names(), catalog(&[("id", t::LONG), ("day", t::DATE)]));
        assert!(!schemas.must_ask(&old));
        let place = Place { file: "b.1", pos: 4 };
        assert!(schemas.complete(&mut old.clone(), place).unwrap_err().to_string().contains("1 columns in the log"));
        // A column was renamed, which no type shows: the statement does.
        assert!(!schemas.must_ask(&new));
        schemas.stated(b"ALTER TABLE t RENAME COLUMN day TO at", "d", |_| true);
        assert!(schemas.must_ask(&new));
    }

    #[test]
    fn names_are_given_to_columns_of_their_own_type_only() {
        let mut schemas = Schemas::default();
        assert!(schemas.must_ask(&map(&[t::LONG, t::DATE])));
        schemas.add_catalog(names(), catalog(&[("day", t::DATE), ("id", t::LONG)]));
        let place = Place { file: "b.1", pos: 4 };
        let error = schemas.complete(&mut map(&[t::LONG, t::DATE]), place).unwrap_err();
        assert!(error.to_string().contains("`day`"), "{error}");
    }

    #[test]
    fn statements_are_about_captured_tables_or_about_nobody() {
        let mut schemas = Schemas::default();
        schemas.changed(&Arc::new(map(&[t::LONG])));
        let mut stated = |text: &str| schemas.stated(text.as_bytes(), "d", |name| name.1 == "t");
        assert_eq!(stated("TRUNCATE t"), [(names(), Change::Emptied)]);
        assert_eq!(stated("DROP TABLE t, u"), [(names(), Change::Dropped)]);
        assert_eq!(stated("DROP DATABASE d"), [(names(), Change::Dropped)]);
        assert_eq!(stated("DROP TABLE u"), []);
    }
}
