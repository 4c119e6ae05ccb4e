//! Every problem a preflight knows, provoked on real servers, and ended by the statement it prints.

use std::time::Duration;

use dflow_common::{Classified, Code, Severity, SqlType, TypeKind as K};
use dflow_connector_mysql::cdc::error::{
    LOG_FORMAT, LOG_KEPT_SHORTLY, LOG_OFF, LOG_WITHOUT_NAMES, NO_GTID, NO_REPLICATION, NO_TABLE, PARTIAL_JSON,
    ROW_IMAGE, SERVER_ID_TAKEN, SERVER_ZONE,
};
use dflow_connector_mysql::cdc::log::{LogConnection, LogOptions};
use dflow_connector_mysql::cdc::logs;
use dflow_connector_mysql::cdc::preflight::require;
use dflow_connector_mysql::client::error::{ACCESS_DENIED, NO_PRIVILEGE};
use dflow_connector_mysql::error::{COLUMN_MISSING, COLUMN_TYPE, NO_CHUNK_KEY, POSITION_LOST};

use crate::kit::{Database, KINDS, Table};

fn columns() -> Vec<(&'static str, SqlType)> {
    vec![("id", K::BigInt.into()), ("name", SqlType::STRING)]
}

async fn with_table(database: &Database) -> Table {
    database.run("CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR(50), at TIMESTAMP NULL)").await;
    database.table(&columns(), &[])
}

/// The statement behind `an administrator can allow it: `.
fn statement(help: &str) -> &str {
    help.split_once(": ").map_or(help, |(_, statement)| statement)
}

