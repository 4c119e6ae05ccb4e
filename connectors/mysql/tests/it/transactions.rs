//! Where transactions begin and end, and where a restart goes on.

use dflow_connector_mysql::binlog::position::{FilePosition, Order, Position, Seen};

use crate::fuzz::sealed;
use crate::recorded::{SERVERS, assembler, bytes, changes, events, expected, folded, lines, start, text};

#[test]
fn prepared_rows_come_with_their_commit_and_rolled_back_ones_never() {
    for server in SERVERS {
        let all = changes(server, "accounts", &[text("id"), text("v")], &[]).unwrap();
        let inserted: Vec<_> = all.iter().filter(|(kind, _)| *kind == "+I").map(|(_, row)| row[0].clone()).collect();
        assert_eq!(inserted, ["1", "5", "2", "3", "6"], "{server}: 2 and 3 come when they are committed, 4 never");
        assert_eq!(folded(all), expected(server, "accounts"), "{server}");
    }
}

#[test]
fn compressed_transactions_read_as_plain_ones() {
    for server in SERVERS.into_iter().chain(["mariadb-10.11-compressed"]) {
        let all = changes(server, "squeezed", &[text("id"), text("v")], &[]).unwrap();
        let kinds: String = all.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, "+I+I+I-U+U-U+U-D+I+I", "{server}");
        assert_eq!(folded(all), expected(server, "squeezed"), "{server}");
    }
}

/// Stops behind every event, stores the position, and goes on in a new reader from where the position says.
#[test]
fn restart_behind_any_event_neither_loses_nor_repeats() {
    for server in SERVERS.into_iter().chain(["mariadb-10.11-compressed"]) {
        let file = bytes(&format!("{server}.binlog"));
        // Without the last one, which names the next file.
        let events = &events(&file)[..];
        let events = &events[..events.len() - 1];
        for (table, seen) in [("squeezed", None), ("accounts", None), ("accounts", Some(nothing(server)))] {
            let start = || {
                let mut at = start("log.000001");
                at.point.seen.clone_from(&seen);
                at
            };
            let wanted = [text("id"), text("v")];
            let whole = changes(server, table, &wanted, &[]).unwrap();
            for stop in 0..events.len() {
                let mut log = assembler(table, &wanted, start());
                for event in &events[..=stop] {
                    log.packet(event).unwrap();
                }
                let stored = serde_json::to_value(log.position()).unwrap();
                let mut seen = log.finish(0).unwrap().map(|b| lines(&b)).unwrap_or_default();
                let position = Position::from_value(&stored).unwrap();
                let from = position.start().at.pos;
                let mut log = assembler(table, &wanted, position);
                // The server sends the description of the file first, wherever it starts.
                let mut at = FilePosition::FIRST;
                for (i, event) in events.iter().enumerate() {
                    match i {
                        0 if from > FilePosition::FIRST => _ = log.packet(&made_up(event)).unwrap(),
                        _ if i == 0 || at >= from => _ = log.packet(event).unwrap(),
                        _ => {}
                    }
                    at += event.len() as u64;
                }
                seen.extend(log.finish(0).unwrap().map(|b| lines(&b)).unwrap_or_default());
                assert_eq!(seen, whole, "{server} {table}: stopped behind event {stop}, {stored}");
            }
        }
    }
}

/// The description of a file as the server sends it in front of the middle: it is at no place of the file.
fn made_up(event: &[u8]) -> Vec<u8> {
    let mut event = event.to_vec();
    event[13..17].fill(0);
    sealed(event)
}

/// The ids of a server from which nothing was seen.
fn nothing(server: &str) -> Seen {
    if server.starts_with("maria") { Seen::Mariadb(Default::default()) } else { Seen::Mysql(Default::default()) }
}

#[test]
fn positions_name_the_transactions_that_were_seen() {
    let last = |server: &str| {
        let file = bytes(&format!("{server}.binlog"));
        let mut at = start("log.000001");
        at.point.seen = Some(nothing(server));
        let mut log = assembler("nothing", &[text("id")], at);
        let (mut before, mut moved) = (log.position(), 0);
        for event in events(&file) {
            log.packet(event).unwrap();
            let now = log.position();
            match before.compare(&now) {
                Order::Before => moved += 1,
                Order::At => {}
                other => panic!("{server}: {other:?} {before:?} {now:?}"),
            }
            before = now;
        }
        assert!(moved > 10, "{server}");
        assert_eq!(before.point.at.pos, FilePosition::FIRST, "{server}: the last event of a file names the next one");
        before.point.seen.unwrap()
    };
    assert!(matches!(last("mysql-8.0"), Seen::Mysql(set) if set.to_string().contains(':')));
    assert!(matches!(last("mysql-9.7"), Seen::Mysql(set) if set.to_string().contains(":nightly:1")));
    assert!(matches!(last("mariadb-10.11"), Seen::Mariadb(at) if at.to_string().starts_with("0-1-")));
}
