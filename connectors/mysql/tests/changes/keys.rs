//! Chunk keys of every kind, with rows that change while chunks are read. The key is not even read by the script.

use std::sync::atomic::Ordering;
use std::time::Duration;

use dflow_common::Classified;
use dflow_connector_mysql::error::NO_CHUNK_KEY;

use crate::kit::{Database, KINDS, Run, is_full, text};
use crate::race::{ROWS, Writers, number};

/// A type of key, and the literal of a number.
type Kind = (&'static str, fn(i64) -> String);

const KEYS: [Kind; 12] = [
    ("BIGINT UNSIGNED PRIMARY KEY", |i| (u64::MAX - i as u64).to_string()),
    ("BIGINT PRIMARY KEY", |i| (i64::MIN + i * 1_000_000_007_000).to_string()),
    ("INT PRIMARY KEY", number),
    ("VARBINARY(16) PRIMARY KEY", |i| format!("UNHEX('{:08x}00')", i * 7919 % 4093)),
    ("BINARY(6) PRIMARY KEY", |i| format!("UNHEX('{:04x}00')", i)),
    ("VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY", |i| {
        format!("'{}{i}'", ["a", "B", "c", "Ä", "_", "ß"][i as usize % 6])
    }),
    ("VARCHAR(40) CHARACTER SET latin1 COLLATE latin1_swedish_ci PRIMARY KEY", |i| {
        format!("'{}{i}'", ["a", "B", "ö", "Z", "~"][i as usize % 5])
    }),
    ("VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY", |i| {
        format!("'{}{i}'", ["a", "B", "ö", "\\t"][i as usize % 4])
    }),
    ("DATETIME(3) PRIMARY KEY", |i| format!("TIMESTAMP('2026-02-27') + INTERVAL {} SECOND", i * 37)),
    ("TIMESTAMP(6) PRIMARY KEY", |i| format!("TIMESTAMP('2026-03-28 20:00:00.5') + INTERVAL {} SECOND", i * 11)),
    ("TIME(2) PRIMARY KEY", |i| format!("SEC_TO_TIME({} - 90000.25)", i * 45)),
    ("DECIMAL(30, 5) PRIMARY KEY", |i| format!("{}.{:05}", i - ROWS / 2, i)),
];

async fn changed_while_read(database: &Database, key: &Kind, options: &[(&str, &str)], repeats: bool) {
    let (ty, literal) = *key;
    // A server looks for the place of a new reader from the start of a file.
    database.run("FLUSH BINARY LOGS").await;
    database.run("DROP TABLE IF EXISTS t").await;
    database.run(&format!("CREATE TABLE t (id {ty}, v VARCHAR(60))")).await;
    let values: Vec<String> = (0..ROWS).map(|i| format!("({}, '{i}:first')", literal(i))).collect();
    database.run(&format!("INSERT IGNORE INTO t VALUES {}", values.join(","))).await;
    let mut all = vec![("scan.incremental.snapshot.chunk.size", "100")];
    all.extend(options);
    let source = database.table(&[("v", text())], &all).open(None).unwrap();
    let writers = Writers::start(database, literal, Duration::from_millis(1)).await;
    let mut run = Run::start(source.as_ref(), &database.env, 2, None);
    run.folds[0].repeats = repeats;
    let enough = if is_full() { 20_000 } else { 300 };
    run.until(ty, |run| run.log_batches > 0 && writers.changes.load(Ordering::Relaxed) > enough).await;
    assert!(run.assigned.len() > 5, "{ty}: {:?}", run.assigned);
    writers.stop().await;
    run.until_equal(&database.lines("SELECT v FROM t").await).await;
}

async fn keys_of_every_kind(kind: &str) {
    let Some(database) = Database::own(kind, &["--sync-binlog=1"], "ON").await else { return };
    for key in &KEYS {
        eprintln!("{kind}: {}", key.0);
        changed_while_read(&database, key, &[], false).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_of_every_kind_on_mysql() {
    keys_of_every_kind("mysql").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_of_every_kind_on_mariadb() {
    keys_of_every_kind("mariadb").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn table_without_a_primary_key_by_its_chunk_key() {
    for kind in KINDS {
        let Some(database) = Database::own(kind, &["--sync-binlog=1"], "ON").await else { continue };
        let option = [("scan.incremental.snapshot.chunk.key-column", "id")];
        let key: Kind = ("BIGINT NULL, KEY (id)", |i| if i % 50 == 7 { "NULL".into() } else { (i / 3).to_string() });
        changed_while_read(&database, &key, &option, true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn table_without_a_key_names_the_option() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        database.run("CREATE TABLE t (id BIGINT, v VARCHAR(60))").await;
        let source = database.table(&[("v", text())], &[]).open(None).unwrap();
        let mut run = Run::start(source.as_ref(), &database.env, 1, None);
        let error = run.step(Duration::from_secs(20)).await.unwrap_err();
        assert_eq!(error.code(), NO_CHUNK_KEY.code);
        let help = format!("{:?}", error.diagnostic());
        assert!(help.contains("'scan.incremental.snapshot.chunk.key-column' = 'id'"), "{kind}: {help}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_larger_than_reckoned_are_cut() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        database.run("CREATE TABLE t (id BIGINT PRIMARY KEY, v MEDIUMTEXT)").await;
        for i in 0..40 {
            database.run(&format!("INSERT INTO t VALUES ({i}, CONCAT('{i}:', REPEAT('x', 1000000)))")).await;
        }
        let source = database.table(&[("v", text())], &[("scan.startup.mode", "snapshot")]).open(None).unwrap();
        let mut run = Run::start(source.as_ref(), &database.env, 1, None);
        let mut rests = 0;
        while !run.is_over() {
            assert!(run.step(Duration::from_secs(20)).await.unwrap());
            rests += usize::from(run.checkpoint().splits.contains(r#""rest":{"i""#));
        }
        assert_eq!(run.folds[0].lines(), database.lines("SELECT v FROM t").await, "{kind}");
        assert!(rests > 2, "{kind}: a checkpoint may come inside of a chunk");
    }
}
