//! Random changelogs that collide on purpose.
//!
//! Few keys, few values, NULLs, NaN, zeros of both signs, extremes, rows that are deleted and come back, updates that
//! change nothing or the key, empty epochs. Every class of input is counted; a run that never hit one fails
//! ([`Classes::assert_all_hit`]).

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringViewArray,
    TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use dflow_common::env::{Rng, SeededRng};
use dflow_common::{ChangeBatch, Ops, RowKind};

use crate::classes::Classes;

/// The DDL columns of every generated table, as text for CREATE TABLE. `id` is unique among the live rows.
pub const COLUMNS: &str =
    "id INT, k INT, s STRING, v BIGINT, i INT, d DOUBLE, m DECIMAL(10, 2), b BOOLEAN, ts TIMESTAMP(3)";

/// The Arrow schema of [`COLUMNS`].
pub fn schema() -> SchemaRef {
    let f = |name: &str, ty| Field::new(name, ty, true);
    Arc::new(Schema::new(vec![
        f("id", DataType::Int32),
        f("k", DataType::Int32),
        f("s", DataType::Utf8View),
        f("v", DataType::Int64),
        f("i", DataType::Int32),
        f("d", DataType::Float64),
        f("m", DataType::Decimal128(10, 2)),
        f("b", DataType::Boolean),
        f("ts", DataType::Timestamp(TimeUnit::Millisecond, None)),
    ]))
}

/// A generated row. `d` is kept as bits so that rows compare.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    id: i32,
    k: Option<i32>,
    s: Option<&'static str>,
    v: Option<i64>,
    i: Option<i32>,
    d: Option<u64>,
    m: Option<i128>,
    b: Option<bool>,
    ts: Option<i64>,
}

/// What kinds of change a table emits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// `+I` only.
    Append,
    /// All kinds with full rows.
    Retract,
    /// `+U` and `-D` by `id`; deletes carry the key only.
    Upsert,
}

/// The classes of input.
pub const CLASSES: [&str; 21] = [
    "null key",
    "null value",
    "nan",
    "negative zero",
    "extreme integer",
    "empty string",
    "four-byte character",
    "delete",
    "delete then reinsert",
    "update",
    "update that changes the key",
    "update that changes nothing",
    "upsert delete with key only",
    "empty epoch",
    "one-row batch",
    "large batch",
    "delete all at the end",
    "delete all in between",
    "flush of one instance between batches",
    "late row",
    "watermark at the sink",
];

/// One generated table: its live rows, and how to go on.
pub struct Table {
    /// What it emits.
    pub kind: TableKind,
    live: Vec<Row>,
    dead: Vec<i32>,
    next_id: i32,
}

impl Table {
    /// Empty.
    pub fn new(kind: TableKind) -> Self {
        Self { kind, live: Vec::new(), dead: Vec::new(), next_id: 0 }
    }

    /// `n` changes (an update counts once).
    pub fn changes(&mut self, n: usize, rng: &SeededRng, classes: &mut Classes) -> Vec<(RowKind, Row)> {
        let mut out = Vec::new();
        for _ in 0..n {
            let roll = rng.below(100);
            if self.kind == TableKind::Append || self.live.is_empty() || roll < 50 {
                let row = self.new_row(rng, classes);
                self.live.push(row.clone());
                out.push((if self.kind == TableKind::Upsert { RowKind::UpdateAfter } else { RowKind::Insert }, row));
            } else if roll < 75 {
                classes.hit("delete");
                let at = rng.below(self.live.len() as u64) as usize;
                out.push(self.delete(at, classes));
            } else {
                self.update(rng, classes, &mut out);
            }
        }
        out
    }

    /// Deletes every live row.
    pub fn delete_all(&mut self, classes: &mut Classes) -> Vec<(RowKind, Row)> {
        (0..self.live.len()).map(|_| self.delete(0, classes)).collect()
    }

    /// The live rows as a batch.
    pub fn live(&self) -> RecordBatch {
        to_batch(&self.live.iter().map(Some).collect::<Vec<_>>(), false)
    }

    fn delete(&mut self, at: usize, classes: &mut Classes) -> (RowKind, Row) {
        let row = self.live.swap_remove(at);
        self.dead.push(row.id);
        if self.kind == TableKind::Upsert {
            classes.hit("upsert delete with key only");
        }
        (RowKind::Delete, row)
    }

    fn update(&mut self, rng: &SeededRng, classes: &mut Classes, out: &mut Vec<(RowKind, Row)>) {
        classes.hit("update");
        let at = rng.below(self.live.len() as u64) as usize;
        let old = self.live[at].clone();
        let new = if rng.below(5) == 0 {
            classes.hit("update that changes nothing");
            old.clone()
        } else {
            Row { id: old.id, ..random_row(old.id, rng, classes) }
        };
        if new.k != old.k {
            classes.hit("update that changes the key");
        }
        self.live[at] = new.clone();
        if self.kind == TableKind::Retract {
            out.push((RowKind::UpdateBefore, old));
        }
        out.push((RowKind::UpdateAfter, new));
    }

