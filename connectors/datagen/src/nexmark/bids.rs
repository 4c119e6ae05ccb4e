//! Bids, column by column.
//!
//! The draws of event `id` are a function of their place: draw `j` is `mix(id + j * GAMMA)`. Which place a draw has depends
//! on the draws before it in two ways. A hot auction (bidder) takes one draw, any other takes two: a choice that is computed
//! without a branch. And a draw that [`Random::below`] rejects is repeated: so rare that such an event is made by the plain
//! generator ([`bid`]) instead.
//!
//! Within a round the newest person and auction stand still while bids are made, so their bounds are computed per round.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringViewArray, TimestampMillisecondArray, UInt32Array};
use arrow::compute::take;
use arrow::error::ArrowError;

use super::config::{self, Config, FIRST_AUCTION_ID, FIRST_PERSON_ID, HOT_CHANNELS_RATIO, HOT_EVERY, Prices};
use super::random::{GAMMA, Random, Remainder, mix32, mix64};
use super::tables::{CHANNELS, HOT_CHANNELS, POOL_BYTES, pool_view, tables};

/// Fields in the order of the benchmark's table.
pub(super) const FIELDS: [&str; 7] = ["auction", "bidder", "price", "channel", "url", "dateTime", "extra"];

/// Bytes of a bid beside its padding.
const OWN_BYTES: u32 = 32;

/// A bid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bid {
    auction: i64,
    bidder: i64,
    price: i64,
    /// Into the tables of channels and URLs.
    channel: u32,
    /// Into the padding: where, and how long.
    extra: (u32, u32),
}

/// The bid of event `id`, draw by draw.
fn bid(config: &Config, id: i64) -> Bid {
    let random = &mut Random::new(id);
    let auction = if random.below(config.hot_auctions) > 0 {
        config.last_auction(id) / HOT_EVERY * HOT_EVERY
    } else {
        config.random_auction(id, random)
    };
    let bidder = if random.below(config.hot_bidders) > 0 {
        config.last_person(id) / HOT_EVERY * HOT_EVERY + 1
    } else {
        config.random_person(id, random)
    };
    let price = config::price(random);
    let channel = if random.below(HOT_CHANNELS_RATIO) > 0 {
        CHANNELS + random.below(HOT_CHANNELS.len() as u32)
    } else {
        random.below(CHANNELS)
    };
    let extra = config::extra(OWN_BYTES, config.bid_bytes, random);
    // The first person's id is added twice, as the original does.
    Bid { auction: auction + FIRST_AUCTION_ID, bidder: bidder + 2 * FIRST_PERSON_ID, price, channel, extra }
}

/// Makes columns of bids.
pub(super) struct Bids {
    config: Arc<Config>,
    /// Which of [`FIELDS`] are read.
    wanted: [bool; FIELDS.len()],
    /// Both ratios are powers of two, so that their draws are never rejected.
    fast: bool,
    prices: Prices,
    channel: Remainder,
    /// The sizes of padding, and for each the remainder that draws its place.
    sizes: Option<(u32, Remainder, Vec<Remainder>)>,
    auctions: Vec<i64>,
    bidders: Vec<i64>,
    amounts: Vec<i64>,
    channels: Vec<u32>,
    times: Vec<i64>,
    extras: Vec<u128>,
}

/// What stands still while the bids of a round are made.
#[derive(Clone, Copy)]
struct Bounds {
    hot_auction: i64,
    first_auction: i64,
    auctions: Remainder,
    hot_bidder: i64,
    first_bidder: i64,
    bidders: Remainder,
}

impl Bids {
    pub(super) fn new(config: Arc<Config>, wanted: [bool; FIELDS.len()]) -> Self {
        let sizes = config::padding(OWN_BYTES, config.bid_bytes).filter(|(_, choices)| *choices > 1);
        let sizes = sizes.map(|(min, choices)| {
            let places = (min..min + choices).map(|len| Remainder::by(POOL_BYTES - len)).collect();
            (min, Remainder::by(choices), places)
        });
        let fast = config.hot_auctions.is_power_of_two()
            && config.hot_bidders.is_power_of_two()
            && sizes.as_ref().is_some_and(|(_, choices, places): &(u32, Remainder, Vec<Remainder>)| {
                // Powers of two take the low bits of a draw instead: the plain generator knows.
                !choices.divisor().is_power_of_two() && places.iter().all(|p| !p.divisor().is_power_of_two())
            });
        Self {
            config,
            wanted,
            fast,
            prices: Prices::new(),
            channel: Remainder::by(CHANNELS),
            sizes,
            auctions: Vec::new(),
            bidders: Vec::new(),
            amounts: Vec::new(),
            channels: Vec::new(),
            times: Vec::new(),
            extras: Vec::new(),
        }
    }

