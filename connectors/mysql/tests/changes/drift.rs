//! Tables that are changed while they are captured.

use std::time::Duration;

use dflow_common::Classified;
use dflow_connector_api::Error;
use dflow_connector_mysql::error::{TABLE_CHANGED, TABLE_REDEFINED};

use crate::kit::{Checkpoint, Database, Declared, KINDS, Run, bigint, text};

const BEHAVIOR: &str = "schema.change.behavior";

/// `t (id, v, x)` with a row, of which `id` and `v` are declared.
async fn captured(database: &Database, given: &[(&str, &str)]) -> (Declared, Run) {
    database.run("CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(100), x INT)").await;
    database.run("INSERT INTO t VALUES (1, 'a', 1)").await;
    let declared = database.table(&[("id", bigint()), ("v", text())], given);
    let source = declared.open(None).unwrap();
    let mut run = Run::start(source.as_ref(), &database.env, 1, None);
    run.keeps_lines = true;
    run.until("the log is read", |run| run.assigned.iter().any(|id| id.0.starts_with("log/"))).await;
    run.until("the row", |run| run.lines.len() == 1).await;
    (declared, run)
}

/// Runs statements, and waits for the line of the last one.
async fn step(database: &Database, run: &mut Run, sql: &[&str], line: &str) {
    for statement in sql {
        database.run(statement).await;
    }
    run.until(line, |run| run.lines.last().is_some_and(|l| l == &format!("0: {line}"))).await;
}

/// The error that ends the job.
async fn ended(run: &mut Run) -> Error {
    for _ in 0..60 {
        if let Err(e) = run.step(Duration::from_secs(1)).await {
            return e;
        }
    }
    panic!("the job goes on: {:?}", run.lines)
}

