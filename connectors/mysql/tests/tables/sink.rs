//! What a sink does to a table.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use dflow_common::{ChangeBatch, Ops, SqlType, TypeKind};
use dflow_connector_api::SinkMode;

use crate::kit::{Database, KINDS, Table};

fn int() -> SqlType {
    TypeKind::BigInt.into()
}

fn changes(ids: &[i64], texts: &[&str], kinds: &[i8]) -> ChangeBatch {
    let columns: [(&str, ArrayRef, bool); 2] = [
        ("a", Arc::new(Int64Array::from(ids.to_vec())), true),
        ("b", Arc::new(StringViewArray::from(texts.to_vec())), true),
    ];
    ChangeBatch::new(RecordBatch::try_from_iter_with_nullable(columns).unwrap(), Ops::from_kinds(kinds.to_vec()))
}

fn texts(rows: &[(&str, &str)]) -> Vec<Vec<Option<String>>> {
    rows.iter().map(|(a, b)| vec![Some((*a).to_owned()), Some((*b).to_owned())]).collect()
}

/// `a BIGINT PRIMARY KEY, b VARCHAR(20)`.
async fn keyed(database: &Database) -> Table {
    database.run("CREATE TABLE t (a BIGINT PRIMARY KEY, b VARCHAR(20))").await;
    database.table(&[("a", int()), ("b", SqlType::STRING)], &[0])
}

#[tokio::test]
async fn hostile_names_are_names() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        for (i, evil) in ["x`; DROP TABLE victim; --", "'\"\\", "größe ?", "a.b"].iter().enumerate() {
            let quoted = format!("`{}`", evil.replace('`', "``"));
            database.run("CREATE TABLE IF NOT EXISTS victim (a INT)").await;
            database.run(&format!("CREATE TABLE {quoted} ({quoted} BIGINT PRIMARY KEY, b VARCHAR(9))")).await;
            let table = database.table(&[(evil, int()), ("b", SqlType::STRING)], &[0]).with("table-name", evil);
            let table = if i % 2 == 0 { table } else { table.with("sink.delivery-guarantee", "exactly-once") };
            let mut writing = table.write().await.unwrap();
            writing.all(changes(&[1, 2, 3], &["'", "x", "y"], &[0, 0, 0])).await.unwrap();
            writing.all(changes(&[2], &[""], &[3])).await.unwrap();
            let rows = database.query(&format!("SELECT * FROM {quoted} ORDER BY 1")).await;
            assert_eq!(rows, texts(&[("1", "'"), ("3", "y")]), "{kind} {evil}");
        }
        database.query("SELECT a FROM victim").await;
    }
}

#[tokio::test]
async fn a_key_that_the_server_takes_for_another_ends_with_the_later_row() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        // Case does not count in this collation: `A` is `a`.
        database.run("CREATE TABLE t (b VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY, a BIGINT)").await;
        let table = database.table(&[("a", int()), ("b", SqlType::STRING)], &[1]);
        let mut writing = table.write().await.unwrap();
        writing.all(changes(&[1], &["a"], &[0])).await.unwrap();
        // A changed key comes as a delete and an insert, in one batch and in this order.
        writing.all(changes(&[1, 2], &["a", "A"], &[3, 0])).await.unwrap();
        assert_eq!(database.query("SELECT a, b FROM t").await, texts(&[("2", "A")]), "{kind}");
    }
}

#[tokio::test]
async fn a_row_that_frees_a_unique_value_is_deleted_before_the_one_that_takes_it() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        let table = keyed(&database).await;
        database.run("ALTER TABLE t ADD UNIQUE (b)").await;
        let mut writing = table.write().await.unwrap();
        writing.all(changes(&[1], &["x"], &[0])).await.unwrap();
        writing.all(changes(&[2, 1], &["x", "x"], &[0, 3])).await.unwrap();
        assert_eq!(database.query("SELECT a, b FROM t").await, texts(&[("2", "x")]), "{kind}");
    }
}

