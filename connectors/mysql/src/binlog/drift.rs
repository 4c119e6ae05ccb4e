//! How a captured table changes, and what that does to whoever reads it.
//!
//! | `schema.change.behavior` | a column that is not declared, a wider type | a declared column is gone | the table is emptied, dropped, renamed |
//! |---|---|---|---|
//! | `exception` | the job ends | ends | ends |
//! | `evolve` | goes on | ends | ends |
//! | `try_evolve`, `lenient` | goes on | NULL, or ends for NOT NULL | goes on |
//! | `ignore` | as `lenient`, and nobody hears of it | | |
//!
//! The columns of a declared table are fixed, so no change reaches those who read it: either the declared columns can still
//! be read, or they cannot. A value that does not fit ends the job in every case.

use std::fmt;

use super::definition::Definition;
use super::rows::{From, Wanted};
use super::table_map::{ColumnDef, TableMap, column_type as t};

/// What a changed table does to the job; Flink CDC's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SchemaChanges {
    /// It ends, whatever the change is.
    Exception,
    /// It goes on as long as nothing that is declared is gone.
    Evolve,
    /// What is gone is NULL, where the declared column allows that.
    TryEvolve,
    /// As [`SchemaChanges::TryEvolve`].
    #[default]
    Lenient,
    /// As [`SchemaChanges::TryEvolve`], and nobody hears of it.
    Ignore,
}

impl SchemaChanges {
    /// As scripts write it.
    pub fn name(self) -> &'static str {
        match self {
            SchemaChanges::Exception => "exception",
            SchemaChanges::Evolve => "evolve",
            SchemaChanges::TryEvolve => "try_evolve",
            SchemaChanges::Lenient => "lenient",
            SchemaChanges::Ignore => "ignore",
        }
    }
}

/// What happened to a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A column is new.
    Added(String, String),
    /// A column is gone, or has another name.
    Removed(String),
    /// A column has another type: before, after.
    Retyped(String, String, String),
    /// Rows are gone without row events.
    Emptied,
    /// The table is gone.
    Dropped,
    /// It has another name.
    Renamed(String),
}

impl Change {
    /// Whether the job goes on; `wanted` are the declared columns.
    pub fn is_allowed(&self, behavior: SchemaChanges, wanted: &[Wanted]) -> bool {
        let is_declared =
            |name: &str| wanted.iter().any(|w| w.from == From::Column && w.name.eq_ignore_ascii_case(name));
        match (behavior, self) {
            (SchemaChanges::Exception, _) => false,
            (SchemaChanges::Evolve, Change::Removed(name)) => !is_declared(name),
            (SchemaChanges::Evolve, Change::Emptied | Change::Dropped | Change::Renamed(_)) => false,
            _ => true,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Added(name, ty) => write!(f, "column `{name}` {ty} was added"),
            Change::Removed(name) => write!(f, "column `{name}` was dropped or renamed"),
            Change::Retyped(name, from, to) => write!(f, "column `{name}` was {from} and is {to}"),
            Change::Emptied => {
                f.write_str("rows were removed by TRUNCATE or DROP PARTITION, which the log does not list")
            }
            Change::Dropped => f.write_str("it was dropped"),
            Change::Renamed(to) => write!(f, "it was renamed to `{to}`"),
        }
    }
}

/// How the columns of one version of a table differ from those of the next. Columns without names are told by their place.
pub fn changes(old: &TableMap, new: &TableMap) -> Vec<Change> {
    let (before, after) = (typed(old), typed(new));
    let find = |all: &[(String, String)], name: &str| all.iter().find(|(n, _)| n == name).map(|(_, ty)| ty.clone());
    let mut found = Vec::new();
    for (name, from) in &before {
        match find(&after, name) {
            None => found.push(Change::Removed(name.clone())),
            Some(to) if *from != to => found.push(Change::Retyped(name.clone(), from.clone(), to)),
            Some(_) => {}
        }
    }
    let is_new = after.into_iter().filter(|(name, _)| find(&before, name).is_none());
    found.extend(is_new.map(|(name, ty)| Change::Added(name, ty)));
    found
}

/// The name and the type of each column.
fn typed(map: &TableMap) -> Vec<(String, String)> {
    let name =
        |(i, def): (usize, &ColumnDef)| (def.name.clone().unwrap_or_else(|| format!("number {}", i + 1)), type_of(def));
    map.columns.iter().enumerate().map(name).collect()
}

/// What a statement does to a table, if it is about it.
pub fn of_statement(definition: &Definition, database: &str, table: &str) -> Option<Change> {
    let is_it = |name: &super::definition::TableName| name.0 == database && name.1 == table;
    match definition {
        Definition::Dropped(name) if is_it(name) => Some(Change::Dropped),
        Definition::DroppedDatabase(name) if name == database => Some(Change::Dropped),
        Definition::Emptied(name) if is_it(name) => Some(Change::Emptied),
        Definition::Renamed(name, (to_database, to)) if is_it(name) => {
            Some(Change::Renamed(format!("{to_database}.{to}")))
        }
        _ => None,
    }
}

