//! Which column the chunks of a table are ranges of.
//!
//! The first of these that can be one:
//! 1. `scan.incremental.snapshot.chunk.key-column`;
//! 2. the first column of the primary key, when its values are ordered without the server (numbers, times, bytes, text of a
//!    binary collation);
//! 3. a whole number that is unique and not NULL;
//! 4. the first column of the primary key, ordered by the server;
//! 5. another column of the primary key.

use dflow_connector_api::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::binlog::key::Order;
use crate::binlog::table_map::column_type as t;
use crate::cdc::catalog::{ColumnInfo, TableInfo};
use crate::error;

/// The option that names a column.
pub const OPTION: &str = "scan.incremental.snapshot.chunk.key-column";

/// The column of a table's chunks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkColumn {
    /// Its name.
    pub name: String,
    /// How its values are ordered.
    pub order: Order,
    /// Whether it is a whole number, so that chunks can be reckoned.
    pub is_integer: bool,
    /// Whether no two rows have the same value.
    pub is_unique: bool,
    /// Whether it can be NULL.
    pub nullable: bool,
}

impl ChunkColumn {
    /// Chooses one.
    ///
    /// # Errors
    /// [`error::NO_CHUNK_KEY`] when the table has none, or the option names one that cannot be one.
    pub fn choose(table: &TableInfo, option: Option<&str>) -> Result<ChunkColumn> {
        let of = |i: usize| order(&table.columns[i]).map(|order| Self::of(table, i, order));
        if let Some(name) = option {
            let Some(i) = table.column(name) else {
                return Err(refuse(table, &format!("'{OPTION}' names `{name}`, which it does not have")));
            };
            return of(i).ok_or_else(|| {
                let ty = &table.columns[i].ty;
                refuse(table, &format!("'{OPTION}' names `{name}`, and ranges of {ty} cannot be read"))
            });
        }
        if table.primary_key.is_empty() {
            return Err(refuse(table, "it has no primary key"));
        }
        let first = table.primary_key.first().copied().and_then(of);
        let whole_number = || {
            let single = table.unique.iter().filter_map(|index| match index[..] {
                [i] if !table.columns[i].def.nullable && table.columns[i].def.is_integer() => Some(i),
                _ => None,
            });
            single.filter_map(of).next()
        };
        let ours = first.clone().filter(|c| c.order.is_ours());
        let column = ours.or_else(whole_number).or(first);
        let column = column.or_else(|| table.primary_key.iter().skip(1).copied().find_map(of));
        column.ok_or_else(|| refuse(table, "no column of its primary key has an order that ranges can be read by"))
    }

    fn of(table: &TableInfo, i: usize, order: Order) -> ChunkColumn {
        let column = &table.columns[i];
        ChunkColumn {
            name: column.name.clone(),
            order,
            is_integer: column.def.is_integer() || column.def.ty == t::YEAR,
            is_unique: table.primary_key == [i] || (!column.def.nullable && table.unique.contains(&vec![i])),
            nullable: column.def.nullable,
        }
    }

    /// Whether a chunk may be cut at any of its rows where the key changes.
    pub fn can_be_cut(&self) -> bool {
        self.order.is_ours()
    }
}

/// How the values of a column are ordered; `None` when ranges of it cannot be read.
fn order(column: &ColumnInfo) -> Option<Order> {
    let ty = column.ty.to_ascii_lowercase();
    match column.def.ty {
        t::TINY | t::SHORT | t::INT24 | t::LONG | t::LONGLONG | t::YEAR | t::NEWDECIMAL => Some(Order::Exact),
        t::DATE | t::NEWDATE | t::TIME | t::TIME2 | t::DATETIME | t::DATETIME2 | t::TIMESTAMP | t::TIMESTAMP2 => {
            Some(Order::Exact)
        }
        // MariaDB's UUID is stored and ordered in another way than it is written.
        t::STRING if ["uuid", "inet4", "inet6"].iter().any(|name| ty.starts_with(name)) => None,
        t::STRING | t::VARCHAR | t::VAR_STRING => match (&column.charset, &column.collation) {
            (None, _) => Some(Order::Exact),
            (Some(charset), Some(collation)) => Some(match collation.as_str() {
                "utf8mb4_0900_bin" => Order::Exact,
                // The order of code points is that of the bytes here, and of no other character set's.
                "utf8mb4_nopad_bin" | "utf8mb3_nopad_bin" | "utf8_nopad_bin" => Order::Exact,
                "utf8mb4_bin" | "utf8mb3_bin" | "utf8_bin" | "ascii_bin" => Order::Padded,
                _ => Order::Server { charset: charset.clone(), collation: collation.clone() },
            }),
            _ => None,
        },
        _ => None,
    }
}

