use dflow_common::metrics::{BYTES_OUT, SINK_COMMITS, SINK_PENDING_BYTES};
use dflow_common::{ChangeBatch, Class, Classified, Epoch, Ops, TypeKind};
use dflow_connector_api::{ChangelogSupport, Committable, SinkMode};

use crate::kit::*;

fn text(t: &Table, name: &str) -> String {
    std::fs::read_to_string(t.path(name)).unwrap()
}

#[tokio::test]
async fn files_are_hidden_until_their_checkpoint_is_committed() {
    let t = Table::json(&[]);
    let mut w = Writing::start(&t, 0, vec![]).await.unwrap();
    w.writer.write(batch(&t, "{\"id\":1,\"name\":\"x\"}\n")).await.unwrap();
    let files = w.writer.prepare(Epoch(1)).await.unwrap();
    assert_eq!(visible(&t.path("")), Vec::<String>::new());
    assert_eq!(tree(&t.path("")).len(), 1, "the hidden file");
    w.committer.commit(Epoch(1), files).await.unwrap();
    let names = visible(&t.path(""));
    assert_eq!((names.len(), tree(&t.path("")).len()), (1, 1));
    assert!(names[0].starts_with("part-") && names[0].contains("-00000001-000-00000-") && names[0].ends_with(".json"));
    assert_eq!(text(&t, &names[0]), "{\"id\":1,\"name\":\"x\"}\n");
    assert_eq!(t.metrics.total(&BYTES_OUT), 20.0);
    assert_eq!((t.metrics.total(&SINK_COMMITS), t.metrics.total(&SINK_PENDING_BYTES)), (1.0, 0.0));
}

#[tokio::test]
async fn partitions_become_directories_and_leave_the_record() {
    let t = Table::new(&[("dt", TypeKind::Date.into()), ("id", bigint()), ("city", string())], &[("format", "csv")])
        .partitioned_by(&["dt", "city"]);
    let mut w = Writing::start(&t, 0, vec![]).await.unwrap();
    let rows = "{\"dt\":\"2024-01-02\",\"id\":1,\"city\":\"a/b\"}\n{\"dt\":\"2024-01-02\",\"id\":2,\"city\":\"\"}\n\
                {\"id\":3,\"city\":\"a/b\"}\n{\"dt\":\"2024-01-02\",\"id\":4,\"city\":\"a/b\"}\n";
    w.writer.write(batch(&t, rows)).await.unwrap();
    w.checkpoint(1).await.unwrap();
    let files = visible(&t.path(""));
    let contents: Vec<(String, String)> =
        files.iter().map(|f| (f.rsplit_once('/').unwrap().0.to_owned(), text(&t, f))).collect();
    let expected = [
        ("dt=2024-01-02/city=__DEFAULT_PARTITION__", "2\n"),
        ("dt=2024-01-02/city=a%2Fb", "1\n4\n"),
        ("dt=__DEFAULT_PARTITION__/city=a%2Fb", "3\n"),
    ];
    assert_eq!(contents, expected.map(|(d, c)| (d.to_owned(), c.to_owned())));
    let mut back = t.read().await.unwrap();
    back.sort();
    assert_eq!(back, ["+I 2024-01-02|1|a/b", "+I 2024-01-02|2|∅", "+I 2024-01-02|4|a/b", "+I ∅|3|a/b"]);
}

