//! What all generators share: padding text, channels and their URLs, and the words of people's names.
//!
//! Text columns are views into these: a row of a bid copies no text.

use std::sync::{Arc, LazyLock};

use arrow::array::{StringViewArray, StringViewBuilder};
use arrow::buffer::Buffer;

use super::random::Random;

pub(super) const FIRST_NAMES: [&str; 11] =
    ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
pub(super) const LAST_NAMES: [&str; 9] =
    ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
pub(super) const CITIES: [&str; 10] =
    ["Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"];
pub(super) const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
/// Channels that half of the bids come through. In [`Tables::channels`] they stand behind the others.
pub(super) const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];
/// The other channels.
pub(super) const CHANNELS: u32 = 10_000;
/// Characters of padding text.
pub(super) const POOL_BYTES: u32 = 1 << 20;

const TABLES_SEED: i64 = -1;
const POOL_SEED: i64 = -2;
const POOL_WORD: usize = 6;

/// The shared texts.
pub(super) struct Tables {
    /// Padding text, ASCII.
    pub(super) pool: Buffer,
    /// `channel-0` … `channel-9999`, then the hot ones.
    pub(super) channels: Arc<StringViewArray>,
    /// Their URLs.
    pub(super) urls: Arc<StringViewArray>,
}

/// The tables; made at the first use, in some milliseconds.
pub(super) fn tables() -> &'static Tables {
    static TABLES: LazyLock<Tables> = LazyLock::new(|| {
        let (channels, urls) = channels();
        Tables { pool: Buffer::from_vec(pool()), channels, urls }
    });
    &TABLES
}

fn pool() -> Vec<u8> {
    let mut random = Random::new(POOL_SEED);
    let mut pool = Vec::with_capacity(POOL_BYTES as usize + POOL_WORD);
    while pool.len() < POOL_BYTES as usize {
        let mut number = random.int();
        for _ in 0..POOL_WORD {
            // The remainder has the sign of the number: characters go from 'H' to 'z'.
            pool.push((i32::from(b'a') + number % 26) as u8);
            number /= 26;
        }
    }
    pool.truncate(POOL_BYTES as usize);
    pool
}

fn channels() -> (Arc<StringViewArray>, Arc<StringViewArray>) {
    let mut random = Random::new(TABLES_SEED);
    let hot = HOT_CHANNELS.map(|_| base_url(&mut random));
    let mut names = StringViewBuilder::with_capacity(CHANNELS as usize + HOT_CHANNELS.len());
    let mut urls = StringViewBuilder::with_capacity(CHANNELS as usize + HOT_CHANNELS.len());
    for i in 0..CHANNELS {
        let mut url = base_url(&mut random);
        if random.below(10) > 0 {
            // Java's abs of the smallest number is itself.
            let id = (i.reverse_bits() as i32).wrapping_abs();
            url.push_str(&format!("&channel_id={id}"));
        }
        names.append_value(format!("channel-{i}"));
        urls.append_value(url);
    }
    HOT_CHANNELS.iter().for_each(|name| names.append_value(name));
    hot.iter().for_each(|url| urls.append_value(url));
    (Arc::new(names.finish()), Arc::new(urls.finish()))
}

fn base_url(random: &mut Random) -> String {
    let mut url = String::from("https://www.nexmark.com/");
    for _ in 0..3 {
        random.text(5, b'_', &mut url);
        url.push('/');
    }
    url.push_str("item.htm?query=1");
    url
}

/// A view of `pool[offset..offset + len]`, as the first buffer of an array.
#[inline]
pub(super) fn pool_view(pool: &[u8], offset: u32, len: u32) -> u128 {
    const INLINE_BYTES_MAX: u32 = 12;
    let at = offset as usize;
    if len > INLINE_BYTES_MAX {
        let mut prefix = [0; 4];
        prefix.copy_from_slice(&pool[at..at + 4]);
        u128::from(len) | u128::from(u32::from_le_bytes(prefix)) << 32 | u128::from(offset) << 96
    } else {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&len.to_le_bytes());
        bytes[4..4 + len as usize].copy_from_slice(&pool[at..at + len as usize]);
        u128::from_le_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_and_urls_are_the_pinned_ones() {
        let tables = tables();
        assert!(tables.pool.starts_with(br"II]L\Tegfadp[LY^a\rmpbwizljjermylnqyaMPUT[RRX[ZKOZS`V`ssbziq"));
        assert!(tables.pool.ends_with(br"mkuaukdonddzhqilMX\]"));
        let url = |i| tables.urls.value(i);
        for (i, directories) in
            [(10_000, "x_wx/anf/lxw"), (10_001, "b_hs/wio/xzak"), (10_002, "mmq_/pmfv/fhjj"), (10_003, "xyb_/tcf/reho")]
        {
            assert_eq!(url(i), format!("https://www.nexmark.com/{directories}/item.htm?query=1"));
        }
        assert!(url(0).ends_with("/bcl/_mt/xqt/item.htm?query=1&channel_id=0"), "{}", url(0));
        assert!(url(1).ends_with("/trdo/pqzh/crt/item.htm?query=1&channel_id=-2147483648"), "{}", url(1));
        assert!(url(2).ends_with("/phd/h_bu/yrfl/item.htm?query=1"), "{}", url(2));
        assert_eq!((tables.channels.value(9_999), tables.channels.value(10_003)), ("channel-9999", "Apple"));
    }

    #[test]
    fn views_of_any_length_read_as_the_pool() {
        let pool = &tables().pool;
        let spans = [(0, 0), (5, 1), (7, 12), (7, 13), (POOL_BYTES - 80, 80)];
        let views: Vec<u128> = spans.iter().map(|(offset, len)| pool_view(pool, *offset, *len)).collect();
        let array = StringViewArray::try_new(views.into(), vec![pool.clone()], None).unwrap();
        for (i, (offset, len)) in spans.into_iter().enumerate() {
            assert_eq!(array.value(i).as_bytes(), &pool[offset as usize..(offset + len) as usize]);
        }
    }
}
