//! The log of running servers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dflow_common::Classified;
use dflow_common::env::{Env, Spawner};
use dflow_connector_mysql::binlog::assembler::{Assembler, Outcome, Router};
use dflow_connector_mysql::binlog::position::{FilePosition, Point, Position, Seen};
use dflow_connector_mysql::binlog::table_map::CatalogColumn;
use dflow_connector_mysql::cdc::log::LogOptions;
use dflow_connector_mysql::cdc::reader::LogReader;
use dflow_connector_mysql::client::Endpoint;
use dflow_connector_mysql::error::POSITION_LOST;
use dflow_test_servers::{Proxy, Server};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};

use crate::recorded::{declared, lines, text};

const KINDS: [&str; 2] = ["mysql", "mariadb"];
const HEARTBEAT: Duration = Duration::from_millis(500);

struct OnlyDatabase(String);

impl Router for OnlyDatabase {
    fn route(&mut self, database: &str, table: &str) -> Vec<usize> {
        if database == self.0 && table == "t" { vec![0] } else { Vec::new() }
    }
}

/// A database with a table `t (id, v)`, and where the log is behind it.
struct Database {
    server: Arc<Server>,
    name: String,
    at: Point,
}

impl Database {
    async fn new(kind: &str, name: &str) -> Option<Database> {
        let owned = kind.to_owned();
        let server = tokio::task::spawn_blocking(move || Server::get(&owned)).await.unwrap()?;
        let name = format!("{name}_{}", std::process::id());
        let mut conn = connect(&server).await;
        conn.query_drop(format!("CREATE DATABASE {name}")).await.unwrap();
        conn.query_drop(format!("CREATE TABLE {name}.t (id INT PRIMARY KEY, v VARCHAR(100))")).await.unwrap();
        let status: mysql_async::Row = conn.query_first("SHOW MASTER STATUS").await.unwrap().unwrap();
        let at = FilePosition::new(status.get::<String, _>(0).unwrap(), status.get(1).unwrap());
        let ids = if kind == "mysql" { "@@GLOBAL.gtid_executed" } else { "@@GLOBAL.gtid_binlog_pos" };
        let ids: String = conn.query_first(format!("SELECT {ids}")).await.unwrap().unwrap();
        let seen = match kind {
            "mysql" => Seen::Mysql(ids.parse().unwrap()),
            _ => Seen::Mariadb(ids.parse().unwrap()),
        };
        Some(Database { server, name, at: Point { at, seen: Some(seen) } })
    }

    async fn run(&self, sql: &str) {
        let mut conn = connect(&self.server).await;
        conn.query_drop(format!("USE {}", self.name)).await.unwrap();
        conn.query_drop(sql).await.unwrap();
    }

    fn reader(&self, port: u16, at: Point) -> LogReader<OnlyDatabase> {
        let outputs = vec![declared(&[text("id"), text("v")], false)];
        let log = Assembler::new(Position::new("s", at), outputs, OnlyDatabase(self.name.clone()));
        let mut endpoint = Endpoint::new("127.0.0.1", port);
        endpoint.user = Some("root".into());
        let options = LogOptions { server_id: 5_400 + u32::from(port % 500), heartbeat: HEARTBEAT };
        LogReader::new(Env::production(Spawner::current()), endpoint, options, log)
    }
}

async fn connect(server: &Server) -> Conn {
    let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(server.port()).user(Some("root"));
    Conn::new(options.prefer_socket(false)).await.unwrap()
}