    fn new_row(&mut self, rng: &SeededRng, classes: &mut Classes) -> Row {
        let id = match self.dead.pop() {
            Some(id) if rng.below(2) == 0 => {
                classes.hit("delete then reinsert");
                id
            }
            other => {
                self.dead.extend(other);
                self.next_id += 1;
                self.next_id
            }
        };
        random_row(id, rng, classes)
    }
}

fn random_row(id: i32, rng: &SeededRng, classes: &mut Classes) -> Row {
    let mut null = |class| {
        let is_null = rng.below(8) == 0;
        if is_null {
            classes.hit(class);
        }
        is_null
    };
    let (null_k, null_s, null_v, null_d) = (null("null key"), null("null key"), null("null value"), null("null value"));
    let s = ["", "a", "b", "longer than twelve bytes, so not inlined", "é𝄞", "a b"][rng.below(6) as usize];
    let v = match rng.below(12) {
        0 => i64::MAX,
        1 => i64::MIN,
        n => n as i64 % 4 - 1,
    };
    let i = match rng.below(12) {
        0 => i32::MAX,
        1 => i32::MIN,
        n => n as i32 % 4 - 1,
    };
    // Whole numbers, so that sums in another order are bit-equal.
    let d = match rng.below(16) {
        0 => f64::NAN,
        1 => -0.0,
        2 => 0.0,
        n => n as f64 % 5.0,
    };
    if !null_s && s.is_empty() {
        classes.hit("empty string");
    }
    if !null_s && s.contains('𝄞') {
        classes.hit("four-byte character");
    }
    if !null_v && (v == i64::MAX || v == i64::MIN) {
        classes.hit("extreme integer");
    }
    if !null_d && d.is_nan() {
        classes.hit("nan");
    }
    if !null_d && d == 0.0 && d.is_sign_negative() {
        classes.hit("negative zero");
    }
    Row {
        id,
        k: (!null_k).then(|| rng.below(6) as i32),
        s: (!null_s).then_some(s),
        v: (!null_v).then_some(v),
        i: (rng.below(8) > 0).then_some(i),
        d: (!null_d).then(|| d.to_bits()),
        m: (rng.below(8) > 0).then(|| i128::from(rng.below(9)) * 33 - 100),
        b: (rng.below(4) > 0).then(|| rng.below(2) == 0),
        ts: (rng.below(8) > 0).then(|| [0, -1, 1_711_846_800_000, 1_711_846_800_001][rng.below(4) as usize]),
    }
}

/// Changes as one batch. Deletes of an upsert table keep only `id`.
pub fn to_changes(kind: TableKind, changes: &[(RowKind, Row)]) -> ChangeBatch {
    let rows: Vec<_> = changes.iter().map(|(_, r)| Some(r)).collect();
    let kinds: Vec<i8> = changes.iter().map(|(k, _)| *k as i8).collect();
    let mut data = to_batch(&rows, false);
    if kind == TableKind::Upsert && kinds.contains(&(RowKind::Delete as i8)) {
        let kept: Vec<_> = changes.iter().map(|(k, r)| (*k != RowKind::Delete).then_some(r)).collect();
        let mut columns = to_batch(&kept, true).columns().to_vec();
        columns[0] = data.column(0).clone();
        data = RecordBatch::try_new(schema(), columns).expect("the generated columns fit");
    }
    ChangeBatch::new(data, Ops::from_kinds(kinds))
}

fn to_batch(rows: &[Option<&Row>], sparse: bool) -> RecordBatch {
    debug_assert!(sparse || rows.iter().all(Option::is_some), "only upsert deletes leave columns out");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|r| r.map(|r| r.id)).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|r| r.and_then(|r| r.k)).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|r| r.and_then(|r| r.s)).collect::<StringViewArray>()),
        Arc::new(rows.iter().map(|r| r.and_then(|r| r.v)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| r.and_then(|r| r.i)).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|r| r.and_then(|r| r.d).map(f64::from_bits)).collect::<Float64Array>()),
        Arc::new(
            rows.iter()
                .map(|r| r.and_then(|r| r.m))
                .collect::<Decimal128Array>()
                .with_precision_and_scale(10, 2)
                .expect("generated decimals are small"),
        ),
        Arc::new(rows.iter().map(|r| r.and_then(|r| r.b)).collect::<BooleanArray>()),
        Arc::new(rows.iter().map(|r| r.and_then(|r| r.ts)).collect::<TimestampMillisecondArray>()),
    ];
    RecordBatch::try_new(schema(), columns).expect("the generated columns fit")
}
