//! Small words for tests.
#![allow(clippy::disallowed_methods)]

use std::sync::Arc;

use dflow_common::{ChangeBatch, Classified, RowKind, SourceId, Span, SqlType, TypeKind};
use dflow_connector_api::format::{Decoding, Encoding, FormatFactory, FormatRequest, Progress, RecordDecoder};
use dflow_connector_api::{Column, ColumnKind, ConnectorRegistry, Error, OptionText, RawOption, TableSchema};

pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

pub(crate) fn span() -> Span {
    Span::new(SourceId(0), 0, 1)
}

pub(crate) fn format(name: &str) -> Arc<dyn FormatFactory> {
    let mut registry = ConnectorRegistry::new();
    dflow_formats::register(&mut registry);
    registry.formats()[name].clone()
}

pub(crate) fn int() -> SqlType {
    TypeKind::Int.into()
}

pub(crate) fn bigint() -> SqlType {
    TypeKind::BigInt.into()
}

pub(crate) fn string() -> SqlType {
    SqlType::STRING
}

pub(crate) fn array(t: SqlType) -> SqlType {
    TypeKind::Array(Box::new(t)).into()
}

pub(crate) fn map(v: SqlType) -> SqlType {
    TypeKind::Map(Box::new(SqlType::STRING.not_null()), Box::new(v)).into()
}

pub(crate) fn row(fields: &[(&str, SqlType)]) -> SqlType {
    let field = |(name, ty): &(&str, SqlType)| dflow_common::types::RowField {
        name: (*name).into(),
        ty: ty.clone(),
        comment: None,
    };
    TypeKind::Row(fields.iter().map(field).collect()).into()
}

/// A table of these columns, all projected.
pub(crate) fn table(columns: &[(&str, SqlType)], options: &[(&str, &str)]) -> FormatRequest {
    let column = |(name, ty): &(&str, SqlType)| Column {
        name: (*name).into(),
        ty: ty.clone(),
        kind: ColumnKind::Physical,
        span: span(),
    };
    let option = |(k, v): &(&str, &str)| RawOption {
        key: (*k).into(),
        key_span: span(),
        value: OptionText::Plain((*v).into()),
        value_span: span(),
    };
    FormatRequest {
        table: "t".into(),
        schema: TableSchema {
            columns: columns.iter().map(column).collect(),
            primary_key: Vec::new(),
            partition_keys: Vec::new(),
        },
        projection: (0..columns.len()).collect(),
        masks: Vec::new(),
        options: options.iter().map(option).collect(),
        span: span(),
        time_zone: "UTC".into(),
    }
}

pub(crate) fn decoder(name: &str, request: &FormatRequest) -> Box<dyn RecordDecoder> {
    match format(name).decoding(request) {
        Ok(Decoding::Records(r)) => r.decoder(true),
        Ok(Decoding::Files(_)) => panic!("{name} reads files"),
        Err(e) => panic!("{e:?}"),
    }
}

pub(crate) fn encoding(name: &str, request: &FormatRequest) -> Arc<dyn Encoding> {
    format(name).encoding(request).unwrap()
}

/// All errors of opening, as `code message`.
pub(crate) fn refused<T>(result: Result<T, Vec<Error>>) -> Vec<String> {
    match result {
        Ok(_) => panic!("it was accepted"),
        Err(errors) => errors.iter().map(|e| format!("{} {}", e.code(), e.diagnostic().message)).collect(),
    }
}

/// The batch as text, one line per row: its kind where it is not `+I`, and its columns as JSON.
pub(crate) fn lines(batch: &ChangeBatch, request: &FormatRequest) -> Vec<String> {
    let json = FormatRequest { options: Vec::new(), ..request.clone() };
    let mut out = Vec::new();
    let plain = ChangeBatch::inserts(batch.data.clone());
    encoding("json", &json).encoder().unwrap().encode(&plain, &mut out).unwrap();
    String::from_utf8(out)
        .unwrap()
        .lines()
        .enumerate()
        .map(|(i, line)| match batch.ops.kind(i) {
            RowKind::Insert => line.to_owned(),
            kind => format!("{} {line}", kind.short()),
        })
        .collect()
}

