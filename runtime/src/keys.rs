//! Keys that outlive the process: which key group a row belongs to.
//!
//! `key group = xxh3_64(codec(key columns)) % max_parallelism`. Codec and hash are frozen formats: checkpoints depend
//! on them. The codec (per column, in order):
//!
//! | type | bytes |
//! |---|---|
//! | any NULL | `0x00` |
//! | value | `0x01`, then the value below |
//! | boolean | one byte |
//! | whole numbers, dates, times, timestamps, intervals | 8 bytes, little endian, sign extended |
//! | decimals | 16 bytes, little endian, of the unscaled value |
//! | floats | 8 bytes of the f64, `-0.0` as `0.0`, every NaN as one NaN |
//! | text, bytes | length as 4 bytes, then the bytes |
//!
//! A subtask owns the contiguous groups [`group_range`].

use std::ops::Range;

use dflow_common::ids::KeyGroup;

/// The key groups of subtask `subtask` of `parallelism`: contiguous, in order, sizes differing by at most one.
pub fn group_range(max_parallelism: KeyGroup, parallelism: usize, subtask: usize) -> Range<KeyGroup> {
    let n = u64::from(max_parallelism);
    let bound = |i: usize| ((i as u64 * n).div_ceil(parallelism as u64)) as KeyGroup;
    bound(subtask)..bound(subtask + 1)
}

/// The subtask that owns a key group: the inverse of [`group_range`].
pub fn owner(max_parallelism: KeyGroup, parallelism: usize, group: KeyGroup) -> usize {
    (u64::from(group) * parallelism as u64 / u64::from(max_parallelism)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_every_group_once_and_owner_agrees() {
        for max in [1u16, 7, 128, 256] {
            for parallelism in 1..=usize::from(max.min(9)) {
                let mut next = 0;
                for subtask in 0..parallelism {
                    let range = group_range(max, parallelism, subtask);
                    assert_eq!(range.start, next);
                    next = range.end;
                    assert!(
                        range.clone().all(|g| owner(max, parallelism, g) == subtask),
                        "{max} {parallelism} {range:?}"
                    );
                }
                assert_eq!(next, max);
            }
        }
    }
}