#[tokio::test]
async fn a_file_ends_at_its_size_age_or_rest() {
    let t = Table::json(&[("sink.rolling-policy.file-size", "100 b")]);
    let mut w = Writing::start(&t, 0, vec![]).await.unwrap();
    for i in 0..20 {
        w.writer.write(batch(&t, &format!("{{\"id\":{i},\"name\":\"twenty bytes of text\"}}\n"))).await.unwrap();
    }
    let files = w.checkpoint(1).await.unwrap();
    assert_eq!(files.len(), 7, "three rows reach 100 bytes");
    assert_eq!(t.read().await.unwrap().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_old_or_rests_is_closed_at_the_next_batch() {
    for (key, step, expected) in [
        ("sink.rolling-policy.rollover-interval", 40, 4),
        ("sink.rolling-policy.inactivity-interval", 40, 1),
        ("sink.rolling-policy.inactivity-interval", 70, 8),
    ] {
        let t = Table::json(&[(key, "60 s")]);
        let mut w = Writing::start(&t, 0, vec![]).await.unwrap();
        for i in 0..8 {
            w.writer.write(batch(&t, &format!("{{\"id\":{i}}}\n"))).await.unwrap();
            // The file is written on another thread; the clock must not pass before that.
            w.writer.write(ChangeBatch::empty(t.request().output_schema())).await.unwrap();
            w.writer.write(ChangeBatch::empty(t.request().output_schema())).await.unwrap();
            tokio::time::advance(std::time::Duration::from_secs(step)).await;
        }
        assert_eq!(w.checkpoint(1).await.unwrap().len(), expected, "{key} with a batch every {step} s");
    }
}

#[tokio::test]
async fn few_files_are_open_however_many_partitions_there_are() {
    let t = Table::json(&[]).partitioned_by(&["name"]);
    let mut w = Writing::start(&t, 0, vec![]).await.unwrap();
    // One more than the limit of 64: the file that rests longest makes room.
    let partitions = |n: usize| (0..n).map(|i| format!("{{\"id\":{i},\"name\":\"p{i}\"}}\n")).collect::<String>();
    w.writer.write(batch(&t, &partitions(64))).await.unwrap();
    assert_eq!(w.checkpoint(1).await.unwrap().len(), 64);
    w.writer.write(batch(&t, &partitions(65))).await.unwrap();
    w.writer.write(batch(&t, &partitions(1))).await.unwrap();
    assert_eq!(w.checkpoint(2).await.unwrap().len(), 66, "p0 was closed for p64 and begun again");
    assert_eq!(t.read().await.unwrap().len(), 64 + 65 + 1);
}

#[tokio::test]
async fn a_marker_file_says_that_a_partition_was_written_to() {
    let t = Table::json(&[("sink.partition-commit.policy.kind", "success-file")]).partitioned_by(&["name"]);
    let mut w = Writing::start(&t, 0, vec![]).await.unwrap();
    w.writer.write(batch(&t, "{\"id\":1,\"name\":\"a\"}\n")).await.unwrap();
    let files = w.writer.prepare(Epoch(1)).await.unwrap();
    assert!(!t.path("name=a/_SUCCESS").exists());
    w.committer.commit(Epoch(1), files).await.unwrap();
    assert!(t.path("name=a/_SUCCESS").exists());
}

#[tokio::test]
async fn recovery_removes_only_hidden_files_of_this_sink() {
    let t = Table::json(&[]).partitioned_by(&["name"]);
    let mut w = Writing::start(&t, 0, vec![]).await.unwrap();
    w.writer.write(batch(&t, "{\"id\":1,\"name\":\"a\"}\n")).await.unwrap();
    w.checkpoint(1).await.unwrap();
    w.writer.write(batch(&t, "{\"id\":2,\"name\":\"a\"}\n")).await.unwrap();
    w.writer.prepare(Epoch(2)).await.unwrap();
    drop(w);
    let foreign =
        ["name=a/.part-0000000000000000-00000002-000-00000-00000000.json.inprogress", "name=a/.other", "x.json"];
    for name in foreign {
        t.put(name, "");
    }
    assert_eq!(tree(&t.path("")).len(), 5);
    Writing::start(&t, 1, vec![]).await.unwrap();
    let left = tree(&t.path(""));
    assert_eq!(left.len(), 4, "{left:?}");
    assert!(foreign.iter().all(|name| left.contains(&(*name).to_owned())), "{left:?}");
}

#[tokio::test]
async fn a_fresh_start_keeps_what_an_earlier_run_has_published() {
    let t = Table::json(&[]);
    for run in 1..3 {
        let mut w = Writing::start(&t, 0, vec![]).await.unwrap();
        w.writer.write(batch(&t, "{\"id\":1}\n")).await.unwrap();
        w.checkpoint(1).await.unwrap();
        assert_eq!(t.read().await.unwrap().len(), run);
    }
}

#[tokio::test]
async fn a_prepared_file_that_vanished_is_an_error_of_the_state() {
    let t = Table::json(&[]);
    let mut w = Writing::start(&t, 0, vec![]).await.unwrap();
    w.writer.write(batch(&t, "{\"id\":1}\n")).await.unwrap();
    let files = w.writer.prepare(Epoch(1)).await.unwrap();
    std::fs::remove_file(t.path(&tree(&t.path(""))[0])).unwrap();
    let e = w.committer.commit(Epoch(1), files.clone()).await.unwrap_err();
    assert_eq!((e.code().to_string().as_str(), e.class()), ("DF7203", Class::State));
    let e = Writing::start(&t, 1, files).await.err().unwrap();
    assert_eq!(e.code().to_string(), "DF7203");
    let e = Writing::start(&t, 1, vec![Committable(serde_json::json!({"no": "file"}))]).await.err().unwrap();
    assert_eq!(e.code().to_string(), "DF7203");
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_to_is_known_before_the_first_row() {
    let t = Table::json(&[("path", "data/file")]);
    t.put("file", "I am a file");
    let e = Writing::start(&t, 0, vec![]).await.err().unwrap();
    assert_eq!((e.code().to_string().as_str(), e.class()), ("DF7200", Class::Config));
    assert!(e.span().is_some());
}

#[tokio::test]
async fn changes_go_only_into_changelog_formats() {
    let t = Table::json(&[]);
    assert_eq!(t.try_sink().unwrap().changelog(), ChangelogSupport::AppendOnly);
    assert_eq!(t.try_sink().unwrap().mode(), SinkMode::Transactional);
    let change = ChangeBatch::new(batch(&t, "{\"id\":1}\n").data, Ops::from_kinds(vec![3]));
    let mut w = Writing::start(&t, 0, vec![]).await.unwrap();
    let e = w.writer.write(change.clone()).await.unwrap_err();
    assert_eq!((e.code().to_string().as_str(), e.class()), ("DF7204", Class::Internal));

    let t = Table::new(&[("id", bigint()), ("name", string())], &[("format", "debezium-json")]);
    assert_eq!(t.try_sink().unwrap().changelog(), ChangelogSupport::All);
    let mut w = Writing::start(&t, 0, vec![]).await.unwrap();
    w.writer.write(change).await.unwrap();
    w.checkpoint(1).await.unwrap();
    assert_eq!(t.read().await.unwrap(), ["-D 1|∅"]);
}

#[tokio::test]
async fn what_the_sink_does_not_do_is_refused_by_name() {
    for (options, expected) in [
        ([("auto-compaction", "true")], "option 'auto-compaction': it is not supported"),
        ([("sink.partition-commit.delay", "1 h")], "option 'sink.partition-commit.delay': a delay is not supported"),
        (
            [("sink.partition-commit.policy.kind", "metastore,success-file")],
            "option 'sink.partition-commit.policy.kind': policy 'metastore' is not supported",
        ),
        ([("path", "/out/*")], "option 'path': a table that is written to needs a directory, not a pattern"),
    ] {
        let errors = Table::json(&options).try_sink().err().unwrap();
        assert_eq!(errors[0].diagnostic().message, expected);
        assert_eq!(errors[0].code().to_string(), "DF2303");
    }
    let errors = Table::json(&[]).metadata("f", "file.name", string()).try_sink().err().unwrap();
    assert_eq!(errors[0].code().to_string(), "DF5206");
    assert_eq!(Table::json(&[("sink.parallelism", "2")]).try_sink().unwrap().max_parallelism(), Some(2));
}
