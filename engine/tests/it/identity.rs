//! Operator ids: what moves them, and what must not.

use std::collections::BTreeSet;

use dflow_engine::CompiledStatement;
use dflow_runtime::graph::NodeKind;

use super::kit::kit;

/// Ids of stateful operators and of sources.
fn ids(parallelism: usize, script: &str) -> BTreeSet<String> {
    let mut kit = kit(parallelism);
    let script = kit.compile(script).unwrap_or_else(|e| panic!("{e:#?}\n{script}"));
    let CompiledStatement::Stream(job) = &script.statements[0] else { panic!("a job") };
    job.graph
        .nodes
        .iter()
        .filter(|n| match &n.kind {
            NodeKind::Source(_) => true,
            NodeKind::Operator(f) => !f.tables().is_empty(),
            NodeKind::Sink { .. } => false,
        })
        .map(|n| format!("{} {}", n.name.split('[').next().unwrap(), n.id))
        .collect()
}

const TABLE: &str = "CREATE TABLE t (k STRING, v INT, w INT, x STRING) WITH ('connector' = 'mem', 'topic' = 'a');\n";
const SINK: &str = "CREATE TABLE sunk (k STRING, s INT, n BIGINT) WITH ('connector' = 'mem', 'takes' = 'all');\n";
const QUERY: &str = "INSERT INTO sunk SELECT k, SUM(v), COUNT(*) FROM t WHERE w > 1 GROUP BY k;";

fn base() -> BTreeSet<String> {
    ids(1, &format!("{TABLE}{SINK}{QUERY}"))
}

#[test]
fn ids_are_what_they_were_when_state_was_written() {
    // These are in the manifests of users. A change here loses their state.
    insta::assert_debug_snapshot!(base());
}

#[test]
fn what_does_not_change_the_meaning_does_not_change_an_id() {
    let base = base();
    for (what, script) in [
        (
            "comments and layout",
            format!(
                "{TABLE}{SINK}-- note\nINSERT INTO sunk\nSELECT k, /* c */ SUM(v),\n COUNT(*) FROM t WHERE (w > 1) GROUP BY k;"
            ),
        ),
        (
            "aliases",
            format!(
                "{TABLE}{SINK}INSERT INTO sunk SELECT a.k AS z, SUM(a.v) AS q, COUNT(*) FROM t AS a WHERE a.w > 1 GROUP BY a.k;"
            ),
        ),
        (
            "a view",
            format!(
                "{TABLE}{SINK}CREATE VIEW y AS SELECT k AS kk, v AS vv, w, x FROM t WHERE w > 1; INSERT INTO sunk SELECT kk, SUM(vv), COUNT(*) FROM y GROUP BY kk;"
            ),
        ),
        (
            "another name of the view",
            format!(
                "{TABLE}{SINK}CREATE VIEW yy AS SELECT k AS k2, v AS vv, w, x FROM t WHERE w > 1; INSERT INTO sunk SELECT k2, SUM(vv), COUNT(*) FROM yy GROUP BY k2;"
            ),
        ),
        (
            "the order of calls",
            format!(
                "{TABLE}{SINK}INSERT INTO sunk (k, n, s) SELECT k, COUNT(*), SUM(v) FROM t WHERE w > 1 GROUP BY k;"
            ),
        ),
        ("a secret", format!("{}{SINK}{QUERY}", TABLE.replace("'topic'", "'password' = 's', 'topic'"))),
        (
            "an option that says nothing about the data",
            format!("{}{SINK}{QUERY}", TABLE.replace("'topic'", "'rows' = '', 'topic'")),
        ),
        ("a hint", format!("{TABLE}{SINK}{}", QUERY.replace("FROM t", "FROM t /*+ OPTIONS('rows' = '') */"))),
    ] {
        assert_eq!(ids(1, &script), base, "{what}");
    }
    assert_eq!(ids(4, &format!("{TABLE}{SINK}{QUERY}")), base, "parallelism");
}

#[test]
fn other_statements_do_not_change_an_id() {
    let base = base();
    let other = "CREATE TABLE sunk2 (x STRING, n BIGINT) WITH ('connector' = 'mem', 'takes' = 'all');\n";
    let insert = "INSERT INTO sunk2 SELECT x, COUNT(*) FROM t GROUP BY x;";
    let after = ids(1, &format!("{TABLE}{SINK}{other}{QUERY}{insert}"));
    let before = ids(1, &format!("{TABLE}{SINK}{other}{insert}{QUERY}"));
    assert!(after.is_superset(&base), "{after:?} {base:?}");
    assert_eq!(after, before, "order of statements");
}

#[test]
fn another_meaning_is_another_id() {
    let base = base();
    let aggregate = |ids: &BTreeSet<String>| ids.iter().find(|i| i.starts_with("aggregate")).cloned().unwrap();
    for query in [
        QUERY.replace("SUM(v)", "MAX(v)"),
        QUERY.replace("w > 1", "w > 2"),
        QUERY.replace("SUM(v)", "SUM(w)"),
        QUERY.replace("SUM(v)", "SUM(DISTINCT v)"),
        QUERY.replace("COUNT(*)", "COUNT(v)"),
        QUERY.replace("GROUP BY k", "GROUP BY k, x"),
    ] {
        assert_ne!(aggregate(&ids(1, &format!("{TABLE}{SINK}{query}"))), aggregate(&base), "{query}");
    }
    let moved = ids(1, &format!("{}{SINK}{QUERY}", TABLE.replace("'a'", "'b'")));
    assert!(moved.is_disjoint(&base), "another topic is other data");
}

#[test]
fn equal_twins_are_numbered() {
    let script = format!("{TABLE}{SINK}{QUERY}{QUERY}");
    let twins = ids(1, &script);
    assert_eq!(twins.iter().filter(|i| i.starts_with("aggregate")).count(), 2, "{twins:?}");
    assert!(twins.iter().any(|i| i.ends_with("-1")), "{twins:?}");
}
