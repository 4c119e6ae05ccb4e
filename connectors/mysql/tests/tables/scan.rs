//! What a scan reads of a table.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, RecordBatch, StringViewArray, Time32MillisecondArray,
    TimestampMicrosecondArray, TimestampMillisecondArray,
};
use dflow_common::types::LENGTH_MAX;
use dflow_common::{ChangeBatch, Classified, SqlType, TypeKind};
use dflow_connector_api::{CompareOp, Predicate, Value};
use dflow_connector_mysql::client::error::UNREADABLE_VALUE;
use dflow_test_servers::Proxy;

use crate::kit::{Database, KINDS};

fn int() -> SqlType {
    TypeKind::BigInt.into()
}

/// Every declared type with edge values, beside the server's type for it.
fn columns() -> Vec<(&'static str, TypeKind, ArrayRef)> {
    const US: i64 = 1_000_000;
    let nines = 10_i128.pow(38) - 1;
    let decimal = |v: Vec<Option<i128>>, p, s| -> ArrayRef {
        Arc::new(Decimal128Array::from(v).with_precision_and_scale(p, s).unwrap())
    };
    vec![
        ("TINYINT(1)", TypeKind::Boolean, Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("BIT(1)", TypeKind::Boolean, Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        // 49 is the digit 1 in ASCII.
        ("BIT(16)", TypeKind::Int, Arc::new(Int32Array::from(vec![Some(49), Some(65_535), None]))),
        ("TINYINT", TypeKind::TinyInt, Arc::new(Int8Array::from(vec![Some(i8::MIN), Some(i8::MAX), None]))),
        ("SMALLINT", TypeKind::SmallInt, Arc::new(Int16Array::from(vec![Some(i16::MIN), Some(i16::MAX), None]))),
        ("YEAR", TypeKind::Int, Arc::new(Int32Array::from(vec![Some(1901), Some(2155), None]))),
        ("INT", TypeKind::Int, Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(i32::MAX), None]))),
        ("INT UNSIGNED", TypeKind::BigInt, Arc::new(Int64Array::from(vec![Some(0), Some(4_294_967_295), None]))),
        ("BIGINT", TypeKind::BigInt, Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None]))),
        ("BIGINT UNSIGNED", TypeKind::Decimal(20, 0), decimal(vec![Some(0), Some(u64::MAX.into()), None], 20, 0)),
        ("FLOAT", TypeKind::Float, Arc::new(Float32Array::from(vec![Some(0.1), Some(f32::MIN_POSITIVE), None]))),
        ("DOUBLE", TypeKind::Double, Arc::new(Float64Array::from(vec![Some(0.1), Some(f64::MAX), None]))),
        ("DECIMAL(38, 0)", TypeKind::Decimal(38, 0), decimal(vec![Some(nines), Some(-nines), None], 38, 0)),
        ("DECIMAL(65, 30)", TypeKind::Decimal(38, 30), decimal(vec![Some(1), Some(-1), None], 38, 30)),
        (
            "TEXT",
            TypeKind::VarChar(LENGTH_MAX),
            Arc::new(StringViewArray::from(vec![Some("'\\\0😀 and more than 12"), Some(""), None])),
        ),
        (
            "ENUM('a', 'ü')",
            TypeKind::VarChar(LENGTH_MAX),
            Arc::new(StringViewArray::from(vec![Some("ü"), Some("a"), None])),
        ),
        (
            "BLOB",
            TypeKind::VarBinary(LENGTH_MAX),
            Arc::new(BinaryViewArray::from(vec![Some(&[0_u8, 255, 0xC3, 0][..]), Some(&[]), None])),
        ),
        (
            "BINARY(2)",
            TypeKind::Binary(2),
            Arc::new(BinaryViewArray::from(vec![Some(&[1_u8, 0][..]), Some(&[0, 0]), None])),
        ),
        ("DATE", TypeKind::Date, Arc::new(Date32Array::from(vec![Some(-354_285), Some(2_932_896), None]))),
        ("TIME(3)", TypeKind::Time(3), Arc::new(Time32MillisecondArray::from(vec![Some(0), Some(86_399_999), None]))),
        (
            "DATETIME",
            TypeKind::Timestamp(0),
            Arc::new(TimestampMillisecondArray::from(vec![Some(-1_000), Some(1_000), None])),
        ),
        (
            "DATETIME(6)",
            TypeKind::Timestamp(6),
            Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), Some(253_402_300_799_999_999), None])),
        ),
        (
            "TIMESTAMP(6) NULL",
            TypeKind::TimestampLtz(6),
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(US), Some(1_729_990_800 * US), None]).with_timezone("UTC"),
            ),
        ),
        (
            "TIMESTAMP(6) NULL",
            TypeKind::Timestamp(6),
            Arc::new(TimestampMicrosecondArray::from(vec![Some(90_000 * US), Some(1_700_000_000 * US), None])),
        ),
        (
            "DATETIME(6)",
            TypeKind::TimestampLtz(6),
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(0), Some(1_700_000_000 * US), None]).with_timezone("UTC"),
            ),
        ),
    ]
}

