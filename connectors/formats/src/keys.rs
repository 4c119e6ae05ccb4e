//! Finds the column of an object's key.
//!
//! Records of one file have their keys in the same order nearly always, perhaps with some of them left out. The table
//! keeps the keys it has seen in the order of their first appearance and expects the one behind the last; only a
//! surprise is looked up by its hash.

use indexmap::IndexMap;

/// Keys of one object type.
pub(crate) struct KeyTable {
    names: IndexMap<Box<[u8]>, usize>,
    /// Keys as they stood in the text, with their column.
    known: IndexMap<Box<[u8]>, Option<usize>>,
    /// The index into `known` that is expected next.
    expected: usize,
    /// By column: the number of the object that set it last.
    seen: Vec<u64>,
    object: u64,
}

/// Keys remembered; others are looked up among the columns each time.
const KNOWN_MAX: usize = 1_024;

impl KeyTable {
    /// A table of these columns; without a name a column is not looked for. Of equal names the last wins.
    pub(crate) fn new<'a>(names: impl Iterator<Item = Option<&'a str>>) -> Self {
        let mut columns = 0;
        let names = names
            .filter_map(|name| {
                columns += 1;
                Some((name?.as_bytes().into(), columns - 1))
            })
            .collect();
        Self { names, known: IndexMap::new(), expected: 0, seen: vec![0; columns], object: 0 }
    }

    /// A new object starts; returns its number.
    pub(crate) fn begin(&mut self) -> u64 {
        self.object += 1;
        self.expected = 0;
        self.object
    }

    /// The column of the next key of the object. `raw` is the key as it stands in the text; when it contains escapes,
    /// `unescape` yields the real one.
    #[inline]
    pub(crate) fn find(&mut self, raw: &[u8], unescape: impl FnOnce() -> Option<Vec<u8>>) -> Option<usize> {
        if let Some((key, column)) = self.known.get_index(self.expected)
            && **key == *raw
        {
            self.expected += 1;
            return *column;
        }
        if let Some((index, _, column)) = self.known.get_full(raw) {
            self.expected = index + 1;
            return *column;
        }
        self.learn(raw, unescape().as_deref().unwrap_or(raw))
    }

    #[cold]
    fn learn(&mut self, raw: &[u8], key: &[u8]) -> Option<usize> {
        let column = self.names.get(key).copied();
        if self.known.len() < KNOWN_MAX {
            self.expected = self.known.len() + 1;
            self.known.insert(raw.into(), column);
        }
        column
    }

    /// Marks a column as set by object `object`; false when that object had set it before.
    #[inline]
    pub(crate) fn mark(&mut self, column: usize, object: u64) -> bool {
        std::mem::replace(&mut self.seen[column], object) != object
    }

    /// Whether object `object` set the column.
    #[inline]
    pub(crate) fn is_marked(&self, column: usize, object: u64) -> bool {
        self.seen[column] == object
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_any_order_and_through_escapes() {
        let mut t = KeyTable::new([Some("id"), Some("name"), None].into_iter());
        let none = || None;
        for order in [["id", "other", "n"], ["id", "other", "n"], ["n", "id", "other"], ["other", "n", "id"]] {
            t.begin();
            for key in order {
                let (raw, column) = match key {
                    "id" => ("id", Some(0)),
                    "n" => ("n\\u0061me", Some(1)),
                    _ => ("other", None),
                };
                assert_eq!(t.find(raw.as_bytes(), || (key == "n").then(|| b"name".to_vec())), column, "{order:?}");
            }
        }
        t.begin();
        assert_eq!(t.find(b"name", none), Some(1), "the same key without escapes");
    }

    #[test]
    fn keys_beyond_the_limit_are_still_found() {
        let mut t = KeyTable::new([Some("id")].into_iter());
        t.begin();
        for i in 0..=KNOWN_MAX {
            assert_eq!(t.find(format!("k{i}").as_bytes(), || None), None);
        }
        assert_eq!(t.known.len(), KNOWN_MAX);
        assert_eq!(t.find(b"id", || None), Some(0));
        assert_eq!(t.find(b"id", || None), Some(0));
    }

    #[test]
    fn a_column_is_marked_once_per_object() {
        let mut t = KeyTable::new([Some("a")].into_iter());
        let o = t.begin();
        assert!(t.mark(0, o) && !t.mark(0, o) && t.is_marked(0, o));
        let o = t.begin();
        assert!(!t.is_marked(0, o) && t.mark(0, o));
    }
}
