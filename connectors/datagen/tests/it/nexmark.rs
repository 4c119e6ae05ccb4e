//! `nexmark` tables, against a sample that Flink read from the original connector with the pinned random source.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampMillisecondType};
use dflow_common::types::{LENGTH_MAX, RowField};
use dflow_common::{SqlType, TypeKind};
use dflow_connector_api::{Column, CompareOp, FieldMask, Predicate, Source, Value};
use dflow_connector_datagen::text;
use serde_json::{Value as Json, json};

use crate::kit::{batches, column, refusals, request, source};

pub(crate) const STRING: TypeKind = TypeKind::VarChar(LENGTH_MAX);
const TIME: TypeKind = TypeKind::Timestamp(3);

pub(crate) fn row(fields: &[(&str, TypeKind)]) -> TypeKind {
    let field =
        |(name, ty): &(&str, TypeKind)| RowField { name: (*name).into(), ty: SqlType::from(ty.clone()), comment: None };
    TypeKind::Row(fields.iter().map(field).collect())
}

/// The columns of the benchmark's table.
pub(crate) fn columns() -> Vec<Column> {
    let person = row(&[
        ("id", TypeKind::BigInt),
        ("name", STRING),
        ("emailAddress", STRING),
        ("creditCard", STRING),
        ("city", STRING),
        ("state", STRING),
        ("dateTime", TIME),
        ("extra", STRING),
    ]);
    let auction = row(&[
        ("id", TypeKind::BigInt),
        ("itemName", STRING),
        ("description", STRING),
        ("initialBid", TypeKind::BigInt),
        ("reserve", TypeKind::BigInt),
        ("dateTime", TIME),
        ("expires", TIME),
        ("seller", TypeKind::BigInt),
        ("category", TypeKind::BigInt),
        ("extra", STRING),
    ]);
    let bid = row(&[
        ("auction", TypeKind::BigInt),
        ("bidder", TypeKind::BigInt),
        ("price", TypeKind::BigInt),
        ("channel", STRING),
        ("url", STRING),
        ("dateTime", TIME),
        ("extra", STRING),
    ]);
    vec![column("event_type", TypeKind::Int), column("person", person), column("auction", auction), column("bid", bid)]
}

fn value(array: &ArrayRef, row: usize) -> Json {
    if array.is_null(row) {
        return Json::Null;
    }
    match array.data_type() {
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::Utf8View => array.as_string_view().value(row).into(),
        DataType::Timestamp(..) => array.as_primitive::<TimestampMillisecondType>().value(row).into(),
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            fields
                .iter()
                .zip(columns)
                .map(|(f, c)| (f.name().clone(), value(c, row)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        }
        other => panic!("no column of type {other}"),
    }
}

/// `2023-12-31 23:59:55.055` as milliseconds since that minute's start, which is enough for 1,000 events.
fn time(text: &Json) -> Json {
    let text = text.as_str().unwrap();
    let seconds: f64 = match text.strip_prefix("2023-12-31 23:59:") {
        Some(seconds) => seconds.parse().unwrap(),
        None => 60.0 + text.strip_prefix("2024-01-01 00:00:").unwrap().parse::<f64>().unwrap(),
    };
    (1_704_067_140_000 + (seconds * 1000.0).round() as i64).into()
}

fn sample() -> Vec<Json> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/nexmark_events_1000.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| {
            let mut event: serde_json::Map<String, Json> = serde_json::from_str(line).unwrap();
            event.remove("dateTime");
            for kind in ["person", "auction", "bid"] {
                match event.entry(kind).or_insert(Json::Null) {
                    Json::Object(row) => {
                        for key in ["dateTime", "expires"] {
                            if let Some(text) = row.get(key) {
                                let ms = time(text);
                                row.insert(key.into(), ms);
                            }
                        }
                    }
                    absent => assert!(absent.is_null()),
                }
            }
            event.into()
        })
        .collect()
}

