//! Tables, then what changes.

use std::time::Duration;

use dflow_common::{SqlType, TypeKind};
use mysql_async::prelude::Queryable;

use crate::kit::{Database, KINDS, Run, bigint, text};

const ROWS: &str = "SELECT CONCAT_WS('|', id, v) FROM t";

async fn filled(database: &Database, rows: i64) {
    database.run("CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(200))").await;
    let values: Vec<String> = (1..=rows).map(|i| format!("({i}, 'row {i}')")).collect();
    for part in values.chunks(500) {
        database.run(&format!("INSERT INTO t VALUES {}", part.join(","))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_table_then_its_changes() {
    for kind in KINDS {
        for readers in [1, 3] {
            let Some(database) = Database::on(kind).await else { continue };
            filled(&database, 1_000).await;
            let chunk = ("scan.incremental.snapshot.chunk.size", "100");
            let source = database.table(&[("id", bigint()), ("v", text())], &[chunk]).open(None).unwrap();
            let mut run = Run::start(source.as_ref(), &database.env, readers, None);
            run.until_equal(&database.lines(ROWS).await).await;
            assert_eq!(run.folds[0].changes, 1_000, "{kind}: each row once");
            assert!(run.assigned.len() >= 10, "{kind}: in chunks: {:?}", run.assigned);
            database.run("UPDATE t SET v = 'changed' WHERE id % 10 = 0").await;
            database.run("DELETE FROM t WHERE id % 10 = 1").await;
            database.run("UPDATE t SET id = id + 100000 WHERE id % 10 = 2").await;
            database.run("INSERT INTO t VALUES (5001, 'new')").await;
            run.until_equal(&database.lines(ROWS).await).await;
            let logs: Vec<_> = run.assigned.iter().filter(|id| id.0.starts_with("log/")).collect();
            assert_eq!(logs.len(), 1, "{kind}: one log");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_table_and_a_table_that_is_made_later_are_followed() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        database.run("CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(200))").await;
        let declared = database.table(&[("id", bigint()), ("v", text())], &[("table-name", "t.*")]);
        let source = declared.metadata("of", text(), "table_name").open(None).unwrap();
        let mut run = Run::start(source.as_ref(), &database.env, 1, None);
        run.until("the log is read", |run| run.assigned.iter().any(|id| id.0.starts_with("log/"))).await;
        database.run("CREATE TABLE t2 (id BIGINT PRIMARY KEY, v VARCHAR(200))").await;
        database.run("INSERT INTO t2 VALUES (1, 'a')").await;
        database.run("INSERT INTO t VALUES (1, 'a')").await;
        run.until_equal(&["1|a|t".to_owned(), "1|a|t2".to_owned()]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_says_where_when_and_what() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        filled(&database, 2).await;
        let declared = database.table(&[("id", bigint())], &[("scan.read-changelog-as-append-only.enabled", "true")]);
        let declared = declared.metadata("db", text(), "database_name").metadata("kind", text(), "row_kind");
        let source = declared.metadata("at", SqlType::from(TypeKind::TimestampLtz(3)), "op_ts").open(None).unwrap();
        let mut run = Run::start(source.as_ref(), &database.env, 1, None);
        run.keeps_lines = true;
        run.until("both rows", |run| run.lines.len() == 2).await;
        let name = &database.name;
        let mut lines = run.lines.clone();
        lines.sort();
        assert_eq!(lines, [1, 2].map(|i| format!("0: +I {i}|{name}|+I|1970-01-01T00:00:00")));
        database.run("UPDATE t SET v = 'x' WHERE id = 1").await;
        database.run("DELETE FROM t WHERE id = 2").await;
        run.until("all changes", |run| run.lines.len() == 5).await;
        let kinds: Vec<&str> = run.lines[2..].iter().map(|l| l.split('|').nth(2).unwrap()).collect();
        assert_eq!(kinds, ["-U", "+U", "-D"], "{kind}");
        assert!(run.lines.iter().all(|l| l.starts_with("0: +I ")), "{kind}: appends only");
        assert!(run.lines[2..].iter().all(|l| l.split('|').nth(3).unwrap().starts_with("20")), "{:?}", run.lines);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_alone_ends() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        filled(&database, 500).await;
        let options = [("scan.startup.mode", "snapshot"), ("scan.incremental.snapshot.chunk.size", "50")];
        let source = database.table(&[("id", bigint()), ("v", text())], &options).open(None).unwrap();
        for readers in [1, 2] {
            let mut run = Run::start(source.as_ref(), &database.env, readers, None);
            run.until("it ends", Run::is_over).await;
            assert_eq!(run.folds[0].lines(), database.lines(ROWS).await, "{kind}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_declared_tables_share_one_log() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        filled(&database, 10).await;
        database.run("CREATE TABLE u (id BIGINT PRIMARY KEY, w INT)").await;
        database.run("INSERT INTO u VALUES (7, 70)").await;
        let t = database.table(&[("id", bigint()), ("v", text())], &[]).open(None).unwrap();
        let u = database.table(&[("w", bigint())], &[("table-name", "u")]).named("u").open(None).unwrap();
        assert_eq!(t.share_key(), u.share_key());
        let both = t.merge(u.as_ref()).unwrap();
        assert_eq!(both.outputs().len(), 2);
        let mut run = Run::start(both.as_ref(), &database.env, 1, None);
        run.until_equal(&database.lines(ROWS).await).await;
        database.run("UPDATE u SET w = 71").await;
        database.run("UPDATE t SET v = 'x' WHERE id = 1").await;
        run.until_equal(&database.lines(ROWS).await).await;
        run.until("the other table", |run| run.folds[1].lines() == ["71"]).await;
        let dumps = database
            .lines("SELECT CAST(ID AS CHAR) FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'")
            .await;
        assert!(!dumps.is_empty());
        assert_eq!(run.assigned.iter().filter(|id| id.0.starts_with("log/")).count(), 1, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_without_tables_begin_in_the_log() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        filled(&database, 3).await;
        let columns = [("id", bigint()), ("v", text())];
        let latest = database.table(&columns, &[("scan.startup.mode", "latest-offset")]).open(None).unwrap();
        let earliest = database.table(&columns, &[("scan.startup.mode", "earliest-offset")]).open(None).unwrap();
        let mut late = Run::start(latest.as_ref(), &database.env, 1, None);
        late.until("the log is read", |run| !run.assigned.is_empty()).await;
        late.step(Duration::from_secs(1)).await.unwrap();
        database.run("INSERT INTO t VALUES (4, 'four')").await;
        late.until_equal(&["4|four".to_owned()]).await;
        let mut early = Run::start(earliest.as_ref(), &database.env, 1, None);
        early.until_equal(&database.lines(ROWS).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_that_are_prepared_come_with_their_commit() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        filled(&database, 100).await;
        let prepare = async |name: &str, id: u32| {
            let mut conn = database.conn().await;
            for sql in [
                format!("XA START '{name}'"),
                format!("INSERT INTO t VALUES ({id}, '{name}')"),
                format!("XA END '{name}'"),
                format!("XA PREPARE '{name}'"),
            ] {
                conn.query_drop(sql).await.unwrap();
            }
            conn
        };
        let name = |n: u32| format!("{}-{n}", database.name);
        // Before anybody reads, and committed while tables are looked for.
        let mut early = prepare(&name(1), 1_001).await;
        let chunk = ("scan.incremental.snapshot.chunk.size", "10");
        let source = database.table(&[("id", bigint()), ("v", text())], &[chunk]).open(None).unwrap();
        let mut run = Run::start(source.as_ref(), &database.env, 1, None);
        for _ in 0..3 {
            run.step(Duration::from_millis(200)).await.unwrap();
        }
        assert_eq!(run.folds[0].changes, 0, "{kind}: nothing is read before it is over");
        early.query_drop(format!("XA COMMIT '{}'", name(1))).await.unwrap();
        run.until("some chunks are read", |run| run.folds[0].changes > 30).await;
        // In the middle of the chunks, committed in the log; and one that is rolled back.
        let (mut late, mut never) = (prepare(&name(2), 1_002).await, prepare(&name(3), 1_003).await);
        run.until("the log is read", |run| run.assigned.iter().any(|id| id.0.starts_with("log/"))).await;
        database.run("UPDATE t SET v = 'x' WHERE id = 5").await;
        late.query_drop(format!("XA COMMIT '{}'", name(2))).await.unwrap();
        never.query_drop(format!("XA ROLLBACK '{}'", name(3))).await.unwrap();
        run.until_equal(&database.lines(ROWS).await).await;
        assert!(run.folds[0].lines().iter().any(|l| l.starts_with("1001|")), "{kind}");
        assert!(run.folds[0].lines().iter().any(|l| l.starts_with("1002|")), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn table_that_is_scanned_twice_has_two_outputs() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        filled(&database, 10).await;
        let declared = database.table(&[("id", bigint()), ("v", text())], &[]);
        let (ids, all) = (declared.open(Some(&[0])).unwrap(), declared.open(None).unwrap());
        let both = ids.merge(all.as_ref()).unwrap();
        let mut run = Run::start(both.as_ref(), &database.env, 1, None);
        let ids: Vec<String> = database.lines("SELECT CAST(id AS CHAR) FROM t").await;
        run.until_equal(&ids).await;
        let expected = database.lines(ROWS).await;
        run.until("the other scan", |run| run.folds[1].lines() == expected).await;
        let checkpoint = run.checkpoint();
        drop(run);
        database.run("DELETE FROM t WHERE id > 5").await;
        let mut run = Run::start(both.as_ref(), &database.env, 1, Some(&checkpoint));
        run.until("changes in both", |run| run.folds.iter().all(|f| f.rows.len() == 5)).await;
        assert!(run.folds.iter().all(|f| f.faults.is_empty()), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_in_the_log_may_be_inside_of_a_transaction() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        filled(&database, 1).await;
        let mut conn = database.conn().await;
        let status: Result<Option<mysql_async::Row>, _> = conn.query_first("SHOW BINARY LOG STATUS").await;
        let status = match status {
            Ok(row) => row,
            Err(_) => conn.query_first("SHOW MASTER STATUS").await.unwrap(),
        };
        let status = status.unwrap();
        let (file, pos): (String, u64) = (status.get(0).unwrap(), status.get(1).unwrap());
        let ids = if kind == "mysql" { "gtid_executed" } else { "gtid_binlog_pos" };
        let ids: String = conn.query_first(format!("SELECT @@GLOBAL.{ids}")).await.unwrap().unwrap();
        for sql in [
            "BEGIN",
            "INSERT INTO t VALUES (11, 'a'), (12, 'b')",
            "INSERT INTO t VALUES (21, 'c'), (22, 'd'), (23, 'e')",
            "COMMIT",
        ] {
            conn.query_drop(sql).await.unwrap();
        }
        conn.query_drop("INSERT INTO t VALUES (31, 'f')").await.unwrap();
        let (pos, columns) = (pos.to_string(), [("id", bigint()), ("v", text())]);
        let by_file =
            [("scan.startup.specific-offset.file", file.as_str()), ("scan.startup.specific-offset.pos", &pos)];
        let by_ids = [("scan.startup.specific-offset.gtid-set", ids.as_str())];
        for place in [&by_file[..], &by_ids] {
            for (events, rows, first) in [("0", "0", 0), ("0", "1", 1), ("1", "2", 4)] {
                let mut options = vec![
                    ("scan.startup.mode", "specific-offset"),
                    ("scan.startup.specific-offset.skip-events", events),
                    ("scan.startup.specific-offset.skip-rows", rows),
                ];
                options.extend(place);
                let source = database.table(&columns, &options).open(None).unwrap();
                let mut run = Run::start(source.as_ref(), &database.env, 1, None);
                let all = ["11|a", "12|b", "21|c", "22|d", "23|e", "31|f"];
                let expected: Vec<String> = all[first..].iter().map(|l| (*l).to_owned()).collect();
                run.until_equal(&expected).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let now: i64 = conn.query_first("SELECT UNIX_TIMESTAMP() * 1000").await.unwrap().unwrap();
        conn.query_drop("INSERT INTO t VALUES (41, 'g')").await.unwrap();
        let now = now.to_string();
        let options = [("scan.startup.mode", "timestamp"), ("scan.startup.timestamp-millis", now.as_str())];
        let source = database.table(&columns, &options).open(None).unwrap();
        let mut run = Run::start(source.as_ref(), &database.env, 1, None);
        run.until_equal(&["41|g".to_owned()]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_tables_are_followed_by_one_connection() {
    for kind in KINDS {
        let Some(database) = Database::own(kind, &[], "ON").await else { continue };
        let mut conn = database.conn().await;
        for i in 0..100 {
            conn.query_drop(format!("CREATE TABLE t{i} (id BIGINT PRIMARY KEY, v VARCHAR(200))")).await.unwrap();
            conn.query_drop(format!("INSERT INTO t{i} VALUES ({i}, 'a')")).await.unwrap();
        }
        let columns = [("id", bigint()), ("v", text())];
        let mut all = database.table(&columns, &[("table-name", "t[0-4].*")]).open(None).unwrap();
        for last in 5..10 {
            let pattern = format!("t{last}.*");
            let one = database.table(&columns, &[("table-name", &pattern)]).named(&pattern).open(None).unwrap();
            all = all.merge(one.as_ref()).unwrap();
        }
        let mut run = Run::start(all.as_ref(), &database.env, 3, None);
        run.until("all rows", |run| run.folds.iter().map(|f| f.rows.len()).sum::<usize>() == 100).await;
        run.until("the log is read", |run| run.assigned.iter().any(|id| id.0.starts_with("log/"))).await;
        for i in 0..100 {
            conn.query_drop(format!("UPDATE t{i} SET v = 'b'")).await.unwrap();
        }
        let is_changed = |run: &Run| run.folds.iter().all(|f| f.rows.keys().all(|row| row.ends_with("|b")));
        run.until("all changes", is_changed).await;
        // Those that helped with the chunks are gone after a while.
        let dumps = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'";
        for _ in 0..200 {
            if conn.query_first::<u64, _>(dumps).await.unwrap() == Some(1) {
                break;
            }
            run.step(Duration::from_millis(100)).await.unwrap();
        }
        assert_eq!(conn.query_first::<u64, _>(dumps).await.unwrap(), Some(1), "{kind}");
        conn.query_drop("DELETE FROM t99").await.unwrap();
        run.until("it is read on", |run| run.folds[5].rows.len() == 10).await;
        assert!(run.folds.iter().all(|f| f.faults.is_empty()));
    }
}
