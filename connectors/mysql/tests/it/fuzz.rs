//! Damaged logs: an error with a place, never a panic, never a row that is not there.

use proptest::prelude::*;

use crate::recorded::{assembler, bytes, events, lines, start, text};

const LOGS: [(&str, &str); 4] = [
    ("mysql-8.0", "types"),
    ("mysql-9.7", "documents"),
    ("mariadb-10.11", "packed"),
    ("mariadb-10.11-compressed", "squeezed"),
];

/// Rewrites the checksum, so that what is behind it is tried too.
pub(crate) fn sealed(mut event: Vec<u8>) -> Vec<u8> {
    if event.len() > 23 {
        let at = event.len() - 4;
        let size = event.len() as u32;
        event[9..13].copy_from_slice(&size.to_le_bytes());
        let crc = crc32fast::hash(&event[..at]);
        event[at..].copy_from_slice(&crc.to_le_bytes());
    }
    event
}

#[test]
fn one_wrong_bit_anywhere_is_noticed() {
    for (server, table) in LOGS {
        let file = bytes(&format!("{server}.binlog"));
        let all = events(&file);
        for (i, event) in all.iter().enumerate().skip(1) {
            let mut log = assembler(table, &[text("id")], start("log.000001"));
            log.packet(all[0]).unwrap();
            for bit in [0, 33, 37 * 8 + 3, event.len() * 8 - 1, event.len() * 4] {
                let mut wrong = event.to_vec();
                let at = (bit / 8).min(wrong.len() - 1);
                wrong[at] ^= 1 << (bit % 8);
                let error = log.packet(&wrong).unwrap_err().to_string();
                assert!(error.contains("DF5400") && error.contains("log.000001:"), "{server} {i} {bit}: {error}");
            }
        }
    }
}

#[test]
fn event_cut_anywhere_is_noticed() {
    let file = bytes("mysql-8.0.binlog");
    let all = events(&file);
    let mut log = assembler("types", &[text("id")], start("log.000001"));
    log.packet(all[0]).unwrap();
    for event in all.iter().skip(1) {
        for n in 0..event.len().min(300) {
            assert!(log.packet(&event[..n]).is_err());
        }
    }
}

#[test]
fn unknown_event_is_refused_unless_it_may_be_ignored() {
    let file = bytes("mysql-8.0.binlog");
    let all = events(&file);
    let mut log = assembler("types", &[text("id")], start("log.000001"));
    log.packet(all[0]).unwrap();
    let mut unknown = all[1].to_vec();
    unknown[4] = 99;
    unknown[17] &= !0x80;
    let error = log.packet(&sealed(unknown.clone())).unwrap_err().to_string();
    assert!(error.contains("DF5401") && error.contains("kind 99"), "{error}");
    unknown[17] |= 0x80;
    log.packet(&sealed(unknown.clone())).unwrap();
    unknown[17] &= !0x80;
    for kind in [26u8, 39] {
        unknown[4] = kind;
        let error = log.packet(&sealed(unknown.clone())).unwrap_err().to_string();
        assert!(error.contains("DF5401"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// With the checksum made right again: whatever stands there, an answer comes.
    #[test]
    fn sealed_damage_never_panics(log in 0usize..4, pick in any::<prop::sample::Index>(), edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in prop::option::of(any::<prop::sample::Index>())) {
        let (server, table) = LOGS[log];
        let file = bytes(&format!("{server}.binlog"));
        let all = events(&file);
        let chosen = pick.index(all.len());
        let mut log = assembler(table, &[text("id"), text("j"), text("v"), text("vc"), text("dec65"), text("dt6")], start("log.000001"));
        for (i, event) in all.iter().enumerate() {
            let mut event = event.to_vec();
            if i == chosen {
                for (at, byte) in &edits {
                    let at = at.index(event.len());
                    event[at] = *byte;
                }
                if let Some(cut) = cut {
                    event.truncate(cut.index(event.len()).max(24));
                }
                event = sealed(event);
            }
            if log.packet(&event).is_err() {
                return Ok(());
            }
        }
        if let Ok(Some(batch)) = log.finish(0) {
            lines(&batch);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..180) {
        let file = crate::recorded::bytes("mysql-8.0.binlog");
        let mut log = assembler("types", &[text("id")], start("log.000001"));
        log.packet(events(&file)[0]).unwrap();
        let mut event = [&[0u8; 19][..], &bytes, &[0; 4]].concat();
        event[4] = kind;
        let _ = log.packet(&sealed(event));
    }
}
