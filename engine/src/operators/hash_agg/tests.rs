use arrow::datatypes::{DataType, TimeUnit};
use dflow_common::Classified;
use dflow_common::env::{Rng, SeededRng};

use super::AggregateFunction::{Avg, Count, Max, Min, Sum};
use super::*;
use crate::operators::error::{RETRACT_MISSING, RETRACT_VALUE_MISSING};
use crate::operators::testing::{Cluster, Fold, batch, check, failure, schema};

/// A spec over `columns`, grouped by the first `keys` of them.
fn spec(columns: &[(&str, DataType)], keys: usize, calls: Vec<AggregateCall>, input_retracts: bool) -> HashAggSpec {
    let input = schema(columns);
    let mut output: Vec<_> = input.fields()[..keys].iter().map(|f| f.as_ref().clone()).collect();
    for (i, call) in calls.iter().enumerate() {
        let argument = call.argument.map(|a| input.field(a).data_type());
        output.push(arrow::datatypes::Field::new(format!("c{i}"), call.function.result_type(argument).unwrap(), true));
    }
    HashAggSpec {
        input,
        group_by: (0..keys).collect(),
        calls,
        output: std::sync::Arc::new(arrow::datatypes::Schema::new(output)),
        input_retracts,
        update_before: true,
    }
}

fn call(function: AggregateFunction, argument: Option<usize>) -> AggregateCall {
    AggregateCall { function, argument, distinct: false, filter: None, span: None }
}

fn distinct(function: AggregateFunction, argument: usize) -> AggregateCall {
    AggregateCall { distinct: true, ..call(function, Some(argument)) }
}

fn filtered(mut c: AggregateCall, filter: usize) -> AggregateCall {
    c.filter = Some(filter);
    c
}

const KV: &[(&str, DataType)] = &[("k", DataType::Utf8View), ("v", DataType::Int32)];

#[test]
fn group_disappears_with_its_last_row() {
    let spec = spec(KV, 1, vec![call(Count, None)], true);
    check(
        &spec,
        &spec.input,
        "+ a 1      | +I a 1
         ---
         - a 1      | -D a 1
         ---",
    );
}

#[test]
fn a_flush_sends_one_change_per_group_and_none_that_changes_nothing() {
    let spec = spec(KV, 1, vec![call(Sum, Some(1))], true);
    check(
        &spec,
        &spec.input,
        "+ a 1      | +I a 3
         + a 2      | +I b 5
         + b 5      |
         + c 1      |
         - c 1      |
         ---
         + a 7      | -U b 5
         - a 7      | +U b 6
         + b 1      |
         ---
         - a 1      | -D a 3
         - a 2      |
         ---
         + a 9      | +I a 9",
    );
}

#[test]
fn without_update_before_only_the_new_row_is_sent() {
    let mut spec = spec(KV, 1, vec![call(Sum, Some(1))], true);
    spec.update_before = false;
    check(&spec, &spec.input, "+ a 1 | +I a 1\n---\n+ a 1 | +U a 2\n---\n- a 1 |\n- a 1 | -D a 2");
}

#[test]
fn without_keys_there_is_no_row_before_the_first_and_after_the_last_input_row() {
    let spec = spec(KV, 0, vec![call(Count, None), call(Sum, Some(1))], true);
    check(
        &spec,
        &spec.input,
        " --- \n+ a 1 | +I 1 1\n---\n+ b NULL | -U 1 1\n | +U 2 1\n---\n- a 1 | -D 2 1\n- b NULL |",
    );
}

#[test]
fn select_distinct_is_a_group_by_without_calls() {
    let spec = spec(KV, 2, vec![], true);
    check(
        &spec,
        &spec.input,
        "+ a 1      | +I a 1
         + a 1      | +I NULL NULL
         + NULL NULL|
         ---
         - a 1      |
         ---
         - a 1      | -D a 1
         - NULL NULL| -D NULL NULL",
    );
}

