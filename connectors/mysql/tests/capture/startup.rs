//! Where reading begins.

use std::time::Duration;

use dflow_common::Classified;
use dflow_connector_mysql::binlog::position::{Position, Seen};
use dflow_connector_mysql::cdc::error::INSTANT_TO_COME;
use dflow_connector_mysql::cdc::{logs, startup};
use dflow_connector_mysql::error::POSITION_LOST;

use crate::kit::{Database, KINDS};

const MODE: &str = "scan.startup.mode";
const GTIDS: &str = "scan.startup.specific-offset.gtid-set";
const FILE: &str = "scan.startup.specific-offset.file";
const POS: &str = "scan.startup.specific-offset.pos";
const MILLIS: &str = "scan.startup.timestamp-millis";

impl Database {
    async fn begin(&self, given: &[(&str, &str)]) -> dflow_connector_api::Result<Position> {
        let options = self.options(given);
        let mut session = self.session().await;
        startup::begin(&self.env, &mut session, &options).await
    }

    async fn now(&self) -> Position {
        let options = self.options(&[]);
        logs::now(&mut self.session().await, &options.endpoint).await.unwrap()
    }

    async fn insert(&self, ids: &str) {
        let rows: Vec<String> = ids.split(' ').map(|id| format!("({id})")).collect();
        self.run(&format!("INSERT INTO t VALUES {}", rows.join(", "))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn earliest_is_the_first_event_and_latest_is_behind_the_last() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        database.run("CREATE TABLE t (id INT PRIMARY KEY)").await;
        database.insert("1 2").await;
        let latest = database.begin(&[(MODE, "latest-offset")]).await.unwrap();
        database.insert("3").await;
        database.run("FLUSH BINARY LOGS").await;
        database.insert("4").await;
        let earliest = database.begin(&[(MODE, "earliest-offset")]).await.unwrap();
        assert_eq!(database.ids(earliest, 4).await, ["1", "2", "3", "4"], "{kind}");
        assert_eq!(database.ids(latest, 2).await, ["3", "4"], "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_place_begins_there_and_not_inside_of_what_is_skipped() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        database.run("CREATE TABLE t (id INT PRIMARY KEY)").await;
        let at = database.now().await.point;
        let pos = at.at.pos.to_string();
        database.insert("1 2 3").await;
        database.insert("4").await;
        let place = [(MODE, "specific-offset"), (FILE, at.at.file.as_str()), (POS, pos.as_str())];
        let begun = database.begin(&place).await.unwrap();
        assert_eq!(database.ids(begun, 4).await, ["1", "2", "3", "4"], "{kind}");
        let mut skipping = place.to_vec();
        skipping.push(("scan.startup.specific-offset.skip-rows", "2"));
        let begun = database.begin(&skipping).await.unwrap();
        assert_eq!(database.ids(begun, 2).await, ["3", "4"], "{kind}");
        let missing = [(MODE, "specific-offset"), (FILE, "nope.000001"), (POS, "4")];
        let error = database.begin(&missing).await.unwrap_err();
        assert_eq!(error.code(), POSITION_LOST.code, "{kind}: {error}");
        assert!(error.to_string().contains("no such file"), "{kind}: {error}");
        let far = [(MODE, "specific-offset"), (FILE, at.at.file.as_str()), (POS, "99999999999")];
        assert!(database.begin(&far).await.unwrap_err().to_string().contains("ends at"), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_ids_are_not_read_and_their_gaps_are() {
    for kind in KINDS {
        let Some(database) = Database::own(kind, &[], "ON").await else { continue };
        database.run("CREATE TABLE t (id INT PRIMARY KEY)").await;
        database.insert("1").await;
        let first = database.now().await;
        database.insert("2").await;
        database.insert("3").await;
        let third = database.now().await;
        database.insert("4").await;
        let ids = |position: &Position| match position.point.seen.as_ref().unwrap() {
            Seen::Mysql(set) => set.to_string(),
            Seen::Mariadb(position) => position.to_string(),
        };
        let before = ids(&third);
        let begun = database.begin(&[(MODE, "specific-offset"), (GTIDS, &before)]).await.unwrap();
        assert_eq!(database.ids(begun, 1).await, ["4"], "{kind}");
        if database.is_mysql() {
            // Everything up to 3, without the transaction of 2.
            let (Some(Seen::Mysql(until_1)), Some(Seen::Mysql(until_3))) = (first.point.seen, third.point.seen) else {
                panic!("MySQL with ids");
            };
            let (server, _, runs) = until_1.runs().next().unwrap();
            let last = runs.last().unwrap().1;
            let second = format!("{server}:{}", last + 1).parse().unwrap();
            let gap = until_3.subtract(&second);
            let begun = database.begin(&[(MODE, "specific-offset"), (GTIDS, &gap.to_string())]).await.unwrap();
            assert_eq!(begun.point.seen, Some(Seen::Mysql(gap)), "the gap stays a gap");
            assert_eq!(database.ids(begun, 2).await, ["2", "4"], "{kind}");
        }
        // Of another server, and of the future of this one.
        let foreign = if database.is_mysql() { "00000000-0000-0000-0000-000000000001:1-7" } else { "7-7-7" };
        let error = database.begin(&[(MODE, "specific-offset"), (GTIDS, foreign)]).await.unwrap_err();
        assert_eq!((error.code(), error.class().exit_code()), (POSITION_LOST.code, 14), "{kind}: {error}");
        // Purged.
        database.run("FLUSH BINARY LOGS").await;
        database.purge_to(&database.now().await.point.at.file).await;
        let error = database.begin(&[(MODE, "specific-offset"), (GTIDS, &before)]).await.unwrap_err();
        assert_eq!(error.code(), POSITION_LOST.code, "{kind}: {error}");
        assert_eq!(error.diagnostic().help.len(), 3, "{kind}: three ways on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instant_begins_with_the_first_transaction_of_its_second() {
    for kind in KINDS {
        let Some(database) = Database::own(kind, &[], "ON").await else { continue };
        database.run("CREATE TABLE t (id INT PRIMARY KEY)").await;
        // Six transactions in seconds of their own, over four files.
        let mut seconds = Vec::new();
        for id in 1..=6 {
            tokio::time::sleep(Duration::from_millis(1_100)).await;
            database.insert(&id.to_string()).await;
            seconds.push(database.number("SELECT UNIX_TIMESTAMP()").await);
            if id % 2 == 0 {
                tokio::time::sleep(Duration::from_millis(1_100)).await;
                database.run("FLUSH BINARY LOGS").await;
            }
        }
        let since = async |millis: i64| database.begin(&[(MODE, "timestamp"), (MILLIS, &millis.to_string())]).await;
        let from = |first: usize| (first..=6).map(|id| id.to_string()).collect::<Vec<_>>();
        for (i, second) in seconds.iter().enumerate() {
            for millis in [second * 1_000, second * 1_000 + 999] {
                let begun = since(millis).await.unwrap();
                assert_eq!(database.ids(begun, 6 - i).await, from(i + 1), "{kind}: {millis}");
            }
        }
        let begun = since((seconds[2] - 1) * 1_000).await.unwrap();
        assert_eq!(database.ids(begun, 4).await, from(3), "{kind}: a second without changes");
        let begun = since(1).await.unwrap();
        assert_eq!(database.ids(begun, 6).await, from(1), "{kind}: before the log, of which nothing is gone");
        let begun = since((seconds[5] + 1) * 1_000).await.unwrap();
        assert_eq!(database.ids(begun, 0).await, from(7), "{kind}: behind the last one");
        let error = since((seconds[5] + 3_600) * 1_000).await.unwrap_err();
        assert_eq!(error.code(), INSTANT_TO_COME.code, "{kind}: {error}");

        // The file with 3 and 4 is the first one now.
        let begun = since(seconds[2] * 1_000).await.unwrap();
        database.purge_to(&begun.point.at.file).await;
        let error = since(seconds[0] * 1_000).await.unwrap_err();
        assert_eq!(error.code(), POSITION_LOST.code, "{kind}: {error}");
        let begun = since(seconds[3] * 1_000).await.unwrap();
        assert_eq!(database.ids(begun, 3).await, from(4), "{kind}: what is there is found");
    }
}
