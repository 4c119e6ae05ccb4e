//! Every type with its edge values, into the table and as the server reads it back.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, RecordBatch, StringViewArray, Time32MillisecondArray,
    TimestampMicrosecondArray,
};
use dflow_common::{ChangeBatch, Classified, SqlType, TypeKind};
use dflow_connector_mysql::client::error::{UNWRITABLE_VALUE, VALUE_REFUSED};

use crate::kit::{Database, KINDS};

fn decimals(values: &[i128], precision: u8, scale: i8) -> ArrayRef {
    Arc::new(Decimal128Array::from(values.to_vec()).with_precision_and_scale(precision, scale).unwrap())
}

fn batch(column: ArrayRef) -> ChangeBatch {
    let ids: ArrayRef = Arc::new(Int32Array::from((0..column.len() as i32).collect::<Vec<_>>()));
    ChangeBatch::inserts(RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("v", column, true)]).unwrap())
}

/// Writes a column into one of the server's type, and reads it with an expression of the server.
async fn written(database: &Database, mysql: &str, zone: &'static str, column: ArrayRef, read: &str) -> Vec<String> {
    let ty = SqlType::from_arrow(column.data_type()).unwrap();
    database.run(&format!("DROP TABLE IF EXISTS t; CREATE TABLE t (id INT PRIMARY KEY, v {mysql})")).await;
    let mut table = database.table(&[("id", TypeKind::Int.into()), ("v", ty)], &[0]);
    table.time_zone = zone;
    table.write().await.unwrap().all(batch(column)).await.unwrap();
    let rows = database.query(&format!("SELECT CAST({read} AS CHAR) FROM t ORDER BY id")).await;
    rows.into_iter().map(|mut row| row.remove(0).unwrap_or_else(|| "NULL".into())).collect()
}

