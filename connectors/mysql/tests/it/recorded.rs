//! Recorded logs, read as a reader reads them, folded to the tables they describe.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use dflow_common::{ChangeBatch, SqlType, TypeKind};
use dflow_connector_mysql::binlog::assembler::{Assembler, Declared, Outcome, Router};
use dflow_connector_mysql::binlog::column::fit::BinaryText;
use dflow_connector_mysql::binlog::column::sink::Policy;
use dflow_connector_mysql::binlog::position::{FilePosition, Point, Position};
use dflow_connector_mysql::binlog::rows::{From, Output, Wanted};
use dflow_connector_mysql::binlog::table_map::CatalogColumn;
use dflow_connector_mysql::error::Error;

/// Every recorded server with the tables of `types.sql`.
pub(crate) const SERVERS: [&str; 3] = ["mysql-8.0", "mysql-9.7", "mariadb-10.11"];

/// One output for one table.
pub(crate) struct Only(pub(crate) &'static str);

impl Router for Only {
    fn route(&mut self, database: &str, table: &str) -> Vec<usize> {
        if database == "rec" && table == self.0 { vec![0] } else { Vec::new() }
    }
}

pub(crate) fn bytes(file: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/data/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The events of a log file.
pub(crate) fn events(file: &[u8]) -> Vec<&[u8]> {
    let mut rest = file.strip_prefix(b"\xfebin").expect("a log begins so");
    let mut events = Vec::new();
    while !rest.is_empty() {
        let size = u32::from_le_bytes(rest[9..13].try_into().unwrap()) as usize;
        let (event, tail) = rest.split_at(size);
        events.push(event);
        rest = tail;
    }
    events
}

pub(crate) fn column(name: &str, kind: TypeKind) -> Wanted {
    Wanted { name: name.into(), ty: kind.into(), from: From::Column }
}

pub(crate) fn text(name: &str) -> Wanted {
    Wanted { name: name.into(), ty: SqlType::STRING, from: From::Column }
}

/// Dates that no calendar has are kept as text, bytes are hexadecimal.
pub(crate) fn policy() -> Policy {
    Policy { binary_text: BinaryText::Hex, ..Policy::default() }
}

pub(crate) fn declared(wanted: &[Wanted], append_only: bool) -> Declared {
    let schema = Arc::new(Schema::new(wanted.iter().map(|w| w.ty.to_field(&w.name)).collect::<Vec<_>>()));
    let output = Output::new(schema, wanted, policy(), append_only).unwrap();
    Declared { wanted: wanted.to_vec(), output }
}

pub(crate) fn start(file: &str) -> Position {
    Position::new("s", Point { at: FilePosition::new(file, FilePosition::FIRST), seen: None })
}

pub(crate) fn assembler(table: &'static str, wanted: &[Wanted], at: Position) -> Assembler<Only> {
    Assembler::new(at, vec![declared(wanted, false)], Only(table))
}

/// Rows as text, in order: kind, then the columns.
pub(crate) fn lines(batch: &ChangeBatch) -> Vec<(&'static str, Vec<String>)> {
    let options = FormatOptions::new().with_null("NULL");
    // Instants are shown in UTC.
    let plain = |column: &ArrayRef| match column.data_type() {
        DataType::Timestamp(unit, Some(_)) => cast(column, &DataType::Timestamp(*unit, None)).unwrap(),
        _ => column.clone(),
    };
    let columns: Vec<_> = batch.data.columns().iter().map(plain).collect();
    let formatters: Vec<_> = columns.iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
    let row = |i| formatters.iter().map(|f| f.value(i).to_string()).collect();
    (0..batch.data.num_rows()).map(|i| (batch.ops.kind(i).short(), row(i))).collect()
}

/// All changes of a table in a log.
pub(crate) fn changes(
    server: &str,
    table: &'static str,
    wanted: &[Wanted],
    catalog: &[CatalogColumn],
) -> Result<Vec<(&'static str, Vec<String>)>, Error> {
    let file = bytes(&format!("{server}.binlog"));
    let mut log = assembler(table, wanted, start("log.000001"));
    for event in events(&file) {
        if let Outcome::NeedsCatalog { database, table } = log.packet(event)? {
            log.add_catalog(database, table, catalog.to_vec());
            assert_eq!(log.packet(event)?, Outcome::Done);
        }
    }
    Ok(log.finish(0)?.map(|batch| lines(&batch)).unwrap_or_default())
}

/// The table behind the changes, by its first column; every removal must remove what is there.
pub(crate) fn folded(changes: Vec<(&'static str, Vec<String>)>) -> Vec<Vec<String>> {
    let mut rows: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for (kind, row) in changes {
        let id = row[0].parse().unwrap();
        match kind {
            "+I" | "+U" => assert_eq!(rows.insert(id, row), None, "a key twice"),
            _ => assert_eq!(rows.remove(&id), Some(row), "what is removed was there"),
        }
    }
    rows.into_values().collect()
}

/// What the server's SELECT said.
pub(crate) fn expected(server: &str, table: &str) -> Vec<Vec<String>> {
    let text = String::from_utf8(bytes(&format!("{server}.{table}.tsv"))).unwrap();
    let unescape = |cell: &str| {
        let mut out = String::new();
        let mut chars = cell.chars();
        while let Some(c) = chars.next() {
            out.push(match c {
                '\\' => match chars.next().expect("something is escaped") {
                    't' => '\t',
                    'n' => '\n',
                    '0' => '\0',
                    other => other,
                },
                c => c,
            });
        }
        out
    };
    text.lines().map(|line| line.split('\t').map(unescape).collect()).collect()
}
