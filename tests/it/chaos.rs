//! `kill -9` in a loop while rows keep arriving: an append query into a filesystem sink loses and doubles nothing, an
//! aggregate into a changelog file folds to the exact answer.
//!
//! The `ci` level kills at least 5 times, the `full` level (`DFLOW_TEST_LEVEL=full`) at least 50. `kill -9` keeps the
//! page cache, so this proves nothing about fsync; the crash matrix of `dflow-runtime` does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dflow_common::env::{Rng, SeededRng};
use dflow_testkit::supervise::{End, lines_below, run_and_kill, run_to_end};

const KEYS: u64 = 17;

/// The script under test, in a folder of its own.
struct Scenario {
    dir: tempfile::TempDir,
}

impl Scenario {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        fs::write(
            dir.path().join("pipeline.sql"),
            "SET 'execution.checkpointing.interval' = '100 ms';
             CREATE TABLE events (id BIGINT, k BIGINT, v BIGINT)
               WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'json', 'source.monitor-interval' = '20 ms');
             CREATE TABLE even (id BIGINT, v BIGINT)
               WITH ('connector' = 'filesystem', 'path' = 'even', 'format' = 'json');
             CREATE TABLE totals (k BIGINT, n BIGINT, total BIGINT)
               WITH ('connector' = 'filesystem', 'path' = 'totals', 'format' = 'debezium-json');
             INSERT INTO even SELECT id, v FROM events WHERE MOD(id, 2) = 0;
             INSERT INTO totals SELECT k, COUNT(*), SUM(v) FROM events GROUP BY k;",
        )
        .unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `dflow run`, at a random parallelism: every restart may also rescale.
    fn command(&self, rng: &SeededRng) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dflow"));
        command.arg("run").arg(self.path("pipeline.sql")).args(["-p", &(1 + rng.below(3)).to_string()]);
        command
    }

    /// A complete file appears under its name at once.
    fn add_file(&self, first: u64, rows: u64) {
        let text: String = (first..first + rows)
            .map(|id| format!("{{\"id\": {id}, \"k\": {}, \"v\": {}}}\n", id % KEYS, value(id)))
            .collect();
        let hidden = self.path("in").join(format!(".{first:012}.json"));
        fs::write(&hidden, text).unwrap();
        fs::rename(hidden, self.path("in").join(format!("{first:012}.json"))).unwrap();
    }

    fn check(&self, rows: u64) {
        let expected: Vec<String> = {
            let mut lines: Vec<_> =
                (0..rows).filter(|id| id % 2 == 0).map(|id| format!("{{\"id\":{id},\"v\":{}}}", value(id))).collect();
            lines.sort();
            lines
        };
        let found = published(&self.path("even"));
        let (lost, doubled) = differences(&expected, &found);
        assert!(lost.is_empty() && doubled.is_empty(), "lost {lost:?}, doubled or foreign {doubled:?}");
        assert_eq!(fold_debezium(&published(&self.path("totals"))), totals(rows));
    }
}

fn value(id: u64) -> u64 {
    id * 31 % 1_000
}

/// What the aggregate must fold to: `k -> (n, total)`.
fn totals(rows: u64) -> BTreeMap<u64, (u64, u64)> {
    let mut totals = BTreeMap::new();
    for id in 0..rows {
        let entry = totals.entry(id % KEYS).or_insert((0, 0));
        entry.0 += 1;
        entry.1 += value(id);
    }
    totals
}

/// Lines of the files a reader of the folder sees.
fn published(dir: &Path) -> Vec<String> {
    lines_below(dir, &|name| !name.starts_with(['.', '_'])).unwrap()
}

