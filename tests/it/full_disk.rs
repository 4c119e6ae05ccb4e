//! A disk without room, for state and for rows: the run ends soon, with the code of that and exit code 23.
//!
//! The room is that of one file: `ulimit -f` with SIGXFSZ ignored makes every longer one fail, on any file system and for
//! any user.

use std::time::{Duration, Instant};

use dflow::runtime::storage::codes as state;

use crate::support::{Place, Ran, finish, wait_until};

/// Runs the binary with so many blocks of 512 bytes per file.
fn run_with_room(place: &Place, blocks: u32, args: &str) -> (Ran, Duration) {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec {} {args}", env!("CARGO_BIN_EXE_dflow"));
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script]).current_dir(place.path("."));
    let started = Instant::now();
    let ran = finish(&mut shell);
    (ran, started.elapsed())
}

/// How often a text holds another.
fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

/// Counts by key: state that grows with every row.
const GROWING: &str = "CREATE TABLE t (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '20000',
  'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '100000000');
CREATE TABLE o (id BIGINT, n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO o SELECT id, COUNT(*) FROM t GROUP BY id;
";

#[test]
fn a_full_state_directory_ends_the_run_with_its_code() {
    let place = Place::new();
    place.write("p.sql", GROWING);
    let (ran, took) = run_with_room(&place, 64, "run p.sql -p 1 --checkpoint-interval 200ms");
    let ran = ran.expect_error(23, state::DISK_FULL);
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert_eq!((count(&ran.err, "error[DF9050]"), count(&ran.err, "restart")), (1, 0), "told once: {ran:#?}");
    let last = ran.last_line();
    assert!(last.contains("cannot write") && !last.contains("help:") && !last.contains("intact"), "{last}");
    // Whether one was completed is a matter of the machine's speed; either way it is said.
    let completed = ran.err.contains("is the last known to be complete: the next run goes on from there");
    let none = ran.err.contains("no checkpoint is known to be complete: the next run starts from the beginning");
    let summary = ran.err.lines().find(|l| l.starts_with("failed after")).unwrap();
    assert_eq!(
        (completed, none),
        (!summary.contains(" 0 checkpoints"), summary.contains(" 0 checkpoints")),
        "{ran:#?}"
    );
}

#[test]
fn a_state_directory_without_any_room_is_named_too() {
    let place = Place::new();
    place.write(
        "p.sql",
        format!(
            "SET 'restart-strategy.type' = 'fixed-delay';
SET 'restart-strategy.fixed-delay.attempts' = '100';
SET 'restart-strategy.fixed-delay.delay' = '20 ms';
{GROWING}"
        ),
    );
    let (ran, _) = run_with_room(&place, 0, "run p.sql -p 1");
    let ran = ran.expect_error(23, state::DISK_FULL);
    assert!(ran.err.contains("3 restarts did not help") && !ran.err.contains("the next run"), "{ran:#?}");
}

#[test]
fn a_full_sink_ends_the_run_with_its_code() {
    let place = Place::new();
    place.write(
        "p.sql",
        "SET 'restart-strategy.type' = 'fixed-delay';
SET 'restart-strategy.fixed-delay.attempts' = '100';
SET 'restart-strategy.fixed-delay.delay' = '20 ms';
CREATE TABLE t (id BIGINT, s STRING) WITH ('connector' = 'datagen', 'number-of-rows' = '20000');
CREATE TABLE o (id BIGINT, s STRING) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json');
INSERT INTO o SELECT id, s FROM t;
",
    );
    let (ran, took) = run_with_room(&place, 64, "run p.sql -p 1 --checkpoint-interval 1h");
    let ran = ran.expect(23);
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert!(ran.last_line().starts_with("dflow: exit 23 resources [DF7201] "), "{ran:#?}");
    assert_eq!((count(&ran.err, "error[DF7201]"), count(&ran.err, "warning[DF7201]")), (1, 3), "{ran:#?}");
    assert!(ran.err.contains("no checkpoint is known to be complete"), "{ran:#?}");
    let summary = ran.err.lines().find(|l| l.starts_with("failed after")).unwrap();
    let rows_in: u64 = summary.split(": ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(rows_in <= 20_000 && summary.ends_with("3 restarts"), "rows that were read again count once: {summary}");
    assert!(place.lines_below("out").is_empty(), "nothing was published");
}

#[test]
fn a_job_goes_on_when_there_is_room_again() {
    let place = Place::new();
    place.write("p.sql", GROWING);
    let (ran, _) = run_with_room(&place, 64, "run p.sql -p 1 --checkpoint-interval 200ms");
    ran.expect(23);
    let running = place.start(&["run", "p.sql", "-p", "1", "--checkpoint-interval", "200ms"]);
    wait_until("a checkpoint", || running.said().contains("start      "));
    std::thread::sleep(Duration::from_millis(500));
    running.signal("TERM");
    running.end().expect(0);
}
