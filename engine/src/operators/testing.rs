//! What operator tests share: changelogs as text, and a small cluster that can be stopped and restored.
//!
//! ```text
//! + a 1      | +I a 1          left: input (sign and values), right: output of the flush at the next `---`
//! - a 1      |
//! ---
//! ```

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray, UInt32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::array_value_to_string;
use dflow_common::env::Spawner;
use dflow_common::ids::KeyGroup;
use dflow_common::metrics::Metrics;
use dflow_common::{ChangeBatch, Env, OperatorId, Ops, RowKind};
use dflow_runtime::keys::{group_range, key_groups, owner};
use dflow_runtime::operator::{Element, Operator, OperatorContext, OperatorFactory, Output};
use dflow_runtime::state::{SnapshotMode, SnapshotWriter, StateReader, TableSnapshot};

/// Key groups of test jobs.
pub(crate) const GROUPS: KeyGroup = 16;

/// The context of instance `subtask` of `parallelism`.
pub(crate) fn context(parallelism: usize, subtask: usize) -> OperatorContext {
    static SPAWNER: OnceLock<Spawner> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| Spawner::owned(1).unwrap()).clone();
    OperatorContext {
        job: "test".into(),
        id: OperatorId("0".into()),
        name: "operator[0]".into(),
        subtask,
        parallelism,
        key_groups: group_range(GROUPS, parallelism, subtask),
        max_parallelism: GROUPS,
        env: Env::production(spawner),
        metrics: Metrics::new(),
    }
}

/// A schema from `name type` pairs.
pub(crate) fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>()))
}

/// A batch from lines of a sign (`+`, `-`, or a kind such as `-U`) and values; `NULL` is NULL, `''` is empty text.
pub(crate) fn batch(schema: &SchemaRef, lines: &[&str]) -> ChangeBatch {
    let rows: Vec<Vec<&str>> = lines.iter().map(|l| l.split_whitespace().collect()).collect();
    let kinds = rows.iter().map(|r| match r[0] {
        "+" | "+I" => RowKind::Insert,
        "-" | "-D" => RowKind::Delete,
        "-U" => RowKind::UpdateBefore,
        "+U" => RowKind::UpdateAfter,
        other => panic!("a sign, not {other}"),
    } as i8);
    let kinds: Vec<i8> = kinds.collect();
    let columns: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(i, field)| {
            let text: StringArray = rows
                .iter()
                .map(|r| match r[i + 1] {
                    "NULL" => None,
                    "''" => Some(""),
                    value => Some(value),
                })
                .collect();
            cast(&text, field.data_type()).unwrap()
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let data = RecordBatch::try_new_with_options(schema.clone(), columns, &options).unwrap();
    ChangeBatch::new(data, Ops::from_kinds(kinds))
}

/// The values of a row.
pub(crate) fn row_text(data: &RecordBatch, row: usize) -> String {
    let value = |c: &ArrayRef| match c.is_null(row) {
        true => "NULL".to_owned(),
        false => match array_value_to_string(c, row).unwrap() {
            text if text.is_empty() => "''".into(),
            text => text,
        },
    };
    data.columns().iter().map(value).collect::<Vec<_>>().join(" ")
}

/// Every change as text, in order.
pub(crate) fn print(out: &mut Output) -> Vec<String> {
    let mut lines = Vec::new();
    for element in out.drain() {
        if let Element::Batch(b) = element {
            assert!(!b.is_empty(), "empty batches are not sent");
            lines.extend((0..b.num_rows()).map(|i| format!("{} {}", b.ops.kind(i).short(), row_text(&b.data, i))));
        }
    }
    lines
}

/// Runs a text changelog through an operator; flushes at every `---` and at the end.
pub(crate) fn check(factory: &dyn OperatorFactory, input: &SchemaRef, text: &str) {
    let mut operator = factory.create(&context(1, 0)).unwrap();
    let mut out = Output::new();
    for (i, section) in text.split("---").enumerate() {
        let (mut rows, mut expected) = (Vec::new(), Vec::new());
        for line in section.lines() {
            let (left, right) = line.split_once('|').unwrap_or((line, ""));
            rows.extend(Some(left.trim()).filter(|l| !l.is_empty()));
            expected.extend(Some(right.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|l| !l.is_empty()));
        }
        if !rows.is_empty() {
            operator.process(0, batch(input, &rows), &mut out).unwrap();
        }
        operator.flush(&mut out).unwrap();
        assert_eq!(print(&mut out), expected, "section {i}");
    }
}

/// Runs rows through an operator and returns the error.
pub(crate) fn failure(factory: &dyn OperatorFactory, input: &SchemaRef, rows: &[&str]) -> dflow_runtime::Error {
    let mut operator = factory.create(&context(1, 0)).unwrap();
    let mut out = Output::new();
    for row in rows {
        if let Err(e) = operator.process(0, batch(input, &[row]), &mut out) {
            return e;
        }
    }
    operator.flush(&mut out).expect_err("the rows are wrong")
}

/// The rows a changelog leaves, with their counts.
#[derive(Default)]
pub(crate) struct Fold(pub(crate) BTreeMap<String, i64>);

impl Fold {
    /// Applies changes as [`print`] prints them.
    pub(crate) fn apply(&mut self, lines: &[String]) {
        for line in lines {
            let (kind, row) = line.split_once(' ').unwrap_or((line, ""));
            let count = self.0.entry(row.to_owned()).or_default();
            *count += if kind.starts_with('+') { 1 } else { -1 };
            assert!(*count >= 0, "{line} removes a row that is not there");
            if *count == 0 {
                self.0.remove(row);
            }
        }
    }
}

/// Instances of one operator behind a hash exchange, with the snapshots they took.
pub(crate) struct Cluster<'a> {
    factory: &'a dyn OperatorFactory,
    key: Vec<usize>,
    instances: Vec<Box<dyn Operator>>,
    snapshots: Vec<Vec<TableSnapshot>>,
}

