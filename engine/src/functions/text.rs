//! Functions over text. Positions count characters from 1, as Flink's do; SPLIT_INDEX counts parts from 0.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, StringViewBuilder};
use arrow::datatypes::DataType;
use datafusion::common::Result;

use super::call::{Call, Declaration, arity, as_int, as_text, texts};

pub(super) const FUNCTIONS: &[Declaration] = &[
    Declaration::new("split_index", text_text_int, text, split_index).nullable(),
    Declaration::new("substring", text_ints, text, substring).nullable(),
    Declaration::new("substr", text_ints, text, substring).nullable(),
    Declaration::new("left", text_ints, text, left),
    Declaration::new("right", text_ints, text, right),
    Declaration::new("concat", |t| texts(t, 1..=64), text, concat),
    Declaration::new("concat_ws", |t| texts(t, 1..=64), text, concat_ws).nullable(),
    Declaration::new("char_length", |t| texts(t, 1..=1), int, char_length),
    Declaration::new("character_length", |t| texts(t, 1..=1), int, char_length),
    Declaration::new("position", |t| texts(t, 2..=2), int, |c| locate(c, 0, 1)),
    Declaration::new("locate", text_text_int_optional, int, |c| locate(c, 0, 1)),
    Declaration::new("instr", |t| texts(t, 2..=2), int, |c| locate(c, 1, 0)),
    Declaration::new("lpad", text_int_text, text, |c| pad(c, true)).nullable(),
    Declaration::new("rpad", text_int_text, text, |c| pad(c, false)).nullable(),
    Declaration::new("replace", |t| texts(t, 3..=3), text, replace),
    Declaration::new("startswith", |t| texts(t, 2..=2), boolean, |c| test(c, |s, p| s.starts_with(p))),
    Declaration::new("endswith", |t| texts(t, 2..=2), boolean, |c| test(c, |s, p| s.ends_with(p))),
];

fn text(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Utf8View)
}

fn int(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Int32)
}

fn boolean(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Boolean)
}

fn text_text_int(t: &[DataType]) -> Result<Vec<DataType>> {
    arity(t, 3..=3)?;
    Ok(vec![as_text(&t[0])?, as_text(&t[1])?, as_int(&t[2], DataType::Int32)?])
}

fn text_text_int_optional(t: &[DataType]) -> Result<Vec<DataType>> {
    arity(t, 2..=3)?;
    if t.len() == 3 { text_text_int(t) } else { texts(t, 2..=2) }
}

fn text_int_text(t: &[DataType]) -> Result<Vec<DataType>> {
    arity(t, 3..=3)?;
    Ok(vec![as_text(&t[0])?, as_int(&t[1], DataType::Int32)?, as_text(&t[2])?])
}

fn text_ints(t: &[DataType]) -> Result<Vec<DataType>> {
    arity(t, 2..=3)?;
    let mut out = vec![as_text(&t[0])?];
    for ty in &t[1..] {
        out.push(as_int(ty, DataType::Int32)?);
    }
    Ok(out)
}

/// `s` with every occurrence of one text replaced by another; an empty one occurs nowhere.
fn replace(c: &Call<'_>) -> Result<ArrayRef> {
    let (s, from, to) = (c.text(0), c.text(1), c.text(2));
    let finder = from.constant().flatten().map(|f| memchr::memmem::Finder::new(f.as_bytes()));
    Ok(c.build_text(|row, out| {
        let (s, from, to) = (s.get(row)?, from.get(row)?, to.get(row)?);
        if from.is_empty() {
            out.push_str(s);
            return Some(());
        }
        let mut rest = 0;
        let mut copy = |at: usize| {
            out.push_str(&s[rest..at]);
            out.push_str(to);
            rest = at + from.len();
        };
        match &finder {
            Some(f) => f.find_iter(s.as_bytes()).for_each(&mut copy),
            None => memchr::memmem::find_iter(s.as_bytes(), from).for_each(&mut copy),
        }
        out.push_str(&s[rest..]);
        Some(())
    }))
}

/// The part number `i` of `s`, cut at every `separator`; NULL when there is none, for an empty `s` or separator.
fn split_index(c: &Call<'_>) -> Result<ArrayRef> {
    let (s, separator) = (c.text(0), c.text(1));
    let finder = separator.constant().flatten().map(|p| memchr::memmem::Finder::new(p.as_bytes()));
    let mut out = StringViewBuilder::with_capacity(c.rows);
    for row in 0..c.rows {
        out.append_option(match (s.get(row), separator.get(row), c.int(2, row)) {
            (Some(s), Some(p), Some(i)) if i >= 0 && !s.is_empty() && !p.is_empty() => match (&finder, p.as_bytes()) {
                (_, [byte]) => nth_part(s, memchr::memchr_iter(*byte, s.as_bytes()), 1, i as usize),
                (Some(f), _) => nth_part(s, f.find_iter(s.as_bytes()), p.len(), i as usize),
                (None, p) => nth_part(s, memchr::memmem::find_iter(s.as_bytes(), p), p.len(), i as usize),
            },
            _ => None,
        });
    }
    Ok(Arc::new(out.finish()))
}

