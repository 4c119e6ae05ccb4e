//! Tables of MySQL and MariaDB captured by the binary: the rows, then the changes, over signals and `kill -9`, while writers go
//! on. What was written folds to the table as it is at the end, row by row.
//!
//! The `ci` level restarts a few times, the `full` level (`DFLOW_TEST_LEVEL=full`) fifty times.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dflow_test_servers::Server;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};

use crate::support::{Place, Running};

const KINDS: [&str; 2] = ["mysql", "mariadb"];
const ROWS: u64 = 2_000;
const PATIENCE: Duration = Duration::from_secs(90);

fn restarts() -> u64 {
    if std::env::var("DFLOW_TEST_LEVEL").is_ok_and(|l| l == "full") { 50 } else { 5 }
}

/// A database of its own, and somebody who works in it.
struct Database {
    server: Arc<Server>,
    name: String,
    runtime: tokio::runtime::Runtime,
}

impl Database {
    fn on(kind: &str, name: &str) -> Option<Database> {
        let server = Server::get(kind)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let database = Database { server, name: format!("{name}_{}", std::process::id()), runtime };
        database.run(&format!("CREATE DATABASE {} CHARACTER SET utf8mb4", database.name));
        database.run("CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(40))");
        for part in (0..ROWS).collect::<Vec<_>>().chunks(500) {
            let values: Vec<String> = part.iter().map(|i| format!("({i}, 'first')")).collect();
            database.run(&format!("INSERT INTO t VALUES {}", values.join(",")));
        }
        Some(database)
    }

    fn run(&self, sql: &str) {
        self.runtime.block_on(async {
            connection(self.server.port(), &self.name)
                .await
                .query_drop(sql)
                .await
                .unwrap_or_else(|e| panic!("{sql}: {e}"));
        });
    }

    fn rows(&self) -> BTreeMap<u64, String> {
        let rows: Vec<(u64, String)> = self.runtime.block_on(async {
            connection(self.server.port(), &self.name).await.query("SELECT id, v FROM t").await.unwrap()
        });
        rows.into_iter().collect()
    }

