//! `datagen` tables.

use dflow_common::metrics::Metrics;
use dflow_common::types::LENGTH_MAX;
use dflow_common::{SqlType, TypeKind, types::RowField};
use dflow_connector_api::{ColumnKind, EnumeratorEvent, FieldMask, ReaderContext, SourceContext, SplitAssignment};
use serde_json::json;

use crate::kit::{column, env, lines, refusals, request, source};

const STRING: TypeKind = TypeKind::VarChar(LENGTH_MAX);

fn seeded<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [("dflow.seed", "7"), ("rows-per-second", "1000000")].into_iter().chain(more.iter().copied()).collect()
}

async fn rows(columns: Vec<dflow_connector_api::Column>, options: &[(&str, &str)], n: usize) -> Vec<String> {
    lines(source("datagen", &request(columns, &seeded(options))).unwrap().as_ref(), n).await
}

#[tokio::test(start_paused = true)]
async fn a_sequence_ends_the_source() {
    let columns =
        || vec![column("id", TypeKind::BigInt), column("name", STRING), column("price", TypeKind::Decimal(5, 1))];
    let sequence = |f: &'static str, start, end| {
        let key = |k: &str| -> &'static str { format!("fields.{f}.{k}").leak() };
        [(key("kind"), "sequence"), (key("start"), start), (key("end"), end)]
    };
    let options: Vec<_> =
        [sequence("id", "1", "3"), sequence("name", "8", "100"), sequence("price", "-1", "9")].concat();
    assert_eq!(rows(columns(), &options, 99).await, ["+I[1, 8, -1.0]", "+I[2, 9, 0.0]", "+I[3, 10, 1.0]"]);
    let fewer: Vec<_> = options.into_iter().chain([("number-of-rows", "2")]).collect();
    assert_eq!(rows(columns(), &fewer, 99).await, ["+I[1, 8, -1.0]", "+I[2, 9, 0.0]"]);
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_makes_the_same_rows_and_another_seed_others() {
    let columns = || vec![column("a", TypeKind::Int), column("b", STRING), column("c", TypeKind::Double)];
    let first = rows(columns(), &[], 10).await;
    assert_eq!(first, rows(columns(), &[], 10).await);
    let other = request(columns(), &[("dflow.seed", "8")]);
    assert_ne!(first, lines(source("datagen", &other).unwrap().as_ref(), 10).await);
    // Committed: the values of a seed are a promise.
    assert_eq!(rows(vec![column("a", TypeKind::Int)], &[], 3).await, GOLDEN_INTS);
}

const GOLDEN_INTS: [&str; 3] = ["+I[-1787758001]", "+I[2034819028]", "+I[387483512]"];

#[tokio::test(start_paused = true)]
async fn random_numbers_stay_inside_their_bounds_and_reach_them() {
    let columns =
        vec![column("tiny", TypeKind::TinyInt), column("big", TypeKind::BigInt), column("d", TypeKind::Decimal(3, 1))];
    let options = [
        ("fields.tiny.min", "-1"),
        ("fields.tiny.max", "1"),
        ("fields.big.min", "9223372036854775806"),
        ("fields.d.min", "-0.1"),
        ("fields.d.max", "0.1"),
    ];
    let mut seen: Vec<std::collections::BTreeSet<String>> = vec![Default::default(); 3];
    for row in rows(columns, &options, 500).await {
        for (set, value) in seen.iter_mut().zip(row[3..row.len() - 1].split(", ")) {
            set.insert(value.to_owned());
        }
    }
    let seen: Vec<Vec<String>> = seen.into_iter().map(|s| s.into_iter().collect()).collect();
    assert_eq!(seen[0], ["-1", "0", "1"]);
    assert_eq!(seen[1], ["9223372036854775806", "9223372036854775807"]);
    assert_eq!(seen[2], ["-0.1", "0.0", "0.1"]);
}

