//! At most one change per key and flush, `-U` beside `+U`.
//!
//! # Example
//! Key `k`:
//! ```text
//! in    + (a,1)   - (a,1)   + (a,2)   - (b,1)   + (b,3)   - (c,1)   + (c,1)
//! out   +I (a,2)  -U (b,1) +U (b,3)                                            c did not change
//! ```
//! # Input and output
//! Input: a changelog in which the key is unique at every moment, in order per key. Output: per key, in the order of its
//! first change, nothing, `+I`, `-D`, or `-U` directly followed by `+U`. A `+U` without its old row stays a `+U`.
//!
//! # State
//! The changes of this flush; none at a barrier.

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use dflow_common::{ChangeBatch, RowKind};
use dflow_runtime::Result;
use dflow_runtime::operator::{Operator, OperatorContext, OperatorFactory, Output};

use super::changes::{Changes, differing};
use super::key_table::KeyTable;

/// Consolidation by key, before keyed sinks and wherever `-U +U` pairs are shown.
#[derive(Clone, Debug)]
pub struct ConsolidateSpec {
    /// Columns, in and out.
    pub schema: SchemaRef,
    /// Indices of the key columns; none: there is one row at most.
    pub key: Vec<usize>,
}

impl OperatorFactory for ConsolidateSpec {
    fn create(&self, _: &OperatorContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Consolidate { key: self.key.clone(), pending: Vec::new(), rows: 0 }))
    }
}

struct Consolidate {
    key: Vec<usize>,
    pending: Vec<ChangeBatch>,
    rows: usize,
}

impl Operator for Consolidate {
    fn process(&mut self, _input: usize, batch: ChangeBatch, _out: &mut Output) -> Result<()> {
        self.rows += batch.num_rows();
        self.pending.extend(Some(batch).filter(|b| !b.is_empty()));
        Ok(())
    }

    fn pending_rows(&self) -> usize {
        self.rows
    }

    fn flush(&mut self, out: &mut Output) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let batch = ChangeBatch::concat(&std::mem::take(&mut self.pending))?;
        self.rows = 0;
        out.batch(consolidate(&batch, &self.key)?);
        Ok(())
    }
}

