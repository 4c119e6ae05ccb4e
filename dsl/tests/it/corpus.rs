//! 216 snippets and 270 syntax probes that the real parser and planner of Flink 2.3.0 have judged.
//!
//! `tests/data/corpus/*.txt`: blocks `=== id | feature | verdict`, then the snippet. `tests/data/probes.tsv`: id, verdict, text.
//! Verdicts: `ok`; `syntax: …` refused by Flink's parser; `later: …` accepted by its parser, refused by validation (an unknown
//! table, a connector that cannot be read, …).
//!
//! Accepted by us = accepted by Flink's parser. The exceptions stand in [`DIFFERENCES`] and are argued in
//! `docs/sql-differences.md`.

use dflow_dsl::parse;

use crate::{SOURCE, dump, errors};

/// Ids at which this parser and Flink's disagree, each named in `docs/sql-differences.md`.
const DIFFERENCES: &[&str] = &[
    "059", "060", // BEGIN STATEMENT SET and END are one statement here
    "P009", "P243", // a script has several statements
    "P019", // two strings on one line
    "P022", "P024", // 1_000 and 0x1F
    "P029", // RLIKE
    "P055", // PIVOT
    "P101", // VARIANT, BITMAP
    "P132", // CREATE TEMPORARY TABLE … AS
    "P135", "P146", "P152", "P180", "P183", // statements Flink parses only to refuse them
    "P153", // BEGIN STATEMENT SET alone
];

struct Case {
    id: String,
    verdict: String,
    text: String,
}

impl Case {
    /// Whether Flink's parser takes it.
    fn accepted(&self) -> bool {
        !self.verdict.starts_with("syntax")
    }
}

fn data(path: &str) -> String {
    let path = format!("{}/tests/data/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn corpus(area: &str) -> Vec<Case> {
    let text = data(&format!("corpus/{area}.txt"));
    let blocks = text.strip_prefix("=== ").unwrap().split("\n=== ");
    blocks
        .map(|block| {
            let (head, body) = block.split_once('\n').unwrap();
            let mut parts = head.splitn(3, " | ");
            let id = parts.next().unwrap().to_owned();
            parts.next().unwrap();
            Case { id, verdict: parts.next().unwrap().to_owned(), text: body.trim_end_matches('\n').to_owned() }
        })
        .collect()
}

fn probes() -> Vec<Case> {
    data("probes.tsv")
        .lines()
        .skip(1)
        .map(|line| {
            let parts: Vec<&str> = line.splitn(3, '\t').collect();
            Case { id: parts[0].to_owned(), verdict: parts[1].to_owned(), text: parts[2].to_owned() }
        })
        .collect()
}

const AREAS: [&str; 9] = ["ddl", "dml", "queries", "aggregation", "windows", "over", "joins", "hints", "functions"];

/// All snippets and probes, as seeds for mutation.
pub(crate) fn texts() -> Vec<String> {
    AREAS.iter().flat_map(|a| corpus(a)).chain(probes()).map(|c| c.text).collect()
}

/// The tree of every snippet, with every place, as committed in `snapshots/`.
#[test]
fn every_snippet_has_its_golden_tree() {
    let mut total = 0;
    for area in AREAS {
        let mut out = String::new();
        for case in corpus(area) {
            total += 1;
            let parsed = parse(SOURCE, &case.text);
            out += &format!("=== {} | flink {}\n{}\n---\n", case.id, case.verdict, case.text);
            parsed.script.statements.iter().for_each(|s| out += &dump::statement(s));
            out += &errors(&case.text, &parsed);
        }
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("corpus_{area}"), out);
        });
    }
    assert_eq!(total, 216);
}

#[test]
fn we_accept_what_flinks_parser_accepts() {
    let cases: Vec<Case> = AREAS.iter().flat_map(|a| corpus(a)).chain(probes()).collect();
    assert_eq!(cases.len(), 216 + 270);
    let mut surprises = String::new();
    for case in &cases {
        let parsed = parse(SOURCE, &case.text);
        let listed = DIFFERENCES.contains(&case.id.as_str());
        if (parsed.is_ok() == case.accepted()) == listed {
            let ours = if parsed.is_ok() { "accepted\n".to_owned() } else { errors(&case.text, &parsed) };
            surprises +=
                &format!("{} {}\n  flink: {}\n  ours:  {ours}  listed: {listed}\n", case.id, case.text, case.verdict);
        }
    }
    assert!(surprises.is_empty(), "{surprises}");
}

#[test]
fn every_difference_is_argued() {
    let path = format!("{}/../docs/sql-differences.md", env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(path).unwrap();
    for id in DIFFERENCES {
        assert!(page.contains(&format!("`{id}`")), "{id} is not in docs/sql-differences.md");
    }
}
