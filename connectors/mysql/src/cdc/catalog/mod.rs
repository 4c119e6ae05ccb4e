//! The tables of a server, as its `information_schema` has them now.
//!
//! ```text
//! list(filter)  ──> Vec<TableInfo>          which tables are captured, with columns, keys and sizes
//! find(name)    ──> Option<TableInfo>       one of them, for a log that does not name columns
//! mismatches    ──> Vec<Error>              what a script declares and these tables do not have
//! ```
//! A column is described as the log would describe it ([`ColumnDef`]), so that one rule ([`fit`](crate::binlog::column::fit))
//! decides for the catalog and for the log what can be read as what.

mod compare;
mod describe;

use std::collections::HashMap;

use dflow_connector_api::Result;
use mysql_async::prelude::Queryable;
use mysql_async::{Row, Value};

pub use self::compare::mismatches;
use super::error;
use super::options::TableFilter;
use crate::binlog::table_map::{CatalogColumn, ColumnDef};
use crate::client::{Endpoint, Place, Session};

/// Tables that are asked for in one statement.
const TABLES_ASKED: usize = 100;

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub struct TableInfo {
    /// Its database.
    pub database: String,
    /// Its name.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<ColumnInfo>,
    /// The columns of its primary key, in the order of the key; empty without one.
    pub primary_key: Vec<usize>,
    /// The columns of its other unique indexes, of which none is a prefix or an expression.
    pub unique: Vec<Vec<usize>>,
    /// Rows, estimated by the server.
    pub rows: u64,
    /// Bytes of a row, estimated by the server.
    pub row_bytes: u64,
    /// What stores it: `InnoDB`.
    pub engine: String,
}

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// Its type, as the server writes it: `int(10) unsigned`.
    pub ty: String,
    /// Its type, as the log would write it.
    pub def: ColumnDef,
    /// The character set of a text.
    pub charset: Option<String>,
    /// How a text compares: `utf8mb4_0900_ai_ci`.
    pub collation: Option<String>,
    /// The values of an ENUM or SET.
    pub values: Vec<String>,
    /// Whether it is worked out when it is read, and not stored.
    pub is_virtual: bool,
}

impl TableInfo {
    /// The index of a column: of this name, else of this name in another case.
    pub fn column(&self, name: &str) -> Option<usize> {
        let named = |eq: fn(&str, &str) -> bool| self.columns.iter().position(|c| eq(&c.name, name));
        named(|a, b| a == b).or_else(|| named(str::eq_ignore_ascii_case))
    }

    /// What the log may leave out.
    pub fn for_log(&self) -> Vec<CatalogColumn> {
        let column = |c: &ColumnInfo| CatalogColumn {
            name: c.name.clone(),
            kind: Some((c.def.ty, c.def.meta)),
            unsigned: c.def.unsigned.unwrap_or_default(),
            charset: c.charset.clone().or_else(|| c.def.is_text().then(|| "binary".to_owned())),
            values: c.values.clone(),
            address: c.def.address,
        };
        self.columns.iter().map(column).collect()
    }

    /// `database.table`, for messages.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.database, self.name)
    }
}

/// Every table that the filter matches and the user may see, by name.
///
/// # Errors
/// Of the connection; of a filter that takes too long.
pub async fn list(session: &mut Session, endpoint: &Endpoint, filter: &TableFilter) -> Result<Vec<TableInfo>> {
    fresh_statistics(session).await;
    let place = Place { endpoint, table: "information_schema" };
    let mut tables = Vec::new();
    for database in databases(session, endpoint).await? {
        if !filter.try_database(&database).map_err(|why| error::no_table(&filter.to_string(), &why))? {
            continue;
        }
        let names =
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA = ?";
        let names: Vec<String> = session.conn.exec(names, (&database,)).await.map_err(|e| place.error(&e))?;
        let mut matching = Vec::new();
        for name in names {
            if filter.try_matches(&database, &name).map_err(|why| error::no_table(&filter.to_string(), &why))? {
                matching.push(name);
            }
        }
        for names in matching.chunks(TABLES_ASKED) {
            tables.extend(describe(session, &database, names).await.map_err(|e| place.error(&e))?);
        }
    }
    tables.sort_by(|a, b| (&a.database, &a.name).cmp(&(&b.database, &b.name)));
    Ok(tables)
}