/// Decodes a whole text.
pub(crate) fn decode(name: &str, request: &FormatRequest, text: impl AsRef<[u8]>) -> (Vec<String>, Progress) {
    let mut decoder = decoder(name, request);
    let text = text.as_ref();
    let progress = decoder.decode(text, true, usize::MAX).unwrap();
    assert_eq!(progress.bytes, text.len(), "everything is consumed");
    let batch = decoder.take().unwrap();
    (lines(&batch, request), progress)
}

/// Decodes a text without bad records.
pub(crate) fn rows(name: &str, request: &FormatRequest, text: &str) -> Vec<String> {
    let (rows, progress) = decode(name, request, text);
    assert_eq!(progress.bad, []);
    rows
}

/// The bad records of a text, as `line:field: message`.
pub(crate) fn bad(name: &str, request: &FormatRequest, text: impl AsRef<[u8]>) -> Vec<String> {
    decode(name, request, text)
        .1
        .bad
        .iter()
        .map(|b| format!("{}:{}: {}", b.line + 1, b.field.as_deref().unwrap_or(""), b.message))
        .collect()
}

/// Encodes a batch.
pub(crate) fn encode(name: &str, request: &FormatRequest, batch: &ChangeBatch) -> Vec<u8> {
    let mut encoder = encoding(name, request).encoder().unwrap();
    let mut out = Vec::new();
    encoder.encode(batch, &mut out).unwrap();
    encoder.finish(&mut out).unwrap();
    out
}

/// The batch a JSON text decodes to.
pub(crate) fn batch(request: &FormatRequest, json: &str) -> ChangeBatch {
    let json_request = FormatRequest { options: Vec::new(), ..request.clone() };
    let mut decoder = decoder("json", &json_request);
    assert_eq!(decoder.decode(json.as_bytes(), true, usize::MAX).unwrap().bad, []);
    decoder.take().unwrap()
}

/// Columns of every type a format may carry, and two rows of them as JSON.
pub(crate) fn every_type() -> Vec<(&'static str, SqlType)> {
    vec![
        ("b", TypeKind::Boolean.into()),
        ("i8", TypeKind::TinyInt.into()),
        ("i16", TypeKind::SmallInt.into()),
        ("i32", int()),
        ("i64", bigint()),
        ("f", TypeKind::Float.into()),
        ("d", TypeKind::Double.into()),
        ("dec", TypeKind::Decimal(20, 4).into()),
        ("s", string()),
        ("by", TypeKind::VarBinary(i32::MAX as u32).into()),
        ("da", TypeKind::Date.into()),
        ("ti", TypeKind::Time(3).into()),
        ("ts", TypeKind::Timestamp(3).into()),
        ("ts6", TypeKind::Timestamp(6).into()),
        ("tz", TypeKind::TimestampLtz(3).into()),
        ("tz9", TypeKind::TimestampLtz(9).into()),
    ]
}

pub(crate) const EVERY_TYPE_ROWS: &str = concat!(
    r#"{"b":true,"i8":-128,"i16":32767,"i32":-2147483648,"i64":9223372036854775807,"f":1.5,"d":-2.5e-300,"#,
    r#""dec":1234567890.1234,"s":"häl \"x\", y","by":"AQID","da":"2024-02-29","ti":"23:59:59.999","#,
    r#""ts":"2024-01-02 03:04:05.678","ts6":"1969-12-31 23:59:59.999999","tz":"2024-01-02 03:04:05Z","#,
    r#""tz9":"2024-01-02 03:04:05.123456789Z"}"#,
    "\n",
    r#"{"b":null,"i8":null,"i16":null,"i32":null,"i64":null,"f":null,"d":null,"dec":null,"s":null,"by":null,"#,
    r#""da":null,"ti":null,"ts":null,"ts6":null,"tz":null,"tz9":null}"#,
    "\n"
);