/// The text between cut `i - 1` and cut `i`.
fn nth_part(s: &str, mut cuts: impl Iterator<Item = usize>, cut_len: usize, i: usize) -> Option<&str> {
    let start = match i {
        0 => 0,
        _ => cuts.nth(i - 1)? + cut_len,
    };
    Some(&s[start..cuts.next().unwrap_or(s.len())])
}

/// From character `from` (0 acts as 1, negative counts from the end), `len` characters; a negative `len` is NULL.
fn substring(c: &Call<'_>) -> Result<ArrayRef> {
    let s = c.text(0);
    let has_len = c.args.len() == 3;
    Ok(c.build_text(|row, out| {
        let (s, from) = (s.get(row)?, i64::from(c.int(1, row)?));
        let len = if has_len { i64::from(c.int(2, row)?) } else { i64::MAX };
        if len < 0 {
            return None;
        }
        let start = match from {
            1.. => from - 1,
            0 => 0,
            // Before the start of the text there is nothing, as in Java's code.
            _ => s.chars().count() as i64 + from,
        };
        if start >= 0 {
            out.push_str(slice_chars(s, start as usize, usize::try_from(len).unwrap_or(usize::MAX)));
        }
        Some(())
    }))
}

/// `len` characters of `s` from character `start`.
fn slice_chars(s: &str, start: usize, len: usize) -> &str {
    if s.is_ascii() {
        let start = start.min(s.len());
        return &s[start..start.saturating_add(len).min(s.len())];
    }
    let from = s.char_indices().nth(start).map_or(s.len(), |(i, _)| i);
    let rest = &s[from..];
    &rest[..rest.char_indices().nth(len).map_or(rest.len(), |(i, _)| i)]
}

fn left(c: &Call<'_>) -> Result<ArrayRef> {
    let s = c.text(0);
    Ok(c.build_text(|row, out| {
        out.push_str(slice_chars(s.get(row)?, 0, c.int(1, row)?.max(0) as usize));
        Some(())
    }))
}

fn right(c: &Call<'_>) -> Result<ArrayRef> {
    let s = c.text(0);
    Ok(c.build_text(|row, out| {
        let (s, n) = (s.get(row)?, c.int(1, row)?.max(0) as usize);
        out.push_str(slice_chars(s, s.chars().count().saturating_sub(n), usize::MAX));
        Some(())
    }))
}

/// NULL when any argument is.
fn concat(c: &Call<'_>) -> Result<ArrayRef> {
    let parts: Vec<_> = (0..c.args.len()).map(|i| c.text(i)).collect();
    Ok(c.build_text(|row, out| parts.iter().try_for_each(|p| p.get(row).map(|p| out.push_str(p)))))
}

/// NULL when the separator is; NULL parts are left out.
fn concat_ws(c: &Call<'_>) -> Result<ArrayRef> {
    let separator = c.text(0);
    let parts: Vec<_> = (1..c.args.len()).map(|i| c.text(i)).collect();
    Ok(c.build_text(|row, out| {
        let separator = separator.get(row)?;
        for (i, part) in parts.iter().filter_map(|p| p.get(row)).enumerate() {
            if i > 0 {
                out.push_str(separator);
            }
            out.push_str(part);
        }
        Some(())
    }))
}

fn char_length(c: &Call<'_>) -> Result<ArrayRef> {
    let s = c.text(0);
    Ok(Arc::new((0..c.rows).map(|row| s.get(row).map(|s| s.chars().count() as i32)).collect::<Int32Array>()))
}

/// Where argument `needle` first stands in argument `hay`, from 1; 0 when nowhere. A third argument starts the search.
fn locate(c: &Call<'_>, needle: usize, hay: usize) -> Result<ArrayRef> {
    let (needle, hay) = (c.text(needle), c.text(hay));
    let with_start = c.args.len() == 3;
    let values = (0..c.rows).map(|row| {
        let (needle, hay) = (needle.get(row)?, hay.get(row)?);
        let start = if with_start { c.int(2, row)? } else { 1 };
        if start < 1 {
            return Some(0);
        }
        let skipped = slice_chars(hay, start as usize - 1, usize::MAX);
        let found = skipped.find(needle).map(|at| skipped[..at].chars().count() as i32 + start);
        Some(found.unwrap_or(0))
    });
    Ok(Arc::new(values.collect::<Int32Array>()))
}

/// To exactly `len` characters; a negative length, or nothing to pad with, is NULL.
fn pad(c: &Call<'_>, before: bool) -> Result<ArrayRef> {
    let (s, fill) = (c.text(0), c.text(2));
    Ok(c.build_text(|row, out| {
        let (s, len, fill) = (s.get(row)?, c.int(1, row)?, fill.get(row)?);
        let (len, have) = (usize::try_from(len).ok()?, s.chars().count());
        if len <= have {
            out.push_str(slice_chars(s, 0, len));
            return Some(());
        }
        if fill.is_empty() {
            return None;
        }
        let padding = fill.chars().cycle().take(len - have);
        if before {
            out.extend(padding);
            out.push_str(s);
        } else {
            out.push_str(s);
            out.extend(padding);
        }
        Some(())
    }))
}

fn test(c: &Call<'_>, holds: fn(&str, &str) -> bool) -> Result<ArrayRef> {
    let (a, b) = (c.text(0), c.text(1));
    let values = (0..c.rows).map(|row| Some(holds(a.get(row)?, b.get(row)?)));
    Ok(Arc::new(values.collect::<BooleanArray>()))
}
