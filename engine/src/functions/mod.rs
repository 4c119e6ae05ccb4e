//! Flink's scalar functions and casts as vectorised kernels.

pub mod error;

/// Functions that give a value (or NULL) for every row. Filters may evaluate them on rows that other conditions drop.
const NEVER_FAIL: &[&str] = &["lower"];

/// Whether evaluating function `name` fails on no row. Functions that are not known may.
pub fn never_fails(name: &str) -> bool {
    NEVER_FAIL.contains(&name)
}
