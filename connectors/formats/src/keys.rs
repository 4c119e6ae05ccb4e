//! Finds the column of an object's key.
//!
//! Records of one file have their keys in the same order nearly always. The table remembers which key stood at
//! which position of the last object, so that the usual lookup is one comparison; only a surprise asks the hash map.

use indexmap::IndexMap;

/// Keys of one object type.
pub(crate) struct KeyTable {
    names: IndexMap<Box<[u8]>, usize>,
    /// By position in the object: the key as it stood in the text, and its column.
    shape: Vec<(Box<[u8]>, Option<usize>)>,
    /// By column: the number of the object that set it last.
    seen: Vec<u64>,
    object: u64,
}

/// Positions remembered; keys behind it go through the hash map.
const SHAPE_MAX: usize = 1_024;

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
        Self { names, shape: Vec::new(), seen: vec![0; columns], object: 0 }
    }

    /// A new object starts; returns its number.
    pub(crate) fn begin(&mut self) -> u64 {
        self.object += 1;
        self.object
    }

    /// The column of the key at `position`. `raw` is the key as it stands in the text; when it contains escapes,
    /// `unescape` yields the real one.
    #[inline]
    pub(crate) fn find(
        &mut self,
        position: usize,
        raw: &[u8],
        unescape: impl FnOnce() -> Option<Vec<u8>>,
    ) -> Option<usize> {
        if let Some((key, column)) = self.shape.get(position)
            && **key == *raw
        {
            return *column;
        }
        self.find_slow(position, raw, unescape().as_deref().unwrap_or(raw))
    }

    #[cold]
    fn find_slow(&mut self, position: usize, raw: &[u8], key: &[u8]) -> Option<usize> {
        let column = self.names.get(key).copied();
        let known = self.shape.len();
        match self.shape.get_mut(position) {
            Some(slot) => *slot = (raw.into(), column),
            None if position == known && position < SHAPE_MAX => self.shape.push((raw.into(), column)),
            None => {}
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
        for _ in 0..2 {
            assert_eq!(t.find(0, b"id", none), Some(0));
            assert_eq!(t.find(1, b"other", none), None);
            assert_eq!(t.find(2, b"n\\u0061me", || Some(b"name".to_vec())), Some(1));
        }
        assert_eq!(t.find(0, b"name", none), Some(1));
        assert_eq!(t.find(SHAPE_MAX + 7, b"id", none), Some(0));
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
