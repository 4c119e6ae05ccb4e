//! Every example, run by the real binary in a copy of its folder, against its expected result.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::support::{Place, root};

/// Applies printed changes (`+I[…]`) to nothing; what is left, sorted.
fn folded_print(text: &str) -> Vec<String> {
    let mut rows: BTreeMap<String, i64> = BTreeMap::new();
    for line in text.lines() {
        let (kind, row) = line.split_at(2);
        *rows.entry(row.to_owned()).or_default() += if kind.starts_with('+') { 1 } else { -1 };
    }
    remaining(rows)
}

/// Applies a Debezium change log to nothing; what is left, sorted.
fn folded_debezium(lines: &[String]) -> Vec<String> {
    let mut rows: BTreeMap<String, i64> = BTreeMap::new();
    for line in lines {
        let change: Value = serde_json::from_str(line).unwrap();
        for (row, sign) in [("before", -1), ("after", 1)] {
            if !change[row].is_null() {
                *rows.entry(canonical(&change[row])).or_default() += sign;
            }
        }
    }
    remaining(rows)
}

fn remaining(rows: BTreeMap<String, i64>) -> Vec<String> {
    rows.into_iter()
        .filter(|(_, n)| *n != 0)
        .map(|(row, n)| {
            assert_eq!(n, 1, "{row} is there {n} times");
            row
        })
        .collect()
}

/// A row as text in which 20 and 20.0 are the same number.
fn canonical(row: &Value) -> String {
    let fields = row.as_object().unwrap();
    let value = |v: &Value| v.as_f64().map_or_else(|| v.to_string(), |n| n.to_string());
    fields.iter().map(|(k, v)| format!("{k}={}", value(v))).collect::<Vec<_>>().join(" ")
}

fn canonical_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(|l| canonical(&serde_json::from_str(l).unwrap())).collect();
    lines.sort();
    lines
}

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn orders_become_totals_on_the_screen_and_as_a_change_log() {
    let place = Place::of_example("orders");
    let ran = place.run(&["run", "pipeline.sql"]).expect(0);
    let expected: Vec<String> = place.read("expected/revenue.txt").lines().map(|l| l[2..].to_owned()).collect();
    assert_eq!(folded_print(&ran.out), expected);
    assert_eq!(
        folded_debezium(&place.lines_below("out/revenue")),
        canonical_lines(&place.read("expected/revenue.jsonl"))
    );
    // 80 inserts and deletes, 36 updates of two rows each.
    assert!(ran.err.contains("152 rows in"), "{ran:#?}");
}

#[test]
fn trips_become_parquet_by_day_and_read_back_the_same() {
    let place = Place::of_example("trips");
    place.run(&["run", "pipeline.sql", "-p", "2"]).expect(0);
    let days = fs::read_dir(place.path("out/trips")).unwrap().count();
    assert!(days > 1, "one folder per day");
    let read = place.run(&["run", "read.sql", "-o", "csv"]).expect(0);
    let rows: Vec<&str> = read.out.lines().skip(1).collect();
    assert_eq!(sorted(&rows.join("\n")), sorted(&place.read("expected/trips.csv")));
}

#[test]
fn a_web_log_with_broken_lines_is_read_to_its_end() {
    let place = Place::of_example("weblog");
    let ran = place.run(&["run", "pipeline.sql"]).expect(0);
    let errors = place.lines_below("out/errors").join("\n");
    assert_eq!(sorted(&errors.replace('"', "")), sorted(&place.read("expected/errors.csv")));
    assert!(ran.err.contains("5 records written to the dead-letter file"), "{ran:#?}");
    let letters = place.lines_below("out/dead-letters");
    assert_eq!(letters.len(), 5, "{letters:#?}");
    assert!(letters.iter().any(|l| l.contains("log rotated")), "{letters:#?}");
}

#[test]
fn a_query_on_its_own_prints_its_rows() {
    let place = Place::of_example("readings");
    let ran = place.run(&["run", "pipeline.sql", "-o", "jsonl"]).expect(0);
    assert_eq!(sorted(&ran.out), sorted(&place.read("expected/rows.jsonl")));
}

#[test]
fn one_source_feeds_two_results() {
    let place = Place::of_example("rooms");
    let plan = place.run(&["explain", "pipeline.sql"]).expect(0);
    assert_eq!(plan.out.lines().filter(|l| l.ends_with(" Source")).count(), 1, "{}", plan.out);
    let ran = place.run(&["run", "pipeline.sql"]).expect(0);
    assert!(ran.err.contains("180 rows in"), "read once: {ran:#?}");
    assert_eq!(
        canonical_lines(&place.lines_below("out/alerts").join("\n")),
        canonical_lines(&place.read("expected/alerts.jsonl"))
    );
    assert_eq!(folded_debezium(&place.lines_below("out/stats")), canonical_lines(&place.read("expected/stats.jsonl")));
}

#[test]
fn every_example_is_tested_here() {
    let this = include_str!("examples.rs");
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert!(this.contains(&format!("of_example(\"{name}\")")), "examples/{name} has no test");
            assert!(path.join("README.md").exists(), "examples/{name} has no README.md");
        }
    }
}
