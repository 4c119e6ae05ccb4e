//! The watermark race: chunks are read while eight writers commit in groups, so that the log is always ahead of what a query
//! sees. Every change is in the chunk or in the log, never in both and never in neither.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dflow_common::Classified;
use dflow_connector_mysql::cdc::snapshot::view::IN_FLIGHT_LIMIT;
use dflow_connector_mysql::error::TOO_MUCH_IN_FLIGHT;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::kit::{Database, Run, bigint, is_full, text};

pub(crate) const ROWS: i64 = 4_000;
const WRITERS: i64 = 8;

/// Changes that all writers make in a round.
fn changes_per_round() -> u64 {
    if is_full() { 50_000 } else { 3_000 }
}

fn rounds() -> u64 {
    if is_full() { 20 } else { 3 }
}

/// Writers that go on until they are told to stop.
pub(crate) struct Writers {
    stop: Arc<AtomicBool>,
    pub(crate) changes: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Writers {
    /// Each changes rows of its own residue class; `key` makes the key of a number.
    pub(crate) async fn start(database: &Database, key: fn(i64) -> String, pause: Duration) -> Writers {
        let (stop, changes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut tasks = Vec::new();
        for writer in 0..WRITERS {
            let (stop, changes, conn) = (stop.clone(), changes.clone(), database.conn().await);
            tasks.push(tokio::spawn(write(conn, writer, key, stop, changes, pause)));
        }
        Writers { stop, changes, tasks }
    }

    pub(crate) async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.changes.load(Ordering::Relaxed)
    }
}

async fn write(
    mut conn: Conn,
    writer: i64,
    key: fn(i64) -> String,
    stop: Arc<AtomicBool>,
    changes: Arc<AtomicU64>,
    pause: Duration,
) {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(writer as u64 + 1);
    let mut random = move |below: i64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as i64
    };
    let mut transaction = 0_i64;
    while !stop.load(Ordering::Relaxed) {
        transaction += 1;
        let mut pick = || random(ROWS / WRITERS) * WRITERS + writer;
        let (a, b, c) = (pick(), pick(), pick());
        let change = format!("{writer}.{transaction}");
        let row = |n: i64| format!("({}, '{n}:{change}')", key(n));
        let set = format!("SET v = CONCAT(SUBSTRING_INDEX(v, ':', 1), ':{change}')");
        let statements = match transaction % 4 {
            0 => vec![format!("DELETE FROM t WHERE id = {}", key(a))],
            1 if a != b => vec![format!("REPLACE INTO t (id, v) VALUES {}, {}", row(a), row(b))],
            2 => vec![
                "BEGIN".into(),
                format!("UPDATE t {set} WHERE id IN ({}, {}, {})", key(a), key(b), key(c)),
                format!("REPLACE INTO t (id, v) VALUES {}", row(a)),
                "COMMIT".into(),
            ],
            _ => vec![format!("UPDATE t {set} WHERE id = {}", key(a))],
        };
        for statement in statements {
            match conn.query_drop(&statement).await {
                Ok(()) => {}
                // Gap locks of two writers may meet.
                Err(mysql_async::Error::Server(e)) if matches!(e.code, 1213 | 1205 | 1020) => {
                    let _ = conn.query_drop("ROLLBACK").await;
                }
                // A server that is restarted.
                Err(_) => return,
            }
            changes.fetch_add(conn.affected_rows(), Ordering::Relaxed);
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}

pub(crate) fn number(i: i64) -> String {
    i.to_string()
}

async fn race(kind: &str, arguments: &'static [&str], gtid: &'static str, rounds: u64) {
    let Some(database) = Database::own(kind, arguments, gtid).await else { return };
    database.run("CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(40))").await;
    let values: Vec<String> = (0..ROWS).map(|i| format!("({i}, '{i}:first')")).collect();
    database.run(&format!("INSERT INTO t VALUES {}", values.join(","))).await;
    let chunk = ("scan.incremental.snapshot.chunk.size", "50");
    let source = database.table(&[("id", bigint()), ("v", text())], &[chunk]).open(None).unwrap();
    let mut all = 0;
    for round in 0..rounds {
        let writers = Writers::start(&database, number, Duration::ZERO).await;
        let readers = 1 + (round as usize % 3);
        let mut run = Run::start(source.as_ref(), &database.env, readers, None);
        let (mut during, enough) = (0, changes_per_round());
        run.until("the log is read", |run| {
            if !run.assigned.iter().any(|id| id.0.starts_with("log/")) {
                during = writers.changes.load(Ordering::Relaxed);
                return false;
            }
            writers.changes.load(Ordering::Relaxed) >= enough && run.log_batches > 0
        })
        .await;
        all += writers.stop().await;
        let expected = database.lines("SELECT CONCAT_WS('|', id, v) FROM t").await;
        run.until_equal(&expected).await;
        eprintln!("{kind} round {round}: {during} changes while {} splits were read by {readers}", run.assigned.len());
        assert!(during > 0, "rows were changed while chunks were read");
    }
    eprintln!("{kind} gtid {gtid}: {all} changes in all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mysql_with_gtids() {
    race("mysql", &["--sync-binlog=1"], "ON", rounds()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mysql_without_gtids() {
    race("mysql", &["--sync-binlog=1"], "OFF", rounds().div_ceil(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mariadb() {
    race("mariadb", &["--sync-binlog=1"], "ON", rounds()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_in_flight_have_a_limit() {
    let Some(database) = Database::own("mysql", &["--sync-binlog=1"], "ON").await else { return };
    database.run("CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(40))").await;
    database.run("INSERT INTO t VALUES (1, '1:first')").await;
    let source = database.table(&[("id", bigint()), ("v", text())], &[]).open(None).unwrap();
    let writers = Writers::start(&database, number, Duration::ZERO).await;
    // Not a byte: sooner or later something is in flight in every view.
    database.env.set_fail_point(IN_FLIGHT_LIMIT, "return(0)");
    let error = loop {
        let mut run = Run::start(source.as_ref(), &database.env, 1, None);
        let mut steps = 0..50;
        let failed = loop {
            match run.step(Duration::from_secs(5)).await {
                Err(e) => break Some(e),
                Ok(_) if steps.next().is_none() => break None,
                Ok(_) => {}
            }
        };
        if let Some(error) = failed {
            break error;
        }
    };
    writers.stop().await;
    assert_eq!(error.code(), TOO_MUCH_IN_FLIGHT.code, "{error}");
    assert!(error.retryable(), "less may be written later");
}
