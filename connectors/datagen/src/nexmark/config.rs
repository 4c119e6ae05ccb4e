//! The arithmetic of events: kinds, ids, times, sizes.
//!
//! Event `k` (from 0) has number `n = k + 1` and id `k + 2`. With the usual proportions 1 : 3 : 46:
//! ```text
//! id % 50     0        1 2 3      4 … 49
//! kind        person   auction    bid
//! ```

use super::random::{Random, unit};
use super::tables::POOL_BYTES;

/// 2023-12-31T23:59:55Z, in milliseconds: where the pinned variant's time starts.
pub(super) const BASE_TIME_MS: i64 = 1_704_067_195_000;
pub(super) const FIRST_PERSON_ID: i64 = 1_000;
pub(super) const FIRST_AUCTION_ID: i64 = 1_000;
pub(super) const FIRST_CATEGORY_ID: i64 = 10;
pub(super) const CATEGORIES: u32 = 5;
/// Every so many-th person, auction is a hot one.
pub(super) const HOT_EVERY: i64 = 100;
pub(super) const HOT_CHANNELS_RATIO: u32 = 2;
const ACTIVE_PEOPLE: i64 = 1_000;
const IN_FLIGHT_AUCTIONS: i64 = 100;
const PERSON_ID_LEAD: i64 = 10;
const AUCTION_ID_LEAD: i64 = 10;

/// What happens in an event; the numbers are those of `event_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Person = 0,
    Auction = 1,
    Bid = 2,
}

/// A checked configuration.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) events_per_second: f64,
    pub(super) persons: i64,
    pub(super) auctions: i64,
    pub(super) bids: i64,
    pub(super) person_bytes: u32,
    pub(super) auction_bytes: u32,
    pub(super) bid_bytes: u32,
    pub(super) hot_auctions: u32,
    pub(super) hot_bidders: u32,
    pub(super) hot_sellers: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            events_per_second: 10_000.0,
            persons: 1,
            auctions: 3,
            bids: 46,
            person_bytes: 200,
            auction_bytes: 500,
            bid_bytes: 100,
            hot_auctions: 2,
            hot_bidders: 4,
            hot_sellers: 4,
        }
    }
}

impl Config {
    /// Events of one round: so many persons, auctions and bids.
    pub(super) fn round(&self) -> i64 {
        self.persons + self.auctions + self.bids
    }

    /// The kind of the event with this id.
    #[cfg(test)]
    pub(super) fn kind(&self, id: i64) -> Kind {
        match id % self.round() {
            rem if rem < self.persons => Kind::Person,
            rem if rem < self.persons + self.auctions => Kind::Auction,
            _ => Kind::Bid,
        }
    }

    /// When event number `n` happens, milliseconds since 1970.
    #[inline]
    pub(super) fn time_ms(&self, n: i64) -> i64 {
        BASE_TIME_MS + (n as f64 * (1e6 / self.events_per_second)) as i64 / 1_000
    }

    /// When the event with this id happens.
    #[inline]
    pub(super) fn time_of(&self, id: i64) -> i64 {
        self.time_ms(id - 1)
    }

    /// The newest person at event `id`, from 0.
    pub(super) fn last_person(&self, id: i64) -> i64 {
        id / self.round() * self.persons + (id % self.round()).min(self.persons - 1)
    }

    /// The newest auction at event `id`, from 0.
    pub(super) fn last_auction(&self, id: i64) -> i64 {
        let (round, offset) = (id / self.round(), id % self.round());
        if offset < self.persons {
            (round - 1) * self.auctions + self.auctions - 1
        } else {
            round * self.auctions + (offset - self.persons).min(self.auctions - 1)
        }
    }

    /// People to draw from: the first, and how many.
    pub(super) fn people(last_person: i64) -> (i64, i64) {
        let people = last_person + 1;
        let active = people.min(ACTIVE_PEOPLE);
        (people - active, active + PERSON_ID_LEAD)
    }

    /// Auctions to draw from: the first, and how many.
    pub(super) fn open_auctions(last_auction: i64) -> (i64, i64) {
        let first = (last_auction - IN_FLIGHT_AUCTIONS).max(0);
        (first, last_auction - first + 1 + AUCTION_ID_LEAD)
    }

    pub(super) fn random_person(&self, id: i64, random: &mut Random) -> i64 {
        let (first, count) = Self::people(self.last_person(id));
        first + random.bounded(count)
    }