#[tokio::test]
async fn more_rows_than_one_statement_takes_are_written_and_deleted() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        let table = keyed(&database).await;
        let mut writing = table.write().await.unwrap();
        let ids: Vec<i64> = (0..5_003).rev().collect();
        let names = vec!["a name of eighteen"; ids.len()];
        writing.all(changes(&ids, &names, &vec![0; ids.len()])).await.unwrap();
        let count = "SELECT COUNT(*), SUM(a) FROM t";
        assert_eq!(database.query(count).await, texts(&[("5003", "12512503")]), "{kind}");
        writing.all(changes(&ids[..5_000], &names[..5_000], &[3; 5_000])).await.unwrap();
        assert_eq!(database.query(count).await, texts(&[("3", "3")]), "{kind}");
    }
}

#[tokio::test]
async fn zero_stays_zero_in_an_auto_increment_column() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        database.run("CREATE TABLE t (a BIGINT AUTO_INCREMENT PRIMARY KEY, b VARCHAR(20))").await;
        let mut writing = database.table(&[("a", int()), ("b", SqlType::STRING)], &[0]).write().await.unwrap();
        writing.all(changes(&[0, 7], &["x", "y"], &[0, 0])).await.unwrap();
        assert_eq!(database.query("SELECT a, b FROM t ORDER BY a").await, texts(&[("0", "x"), ("7", "y")]), "{kind}");
    }
}

#[tokio::test]
async fn rows_are_written_by_number_by_age_and_when_the_inbox_is_empty() {
    let Some(database) = Database::on("mariadb").await else { return };
    let table = keyed(&database).await.with("sink.buffer-flush.max-rows", "3");
    let count = || async { database.query("SELECT COUNT(*) FROM t").await[0][0].clone().unwrap() };
    let wait_for = async |rows: &str| {
        for _ in 0..500 {
            if count().await == rows {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{} rows, not {rows}", count().await);
    };
    let still = table.clone().with("sink.buffer-flush.interval", "0 s");
    let mut writing = still.write().await.unwrap();
    writing.writer.write(changes(&[1, 2], &["x", "x"], &[0, 0])).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(count().await, "0", "two rows of three wait");
    writing.writer.write(changes(&[3], &["x"], &[0])).await.unwrap();
    wait_for("3").await;
    writing.writer.write(changes(&[4], &["x"], &[0])).await.unwrap();
    writing.writer.flush().await.unwrap();
    wait_for("4").await;

    let mut writing = table.with("sink.buffer-flush.interval", "50 ms").write().await.unwrap();
    writing.writer.write(changes(&[5], &["x"], &[0])).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(60)).await;
    writing.writer.write(changes(&[6], &["x"], &[0])).await.unwrap();
    wait_for("6").await;
}

#[tokio::test]
async fn the_mode_follows_from_key_and_guarantee() {
    let Some(database) = Database::on("mariadb").await else { return };
    let columns = [("a", int())];
    let (keyed, appended) = (database.table(&columns, &[0]), database.table(&columns, &[]));
    assert_eq!(keyed.sink().mode(), SinkMode::Idempotent);
    assert_eq!(appended.sink().mode(), SinkMode::AtLeastOnce);
    let exactly = |t: &Table| t.clone().with("sink.delivery-guarantee", "exactly-once").sink().mode();
    assert_eq!((exactly(&keyed), exactly(&appended)), (SinkMode::Staged, SinkMode::Staged));
}

#[tokio::test]
async fn markers_of_long_ago_are_forgotten() {
    let Some(database) = Database::on("mariadb").await else { return };
    let mut writing = keyed(&database).await.with("sink.delivery-guarantee", "exactly-once").write().await.unwrap();
    for i in 0..20 {
        writing.all(changes(&[i], &["x"], &[0])).await.unwrap();
    }
    let markers = database.query("SELECT MIN(epoch), COUNT(*) FROM dflow_commits").await;
    assert_eq!(markers, texts(&[("4", "17")]));
}