#[test]
fn nulls_do_not_count_and_an_aggregate_of_nulls_is_null() {
    let calls =
        vec![call(Count, None), call(Count, Some(1)), call(Sum, Some(1)), call(Avg, Some(1)), call(Min, Some(1))];
    for retracts in [true, false] {
        let spec = spec(KV, 1, calls.clone(), retracts);
        check(
            &spec,
            &spec.input,
            "+ a NULL   | +I a 1 0 NULL NULL NULL
             ---
             + a 7      | -U a 1 0 NULL NULL NULL
             + a -2     | +U a 3 2 5 2 -2",
        );
    }
}

#[test]
fn whole_numbers_wrap_and_their_average_truncates() {
    let columns = [("k", DataType::Int64), ("t", DataType::Int8), ("b", DataType::Int64)];
    let calls = vec![call(Sum, Some(1)), call(Avg, Some(1)), call(Sum, Some(2)), call(Avg, Some(2))];
    let spec = spec(&columns, 1, calls, true);
    check(
        &spec,
        &spec.input,
        "+ 1 100 9223372036854775807   | +I 1 -56 100 -9223372036854775808 -4611686018427387904
         + 1 100 1                     |
         ---
         - 1 100 1                     | -U 1 -56 100 -9223372036854775808 -4611686018427387904
         + 1 -101 -9223372036854775808 | +U 1 -1 0 -1 0",
    );
}

#[test]
fn decimals_beyond_38_digits_are_null_until_they_fit_again() {
    let columns = [("k", DataType::Int64), ("d", DataType::Decimal128(38, 2))];
    let spec = spec(&columns, 1, vec![call(Sum, Some(1)), call(Avg, Some(1))], true);
    let max = "999999999999999999999999999999999999.99";
    check(
        &spec,
        &spec.input,
        &format!(
            "+ 1 1.00   | +I 1 1.00 1.000000
             ---
             + 1 {max}  | -U 1 1.00 1.000000
                        | +U 1 NULL NULL
             ---
             - 1 {max}  | -U 1 NULL NULL
             + 1 1.01   | +U 1 3.02 1.006667
             + 1 1.01   |"
        ),
    );
}

#[test]
fn special_floats_leave_no_trace() {
    let columns = [("k", DataType::Int64), ("f", DataType::Float64)];
    let spec = spec(&columns, 1, vec![call(Sum, Some(1)), call(Avg, Some(1)), call(Max, Some(1))], true);
    check(
        &spec,
        &spec.input,
        "+ 1 1.5    | +I 1 NaN NaN NaN
         + 1 NaN    |
         + 1 inf    |
         ---
         - 1 NaN    | -U 1 NaN NaN NaN
                    | +U 1 inf inf inf
         ---
         + 1 -inf   | -U 1 inf inf inf
                    | +U 1 NaN NaN inf
         ---
         - 1 inf    | -U 1 NaN NaN inf
         - 1 -inf   | +U 1 4.0 2.0 2.5
         + 1 2.5    |",
    );
}

#[test]
fn float_groups_are_one_zero_and_one_nan() {
    let spec = spec(&[("f", DataType::Float64)], 1, vec![call(Count, None)], false);
    check(&spec, &spec.input, "+ 0.0 | +I 0.0 2\n+ -0.0 | +I NaN 2\n+ NaN |\n+ -NaN |");
}

#[test]
fn the_next_extreme_shows_when_the_last_one_is_removed() {
    let spec = spec(KV, 1, vec![call(Min, Some(1)), call(Max, Some(1))], true);
    check(
        &spec,
        &spec.input,
        "+ a 3      | +I a 1 3
         + a 1      |
         + a 1      |
         ---
         - a 1      |
         ---
         - a 1      | -U a 1 3
                    | +U a 3 3
         ---
         + a NULL   | -U a 3 3
         - a 3      | +U a NULL NULL",
    );
}