    /// Changes rows until it is told to stop.
    fn writer(&self, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<()> {
        let (stop, port, name) = (stop.clone(), self.server.port(), self.name.clone());
        self.runtime.spawn(async move {
            let mut conn = connection(port, &name).await;
            let mut seed = 7_u64;
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let id = (seed >> 33) % ROWS;
                let sql = match n % 5 {
                    0 => format!("DELETE FROM t WHERE id = {id}"),
                    1 => format!("REPLACE INTO t VALUES ({id}, 'back {n}')"),
                    2 => format!("UPDATE t SET v = 'many {n}' WHERE id BETWEEN {id} AND {id} + 50"),
                    _ => format!("UPDATE t SET v = 'one {n}' WHERE id = {id}"),
                };
                conn.query_drop(sql).await.unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
    }

    fn source(&self, more: &str) -> String {
        format!(
            "CREATE TABLE t (id BIGINT, v STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'mysql-cdc',
               'hostname' = '127.0.0.1', 'port' = '{}', 'username' = 'dflow', 'password' = 'dflow',
               'database-name' = '{}', 'table-name' = 't', 'scan.incremental.snapshot.chunk.size' = '50'{more});\n",
            self.server.port(),
            self.name
        )
    }
}

async fn connection(port: u16, database: &str) -> Conn {
    let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(port).user(Some("root"));
    let mut conn = Conn::new(options.prefer_socket(false)).await.unwrap();
    let _ = conn.query_drop(format!("USE {database}")).await;
    conn
}

/// How often each row is there, by the changes in all files.
fn folded(place: &Place) -> BTreeMap<(u64, String), i64> {
    let mut rows = BTreeMap::new();
    for line in place.lines_below("out") {
        let change: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"));
        for (image, by) in [("before", -1), ("after", 1)] {
            let image = &change[image];
            if let (Some(id), Some(v)) = (image["id"].as_u64(), image["v"].as_str()) {
                *rows.entry((id, v.to_owned())).or_insert(0) += by;
            }
        }
    }
    rows.retain(|_, n| *n != 0);
    rows
}

/// Waits until the files are the table.
fn wait_for(what: &str, place: &Place, running: &Running, expected: &BTreeMap<u64, String>) {
    let expected: BTreeMap<(u64, String), i64> = expected.iter().map(|(id, v)| ((*id, v.clone()), 1)).collect();
    let start = Instant::now();
    loop {
        let have = folded(place);
        if have == expected {
            return;
        }
        if start.elapsed() > PATIENCE {
            let extra: Vec<_> = have.iter().filter(|(k, n)| expected.get(k) != Some(n)).take(5).collect();
            let missing: Vec<_> = expected.keys().filter(|k| !have.contains_key(k)).take(5).collect();
            panic!("{what}: extra {extra:?}, missing {missing:?}\n{}", running.said());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn files_fold_to_the_table_over_restarts() {
    for kind in KINDS {
        let Some(database) = Database::on(kind, "files") else { continue };
        let place = Place::new();
        let sink = "CREATE TABLE o (id BIGINT, v STRING) WITH ('connector' = 'filesystem', 'path' = 'out',
            'format' = 'debezium-json');\nINSERT INTO o SELECT id, v FROM t;\n";
        let settings = "SET 'execution.checkpointing.interval' = '150 ms';\n";
        place.write("p.sql", format!("{settings}{}{sink}", database.source("")));
        let stop = Arc::new(AtomicBool::new(false));
        let writer = database.writer(&stop);
        for restart in 0..restarts() {
            let running = place.start(&["run", "p.sql", "-p", &(1 + restart % 3).to_string()]);
            // Before that a signal is nobody's yet.
            running.wait_for("start      ");
            std::thread::sleep(Duration::from_millis(211 * (restart % 7)));
            match restart % 3 {
                1 => {
                    running.signal("TERM");
                    running.end().expect(0);
                }
                _ => running.signal("KILL"),
            }
        }
        stop.store(true, Ordering::Relaxed);
        database.runtime.block_on(writer).unwrap();
        let running = place.start(&["run", "p.sql", "-p", "2"]);
        wait_for(kind, &place, &running, &database.rows());
        database.run("UPDATE t SET v = 'last' WHERE id < 10");
        database.run("DELETE FROM t WHERE id > 1990");
        wait_for(kind, &place, &running, &database.rows());
        running.signal("TERM");
        running.end().expect(0);
    }
}

#[test]
fn printed_changes_fold_to_the_table() {
    for kind in KINDS {
        let Some(database) = Database::on(kind, "print") else { continue };
        let place = Place::new();
        let sink =
            "CREATE TABLE o (id BIGINT, v STRING) WITH ('connector' = 'print');\nINSERT INTO o SELECT id, v FROM t;\n";
        place.write("p.sql", format!("{}{sink}", database.source("")));
        let stop = Arc::new(AtomicBool::new(false));
        let writer = database.writer(&stop);
        let running = place.start(&["run", "p.sql", "--until", "idle=3s", "--checkpoint-interval", "200 ms"]);
        std::thread::sleep(Duration::from_secs(2));
        stop.store(true, Ordering::Relaxed);
        database.runtime.block_on(writer).unwrap();
        let ran = running.end().expect(0);
        let mut rows: BTreeMap<u64, String> = BTreeMap::new();
        // `+I[1, first]`, perhaps behind the number of a subtask.
        for line in ran.out.lines() {
            let at = line.find(['+', '-']).unwrap_or_else(|| panic!("{line}"));
            let (change, row) = line[at..].split_at(2);
            let (id, v) = row.trim_matches(['[', ']', ' ']).split_once(", ").unwrap_or_else(|| panic!("{line}"));
            match change {
                "+I" | "+U" => rows.insert(id.parse().unwrap(), v.to_owned()),
                _ => rows.remove(&id.parse().unwrap()),
            };
        }
        assert_eq!(rows, database.rows(), "{kind}");
    }
}
