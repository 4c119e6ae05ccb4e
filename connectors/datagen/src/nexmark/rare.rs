//! Persons and auctions: 4 of 50 events, made draw by draw into builders.
//!
//! Draws behind the last field that is read are not made; text between is drawn, because later draws depend on how many it
//! took, but kept only when it is read.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringViewArray, StringViewBuilder, TimestampMillisecondArray};
use arrow::error::ArrowError;

use super::config::{self, CATEGORIES, Config, FIRST_AUCTION_ID, FIRST_CATEGORY_ID, FIRST_PERSON_ID, HOT_EVERY};
use super::random::Random;
use super::tables::{CITIES, FIRST_NAMES, LAST_NAMES, STATES, pool_view, tables};

/// Fields of a person in the order of the benchmark's table.
pub(super) const PERSON_FIELDS: [&str; 8] =
    ["id", "name", "emailAddress", "creditCard", "city", "state", "dateTime", "extra"];
/// Fields of an auction in the order of the benchmark's table.
pub(super) const AUCTION_FIELDS: [&str; 10] =
    ["id", "itemName", "description", "initialBid", "reserve", "dateTime", "expires", "seller", "category", "extra"];

/// Bytes of a person, and of an auction, beside the texts.
const PERSON_OWN_BYTES: u32 = 8;
const AUCTION_OWN_BYTES: u32 = 8 + 5 * 8;

fn ints(wanted: bool, column: &mut Vec<i64>) -> Option<ArrayRef> {
    wanted.then(|| Arc::new(Int64Array::from(std::mem::take(column))) as ArrayRef)
}

fn times(wanted: bool, column: &mut Vec<i64>) -> Option<ArrayRef> {
    wanted.then(|| Arc::new(TimestampMillisecondArray::from(std::mem::take(column))) as ArrayRef)
}

fn texts(wanted: bool, column: &mut StringViewBuilder) -> Option<ArrayRef> {
    wanted.then(|| Arc::new(column.finish()) as ArrayRef)
}

fn paddings(wanted: bool, column: &mut Vec<u128>) -> Result<Option<ArrayRef>, ArrowError> {
    if !wanted {
        return Ok(None);
    }
    let views = std::mem::take(column);
    Ok(Some(Arc::new(StringViewArray::try_new(views.into(), vec![tables().pool.clone()], None)?)))
}

/// Makes columns of persons.
pub(super) struct Persons {
    config: Arc<Config>,
    wanted: [bool; PERSON_FIELDS.len()],
    ids: Vec<i64>,
    /// Name, address, card, city, state.
    texts: [StringViewBuilder; 5],
    times: Vec<i64>,
    extras: Vec<u128>,
    scratch: String,
}

impl Persons {
    pub(super) fn new(config: Arc<Config>, wanted: [bool; PERSON_FIELDS.len()]) -> Self {
        Self {
            config,
            wanted,
            ids: Vec::new(),
            texts: std::array::from_fn(|_| StringViewBuilder::new()),
            times: Vec::new(),
            extras: Vec::new(),
            scratch: String::new(),
        }
    }

    /// Makes the person of event `id`.
    pub(super) fn make(&mut self, id: i64) {
        if self.wanted[0] {
            self.ids.push(self.config.last_person(id) + FIRST_PERSON_ID);
        }
        if self.wanted[6] {
            self.times.push(self.config.time_of(id));
        }
        let mut random = Random::new(id);
        let extra = self.wanted[7];
        let last = (1..=5).rev().find(|i| extra || self.wanted[*i]).unwrap_or(0);
        let mut len = 0;
        for field in 1..=last {
            self.scratch.clear();
            write_text(field, &mut random, &mut self.scratch);
            len += self.scratch.len() as u32;
            if self.wanted[field] {
                self.texts[field - 1].append_value(&self.scratch);
            }
        }
        if extra {
            let (offset, len) = config::extra(PERSON_OWN_BYTES + len, self.config.person_bytes, &mut random);
            self.extras.push(pool_view(&tables().pool, offset, len));
        }
    }

    /// Takes out the columns, in the order of [`PERSON_FIELDS`]; those nobody reads are `None`.
    pub(super) fn finish(&mut self) -> Result<[Option<ArrayRef>; PERSON_FIELDS.len()], ArrowError> {
        let [id, name, email, card, city, state, time, extra] = self.wanted;
        let [names, emails, cards, cities, states] = &mut self.texts;
        Ok([
            ints(id, &mut self.ids),
            texts(name, names),
            texts(email, emails),
            texts(card, cards),
            texts(city, cities),
            texts(state, states),
            times(time, &mut self.times),
            paddings(extra, &mut self.extras)?,
        ])
    }
}

