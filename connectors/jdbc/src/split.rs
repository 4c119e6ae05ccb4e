//! A bounded scan cut into ranges of a column.
//!
//! # Example
//! Bounds 1 to 10 in 3 splits, cut as Flink does: the first `count - (size - 1) * n` get the full size, the rest one less.
//! ```text
//! Flink    BETWEEN 1 AND 4   BETWEEN 5 AND 7   BETWEEN 8 AND 10
//! here     >= 1 AND < 5      >= 5 AND < 8      >= 8 AND <= 10
//! ```
//! The ranges are half open, so that a value between two whole numbers (a DECIMAL 4.5) is in one of them: Flink's lose it. As in Flink,
//! rows outside the bounds are not read, and neither are rows whose column is NULL.

/// One range: at least `lower`, and below `upper`, or not above it in the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Its first value.
    pub lower: i64,
    /// Where it ends.
    pub upper: i64,
    /// Whether `upper` belongs to it.
    pub closed: bool,
}

/// Cuts `lower..=upper` into at most `count` ranges; fewer when there are fewer whole numbers. None when `lower > upper`.
pub fn ranges(lower: i64, upper: i64, count: usize) -> Vec<Range> {
    if lower > upper || count == 0 {
        return Vec::new();
    }
    // One more than i64 holds at most.
    let numbers = i128::from(upper) - i128::from(lower) + 1;
    let count = i128::try_from(count).unwrap_or(i128::MAX).min(numbers);
    let size = (numbers + count - 1) / count;
    let full = numbers - (size - 1) * count;
    let mut start = i128::from(lower);
    (0..count)
        .map(|i| {
            let next = start + if i < full { size } else { size - 1 };
            let closed = i == count - 1;
            // The last one ends at the bound itself; `next` may be outside i64 then.
            let end = if closed { i128::from(upper) } else { next };
            let range = Range { lower: start as i64, upper: end as i64, closed };
            start = next;
            range
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(lower: i64, upper: i64, count: usize) -> Vec<Range> {
        let all = ranges(lower, upper, count);
        assert!(!all.is_empty() && all.len() <= count);
        assert_eq!((all[0].lower, all[all.len() - 1].upper), (lower, upper));
        for (a, b) in all.iter().zip(&all[1..]) {
            assert!(a.upper == b.lower && !a.closed && a.lower < a.upper, "{a:?} {b:?}");
        }
        assert!(all[all.len() - 1].closed);
        all
    }

    #[test]
    fn ranges_cover_the_bounds_once_cut_as_in_flink() {
        let r = |lower, upper, closed| Range { lower, upper, closed };
        assert_eq!(ranges(1, 10, 3), [r(1, 5, false), r(5, 8, false), r(8, 10, true)]);
        assert_eq!(ranges(0, 9_999_999, 8).len(), 8);
        assert_eq!(ranges(5, 5, 4), [r(5, 5, true)]);
        assert_eq!(ranges(1, 3, 10), [r(1, 2, false), r(2, 3, false), r(3, 3, true)]);
        assert_eq!(ranges(2, 1, 3), []);
        for (lower, upper) in [(-10, -1), (-5, 5), (0, 0), (i64::MIN, i64::MAX), (i64::MAX - 1, i64::MAX)] {
            for count in [1, 2, 3, 7, 100] {
                covers(lower, upper, count);
            }
        }
    }
}
