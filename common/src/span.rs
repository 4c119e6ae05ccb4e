//! Places in the text a user wrote.
//!
//! A [`Span`] names its source (a script, a mapping file, one REPL line) and a range of bytes in it.
//! Every node of the syntax tree, every plan node and every run-time error keeps one, so that a
//! message at 3 a.m. still points at the line that caused it.
//!
//! # Invariants
//! `start <= end`, and both lie on `char` boundaries of the source's text.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A source registered in a [`SourceMap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourceId(pub u32);

/// A range of bytes in one source.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span {
    /// Which source.
    pub source: SourceId,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl std::fmt::Debug for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}..{}", self.source.0, self.start, self.end)
    }
}

impl Span {
    /// The range `start..end` of `source`, in bytes.
    pub fn new(source: SourceId, start: usize, end: usize) -> Self {
        debug_assert!(start <= end, "a span runs forward");
        Self { source, start: start as u32, end: end as u32 }
    }

    /// The smallest span that covers both; `self` when they are in different sources.
    pub fn join(self, other: Span) -> Span {
        if self.source != other.source {
            return self;
        }
        Span { source: self.source, start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The range in bytes.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A value with the place it was read from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spanned<T> {
    /// What was read.
    pub value: T,
    /// Where.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// `value`, read at `span`.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// A line and a column, both from 1; the column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LineCol {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub col: usize,
}

/// One text a span can point into.
#[derive(Debug)]
pub struct Source {
    /// What to print before the line number: a path as the user gave it, or `<stdin>`.
    pub name: String,
    /// The whole text.
    pub text: String,
    line_starts: Vec<u32>,
}

/// All texts of one run. Cheap to clone; sources are only ever added.
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    sources: Vec<Arc<Source>>,
}

impl SourceMap {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a text and returns its id.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> SourceId {
        let text = text.into();
        let line_starts = std::iter::once(0)
            .chain(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i as u32 + 1))
            .collect();
        self.sources.push(Arc::new(Source { name: name.into(), text, line_starts }));
        SourceId(self.sources.len() as u32 - 1)
    }

    /// The source of an id handed out by [`SourceMap::add`]; `None` for a foreign id.
    pub fn get(&self, id: SourceId) -> Option<&Source> {
        self.sources.get(id.0 as usize).map(Arc::as_ref)
    }

    /// The text under a span; empty for a foreign span.
    pub fn text(&self, span: Span) -> &str {
        self.get(span.source).and_then(|s| s.text.get(span.range())).unwrap_or("")
    }

    /// Line and column of the span's first byte.
    pub fn line_col(&self, span: Span) -> Option<LineCol> {
        self.get(span.source).map(|s| s.line_col(span.start as usize))
    }

    /// `name:line:col`, as error messages print it.
    pub fn place(&self, span: Span) -> Option<String> {
        let source = self.get(span.source)?;
        let LineCol { line, col } = source.line_col(span.start as usize);
        Some(format!("{}:{line}:{col}", source.name))
    }
}

impl Source {
    /// Line and column of a byte offset; offsets past the end are clamped.
    pub fn line_col(&self, offset: usize) -> LineCol {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.line_starts.partition_point(|&s| s as usize <= offset);
        let start = self.line_starts[line - 1] as usize;
        LineCol { line, col: self.text[start..offset].chars().count() + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_not_bytes() {
        let mut map = SourceMap::new();
        let id = map.add("a.sql", "é = 1;\nSELECT x");
        let x = Span::new(id, 15, 16);
        assert_eq!(map.text(x), "x");
        assert_eq!(map.place(x).as_deref(), Some("a.sql:2:8"));
        assert_eq!(map.line_col(Span::new(id, 3, 4)), Some(LineCol { line: 1, col: 3 }));
    }

    #[test]
    fn joining_covers_both() {
        let s = SourceId(0);
        assert_eq!(Span::new(s, 4, 6).join(Span::new(s, 1, 2)), Span::new(s, 1, 6));
    }
}
