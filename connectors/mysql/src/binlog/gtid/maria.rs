//! MariaDB's transaction ids: a sequence per domain.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ParseError;

/// One transaction, with what its event says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MariaGtid {
    /// Which independent stream.
    pub domain: u32,
    /// Where it was committed first.
    pub server: u32,
    /// Its number in the domain.
    pub sequence: u64,
    /// [`MariaGtid::STANDALONE`] and others.
    pub flags: u8,
}

impl MariaGtid {
    /// The transaction is the one event that follows, and no COMMIT ends it.
    pub const STANDALONE: u8 = 1;
    /// It was committed together with others; their common number follows.
    pub const GROUP_COMMIT: u8 = 2;
    /// It is prepared by XA and commits (or not) in another one.
    pub const PREPARED_XA: u8 = 64;
    /// It commits or rolls back what was prepared before.
    pub const COMPLETED_XA: u8 = 128;

    /// Whether it has this flag.
    pub fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

impl fmt::Display for MariaGtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.domain, self.server, self.sequence)
    }
}

/// The last transaction of each domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MariaPosition(BTreeMap<u32, (u32, u64)>);

impl MariaPosition {
    /// Whether no transaction was seen.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The transaction was seen.
    pub fn add(&mut self, gtid: &MariaGtid) {
        self.0.insert(gtid.domain, (gtid.server, gtid.sequence));
    }

    /// Whether the transaction was seen: its domain is at it or further.
    pub fn contains(&self, gtid: &MariaGtid) -> bool {
        self.0.get(&gtid.domain).is_some_and(|(_, sequence)| *sequence >= gtid.sequence)
    }

    /// Whether every transaction that was seen here was seen in `other`; `None` when some domain is ahead in each.
    pub fn compare(&self, other: &MariaPosition) -> Option<Ordering> {
        let sequence = |p: &MariaPosition, domain: &u32| p.0.get(domain).map_or(0, |(_, sequence)| *sequence);
        let mut order = Ordering::Equal;
        for domain in self.0.keys().chain(other.0.keys()) {
            match (order, sequence(self, domain).cmp(&sequence(other, domain))) {
                (_, Ordering::Equal) => {}
                (Ordering::Equal, new) => order = new,
                (old, new) if old == new => {}
                _ => return None,
            }
        }
        Some(order)
    }
}

impl fmt::Display for MariaPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (domain, (server, sequence))) in self.0.iter().enumerate() {
            write!(f, "{}{domain}-{server}-{sequence}", if i > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for MariaPosition {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut domains = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let error = |expected| ParseError { part: part.to_owned(), expected };
            let pieces: Vec<_> = part.split('-').collect();
            let [domain, server, sequence] = pieces[..] else {
                return Err(error("domain-server-sequence"));
            };
            let (Ok(domain), Ok(server), Ok(sequence)) = (domain.parse(), server.parse(), sequence.parse()) else {
                return Err(error("domain-server-sequence"));
            };
            if domains.insert(domain, (server, sequence)).is_some() {
                return Err(error("the only one of its domain"));
            }
        }
        Ok(Self(domains))
    }
}

impl TryFrom<String> for MariaPosition {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<MariaPosition> for String {
    fn from(position: MariaPosition) -> String {
        position.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> MariaPosition {
        text.parse().unwrap()
    }

    #[test]
    fn position_is_ahead_only_if_no_domain_is_behind() {
        assert_eq!(at("0-1-5,1-1-3").compare(&at("0-2-5,1-1-3")), Some(Ordering::Equal));
        assert_eq!(at("0-1-5").compare(&at("0-1-5,1-1-3")), Some(Ordering::Less));
        assert_eq!(at("0-1-6,1-1-3").compare(&at("0-1-5,1-1-3")), Some(Ordering::Greater));
        assert_eq!(at("0-1-6,1-1-2").compare(&at("0-1-5,1-1-3")), None);
        let gtid = MariaGtid { domain: 1, server: 9, sequence: 3, flags: MariaGtid::STANDALONE };
        assert!(
            at("0-1-5,1-1-3").contains(&gtid) && !at("0-1-5,1-1-2").contains(&gtid) && !at("0-1-5").contains(&gtid)
        );
        assert!(gtid.is(MariaGtid::STANDALONE) && !gtid.is(MariaGtid::COMPLETED_XA));
    }

    #[test]
    fn text_reads_back() {
        assert_eq!(at("1-1-3, 0-2-18446744073709551615").to_string(), "0-2-18446744073709551615,1-1-3");
        for wrong in ["0-1", "0-1-x", "0-1-2-3", "0-1-2,0-1-3", "-1-2-3"] {
            assert!(wrong.parse::<MariaPosition>().is_err(), "{wrong}");
        }
    }
}
