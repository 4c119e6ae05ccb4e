//! Flink's scalar functions and casts as vectorised kernels.
//!
//! | module | what it holds |
//! |---|---|
//! | [`call`] | the frame: declaration, coercion, constants |
//! | [`cast`] | CAST and TRY_CAST |
//! | [`decimal`] | DECIMAL arithmetic: types, rounding, overflow |
//! | [`math`] | IF, MOD, ROUND, CEIL, FLOOR, TRUNCATE, SIGN, LOG, GREATEST, LEAST |
//! | [`text`] | SPLIT_INDEX, SUBSTRING, CONCAT, LPAD, … |
//! | [`regex`] | REGEXP_EXTRACT, REGEXP_REPLACE, REGEXP with Java's meaning |
//! | [`datetime`] | DATE_FORMAT, EXTRACT and its short forms, TO_TIMESTAMP, FLOOR TO, CURRENT_TIMESTAMP, … |
//! | [`error`] | what goes wrong on a row |

pub mod call;
pub mod cast;
pub mod datetime;
pub mod decimal;
pub mod error;
mod math;
mod regex;
mod text;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

pub use call::Session;

/// Functions that give a value (or NULL) for every row. Filters may evaluate them on rows that other conditions drop.
const NEVER_FAIL: &[&str] = &[
    "decimal_add",
    "decimal_subtract",
    "decimal_multiply",
    "if",
    "ceil",
    "ceiling",
    "floor",
    "round",
    "truncate",
    "sign",
    "greatest",
    "least",
    "lower",
    "upper",
    "split_index",
    "substring",
    "substr",
    "left",
    "right",
    "concat",
    "concat_ws",
    "char_length",
    "character_length",
    "position",
    "locate",
    "instr",
    "lpad",
    "rpad",
    "startswith",
    "endswith",
    "regexp_extract",
    "regexp_replace",
    "regexp",
    "year",
    "quarter",
    "month",
    "week",
    "dayofyear",
    "dayofmonth",
    "dayofweek",
    "hour",
    "minute",
    "second",
    "timestampdiff",
];

/// Whether evaluating function `name` fails on no row. Functions that are not known may.
pub fn never_fails(name: &str) -> bool {
    NEVER_FAIL.contains(&name) || name.starts_with("TRY_CAST ") || name.starts_with("CAST AS STRING")
}

/// Flink's functions over text, patterns and times in a session, under their lower-case names.
pub fn scalar_functions(session: &Session) -> Vec<Arc<ScalarUDF>> {
    let all = [text::FUNCTIONS, regex::FUNCTIONS, datetime::FUNCTIONS, math::FUNCTIONS];
    all.into_iter().flatten().map(|declaration| declaration.udf(session)).collect()
}