/// A type as SQL writes it, as far as the log knows it.
pub fn type_of(def: &ColumnDef) -> String {
    let [high, low] = def.meta.to_be_bytes();
    let sign = if def.unsigned == Some(true) { " UNSIGNED" } else { "" };
    let is_binary = def.collation == Some(63);
    let text = |text: &str, bytes: &str| if is_binary { bytes.to_owned() } else { text.to_owned() };
    let fraction = |name: &str| if low > 0 { format!("{name}({low})") } else { name.to_owned() };
    match def.ty {
        t::TINY => format!("TINYINT{sign}"),
        t::SHORT => format!("SMALLINT{sign}"),
        t::INT24 => format!("MEDIUMINT{sign}"),
        t::LONG => format!("INT{sign}"),
        t::LONGLONG => format!("BIGINT{sign}"),
        t::FLOAT => "FLOAT".into(),
        t::DOUBLE => "DOUBLE".into(),
        t::NEWDECIMAL => format!("DECIMAL({high}, {low}){sign}"),
        t::DATE | t::NEWDATE => "DATE".into(),
        t::TIME | t::TIME2 => fraction("TIME"),
        t::DATETIME | t::DATETIME2 => fraction("DATETIME"),
        t::TIMESTAMP | t::TIMESTAMP2 => fraction("TIMESTAMP"),
        t::YEAR => "YEAR".into(),
        t::BIT => format!("BIT({})", def.meta),
        t::STRING => format!("{}({} bytes)", text("CHAR", "BINARY"), def.meta),
        t::VARCHAR | t::VAR_STRING | t::MARIA_VARCHAR_COMPRESSED => {
            format!("{}({} bytes)", text("VARCHAR", "VARBINARY"), def.meta)
        }
        t::TINY_BLOB..=t::BLOB | t::MARIA_BLOB_COMPRESSED => {
            let size = ["", "TINY", "", "MEDIUM", "LONG"].get(usize::from(def.meta)).copied().unwrap_or_default();
            format!("{size}{}", text("TEXT", "BLOB"))
        }
        t::ENUM => format!("ENUM{}", listed(def)),
        t::SET => format!("SET{}", listed(def)),
        t::JSON | t::TYPED_ARRAY => "JSON".into(),
        t::GEOMETRY => "GEOMETRY".into(),
        t::VECTOR => "VECTOR".into(),
        other => format!("type {other}"),
    }
}

fn listed(def: &ColumnDef) -> String {
    let quoted = |v: &Vec<u8>| format!("'{}'", String::from_utf8_lossy(v).replace('\'', "''"));
    let values = def.values.iter().flatten().map(quoted).collect::<Vec<_>>();
    if values.is_empty() { String::new() } else { format!("({})", values.join(", ")) }
}

#[cfg(test)]
mod tests {
    use dflow_common::SqlType;

    use super::*;

    fn table(columns: &[(&str, u8, u16)]) -> TableMap {
        let column = |(name, ty, meta): &(&str, u8, u16)| ColumnDef {
            ty: *ty,
            meta: *meta,
            name: Some((*name).into()),
            unsigned: Some(false),
            ..ColumnDef::default()
        };
        TableMap {
            table_id: 1,
            database: "d".into(),
            table: "t".into(),
            columns: columns.iter().map(column).collect(),
            primary_key: vec![],
        }
    }

    #[test]
    fn columns_are_compared_by_name() {
        let old = table(&[("id", t::LONG, 0), ("v", t::VARCHAR, 40), ("gone", t::DATE, 0)]);
        let new = table(&[("new", t::NEWDECIMAL, 0x0a02), ("v", t::VARCHAR, 80), ("id", t::LONGLONG, 0)]);
        assert_eq!(changes(&old, &old), []);
        let told: Vec<String> = changes(&old, &new).iter().map(Change::to_string).collect();
        assert_eq!(
            told,
            [
                "column `id` was INT and is BIGINT",
                "column `v` was VARCHAR(40 bytes) and is VARCHAR(80 bytes)",
                "column `gone` was dropped or renamed",
                "column `new` DECIMAL(10, 2) was added",
            ]
        );
    }

    #[test]
    fn behaviors_differ_in_what_ends_the_job() {
        use SchemaChanges as S;
        let wanted = [Wanted { name: "V".into(), ty: SqlType::STRING, from: From::Column }];
        let allowed = |change: &Change| {
            [S::Exception, S::Evolve, S::TryEvolve, S::Lenient, S::Ignore].map(|s| change.is_allowed(s, &wanted))
        };
        let retyped = Change::Retyped("v".into(), "INT".into(), "BIGINT".into());
        for change in [Change::Added("x".into(), "INT".into()), retyped, Change::Removed("other".into())] {
            assert_eq!(allowed(&change), [false, true, true, true, true], "{change}");
        }
        for change in [Change::Removed("v".into()), Change::Emptied, Change::Dropped, Change::Renamed("d.u".into())] {
            assert_eq!(allowed(&change), [false, false, true, true, true], "{change}");
        }
    }

    #[test]
    fn statement_is_about_a_table_or_it_is_not() {
        let of = |text: &str| {
            let all = super::super::definition::definitions(text.as_bytes(), "d");
            all.iter().find_map(|definition| of_statement(definition, "d", "t"))
        };
        assert_eq!(of("TRUNCATE t"), Some(Change::Emptied));
        assert_eq!(of("DROP TABLE a, t"), Some(Change::Dropped));
        assert_eq!(of("DROP DATABASE d"), Some(Change::Dropped));
        assert_eq!(of("ALTER TABLE t RENAME e.u"), Some(Change::Renamed("e.u".into())));
        assert_eq!(of("ALTER TABLE t ADD c INT"), None, "the next table map tells");
        assert_eq!(of("DROP TABLE e.t"), None);
    }
}