/// Draws text field `field` of a person.
fn write_text(field: usize, random: &mut Random, out: &mut String) {
    let mut pick = |words: &[&'static str]| words[random.below(words.len() as u32) as usize];
    match field {
        1 => {
            out.push_str(pick(&FIRST_NAMES));
            out.push(' ');
            out.push_str(pick(&LAST_NAMES));
        }
        2 => {
            random.text(7, b' ', out);
            out.push('@');
            random.text(5, b' ', out);
            out.push_str(".com");
        }
        3 => {
            for group in 0..4 {
                if group > 0 {
                    out.push(' ');
                }
                let digits = random.below(10_000);
                for unit in [1_000, 100, 10, 1] {
                    out.push(char::from(b'0' + (digits / unit % 10) as u8));
                }
            }
        }
        4 => out.push_str(pick(&CITIES)),
        _ => out.push_str(pick(&STATES)),
    }
}

/// Makes columns of auctions.
pub(super) struct Auctions {
    config: Arc<Config>,
    wanted: [bool; AUCTION_FIELDS.len()],
    /// Id, first bid, reserve, seller, category.
    ints: [Vec<i64>; 5],
    /// Start and end.
    times: [Vec<i64>; 2],
    /// Item and description.
    texts: [StringViewBuilder; 2],
    extras: Vec<u128>,
    scratch: String,
}

impl Auctions {
    pub(super) fn new(config: Arc<Config>, wanted: [bool; AUCTION_FIELDS.len()]) -> Self {
        Self {
            config,
            wanted,
            ints: Default::default(),
            times: Default::default(),
            texts: std::array::from_fn(|_| StringViewBuilder::new()),
            extras: Vec::new(),
            scratch: String::new(),
        }
    }

    /// Makes the auction of event `id`.
    pub(super) fn make(&mut self, id: i64) {
        let config = &self.config;
        let [own_id, item, description, first_bid, reserve, time, expires, seller, category, extra] = self.wanted;
        if own_id {
            self.ints[0].push(config.last_auction(id) + FIRST_AUCTION_ID);
        }
        if time {
            self.times[0].push(config.time_of(id));
        }
        let texts = item || description || reserve || extra;
        if !(texts || first_bid || expires || seller || category) {
            return;
        }
        let random = &mut Random::new(id);
        let seller_id = if random.below(config.hot_sellers) > 0 {
            config.last_person(id) / HOT_EVERY * HOT_EVERY
        } else {
            config.random_person(id, random)
        };
        if seller {
            self.ints[3].push(seller_id + FIRST_PERSON_ID);
        }
        let category_id = FIRST_CATEGORY_ID + i64::from(random.below(CATEGORIES));
        if category {
            self.ints[4].push(category_id);
        }
        let price = config::price(random);
        if first_bid {
            self.ints[1].push(price);
        }
        let end = config.expires(id, random);
        if expires {
            self.times[1].push(end);
        }
        if !texts {
            return;
        }
        let mut len = 0;
        for (column, max, wanted) in [(0, 20, item), (1, 100, description)] {
            self.scratch.clear();
            random.text(max, b' ', &mut self.scratch);
            len += self.scratch.len() as u32;
            if wanted {
                self.texts[column].append_value(&self.scratch);
            }
        }
        let reserve_price = price + config::price(random);
        if reserve {
            self.ints[2].push(reserve_price);
        }
        if extra {
            let (offset, len) = config::extra(AUCTION_OWN_BYTES + len, config.auction_bytes, random);
            self.extras.push(pool_view(&tables().pool, offset, len));
        }
    }

    /// Takes out the columns, in the order of [`AUCTION_FIELDS`]; those nobody reads are `None`.
    pub(super) fn finish(&mut self) -> Result<[Option<ArrayRef>; AUCTION_FIELDS.len()], ArrowError> {
        let [id, item, description, first_bid, reserve, time, expires, seller, category, extra] = self.wanted;
        let [ids, first_bids, reserves, sellers, categories] = &mut self.ints;
        let [starts, ends] = &mut self.times;
        let [items, descriptions] = &mut self.texts;
        Ok([
            ints(id, ids),
            texts(item, items),
            texts(description, descriptions),
            ints(first_bid, first_bids),
            ints(reserve, reserves),
            times(time, starts),
            times(expires, ends),
            ints(seller, sellers),
            ints(category, categories),
            paddings(extra, &mut self.extras)?,
        ])
    }
}
