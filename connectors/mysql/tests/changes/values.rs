//! A value reads the same whether it was found in the table or in the log: every type, its edges, in three time zones.

use dflow_common::{SqlType, TypeKind as K};

use crate::kit::{Database, KINDS, Run, bigint, text};

/// A column, its declared type, and the literals of its rows; where there are fewer, they begin again.
type Column = (&'static str, SqlType, &'static [&'static str]);

fn columns() -> Vec<Column> {
    let of = |kind: K| SqlType::from(kind);
    let bytes = || of(K::VarBinary(dflow_common::types::LENGTH_MAX));
    vec![
        ("TINYINT", of(K::TinyInt), &["-128", "127", "NULL"]),
        ("TINYINT UNSIGNED", of(K::SmallInt), &["255", "0"]),
        ("TINYINT(1)", of(K::Boolean), &["1", "0", "NULL"]),
        ("SMALLINT UNSIGNED", of(K::Int), &["65535", "0"]),
        ("MEDIUMINT", of(K::Int), &["-8388608", "8388607"]),
        ("MEDIUMINT UNSIGNED", of(K::Int), &["16777215", "0"]),
        ("INT UNSIGNED ZEROFILL", of(K::BigInt), &["4294967295", "7"]),
        ("BIGINT", of(K::BigInt), &["-9223372036854775808", "9223372036854775807"]),
        ("BIGINT UNSIGNED", of(K::Decimal(20, 0)), &["18446744073709551615", "0"]),
        ("FLOAT", of(K::Float), &["1.1", "-3.4e38", "0.1", "NULL"]),
        ("DOUBLE", of(K::Double), &["1.7976931348623157e308", "-0.1", "1e-300"]),
        ("DECIMAL(10,2)", of(K::Decimal(12, 4)), &["-99999999.99", "0.01", "0", "NULL"]),
        ("DECIMAL(38,5)", of(K::Decimal(38, 5)), &["-999999999999999999999999999999999.99999", "1.5"]),
        ("DECIMAL(65,10)", text(), &["-1234567890123456789012345678901234567890.0123456789", "0.5", "0"]),
        ("DATE", of(K::Date), &["'1000-01-01'", "'9999-12-31'", "'0000-00-00'", "NULL"]),
        ("DATE", text(), &["'2026-02-28'", "'0000-00-00'"]),
        ("TIME(3)", of(K::Time(3)), &["'00:00:00'", "'23:59:59.999'", "NULL"]),
        ("TIME(6)", text(), &["'-838:59:59'", "'838:59:59'", "'00:00:00.000001'"]),
        ("DATETIME", of(K::Timestamp(0)), &["'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'", "'0000-00-00 00:00:00'"]),
        ("DATETIME(6)", of(K::Timestamp(6)), &["'2026-03-29 02:30:00.123456'", "'1969-12-31 23:59:59.999999'", "NULL"]),
        ("DATETIME(2)", text(), &["'2026-03-29 02:30:00.12'", "'0000-00-00 00:00:00'"]),
        ("TIMESTAMP(3) NULL", of(K::TimestampLtz(3)), &["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07.499'", "NULL"]),
        ("TIMESTAMP(6) NULL", of(K::Timestamp(6)), &["'2026-03-29 01:30:00.123456'", "'2026-11-01 05:30:00'", "NULL"]),
        ("TIMESTAMP NULL", text(), &["'2026-03-08 07:00:00'", "'1970-01-01 00:00:01'", "NULL"]),
        ("YEAR", of(K::Int), &["1901", "2155", "0", "NULL"]),
        ("YEAR", text(), &["1999", "0"]),
        ("CHAR(10)", text(), &["'a '", "''", "'größe 😀'", "NULL"]),
        ("VARCHAR(20) CHARACTER SET latin1", text(), &["'a '", "'€ größe'", "''"]),
        ("VARCHAR(20) CHARACTER SET gbk", text(), &["'中文'", "'a'"]),
        ("LONGTEXT CHARACTER SET utf16", text(), &["'😀 tail'", "NULL"]),
        ("BINARY(5)", bytes(), &["'a'", "X'0000000000'", "X'ff00ff0000'"]),
        ("VARBINARY(10)", bytes(), &["X'00ff'", "''", "X'6100'"]),
        ("BLOB", bytes(), &["X'deadbeef00'", "''", "NULL"]),
        ("BIT(1)", of(K::Boolean), &["b'1'", "b'0'", "NULL"]),
        ("BIT(12)", bytes(), &["b'100000000001'", "b'0'"]),
        ("ENUM('x','größe','it''s')", text(), &["'x'", "'größe'", "'it''s'", "NULL"]),
        ("SET('a','b','c')", text(), &["'a,c'", "''", "'a,b,c'", "NULL"]),
        ("SET('a','b','c')", of(K::Array(Box::new(text()))), &["'c,a'", "''", "NULL"]),
        ("JSON", text(), &[r#"'{"b": [1, 2.5, "x\u00e4", null, true], "a": {}}'"#, "'[]'", "NULL", r#"'"text"'"#]),
        ("GEOMETRY", text(), &["ST_GeomFromText('POINT(1 2.5)')", "ST_GeomFromText('LINESTRING(0 0, 1 1)')", "NULL"]),
    ]
}

/// Makes the server's clock that of a zone, and its tables gone.
async fn clock_of(database: &Database, zone: &str) {
    let zone: chrono_tz::Tz = zone.parse().unwrap();
    let offset = chrono::Utc::now().with_timezone(&zone).format("%:z").to_string();
    database.run(&format!("SET GLOBAL time_zone = '{offset}'")).await;
    database.run("DROP TABLE IF EXISTS t, copy").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_the_table_are_those_of_the_log() {
    for kind in KINDS {
        let Some(database) = Database::own(kind, &[], "ON").await else { continue };
        for zone in ["UTC", "Asia/Tokyo", "America/New_York"] {
            clock_of(&database, zone).await;
            let columns = columns();
            let declarations: Vec<String> =
                columns.iter().enumerate().map(|(i, (ty, ..))| format!("c{i} {ty}")).collect();
            for table in ["t", "copy"] {
                database.run(&format!("CREATE TABLE {table} (id INT PRIMARY KEY, {})", declarations.join(", "))).await;
            }
            let mut conn = database.conn().await;
            use mysql_async::prelude::Queryable;
            // Whatever the columns can hold.
            conn.query_drop("SET sql_mode = ''").await.unwrap();
            for row in 0..4_usize {
                let literals: Vec<&str> = columns.iter().map(|(.., rows)| rows[row % rows.len()]).collect();
                conn.query_drop(format!("INSERT INTO t VALUES ({row}, {})", literals.join(", "))).await.unwrap();
            }
            let names: Vec<String> = (0..columns.len()).map(|i| format!("c{i}")).collect();
            let declared: Vec<(&str, SqlType)> =
                names.iter().map(String::as_str).zip(columns.iter().map(|(_, ty, _)| ty.clone())).collect();
            let options = [("table-name", "t|copy"), ("server-time-zone", zone)];
            for (i, column) in declared.iter().enumerate() {
                let source = database.table(std::slice::from_ref(column), &options).open(None).unwrap();
                let mut run = Run::start(source.as_ref(), &database.env, 1, None);
                run.folds[0].repeats = true;
                run.until("the log is read", |run| run.assigned.iter().any(|id| id.0.starts_with("log/"))).await;
                assert_eq!(run.folds[0].changes, 4, "{kind}: {}", columns[i].0);
                let of_table = run.folds[0].rows.clone();
                conn.query_drop("INSERT INTO copy SELECT * FROM t").await.unwrap();
                run.until(columns[i].0, |run| run.folds[0].changes == 8).await;
                let twice = of_table.iter().map(|(row, n)| (row.clone(), n * 2)).collect();
                assert_eq!(run.folds[0].rows, twice, "{kind} {zone}: {}", columns[i].0);
                conn.query_drop("DELETE FROM copy").await.unwrap();
            }
        }
    }
}

/// Not types with values that no sink can write as they were: no calendar has the date, SQL has another type for it, or a text
/// says what a clock shows and not of which zone.
fn comes_back(ty: &str, literals: &[&str], declared: &SqlType) -> bool {
    let is_reading = ty.starts_with("TIMESTAMP") && matches!(declared.kind, K::VarChar(_));
    ty != "GEOMETRY"
        && !is_reading
        && !matches!(declared.kind, K::Array(_))
        && literals.iter().all(|l| !l.contains("0000-00-00"))
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_the_same_behind_the_sink() {
    for kind in KINDS {
        let Some(database) = Database::own(kind, &[], "ON").await else { continue };
        for zone in ["UTC", "Asia/Tokyo", "America/New_York"] {
            clock_of(&database, zone).await;
            let mut columns = columns();
            columns.retain(|(ty, declared, literals)| comes_back(ty, literals, declared));
            if kind == "mariadb" {
                columns.push(("UUID", text(), &["'550e8400-e29b-41d4-a716-446655440000'", "NULL"]));
                columns.push(("INET4", text(), &["'10.0.0.1'", "'255.255.255.255'"]));
                columns.push(("INET6", text(), &["'2001:db8::1'", "'::'", "'::ffff:1.2.3.4'"]));
            }
            let types: Vec<String> = columns.iter().enumerate().map(|(i, (ty, ..))| format!("c{i} {ty}")).collect();
            for table in ["t", "copy"] {
                database.run(&format!("CREATE TABLE {table} (id BIGINT PRIMARY KEY, {})", types.join(", "))).await;
            }
            let insert = async |row: usize| {
                let literals: Vec<&str> = columns.iter().map(|(.., rows)| rows[row % rows.len()]).collect();
                database.run(&format!("INSERT INTO t VALUES ({row}, {})", literals.join(", "))).await;
            };
            for row in 0..4 {
                insert(row).await;
            }
            let names: Vec<String> = (0..columns.len()).map(|i| format!("c{i}")).collect();
            let mut declared = vec![("id", bigint())];
            declared.extend(names.iter().map(String::as_str).zip(columns.iter().map(|(_, ty, _)| ty.clone())));
            let source = database.table(&declared, &[("server-time-zone", zone)]).open(None).unwrap();
            let mut run = Run::start(source.as_ref(), &database.env, 1, None);
            run.batches = Some(Vec::new());
            run.until("the log is read", |run| run.assigned.iter().any(|id| id.0.starts_with("log/"))).await;
            for row in 4..8 {
                insert(row).await;
            }
            run.until("all rows", |run| run.folds[0].changes == 8).await;

            let mut target = database.table(&declared, &[("table-name", "copy")]);
            target.options.remove("heartbeat.interval");
            let mut request = target.request(None);
            request.time_zone = zone.into();
            let mut registry = dflow_connector_api::ConnectorRegistry::new();
            dflow_connector_mysql::register(&mut registry);
            let sink = registry.get("mysql", request.span).unwrap().sink(&request).unwrap();
            let context = dflow_connector_api::WriterContext {
                job: "job".into(),
                owner: "owner".into(),
                sink: "sink".into(),
                subtask: 0,
                parallelism: 1,
                restored: dflow_common::Epoch(0),
                env: database.env.clone(),
                metrics: dflow_common::metrics::Metrics::new(),
                stage: std::sync::Arc::new(dflow_connector_api::testing::MemoryStage::new()),
            };
            let mut writer = sink.writer(&context).unwrap();
            for batch in run.batches.take().unwrap() {
                writer.write(batch).await.unwrap();
            }
            writer.prepare(dflow_common::Epoch(1)).await.unwrap();
            for (name, (ty, ..)) in names.iter().zip(&columns) {
                // As bytes, but for numbers, which HEX would round.
                let as_bytes = |table: &str| match ty.starts_with("FLOAT") || ty.starts_with("DOUBLE") {
                    true => format!("{table}.{name}"),
                    false => format!("HEX(CONCAT({table}.{name}, ''))"),
                };
                let (of_table, of_copy) = (as_bytes("t"), as_bytes("copy"));
                let sql = format!(
                    "SELECT CONCAT_WS('|', t.id, {of_table}, {of_copy}) FROM t LEFT JOIN copy USING (id) WHERE copy.id IS NULL OR NOT ({of_table} <=> {of_copy})"
                );
                assert_eq!(database.lines(&sql).await, [""; 0], "{kind} {zone}: {ty}");
            }
        }
    }
}