impl<'a> Cluster<'a> {
    pub(crate) fn new(factory: &'a dyn OperatorFactory, key: Vec<usize>, parallelism: usize) -> Self {
        let mut cluster = Self { factory, key, instances: Vec::new(), snapshots: Vec::new() };
        cluster.start(parallelism);
        cluster
    }

    fn start(&mut self, parallelism: usize) {
        self.instances = (0..parallelism).map(|i| self.factory.create(&context(parallelism, i)).unwrap()).collect();
    }

    pub(crate) fn process(&mut self, batch: &ChangeBatch) {
        let parallelism = self.instances.len();
        let keys: Vec<ArrayRef> = self.key.iter().map(|i| batch.column(*i).clone()).collect();
        let groups = if keys.is_empty() { vec![0; batch.num_rows()] } else { key_groups(&keys, GROUPS) };
        for (i, instance) in self.instances.iter_mut().enumerate() {
            let mine = groups.iter().enumerate().filter(|(_, g)| owner(GROUPS, parallelism, **g) == i);
            let rows = UInt32Array::from_iter_values(mine.map(|(row, _)| row as u32));
            if !rows.is_empty() {
                let mut out = Output::new();
                instance.process(0, batch.take(&rows).unwrap(), &mut out).unwrap();
                assert!(out.is_empty(), "updating operators emit at flush");
            }
        }
    }

    pub(crate) fn flush(&mut self) -> Vec<String> {
        let mut out = Output::new();
        self.instances.iter_mut().for_each(|i| i.flush(&mut out).unwrap());
        print(&mut out)
    }

    /// Takes a snapshot; a base replaces all before it.
    pub(crate) fn snapshot(&mut self, base: bool) {
        let base = base || self.snapshots.is_empty();
        let mode = if base { SnapshotMode::Base } else { SnapshotMode::Delta };
        if base {
            self.snapshots.clear();
        }
        let tables = self.factory.tables();
        for instance in &mut self.instances {
            let mut writer = SnapshotWriter::new(tables.iter().map(|_| mode));
            instance.snapshot(&mut writer).unwrap();
            let written = writer.finish();
            for (table, spec) in written.iter().zip(&tables) {
                for rows in &table.rows {
                    let width = rows.rows.num_columns();
                    let put = rows.op == dflow_runtime::state::StateOp::Put;
                    assert_eq!(width, if put { spec.schema.fields().len() } else { spec.key_columns }, "{}", spec.name);
                }
            }
            self.snapshots.push(written);
        }
    }

    /// Starts over from the snapshots with other instances.
    pub(crate) fn restore(&mut self, parallelism: usize) {
        self.start(parallelism);
        let snapshots = &self.snapshots;
        for (i, instance) in self.instances.iter_mut().enumerate() {
            let groups: Range<KeyGroup> = group_range(GROUPS, parallelism, i);
            let tables = snapshots.first().map_or(0, Vec::len);
            let stored = |table: usize| -> Vec<_> { snapshots.iter().flat_map(|s| s[table].rows.clone()).collect() };
            let stored = (0..tables).map(|table| stored(table).into()).collect();
            instance.restore(&mut StateReader::new(groups, stored)).unwrap();
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.instances.iter().map(|i| i.state_size().bytes).sum()
    }

    pub(crate) fn entries(&self) -> u64 {
        self.instances.iter().map(|i| i.state_size().entries).sum()
    }
}
