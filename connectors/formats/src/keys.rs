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
    /// The same keys with their quotes and colon, as they stand in text without blanks.
    spelled: Vec<(Spelled, Option<usize>)>,
    /// The index into `known` that is expected next.
    expected: usize,
    /// By column: the number of the object that set it last.
    seen: Vec<u64>,
    object: u64,
}

/// A key as `"key":`, so prepared that keys of up to 16 bytes are compared with two loads.
pub(crate) struct Spelled {
    text: Box<[u8]>,
    /// The first bytes, at most 8, and which of them count.
    head: u64,
    mask: u64,
    /// The last 8 bytes; 0 when there are fewer.
    tail: u64,
}

impl Spelled {
    fn new(raw: &[u8]) -> Self {
        let text: Box<[u8]> = [b"\"", raw, b"\":"].concat().into();
        let mut head = [0; 8];
        let mut mask = [0; 8];
        let n = text.len().min(8);
        head[..n].copy_from_slice(&text[..n]);
        mask[..n].fill(0xff);
        let tail = text.last_chunk::<8>().map_or(0, |t| u64::from_le_bytes(*t));
        Self { text, head: u64::from_le_bytes(head), mask: u64::from_le_bytes(mask), tail }
    }

    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether `rest` begins with it.
    #[inline]
    pub(crate) fn begins(&self, rest: &[u8]) -> bool {
        let n = self.text.len();
        match rest.first_chunk::<8>() {
            Some(first) if n <= 16 => {
                (u64::from_le_bytes(*first) ^ self.head) & self.mask == 0
                    && (n <= 8
                        || rest
                            .get(n - 8..n)
                            .and_then(|t| t.first_chunk::<8>())
                            .is_some_and(|t| u64::from_le_bytes(*t) == self.tail))
            }
            _ => rest.starts_with(&self.text),
        }
    }
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
        Self { names, known: IndexMap::new(), spelled: Vec::new(), expected: 0, seen: vec![0; columns], object: 0 }
    }

    /// A new object starts; returns its number.
    pub(crate) fn begin(&mut self) -> u64 {
        self.object += 1;
        self.expected = 0;
        self.object
    }

    /// The key that is expected next, as `"key":`, and its column.
    #[inline]
    pub(crate) fn guess(&self) -> Option<&(Spelled, Option<usize>)> {
        self.spelled.get(self.expected)
    }

    /// The guess was right.
    #[inline]
    pub(crate) fn guessed(&mut self) {
        self.expected += 1;
    }

    /// The column of the next key of the object. `raw` is the key as it stands in the text; when it contains escapes,
    /// `unescape` yields the real one.
    pub(crate) fn find(&mut self, raw: &[u8], unescape: impl FnOnce() -> Option<Vec<u8>>) -> Option<usize> {
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
            self.spelled.push((Spelled::new(raw), column));
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
        assert!(t.guess().is_some_and(|(key, column)| key.begins(b"\"id\":1") && *column == Some(0)));
        t.guessed();
        assert!(t.guess().is_some_and(|(key, column)| key.begins(b"\"other\":") && column.is_none()));
        assert_eq!(t.find(b"name", none), Some(1), "the same key without escapes");
    }

    #[test]
    fn spelled_keys_are_equal_when_their_bytes_are() {
        for n in 0..30 {
            let raw = &b"abcdefghijklmnopqrstuvwxyz0123"[..n];
            let key = Spelled::new(raw);
            let text = [b"\"", raw, b"\":1,\"and so on\":2"].concat();
            assert!(key.begins(&text) && key.begins(&text[..key.len()]), "{n}");
            for i in 0..key.len() {
                let mut other = text.clone();
                other[i] ^= 1;
                assert!(!key.begins(&other) && !key.begins(&text[..i]), "{n} {i}");
            }
        }
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
