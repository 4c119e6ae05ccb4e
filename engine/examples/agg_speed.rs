//! How many rows per CPU-second the aggregation takes, in process, one instance.
//!
//! ```text
//! cargo run --release -p dflow-engine --example agg_speed
//! ```
//! Each case prints rows, CPU-seconds (user + system, all threads) and millions of rows per CPU-second. The targets of
//! `docs/performance.md`: 10 K keys of BIGINT with SUM and COUNT at least 20, 1 M keys at least 5.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, missing_docs)]

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Decimal128Array, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{Field, Schema, SchemaRef};
use dflow_common::env::Spawner;
use dflow_common::metrics::Metrics;
use dflow_common::{ChangeBatch, Env, OperatorId, Ops};
use dflow_engine::operators::hash_agg::{AggregateCall, AggregateFunction, HashAggSpec};
use dflow_runtime::operator::{Operator, OperatorContext, OperatorFactory, Output};

const BATCH: usize = 8_192;
/// Rows after which a flush happens (`table.exec.mini-batch.size`).
const FLUSH_ROWS: usize = 1 << 20;
const BATCHES: usize = 64;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// User and system time of the process in seconds.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

fn context() -> OperatorContext {
    OperatorContext {
        job: "bench".into(),
        id: OperatorId("0".into()),
        name: "aggregate[0]".into(),
        subtask: 0,
        parallelism: 1,
        key_groups: 0..256,
        max_parallelism: 256,
        env: Env::production(Spawner::owned(1).unwrap()),
        metrics: Metrics::new(),
    }
}

/// `k` BIGINT, `t` STRING, `v` BIGINT, `d` DECIMAL, `f` BOOLEAN.
fn batches(keys: u64, count: usize) -> Vec<ChangeBatch> {
    let mut random = Random(42);
    (0..count)
        .map(|_| {
            let k: Vec<i64> = (0..BATCH).map(|_| random.below(keys) as i64).collect();
            let v: Vec<i64> = (0..BATCH).map(|_| random.below(1_000_000) as i64).collect();
            let t = StringViewArray::from_iter_values(k.iter().map(|k| format!("channel-{k}")));
            let d = Decimal128Array::from_iter_values(v.iter().map(|v| i128::from(*v)));
            let f: BooleanArray = v.iter().map(|v| Some(*v < 500_000)).collect();
            let columns: Vec<(&str, ArrayRef)> = vec![
                ("k", Arc::new(Int64Array::from(k))),
                ("t", Arc::new(t)),
                ("v", Arc::new(Int64Array::from(v))),
                ("d", Arc::new(d.with_precision_and_scale(10, 2).unwrap())),
                ("f", Arc::new(f)),
            ];
            ChangeBatch::inserts(RecordBatch::try_from_iter(columns).unwrap())
        })
        .collect()
}

fn call(function: AggregateFunction, argument: Option<usize>) -> AggregateCall {
    AggregateCall { function, argument, distinct: false, filter: None, span: None }
}

fn spec(input: &SchemaRef, group_by: Vec<usize>, calls: Vec<AggregateCall>, input_retracts: bool) -> HashAggSpec {
    let mut fields: Vec<Field> = group_by.iter().map(|i| input.field(*i).clone()).collect();
    for (i, c) in calls.iter().enumerate() {
        let ty = c.function.result_type(c.argument.map(|a| input.field(a).data_type())).unwrap();
        fields.push(Field::new(format!("c{i}"), ty, true));
    }
    let output = Arc::new(Schema::new(fields));
    HashAggSpec { input: input.clone(), group_by, calls, output, input_retracts, update_before: true }
}

/// Feeds `rows` rows and prints what they cost.
fn run(name: &str, spec: &HashAggSpec, input: &[ChangeBatch], rows: usize) {
    let mut operator: Box<dyn Operator> = spec.create(&context()).unwrap();
    let mut out = Output::new();
    let (mut fed, mut since, mut sent) = (0, 0, 0);
    let start = cpu_seconds();
    for batch in input.iter().cycle() {
        operator.process(0, batch.clone(), &mut out).unwrap();
        fed += batch.num_rows();
        since += batch.num_rows();
        if since >= FLUSH_ROWS || fed >= rows {
            operator.flush(&mut out).unwrap();
            sent += out.drain().count();
            since = 0;
        }
        if fed >= rows {
            break;
        }
    }
    let cpu = cpu_seconds() - start;
    let size = operator.state_size();
    println!(
        "{name:<44} {fed:>11} rows {cpu:>7.2} CPU-s {:>7.1} M rows/CPU-s {:>9} groups {:>5} B/group {sent} batches out",
        fed as f64 / cpu / 1e6,
        size.entries,
        size.bytes / size.entries.max(1),
    );
}

fn main() {
    use AggregateFunction::{Avg, Count, Max, Min, Sum};
    let sum_count = || vec![call(Sum, Some(2)), call(Count, None)];
    let small = batches(10_000, BATCHES);
    let large = batches(1_000_000, BATCHES * 8);
    let schema = small[0].schema();
    let distinct = |a: usize| AggregateCall { distinct: true, ..call(Count, Some(a)) };
    let filtered = |c: AggregateCall| AggregateCall { filter: Some(4), ..c };

    run("10 K BIGINT keys, SUM COUNT", &spec(&schema, vec![0], sum_count(), false), &small, 100_000_000);
    run("10 K BIGINT keys, SUM COUNT, may retract", &spec(&schema, vec![0], sum_count(), true), &small, 100_000_000);
    run("10 K STRING keys, SUM COUNT", &spec(&schema, vec![1], sum_count(), false), &small, 50_000_000);
    run("10 K (BIGINT, BOOLEAN) keys, SUM COUNT", &spec(&schema, vec![0, 4], sum_count(), false), &small, 30_000_000);
    run("1 M BIGINT keys, SUM COUNT", &spec(&schema, vec![0], sum_count(), false), &large, 50_000_000);
    run("1 M STRING keys, SUM COUNT", &spec(&schema, vec![1], sum_count(), false), &large, 30_000_000);
    let wide = vec![
        call(Count, None),
        filtered(call(Count, None)),
        call(Min, Some(2)),
        call(Max, Some(2)),
        call(Avg, Some(3)),
        call(Sum, Some(3)),
    ];
    run("10 K BIGINT keys, six calls, append", &spec(&schema, vec![0], wide.clone(), false), &small, 30_000_000);
    let retract = vec![call(Min, Some(2)), call(Max, Some(2))];
    let pairs: Vec<ChangeBatch> = small
        .windows(2)
        .flat_map(|w| [w[1].clone(), ChangeBatch::new(w[0].data.clone(), Ops::from_kinds(vec![3; BATCH]))])
        .collect();
    let mut changes = vec![small[0].clone()];
    changes.extend(pairs);
    // One pass only: a second would remove rows twice.
    let rows = changes.len() * BATCH;
    run("10 K BIGINT keys, MIN MAX, half removals", &spec(&schema, vec![0], retract, true), &changes, rows);
    let d = vec![distinct(2), filtered(distinct(2)), distinct(0)];
    run("no key, 3 COUNT(DISTINCT), 1 M values", &spec(&schema, vec![], d, false), &large, 10_000_000);
}
