//! Connections that break and servers that die while rows are written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use dflow_common::env::{Rng, SeededRng};
use dflow_common::{ChangeBatch, Ops, SqlType, TypeKind};
use dflow_test_servers::{Fault, Proxy, Server};
use mysql_async::prelude::Queryable;

use crate::kit::{Database, KINDS, Table};

/// Rounds per kind of fault.
fn rounds() -> u64 {
    if std::env::var("DFLOW_TEST_LEVEL").is_ok_and(|l| l == "full") { 50 } else { 6 }
}

/// A table through a proxy, and what must be in it.
struct Model {
    rows: BTreeMap<i64, String>,
    rng: SeededRng,
    count: u64,
}

impl Model {
    fn new(seed: u64) -> Self {
        Self { rows: BTreeMap::new(), rng: SeededRng::new(seed), count: 0 }
    }

    /// Random changes of few keys.
    fn changes(&mut self) -> ChangeBatch {
        let (mut ids, mut names, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..1 + self.rng.below(200) {
            let id = self.rng.below(300) as i64;
            self.count += 1;
            let name = format!("change {} of {id}", self.count);
            let deletes = self.rng.below(4) == 0;
            if deletes {
                self.rows.remove(&id);
            } else {
                self.rows.insert(id, name.clone());
            }
            ids.push(id);
            names.push(name);
            kinds.push(if deletes { 3 } else { 2 });
        }
        let columns: [(&str, ArrayRef, bool); 2] =
            [("id", Arc::new(Int64Array::from(ids)), true), ("name", Arc::new(StringViewArray::from(names)), true)];
        ChangeBatch::new(RecordBatch::try_from_iter_with_nullable(columns).unwrap(), Ops::from_kinds(kinds))
    }

    async fn check(&self, database: &Database, when: &str) {
        let rows: Vec<(i64, String)> = database.conn().await.query("SELECT id, name FROM t ORDER BY id").await.unwrap();
        assert_eq!(rows, self.rows.clone().into_iter().collect::<Vec<_>>(), "{when}");
    }
}

async fn table(database: &Database, port: u16) -> Table {
    database.run("CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR(60))").await;
    database
        .table(&[("id", TypeKind::BigInt.into()), ("name", SqlType::STRING)], &[0])
        .with("port", &port.to_string())
        .with("sink.max-retries", "100")
        .with("sink.buffer-flush.max-rows", "64")
        .with("properties.socketTimeout", "500")
        .with("properties.connectTimeout", "1000")
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_connections_lose_and_double_nothing() {
    for kind in KINDS {
        for guarantee in ["at-least-once", "exactly-once"] {
            let Some(database) = Database::on(kind).await else { continue };
            let proxy = Proxy::start(database.server.port());
            let table = table(&database, proxy.port()).await.with("sink.delivery-guarantee", guarantee);
            let mut writing = table.write().await.unwrap();
            let mut model = Model::new(7);
            for round in 0..rounds() * 4 {
                let fault = round % 4;
                match fault {
                    // In the middle of an answer, to a COMMIT as well as to anything else.
                    0 => proxy.cut_after(model.rng.below(120)),
                    1 => proxy.set(Fault::HalfOpen),
                    2 => proxy.set(Fault::Stall),
                    _ => proxy.set(Fault::Slow(20_000)),
                }
                let lifted = async {
                    tokio::time::sleep(Duration::from_millis(700)).await;
                    proxy.set(Fault::None);
                };
                let written = async {
                    for _ in 0..3 {
                        writing.writer.write(model.changes()).await.unwrap();
                    }
                    writing.checkpoint().await.unwrap();
                };
                if fault == 0 {
                    written.await;
                } else {
                    tokio::join!(written, lifted);
                }
                model.check(&database, &format!("{kind} {guarantee} after round {round}")).await;
            }
            assert!(proxy.accepted() > rounds(), "connections did break");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_restarted_loses_and_doubles_nothing() {
    for kind in KINDS {
        let Some(server) = tokio::task::spawn_blocking(move || Server::own(kind)).await.unwrap() else { continue };
        let database = Database::of(server.into()).await;
        let table = table(&database, database.server.port()).await.with("sink.delivery-guarantee", "exactly-once");
        let mut writing = table.write().await.unwrap();
        let mut model = Model::new(11);
        let over = Arc::new(AtomicBool::new(false));
        let (server, until) = (database.server.clone(), over.clone());
        let killer = std::thread::spawn(move || {
            let rng = SeededRng::new(3);
            let mut kills = 0;
            while !until.load(Ordering::Relaxed) || kills < rounds() {
                std::thread::sleep(Duration::from_millis(100 + rng.below(400)));
                server.kill();
                server.start();
                kills += 1;
            }
            kills
        });
        let mut checkpoints = 0;
        while !killer.is_finished() {
            for _ in 0..3 {
                writing.writer.write(model.changes()).await.unwrap();
            }
            writing.checkpoint().await.unwrap();
            checkpoints += 1;
            over.store(true, Ordering::Relaxed);
        }
        assert!(killer.join().unwrap() >= rounds() && checkpoints > 2, "{checkpoints} checkpoints");
        writing.checkpoint().await.unwrap();
        model.check(&database, kind).await;
    }
}