async fn events(source: &dyn Source) -> Vec<Json> {
    let of = |batch: RecordBatch| -> Vec<Json> {
        let schema = batch.schema();
        (0..batch.num_rows())
            .map(|row| {
                let fields = schema.fields().iter().zip(batch.columns());
                fields.map(|(f, c)| (f.name().clone(), value(c, row))).collect::<serde_json::Map<_, _>>().into()
            })
            .collect()
    };
    batches(source, 1).await.into_iter().flat_map(of).collect()
}

#[tokio::test]
async fn the_first_thousand_events_are_those_of_the_sample() {
    let source = source("nexmark", &request(columns(), &[("events.num", "1000")])).unwrap();
    let (made, expected) = (events(source.as_ref()).await, sample());
    assert_eq!(made.len(), 1000);
    for (k, (made, expected)) in made.iter().zip(&expected).enumerate() {
        assert_eq!(made, expected, "event {k}");
    }
}

fn only(kind: i64) -> Predicate {
    Predicate::Compare(0, CompareOp::Eq, Value::Int(kind))
}

#[tokio::test]
async fn a_filter_on_the_kind_makes_that_kind_only() {
    let expected = sample();
    let keep = |kinds: &[i64]| -> Vec<Json> {
        expected.iter().filter(|e| kinds.contains(&e["event_type"].as_i64().unwrap())).cloned().collect()
    };
    let in_both = Predicate::Or(vec![only(0), Predicate::In(0, vec![Value::Int(1)])]);
    let not_bid = Predicate::Not(Box::new(Predicate::IsNotNull(3)));
    let narrow = Predicate::And(vec![only(2), Predicate::Compare(3, CompareOp::Gt, Value::Text("x".into()))]);
    for (predicate, kinds) in [
        (only(0), &[0][..]),
        (only(1), &[1]),
        (only(2), &[2]),
        (in_both, &[0, 1]),
        (not_bid, &[0, 1]),
        (narrow, &[2]),
        (only(7), &[]),
        (Predicate::Compare(0, CompareOp::GtEq, Value::Int(1)), &[1, 2]),
        (Predicate::Compare(0, CompareOp::NotEq, Value::Float(1.5)), &[0, 1, 2]),
    ] {
        let mut asked = request(columns(), &[("events.num", "1000")]);
        asked.predicate = Some(predicate.clone());
        assert_eq!(events(source("nexmark", &asked).unwrap().as_ref()).await, keep(kinds), "{predicate:?}");
    }
}

#[tokio::test]
async fn only_the_fields_that_are_read_are_made() {
    let expected = sample();
    let all = columns();
    for column in 1..4 {
        let TypeKind::Row(fields) = &all[column].ty.kind else { panic!("a row") };
        for (at, field) in fields.iter().enumerate() {
            let mut asked = request(columns(), &[("events.num", "1000")]);
            asked.projection = vec![column, 0];
            asked.masks = vec![FieldMask::Fields(vec![(at, FieldMask::All)]), FieldMask::All];
            for (made, whole) in events(source("nexmark", &asked).unwrap().as_ref()).await.iter().zip(&expected) {
                let (made, whole) = (&made[&all[column].name], &whole[&all[column].name]);
                assert_eq!(made.is_null(), whole.is_null());
                assert_eq!(made[&field.name], whole[&field.name], "{}.{}", all[column].name, field.name);
                let others = made.as_object().into_iter().flatten().filter(|(name, _)| **name != field.name);
                assert!(others.map(|(_, value)| value).all(Json::is_null), "only {} is read: {made}", field.name);
            }
        }
    }
    let mut none = request(columns(), &[("events.num", "10")]);
    none.masks = vec![FieldMask::All, FieldMask::All, FieldMask::All, FieldMask::Fields(vec![])];
    let made = events(source("nexmark", &none).unwrap().as_ref()).await;
    assert!(made[5]["bid"].is_object() && made[5]["bid"]["price"].is_null(), "{}", made[5]);
}