/// The net changes of a batch per key. O(rows), no row objects.
///
/// # Errors
/// When key columns cannot be compared.
pub fn consolidate(batch: &ChangeBatch, key: &[usize]) -> Result<ChangeBatch> {
    let rows = batch.num_rows();
    let columns: Vec<ArrayRef> = key.iter().map(|i| batch.column(*i).clone()).collect();
    let mut table = KeyTable::new(columns.iter().map(|c| c.data_type().clone()).collect())?;
    let mut ids = Vec::new();
    table.intern(&columns, rows, &mut ids)?;
    let keys = table.len();
    if keys == rows && batch.ops.is_append() {
        return Ok(batch.clone());
    }

    // Per key the first row that was removed and the last that is there; a row that came and went is neither.
    let mut removed: Vec<Option<u32>> = vec![None; keys];
    let mut added: Vec<Option<u32>> = vec![None; keys];
    for (row, id) in ids.iter().enumerate() {
        let (removed, added) = (&mut removed[*id as usize], &mut added[*id as usize]);
        if batch.ops.sign(row) > 0 {
            *added = Some(row as u32);
        } else if added.take().is_none() && removed.is_none() {
            *removed = Some(row as u32);
        }
    }

    let updates = removed.iter().zip(&added).filter_map(|(r, a)| Some(((*r)?, (*a)?)));
    let (before, now): (Vec<u32>, Vec<u32>) = updates.unzip();
    let gather = |rows: Vec<u32>| -> Result<Vec<ArrayRef>> {
        let rows = UInt32Array::from(rows);
        Ok(batch.data.columns().iter().map(|c| take(c, &rows, None)).collect::<Result<_, _>>()?)
    };
    let changed = differing(&gather(before)?, &gather(now)?)?;

    let mut changes = Changes::default();
    let mut update = 0;
    for (r, a) in removed.into_iter().zip(added) {
        match (r, a) {
            (Some(r), Some(a)) => {
                if changed.as_ref().is_some_and(|c| c.value(update)) {
                    changes.push(RowKind::UpdateBefore, 0, r as usize);
                    changes.push(RowKind::UpdateAfter, 0, a as usize);
                }
                update += 1;
            }
            (Some(r), None) => changes.push(RowKind::Delete, 0, r as usize),
            (None, Some(a)) => {
                let update = batch.ops.kind(a as usize) == RowKind::UpdateAfter;
                changes.push(if update { RowKind::UpdateAfter } else { RowKind::Insert }, 0, a as usize);
            }
            (None, None) => {}
        }
    }
    changes.finish(&batch.schema(), &[batch.data.columns()])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::datatypes::DataType;
    use dflow_common::env::{Rng, SeededRng};

    use super::*;
    use crate::operators::testing::{batch, check, print, schema};

    fn spec() -> ConsolidateSpec {
        ConsolidateSpec { schema: schema(&[("k", DataType::Utf8View), ("v", DataType::Int32)]), key: vec![0] }
    }

    #[test]
    fn a_key_changes_once_per_flush_and_pairs_are_adjacent() {
        let spec = spec();
        check(
            &spec,
            &spec.schema,
            "+ a 1     | +I a 2
             - a 1     | -U b 1
             + a 2     | +U b 3
             - b 1     | -D d 1
             - c 1     |
             + b 3     |
             + c 1     |
             - d 1     |
             ---
             +U a 5    | +U a 6
             +U a 6    |
             ---
             - b 3     | -D b 3
             + b 4     |
             - b 4     |",
        );
    }

    #[test]
    fn without_a_key_there_is_one_row() {
        let spec = ConsolidateSpec { schema: schema(&[("v", DataType::Int32)]), key: vec![] };
        check(&spec, &spec.schema, "+ 1 | +I 3\n- 1 |\n+ 2 |\n- 2 |\n+ 3 |\n---\n- 3 | -U 3\n+ 4 | +U 4");
    }

    /// Any changelog of a unique key leads to the same table, with one change per key.
    #[test]
    fn random_changelogs_lead_to_the_same_table() {
        let spec = spec();
        for seed in 0..200 {
            let rng = SeededRng::new(seed);
            let mut table: BTreeMap<String, String> = BTreeMap::new();
            let before =
                |rng: &SeededRng| (0..4).filter(|_| rng.below(2) == 0).map(|k| format!("k{k}")).collect::<Vec<_>>();
            for k in before(&rng) {
                table.insert(k, "0".into());
            }
            let mut shown = table.clone();
            let mut lines = Vec::new();
            for _ in 0..rng.below(20) {
                let k = format!("k{}", rng.below(4));
                match table.remove(&k) {
                    Some(v) => lines.push(format!("- {k} {v}")),
                    None => {
                        let v = rng.below(2).to_string();
                        lines.push(format!("+ {k} {v}"));
                        table.insert(k, v);
                    }
                }
            }
            if lines.is_empty() {
                continue;
            }
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let mut out = Output::new();
            out.batch(consolidate(&batch(&spec.schema, &lines), &spec.key).unwrap());
            let changes = print(&mut out);
            for (i, change) in changes.iter().enumerate() {
                let parts: Vec<&str> = change.split(' ').collect();
                let old = shown.get(parts[1]).cloned();
                match parts[0] {
                    "-U" => assert!(changes[i + 1].starts_with(&format!("+U {}", parts[1])), "seed {seed}"),
                    "+U" => assert_ne!(shown.insert(parts[1].into(), parts[2].into()), Some(parts[2].into())),
                    "+I" => assert_eq!(shown.insert(parts[1].into(), parts[2].into()), None, "seed {seed}"),
                    _ => assert!(shown.remove(parts[1]) == old && old.as_deref() == Some(parts[2]), "seed {seed}"),
                }
            }
            assert_eq!(shown, table, "seed {seed}");
        }
    }
}