/// The first few lines missing from `found`, and those there too often or not expected. Both sorted.
fn differences(expected: &[String], found: &[String]) -> (Vec<String>, Vec<String>) {
    let count = |lines: &[String]| {
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        lines.iter().for_each(|l| *counts.entry(l.clone()).or_insert(0) += 1);
        counts
    };
    let (expected, found) = (count(expected), count(found));
    let surplus = |a: &BTreeMap<String, i64>, b: &BTreeMap<String, i64>| {
        a.iter().filter(|(l, n)| **n > b.get(*l).copied().unwrap_or(0)).map(|(l, _)| l.clone()).take(5).collect()
    };
    (surplus(&expected, &found), surplus(&found, &expected))
}

/// Adds what is created and takes away what is deleted; what is left must be one row per key.
fn fold_debezium(lines: &[String]) -> BTreeMap<u64, (u64, u64)> {
    let mut weights: BTreeMap<(u64, u64, u64), i64> = BTreeMap::new();
    for line in lines {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        for (side, sign) in [("before", -1), ("after", 1)] {
            if let Some(row) = record[side].as_object() {
                let cell = |name: &str| row[name].as_u64().unwrap();
                *weights.entry((cell("k"), cell("n"), cell("total"))).or_insert(0) += sign;
            }
        }
    }
    weights.retain(|_, w| *w != 0);
    assert!(weights.values().all(|w| *w == 1), "rows that do not fold: {weights:?}");
    let folded: BTreeMap<_, _> = weights.keys().map(|(k, n, total)| (*k, (*n, *total))).collect();
    assert_eq!(folded.len(), weights.len(), "two rows of one key: {weights:?}");
    folded
}

#[test]
fn killed_at_random_moments_nothing_is_lost_or_doubled() {
    let kills_wanted = if std::env::var("DFLOW_TEST_LEVEL").as_deref() == Ok("full") { 50 } else { 6 };
    let seed = std::env::var("DFLOW_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(7);
    let rng = SeededRng::new(seed);
    let scenario = Arc::new(Scenario::new());
    let (rows, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let writer = std::thread::spawn({
        let (scenario, rows, stop) = (scenario.clone(), rows.clone(), stop.clone());
        move || {
            let rng = SeededRng::new(seed + 1);
            while !stop.load(Ordering::Relaxed) {
                let n = 1 + rng.below(400);
                let first = rows.load(Ordering::Relaxed);
                scenario.add_file(first, n);
                rows.store(first + n, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5 + rng.below(25)));
            }
        }
    });
    let mut kills = 0;
    while kills < kills_wanted {
        let range = Duration::from_millis(50)..Duration::from_millis(2_500);
        match run_and_kill(&mut scenario.command(&rng), &rng, range).unwrap() {
            End::Killed(_) => kills += 1,
            End::Exited(output) => panic!(
                "seed {seed}: ended by itself after {kills} kills with {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            ),
        }
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    let mut last = scenario.command(&rng);
    last.args(["--until", "idle=1s"]);
    let output = run_to_end(&mut last, Duration::from_secs(120)).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "seed {seed}: {stderr}");
    assert!(stderr.contains("from checkpoint"), "the last run must say what it goes on from: {stderr}");
    println!("{kills} kills, {} rows, seed {seed}", rows.load(Ordering::Relaxed));
    scenario.check(rows.load(Ordering::Relaxed));
}

#[test]
fn the_check_itself_sees_lost_doubled_and_unfolded_rows() {
    let lines = |v: &[&str]| v.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    assert_eq!(differences(&lines(&["a", "b"]), &lines(&["a", "c", "c"])), (lines(&["b"]), lines(&["c"])));
    let change = |before: &str, after: &str| format!("{{\"before\":{before},\"after\":{after},\"op\":\"x\"}}");
    let row = r#"{"k":1,"n":2,"total":3}"#;
    assert_eq!(fold_debezium(&[change("null", row)]), BTreeMap::from([(1, (2, 3))]));
    assert!(fold_debezium(&[change("null", row), change(row, "null")]).is_empty());
    assert!(std::panic::catch_unwind(|| fold_debezium(&[change("null", row), change("null", row)])).is_err());
}
