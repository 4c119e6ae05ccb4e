//! Sets of MySQL's transaction ids.
//!
//! ```text
//! 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:7:backup:1-2      numbers 1 to 5 and 7, and 1 to 2 with the tag `backup`
//! ```
//! # Invariants
//! The intervals of an id are sorted, not empty, and neither touch nor overlap, so that equal sets are equal values.
//! Gaps are kept: a set is never "repaired" to what a server has.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ParseError;

/// The largest transaction number.
const NUMBER_MAX: u64 = i64::MAX as u64 - 1;
/// Characters of a tag.
const TAG_LENGTH_MAX: usize = 32;

/// Of a server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(pub [u8; 16]);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            let dash = if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError { part: text.to_owned(), expected: "a server's UUID" };
        let digits: Vec<u8> = text.bytes().filter(|b| *b != b'-').collect();
        let mut uuid = [0; 16];
        if digits.len() != 32 || !text.is_ascii() {
            return Err(error());
        }
        for (byte, pair) in uuid.iter_mut().zip(digits.chunks(2)) {
            let nibble = |digit: u8| char::from(digit).to_digit(16).ok_or_else(error);
            *byte = (nibble(pair[0])? << 4 | nibble(pair[1])?) as u8;
        }
        Ok(Uuid(uuid))
    }
}

/// One transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gtid {
    /// Where it was committed first.
    pub server: Uuid,
    /// Its tag; empty without one.
    pub tag: String,
    /// Its number, from 1.
    pub number: u64,
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tag.is_empty() {
            true => write!(f, "{}:{}", self.server, self.number),
            false => write!(f, "{}:{}:{}", self.server, self.tag, self.number),
        }
    }
}

/// First and last number of a run.
type Interval = (u64, u64);

/// A set of transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GtidSet(BTreeMap<(Uuid, String), Vec<Interval>>);

impl GtidSet {
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one transaction.
    pub fn add(&mut self, gtid: &Gtid) {
        // The common case: the next of its run.
        let key = (gtid.server, gtid.tag.clone());
        let runs = self.0.entry(key).or_default();
        match runs.last_mut() {
            Some((_, last)) if gtid.number == *last + 1 => *last += 1,
            _ => insert(runs, (gtid.number, gtid.number)),
        }
    }

    /// Whether it has this transaction.
    pub fn contains(&self, gtid: &Gtid) -> bool {
        let runs = self.0.get(&(gtid.server, gtid.tag.clone()));
        runs.is_some_and(|runs| covered((gtid.number, gtid.number), runs))
    }

    /// Whether every transaction of it is in `other`.
    pub fn is_subset(&self, other: &GtidSet) -> bool {
        self.0.iter().all(|(key, runs)| {
            let others = other.0.get(key).map_or(&[][..], Vec::as_slice);
            runs.iter().all(|run| covered(*run, others))
        })
    }

    /// What is in either.
    pub fn union(&self, other: &GtidSet) -> GtidSet {
        let mut out = self.clone();
        for (key, runs) in &other.0 {
            let mine = out.0.entry(key.clone()).or_default();
            runs.iter().for_each(|run| insert(mine, *run));
        }
        out
    }

    /// What is in it and not in `other`.
    pub fn subtract(&self, other: &GtidSet) -> GtidSet {
        let mut out = GtidSet::default();
        for (key, runs) in &self.0 {
            let others = other.0.get(key).map_or(&[][..], Vec::as_slice);
            let left: Vec<_> = runs.iter().flat_map(|run| without(*run, others)).collect();
            if !left.is_empty() {
                out.0.insert(key.clone(), left);
            }
        }
        out
    }

    /// The runs of each server and tag, numbers from first to last.
    pub fn runs(&self) -> impl Iterator<Item = (Uuid, &str, &[(u64, u64)])> {
        self.0.iter().map(|((server, tag), runs)| (*server, tag.as_str(), runs.as_slice()))
    }
}

/// Whether one of the sorted `runs` has all of `run`.
fn covered(run: Interval, runs: &[Interval]) -> bool {
    let i = runs.partition_point(|(first, _)| *first <= run.0);
    i > 0 && runs[i - 1].1 >= run.1
}

/// Adds a run and joins what it touches.
fn insert(runs: &mut Vec<Interval>, (mut first, mut last): Interval) {
    let from = runs.partition_point(|(_, end)| end.saturating_add(1) < first);
    let to = runs.partition_point(|(start, _)| *start <= last.saturating_add(1));
    if let (Some(low), Some(high)) = (runs.get(from), to.checked_sub(1).and_then(|i| runs.get(i)))
        && from < to
    {
        (first, last) = (first.min(low.0), last.max(high.1));
    }
    runs.splice(from..to.max(from), [(first, last)]);
}