#[test]
fn min_and_max_take_text_decimals_timestamps_and_booleans() {
    let columns = [
        ("s", DataType::Utf8View),
        ("d", DataType::Decimal128(10, 2)),
        ("t", DataType::Timestamp(TimeUnit::Millisecond, None)),
        ("b", DataType::Boolean),
        ("y", DataType::Date32),
    ];
    let calls: Vec<_> = (0..5).flat_map(|i| [call(Min, Some(i)), call(Max, Some(i))]).collect();
    for retracts in [true, false] {
        let spec = spec(&columns, 0, calls.clone(), retracts);
        check(
            &spec,
            &spec.input,
            "+ b -1.50 2024-01-02T03:04:05.678 true 2024-01-02   | +I a longer text of 26 bytes b -1.50 10.00 1969-12-31T23:59:59.999 2024-01-02T03:04:05.678 false true 1969-12-31 2024-01-02
             + a_longer_text_of_26_bytes 10.00 1969-12-31T23:59:59.999 false 1969-12-31 |"
                .replace("a longer text of 26 bytes", "a_longer_text_of_26_bytes")
                .as_str(),
        );
    }
}

#[test]
fn distinct_counts_a_value_once_per_filter() {
    let columns = [("k", DataType::Utf8View), ("v", DataType::Int32), ("f", DataType::Boolean)];
    let calls = vec![
        distinct(Count, 1),
        filtered(distinct(Count, 1), 2),
        distinct(Sum, 1),
        distinct(Avg, 1),
        distinct(Max, 1),
        filtered(call(Count, None), 2),
    ];
    let spec = spec(&columns, 1, calls, true);
    check(
        &spec,
        &spec.input,
        "+ a 7 true      | +I a 2 1 10 5 7 2
         + a 7 false     |
         + a 3 NULL      |
         + a NULL true   |
         ---
         - a 7 true      | -U a 2 1 10 5 7 2
                         | +U a 2 0 10 5 7 1
         ---
         - a 7 false     | -U a 2 0 10 5 7 1
                         | +U a 1 0 3 3 3 1",
    );
}

#[test]
fn removing_a_row_that_was_never_added_is_an_error_with_a_code() {
    let counted = spec(KV, 1, vec![call(Count, None)], true);
    let e = failure(&counted, &counted.input, &["- a 1"]);
    assert_eq!(e.code(), RETRACT_MISSING.code, "{e}");
    assert!(e.to_string().contains("operator[0]") && e.to_string().contains("history"), "{e}");
    for calls in [vec![call(Max, Some(1))], vec![distinct(Count, 1)]] {
        let spec = spec(KV, 1, calls, true);
        let e = failure(&spec, &spec.input, &["+ a 1", "+ a 2", "- a 3"]);
        assert_eq!(e.code(), RETRACT_VALUE_MISSING.code, "{e}");
        assert!(e.to_string().contains("`v`"), "{e}");
        let e = failure(&spec, &spec.input, &["+ a 1", "- a NULL"]);
        assert_eq!(e.code(), RETRACT_VALUE_MISSING.code, "a value is left though no row is: {e}");
    }
}

#[test]
fn calls_share_accumulators_and_distinct_tables() {
    let calls = vec![call(Count, None), call(Sum, Some(1)), call(Avg, Some(1)), call(Min, Some(1)), call(Max, Some(1))];
    let layout = Layout::new(&spec(KV, 1, calls, true)).unwrap();
    assert_eq!((layout.parts.len(), layout.calls[0]), (2, None));
    let columns = [("k", DataType::Utf8View), ("v", DataType::Int32), ("f", DataType::Boolean)];
    let calls = vec![distinct(Count, 1), filtered(distinct(Count, 1), 2), distinct(Sum, 1), distinct(Count, 0)];
    let layout = Layout::new(&spec(&columns, 1, calls, true)).unwrap();
    assert_eq!(layout.distinct, [(1, vec![None, Some(2)]), (0, vec![None])]);
}

// ------------------------------------------------------------------------------------------------- the model

/// A row of the model test: two keys and an argument of each kind.
#[derive(Clone, PartialEq)]
struct Row {
    k: Option<&'static str>,
    n: Option<i64>,
    i: Option<i32>,
    d: Option<i128>,
    f: Option<f64>,
    s: Option<&'static str>,
    b: Option<bool>,
}

const MODEL: &[(&str, DataType)] = &[
    ("k", DataType::Utf8View),
    ("n", DataType::Int64),
    ("i", DataType::Int32),
    ("d", DataType::Decimal128(20, 2)),
    ("f", DataType::Float64),
    ("s", DataType::Utf8View),
    ("b", DataType::Boolean),
];

