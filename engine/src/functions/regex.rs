//! Java's regular expressions.
//!
//! `regex` runs what it can (linear time); look-around and back-references fall back to `fancy-regex`. A pattern is
//! compiled once per call when it is a constant, and the last one is remembered when it is a column.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, StringViewBuilder};
use arrow::datatypes::DataType;
use datafusion::common::Result;

use super::call::{Call, Declaration, arity, as_int, as_text, texts};

pub(super) const FUNCTIONS: &[Declaration] = &[
    Declaration::new("regexp_extract", coerce_extract, |_| Ok(DataType::Utf8View), regexp_extract).nullable(),
    Declaration::new("regexp_replace", |t| texts(t, 3..=3), |_| Ok(DataType::Utf8View), regexp_replace).nullable(),
    Declaration::new("regexp", |t| texts(t, 2..=2), |_| Ok(DataType::Boolean), regexp).nullable(),
];

/// A compiled pattern.
enum Pattern {
    Linear(fancy_regex::Regex),
    Bad,
}

impl Pattern {
    fn new(text: &str) -> Self {
        match fancy_regex::Regex::new(text) {
            Ok(regex) => Pattern::Linear(regex),
            Err(_) => Pattern::Bad,
        }
    }
}

/// The pattern of the last row.
#[derive(Default)]
struct Memo(Option<(String, Option<Pattern>)>);

impl Memo {
    fn get(&mut self, text: &str) -> Option<&fancy_regex::Regex> {
        if self.0.as_ref().is_none_or(|(t, _)| t != text) {
            self.0 = Some((text.to_owned(), Some(Pattern::new(text))));
        }
        match &self.0 {
            Some((_, Some(Pattern::Linear(regex)))) => Some(regex),
            _ => None,
        }
    }
}

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
    let mut memo = Memo::default();
    let mut out = StringViewBuilder::with_capacity(c.rows);
    for row in 0..c.rows {
        let group = if c.args.len() == 3 { c.int(2, row) } else { Some(0) };
        let value = match (s.get(row), pattern.get(row), group.and_then(|g| usize::try_from(g).ok())) {
            (Some(s), Some(p), Some(group)) => memo.get(p).and_then(|regex| match group {
                0 => regex.find(s).ok().flatten().map(|m| m.as_str()),
                _ => regex.captures(s).ok().flatten().and_then(|m| m.get(group)).map(|m| m.as_str()),
            }),
            _ => None,
        };
        out.append_option(value);
    }
    Ok(Arc::new(out.finish()))
}

/// Every match replaced; the replacement is literal.
fn regexp_replace(c: &Call<'_>) -> Result<ArrayRef> {
    let (s, pattern, with) = (c.text(0), c.text(1), c.text(2));
    let mut memo = Memo::default();
    Ok(c.build_text(|row, out| {
        let (s, p, with) = (s.get(row)?, pattern.get(row)?, with.get(row)?);
        let regex = memo.get(p)?;
        out.push_str(&regex.try_replacen(s, 0, fancy_regex::NoExpand(with)).ok()?);
        Some(())
    }))
}

/// Whether the pattern matches somewhere.
fn regexp(c: &Call<'_>) -> Result<ArrayRef> {
    let (s, pattern) = (c.text(0), c.text(1));
    let mut memo = Memo::default();
    let values = (0..c.rows).map(|row| {
        let (s, p) = (s.get(row)?, pattern.get(row)?);
        memo.get(p)?.is_match(s).ok()
    });
    Ok(Arc::new(values.collect::<BooleanArray>()))
}
