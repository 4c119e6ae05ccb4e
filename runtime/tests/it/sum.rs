//! `SELECT k, SUM(v), COUNT(*) GROUP BY k`, in the smallest honest form: state, dirty keys, deltas, restore.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use dflow_common::{ChangeBatch, Ops};
use dflow_runtime::operator::{Operator, OperatorContext, OperatorFactory, Output, StateSize};
use dflow_runtime::state::{SnapshotMode, SnapshotWriter, StateOp, StateReader, TableSpec};
use dflow_runtime::{Result, keys};

/// Makes [`Sum`]s.
pub(crate) struct SumFactory;

/// (sum, rows) per key; what was last emitted beside it.
#[derive(Default)]
struct Sum {
    max_parallelism: u16,
    groups: BTreeMap<i64, (i64, i64)>,
    emitted: BTreeMap<i64, (i64, i64)>,
    /// Changed since the last flush, and since the last snapshot.
    pending: BTreeSet<i64>,
    dirty: BTreeSet<i64>,
}

impl OperatorFactory for SumFactory {
    fn create(&self, context: &OperatorContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Sum { max_parallelism: context.max_parallelism, ..Sum::default() }))
    }

    fn tables(&self) -> Vec<TableSpec> {
        let fields = ["k", "sum", "rows"].map(|n| Field::new(n, DataType::Int64, true));
        vec![TableSpec { name: "groups".into(), schema: Arc::new(Schema::new(fields.to_vec())), key_columns: 1 }]
    }
}

fn column(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn changes(rows: &[(i8, i64, (i64, i64))]) -> ChangeBatch {
    let fields = ["k", "sum", "rows"].map(|n| Field::new(n, DataType::Int64, true));
    let columns =
        vec![column(rows.iter().map(|r| r.1)), column(rows.iter().map(|r| r.2.0)), column(rows.iter().map(|r| r.2.1))];
    let data = RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns).unwrap();
    ChangeBatch::new(data, Ops::from_kinds(rows.iter().map(|r| r.0).collect()))
}

impl Operator for Sum {
    fn process(&mut self, _input: usize, batch: ChangeBatch, _out: &mut Output) -> Result<()> {
        let (k, v) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_primitive::<Int64Type>());
        for row in 0..batch.num_rows() {
            let sign = batch.ops.sign(row);
            let group = self.groups.entry(k.value(row)).or_default();
            group.0 += sign * v.value(row);
            group.1 += sign;
            self.pending.insert(k.value(row));
            self.dirty.insert(k.value(row));
        }
        Ok(())
    }

    fn pending_rows(&self) -> usize {
        self.pending.len()
    }

    fn flush(&mut self, out: &mut Output) -> Result<()> {
        let mut rows = Vec::new();
        for k in std::mem::take(&mut self.pending) {
            let new = self.groups.get(&k).copied().filter(|g| g.1 > 0);
            let old = self.emitted.get(&k).copied();
            if old == new {
                continue;
            }
            rows.extend(old.map(|o| (1, k, o)));
            rows.extend(new.map(|n| (if old.is_some() { 2 } else { 0 }, k, n)));
            match new {
                Some(n) => self.emitted.insert(k, n),
                None => {
                    self.groups.remove(&k);
                    self.emitted.remove(&k)
                }
            };
        }
        if !rows.is_empty() {
            out.batch(changes(&rows));
        }
        Ok(())
    }

    fn snapshot(&mut self, writer: &mut SnapshotWriter) -> Result<()> {
        assert!(self.pending.is_empty(), "flushed before the snapshot");
        let dirty = std::mem::take(&mut self.dirty);
        let keys: Vec<i64> = match writer.mode(0) {
            SnapshotMode::Base => self.groups.keys().copied().collect(),
            SnapshotMode::Delta => dirty.into_iter().collect(),
        };
        let (live, gone): (Vec<i64>, Vec<i64>) = keys.into_iter().partition(|k| self.groups.contains_key(k));
        let rows: Vec<_> = live.iter().map(|k| (0, *k, self.groups[k])).collect();
        let groups = keys::key_groups(&[column(live)], self.max_parallelism);
        writer.put(0, changes(&rows).data, groups);
        if !gone.is_empty() {
            let gone = column(gone);
            let groups = keys::key_groups(std::slice::from_ref(&gone), self.max_parallelism);
            writer.delete(0, RecordBatch::try_from_iter([("k", gone)]).unwrap(), groups);
        }
        Ok(())
    }

    fn restore(&mut self, reader: &mut StateReader) -> Result<()> {
        reader.read(0, &mut |rows| {
            let k = rows.rows.column(0).as_primitive::<Int64Type>();
            for row in 0..rows.rows.num_rows() {
                if rows.op == StateOp::Delete {
                    self.groups.remove(&k.value(row));
                } else {
                    let sum = rows.rows.column(1).as_primitive::<Int64Type>().value(row);
                    let n = rows.rows.column(2).as_primitive::<Int64Type>().value(row);
                    self.groups.insert(k.value(row), (sum, n));
                }
            }
            Ok(())
        })?;
        self.emitted = self.groups.clone();
        Ok(())
    }

    fn state_size(&self) -> StateSize {
        StateSize { entries: self.groups.len() as u64, bytes: self.groups.len() as u64 * 24 }
    }
}