fn pick<T: Clone>(rng: &SeededRng, values: &[T]) -> Option<T> {
    let i = rng.below(values.len() as u64 + 1) as usize;
    values.get(i).cloned()
}

impl Row {
    fn random(rng: &SeededRng) -> Row {
        Row {
            k: pick(rng, &["a", "b", "a_key_longer_than_an_inline_view"]),
            n: pick(rng, &[0, 1, i64::MIN]),
            i: pick(rng, &[i32::MIN, i32::MAX, 0, 7]),
            d: pick(rng, &[1, -250, 99_999_999_999_999_999_999]),
            f: pick(rng, &[1.5, -0.0, 0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -2.25]),
            s: pick(rng, &["x", "a_text_longer_than_an_inline_view", "y", "z"]),
            b: pick(rng, &[true, false]),
        }
    }

    fn text(&self) -> String {
        fn show<T: ToString>(v: &Option<T>) -> String {
            v.as_ref().map_or("NULL".into(), ToString::to_string)
        }
        let d = self.d.map(|d| format!("{}{}.{:02}", if d < 0 { "-" } else { "" }, d.abs() / 100, d.abs() % 100));
        let f = self.f.map(|f| format!("{f:?}"));
        [show(&self.k), show(&self.n), show(&self.i), show(&d), show(&f), show(&self.s), show(&self.b)].join(" ")
    }
}

/// The calls of the model test; `expect` computes them again, another way.
fn model_calls() -> Vec<AggregateCall> {
    vec![
        call(Count, None),
        call(Count, Some(5)),
        call(Sum, Some(2)),
        call(Avg, Some(2)),
        call(Min, Some(2)),
        call(Sum, Some(3)),
        call(Avg, Some(3)),
        call(Max, Some(3)),
        call(Sum, Some(4)),
        call(Min, Some(4)),
        call(Max, Some(4)),
        call(Max, Some(5)),
        filtered(call(Min, Some(5)), 6),
        filtered(call(Count, None), 6),
        distinct(Count, 2),
        filtered(distinct(Count, 2), 6),
        distinct(Sum, 3),
        distinct(Count, 5),
        distinct(Count, 4),
        call(Max, Some(6)),
    ]
}

fn decimal(v: i128, scale: usize) -> String {
    let unit = 10i128.pow(scale as u32);
    format!("{}{}.{:0scale$}", if v < 0 { "-" } else { "" }, v.abs() / unit, v.abs() % unit)
}

/// The result row of a group, by the definition of each aggregate over its rows.
fn expect(rows: &[&Row]) -> String {
    fn null<T: ToString>(v: Option<T>) -> String {
        v.map_or("NULL".into(), |v| v.to_string())
    }
    fn set<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
        let mut seen = Vec::new();
        values.for_each(|v| {
            if !seen.contains(&v) {
                seen.push(v)
            }
        });
        seen
    }
    let zero = |f: f64| if f == 0.0 { 0.0 } else { f };
    let ints: Vec<i32> = rows.iter().filter_map(|r| r.i).collect();
    let decimals: Vec<i128> = rows.iter().filter_map(|r| r.d).collect();
    let floats: Vec<f64> = rows.iter().filter_map(|r| r.f).map(zero).collect();
    let mut sorted = floats.clone();
    sorted.sort_by(f64::total_cmp);
    let texts: Vec<&str> = rows.iter().filter_map(|r| r.s).collect();
    let passed = || rows.iter().filter(|r| r.b == Some(true));
    let float = |f: f64| format!("{f:?}");
    let sum: i128 = decimals.iter().sum();
    let average = (!decimals.is_empty()).then(|| {
        let (scaled, n) = (sum * 10_000, decimals.len() as i128);
        decimal((scaled.abs() * 2 + n) / (2 * n) * scaled.signum(), 6)
    });
    let distinct_decimals = set(decimals.iter());
    [
        rows.len().to_string(),
        texts.len().to_string(),
        null(ints.iter().copied().reduce(i32::wrapping_add)),
        null((!ints.is_empty()).then(|| ints.iter().map(|i| i64::from(*i)).sum::<i64>() / ints.len() as i64)),
        null(ints.iter().min()),
        null((!decimals.is_empty()).then(|| decimal(sum, 2))),
        null(average),
        null(decimals.iter().max().map(|d| decimal(*d, 2))),
        null((!floats.is_empty()).then(|| float(zero(floats.iter().sum())))),
        null(sorted.first().map(|f| float(*f))),
        null(sorted.last().map(|f| float(*f))),
        null(texts.iter().max()),
        null(passed().filter_map(|r| r.s).min()),
        passed().count().to_string(),
        set(ints.iter()).len().to_string(),
        set(passed().filter_map(|r| r.i)).len().to_string(),
        null((!decimals.is_empty()).then(|| decimal(distinct_decimals.into_iter().sum(), 2))),
        set(texts.iter()).len().to_string(),
        set(floats.iter().map(|f| f.to_bits())).len().to_string(),
        null(rows.iter().filter_map(|r| r.b).max()),
    ]
    .join(" ")
}