#[tokio::test]
async fn a_table_may_declare_a_part_in_another_order() {
    let bid = row(&[("price", TypeKind::BigInt), ("auction", TypeKind::BigInt)]);
    let declared = vec![column("bid", bid), column("event_type", TypeKind::Int)];
    let made = events(source("nexmark", &request(declared, &[("events.num", "3")])).unwrap().as_ref()).await;
    assert_eq!(made[2], json!({"bid": {"price": 89258, "auction": 1000}, "event_type": 2}));
}

#[tokio::test]
async fn other_proportions_and_sizes_keep_their_promises() {
    let options = [
        ("person.proportion", "2"),
        ("auction.proportion", "1"),
        ("bid.proportion", "2"),
        ("bid.avg-size", "30"),
        ("bid.hot-ratio.auctions", "3"),
        ("auction.avg-size", "1 kb"),
        ("first-event.rate", "1000"),
        ("events.num", "2000"),
        ("stop-at", "1000"),
    ];
    let made = events(source("nexmark", &request(columns(), &options)).unwrap().as_ref()).await;
    let count = |kind: i64| made.iter().filter(|e| e["event_type"] == kind).count();
    assert_eq!((count(0), count(1), count(2)), (400, 200, 400), "stopped at 1000 of 2000");
    assert_eq!(
        made[999]["bid"]["dateTime"].as_i64().unwrap_or(0) % 1000,
        0,
        "event number 1000 at 1000/s: {}",
        made[999]
    );
    assert!(made.iter().filter(|e| e["event_type"] == 2).all(|e| e["bid"]["extra"] == ""), "no room for padding");
    assert!(made.iter().filter(|e| e["event_type"] == 1).all(|e| e["auction"]["extra"].as_str().unwrap().len() > 600));
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_kept_when_asked_for() {
    let options = [("first-event.rate", "1000"), ("max-emit-speed", "false"), ("events.num", "2001")];
    let before = tokio::time::Instant::now();
    let made = events(source("nexmark", &request(columns(), &options)).unwrap().as_ref()).await;
    let took = before.elapsed().as_secs_f64();
    assert!(made.len() == 2001 && (2.0..2.1).contains(&took), "{} events at 1000/s took {took} s", made.len());
}

#[tokio::test]
async fn rows_print() {
    let source = source("nexmark", &request(columns(), &[("events.num", "3")])).unwrap();
    let data = batches(source.as_ref(), 1).await.remove(0);
    let mut out = Vec::new();
    text::append(&dflow_common::ChangeBatch::inserts(data), b"", &mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    let third = out.lines().nth(2).unwrap();
    assert!(third.starts_with("+I[2, null, null, +I[1000, 2001, 89258, channel-5594, https://"), "{third}");
    assert!(third.contains(", 2023-12-31T23:59:55, "), "{third}");
}

#[tokio::test]
async fn refusals_name_what_the_generator_makes() {
    let refused = |columns: Vec<Column>, options: &[(&str, &str)]| {
        refusals(source("nexmark", &request(columns, options))).join("\n")
    };
    for (columns, expected) in [
        (vec![column("bids", TypeKind::Int)], "did you mean `bid`?"),
        (vec![column("bids", TypeKind::Int)], "DF5302"),
        (vec![column("event_type", TypeKind::BigInt)], "declare it as INT"),
        (vec![column("bid", TypeKind::Int)], "`bid` is a ROW, not INT"),
        (vec![column("bid", row(&[("prize", TypeKind::BigInt)]))], "did you mean `price`?"),
        (vec![column("bid", row(&[("price", TypeKind::Int)]))], "declare it as BIGINT"),
    ] {
        let text = refused(columns, &[]);
        assert!(text.contains(expected), "should say {expected:?}, says: {text}");
    }
    for options in [
        &[("first-event.rate", "0")][..],
        &[("bid.hot-ratio.auctions", "0")],
        &[("bid.avg-size", "1 gb")],
        &[("bid.proportion", "0"), ("auction.proportion", "0"), ("person.proportion", "0")],
    ] {
        assert!(refused(columns(), options).contains("DF5303"), "{options:?}");
    }
}
