//! The changelog oracle over random scripts.
//!
//! Each seed is a script (source, query, sink) and a history; see [`dflow_testkit::query`]. Seeds that once failed are in
//! `seeds.txt` and run first. `DFLOW_ORACLE_SCRIPT=<seed>` repeats one, `=<first>-<last>` several.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use dflow_common::env::{Rng, SeededRng};
use dflow_testkit::classes::Classes;
use dflow_testkit::generate;
use dflow_testkit::query::random::{self, Script};

use super::case::{Case, Question, Reference, schema_of};

/// Scripts of a CI run; `DFLOW_TEST_LEVEL=full` runs twenty times as many.
const SCRIPTS: u64 = 462;
/// Threads that run scripts.
const THREADS: usize = 2;
/// Failing scripts after which the run stops.
const FAILURES_MAX: usize = 30;

/// What one script or all of them did.
struct Tally {
    comparisons: u64,
    queries: Classes,
    histories: Classes,
}

impl Tally {
    fn new() -> Self {
        Self { comparisons: 0, queries: random::classes(), histories: Classes::of(generate::CLASSES) }
    }

    fn add(&mut self, other: &Tally) {
        self.comparisons += other.comparisons;
        self.queries.add(&other.queries);
        self.histories.add(&other.histories);
    }
}

#[test]
fn random_scripts_equal_the_batch_answer_at_every_barrier() {
    let full = std::env::var("DFLOW_TEST_LEVEL").as_deref() == Ok("full");
    let only = std::env::var("DFLOW_ORACLE_SCRIPT").ok().map(|text| {
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        first.parse::<u64>().unwrap()..=last.parse::<u64>().unwrap()
    });
    let kept = include_str!("seeds.txt").lines().filter_map(|l| l.split_whitespace().next()?.parse().ok());
    let last = if full { 20 * SCRIPTS } else { SCRIPTS };
    let seeds: Vec<u64> = only.clone().map_or_else(|| kept.chain(1..=last).collect(), Iterator::collect);
    let (next, failures, total) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Mutex::new(Tally::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let _entered = runtime.enter();
                let reference = Reference::new();
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match catch_unwind(AssertUnwindSafe(|| run(*seed, &runtime, &reference))) {
                        Ok(tally) => total.lock().unwrap().add(&tally),
                        Err(_) => {
                            let script = Script::random(*seed, &mut random::classes());
                            eprintln!("script {seed} failed:\n{}", script.stream());
                            let mut failures = failures.lock().unwrap();
                            failures.push(*seed);
                            if failures.len() >= FAILURES_MAX {
                                next.store(seeds.len(), Ordering::Relaxed);
                            }
                        }
                    }
                }
            });
        }
    });
    let (failures, total) = (failures.into_inner().unwrap(), total.into_inner().unwrap());
    let Tally { comparisons, queries, histories } = &total;
    println!("{comparisons} comparisons of {} scripts", seeds.len());
    println!("queries: {}\nhistories: {}", queries.summary(), histories.summary());
    assert!(failures.is_empty(), "scripts that failed, see above: {failures:?}");
    if only.is_none() {
        queries.assert_all_hit();
        histories.assert_all_hit();
        assert!(*comparisons >= 9_000, "only {comparisons} comparisons");
    }
}

/// One script, at parallelism 1, 2 and 3 and as drawn.
fn run(seed: u64, runtime: &tokio::runtime::Runtime, reference: &Reference) -> Tally {
    let mut tally = Tally::new();
    let script = Script::random(seed, &mut tally.queries);
    let rng = SeededRng::new(seed ^ 0x0dd_ba11);
    let columns = script.sink_columns();
    let question = Question {
        name: format!("script {seed}"),
        kind: script.kind,
        stream: script.stream(),
        batch: script.batch(),
        sink: schema_of(columns.iter().map(|(n, t)| (n.as_str(), t.as_str()))),
        sink_key: script.sink_key.clone(),
        watermark: script.watermark,
        tables: ["t", "a"].into_iter().filter(|t| script.query.reads(t)).collect(),
    };
    let classes = &mut tally.histories;
    let mut case = runtime.block_on(Case::new(question, (5, 40), reference, &rng, classes));
    for (parallelism, restore) in [(1, false), (2, true), (3, true), (1 + rng.below(3) as usize, rng.below(2) == 0)] {
        tally.comparisons += case.run(parallelism, restore, &rng, classes);
    }
    tally
}