#[tokio::test(start_paused = true)]
async fn text_bytes_and_nulls() {
    let columns = vec![
        column("c", TypeKind::Char(3)),
        column("v", STRING),
        column("b", TypeKind::VarBinary(2)),
        column("n", TypeKind::Int),
    ];
    let options = [("fields.v.length", "40"), ("fields.v.var-len", "true"), ("fields.n.null-rate", "0.5")];
    let rows = rows(columns, &options, 1000).await;
    let (mut lengths, mut nulls) = (std::collections::BTreeSet::new(), 0);
    for row in &rows {
        let fields: Vec<&str> = row[3..row.len() - 1].split(", ").collect();
        assert!(fields[0].len() == 3 && fields[0].bytes().all(|b| b.is_ascii_hexdigit()), "{row}");
        lengths.insert(fields[1].len());
        assert!(fields[1].bytes().all(|b| b.is_ascii_hexdigit()), "{row}");
        assert!(fields[2].starts_with('[') && fields[3].ends_with(']'), "two bytes: {row}");
        nulls += usize::from(fields[4] == "null");
    }
    assert_eq!(lengths, (1..=40).collect(), "every length comes up");
    assert!((400..600).contains(&nulls), "{nulls}");
}

#[tokio::test(start_paused = true)]
async fn times_follow_the_rate_and_lie_in_the_past_as_far_as_allowed() {
    let columns = vec![
        column("now", TypeKind::Timestamp(3)),
        column("past", TypeKind::TimestampLtz(6)),
        column("day", TypeKind::Date),
        column("time", TypeKind::Time(0)),
    ];
    let options = [("dflow.seed", "1"), ("rows-per-second", "2"), ("fields.past.max-past", "1 s")];
    let rows = lines(source("datagen", &request(columns, &options)).unwrap().as_ref(), 4).await;
    for (row, now) in rows.iter().zip(["T00:00", "T00:00:00.500", "T00:00:01", "T00:00:01.500"]) {
        assert!(row.starts_with(&format!("+I[2024-01-01{now}, ")) && row.contains("Z, 2024-01-01, 00:00"), "{row}");
    }
    assert!(rows[0].contains("2023-12-31T23:59:59.") || rows[1].contains("2023-12-31T23:59:59."), "{rows:?}");
}

#[tokio::test(start_paused = true)]
async fn rows_come_at_their_rate() {
    let options = [("dflow.seed", "1"), ("rows-per-second", "100"), ("number-of-rows", "301")];
    let before = tokio::time::Instant::now();
    let source = source("datagen", &request(vec![column("a", TypeKind::Int)], &options)).unwrap();
    assert_eq!(lines(source.as_ref(), 999).await.len(), 301);
    let took = before.elapsed().as_secs_f64();
    assert!((3.0..3.1).contains(&took), "301 rows at 100/s took {took} s");
}

/// A column of every type there is.
pub(crate) fn wide_columns() -> Vec<dflow_connector_api::Column> {
    vec![
        column("a", TypeKind::Boolean),
        column("b", TypeKind::SmallInt),
        column("c", TypeKind::Float),
        column("d", TypeKind::Decimal(38, 5)),
        column("e", STRING),
        column("f", TypeKind::Timestamp(9)),
        column("g", TypeKind::TimestampLtz(3)),
        column("h", nested()),
        column("i", TypeKind::Time(3)),
        column("j", TypeKind::VarBinary(5)),
    ]
}

fn nested() -> TypeKind {
    let field = |name: &str, ty: TypeKind| RowField { name: name.into(), ty: ty.into(), comment: None };
    TypeKind::Row(vec![
        field("list", TypeKind::Array(Box::new(TypeKind::Int.into()))),
        field(
            "map",
            TypeKind::Map(Box::new(SqlType::from(TypeKind::TinyInt).not_null()), Box::new(TypeKind::Boolean.into())),
        ),
        field("bag", TypeKind::Multiset(Box::new(TypeKind::TinyInt.into()))),
        field("row", TypeKind::Row(vec![field("x", TypeKind::Int), field("y", TypeKind::Int)])),
    ])
}