/// Ids of the rows that come within `most`; a little longer than until there are `n`, in case there are more.
async fn ids_within(reader: &mut LogReader<OnlyDatabase>, n: usize, most: Duration) -> Vec<String> {
    let mut out = Vec::new();
    let mut end = Instant::now() + if n == 0 { Duration::from_millis(700) } else { most };
    while let Ok(outcome) = tokio::time::timeout_at(end.into(), reader.advance()).await {
        if let Outcome::NeedsCatalog { database, table } = outcome.unwrap() {
            let column =
                |name: &str| CatalogColumn { name: name.into(), charset: Some("latin1".into()), ..Default::default() };
            reader.assembler().add_catalog(database, table, vec![column("id"), column("v")]);
        }
        if let Some(batch) = reader.assembler().finish(0).unwrap() {
            out.extend(
                lines(&batch)
                    .into_iter()
                    .map(|(kind, row)| if kind == "-D" { format!("-{}", row[0]) } else { row[0].clone() }),
            );
            if out.len() >= n {
                end = end.min(Instant::now() + Duration::from_millis(700));
            }
        }
    }
    out
}

async fn ids(reader: &mut LogReader<OnlyDatabase>, n: usize) -> Vec<String> {
    ids_within(reader, n, Duration::from_secs(30)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_behind_a_file_position_or_behind_transaction_ids() {
    for kind in KINDS {
        let Some(database) = Database::new(kind, "behind").await else { continue };
        database.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
        database.run("INSERT INTO t VALUES (3, 'c')").await;
        for seen in [None, database.at.seen.clone()] {
            let mut reader = database.reader(database.server.port(), Point { seen, ..database.at.clone() });
            assert_eq!(ids(&mut reader, 3).await, ["1", "2", "3"], "{kind}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_connection_is_opened_again_at_the_exact_position() {
    for kind in KINDS {
        let Some(database) = Database::new(kind, "broken").await else { continue };
        // One transaction of many events, cut at many places.
        let values: Vec<String> = (0..3_000).map(|i| format!("({i}, REPEAT('x', 100))")).collect();
        database.run(&format!("INSERT INTO t VALUES {}", values.join(","))).await;
        let expected: Vec<String> = (0..3_000).map(|i| i.to_string()).collect();
        for seen in [None, database.at.seen.clone()] {
            let proxy = Proxy::start(database.server.port());
            let mut reader = database.reader(proxy.port(), Point { seen, ..database.at.clone() });
            let mut read = Vec::new();
            for cut in [40_000, 70_000, 120_000] {
                proxy.cut_after(cut);
                read.extend(ids_within(&mut reader, 3_000, Duration::from_millis(700)).await);
            }
            read.extend(ids_within(&mut reader, 3_000 - read.len(), Duration::from_secs(20)).await);
            assert_eq!(read, expected, "{kind}");
            assert!(proxy.accepted() >= 3, "{kind}: it was cut");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_table_moves_the_position() {
    for kind in KINDS {
        let Some(database) = Database::new(kind, "idle").await else { continue };
        let mut reader = database.reader(database.server.port(), database.at.clone());
        database.run("CREATE TABLE other (id INT PRIMARY KEY)").await;
        database.run("INSERT INTO other VALUES (1)").await;
        let before = reader.assembler().position();
        let read = ids_within(&mut reader, 1, Duration::from_secs(2)).await;
        assert_eq!(read.len(), 0, "{kind}: nothing is read");
        let after = reader.assembler().position();
        assert!(after.point.at.pos > before.point.at.pos && after.point.seen != before.point.seen, "{kind}: {after:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn position_that_is_gone_is_final() {
    for kind in KINDS {
        let Some(database) = Database::new(kind, "gone").await else { continue };
        let (name, _) = database.at.at.file.rsplit_once('.').unwrap();
        let missing = Point { at: FilePosition::new(format!("{name}.999999"), 4), seen: None };
        let far = Point { at: FilePosition::new(database.at.at.file.clone(), 1 << 30), seen: None };
        for from in [missing, far] {
            let error = database.reader(database.server.port(), from).advance().await.unwrap_err();
            assert_eq!(error.code(), POSITION_LOST.code, "{kind}: {error}");
            assert!(!error.retryable() && error.class().exit_code() == 14, "{kind}");
            assert_eq!(error.diagnostic().help.len(), 3, "{kind}: three ways on");
        }
    }
}