#[tokio::test(flavor = "multi_thread")]
async fn lenient_reads_on_by_name_whatever_happens_to_the_columns() {
    for kind in KINDS {
        for metadata in [None, Some("FULL")] {
            let database = match metadata {
                None => Database::on(kind).await,
                Some(_) => Database::own(kind, &["--binlog-row-metadata=FULL"], "ON").await,
            };
            let Some(database) = database else { continue };
            let (_, mut run) = captured(&database, &[]).await;
            let run = &mut run;
            step(&database, run, &["ALTER TABLE t ADD y INT FIRST", "INSERT INTO t VALUES (7, 2, 'b', 2)"], "+I 2|b")
                .await;
            let moved = ["ALTER TABLE t MODIFY x INT FIRST", "INSERT INTO t VALUES (3, 7, 3, 'c')"];
            step(&database, run, &moved, "+I 3|c").await;
            let wider = ["ALTER TABLE t MODIFY v TEXT", "UPDATE t SET v = 'cc' WHERE id = 3"];
            step(&database, run, &wider, "+U 3|cc").await;
            // Of the same types: only names tell them apart.
            let swapped = ["ALTER TABLE t CHANGE x z INT, CHANGE y x INT", "INSERT INTO t VALUES (9, 9, 4, 'd')"];
            step(&database, run, &swapped, "+I 4|d").await;
            let renamed = ["ALTER TABLE t CHANGE v w TEXT", "INSERT INTO t VALUES (9, 9, 5, 'e')"];
            step(&database, run, &renamed, "+I 5|∅").await;
            let back = ["ALTER TABLE t CHANGE w v TEXT", "INSERT INTO t VALUES (9, 9, 6, 'f')"];
            step(&database, run, &back, "+I 6|f").await;
            let dropped = ["ALTER TABLE t DROP v", "INSERT INTO t VALUES (9, 9, 7)"];
            step(&database, run, &dropped, "+I 7|∅").await;
            step(&database, run, &["TRUNCATE t", "INSERT INTO t VALUES (9, 9, 8)"], "+I 8|∅").await;
            let again =
                ["DROP TABLE t", "CREATE TABLE t (v CHAR(9), id BIGINT PRIMARY KEY)", "INSERT INTO t VALUES ('g', 9)"];
            step(&database, run, &again, "+I 9|g").await;
            // As gh-ost does it.
            let copied = [
                "CREATE TABLE _t_gho (id BIGINT PRIMARY KEY, more INT, v CHAR(9))",
                "INSERT INTO _t_gho SELECT id, 1, v FROM t",
                "RENAME TABLE t TO _t_del, _t_gho TO t",
                "INSERT INTO t VALUES (10, 1, 'h')",
            ];
            step(&database, run, &copied, "+I 10|h").await;
            assert!(
                run.lines.iter().all(|l| !l.contains("|1") && !l.contains("|7")),
                "{kind} {metadata:?}: {:?}",
                run.lines
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exception_ends_the_job_before_the_change_and_lenient_goes_on_there() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        let (declared, mut run) = captured(&database, &[(BEHAVIOR, "exception")]).await;
        database.run("INSERT INTO t VALUES (2, 'b', 2)").await;
        run.until("the second row", |run| run.lines.len() == 2).await;
        let before: Checkpoint = run.checkpoint();
        database.run("ALTER TABLE t ADD y INT").await;
        database.run("INSERT INTO t VALUES (3, 'c', 3, 3)").await;
        let error = ended(&mut run).await;
        assert_eq!((error.code(), error.class().exit_code()), (TABLE_REDEFINED.code, 16), "{kind}: {error}");
        let told = error.to_string();
        assert!(told.contains("column `y` INT was added") && told.contains("position"), "{kind}: {error}");
        assert!(!error.retryable() && run.lines.len() == 2, "{kind}: nothing behind it");
        drop(run);
        let source = declared.with(BEHAVIOR, "lenient").open(None).unwrap();
        let mut run = Run::start(source.as_ref(), &database.env, 1, Some(&before));
        run.keeps_lines = true;
        run.until("the third row", |run| run.lines.len() == 3).await;
        assert_eq!(run.lines.last().map(String::as_str), Some("0: +I 3|c"), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn evolve_ends_the_job_when_something_declared_is_gone() {
    for kind in KINDS {
        for (gone, says) in [
            ("ALTER TABLE t DROP v", "column `v` was dropped or renamed"),
            ("TRUNCATE t", "TRUNCATE"),
            ("DROP TABLE t", "it was dropped"),
            ("RENAME TABLE t TO u", "it was renamed to"),
            ("ALTER TABLE t RENAME TO u", "it was renamed to"),
        ] {
            let Some(database) = Database::on(kind).await else { continue };
            let (_, mut run) = captured(&database, &[(BEHAVIOR, "evolve")]).await;
            let harmless = ["ALTER TABLE t ADD y INT, DROP x", "INSERT INTO t VALUES (2, 'b', 2)"];
            step(&database, &mut run, &harmless, "+I 2|b").await;
            database.run(gone).await;
            // A column that is gone shows with the next row.
            let _ = mysql_async::prelude::Queryable::query_drop(
                &mut database.conn().await,
                "INSERT INTO t (id) VALUES (3)",
            )
            .await;
            let error = ended(&mut run).await;
            assert_eq!(error.code(), TABLE_REDEFINED.code, "{kind}: {gone}: {error}");
            assert!(error.to_string().contains(says), "{kind}: {gone}: {error}");
            assert_eq!(run.lines.len(), 2, "{kind}: {gone}");
        }
    }
}

/// Without names in the log, rows that were logged before a change cannot be told from those behind it.
#[tokio::test(flavor = "multi_thread")]
async fn rows_from_before_a_change_that_was_not_seen_are_refused_unless_the_log_has_names() {
    for kind in KINDS {
        for full in [false, true] {
            let arguments: &'static [&str] = if full { &["--binlog-row-metadata=FULL"] } else { &[] };
            let Some(database) = Database::own(kind, arguments, "ON").await else { continue };
            for change in ["ADD y INT FIRST", "MODIFY v VARCHAR(150)", "MODIFY x INT FIRST"] {
                database.run("DROP TABLE IF EXISTS t").await;
                database.run("CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(100), x INT)").await;
                let at = database.conn().await;
                let mut at = at;
                let row: mysql_async::Row =
                    mysql_async::prelude::Queryable::query_first(&mut at, "SHOW MASTER STATUS").await.unwrap().unwrap();
                let (file, pos): (String, u64) = (row.get(0).unwrap(), row.get(1).unwrap());
                database.run("INSERT INTO t VALUES (1, 'a', 1)").await;
                database.run(&format!("ALTER TABLE t {change}")).await;
                let given = [
                    ("scan.startup.mode", "specific-offset"),
                    ("scan.startup.specific-offset.file", file.as_str()),
                    ("scan.startup.specific-offset.pos", &pos.to_string()),
                ];
                let source = database.table(&[("id", bigint()), ("v", text())], &given).open(None).unwrap();
                let mut run = Run::start(source.as_ref(), &database.env, 1, None);
                run.keeps_lines = true;
                if full {
                    run.until("the row", |run| run.lines == ["0: +I 1|a"]).await;
                } else {
                    let error = ended(&mut run).await;
                    assert_eq!(error.code(), TABLE_CHANGED.code, "{kind}: {change}: {error}");
                    assert!(error.to_string().contains("binlog_row_metadata"), "{kind}: {error}");
                    assert!(run.lines.is_empty(), "{kind}: {:?}", run.lines);
                }
            }
        }
    }
}