#[tokio::test]
async fn every_type_comes_back_as_it_was_written() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        let types: Vec<String> = columns().iter().enumerate().map(|(i, (ty, ..))| format!("c{i} {ty}")).collect();
        database.run(&format!("CREATE TABLE t (id INT PRIMARY KEY, {})", types.join(", "))).await;
        let names: Vec<String> = (0..columns().len()).map(|i| format!("c{i}")).collect();
        let declared = columns().into_iter().map(|(_, kind, _)| SqlType::from(kind));
        let mut schema: Vec<(&str, SqlType)> = vec![("id", TypeKind::Int.into())];
        schema.extend(names.iter().map(String::as_str).zip(declared));
        for zone in ["UTC", "Europe/Berlin", "America/New_York"] {
            let mut table = database.table(&schema, &[0]);
            table.time_zone = zone;
            let ids: ArrayRef = Arc::new(Int32Array::from(vec![0, 1, 2]));
            let arrays = std::iter::once(ids).chain(columns().into_iter().map(|c| c.2)).collect();
            let fields: Vec<_> = schema.iter().map(|(n, t)| t.to_field(*n)).collect();
            let data = RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), arrays).unwrap();
            table.write().await.unwrap().all(ChangeBatch::inserts(data.clone())).await.unwrap();
            let read = table.read_batches().await.unwrap();
            assert_eq!(read.len(), 1);
            for (i, column) in data.columns().iter().enumerate() {
                assert_eq!(read[0].data.column(i), column, "{kind} {zone} {:?}", schema[i]);
            }
        }
    }
}

#[tokio::test]
async fn ranges_read_what_is_within_the_bounds_and_values_between_them() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        database.run("CREATE TABLE t (id DECIMAL(6, 1), KEY (id))").await;
        database.run("INSERT INTO t VALUES (-5.1), (-5), (-4.5), (0), (3.9), (4), (7.0), (7.1), (NULL)").await;
        for count in ["1", "2", "3", "13", "100"] {
            let table = database
                .table(&[("id", TypeKind::Decimal(6, 1).into())], &[])
                .with("scan.partition.column", "id")
                .with("scan.partition.num", count)
                .with("scan.partition.lower-bound", "-5")
                .with("scan.partition.upper-bound", "7");
            let mut expected = ["-5.0", "-4.5", "0.0", "3.9", "4.0", "7.0"].map(|v| format!("+I {v}"));
            expected.sort();
            assert_eq!(table.read().await.unwrap(), expected, "{kind} {count}");
        }
    }
}

