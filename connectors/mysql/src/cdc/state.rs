//! What the enumerator stores: tables with what is planned of them, finished ranges with their marks, and what becomes of the
//! log.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::chunks::plan::Plan;
use super::stream::LogState;
use crate::binlog::key::Key;
use crate::binlog::position::{FilePosition, Position};

/// A finished run of chunks: numbers from first to last, and its ranges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) last: u64,
    /// Where each range begins, and its mark by index.
    pub(super) ranges: Vec<(Option<Key>, u32)>,
}

/// A table whose rows are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Table {
    #[serde(flatten)]
    pub(super) plan: Plan,
    /// Chunks that are assigned and not finished.
    pub(super) open: BTreeSet<u64>,
    pub(super) finished: Vec<Run>,
}

/// A table whose rows were read, or need not be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) output: String,
    pub(super) database: String,
    pub(super) table: String,
}

/// What becomes of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Log {
    /// It follows the tables.
    Waits,
    /// A reader has it.
    Read,
    /// Its reader is to put it down.
    Revoked,
    /// It was put down here, and follows the new tables.
    Down(Box<LogState>),
    /// It is read, or there is nothing to read of it.
    Over,
}

/// What a restart needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) version: u8,
    /// Where the log begins; `None` before the server was asked.
    pub(super) start: Option<Position>,
    /// Tables that are being read.
    pub(super) tables: Vec<Table>,
    /// Tables that were.
    pub(super) known: BTreeSet<Known>,
    /// Marks of ranges.
    pub(super) marks: Vec<FilePosition>,
    pub(super) log: Log,
    /// Logs that were assigned.
    pub(super) logs: u32,
}

/// The later of two places in the log.
pub(super) fn later(a: FilePosition, b: FilePosition) -> FilePosition {
    if a.compare(&b) == Some(std::cmp::Ordering::Less) { b } else { a }
}

/// Marks among which an equal one is looked for: views of all readers follow each other.
const MARKS_LOOKED_AT: usize = 256;

/// The index of a mark, which most likely was among the last.
pub(super) fn index_of(marks: &mut Vec<FilePosition>, mark: FilePosition) -> u32 {
    let old = marks.len().saturating_sub(MARKS_LOOKED_AT);
    let at = marks[old..].iter().rposition(|m| *m == mark).map(|i| old + i).unwrap_or_else(|| {
        marks.push(mark);
        marks.len() - 1
    });
    at as u32
}

/// Adds a run in its place, and joins it with its neighbours.
pub(super) fn add_run(runs: &mut Vec<Run>, run: Run) {
    let at = runs.partition_point(|r| r.first < run.first);
    runs.insert(at, run);
    let join = |runs: &mut Vec<Run>, at: usize| {
        let (Some(left), Some(right)) = (runs.get(at), runs.get(at + 1)) else { return };
        if left.last.checked_add(1) != Some(right.first) {
            return;
        }
        let right = runs.remove(at + 1);
        let left = &mut runs[at];
        left.last = right.last;
        for (from, mark) in right.ranges {
            if left.ranges.last().is_none_or(|(_, m)| *m != mark) {
                left.ranges.push((from, mark));
            }
        }
    };
    join(runs, at);
    if at > 0 {
        join(runs, at - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdc::chunks::Chunk;

    fn run(first: u64, mark: u32) -> Run {
        Run { first, last: first, ranges: vec![(Some(Key::Int(first.into())), mark)] }
    }

    #[test]
    fn chunks_become_runs_in_any_order_and_equal_marks_one_range() {
        let mut runs = Vec::new();
        for (number, mark) in [(3, 0), (1, 0), (Chunk::LAST, 0), (5, 1), (2, 0), (4, 1)] {
            add_run(&mut runs, run(number, mark));
        }
        let shape: Vec<_> = runs.iter().map(|r| (r.first, r.last, r.ranges.len())).collect();
        assert_eq!(shape, [(1, 5, 2), (Chunk::LAST, Chunk::LAST, 1)]);
        assert_eq!(runs[0].ranges, [(Some(Key::Int(1)), 0), (Some(Key::Int(4)), 1)]);
    }

    #[test]
    fn marks_are_stored_once() {
        let mut marks = Vec::new();
        let at = |pos| FilePosition::new("b.1", pos);
        assert_eq!([at(1), at(2), at(1), at(2)].map(|m| index_of(&mut marks, m)), [0, 1, 0, 1]);
        assert_eq!(marks.len(), 2);
    }
}