fn model(rows: &[Row], keys: usize) -> Fold {
    let mut groups: Vec<(String, Vec<&Row>)> = Vec::new();
    for row in rows {
        let key = row.text().split(' ').take(keys).collect::<Vec<_>>().join(" ");
        match groups.iter_mut().find(|g| g.0 == key) {
            Some(group) => group.1.push(row),
            None => groups.push((key, vec![row])),
        }
    }
    let row = |(key, rows): (String, Vec<&Row>)| (format!("{key} {}", expect(&rows)).trim_start().to_owned(), 1);
    Fold(groups.into_iter().map(row).collect())
}

/// Random scripts of adds, removes, flushes, snapshots and restores with another parallelism, against the model.
fn random_scripts(keys: usize, retracts: bool, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let rng = SeededRng::new(seed);
        let spec = spec(MODEL, keys, model_calls(), retracts);
        let mut cluster = Cluster::new(&spec, (0..keys).collect(), 1 + rng.below(3) as usize);
        let (mut rows, mut fold) = (Vec::<Row>::new(), Fold::default());
        for step in 0..30 {
            let mut lines = Vec::new();
            for _ in 0..rng.below(12) {
                if retracts && !rows.is_empty() && rng.below(5) < 2 {
                    let row = rows.swap_remove(rng.below(rows.len() as u64) as usize);
                    lines.push(format!("- {}", row.text()));
                } else {
                    let row = Row::random(&rng);
                    lines.push(format!("+ {}", row.text()));
                    rows.push(row);
                }
            }
            if retracts && rng.below(8) == 0 {
                lines.extend(rows.drain(..).map(|r| format!("- {}", r.text())));
            }
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let cut = rng.below(lines.len() as u64 + 1) as usize;
            for part in [&lines[..cut], &lines[cut..]] {
                if !part.is_empty() {
                    cluster.process(&batch(&spec.input, part));
                }
            }
            if rng.below(3) == 0 {
                continue;
            }
            fold.apply(&cluster.flush());
            assert_eq!(fold.0, model(&rows, keys).0, "seed {seed} step {step}");
            if rng.below(3) == 0 {
                cluster.snapshot(rng.below(4) == 0);
                if rng.below(2) == 0 {
                    cluster.restore(1 + rng.below(3) as usize);
                }
            }
        }
        if retracts && !rows.is_empty() {
            let lines: Vec<String> = rows.drain(..).map(|r| format!("- {}", r.text())).collect();
            cluster.process(&batch(&spec.input, &lines.iter().map(String::as_str).collect::<Vec<_>>()));
            fold.apply(&cluster.flush());
            assert!(fold.0.is_empty(), "seed {seed}: {:?}", fold.0);
            assert_eq!(cluster.entries(), 0, "seed {seed}: state is left");
        }
    }
}

#[test]
fn random_changelogs_by_two_keys_equal_the_model() {
    random_scripts(2, true, 0..40);
}

#[test]
fn random_changelogs_by_one_text_key_equal_the_model() {
    random_scripts(1, true, 100..140);
}

#[test]
fn random_changelogs_without_keys_equal_the_model() {
    random_scripts(0, true, 200..220);
}

#[test]
fn random_appends_equal_the_model() {
    random_scripts(1, false, 300..330);
}
