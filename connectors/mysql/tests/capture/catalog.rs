//! The tables of real servers, as the catalog and as the log describe them.

use dflow_common::{SqlType, TypeKind as K};
use dflow_connector_mysql::binlog::column::fit::{BinaryText, fit};
use dflow_connector_mysql::binlog::event::Event;
use dflow_connector_mysql::binlog::frame::Framer;
use dflow_connector_mysql::binlog::table_map::{TableMap, TableMapHead, column_type as t};
use dflow_connector_mysql::cdc::catalog::{self, TableInfo};
use dflow_connector_mysql::cdc::log::{LogConnection, LogOptions};
use dflow_connector_mysql::cdc::logs;
use mysql_async::prelude::Queryable;
use std::time::Duration;

use crate::kit::{Database, KINDS};

/// Columns that both servers have.
const TYPES: &str = "id BIGINT UNSIGNED NOT NULL, ti TINYINT, tu TINYINT UNSIGNED, b BOOL, s SMALLINT ZEROFILL, \
     m MEDIUMINT UNSIGNED, i INT, iu INT(7) UNSIGNED, f FLOAT, fu FLOAT UNSIGNED, d DOUBLE, d2 DOUBLE(10, 2), \
     de DECIMAL(38, 10), deu DECIMAL(65, 30) UNSIGNED, da DATE, t TIME, t6 TIME(6), dt DATETIME, dt3 DATETIME(3), \
     ts TIMESTAMP(6) NULL, y YEAR, b1 BIT, b64 BIT(64), c CHAR(5), cl CHAR(255) CHARACTER SET utf8mb4, bi BINARY(9), \
     vc VARCHAR(300) CHARACTER SET latin1, vb VARBINARY(10), tt TINYTEXT, tx TEXT CHARACTER SET gbk, mt MEDIUMTEXT, \
     lt LONGTEXT COLLATE utf8mb4_bin, tb TINYBLOB, bl BLOB, lb LONGBLOB, en ENUM('a', 'it''s', 'x,y', 'größe', 'a\\\\b'), \
     se SET('r', 'w', ')'), g GEOMETRY, p POINT, j JSON";

async fn described(kind: &str) -> Option<(Database, TableInfo)> {
    let database = Database::on(kind).await?;
    let own = if kind == "mariadb" { ", u UUID, i4 INET4, i6 INET6" } else { "" };
    database
        .run(&format!("CREATE TABLE t ({TYPES}{own}, PRIMARY KEY (id, i), UNIQUE (vc(3)), UNIQUE two (m, da))"))
        .await;
    let mut found = database.tables("t").await;
    let table = found.pop().unwrap();
    assert!(found.is_empty(), "{found:?}");
    Some((database, table))
}

