//! Every way a source can fail, with its code.

use std::io::ErrorKind;

use dflow_common::{Class, Classified, TypeKind};
use dflow_connector_api::Error;

use crate::kit::*;

fn code(e: &Error) -> String {
    e.code().to_string()
}

/// The one error of opening.
fn refused<T>(result: Result<T, Vec<Error>>) -> Vec<String> {
    match result {
        Ok(_) => panic!("it was accepted"),
        Err(errors) => errors.iter().map(|e| format!("{} {}", e.code(), e.diagnostic().message)).collect(),
    }
}

#[tokio::test]
async fn a_missing_path_fails_before_anything_is_read() {
    let e = Table::json(&[]).read().await.unwrap_err();
    assert_eq!((code(&e).as_str(), e.class()), ("DF5200", Class::Preflight));
    assert!(e.to_string().contains("/data does not exist") && e.span().is_some(), "{e}");
    let t = Table::json(&[("path", "data/*.csv")]);
    t.put("a.json", "{}");
    assert_eq!(code(&t.read().await.unwrap_err()), "DF5200", "no file matches");
    let empty = Table::json(&[]);
    empty.put("_hidden", "");
    assert_eq!(empty.read().await.unwrap(), Vec::<String>::new(), "an empty directory is an empty table");
}

#[tokio::test]
async fn a_bad_record_ends_the_job_with_file_line_and_field() {
    let t = Table::json(&[]);
    t.put("a.json", "{\"id\":1}\n\n{\"id\":\"x\"}\n");
    let e = t.read().await.unwrap_err();
    assert_eq!((code(&e).as_str(), e.class()), ("DF5100", Class::Data));
    let context = e.diagnostic().context;
    let at = |key| context.iter().find(|(k, _)| *k == key).map(|(_, v)| v.clone());
    assert_eq!(at("file"), Some(t.path("a.json").to_string_lossy().into_owned()));
    assert_eq!(
        (at("line").as_deref(), at("field").as_deref(), at("offset").as_deref()),
        (Some("3"), Some("id"), Some("10"))
    );
}

#[tokio::test]
async fn lines_are_counted_from_the_files_beginning_in_every_range() {
    let text: String = (0..40).map(|i| if i == 33 { "bad\n".into() } else { format!("{{\"id\":{i}}}\n") }).collect();
    for size in ["1", "10", "64", "200", "10000"] {
        let t = Table::json(&[("dflow.split-size", size)]);
        t.put("a.json", &text);
        let e = t.read().await.unwrap_err();
        let line = e.diagnostic().context.iter().find(|(k, _)| *k == "line").unwrap().1.clone();
        assert_eq!(line, "34", "ranges of {size}");
    }
}

#[tokio::test]
async fn a_file_that_vanished_or_shrank_has_lost_the_position() {
    let rows: String = (0..10_000).map(|i| format!("{{\"id\":{i}}}\n")).collect();
    for shrink in [false, true] {
        let t = Table::json(&[]);
        t.put("a.json", &rows);
        let mut run = Run::start(&t, None).unwrap();
        while !run.assign().await.unwrap() {}
        run.step().await.unwrap();
        let checkpoint = run.checkpoint();
        drop(run);
        if shrink {
            t.put("a.json", "{\"id\":1}\n");
        } else {
            std::fs::remove_file(t.path("a.json")).unwrap();
        }
        let e = Run::start(&t, Some(checkpoint)).unwrap().finish().await.unwrap_err();
        assert_eq!((code(&e).as_str(), e.class()), ("DF5201", Class::PositionLost), "{e}");
    }
}

#[tokio::test]
async fn a_failing_disk_is_worth_a_retry_and_a_forbidden_file_is_not() {
    let fs = FaultyFs::new();
    let t = Table::json(&[]).fs(std::sync::Arc::new(Faulty(fs.clone())));
    t.put("a.json", "{\"id\":1}\n");
    let mut codes = std::collections::BTreeSet::new();
    for kind in [ErrorKind::Other, ErrorKind::PermissionDenied] {
        for call in 0.. {
            fs.fail_from(call, kind);
            match t.read().await {
                Ok(rows) => {
                    assert!(call > 2 && rows == ["+I 1|∅"], "every call was tried");
                    break;
                }
                Err(e) => {
                    assert_eq!(e.retryable(), kind == ErrorKind::Other, "{e}");
                    codes.insert(code(&e));
                }
            }
        }
    }
    assert_eq!(codes.into_iter().collect::<Vec<_>>(), ["DF5202", "DF5207"]);
}

#[tokio::test]
async fn damaged_and_unknown_compression_is_said_so() {
    let packed = zstd::encode_all(&b"{\"id\":2}\n"[..], 1).unwrap();
    for (name, content) in [
        ("a.json.gz", b"{\"id\":1}\n".to_vec()),
        ("a.json.zst", b"{\"id\":1}\n".to_vec()),
        ("a.json.zst", packed[..packed.len() - 2].to_vec()),
        ("a.json.bz2", b"BZ".to_vec()),
    ] {
        let t = Table::json(&[]);
        t.put(name, content);
        let e = t.read().await.unwrap_err();
        assert_eq!((code(&e).as_str(), e.class()), ("DF5203", Class::Data), "{name}: {e}");
    }
}

#[tokio::test]
async fn a_path_must_name_the_partition_columns() {
    let table = || {
        Table::new(&[("id", bigint()), ("dt", TypeKind::Date.into())], &[("format", "json")]).partitioned_by(&["dt"])
    };
    for path in ["a.json", "day=2024-01-01/a.json", "dt=yesterday/a.json"] {
        let t = table();
        t.put(path, "{\"id\":1}");
        assert_eq!(code(&t.read().await.unwrap_err()), "DF5204", "{path}");
    }
}

#[tokio::test]
async fn dead_letters_that_cannot_be_written_stop_the_job() {
    let t = Table::json(&[("dflow.on-error", "dead-letter"), ("dflow.dead-letter.path", "data/a.json/dead")]);
    t.put("a.json", "oops\n");
    let e = t.read().await.unwrap_err();
    assert_eq!(code(&e), "DF5205");
}

#[tokio::test]
async fn tables_that_make_no_sense_are_refused_with_all_problems() {
    let t = Table::json(&[("path", "s3://bucket/x"), ("dflow.on-error", "dead-letter"), ("json.no-such", "1")])
        .metadata("m", "file.colour", string());
    let problems = refused(t.try_source(None));
    assert_eq!(
        problems,
        [
            "DF2303 option 'path': 's3://' is not supported, only local files are",
            "DF2303 option 'dflow.on-error': 'dead-letter' needs a directory",
            "DF5206 files have no metadata 'file.colour'",
        ]
    );
    assert_eq!(
        refused(Table::json(&[("json.no-such", "1"), ("source.path.regex-pattern", "(")]).try_source(None)).len(),
        2
    );
    assert!(refused(Table::new(&[("a", int())], &[("format", "jsn")]).try_source(None))[0].starts_with("DF2305"));
    assert!(refused(Table::new(&[("a", int())], &[]).try_source(None))[0].starts_with("DF2304"));
    assert!(refused(Table::json(&[("csv.header", "true")]).try_source(None))[0].starts_with("DF2302"));
}
