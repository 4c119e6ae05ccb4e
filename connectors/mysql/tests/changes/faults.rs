//! Connections that break, stall and go half-open while chunks and the log are read.

use std::time::Duration;

use dflow_test_servers::{Fault, Proxy};

use crate::kit::{Database, KINDS, Run, bigint, is_full, text};
use crate::race::{ROWS, Writers, number};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn broken_connections_lose_and_double_nothing() {
    for kind in KINDS {
        let Some(database) = Database::own(kind, &["--sync-binlog=1"], "ON").await else { continue };
        database.run("CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(40))").await;
        let values: Vec<String> = (0..ROWS).map(|i| format!("({i}, '{i}:first')")).collect();
        database.run(&format!("INSERT INTO t VALUES {}", values.join(","))).await;
        let proxy = Proxy::start(database.server.port());
        let port = proxy.port().to_string();
        let silence = ("jdbc.properties.socketTimeout", "5000");
        let options = [("port", port.as_str()), silence, ("scan.incremental.snapshot.chunk.size", "40")];
        let source = database.table(&[("id", bigint()), ("v", text())], &options).open(None).unwrap();
        let writers = Writers::start(&database, number, Duration::from_millis(3)).await;
        let mut run = Run::start(source.as_ref(), &database.env, 2, None);
        for fault in 0..if is_full() { 60 } else { 12 } {
            for _ in 0..database.env.rng.below(40) {
                run.step_cancelled(Duration::from_millis(50)).await.unwrap();
            }
            match fault % 5 {
                0 => proxy.cut_now(),
                1 => proxy.cut_after(5_000 + database.env.rng.below(60_000)),
                2 => {
                    proxy.set(Fault::Stall);
                    run.step_cancelled(Duration::from_millis(300)).await.unwrap();
                    proxy.set(Fault::None);
                }
                3 => {
                    // Nobody says a word: the answer's time-out and the log's silence must end it.
                    proxy.set(Fault::HalfOpen);
                    proxy.set(Fault::None);
                }
                _ => {
                    proxy.cut_after(500 + database.env.rng.below(3_000));
                }
            }
            run.checkpoint();
        }
        writers.stop().await;
        run.until_equal(&database.lines("SELECT CONCAT_WS('|', id, v) FROM t").await).await;
        assert!(proxy.accepted() > 6, "{kind}: it was cut");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn server_that_is_killed_and_comes_back_is_read_on() {
    for kind in KINDS {
        let arguments = &["--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1"];
        let Some(database) = Database::own(kind, arguments, "ON").await else { continue };
        database.run("CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(40))").await;
        let values: Vec<String> = (0..ROWS).map(|i| format!("({i}, '{i}:first')")).collect();
        database.run(&format!("INSERT INTO t VALUES {}", values.join(","))).await;
        let chunk = ("scan.incremental.snapshot.chunk.size", "20");
        let source = database.table(&[("id", bigint()), ("v", text())], &[chunk]).open(None).unwrap();
        let mut run = Run::start(source.as_ref(), &database.env, 2, None);
        // While chunks are read, then while the log is.
        for steps in [60, 600] {
            let writers = Writers::start(&database, number, Duration::from_millis(2)).await;
            for _ in 0..steps {
                run.step(Duration::from_millis(20)).await.unwrap();
            }
            let server = database.server.clone();
            tokio::task::spawn_blocking(move || {
                server.kill();
                server.start();
            })
            .await
            .unwrap();
            writers.stop().await;
            run.checkpoint();
        }
        let writers = Writers::start(&database, number, Duration::from_millis(2)).await;
        run.until("the log is read", |run| run.log_batches > 0).await;
        writers.stop().await;
        run.until_equal(&database.lines("SELECT CONCAT_WS('|', id, v) FROM t").await).await;
    }
}