/// One table; `None` when it does not exist, or the user may not see it.
///
/// # Errors
/// Of the connection.
pub async fn find(
    session: &mut Session,
    endpoint: &Endpoint,
    database: &str,
    table: &str,
) -> Result<Option<TableInfo>> {
    let place = Place { endpoint, table };
    let found = describe(session, database, &[table.to_owned()]).await.map_err(|e| place.error(&e))?;
    Ok(found.into_iter().next())
}

/// The databases that the user may see.
///
/// # Errors
/// Of the connection.
pub async fn databases(session: &mut Session, endpoint: &Endpoint) -> Result<Vec<String>> {
    let place = Place { endpoint, table: "information_schema" };
    let sql = "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA";
    session.conn.query(sql).await.map_err(|e| place.error(&e))
}

/// MySQL 8 shows sizes that are up to a day old, of a table that was just filled none.
async fn fresh_statistics(session: &mut Session) {
    if !session.server.is_mariadb
        && let Err(e) = session.conn.query_drop("SET SESSION information_schema_stats_expiry = 0").await
    {
        tracing::debug!("row estimates may be old: {e}");
    }
}

async fn describe(session: &mut Session, database: &str, names: &[String]) -> mysql_async::Result<Vec<TableInfo>> {
    // By its name a table is found without a look at all others.
    let marks = vec!["?"; names.len()].join(", ");
    let of_these = format!("TABLE_SCHEMA = ? AND TABLE_NAME IN ({marks})");
    let bound: Vec<Value> =
        std::iter::once(database).chain(names.iter().map(String::as_str)).map(Value::from).collect();

    let sql = format!(
        "SELECT TABLE_NAME, TABLE_ROWS, AVG_ROW_LENGTH, ENGINE FROM information_schema.TABLES \
         WHERE TABLE_TYPE = 'BASE TABLE' AND {of_these}"
    );
    type Size = (String, Option<u64>, Option<u64>, Option<String>);
    let sizes: Vec<Size> = session.conn.exec(sql, bound.clone()).await?;
    let mut tables: HashMap<String, TableInfo> = sizes
        .into_iter()
        .map(|(name, rows, row_bytes, engine)| {
            let table = TableInfo {
                database: database.to_owned(),
                name: name.clone(),
                columns: Vec::new(),
                primary_key: Vec::new(),
                unique: Vec::new(),
                rows: rows.unwrap_or_default(),
                row_bytes: row_bytes.unwrap_or_default(),
                engine: engine.unwrap_or_default(),
            };
            (name, table)
        })
        .collect();

    let sql = format!(
        "SELECT {} FROM information_schema.COLUMNS WHERE {of_these} ORDER BY ORDINAL_POSITION",
        describe::COLUMNS
    );
    let rows: Vec<Row> = session.conn.exec(sql, bound.clone()).await?;
    for row in rows {
        let (table, column) = describe::column(row);
        if let Some(table) = tables.get_mut(&table) {
            table.columns.push(column);
        }
    }

    let sql = format!(
        "SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS \
         WHERE NON_UNIQUE = 0 AND {of_these} ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX"
    );
    type Part = (String, String, Option<String>, Option<u64>);
    let parts: Vec<Part> = session.conn.exec(sql, bound).await?;
    for index in parts.chunk_by(|a, b| (&a.0, &a.1) == (&b.0, &b.1)) {
        let Some(table) = tables.get_mut(&index[0].0) else { continue };
        let columns = index.iter().map(|(.., column, _)| table.column(column.as_deref()?)).collect::<Option<Vec<_>>>();
        match columns {
            Some(columns) if index[0].1 == "PRIMARY" => table.primary_key = columns,
            // A prefix or an expression is unique, and what it is of need not be.
            Some(columns) if index.iter().all(|(.., prefix)| prefix.is_none()) => table.unique.push(columns),
            _ => {}
        }
    }
    Ok(tables.into_values().collect())
}