/// What is left of `run` without `runs`.
fn without(run: Interval, runs: &[Interval]) -> Vec<Interval> {
    let mut left = Vec::new();
    let mut first = run.0;
    for (start, end) in runs.iter().filter(|(start, end)| *end >= run.0 && *start <= run.1) {
        if *start > first {
            left.push((first, start - 1));
        }
        first = first.max(end + 1);
    }
    if first <= run.1 {
        left.push((first, run.1));
    }
    left
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = None;
        for ((server, tag), runs) in &self.0 {
            if before != Some(server) {
                write!(f, "{}{server}", if before.is_some() { "," } else { "" })?;
                before = Some(server);
            }
            if !tag.is_empty() {
                write!(f, ":{tag}")?;
            }
            for (first, last) in runs {
                match first == last {
                    true => write!(f, ":{first}")?,
                    false => write!(f, ":{first}-{last}")?,
                }
            }
        }
        Ok(())
    }
}

impl FromStr for GtidSet {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut set = GtidSet::default();
        // The server writes a line break behind each comma.
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let mut pieces = part.split(':').map(str::trim);
            let server: Uuid = pieces.next().unwrap_or_default().parse()?;
            let (mut tag, mut empty) = (String::new(), true);
            for piece in pieces {
                if is_tag(piece) {
                    tag = piece.to_ascii_lowercase();
                } else {
                    let run = interval(piece)?;
                    insert(set.0.entry((server, tag.clone())).or_default(), run);
                    empty = false;
                }
            }
            if empty {
                return Err(ParseError { part: part.to_owned(), expected: "uuid:first-last" });
            }
        }
        Ok(set)
    }
}

fn is_tag(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.len() <= TAG_LENGTH_MAX
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn interval(text: &str) -> Result<Interval, ParseError> {
    let number = |part: &str| part.trim().parse().ok().filter(|n| (1..=NUMBER_MAX).contains(n));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err(ParseError { part: text.to_owned(), expected: "a number or a range of numbers" }),
    }
}

impl TryFrom<String> for GtidSet {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<GtidSet> for String {
    fn from(set: GtidSet) -> String {
        set.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "f0000000-0000-0000-0000-000000000001";

    fn set(text: &str) -> GtidSet {
        text.replace('A', A).replace('B', B).parse().unwrap()
    }

    #[test]
    fn text_reads_back_in_the_servers_own_order() {
        for text in ["", "A:1", "A:1-5:7", "A:1-5:7,B:3", "A:1:backup:1-2:9,B:tag:5"] {
            let text = text.replace('A', A).replace('B', B);
            assert_eq!(text.parse::<GtidSet>().unwrap().to_string(), text);
        }
        assert_eq!(set("B:2 , \nA:4-5:1-3:Nightly:2"), set("A:1-5:nightly:2,B:2"));
    }

    #[test]
    fn text_that_is_no_set_is_refused() {
        for text in
            ["x", "A", "A:", "A:0", "A:5-3", "A:1-2-3", "A:1,,B", "A:tag", "A:9223372036854775807", "zz:1", "é:1"]
        {
            assert!(text.replace('A', A).replace('B', B).parse::<GtidSet>().is_err(), "{text}");
        }
        assert!(set("A:9223372036854775806").contains(&Gtid {
            server: A.parse().unwrap(),
            tag: String::new(),
            number: 9_223_372_036_854_775_806,
        }));
    }

    #[test]
    fn gaps_are_kept() {
        let mut seen = set("A:1-5:7");
        let gtid = |number| Gtid { server: A.parse().unwrap(), tag: String::new(), number };
        assert!(!seen.contains(&gtid(6)) && seen.contains(&gtid(7)));
        seen.add(&gtid(8));
        assert_eq!(seen, set("A:1-5:7-8"));
        seen.add(&gtid(6));
        assert_eq!(seen, set("A:1-8"));
        assert_eq!(set("A:1-10").subtract(&set("A:3:5-6,B:1")), set("A:1-2:4:7-10"));
        assert!(set("A:2:4").is_subset(&set("A:1-5")) && !set("A:4-6").is_subset(&set("A:1-5:7")));
        assert!(!set("A:t:1").is_subset(&set("A:1-5")), "a tag is another sequence");
    }

    proptest! {
        /// Against sets of numbers.
        #[test]
        fn algebra_is_that_of_sets(a in proptest::collection::vec(1u64..40, 0..30), b in proptest::collection::vec(1u64..40, 0..30)) {
            let server: Uuid = A.parse().unwrap();
            let make = |numbers: &[u64]| {
                let mut out = GtidSet::default();
                numbers.iter().for_each(|n| out.add(&Gtid { server, tag: String::new(), number: *n }));
                out
            };
            let of = |numbers: BTreeSet<u64>| make(&numbers.into_iter().collect::<Vec<_>>());
            let (left, right): (BTreeSet<u64>, BTreeSet<u64>) = (a.iter().copied().collect(), b.iter().copied().collect());
            let (x, y) = (make(&a), make(&b));
            prop_assert_eq!(x.union(&y), of(left.union(&right).copied().collect()));
            prop_assert_eq!(x.subtract(&y), of(left.difference(&right).copied().collect()));
            prop_assert_eq!(x.is_subset(&y), left.is_subset(&right));
            prop_assert_eq!(x.to_string().parse::<GtidSet>().unwrap(), x);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9a-f:, -]{0,80}") {
            let _ = text.parse::<GtidSet>();
        }
    }
}