/// The table as the log describes it, behind an insert.
async fn in_log(database: &Database) -> TableMap {
    let mut session = database.session().await;
    let options = database.options(&[]);
    let from = logs::now(&mut session, &options.endpoint).await.unwrap();
    database.run("INSERT INTO t (id, i) VALUES (1, 1)").await;
    let log = LogOptions { server_id: options.server_id(0, &database.env), heartbeat: Duration::from_secs(1) };
    let from = from.start();
    let mut log = LogConnection::open(&database.env, &options.endpoint, &log, from, Duration::ZERO).await.unwrap();
    let mut framer = Framer::new(from.at.clone());
    loop {
        let packet = log.next(from).await.unwrap();
        let frame = framer.frame(packet).unwrap();
        if let Event::TableMap(body) = &frame.event {
            let head = TableMapHead::read(body, framer.format()).unwrap();
            if head.names() == (database.name.clone(), "t".to_owned()) {
                return head.columns().unwrap();
            }
        }
        framer.advance(&frame);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn catalog_describes_every_column_as_the_log_does() {
    for kind in KINDS {
        let Some((database, table)) = described(kind).await else { continue };
        let log = in_log(&database).await;
        assert_eq!(log.columns.len(), table.columns.len(), "{kind}");
        for (theirs, mine) in log.columns.iter().zip(&table.columns) {
            let name = format!("{kind}: {} {}", mine.name, mine.ty);
            assert_eq!((theirs.ty, theirs.nullable), (mine.def.ty, mine.def.nullable), "{name}");
            // A longer length of an ENUM or SET than its number of values needs does not matter here.
            if !matches!(theirs.ty, t::ENUM | t::SET) {
                assert_eq!(theirs.meta, mine.def.meta, "{name}");
            }
            if let (true, Some(unsigned)) = (theirs.is_integer(), theirs.unsigned) {
                assert_eq!(Some(unsigned), mine.def.unsigned, "{name}");
            }
        }
        // Then the log alone decides as the catalog does.
        let mut completed = log.clone();
        completed.complete(&table.for_log()).unwrap();
        for (theirs, mine) in completed.columns.iter().zip(&table.columns) {
            for ty in [
                SqlType::STRING,
                K::VarBinary(dflow_common::types::LENGTH_MAX).into(),
                K::Int.into(),
                K::Boolean.into(),
                K::Double.into(),
                K::Decimal(38, 30).into(),
                K::TimestampLtz(6).into(),
                K::Timestamp(6).into(),
                K::Time(3).into(),
                K::Date.into(),
            ] {
                let (log, catalog) = (fit(theirs, &ty, BinaryText::Hex), fit(&mine.def, &ty, BinaryText::Hex));
                assert_eq!(log, catalog, "{kind}: {} {} as {ty}", mine.name, mine.ty);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_values_and_sizes() {
    for kind in KINDS {
        let Some((database, table)) = described(kind).await else { continue };
        let column = |name: &str| table.column(name).unwrap();
        assert_eq!(table.primary_key, [column("id"), column("i")], "{kind}");
        assert_eq!(table.unique, [vec![column("m"), column("da")]], "{kind}: of a prefix only the prefix is unique");
        assert_eq!(table.columns[column("en")].values, ["a", "it's", "x,y", "größe", "a\\b"], "{kind}");
        assert_eq!(table.columns[column("se")].values, ["r", "w", ")"], "{kind}");
        assert_eq!(table.columns[column("vc")].charset.as_deref(), Some("latin1"), "{kind}");
        assert_eq!(table.columns[column("lt")].collation.as_deref(), Some("utf8mb4_bin"), "{kind}");
        assert_eq!(table.engine, "InnoDB", "{kind}");
        let rows: Vec<String> = (0..500).map(|i| format!("({i}, 1)")).collect();
        database.run(&format!("INSERT INTO t (id, i) VALUES {}", rows.join(","))).await;
        database.run("ANALYZE TABLE t").await;
        let again = database.tables("t").await.pop().unwrap();
        assert!((250..1_000).contains(&again.rows) && again.row_bytes > 0, "{kind}: {} rows", again.rows);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_found_by_expressions_whatever_their_names_are() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        let hostile = "a`b; DROP TABLE t'\"\\";
        for name in ["t_1", "t_2", "u", "x.y", "größe", hostile] {
            database.run(&format!("CREATE TABLE `{}` (id INT PRIMARY KEY)", name.replace('`', "``"))).await;
        }
        database.run("CREATE VIEW t_3 AS SELECT * FROM t_1").await;
        let names = async |pattern: &str| -> Vec<String> {
            database.tables(pattern).await.into_iter().map(|t| t.name).collect()
        };
        assert_eq!(names("t_[0-9]").await, ["t_1", "t_2"], "{kind}: a view has no log");
        assert_eq!(names("(?!t_).*").await, [hostile, "größe", "u", "x.y"], "{kind}");
        assert_eq!(names(r"x\.y").await, ["x.y"], "{kind}");
        assert!(names("nope").await.is_empty(), "{kind}");
        let options = database.options(&[]);
        let mut session = database.session().await;
        let found = catalog::find(&mut session, &options.endpoint, &database.name, hostile).await.unwrap();
        assert_eq!(found.map(|t| t.columns.len()), Some(1), "{kind}");
        let missing = catalog::find(&mut session, &options.endpoint, &database.name, "t_3").await.unwrap();
        assert_eq!(missing, None, "{kind}");
        // More tables than are asked for at once.
        let mut conn = database.conn().await;
        for i in 0..205 {
            conn.query_drop(format!("CREATE TABLE many_{i} (id INT PRIMARY KEY, v{i} INT)")).await.unwrap();
        }
        let many = database.tables("many_.*").await;
        assert_eq!(many.len(), 205, "{kind}");
        assert!(many.iter().all(|t| t.columns[1].name == t.name.replace("many_", "v")), "{kind}");
    }
}
