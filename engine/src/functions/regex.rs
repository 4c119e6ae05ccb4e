//! Java's regular expressions as functions. [`pattern`] runs them.

mod pattern;

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, StringViewBuilder};
use arrow::datatypes::DataType;
use datafusion::common::Result;

use super::call::{Call, Declaration, arity, as_int, as_text, texts};
use pattern::with_patterns;

pub(super) const FUNCTIONS: &[Declaration] = &[
    Declaration::new("regexp_extract", coerce_extract, |_| Ok(DataType::Utf8View), regexp_extract).nullable(),
    Declaration::new("regexp_replace", |t| texts(t, 3..=3), |_| Ok(DataType::Utf8View), regexp_replace).nullable(),
    Declaration::new("regexp", |t| texts(t, 2..=2), |_| Ok(DataType::Boolean), regexp).nullable(),
];

fn coerce_extract(t: &[DataType]) -> Result<Vec<DataType>> {
    arity(t, 2..=3)?;
    let mut out = vec![as_text(&t[0])?, as_text(&t[1])?];
    if t.len() == 3 {
        out.push(as_int(&t[2], DataType::Int32)?);
    }
    Ok(out)
}

/// Group `i` (0 = the whole match) of the first match; NULL without a match, for a bad pattern or group.
fn regexp_extract(c: &Call<'_>) -> Result<ArrayRef> {
    let (s, pattern) = (c.text(0), c.text(1));
    with_patterns(|patterns| {
        let mut out = StringViewBuilder::with_capacity(c.rows);
        for row in 0..c.rows {
            let group = if c.args.len() == 3 { c.int(2, row) } else { Some(0) };
            out.append_option(match (s.get(row), pattern.get(row), group.and_then(|g| usize::try_from(g).ok())) {
                (Some(s), Some(p), Some(group)) => patterns.get(p).group(s, group),
                _ => None,
            });
        }
        Ok(Arc::new(out.finish()) as ArrayRef)
    })
}

/// Every match replaced; the replacement is literal.
fn regexp_replace(c: &Call<'_>) -> Result<ArrayRef> {
    let (s, pattern, with) = (c.text(0), c.text(1), c.text(2));
    with_patterns(|patterns| {
        Ok(c.build_text(|row, out| {
            let (s, p, with) = (s.get(row)?, pattern.get(row)?, with.get(row)?);
            patterns.get(p).replace_all(s, with, out)
        }))
    })
}

/// Whether the pattern matches somewhere.
fn regexp(c: &Call<'_>) -> Result<ArrayRef> {
    let (s, pattern) = (c.text(0), c.text(1));
    with_patterns(|patterns| {
        let values = (0..c.rows).map(|row| {
            let (s, p) = (s.get(row)?, pattern.get(row)?);
            patterns.get(p).is_match(s)
        });
        Ok(Arc::new(values.collect::<BooleanArray>()) as ArrayRef)
    })
}
