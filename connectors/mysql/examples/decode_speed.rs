//! How many rows of the binary log a CPU-second decodes.
//!
//! ```text
//! cargo run --profile profiling -p dflow-connector-mysql --example decode_speed
//! ```
//! The log is `tests/data/speed.binlog`, recorded from a real server: ten columns, about 100 bytes a row. `all` builds
//! every column, `two` builds two of ten (the others are passed over by their length), `none` is a table nobody reads.
//! Framing, checksums and transactions are included; there is no socket.
#![allow(clippy::disallowed_methods)]

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use arrow::datatypes::Schema;
use dflow_common::limits::BATCH_ROWS;
use dflow_common::types::LENGTH_MAX;
use dflow_common::{SqlType, TypeKind};
use dflow_connector_mysql::binlog::assembler::{Assembler, Declared, Router};
use dflow_connector_mysql::binlog::column::sink::Policy;
use dflow_connector_mysql::binlog::position::{FilePosition, Point, Position};
use dflow_connector_mysql::binlog::rows::{From, Output, Wanted};

const ROUNDS: usize = 1_500;

struct Table(&'static str);

impl Router for Table {
    fn route(&mut self, _: &str, table: &str) -> Vec<usize> {
        if table == self.0 { vec![0] } else { Vec::new() }
    }
}

fn columns() -> Vec<Wanted> {
    let text = TypeKind::VarChar(LENGTH_MAX);
    [
        ("id", TypeKind::BigInt),
        ("a", TypeKind::Int),
        ("b", TypeKind::Decimal(20, 0)),
        ("price", TypeKind::Decimal(12, 2)),
        ("name", text.clone()),
        ("addr", text.clone()),
        ("ts", TypeKind::Timestamp(3)),
        ("flag", TypeKind::TinyInt),
        ("d", TypeKind::Double),
        ("e", text),
    ]
    .into_iter()
    .map(|(name, kind)| Wanted { name: name.into(), ty: SqlType::from(kind), from: From::Column })
    .collect()
}

fn run(name: &str, table: &'static str, wanted: &[Wanted], file: &[u8]) -> Result<(), Box<dyn Error>> {
    let schema = Arc::new(Schema::new(wanted.iter().map(|w| w.ty.to_field(&w.name)).collect::<Vec<_>>()));
    let policy = Policy::default();
    let output = Output::new(schema, wanted, policy, false)?;
    let start = Position::new("s", Point { at: FilePosition::new("log.1", FilePosition::FIRST), seen: None });
    let declared = Declared { wanted: wanted.to_vec(), output };
    let mut log = Assembler::new(start, vec![declared], Table(table));
    let begun = Instant::now();
    let (mut rows, mut bytes) = (0, 0);
    for _ in 0..ROUNDS {
        let mut rest = file.strip_prefix(b"\xfebin").ok_or("not a binary log")?;
        while let Some(size) = rest.get(9..13) {
            let size = u32::from_le_bytes(size.try_into()?) as usize;
            let (event, tail) = rest.split_at(size);
            log.packet(event)?;
            bytes += size;
            rest = tail;
            if log.output(0).rows() >= BATCH_ROWS {
                rows += log.finish(0)?.map_or(0, |batch| batch.data.num_rows());
            }
        }
    }
    rows += log.finish(0)?.map_or(0, |batch| batch.data.num_rows());
    let seconds = begun.elapsed().as_secs_f64();
    let rates = (rows as f64 / seconds / 1e6, bytes as f64 / seconds / 1e6);
    println!(
        "{name:5} {:6.2} M rows/s  {:6.0} MB/s of log  ({rows} rows, {bytes} bytes, {seconds:.2} s)",
        rates.0, rates.1
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/speed.binlog"))?;
    let all = columns();
    run("all", "speed", &all, &file)?;
    run("two", "speed", &[all[0].clone(), all[3].clone()], &file)?;
    run("none", "other", &all, &file)
}