#[tokio::test]
async fn edge_values_arrive_exactly() {
    const US: i64 = 1_000_000;
    let nines = 10_i128.pow(38) - 1;
    let bytes: Vec<u8> = (0..=255).collect();
    let hex = bytes.iter().map(|b| format!("{b:02X}")).collect::<String>();
    let at = |v: Vec<i64>| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(v)) };
    let instant = |v: Vec<i64>| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(v).with_timezone("UTC")) };
    let text: ArrayRef = Arc::new(StringViewArray::from(vec![Some(""), Some("'\\\"`;\0\n"), Some("ﷺ😀é"), None]));
    #[rustfmt::skip]
    let cases: Vec<(&str, &str, ArrayRef, &str, Vec<&str>)> = vec![
        ("TINYINT(1)", "UTC", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])), "v", vec!["1", "0", "NULL"]),
        ("BIT(1)", "UTC", Arc::new(BooleanArray::from(vec![true, false])), "v + 0", vec!["1", "0"]),
        ("TINYINT", "UTC", Arc::new(Int8Array::from(vec![i8::MIN, i8::MAX])), "v", vec!["-128", "127"]),
        ("TINYINT UNSIGNED", "UTC", Arc::new(Int16Array::from(vec![0, 255])), "v", vec!["0", "255"]),
        ("SMALLINT", "UTC", Arc::new(Int16Array::from(vec![i16::MIN, i16::MAX])), "v", vec!["-32768", "32767"]),
        ("MEDIUMINT UNSIGNED", "UTC", Arc::new(Int32Array::from(vec![0, 16_777_215])), "v", vec!["0", "16777215"]),
        ("INT", "UTC", Arc::new(Int32Array::from(vec![i32::MIN, i32::MAX])), "v", vec!["-2147483648", "2147483647"]),
        ("INT UNSIGNED", "UTC", Arc::new(Int64Array::from(vec![4_294_967_295])), "v", vec!["4294967295"]),
        ("BIGINT", "UTC", Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX])), "v", vec!["-9223372036854775808", "9223372036854775807"]),
        ("BIGINT UNSIGNED", "UTC", decimals(&[0, u64::MAX.into()], 20, 0), "v", vec!["0", "18446744073709551615"]),
        ("FLOAT", "UTC", Arc::new(Float32Array::from(vec![0.5, -f32::MAX])), "v = 0.5 OR v < -3.4e38", vec!["1", "1"]),
        ("DOUBLE", "UTC", Arc::new(Float64Array::from(vec![0.1, f64::MAX, f64::MIN_POSITIVE])), "v = 0.1e0 OR v = 1.7976931348623157e308 OR v = 2.2250738585072014e-308", vec!["1", "1", "1"]),
        ("DECIMAL(38, 0)", "UTC", decimals(&[nines, -nines], 38, 0), "v", vec!["99999999999999999999999999999999999999", "-99999999999999999999999999999999999999"]),
        ("DECIMAL(65, 30)", "UTC", decimals(&[1, -1], 38, 30), "v", vec!["0.000000000000000000000000000001", "-0.000000000000000000000000000001"]),
        ("DECIMAL(5, 2)", "UTC", decimals(&[99_999, -1, 0], 5, 2), "v", vec!["999.99", "-0.01", "0.00"]),
        ("DECIMAL(4, 1)", "UTC", decimals(&[12_30], 5, 2), "v", vec!["12.3"]),
        ("TEXT", "UTC", text, "HEX(v)", vec!["", "275C22603B000A", "EFB7BAF09F9880C3A9", "NULL"]),
        ("VARBINARY(256)", "UTC", Arc::new(BinaryViewArray::from(vec![&bytes[..], &[]])), "HEX(v)", vec![&hex, ""]),
        ("BINARY(3)", "UTC", Arc::new(BinaryViewArray::from(vec![&[0_u8, 255, 0][..]])), "HEX(v)", vec!["00FF00"]),
        ("BLOB", "UTC", Arc::new(BinaryViewArray::from(vec![&[0xC3_u8, 0x28, 0xFF][..]])), "HEX(v)", vec!["C328FF"]),
        ("JSON", "UTC", Arc::new(StringViewArray::from(vec![r#"{"a":"é"}"#])), "JSON_EXTRACT(v, '$.a') = 'é'", vec!["1"]),
        ("ENUM('a', 'b')", "UTC", Arc::new(StringViewArray::from(vec!["b"])), "v + 0", vec!["2"]),
        ("DATE", "UTC", Arc::new(Date32Array::from(vec![-354_285, 2_932_896, 19_782])), "v", vec!["1000-01-01", "9999-12-31", "2024-02-29"]),
        ("TIME(3)", "UTC", Arc::new(Time32MillisecondArray::from(vec![0, 86_399_999])), "v", vec!["00:00:00.000", "23:59:59.999"]),
        ("DATETIME(6)", "UTC", at(vec![0, -1, 253_402_300_799_999_999]), "v", vec!["1970-01-01 00:00:00.000000", "1969-12-31 23:59:59.999999", "9999-12-31 23:59:59.999999"]),
        ("DATETIME", "Asia/Kolkata", at(vec![US]), "v", vec!["1970-01-01 00:00:01"]),
        ("TIMESTAMP(6)", "America/New_York", instant(vec![US, 2_147_483_647 * US + 999_999]), "v", vec!["1970-01-01 00:00:01.000000", "2038-01-19 03:14:07.999999"]),
        // Both sides of the hour that is twice, in UTC.
        ("TIMESTAMP", "Europe/Berlin", instant(vec![1_729_987_200 * US, 1_729_990_800 * US]), "v", vec!["2024-10-27 00:00:00", "2024-10-27 01:00:00"]),
        ("DATETIME", "Asia/Kolkata", instant(vec![0]), "v", vec!["1970-01-01 05:30:00"]),
        ("TIMESTAMP", "Asia/Kolkata", at(vec![19_801 * US]), "v", vec!["1970-01-01 00:00:01"]),
    ];
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        for (mysql, zone, column, read, expected) in &cases {
            let rows = written(&database, mysql, zone, column.clone(), read).await;
            assert_eq!(rows, *expected, "{kind} {mysql} in {zone}");
        }
    }
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_named() {
    let cases: Vec<(&str, ArrayRef, dflow_common::CodeInfo)> = vec![
        ("DOUBLE", Arc::new(Float64Array::from(vec![f64::NAN])), UNWRITABLE_VALUE),
        ("DECIMAL(4, 1)", decimals(&[12_34], 5, 2), UNWRITABLE_VALUE),
        ("DATETIME", Arc::new(TimestampMicrosecondArray::from(vec![1])), UNWRITABLE_VALUE),
        ("TINYINT", Arc::new(Int32Array::from(vec![128])), VALUE_REFUSED),
        ("DECIMAL(3, 0)", decimals(&[1_000], 5, 0), VALUE_REFUSED),
        ("VARCHAR(3)", Arc::new(StringViewArray::from(vec!["four"])), VALUE_REFUSED),
        ("VARCHAR(3) CHARACTER SET latin1", Arc::new(StringViewArray::from(vec!["😀"])), VALUE_REFUSED),
        ("INT NOT NULL", Arc::new(Int32Array::from(vec![None])), VALUE_REFUSED),
        ("ENUM('a')", Arc::new(StringViewArray::from(vec!["b"])), VALUE_REFUSED),
        ("TIMESTAMP", Arc::new(TimestampMicrosecondArray::from(vec![-1_000_000]).with_timezone("UTC")), VALUE_REFUSED),
    ];
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        for (mysql, column, code) in &cases {
            database.run(&format!("DROP TABLE IF EXISTS t; CREATE TABLE t (id INT PRIMARY KEY, v {mysql})")).await;
            let ty = SqlType::from_arrow(column.data_type()).unwrap();
            let table = database.table(&[("id", TypeKind::Int.into()), ("v", ty)], &[0]);
            let error = table.write().await.unwrap().all(batch(column.clone())).await.unwrap_err();
            assert_eq!(error.code(), code.code, "{kind} {mysql}: {error}");
            assert!(!error.retryable() && error.to_string().contains("`t`"), "{error}");
            assert_eq!(database.query("SELECT COUNT(*) FROM t").await[0][0].as_deref(), Some("0"), "{kind} {mysql}");
        }
    }
}
