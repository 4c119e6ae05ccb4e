//! Flink's scalar functions and casts as vectorised kernels.
//!
//! | module | what it holds |
//! |---|---|
//! | [`call`] | the frame: declaration, coercion, constants |
//! | [`cast`] | CAST and TRY_CAST |
//! | [`decimal`] | DECIMAL arithmetic: types, rounding, overflow |
//! | [`float`] | comparison of floats |
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
pub(crate) mod float;
#[cfg(test)]
mod goldens;
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
    "float_eq",
    "float_not_eq",
    "float_lt",
    "float_lt_eq",
    "float_gt",
    "float_gt_eq",
    "float_distinct",
    "float_not_distinct",
    "if",
    "ceil",
    "ceiling",
    "floor",
    "round",
    "truncate",
    "sign",
    "greatest",
    "least",
    "e",
    "lower",
    "replace",
    "sqrt",
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

/// A LIKE pattern for DataFusion, where `\\` escapes. `None` when the escape character escapes nothing.
pub(crate) fn like_pattern(pattern: &str, escape: Option<char>) -> Option<String> {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            match chars.next() {
                Some(next) if next == '%' || next == '_' || Some(next) == escape => {
                    if matches!(next, '%' | '_' | '\\') {
                        out.push('\\');
                    }
                    out.push(next);
                }
                _ => return None,
            }
        } else {
            if c == '\\' {
                out.push('\\');
            }
            out.push(c);
        }
    }
    Some(out)
}

/// Flink's functions over text, patterns and times in a session, under their lower-case names.
pub fn scalar_functions(session: &Session) -> Vec<Arc<ScalarUDF>> {
    let all = [text::FUNCTIONS, regex::FUNCTIONS, datetime::FUNCTIONS, datetime::ADD_FUNCTIONS, math::FUNCTIONS];
    all.into_iter().flatten().map(|declaration| declaration.udf(session)).collect()
}

#[cfg(test)]
mod tests {
    use super::like_pattern;

    #[test]
    fn like_escapes_only_what_the_escape_character_says() {
        let like = |p, e| like_pattern(p, e);
        assert_eq!(like(r"a\_b", None).as_deref(), Some(r"a\\_b"));
        assert_eq!(like("a!_b!!%", Some('!')).as_deref(), Some(r"a\_b!%"));
        assert_eq!(like(r"a\%\\", Some('\\')).as_deref(), Some(r"a\%\\"));
        assert_eq!(like("a!b", Some('!')), None);
        assert_eq!(like("a!", Some('!')), None);
    }
}