#[cold]
fn refuse(table: &TableInfo, why: &str) -> Error {
    let name = table.full_name();
    let e = error::no_chunk_key(&name, why);
    let other = (0..table.columns.len()).find(|i| order(&table.columns[*i]).is_some());
    match other {
        Some(i) => e.help(format!("name a column whose ranges are read: '{OPTION}' = '{}'", table.columns[i].name)),
        None => e.help(format!("add a column of whole numbers to the table, and name it by '{OPTION}'")),
    }
}

#[cfg(test)]
mod tests {
    use dflow_common::Classified;

    use super::*;
    use crate::binlog::table_map::ColumnDef;

    fn column(name: &str, ty: u8, nullable: bool, collation: Option<&str>) -> ColumnInfo {
        ColumnInfo {
            name: name.into(),
            ty: "x".into(),
            def: ColumnDef { ty, nullable, ..ColumnDef::default() },
            charset: collation.map(|c| c.split('_').next().unwrap().to_owned()),
            collation: collation.map(Into::into),
            values: vec![],
            is_virtual: false,
        }
    }

    fn table(primary_key: &[usize], unique: &[&[usize]]) -> TableInfo {
        TableInfo {
            database: "d".into(),
            name: "t".into(),
            columns: vec![
                column("name", t::VARCHAR, false, Some("utf8mb4_general_ci")),
                column("id", t::LONGLONG, false, None),
                column("maybe", t::LONG, true, None),
                column("exact", t::VARCHAR, false, Some("utf8mb4_bin")),
                column("kind", t::ENUM, false, None),
            ],
            primary_key: primary_key.to_vec(),
            unique: unique.iter().map(|u| u.to_vec()).collect(),
            rows: 0,
            row_bytes: 0,
            engine: "InnoDB".into(),
        }
    }

    fn chosen(primary_key: &[usize], unique: &[&[usize]], option: Option<&str>) -> String {
        let column = ChunkColumn::choose(&table(primary_key, unique), option).unwrap();
        format!("{} {}", column.name, column.is_unique)
    }

    #[test]
    fn text_of_a_collation_gives_way_to_a_unique_number() {
        assert_eq!(chosen(&[0], &[], None), "name true");
        assert_eq!(chosen(&[0], &[&[2], &[1, 0], &[1]], None), "id true", "one that may be NULL is not unique");
        assert_eq!(chosen(&[3], &[&[1]], None), "exact true");
        assert_eq!(chosen(&[4, 1], &[], None), "id false", "an ENUM has no ranges");
        assert_eq!(chosen(&[1, 0], &[], None), "id false");
        assert_eq!(chosen(&[], &[], Some("MAYBE")), "maybe false");
    }

    #[test]
    fn table_without_a_key_is_told_the_option() {
        for (primary_key, option) in [(&[][..], None), (&[1], Some("nothing")), (&[1], Some("kind")), (&[4], None)] {
            let error = ChunkColumn::choose(&table(primary_key, &[]), option).unwrap_err();
            assert_eq!(error.code(), error::NO_CHUNK_KEY.code);
            let said = format!("{error} {:?}", error.diagnostic().help);
            assert!(said.contains(OPTION) && said.contains("d.t"), "{said}");
        }
    }
}
