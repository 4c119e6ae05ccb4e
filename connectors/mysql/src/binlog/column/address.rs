//! MariaDB's UUID, INET4 and INET6: from the bytes that it stores to the text that it shows.
//!
//! ```text
//! stored  446655440000 a716 41d4 e29b 550e8400     a UUID of versions 1 to 5: the last part first, so that keys grow with time
//! shown   550e8400-e29b-41d4-a716-446655440000
//! ```
//! # Source
//! `MariaDB/server`, `plugin/type_uuid/sql_type_uuid.h`, `plugin/type_inet/sql_type_inet.cc`. Tables with UUIDs that were made
//! before 10.10.6 and 10.11.5 store versions 6 to 8 turned around too; those read wrongly until such a table is made anew.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::bytes::Fault;
use super::super::table_map::Address;

const BAD: Fault = Fault::Malformed("an address has the wrong length");

impl Address {
    /// Bytes of a value.
    pub fn bytes(self) -> usize {
        match self {
            Address::Uuid | Address::Inet6 => 16,
            Address::Inet4 => 4,
        }
    }

    /// Writes a value. Zero bytes at its end may be missing.
    pub fn write(self, stored: &[u8], out: &mut String) -> Result<(), Fault> {
        let mut whole = [0; 16];
        whole.get_mut(..self.bytes()).and_then(|w| w.get_mut(..stored.len())).ok_or(BAD)?.copy_from_slice(stored);
        match self {
            Address::Uuid => uuid(whole, out),
            Address::Inet4 => _ = write!(out, "{}", Ipv4Addr::new(whole[0], whole[1], whole[2], whole[3])),
            Address::Inet6 => inet6(whole, out),
        }
        Ok(())
    }
}

fn uuid(stored: [u8; 16], out: &mut String) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = stored;
    // The marks of a variant and of a version where they are when it is turned around.
    let is_turned = g & 0x80 != 0 && i.wrapping_neg() & 0x80 != 0;
    let shown = if is_turned { [m, n, o, p, k, l, i, j, g, h, a, b, c, d, e, f] } else { stored };
    for (i, byte) in shown.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        let _ = write!(out, "{byte:02x}");
    }
}

/// Unlike RFC 5952, one group of zeros is left out too; of two runs as long, the first.
fn inet6(stored: [u8; 16], out: &mut String) {
    let groups = Ipv6Addr::from(stored).segments();
    let [.., a, b, c, d] = stored;
    let v4 = Ipv4Addr::new(a, b, c, d);
    match groups {
        // An IPv4 address, compatible or mapped; `::` and `::1` are none.
        [0, 0, 0, 0, 0, 0, high, _] if high != 0 => _ = write!(out, "::{v4}"),
        [0, 0, 0, 0, 0, 0xffff, ..] => _ = write!(out, "::ffff:{v4}"),
        _ => {
            let zeros = |from: usize| groups[from..].iter().take_while(|g| **g == 0).count();
            let longest = (0..8).map(zeros).max().unwrap_or_default();
            let start = (0..8).find(|i| longest > 0 && zeros(*i) == longest).unwrap_or(8);
            for (i, group) in groups.iter().enumerate() {
                match i {
                    _ if i == start => out.push_str("::"),
                    _ if i > start && i < start + longest => {}
                    _ => {
                        let is_behind_colon = i == 0 || i == start + longest;
                        let _ = write!(out, "{}{group:x}", if is_behind_colon { "" } else { ":" });
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_the_server_shows_them() {
        let shown = |address: Address, stored: &[u8]| {
            let mut out = String::new();
            address.write(stored, &mut out).map(|()| out)
        };
        let turned = [0x44, 0x66, 0x55, 0x44, 0, 0, 0xa7, 0x16, 0x41, 0xd4, 0xe2, 0x9b, 0x55, 0x0e, 0x84, 0];
        assert_eq!(shown(Address::Uuid, &turned).unwrap(), "550e8400-e29b-41d4-a716-446655440000");
        assert_eq!(shown(Address::Uuid, &turned[..15]).unwrap(), "550e8400-e29b-41d4-a716-446655440000");
        assert_eq!(shown(Address::Uuid, &[]).unwrap(), "00000000-0000-0000-0000-000000000000");
        assert_eq!(shown(Address::Inet4, &[10, 0, 0]).unwrap(), "10.0.0.0");
        assert_eq!(shown(Address::Inet6, &[0x20, 0x01, 0x0d, 0xb8]).unwrap(), "2001:db8::");
        assert_eq!(shown(Address::Inet6, &[]).unwrap(), "::");
        assert_eq!(shown(Address::Inet6, &[0, 1, 0, 2, 0, 0, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8]).unwrap(), "1:2::4:5:6:7:8");
        assert_eq!(shown(Address::Inet4, &[1; 5]), Err(BAD));
        assert_eq!(shown(Address::Uuid, &[1; 17]), Err(BAD));
    }
}
