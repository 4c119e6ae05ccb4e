//! Which changes of a table are behind its snapshot.
//!
//! ```text
//! chunk      (-∞, 100)   [100, 200)   [200, ∞)
//! mark       b.7:900     b.7:1500     b.7:1100        the log's end when the chunk was as it was read
//! event at b.7:1200 of key 150: in the chunk already     of key 250: not in it, so it is handed out
//! ```
//! An update is judged image by image: the row before it by the chunk that it leaves, the row after it by the chunk that it
//! enters. Where only one of the two is news, it becomes a delete or an insert.
//!
//! # State
//! The ranges until the log is past the highest mark; answers of the server for keys that only it can place.

use std::cmp::Ordering;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::key::{Key, Order};
use super::position::FilePosition;

/// The ranges of one table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// The column of the ranges.
    pub column: String,
    /// How its values are ordered.
    pub order: Order,
    /// Where each range but the first begins, in order.
    pub bounds: Vec<Key>,
    /// Up to where each range is as it was read.
    pub marks: Vec<FilePosition>,
    /// The highest mark.
    pub last: FilePosition,
    #[serde(skip)]
    placed: HashMap<Key, usize>,
}

impl Gate {
    /// Ranges in their order: where each begins (the first has no beginning), and its mark. Neighbours of equal mark become
    /// one.
    pub fn new(column: String, order: Order, ranges: impl IntoIterator<Item = (Option<Key>, FilePosition)>) -> Gate {
        let (mut bounds, mut marks): (Vec<Key>, Vec<FilePosition>) = (Vec::new(), Vec::new());
        let mut last = FilePosition::default();
        for (from, mark) in ranges {
            if marks.is_empty() || is_behind(&mark, &last) {
                last = mark.clone();
            }
            if marks.last() != Some(&mark) {
                if !marks.is_empty() {
                    bounds.extend(from);
                }
                marks.push(mark);
            }
        }
        Gate { column, order, bounds, marks, last, placed: HashMap::new() }
    }

    /// Whether no range has a mark at or behind `at`: everything from here on is news.
    pub fn is_past(&self, at: &FilePosition) -> bool {
        is_behind(at, &self.last)
    }

    /// Whether the range of a row matters at all.
    pub fn needs_key(&self) -> bool {
        !self.bounds.is_empty()
    }

    /// Whether a change that ends at `at` is news for the range of `key`. `None` when the server must place the key
    /// ([`Gate::place`]).
    pub fn is_news(&self, key: Option<&Key>, at: &FilePosition) -> Option<bool> {
        let range = match key {
            // NULL comes first.
            None => 0,
            Some(_) if self.bounds.is_empty() => 0,
            Some(key) if self.order.is_ours() => self.range_of(key),
            Some(key) => *self.placed.get(key)?,
        };
        Some(self.marks.get(range).is_none_or(|mark| is_behind(at, mark)))
    }

    fn range_of(&self, key: &Key) -> usize {
        self.bounds.partition_point(|bound| self.order.compare(bound, key).is_some_and(|o| o != Ordering::Greater))
    }

    /// The server says that a key is in this range.
    pub fn place(&mut self, key: Key, range: usize) {
        self.placed.insert(key, range);
    }

    /// Keys that the server has placed.
    pub fn placed(&self) -> usize {
        self.placed.len()
    }

    /// Forgets where keys are, which can be asked again.
    pub fn forget_places(&mut self) {
        self.placed.clear();
    }
}

/// Places of two logs have no order: the later log is behind whatever it follows. Before its first packet a reader that goes by
/// transaction ids has no file: it is behind nothing.
fn is_behind(at: &FilePosition, mark: &FilePosition) -> bool {
    at.compare(mark).map_or(!at.file.is_empty(), |order| order == Ordering::Greater)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(pos: u64) -> FilePosition {
        FilePosition::new("b.000007", pos)
    }

    fn gate(order: Order) -> Gate {
        let ranges = [(None, at(900)), (Some(Key::Int(100)), at(1500)), (Some(Key::Int(200)), at(1100))];
        Gate::new("id".into(), order, ranges)
    }

    #[test]
    fn change_is_news_behind_the_mark_of_its_range_only() {
        let gate = gate(Order::Exact);
        let news = |key: i128, pos| gate.is_news(Some(&Key::Int(key)), &at(pos)).unwrap();
        assert!(!news(99, 900) && news(99, 901), "a mark is the end of the last change that was read");
        assert!(!news(100, 1200) && !news(199, 1500) && news(100, 1501));
        assert!(news(200, 1200) && !news(200, 1100));
        assert_eq!(gate.is_news(None, &at(901)), Some(true), "NULL is in the first range");
        assert!(!gate.is_past(&at(1500)) && gate.is_past(&at(1501)));
        assert_eq!(gate.last, at(1500));
        assert!(gate.is_past(&FilePosition::new("b.000008", 4)));
        assert!(!gate.is_past(&FilePosition::default()), "a reader that does not know yet where it is");
    }

    #[test]
    fn neighbours_of_equal_mark_are_one_range() {
        let ranges =
            [(None, at(5)), (Some(Key::Int(1)), at(5)), (Some(Key::Int(2)), at(6)), (Some(Key::Int(3)), at(5))];
        let gate = Gate::new("id".into(), Order::Exact, ranges);
        assert_eq!((gate.bounds.len(), gate.marks.len()), (2, 3));
        assert_eq!(gate.bounds[0], Key::Int(2));
    }

    #[test]
    fn keys_of_a_collation_are_placed_by_the_server() {
        let order = Order::Server { charset: "utf8mb4".into(), collation: "utf8mb4_0900_ai_ci".into() };
        let mut gate = gate(order);
        let key = Key::Text("Ä".into());
        assert_eq!(gate.is_news(Some(&key), &at(1200)), None);
        gate.place(key.clone(), 1);
        assert_eq!(gate.is_news(Some(&key), &at(1200)), Some(false));
        let stored: Gate = serde_json::from_value(serde_json::to_value(&gate).unwrap()).unwrap();
        assert_eq!(stored.is_news(Some(&key), &at(1200)), None, "and asked again after a restart");
    }
}