/// The value in `… '<option>' = '<value>'`.
fn value<'a>(help: &'a str, option: &str) -> &'a str {
    let (_, behind) = help.split_once(&format!("'{option}' = '")).unwrap_or_else(|| panic!("no {option} in {help}"));
    behind.split_once('\'').unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_is_ready_is_told_nothing() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        let found = with_table(&database).await.preflight(None).await;
        assert!(found.iter().all(|d| d.severity == Severity::Warning), "{kind}: {found:?}");
        assert!(require(found).is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_corrected_by_the_statement_that_is_printed() {
    for kind in KINDS {
        let Some(database) = Database::own(kind, &[], "ON").await else { continue };
        let table = with_table(&database).await;
        let mut wrong = vec![
            ("binlog_format = 'STATEMENT'", LOG_FORMAT),
            ("binlog_format = 'MIXED'", LOG_FORMAT),
            ("binlog_row_image = 'MINIMAL'", ROW_IMAGE),
            ("binlog_row_image = 'NOBLOB'", ROW_IMAGE),
            ("binlog_expire_logs_seconds = 3600", LOG_KEPT_SHORTLY),
        ];
        if database.is_mysql() {
            wrong.push(("binlog_row_value_options = 'PARTIAL_JSON'", PARTIAL_JSON));
        }
        let before = table.told().await.0;
        for (setting, code) in wrong {
            database.run(&format!("SET GLOBAL {setting}")).await;
            let (codes, help) = table.told().await;
            assert_eq!(codes, [code.code], "{kind}: {setting}");
            database.run(&help[0]).await;
            assert_eq!(table.told().await.0, before, "{kind}: {}", help[0]);
        }
        // Names of columns in the log: servers come without.
        let found = table.preflight(None).await;
        let told = found.iter().find(|d| d.code == LOG_WITHOUT_NAMES.code).unwrap();
        database.run(&told.help[0]).await;
        assert!(table.preflight(None).await.iter().all(|d| d.code != LOG_WITHOUT_NAMES.code), "{kind}");
        // Two at once are told at once.
        database.run("SET GLOBAL binlog_format = 'MIXED'").await;
        database.run("SET GLOBAL binlog_row_image = 'MINIMAL'").await;
        let found = table.preflight(None).await;
        let error = require(found).unwrap_err();
        assert_eq!((error.code(), error.class().exit_code()), (LOG_FORMAT.code, 12), "{kind}");
        assert!(error.diagnostic().notes.iter().any(|n| n.contains("binlog_row_image = 'FULL'")), "{kind}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_without_a_log_is_started_as_it_says() {
    for (kind, without) in [("mysql", &["--disable-log-bin"][..]), ("mariadb", &["--skip-log-bin"][..])] {
        let Some(database) = Database::own(kind, without, "OFF").await else { continue };
        let (codes, help) = with_table(&database).await.told().await;
        assert_eq!(codes, [LOG_OFF.code], "{kind}");
        assert!(help[0].contains("--log-bin=binlog --server-id=1"), "{kind}: {help:?}");
        let with: &[&str] = &["--log-bin=binlog", "--server-id=1"];
        let Some(database) = Database::own(kind, with, "ON").await else { continue };
        assert!(!with_table(&database).await.told().await.0.contains(&LOG_OFF.code), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_switched_on_step_by_step() {
    let Some(database) = Database::own("mysql", &[], "OFF").await else { return };
    let table = with_table(&database).await;
    let (codes, help) = table.told().await;
    assert_eq!(codes, [NO_GTID.code]);
    assert!(require(table.preflight(None).await).is_ok(), "it can be captured without");
    let set = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5";
    let by_set = [("scan.startup.mode", "specific-offset"), ("scan.startup.specific-offset.gtid-set", set)];
    let error = require(database.table(&columns(), &by_set).preflight(None).await).unwrap_err();
    assert_eq!(error.code(), NO_GTID.code, "but not from a set of ids");
    for statement in help {
        database.run(&statement).await;
    }
    assert_eq!(table.told().await.0, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_granted_by_the_statement_that_is_printed() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        with_table(&database).await;
        let user = format!("weak_{}", database.name);
        database.run(&format!("CREATE USER '{user}' IDENTIFIED BY 'hunter2'")).await;
        let table = database.table(&columns(), &[("username", &user), ("password", "hunter2")]);
        let wrong = database.table(&columns(), &[("username", &user), ("password", "hunter3")]);
        let (codes, _) = wrong.told().await;
        assert_eq!(codes, [ACCESS_DENIED.code], "{kind}");

        let (codes, help) = table.told().await;
        assert_eq!(codes, [NO_REPLICATION.code, NO_TABLE.code], "{kind}: {help:?}");
        assert!(help.iter().all(|h| !h.contains("hunter2")), "{help:?}");
        database.run(statement(&help[0])).await;
        let (codes, help) = table.told().await;
        assert_eq!(codes, [NO_TABLE.code], "{kind}: what may not be read is not seen");
        // Seen, and not to be read.
        database.run(&format!("GRANT INSERT ON {}.* TO '{user}'", database.name)).await;
        let (codes, readable) = table.told().await;
        assert_eq!(codes, [NO_PRIVILEGE.code], "{kind}: {help:?}");
        database.run(statement(&readable[0])).await;
        assert_eq!(table.told().await.0, [], "{kind}");
        assert!(help.iter().any(|h| statement(h).starts_with("GRANT SELECT ON *.*")), "{kind}: {help:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn right_to_read_the_log_and_right_to_see_where_it_is_are_two() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        with_table(&database).await;
        for one in ["REPLICATION SLAVE", "REPLICATION CLIENT"] {
            let user = format!("half_{}_{}", &one[12..13], database.name);
            database.run(&format!("CREATE USER '{user}' IDENTIFIED BY 'p'")).await;
            database.run(&format!("GRANT {one} ON *.* TO '{user}'")).await;
            database.run(&format!("GRANT SELECT ON {}.* TO '{user}'", database.name)).await;
            let table = database.table(&columns(), &[("username", &user), ("password", "p")]);
            let (codes, help) = table.told().await;
            assert_eq!(codes, [NO_REPLICATION.code], "{kind}: {one} alone: {help:?}");
            database.run(statement(&help[0])).await;
            assert_eq!(table.told().await.0, [], "{kind}: {one}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn position_that_was_purged_is_told_before_reading() {
    for kind in KINDS {
        let Some(database) = Database::own(kind, &[], "ON").await else { continue };
        let table = with_table(&database).await;
        let at = logs::now(&mut database.session().await, &table.options.endpoint).await.unwrap();
        assert_eq!(require(table.preflight(Some(&at)).await).err().map(|e| e.to_string()), None, "{kind}");
        database.run("INSERT INTO t VALUES (1, 'a', NULL)").await;
        database.run("FLUSH BINARY LOGS").await;
        database.run("INSERT INTO t VALUES (2, 'a', NULL)").await;
        let now = logs::now(&mut database.session().await, &table.options.endpoint).await.unwrap();
        database.purge_to(&now.point.at.file).await;
        let mut by_place = at.clone();
        by_place.point.seen = None;
        for old in [&at, &by_place] {
            let error = require(table.preflight(Some(old)).await).unwrap_err();
            assert_eq!((error.code(), error.class().exit_code()), (POSITION_LOST.code, 14), "{kind}: {error}");
            assert_eq!(error.diagnostic().help.len(), 3, "{kind}: three ways on");
        }
        assert!(require(table.preflight(Some(&now)).await).is_ok(), "{kind}");
        let mut elsewhere = now.clone();
        (elsewhere.point.seen, elsewhere.server) = (None, "another".into());
        let error = require(table.preflight(Some(&elsewhere)).await).unwrap_err();
        assert!(error.to_string().contains("server another"), "{kind}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_of_another_zone_is_told_where_somebody_reads_it() {
    for kind in KINDS {
        let Some(database) = Database::own(kind, &["--default-time-zone=+08:00"], "ON").await else { continue };
        with_table(&database).await;
        let declared = |ty: K| vec![("id", K::BigInt.into()), ("at", SqlType::from(ty))];
        let by_clock = declared(K::Timestamp(0));
        let (codes, help) = database.table(&by_clock, &[("server-time-zone", "UTC")]).told().await;
        assert_eq!(codes, [SERVER_ZONE.code], "{kind}");
        let zone = value(&help[0], "server-time-zone");
        assert_eq!(zone, "+08:00", "{kind}");
        for right in [zone, "Asia/Shanghai", "+08:15"] {
            assert_eq!(database.table(&by_clock, &[("server-time-zone", right)]).told().await.0, [], "{kind}: {right}");
        }
        let instants = database.table(&declared(K::TimestampLtz(0)), &[("server-time-zone", "UTC")]);
        assert_eq!(instants.told().await.0, [], "{kind}: an instant needs no zone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn number_of_somebody_else_is_told_with_one_that_is_free() {
    for kind in KINDS {
        let Some(database) = Database::own(kind, &[], "ON").await else { continue };
        let plain = with_table(&database).await;
        let at = logs::now(&mut database.session().await, &plain.options.endpoint).await.unwrap();
        let options = LogOptions { server_id: 7_777, heartbeat: Duration::from_millis(500) };
        let endpoint = &plain.options.endpoint;
        let from = at.start();
        let mut other = LogConnection::open(&database.env, endpoint, &options, from, Duration::ZERO).await.unwrap();
        other.next(from).await.unwrap();
        for taken in ["7777", "1", "7770-7780"] {
            let (codes, help) = database.table(&columns(), &[("server-id", taken)]).told().await;
            assert_eq!(codes, [SERVER_ID_TAKEN.code], "{kind}: {taken}");
            let free = value(&help[0], "server-id");
            assert_eq!(database.table(&columns(), &[("server-id", free)]).told().await.0, [], "{kind}: {free}");
        }
        other.next(from).await.expect("the other one reads on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_columns_that_do_not_match_are_told_all_at_once() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        with_table(&database).await;
        database.run("CREATE TABLE Customers (id BIGINT PRIMARY KEY, name VARCHAR(50))").await;
        for (table, meant) in [("customers", "`Customers`"), ("Custmoers", "'table-name' = 'Customers'")] {
            let (codes, help) = database.table(&columns(), &[("table-name", table)]).told().await;
            assert_eq!(codes, [NO_TABLE.code], "{kind}");
            assert!(help[0].contains(meant), "{kind}: {help:?}");
        }
        let declared = [
            ("id", SqlType::from(K::Date)),
            ("nam", SqlType::STRING),
            ("at", SqlType::from(K::TimestampLtz(0))),
            ("name", SqlType::from(K::Int)),
        ];
        let mut found = database.table(&declared, &[]).preflight(None).await;
        found.retain(|d| d.severity == Severity::Error);
        let places: Vec<(Code, u32)> = found.iter().map(|d| (d.code, d.span().unwrap().start)).collect();
        assert_eq!(
            places,
            [(COLUMN_TYPE.code, 0), (COLUMN_MISSING.code, 1), (COLUMN_TYPE.code, 3)],
            "{kind}: {found:?}"
        );
        assert!(found[1].help[0].contains("did you mean `name`?"), "{kind}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn table_without_a_key_gets_one_or_a_column_to_read_by() {
    const KEY: &str = "scan.incremental.snapshot.chunk.key-column";
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        database.run("CREATE TABLE t (doc TEXT, seen_at DATETIME)").await;
        let declared = [("doc", SqlType::STRING)];
        let (codes, help) = database.table(&declared, &[]).told().await;
        assert_eq!(codes, [NO_CHUNK_KEY.code], "{kind}");
        let column = value(&help[0], KEY);
        assert_eq!(database.table(&declared, &[(KEY, column)]).told().await.0, [], "{kind}: {column}");
        for wrong in ["doc", "nope"] {
            let (codes, help) = database.table(&declared, &[(KEY, wrong)]).told().await;
            assert_eq!((codes, value(&help[0], KEY)), (vec![NO_CHUNK_KEY.code], "seen_at"), "{kind}: {wrong}");
        }
        let latest = database.table(&declared, &[("scan.startup.mode", "latest-offset")]);
        assert_eq!(latest.told().await.0, [], "{kind}: nothing is read in chunks");

        database.run("CREATE TABLE u (doc TEXT)").await;
        let only_text = database.table(&declared, &[("table-name", "u")]);
        let (codes, help) = only_text.told().await;
        assert_eq!(codes, [NO_CHUNK_KEY.code], "{kind}");
        database.run(statement(&help[0])).await;
        assert_eq!(only_text.told().await.0, [], "{kind}: {}", help[0]);
    }
}
