use std::io::Write;

use arrow::array::AsArray;
use arrow::datatypes::TimestampMillisecondType;
use dflow_common::env::{Fs, RealFs};
use dflow_common::metrics::{BAD_RECORDS, BYTES_IN, DEAD_LETTERS};
use dflow_common::{Classified, TypeKind};
use dflow_connector_api::{Boundedness, ReaderEvent, SourceChangelog};

use crate::kit::*;

#[tokio::test]
async fn a_directory_is_read_recursively_in_the_order_of_paths_without_hidden_names() {
    let t = Table::json(&[]);
    t.put("b.json", "{\"id\":3}\n")
        .put("a/z.json", "{\"id\":1}\n{\"id\":2}")
        .put("_SUCCESS", "")
        .put(".part.inprogress", "broken")
        .put("_tmp/x.json", "broken")
        .put("c.json", "");
    assert_eq!(t.read().await.unwrap(), ["+I 1|∅", "+I 2|∅", "+I 3|∅"]);
    assert_eq!(t.metrics.total(&BYTES_IN), 26.0, "the bytes of the visible files");
}

#[tokio::test]
async fn a_path_may_be_a_file_or_a_pattern() {
    for (path, ids) in [
        ("data/a.json", &["1"][..]),
        ("data/*.json", &["1", "2"]),
        ("data/?.json", &["1", "2"]),
        ("data/[ac].json", &["1"]),
        ("data/d*", &["3", "4"]),
        ("data/**/x.json", &["3", "4"]),
        ("data/d?/y/*", &["4"]),
        ("./data/a.json", &["1"]),
    ] {
        let t = Table::json(&[("path", path)]);
        t.put("a.json", "{\"id\":1}")
            .put("b.json", "{\"id\":2}")
            .put("d1/x.json", "{\"id\":3}")
            .put("d1/y/x.json", "{\"id\":4}");
        let expected: Vec<String> = ids.iter().map(|i| format!("+I {i}|∅")).collect();
        assert_eq!(t.read().await.unwrap(), expected, "{path}");
    }
}

#[tokio::test]
async fn a_regular_expression_chooses_among_the_files() {
    let t = Table::json(&[("source.path.regex-pattern", ".*/data/[ab]\\.json")]);
    t.put("a.json", "{\"id\":1}").put("b.json", "{\"id\":2}").put("ab.json", "{\"id\":3}");
    assert_eq!(t.read().await.unwrap(), ["+I 1|∅", "+I 2|∅"]);
}

#[tokio::test]
async fn partitions_and_metadata_come_from_the_path() {
    let t = Table::new(
        &[("dt", TypeKind::Date.into()), ("id", bigint()), ("city", string())],
        &[("format", "json"), ("path", "data/*")],
    )
    .partitioned_by(&["dt", "city"])
    .metadata("file", "file.name", string())
    .metadata("size", "file.size", bigint());
    t.put("dt=2024-01-02/city=New%3AYork/a.json", "{\"id\":1,\"city\":\"ignored\"}\n")
        .put("dt=__DEFAULT_PARTITION__/city=%C3%A9/b.json", "{\"id\":2}\n");
    assert_eq!(t.read().await.unwrap(), ["+I 2024-01-02|1|New:York|a.json|26", "+I ∅|2|é|b.json|9"]);
    let narrow = t.try_source(Some(&[2, 3])).unwrap();
    assert_eq!(narrow.outputs()[0].projection, [2, 3]);
}

#[tokio::test]
async fn file_paths_and_times_are_metadata() {
    let t = Table::json(&[]).metadata("path", "file.path", string()).metadata(
        "at",
        "file.modification-time",
        TypeKind::TimestampLtz(3).into(),
    );
    t.put("a.json", "{\"id\":1}");
    let source = t.source();
    let mut run = Run::start(&t, None).unwrap();
    while !run.assign().await.unwrap() {}
    let ReaderEvent::Batch { batch, .. } = run.reader.next().await.unwrap() else { panic!("a batch comes first") };
    assert_eq!(batch.schema(), source.outputs()[0].schema.arrow(), "an instant keeps its zone");
    assert_eq!(batch.column(2).as_string_view().value(0), t.path("a.json").to_string_lossy());
    let modified = RealFs.metadata(&t.path("a.json")).unwrap().modified_ms;
    assert!(modified > 1_700_000_000_000);
    assert_eq!(batch.column(3).as_primitive::<TimestampMillisecondType>().value(0), modified);
}

#[tokio::test]
async fn compressed_files_are_unpacked_by_their_name() {
    let t = Table::json(&[]);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(b"{\"id\":1}\n").unwrap();
    // Two members, as `cat a.gz b.gz` makes them.
    let member = gz.finish().unwrap();
    t.put("a.json.gz", [member.clone(), member].concat());
    t.put("b.json.zst", zstd::encode_all(&b"{\"id\":2}\n"[..], 1).unwrap());
    assert_eq!(t.read().await.unwrap(), ["+I 1|∅", "+I 1|∅", "+I 2|∅"]);
}