    /// Makes room for `rows` bids.
    pub(super) fn reserve(&mut self, rows: usize) {
        let [auction, bidder, price, channel, url, time, extra] = self.wanted;
        for (wanted, column) in [
            (auction, &mut self.auctions),
            (bidder, &mut self.bidders),
            (price, &mut self.amounts),
            (time, &mut self.times),
        ] {
            if wanted {
                column.reserve_exact(rows);
            }
        }
        if channel || url {
            self.channels.reserve(rows);
        }
        if extra {
            self.extras.reserve_exact(rows);
        }
    }

    /// Makes the bids of the events `ids`, all of which are bids of one round.
    pub(super) fn make(&mut self, ids: Range<i64>) {
        if self.wanted[5] {
            let config = &self.config;
            self.times.extend(ids.clone().map(|id| config.time_of(id)));
        }
        if !self.fast {
            ids.for_each(|id| self.push(bid(&self.config, id)));
            return;
        }
        let bounds = self.bounds(ids.start);
        if bounds.auctions.divisor().is_power_of_two() || bounds.bidders.divisor().is_power_of_two() {
            ids.for_each(|id| self.push(bid(&self.config, id)));
            return;
        }
        for id in ids {
            self.one(id, &bounds);
        }
    }

    fn bounds(&self, id: i64) -> Bounds {
        let (last_auction, last_person) = (self.config.last_auction(id), self.config.last_person(id));
        let (first_auction, auctions) = Config::open_auctions(last_auction);
        let (first_bidder, bidders) = Config::people(last_person);
        Bounds {
            hot_auction: last_auction / HOT_EVERY * HOT_EVERY + FIRST_AUCTION_ID,
            first_auction: first_auction + FIRST_AUCTION_ID,
            auctions: Remainder::by(auctions as u32),
            hot_bidder: last_person / HOT_EVERY * HOT_EVERY + 1 + 2 * FIRST_PERSON_ID,
            first_bidder: first_bidder + 2 * FIRST_PERSON_ID,
            bidders: Remainder::by(bidders as u32),
        }
    }

    #[inline]
    fn one(&mut self, id: i64, bounds: &Bounds) {
        let [auction, bidder, price, channel, url, _, extra] = self.wanted;
        // The state before the draws for the auction, the bidder, the price, the channel and the padding.
        let at = id as u64;
        let hot = mix32(at.wrapping_add(GAMMA)) & (self.config.hot_auctions - 1) > 0;
        let u_auction = mix32(at.wrapping_add(GAMMA.wrapping_mul(2))) >> 1;
        let mut odd = !hot & bounds.auctions.may_reject(u_auction);
        let auction_id =
            if hot { bounds.hot_auction } else { bounds.first_auction + i64::from(bounds.auctions.of(u_auction)) };

        let at = at.wrapping_add(GAMMA.wrapping_mul(1 + u64::from(!hot)));
        let hot = mix32(at.wrapping_add(GAMMA)) & (self.config.hot_bidders - 1) > 0;
        let u_bidder = mix32(at.wrapping_add(GAMMA.wrapping_mul(2))) >> 1;
        odd |= !hot & bounds.bidders.may_reject(u_bidder);
        let bidder_id =
            if hot { bounds.hot_bidder } else { bounds.first_bidder + i64::from(bounds.bidders.of(u_bidder)) };

        let at = at.wrapping_add(GAMMA.wrapping_mul(1 + u64::from(!hot))).wrapping_add(GAMMA);
        let draw = mix64(at);

        let (mut channel_id, mut view) = (0, 0);
        if channel || url || extra {
            let hot = mix32(at.wrapping_add(GAMMA)) & (HOT_CHANNELS_RATIO - 1) > 0;
            let u = mix32(at.wrapping_add(GAMMA.wrapping_mul(2)));
            odd |= !hot & self.channel.may_reject(u >> 1);
            channel_id = if hot { CHANNELS + (u & (HOT_CHANNELS.len() as u32 - 1)) } else { self.channel.of(u >> 1) };
            if extra && let Some((min, choices, places)) = &self.sizes {
                let u_size = mix32(at.wrapping_add(GAMMA.wrapping_mul(3))) >> 1;
                let u_place = mix32(at.wrapping_add(GAMMA.wrapping_mul(4))) >> 1;
                let choice = choices.of(u_size);
                let place = places[choice as usize];
                odd |= choices.may_reject(u_size) | place.may_reject(u_place);
                view = pool_view(&tables().pool, place.of(u_place), min + choice);
            }
        }
        if odd {
            self.push(bid(&self.config, id));
            return;
        }
        if auction {
            self.auctions.push(auction_id);
        }
        if bidder {
            self.bidders.push(bidder_id);
        }
        if price {
            self.amounts.push(self.prices.of(draw));
        }
        if channel || url {
            self.channels.push(channel_id);
        }
        if extra {
            self.extras.push(view);
        }
    }