#[tokio::test]
async fn filters_reach_the_server_and_keep_every_row_that_matches() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        database
            .run("CREATE TABLE t (a BIGINT, b VARCHAR(9) COLLATE utf8mb4_general_ci, c TINYINT(1), d DATETIME(3))")
            .await;
        database.run("INSERT INTO t VALUES (1, 'x', 1, '2024-01-01'), (2, 'X', 2, '2024-01-02'), (3, 'y', 0, '2024-01-03'), (4, NULL, NULL, NULL)").await;
        let mut table = database.table(
            &[
                ("a", int()),
                ("b", SqlType::STRING),
                ("c", TypeKind::Boolean.into()),
                ("d", TypeKind::Timestamp(3).into()),
            ],
            &[],
        );
        let text = |s: &str| Value::Text(s.into());
        let noon = Value::Timestamp(1_704_110_400_000_000);
        for (predicate, rows) in [
            (Predicate::Compare(0, CompareOp::Gt, Value::Int(2)), vec![3, 4]),
            (Predicate::In(0, vec![Value::Int(1), Value::Int(4)]), vec![1, 4]),
            // More than asked for: case does not count there.
            (Predicate::Compare(1, CompareOp::Eq, text("x")), vec![1, 2]),
            // Not pushed: too few would come.
            (Predicate::Compare(1, CompareOp::NotEq, text("x")), vec![1, 2, 3, 4]),
            (Predicate::Compare(2, CompareOp::Eq, Value::Bool(true)), vec![1, 2]),
            (Predicate::Compare(3, CompareOp::Lt, noon.clone()), vec![1]),
            (Predicate::Not(Box::new(Predicate::Compare(3, CompareOp::Lt, noon))), vec![2, 3]),
            (Predicate::IsNull(1), vec![4]),
            (Predicate::Compare(1, CompareOp::Eq, text("' OR 1 = 1 -- ")), vec![]),
        ] {
            table.predicate = Some(predicate.clone());
            let read: Vec<i64> = table.read().await.unwrap().iter().map(|r| r[3..4].parse().unwrap()).collect();
            assert_eq!(read, rows, "{kind} {predicate:?}");
            let all = table.clone().with("filter.handling.policy", "never").read().await.unwrap();
            assert_eq!(all.len(), 4, "{kind} {predicate:?}");
        }
    }
}

#[tokio::test]
async fn values_the_declared_column_cannot_hold_are_named() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        for (mysql, value, declared) in [
            ("INT", "128", TypeKind::TinyInt),
            ("BIGINT UNSIGNED", "18446744073709551615", TypeKind::BigInt),
            ("DECIMAL(5, 2)", "1.25", TypeKind::Decimal(5, 1)),
            ("BLOB", "x'ff'", TypeKind::VarChar(LENGTH_MAX)),
            ("TIME", "'-01:00:00'", TypeKind::Time(0)),
            ("DATETIME(6)", "'2024-01-01 00:00:00.000001'", TypeKind::Timestamp(3)),
            ("DATE", "'0000-00-00'", TypeKind::Date),
        ] {
            database.run(&format!("DROP TABLE IF EXISTS t; CREATE TABLE t (v {mysql}); SET sql_mode = ''; INSERT INTO t VALUES ({value})")).await;
            let table = database.table(&[("v", declared)].map(|(n, t)| (n, SqlType::from(t))), &[]);
            let error = table.read().await.unwrap_err();
            assert_eq!(error.code(), UNREADABLE_VALUE.code, "{kind} {mysql}: {error}");
            assert!(error.to_string().contains("`v`"), "{error}");
        }
        let table = database.table(&[("v", TypeKind::Date.into())], &[]);
        let read = table.with("properties.zeroDateTimeBehavior", "CONVERT_TO_NULL").read().await.unwrap();
        assert_eq!(read, ["+I ∅"], "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_goes_on_behind_its_last_row_when_the_connection_breaks() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        database.run("CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR(60))").await;
        let values: Vec<String> =
            (0..3_000).map(|i| format!("({i}, 'a name of more than twelve bytes {i}')")).collect();
        database.run(&format!("INSERT INTO t VALUES {}", values.join(", "))).await;
        let proxy = Proxy::start(database.server.port());
        let table = database
            .table(&[("id", int()), ("name", SqlType::STRING)], &[])
            .with("port", &proxy.port().to_string())
            .with("scan.fetch-size", "100")
            .with("properties.socketTimeout", "2000");
        let expected = table.read().await.unwrap();
        assert_eq!(expected.len(), 3_000);
        for bytes in [0, 3_000, 20_000, 100_000] {
            proxy.cut_after(bytes);
            let before = proxy.accepted();
            let read = tokio::time::timeout(Duration::from_secs(60), table.read()).await.unwrap().unwrap();
            assert!(read == expected, "{kind}: cut after {bytes} bytes: {} rows", read.len());
            assert!(proxy.accepted() > before + 1, "it did break");
        }
    }
}
