//! Which indices belong to which split.
//!
//! The indices `0, 1, 2, …` are cut into blocks; split `p` of `n` owns the blocks `p, p + n, p + 2n, …`:
//! ```text
//! index    0   1   2 | 3   4   5 | 6   7   8 | 9  …        block = 3 indices
//! split    0   0   0 | 1   1   1 | 0   0   0 | 1  …        2 splits
//! ```
//! All splits together are the sequence of one split, whatever their number.

use std::ops::Range;

/// The part of the indices a split has not delivered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    part: u64,
    parts: u64,
    block: u64,
    next: u64,
}

impl Cursor {
    /// Split `part` of `parts`, from the first of its indices that is at least `from`.
    pub(crate) fn new(part: u64, parts: u64, block: u64, from: u64) -> Self {
        let mut cursor = Self { part, parts: parts.max(1), block: block.max(1), next: from };
        cursor.settle();
        cursor
    }

    /// The next index; behind the end when there is none.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Takes up to `max` indices below `end`, as ranges appended to `runs`. Returns how many.
    pub(crate) fn take(&mut self, max: u64, end: u64, runs: &mut Vec<Range<u64>>) -> u64 {
        let mut taken = 0;
        while taken < max && self.next < end {
            let block_end = (self.next / self.block).saturating_add(1).saturating_mul(self.block);
            let stop = block_end.min(end).min(self.next + (max - taken));
            taken += stop - self.next;
            match runs.last_mut() {
                Some(last) if last.end == self.next => last.end = stop,
                _ => runs.push(self.next..stop),
            }
            self.next = stop;
            self.settle();
        }
        taken
    }

    /// Moves on to the next index this split owns.
    fn settle(&mut self) {
        let block = self.next / self.block;
        let ahead = (self.part + self.parts - block % self.parts) % self.parts;
        if ahead > 0 {
            self.next = block.saturating_add(ahead).saturating_mul(self.block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut cursor: Cursor, max: u64, end: u64) -> Vec<u64> {
        let (mut out, mut runs) = (Vec::new(), Vec::new());
        while cursor.take(max, end, &mut runs) > 0 {
            out.extend(runs.drain(..).flatten());
        }
        out
    }

    #[test]
    fn splits_own_every_index_once_and_in_order() {
        for parts in 1..5 {
            for block in [1, 3, 7] {
                for end in [0, 1, 6, 20, 21] {
                    for max in [1, 2, 5, 100] {
                        let mut seen = Vec::new();
                        for part in 0..parts {
                            let mine = all(Cursor::new(part, parts, block, 0), max, end);
                            assert!(mine.is_sorted() && mine.iter().all(|i| i / block % parts == part));
                            seen.extend(mine);
                        }
                        seen.sort_unstable();
                        assert_eq!(seen, (0..end).collect::<Vec<_>>(), "{parts} parts of {block}");
                    }
                }
            }
        }
    }

    #[test]
    fn neighbouring_blocks_of_one_split_are_one_run() {
        let mut runs = Vec::new();
        assert_eq!(Cursor::new(0, 1, 3, 1).take(7, 100, &mut runs), 7);
        assert_eq!(runs, vec![Range { start: 1, end: 8 }]);
    }
}
