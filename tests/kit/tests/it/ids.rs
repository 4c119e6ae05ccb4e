//! Operator ids of random scripts: what does not change the meaning does not change an id, what does changes it.

use std::collections::BTreeSet;

use dflow_common::env::SeededRng;
use dflow_runtime::graph::NodeKind;
use dflow_testkit::classes::Classes;
use dflow_testkit::query::random::{self, Script};
use dflow_testkit::query::{Expr, Language, Type, disguise};

use super::case::graph_of;

/// Scripts of a CI run; `DFLOW_TEST_LEVEL=full` runs twenty times as many.
const SCRIPTS: u64 = 100;

/// Ids of sources and of operators with state.
fn ids(script: &str, parallelism: usize) -> BTreeSet<String> {
    let graph = graph_of(script, parallelism).unwrap_or_else(|e| panic!("{e}\n{script}"));
    let keeps = |kind: &NodeKind| match kind {
        NodeKind::Source(_) => true,
        NodeKind::Operator(factory) => !factory.tables().is_empty(),
        NodeKind::Sink { .. } => false,
    };
    graph.nodes.iter().filter(|n| keeps(&n.kind)).map(|n| n.id.to_string()).collect()
}

#[test]
fn ids_of_random_scripts_move_with_the_meaning_and_with_nothing_else() {
    let full = std::env::var("DFLOW_TEST_LEVEL").as_deref() == Ok("full");
    let only: Option<u64> = std::env::var("DFLOW_ORACLE_SCRIPT").ok().and_then(|s| s.parse().ok());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let mut classes = Classes::of(["same meaning", "another filter", "another key", "another aggregate"]);
    let last = if full { 20 * SCRIPTS } else { SCRIPTS };
    for seed in only.map_or(1..=last, |s| s..=s) {
        let script = Script::random(seed, &mut random::classes());
        let rng = SeededRng::new(seed);
        let base = ids(&script.stream(), 1);
        for (what, text) in same_meaning(&script, &rng) {
            classes.hit("same meaning");
            assert_eq!(ids(&text, 1), base, "script {seed}, {what}:\n{}\n{text}", script.stream());
        }
        assert_eq!(ids(&script.stream(), 3), base, "script {seed}, parallelism");
        for (what, text) in beside_others(&script) {
            let found = ids(&text, 1);
            assert!(found.is_superset(&base), "script {seed}, {what}: {base:?} {found:?}\n{text}");
        }
        for (what, changed) in other_meanings(&script) {
            classes.hit(what);
            let text = changed.stream();
            let found = ids(&text, 1);
            // The last operator with state is another one; those before it may be the same.
            assert_ne!(found, base, "script {seed}, {what}:\n{}\n{text}", script.stream());
        }
    }
    println!("{}", classes.summary());
    if only.is_none() {
        classes.assert_all_hit();
    }
}

/// The same script in other words.
fn same_meaning(script: &Script, rng: &SeededRng) -> Vec<(&'static str, String)> {
    let (tables, views) = (script.tables(), script.query.views());
    let insert = format!("INSERT INTO o {};\n", script.query.sql(Language::Stream));
    let inline = format!("INSERT INTO o {};\n", script.query.sql(Language::StreamInline));
    let body = format!("{views}{insert}");
    vec![
        ("comments, layout, case of keywords", format!("{tables}{}", disguise::layout(&body, rng))),
        ("names of columns, subqueries and views", format!("{tables}{}", disguise::aliases(&body))),
        ("views written as subqueries", format!("{tables}{inline}")),
        ("all of it", format!("{tables}{}", disguise::layout(&disguise::aliases(&body), rng))),
    ]
}

/// The same statement in one job with others, which read the same source or none of it.
fn beside_others(script: &Script) -> Vec<(&'static str, String)> {
    let more = "CREATE TABLE other (x INT, y BIGINT) WITH ('connector' = 'oracle', 'changelog' = 'retract');\n\
                CREATE TABLE far (x INT) WITH ('connector' = 'oracle', 'changelog' = 'append');\n";
    let start = format!("{}{more}{}", script.tables(), script.query.views());
    let insert = format!("INSERT INTO o {};\n", script.query.sql(Language::Stream));
    let unrelated = "INSERT INTO other SELECT x, COUNT(*) FROM far GROUP BY x;\n";
    // No script of ours counts by this key.
    let same_source = "INSERT INTO other SELECT k + 4711, COUNT(*) FROM t WHERE id > 4711 GROUP BY k + 4711;\n";
    vec![
        ("an unrelated INSERT before", format!("{start}{unrelated}{insert}")),
        ("an unrelated INSERT after", format!("{start}{insert}{unrelated}")),
        ("another query on the source before", format!("{start}{same_source}{insert}")),
        ("another query on the source after", format!("{start}{insert}{same_source}")),
    ]
}

/// The script with one thing changed in its outermost GROUP BY.
fn other_meanings(script: &Script) -> Vec<(&'static str, Script)> {
    let top = &script.query.branches[0];
    let (Some(group), 1) = (&top.group, script.query.branches.len()) else { return vec![] };
    let column = match &top.from {
        dflow_testkit::query::From::Table(_) => "id",
        _ => "c0",
    };
    let condition = |text: String| Expr {
        ty: Type::Bool,
        batch: text.clone(),
        stream: text,
        nullable: false,
        exact: true,
        reads: true,
    };
    let mut out = Vec::new();
    let mut change = |what: &'static str, edit: &dyn Fn(&mut dflow_testkit::query::Select)| {
        let mut changed = script.clone();
        changed.sink_key = None;
        edit(&mut changed.query.branches[0]);
        out.push((what, changed));
    };
    let text = format!("CAST({column} AS STRING) <> 'nobody writes this'");
    // In the place of the old one: beside a constant FALSE it would mean nothing.
    change("another filter", &|top| top.filter = Some(condition(text.clone())));
    let key = format!("CAST({column} AS STRING) || 'nobody writes this'");
    let mut keys = group.clone();
    keys.push(condition(key));
    change("another key", &|top| top.group = Some(keys.clone()));
    change("another aggregate", &|top| {
        let text = format!("COUNT(DISTINCT CAST({column} AS STRING) || 'nobody writes this')");
        let call = Expr { ty: Type::BigInt, ..condition(text) };
        top.items.push(call);
    });
    out
}