#[tokio::test]
async fn ranges_of_any_size_read_every_record_once() {
    let text: String = (0..30).map(|i| format!("{{\"id\":{i},\"name\":\"{}\"}}\n", "x".repeat(i))).collect();
    let expected: Vec<String> = (0..30).map(|i| format!("+I {i}|{}", "x".repeat(i))).collect();
    for size in [1, 2, 3, 7, 16, 50, 64, 100, 1000, 5000] {
        let t = Table::json(&[("dflow.split-size", &size.to_string())]);
        t.put("a.json", &text);
        assert_eq!(t.read().await.unwrap(), expected, "ranges of {size}");
        t.put("a.json", text.trim_end());
        assert_eq!(t.read().await.unwrap(), expected, "ranges of {size}, no line feed at the end");
    }
}

#[tokio::test]
async fn what_is_appended_after_a_file_was_found_is_not_read() {
    let t = Table::json(&[]);
    t.put("a.json", "{\"id\":1}\n");
    let mut run = Run::start(&t, None).unwrap();
    while !run.assign().await.unwrap() {}
    t.put("a.json", "{\"id\":1}\n{\"id\":2}\n");
    while run.step().await.unwrap() {}
    assert_eq!(run.rows, ["+I 1|∅"]);
}

#[tokio::test(start_paused = true)]
async fn a_watched_directory_delivers_new_files_once() {
    let t = Table::json(&[("source.monitor-interval", "10 s")]);
    assert_eq!(t.source().boundedness(), Boundedness::Unbounded);
    t.put("a.json", "{\"id\":1}\n").put(".b.json", "{\"id\":2}\n");
    let mut run = Run::start(&t, None).unwrap();
    assert!(!run.assign().await.unwrap());
    run.step().await.unwrap();
    run.step().await.unwrap();
    // Complete by name: hidden until it is renamed.
    std::fs::rename(t.path(".b.json"), t.path("b.json")).unwrap();
    let checkpoint = run.checkpoint();
    assert!(!run.assign().await.unwrap());
    run.step().await.unwrap();
    assert_eq!(run.rows, ["+I 1|∅", "+I 2|∅"]);

    let mut resumed = Run::start(&t, Some(checkpoint)).unwrap();
    resumed.assign().await.unwrap();
    resumed.step().await.unwrap();
    assert_eq!(resumed.rows, ["+I 2|∅"]);
    let quiet = tokio::time::timeout(PATIENCE, resumed.assign()).await;
    assert!(quiet.is_err(), "no file is delivered twice");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_cancelled_again_and_again_still_ends() {
    let t = Table::json(&[("source.monitor-interval", "60 s")]);
    t.put("a.json", "{\"id\":1}\n");
    let mut run = Run::start(&t, None).unwrap();
    run.assign().await.unwrap();
    t.put("b.json", "{\"id\":2}\n");
    for _ in 0..20 {
        if tokio::time::timeout(std::time::Duration::from_secs(10), run.assign()).await.is_ok() {
            return;
        }
    }
    panic!("a checkpoint interval below the monitor interval starves the listing");
}

#[tokio::test]
async fn a_changelog_format_makes_a_changelog_source() {
    let t = Table::new(&[("id", bigint())], &[("format", "debezium-json")]);
    t.put("a.json", "{\"before\":{\"id\":1},\"after\":{\"id\":2},\"op\":\"u\"}\n");
    assert_eq!(t.source().outputs()[0].changelog, SourceChangelog::Retract);
    assert_eq!(t.read().await.unwrap(), ["-U 1", "+U 2"]);
    assert_eq!(Table::json(&[]).source().outputs()[0].changelog, SourceChangelog::Append);
}

/// Two readers would hand out the changes of one key in any order: a `-D` before its `+I`.
#[tokio::test]
async fn a_change_log_is_read_by_one_reader() {
    let table =
        |more: &[(&str, &str)]| Table::new(&[("id", bigint())], &[&[("format", "debezium-json")][..], more].concat());
    assert_eq!(table(&[]).source().max_parallelism(), Some(1));
    assert_eq!(table(&[("scan.parallelism", "1")]).source().max_parallelism(), Some(1));
    let errors = table(&[("scan.parallelism", "4")]).try_source(None).err().unwrap();
    assert_eq!(errors[0].code(), dflow_connector_api::error::BAD_OPTION_VALUE.code);
    assert_eq!(Table::json(&[]).source().max_parallelism(), None);
}

#[tokio::test]
async fn bad_records_are_skipped_and_counted_when_asked() {
    for option in [("dflow.on-error", "skip"), ("json.ignore-parse-errors", "true")] {
        let t = Table::json(&[option]);
        t.put("a.json", "{\"id\":1}\noops\n{\"id\":2}\n{{\n");
        assert_eq!(t.read().await.unwrap(), ["+I 1|∅", "+I 2|∅"], "{option:?}");
        assert_eq!((t.metrics.total(&BAD_RECORDS), t.metrics.total(&DEAD_LETTERS)), (2.0, 0.0));
    }
}

#[tokio::test]
async fn dead_letters_keep_the_record_and_its_place() {
    let t = Table::json(&[("dflow.on-error", "dead-letter"), ("dflow.dead-letter.path", "dead")]);
    t.put("in/a.json", "{\"id\":1}\n{\"id\":\"x\"}\n{\"id\":2}\n").put("in/b.json", "broken \u{e9}\n");
    assert_eq!(t.read().await.unwrap(), ["+I 1|∅", "+I 2|∅"]);
    assert_eq!((t.metrics.total(&BAD_RECORDS), t.metrics.total(&DEAD_LETTERS)), (2.0, 2.0));
    let dead = t.dir.path().join("dead");
    let files = tree(&dead);
    assert_eq!(files.len(), 1, "one file for one reader: {files:?}");
    let text = std::fs::read_to_string(dead.join(&files[0])).unwrap();
    let letters: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(letters.len(), 2);
    assert_eq!(letters[0]["field"], "id");
    assert_eq!((letters[0]["line"].as_u64(), letters[0]["offset"].as_u64()), (Some(2), Some(9)));
    assert_eq!(letters[0]["record"], "{\"id\":\"x\"}");
    assert_eq!(letters[1]["record"], "broken é");
    assert_eq!(letters[1]["file"], t.path("in/b.json").to_string_lossy().as_ref());
    assert!(letters[1]["error"].as_str().unwrap().contains("expected an object"), "{text}");
}

#[tokio::test]
async fn files_that_other_programs_packed_are_read() {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/*");
    let t = Table::new(
        &[("ts", TypeKind::Timestamp(3).into()), ("sensor", string()), ("celsius", TypeKind::Decimal(4, 1).into())],
        &[("format", "csv"), ("csv.header", "true"), ("path", data)],
    )
    .metadata("file", "file.name", string());
    assert_eq!(
        t.read().await.unwrap(),
        [
            "+I 2024-01-02T03:04:05|north, roof|-3.5|readings.csv",
            "+I 2024-01-02T03:04:06.500|south|∅|readings.csv",
            "+I 2024-01-02T03:04:07|\"east\"|21.0|readings.csv.gz",
        ]
    );
}

#[tokio::test]
async fn a_record_that_is_too_long_is_counted_and_passed_over_in_every_range() {
    // Twice as long as a record may be, with ranges that begin and end inside of it.
    let long = "x".repeat(2 * dflow_common::limits::RECORD_BYTES_MAX + 17);
    let text = format!("{{\"id\":1}}\n{{\"id\":\"{long}\"}}\n{{\"id\":2}}\nbad\n{{\"id\":3}}\n");
    for size in ["1 mb", "20 mb", "100 mb"] {
        let t = Table::json(&[("dflow.split-size", size), ("json.ignore-parse-errors", "true")]);
        t.put("a.json", &text);
        assert_eq!(t.read().await.unwrap(), ["+I 1|∅", "+I 2|∅", "+I 3|∅"], "ranges of {size}");
        assert_eq!(t.metrics.total(&BAD_RECORDS), 2.0, "ranges of {size}");
    }
    let t = Table::json(&[]);
    t.put("a.json", &text);
    let e = t.read().await.unwrap_err();
    assert_eq!(e.code(), dflow_formats::error::RECORD_TOO_LONG.code);
    let place: Vec<_> = e.diagnostic().context.into_iter().filter(|(k, _)| ["file", "line"].contains(k)).collect();
    assert_eq!(place, [("file", t.path("a.json").to_string_lossy().into_owned()), ("line", "2".to_owned())]);
}

#[tokio::test]
async fn a_dead_letter_holds_the_beginning_of_a_record_that_is_too_long() {
    let t = Table::json(&[("dflow.on-error", "dead-letter"), ("dflow.dead-letter.path", "dead")]);
    let long = "y".repeat(dflow_common::limits::RECORD_BYTES_MAX + 1);
    t.put("a.json", format!("{long}\n{{\"id\":1}}\n"));
    assert_eq!(t.read().await.unwrap(), ["+I 1|∅"]);
    assert_eq!(t.metrics.total(&DEAD_LETTERS), 1.0);
    let file = std::fs::read_dir(t.path("../dead")).unwrap().next().unwrap().unwrap().path();
    let letter = std::fs::read_to_string(file).unwrap();
    assert!(letter.len() < 2_000 && letter.contains("yyyy") && letter.contains("\"line\":1"), "{letter}");
}

#[tokio::test]
async fn a_byte_order_mark_is_no_part_of_a_file() {
    let t = Table::json(&[]);
    t.put("a.json", "\u{feff}{\"id\":1}\n{\"id\":2}\n");
    assert_eq!(t.read().await.unwrap(), ["+I 1|∅", "+I 2|∅"]);
}