#[tokio::test(start_paused = true)]
async fn collections_and_rows() {
    let options = [
        ("fields.f.list.length", "2"),
        ("fields.f.list.element.min", "5"),
        ("fields.f.list.element.max", "5"),
        ("fields.f.map.key.min", "1"),
        ("fields.f.map.key.max", "1"),
        ("fields.f.bag.element.min", "1"),
        ("fields.f.bag.element.max", "2"),
        ("fields.f.row.x.min", "3"),
        ("fields.f.row.x.max", "3"),
        ("fields.f.row.null-rate", "0"),
    ];
    for row in rows(vec![column("f", nested())], &options, 50).await {
        assert!(row.starts_with("+I[+I[[5, 5], {1="), "equal keys of a map are one: {row}");
        assert!(row.contains("}, {1=") || row.contains("}, {2="), "{row}");
        assert!(row.contains("+I[3, "), "{row}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_field_nobody_reads_is_null_and_the_others_stay() {
    let whole = source("datagen", &request(vec![column("f", nested())], &seeded(&[]))).unwrap();
    let mut asked = request(vec![column("f", nested())], &seeded(&[]));
    asked.masks = vec![FieldMask::Fields(vec![(3, FieldMask::Fields(vec![(1, FieldMask::All)]))])];
    let part = source("datagen", &asked).unwrap();
    for (whole, part) in lines(whole.as_ref(), 20).await.iter().zip(lines(part.as_ref(), 20).await) {
        let y = whole.rsplit_once(", ").unwrap().1;
        assert_eq!(part, format!("+I[+I[null, null, null, +I[null, {y}"));
    }
}

#[tokio::test]
async fn refusals_name_the_field_and_the_way_out() {
    let columns =
        || vec![column("id", TypeKind::TinyInt), column("name", TypeKind::Char(3)), column("ok", TypeKind::Boolean)];
    let refused = |options: &[(&str, &str)]| refusals(source("datagen", &request(columns(), options))).join("\n");
    for (options, expected) in [
        (&[("fields.nme.length", "3")][..], "DF5300"),
        (&[("fields.nme.length", "3")], "did you mean `name`?"),
        (&[("fields.ok.kind", "sequence")], "BOOLEAN has no sequence"),
        (&[("fields.id.kind", "sequence")], "a sequence needs 'fields.id.start'"),
        (
            &[("fields.id.kind", "sequence"), ("fields.id.start", "1"), ("fields.id.end", "128")],
            "128 is not a value of TINYINT",
        ),
        (&[("fields.id.kind", "sequence"), ("fields.id.start", "2"), ("fields.id.end", "1")], "before its start"),
        (&[("fields.id.start", "2")], "only a sequence has a start"),
        (&[("fields.id.min", "2"), ("fields.id.max", "1")], "DF5301"),
        (&[("fields.id.min", "1.5")], "`1.5` is not a number of its type"),
        (&[("fields.id.max", "128")], "128 is not between -128 and 127"),
        (&[("fields.id.length", "1")], "TINYINT has no 'length'"),
        (&[("fields.name.length", "1")], "CHAR(3) always has length 3"),
        (&[("fields.ok.null-rate", "1.1")], "1.1 is not between 0 and 1"),
        (&[("rows-per-second", "0")], "DF5303"),
        (&[("number-of-rows", "-1")], "DF5303"),
    ] {
        let text = refused(options);
        assert!(text.contains(expected), "{options:?} should say {expected:?}, says: {text}");
    }
    let big = refusals(source(
        "datagen",
        &request(vec![column("v", TypeKind::Array(Box::new(STRING.into())))], &[("fields.v.length", "1000000")]),
    ));
    assert!(big[0].contains("make its 'length' smaller"), "{big:?}");
}

#[tokio::test]
async fn state_of_another_source_is_refused() {
    let source = source("datagen", &request(vec![column("id", TypeKind::Int)], &[])).unwrap();
    let context = SourceContext { job: "job".into(), parallelism: 1, env: env(), metrics: Metrics::new() };
    let e = source.enumerator(&context, Some(json!(["a.csv"]))).err().unwrap();
    assert!(e.to_string().contains("DF5304") && format!("{e:?}").contains("--restore none"), "{e:?}");
    let mut enumerator = source.enumerator(&context, None).unwrap();
    let EnumeratorEvent::Assign(splits) = enumerator.next().await.unwrap() else { panic!("splits come first") };
    let mut reader = source.reader(&ReaderContext { source: context, subtask: 0 }).unwrap();
    for (split, position) in [(json!({"path": "a.csv"}), None), (splits[0].split.clone(), Some(json!("gtid:7")))] {
        let foreign = SplitAssignment { id: splits[0].id.clone(), split, position };
        assert!(reader.add_splits(vec![foreign]).unwrap_err().to_string().contains("DF5304"));
    }
}

#[tokio::test]
async fn metadata_columns_are_refused() {
    let mut columns = vec![column("offset", TypeKind::BigInt)];
    columns[0].kind = ColumnKind::Metadata { key: "offset".into(), is_virtual: true };
    for connector in ["datagen", "nexmark"] {
        assert!(refusals(source(connector, &request(columns.clone(), &[])))[0].contains("DF5302"), "{connector}");
    }
}
