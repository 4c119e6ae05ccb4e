//! Compiled patterns, kept by each thread from batch to batch.
//!
//! `regex-automata` runs what it can, in linear time; look-around and back-references fall back to `fancy-regex`. It is
//! used below the `regex` crate's interface because its scratch space can then be kept here: a search takes nothing
//! from a pool and allocates nothing, and the automaton that it builds while it searches is built once.

use std::cell::RefCell;

use regex_automata::Input;
use regex_automata::meta::{Cache, Regex};
use regex_automata::util::iter::Searcher;
use regex_automata::util::primitives::NonMaxUsize;

/// Patterns a thread keeps; a script rarely has more, and a column of patterns should not fill the memory.
const PATTERNS_MAX: usize = 8;

thread_local! {
    static PATTERNS: RefCell<Patterns> = const { RefCell::new(Patterns(Vec::new())) };
}

/// Calls `f` with the patterns of this thread.
pub(super) fn with_patterns<R>(f: impl FnOnce(&mut Patterns) -> R) -> R {
    PATTERNS.with_borrow_mut(f)
}

/// Patterns with their text, the last one used first.
pub(super) struct Patterns(Vec<(String, Pattern)>);

impl Patterns {
    /// The pattern of this text.
    #[inline]
    pub(super) fn get(&mut self, text: &str) -> &mut Pattern {
        if self.0.first().is_none_or(|(t, _)| t != text) {
            let entry = match self.0.iter().position(|(t, _)| t == text) {
                Some(i) => self.0.remove(i),
                None => (text.to_owned(), Pattern::new(text)),
            };
            self.0.truncate(PATTERNS_MAX - 1);
            self.0.insert(0, entry);
        }
        &mut self.0[0].1
    }
}

/// A pattern, ready to be searched for.
pub(super) enum Pattern {
    /// Searched in linear time.
    Linear(Box<Linear>),
    /// Searched by trying.
    Backtracking(fancy_regex::Regex),
    /// Not a pattern: it matches nothing, and a call with it is NULL.
    Bad,
}

/// A pattern with the scratch space of its searches.
pub(super) struct Linear {
    regex: Regex,
    cache: Cache,
    /// Start and end of each group.
    slots: Vec<Option<NonMaxUsize>>,
}

impl Pattern {
    fn new(text: &str) -> Self {
        if let Ok(regex) = Regex::new(text) {
            let (cache, slots) = (regex.create_cache(), vec![None; 2 * regex.captures_len()]);
            return Pattern::Linear(Box::new(Linear { regex, cache, slots }));
        }
        fancy_regex::Regex::new(text).map_or(Pattern::Bad, Pattern::Backtracking)
    }

    /// Group `group` of the first match in `text`.
    #[inline]
    pub(super) fn group<'t>(&mut self, text: &'t str, group: usize) -> Option<&'t str> {
        match self {
            Pattern::Linear(p) => {
                // Groups behind the one that is asked for need not be found.
                let slots = p.slots.get_mut(..2 * group + 2)?;
                p.regex.search_slots_with(&mut p.cache, &Input::new(text), slots)?;
                text.get(slots[2 * group]?.get()..slots[2 * group + 1]?.get())
            }
            Pattern::Backtracking(regex) if group == 0 => regex.find(text).ok().flatten().map(|m| m.as_str()),
            Pattern::Backtracking(regex) => regex.captures(text).ok().flatten()?.get(group).map(|m| m.as_str()),
            Pattern::Bad => None,
        }
    }

    /// Whether it matches somewhere in `text`; `None` when that cannot be told.
    #[inline]
    pub(super) fn is_match(&mut self, text: &str) -> Option<bool> {
        match self {
            Pattern::Linear(p) => {
                let input = Input::new(text).earliest(true);
                Some(p.regex.search_half_with(&mut p.cache, &input).is_some())
            }
            Pattern::Backtracking(regex) => regex.is_match(text).ok(),
            Pattern::Bad => None,
        }
    }

    /// Appends `text` to `out` with every match replaced by `with`.
    pub(super) fn replace_all(&mut self, text: &str, with: &str, out: &mut String) -> Option<()> {
        match self {
            Pattern::Linear(p) => {
                let (mut searcher, mut copied) = (Searcher::new(Input::new(text)), 0);
                while let Some(m) = searcher.advance(|input| Ok(p.regex.search_with(&mut p.cache, input))) {
                    out.push_str(&text[copied..m.start()]);
                    out.push_str(with);
                    copied = m.end();
                }
                out.push_str(&text[copied..]);
            }
            Pattern::Backtracking(regex) => {
                out.push_str(&regex.try_replacen(text, 0, fancy_regex::NoExpand(with)).ok()?);
            }
            Pattern::Bad => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(pattern: &str, text: &str, group: usize) -> Option<String> {
        with_patterns(|p| p.get(pattern).group(text, group).map(str::to_owned))
    }

    #[test]
    fn groups_of_both_engines() {
        for pattern in ["(&|^)id=([^&]*)", "(&|^)id=([^&]*)(?!#)"] {
            assert_eq!(group(pattern, "a=1&id=é7&b", 2).as_deref(), Some("é7"), "{pattern}");
            assert_eq!(group(pattern, "a=1&id=é7&b", 0).as_deref(), Some("&id=é7"));
            assert_eq!(group(pattern, "id=7", 1).as_deref(), Some(""));
            assert_eq!(group(pattern, "a=1", 2), None);
            assert_eq!(group(pattern, "id=7", 3), None);
        }
        assert_eq!(group("(a)|(b)", "b", 1), None, "a group that took no part");
        assert_eq!(group("(", "(", 0), None);
    }

    #[test]
    fn replacing_takes_the_replacement_literally_and_sees_empty_matches() {
        let replace = |pattern: &str, text: &str| {
            let mut out = String::new();
            with_patterns(|p| p.get(pattern).replace_all(text, "$0", &mut out)).map(|()| out)
        };
        assert_eq!(replace("b+", "abbcb").as_deref(), Some("a$0c$0"));
        assert_eq!(replace("x*", "é").as_deref(), Some("$0é$0"));
        assert_eq!(replace("b(?=c)", "bbc").as_deref(), Some("b$0c"));
        assert_eq!(replace("(", "x"), None);
    }

    #[test]
    fn a_thread_keeps_the_patterns_used_last() {
        let mut patterns = Patterns(Vec::new());
        for i in 0..3 * PATTERNS_MAX {
            let text = format!("^{i}$");
            assert_eq!(patterns.get(&text).is_match(&i.to_string()), Some(true));
            assert_eq!(patterns.get("^0$").is_match("0"), Some(true));
        }
        assert_eq!(patterns.0.len(), PATTERNS_MAX);
        assert_eq!(patterns.0[0].0, "^0$");
    }
}
