//! What servers say instead of sending the log.

use std::time::Duration;

use dflow_common::Classified;
use dflow_connector_mysql::binlog::position::{FilePosition, Point};
use dflow_connector_mysql::cdc::error::{NO_REPLICATION, SERVER_ID_TAKEN};
use dflow_connector_mysql::cdc::log::{LogConnection, LogOptions};
use dflow_connector_mysql::cdc::logs;
use dflow_connector_mysql::error::{Error, LOG_PACKET};

use crate::kit::{Database, KINDS};

impl Database {
    /// Reads the log from a point until an error, or until nothing came for a second.
    async fn read(&self, user: &str, from: &Point, server_id: u32) -> Result<usize, Error> {
        let mut endpoint = self.options(&[]).endpoint;
        endpoint.user = Some(user.into());
        let options = LogOptions { server_id, heartbeat: Duration::from_secs(5) };
        let mut log = LogConnection::open(&self.env, &endpoint, &options, from, Duration::ZERO).await?;
        let mut packets = 0;
        while let Ok(packet) = tokio::time::timeout(Duration::from_secs(1), log.next(from)).await {
            packet?;
            packets += 1;
        }
        Ok(packets)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn event_larger_than_the_servers_packets_is_read() {
    for kind in KINDS {
        let Some(database) = Database::own(kind, &[], "ON").await else { continue };
        database.run("CREATE TABLE t (id INT PRIMARY KEY, v LONGBLOB)").await;
        let endpoint = database.options(&[]).endpoint;
        let from = logs::now(&mut database.session().await, &endpoint).await.unwrap();
        database.run("INSERT INTO t VALUES (1, REPEAT('x', 3000000))").await;
        database.run("SET GLOBAL max_allowed_packet = 1048576").await;
        assert_eq!(database.ids(from, 1).await, ["1"], "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn place_inside_of_an_event_is_final() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        let endpoint = database.options(&[]).endpoint;
        database.run("CREATE TABLE t (id INT PRIMARY KEY, v LONGTEXT)").await;
        let at = logs::now(&mut database.session().await, &endpoint).await.unwrap().point.at;
        // Amid letters, what should be the length of an event is larger than any packet.
        database.run("INSERT INTO t VALUES (1, REPEAT('x', 3000))").await;
        let inside = Point { at: FilePosition::new(at.file, at.pos + 1_500), seen: None };
        let error = database.read("root", &inside, 7_002).await.unwrap_err();
        assert_eq!((error.code(), error.retryable()), (LOG_PACKET.code, false), "{kind}: {error}");
        assert!(error.to_string().contains("SHOW BINLOG EVENTS"), "{kind}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn user_without_the_right_is_told_which_one() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        let endpoint = database.options(&[]).endpoint;
        let from = logs::now(&mut database.session().await, &endpoint).await.unwrap().point;
        let user = format!("blind_{}", database.name);
        database.run(&format!("CREATE USER '{user}' IDENTIFIED BY ''")).await;
        let error = database.read(&user, &from, 7_003).await.unwrap_err();
        assert_eq!((error.code(), error.retryable()), (NO_REPLICATION.code, false), "{kind}: {error}");
        let help = error.diagnostic().help.remove(0);
        assert!(help.contains(&format!("TO `{user}`@`%`")), "{kind}: {help}");
        database.run(help.split_once(": ").unwrap().1).await;
        database.read(&user, &from, 7_003).await.unwrap();
    }
}

/// Of two readers that a server cannot tell apart, it ends one.
#[tokio::test(flavor = "multi_thread")]
async fn another_reader_with_our_number_is_told_after_three_times() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        database.run("CREATE TABLE t (id INT PRIMARY KEY)").await;
        let endpoint = database.options(&[]).endpoint;
        let from = logs::now(&mut database.session().await, &endpoint).await.unwrap().point;
        // It is a replica that says no more than its number.
        let others = tokio::spawn({
            let database = Database::on(kind).await.unwrap();
            async move {
                let mut streams = Vec::new();
                for _ in 0..200 {
                    let conn = database.conn().await;
                    let request = mysql_async::BinlogStreamRequest::new(7_004);
                    if let Ok(stream) = conn.get_binlog_stream(request).await {
                        streams.push(stream);
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        });
        let mut reader = database.reader(from, 7_004);
        let ended = tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                if let Err(e) = reader.advance().await {
                    return e;
                }
            }
        });
        let ended = ended.await;
        if database.is_mysql() {
            assert!(ended.is_err(), "MySQL tells readers apart by what we say of ourselves: {ended:?}");
        } else {
            let error = ended.unwrap();
            assert_eq!((error.code(), error.retryable()), (SERVER_ID_TAKEN.code, false), "{error}");
            assert!(error.to_string().contains("'server-id'"), "{error}");
        }
        others.abort();
    }
}
