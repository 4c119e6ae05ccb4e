//! Restarts at random barriers: while chunks are read, while the log is handed over, inside transactions of the log.

use std::time::Duration;

use crate::kit::{Database, KINDS, Run, bigint, is_full, text};
use crate::race::{ROWS, Writers, number};

const LINES: &str = "SELECT CONCAT_WS('|', id, v) FROM t";

fn restarts() -> u64 {
    if is_full() { 50 } else { 8 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_or_doubled_by_restarts_while_rows_change() {
    for kind in KINDS {
        let Some(database) = Database::own(kind, &["--sync-binlog=1"], "ON").await else { continue };
        database.run("CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(40))").await;
        database.run("CREATE TABLE u (id BIGINT PRIMARY KEY, v VARCHAR(40))").await;
        let values: Vec<String> = (0..ROWS).map(|i| format!("({i}, '{i}:first')")).collect();
        database.run(&format!("INSERT INTO t VALUES {}", values.join(","))).await;
        let chunk = ("scan.incremental.snapshot.chunk.size", "40");
        let columns = [("id", bigint()), ("v", text())];
        let t = database.table(&columns, &[chunk]).open(None).unwrap();
        let u = database.table(&columns, &[chunk, ("table-name", "u")]).named("u").open(None).unwrap();
        let source = t.merge(u.as_ref()).unwrap();
        let writers = Writers::start(&database, number, Duration::from_millis(2)).await;
        let (mut checkpoint, mut met) = (None, 0);
        for restart in 0..restarts() {
            let readers = 1 + database.env.rng.below(3) as usize;
            let mut run = Run::start(source.as_ref(), &database.env, readers, checkpoint.as_ref());
            // Somewhere; where some outputs are ahead of others; inside of a transaction.
            let wanted = ["", r#""ahead""#, r#""inside""#][restart as usize % 3];
            for _ in 0..600 + database.env.rng.below(100) {
                run.step_cancelled(Duration::from_millis(20)).await.unwrap();
                let stop = wanted.is_empty() && database.env.rng.below(60) == 0;
                if stop || (!wanted.is_empty() && run.checkpoint().splits.contains(wanted)) {
                    break;
                }
            }
            let taken = run.checkpoint();
            met += usize::from(!wanted.is_empty() && taken.splits.contains(wanted));
            checkpoint = Some(taken);
            // One big transaction of both tables, in which the next checkpoint may fall.
            let big = format!("INSERT INTO u SELECT id + {}, v FROM t", (restart + 1) * 1_000_000);
            database.run(&big).await;
            // What comes behind the barrier is lost with the reader.
            for _ in 0..database.env.rng.below(40) {
                run.step_cancelled(Duration::from_millis(50)).await.unwrap();
            }
        }
        writers.stop().await;
        let mut run = Run::start(source.as_ref(), &database.env, 2, checkpoint.as_ref());
        run.until_equal(&database.lines(LINES).await).await;
        let expected = database.lines("SELECT CONCAT_WS('|', id, v) FROM u").await;
        run.until("the other table", |run| {
            run.folds[1].rows.len() == expected.len() && run.folds[1].lines() == expected
        })
        .await;
        assert!(run.folds[1].faults.is_empty(), "{kind}: {:?}", run.folds[1].faults.first());
        assert!(met >= 2, "{kind}: {met} checkpoints were where they were wanted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_tables_are_read_at_a_restart() {
    for kind in KINDS {
        for takes in ["true", "false"] {
            let Some(database) = Database::on(kind).await else { continue };
            for table in ["t1", "t2"] {
                database.run(&format!("CREATE TABLE {table} (id BIGINT PRIMARY KEY, v VARCHAR(40))")).await;
            }
            database.run("INSERT INTO t1 VALUES (1, 'a'), (2, 'b')").await;
            let options = [("table-name", "t1|t3"), ("scan.newly-added-table.enabled", takes)];
            let open = |pattern: &str| {
                let declared = database.table(&[("id", bigint()), ("v", text())], &options).with("table-name", pattern);
                declared.metadata("of", text(), "table_name").open(None).unwrap()
            };
            let mut run = Run::start(open("t1|t3").as_ref(), &database.env, 1, None);
            run.until_equal(&["1|a|t1".to_owned(), "2|b|t1".to_owned()]).await;
            // Made while the log is read: from the log without the option, at the restart with it.
            database.run("CREATE TABLE t3 (id BIGINT PRIMARY KEY, v VARCHAR(40))").await;
            database.run("INSERT INTO t3 VALUES (1, 'x')").await;
            database.run("INSERT INTO t1 VALUES (3, 'c')").await;
            run.until("the change", |run| run.folds[0].rows.contains_key("3|c|t1")).await;
            let checkpoint = run.checkpoint();
            drop(run);
            database.run("INSERT INTO t2 VALUES (1, 'old')").await;
            database.run("DELETE FROM t1 WHERE id = 1").await;
            let mut run = Run::start(open("t1|t2|t3").as_ref(), &database.env, 2, Some(&checkpoint));
            let tables = if takes == "true" { vec!["t1", "t2", "t3"] } else { vec!["t1", "t3"] };
            let all: Vec<String> =
                tables.iter().map(|t| format!("SELECT CONCAT_WS('|', id, v, '{t}') FROM {t}")).collect();
            let mut expected = database.lines(&all.join(" UNION ALL ")).await;
            if takes == "false" {
                // Its rows are behind the restored position: they are changes.
                expected.push("1|old|t2".to_owned());
                expected.sort();
            }
            run.until_equal(&expected).await;
            database.run("UPDATE t2 SET v = 'new'").await;
            database.run("UPDATE t3 SET v = 'new'").await;
            expected = database.lines(&all.join(" UNION ALL ")).await;
            if takes == "false" {
                expected.push("1|new|t2".to_owned());
                expected.sort();
            }
            run.until_equal(&expected).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_table_that_is_added_has_all_of_its_rows() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        for table in ["t", "u"] {
            database.run(&format!("CREATE TABLE {table} (id BIGINT PRIMARY KEY, v VARCHAR(40))")).await;
            database.run(&format!("INSERT INTO {table} VALUES (1, 'a'), (2, 'b')")).await;
        }
        let columns = [("id", bigint()), ("v", text())];
        let t = database.table(&columns, &[]).open(None).unwrap();
        let mut run = Run::start(t.as_ref(), &database.env, 1, None);
        run.until_equal(&database.lines(LINES).await).await;
        database.run("UPDATE t SET v = 'c' WHERE id = 1").await;
        run.until_equal(&database.lines(LINES).await).await;
        let checkpoint = run.checkpoint();
        drop(run);
        database.run("UPDATE u SET v = 'd' WHERE id = 1").await;
        database.run("UPDATE t SET v = 'e' WHERE id = 2").await;
        let u = database.table(&columns, &[("table-name", "u")]).named("u").open(None).unwrap();
        let both = t.merge(u.as_ref()).unwrap();
        let mut run = Run::start(both.as_ref(), &database.env, 2, Some(&checkpoint));
        run.until_equal(&database.lines(LINES).await).await;
        run.until("the added table", |run| run.folds[1].lines() == ["1|d", "2|b"]).await;
        database.run("DELETE FROM u WHERE id = 2").await;
        run.until("its change", |run| run.folds[1].lines() == ["1|d"]).await;
        assert!(run.folds.iter().all(|f| f.faults.is_empty()), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn position_of_an_idle_table_moves() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        database.run("CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(40))").await;
        database.run("CREATE TABLE other (id BIGINT PRIMARY KEY)").await;
        let source = database.table(&[("id", bigint())], &[]).open(None).unwrap();
        let mut run = Run::start(source.as_ref(), &database.env, 1, None);
        run.until("the log is read", |run| run.assigned.iter().any(|id| id.0.starts_with("log/"))).await;
        let position = |run: &mut Run| {
            let splits: serde_json::Value = serde_json::from_str(&run.checkpoint().splits).unwrap();
            splits[0]["position"]["at"].clone()
        };
        run.step(Duration::from_secs(3)).await.unwrap();
        let before = position(&mut run);
        database.run("INSERT INTO other VALUES (1)").await;
        // Each of these events makes the runtime take a checkpoint.
        let mut after = before.clone();
        for _ in 0..10 {
            assert!(run.step(Duration::from_secs(20)).await.unwrap(), "{kind}");
            after = position(&mut run);
            if before["seen"] != after["seen"] {
                break;
            }
        }
        assert!(
            before["seen"] != after["seen"] && before["pos"].as_u64() < after["pos"].as_u64(),
            "{kind}: {before} {after}"
        );
        assert_eq!(run.folds[0].changes, 0);
    }
}
