use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use dflow_common::Classified;
use dflow_common::env::{Rng, SeededRng};

use super::*;
use crate::operators::testing::{Cluster, Fold, batch, check, failure, schema};

/// The key is the second column, so that state order and column order differ.
fn spec() -> NormalizeSpec {
    let columns = [("v", DataType::Utf8View), ("k", DataType::Utf8View), ("n", DataType::Int32)];
    NormalizeSpec { schema: schema(&columns), key: vec![1], update_before: true }
}

#[test]
fn upserts_become_exact_changes() {
    let spec = spec();
    check(
        &spec,
        &spec.schema,
        "+ x a 1       | +I y a 2
         + y a 2       |
         + z b 1       |
         - NULL b NULL |
         - NULL c NULL |
         ---
         +U y a 2      |
         ---
         +U y a 3      | -U y a 2
                       | +U y a 3
         ---
         - NULL a NULL | -D y a 3
         ---
         - NULL a NULL |
         ---
         + w a NULL    | +I w a NULL",
    );
}

#[test]
fn without_update_before_only_the_new_row_is_sent() {
    let spec = NormalizeSpec { update_before: false, ..spec() };
    check(&spec, &spec.schema, "+ x a 1 | +I x a 1\n---\n+ y a 1 | +U y a 1\n---\n- NULL a NULL | -D y a 1");
}

#[test]
fn null_in_the_key_is_an_error_with_a_code() {
    let spec = spec();
    let e = failure(&spec, &spec.schema, &["+ x NULL 1"]);
    assert_eq!(e.code(), KEY_NULL.code);
    assert!(e.to_string().contains("`k`"), "{e}");
}

#[test]
fn random_upserts_equal_the_model_through_snapshots_and_restores() {
    let spec = spec();
    for seed in 0..60 {
        let rng = SeededRng::new(seed);
        let mut cluster = Cluster::new(&spec, vec![1], 1 + rng.below(3) as usize);
        let (mut table, mut fold) = (BTreeMap::<String, String>::new(), Fold::default());
        for step in 0..25 {
            let lines: Vec<String> = (0..rng.below(10))
                .map(|_| {
                    let key = format!("key_{}", rng.below(6));
                    if rng.below(4) == 0 {
                        table.remove(&key);
                        return format!("- NULL {key} NULL");
                    }
                    let value = ["x", "NULL", "a_text_longer_than_a_view"][rng.below(3) as usize];
                    let row = format!("{value} {key} {}", rng.below(2));
                    table.insert(key, row.clone());
                    format!("+U {row}")
                })
                .collect();
            if !lines.is_empty() {
                cluster.process(&batch(&spec.schema, &lines.iter().map(String::as_str).collect::<Vec<_>>()));
            }
            if rng.below(3) == 0 {
                continue;
            }
            fold.apply(&cluster.flush());
            let expected: BTreeMap<String, i64> = table.values().map(|r| (r.clone(), 1)).collect();
            assert_eq!(fold.0, expected, "seed {seed} step {step}");
            assert_eq!(cluster.entries(), table.len() as u64);
            if rng.below(3) == 0 {
                cluster.snapshot(rng.below(4) == 0);
                if rng.below(2) == 0 {
                    cluster.restore(1 + rng.below(3) as usize);
                }
            }
        }
    }
}

#[test]
fn rows_that_are_overwritten_do_not_pile_up() {
    let spec = spec();
    let mut cluster = Cluster::new(&spec, vec![1], 1);
    let mut fold = Fold::default();
    for round in 0..60 {
        let lines: Vec<String> =
            (0..1_000).map(|i| format!("+U a_text_longer_than_a_view_{round} key_{i} {round}")).collect();
        cluster.process(&batch(&spec.schema, &lines.iter().map(String::as_str).collect::<Vec<_>>()));
        fold.apply(&cluster.flush());
    }
    assert_eq!((fold.0.len(), cluster.entries()), (1_000, 1_000));
    assert!(cluster.bytes() < 3 << 20, "{} bytes for 1,000 rows", cluster.bytes());
}