    fn push(&mut self, bid: Bid) {
        let [auction, bidder, price, channel, url, _, extra] = self.wanted;
        if auction {
            self.auctions.push(bid.auction);
        }
        if bidder {
            self.bidders.push(bid.bidder);
        }
        if price {
            self.amounts.push(bid.price);
        }
        if channel || url {
            self.channels.push(bid.channel);
        }
        if extra {
            self.extras.push(pool_view(&tables().pool, bid.extra.0, bid.extra.1));
        }
    }

    /// Takes out the columns, in the order of [`FIELDS`]; those nobody reads are `None`.
    pub(super) fn finish(&mut self) -> Result<[Option<ArrayRef>; FIELDS.len()], ArrowError> {
        let ints = |wanted: bool, column: &mut Vec<i64>| {
            wanted.then(|| Arc::new(Int64Array::from(std::mem::take(column))) as ArrayRef)
        };
        let [auction, bidder, price, channel, url, time, extra] = self.wanted;
        let indices = UInt32Array::from(std::mem::take(&mut self.channels));
        let tables = tables();
        let named = |wanted: bool, table: &StringViewArray| wanted.then(|| take(table, &indices, None)).transpose();
        let extras = std::mem::take(&mut self.extras);
        let extras =
            extra.then(|| StringViewArray::try_new(extras.into(), vec![tables.pool.clone()], None)).transpose()?;
        let times = std::mem::take(&mut self.times);
        Ok([
            ints(auction, &mut self.auctions),
            ints(bidder, &mut self.bidders),
            ints(price, &mut self.amounts),
            named(channel, &tables.channels)?,
            named(url, &tables.urls)?,
            time.then(|| Arc::new(TimestampMillisecondArray::from(times)) as ArrayRef),
            extras.map(|a| Arc::new(a) as ArrayRef),
        ])
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;

    use super::*;

    fn check(config: Config, ids: Range<i64>) {
        let config = Arc::new(config);
        let all = Bids::new(config.clone(), [true; FIELDS.len()]);
        assert!(all.fast, "this test is about the columnar path");
        for wanted in [
            [true; 7],
            [true, false, true, false, false, false, false],
            [false, false, false, false, false, false, true],
        ] {
            let mut bids = Bids::new(config.clone(), wanted);
            let mut expected = Vec::new();
            for id in ids.clone().filter(|id| config.kind(*id) == config::Kind::Bid) {
                bids.make(id..id + 1);
                expected.push(bid(&config, id));
            }
            let columns = bids.finish().unwrap();
            let text = |i: usize, row: usize| columns[i].as_ref().map(|c| c.as_string_view().value(row).to_owned());
            let int = |i: usize, row: usize| columns[i].as_ref().map(|c| c.as_primitive::<Int64Type>().value(row));
            for (row, bid) in expected.iter().enumerate() {
                assert_eq!(int(0, row).unwrap_or(bid.auction), bid.auction);
                assert_eq!(int(1, row).unwrap_or(bid.bidder), bid.bidder);
                assert_eq!(int(2, row).unwrap_or(bid.price), bid.price);
                let named = tables().urls.value(bid.channel as usize);
                assert_eq!(text(4, row).unwrap_or(named.to_owned()), named);
                let padding = &tables().pool[bid.extra.0 as usize..][..bid.extra.1 as usize];
                assert_eq!(text(6, row).unwrap_or_default().len(), if wanted[6] { padding.len() } else { 0 });
                assert!(text(6, row).is_none_or(|t| t.as_bytes() == padding));
            }
        }
    }

    #[test]
    fn the_columnar_path_makes_the_bids_of_the_plain_one() {
        check(Config::default(), 2..30_000);
        check(Config::default(), 40_000_000_000..40_000_010_000);
        check(
            Config {
                persons: 2,
                auctions: 1,
                bids: 7,
                hot_auctions: 8,
                hot_bidders: 1,
                bid_bytes: 1_000,
                ..Config::default()
            },
            2..10_000,
        );
    }
}