    pub(super) fn random_auction(&self, id: i64, random: &mut Random) -> i64 {
        let (first, count) = Self::open_auctions(self.last_auction(id));
        first + random.bounded(count)
    }

    /// When the auction of event `id` ends.
    pub(super) fn expires(&self, id: i64, random: &mut Random) -> i64 {
        let now = self.time_of(id);
        let events = IN_FLIGHT_AUCTIONS * self.round() / self.auctions.max(1);
        let horizon = self.time_ms(id - 1 + events) - now;
        now + 1 + random.bounded((horizon * 2).max(1))
    }
}

/// The sizes padding may have: from `min`, `choices` of them (0 or 1: no draw). `None`: no padding at all.
pub(super) fn padding(current: u32, average: u32) -> Option<(u32, u32)> {
    let rest = average.checked_sub(current)?;
    let delta = (f64::from(rest) * 0.2 + 0.5).floor() as u32;
    Some((rest - delta, 2 * delta))
}

/// Draws padding: where in the pool, and how long.
pub(super) fn extra(current: u32, average: u32, random: &mut Random) -> (u32, u32) {
    let Some((min, choices)) = padding(current, average) else { return (0, 0) };
    let len = min + if choices == 0 { 0 } else { random.below(choices) };
    (random.below(POOL_BYTES - len), len)
}

/// A price in cents, from a draw: `round(10^(6 u) * 100)`.
pub(super) fn price_exactly(u: f64) -> i64 {
    (10f64.powf(u * 6.0) * 100.0 + 0.5).floor() as i64
}

/// Draws a price.
pub(super) fn price(random: &mut Random) -> i64 {
    price_exactly(random.double())
}

/// [`price_exactly`] without the library's power function.
///
/// `10^y = 2^t`, `t = m/128 + f`: a table for `m mod 128`, the exponent bits for the rest, a polynomial for `f`. Its
/// relative error stays below 4e-15; where that could change the rounding, the library decides.
pub(super) struct Prices([u64; Self::STEPS]);

impl Prices {
    const STEPS: usize = 128;
    /// Five times the error that `t` (below 20, half a unit in its last place) and the polynomial can have.
    const ERROR: f64 = 2e-14;

    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|i| (i as f64 / Self::STEPS as f64).exp2().to_bits()))
    }

    #[inline]
    pub(super) fn of(&self, draw: u64) -> i64 {
        let u = unit(draw);
        let steps = Self::STEPS as f64;
        let t = u * 6.0 * std::f64::consts::LOG2_10;
        let m = (t * steps + 0.5) as u64;
        let r = (t - m as f64 / steps) * std::f64::consts::LN_2;
        let tail = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0)))));
        let power = f64::from_bits(self.0[m as usize % Self::STEPS] + ((m / Self::STEPS as u64) << 52));
        let cents = power * tail * 100.0 + 0.5;
        let whole = cents as i64;
        let fraction = cents - whole as f64;
        let error = cents * Self::ERROR;
        if fraction < error || fraction > 1.0 - error { price_exactly(u) } else { whole }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_prices_are_the_exact_ones() {
        let prices = Prices::new();
        let mut random = Random::new(1);
        let edges = [0, u64::MAX, 1 << 11, u64::MAX - (1 << 11)];
        for draw in (0..300_000).map(|_| random.long() as u64).chain(edges) {
            assert_eq!(prices.of(draw), price_exactly(unit(draw)), "{draw}");
        }
        assert_eq!((prices.of(0), prices.of(u64::MAX)), (100, 100_000_000));
    }

    #[test]
    fn ids_start_as_documented() {
        let c = Config::default();
        let kinds: Vec<Kind> = (2..52).map(|id| c.kind(id)).collect();
        assert_eq!(
            (kinds[0], kinds[1], kinds[2], kinds[47], kinds[48]),
            (Kind::Auction, Kind::Auction, Kind::Bid, Kind::Bid, Kind::Person)
        );
        assert_eq!((c.last_auction(2), c.last_auction(3), c.last_auction(50), c.last_auction(51)), (1, 2, 2, 3));
        assert_eq!((c.last_person(2), c.last_person(50), c.last_person(51)), (0, 1, 1));
        assert_eq!([1, 9, 10, 20].map(|n| c.time_ms(n) - BASE_TIME_MS), [0, 0, 1, 2]);
        assert_eq!(padding(32, 100), Some((54, 28)));
        assert_eq!(padding(101, 100), None);
    }
}
