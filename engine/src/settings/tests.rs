use dflow_common::SourceId;
use dflow_runtime::config::RestoreMode;

use super::resolve::{Fallbacks, zone_for_test};
use super::*;
use crate::operators::sink_edge::NotNullEnforcer;

fn span(i: usize) -> Span {
    Span::new(SourceId(0), i, i + 1)
}

fn set(settings: &mut Settings, key: &str, value: &str) -> Result<(), Box<Diagnostic>> {
    settings.set(&Spanned::new(key.into(), span(1)), OptionText::Plain(value.into()), span(2))
}

fn resolve(settings: &Settings) -> crate::error::Result<Resolved> {
    settings.resolve(&Fallbacks {
        job_name: "orders",
        parallelism: 4,
        time_zone: "UTC",
        base_dir: std::path::Path::new("jobs"),
    })
}

#[test]
fn defaults_are_the_architectures() {
    let r = resolve(&Settings::new()).unwrap();
    let expected = dflow_runtime::config::JobConfig::new("orders");
    assert_eq!(r.job.checkpoint, expected.checkpoint);
    assert_eq!(r.job.restart, expected.restart);
    assert_eq!(r.job.emission, expected.emission);
    assert_eq!(r.job.max_parallelism, expected.max_parallelism);
    assert_eq!(r.job.watermark_interval, expected.watermark_interval);
    assert_eq!((r.parallelism, r.mode, r.not_null), (4, RuntimeMode::Streaming, NotNullEnforcer::Error));
    assert_eq!((r.idle_timeout, r.retain_on_cancel, r.dynamic_options), (None, true, true));
}

#[test]
fn old_spellings_are_the_new_key_and_the_last_one_wins() {
    let mut s = Settings::new();
    set(&mut s, "execution.checkpointing.num-retained", "7").unwrap();
    set(&mut s, "state.checkpoints.num-retained", "5").unwrap();
    set(&mut s, "execution.type", "batch").unwrap();
    let r = resolve(&s).unwrap();
    assert_eq!((r.job.checkpoint.retained, r.mode), (5, RuntimeMode::Batch));
}

#[test]
fn a_flag_wins_over_the_script_and_survives_reset() {
    let mut s = Settings::new();
    s.set_flag("parallelism.default", "2", "--parallelism 2").unwrap();
    set(&mut s, "parallelism.default", "8").unwrap();
    assert_eq!(resolve(&s).unwrap().parallelism, 2);
    s.reset(None).unwrap();
    assert_eq!(resolve(&s).unwrap().parallelism, 2);
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_name() {
    let e = set(&mut Settings::new(), "table.exec.state.tll", "1 d").unwrap_err();
    assert_eq!(e.code, error::UNKNOWN_SETTING.code);
    assert_eq!(e.help, ["did you mean 'table.exec.state.ttl'?"]);
}

#[test]
fn values_are_checked_where_they_are_set() {
    for (key, value) in [
        ("execution.checkpointing.interval", "1 h 30 min"),
        ("parallelism.default", "two"),
        ("execution.runtime-mode", "fast"),
        ("table.dml-sync", "yes"),
    ] {
        let e = set(&mut Settings::new(), key, value).unwrap_err();
        assert_eq!((e.code, e.span()), (error::SETTING_VALUE.code, Some(span(2))), "{key}");
    }
}

#[test]
fn values_that_would_change_results_are_refused_by_name() {
    for (key, value) in [
        ("table.exec.state.ttl", "1 d"),
        ("table.sql-dialect", "hive"),
        ("table.exec.legacy-cast-behaviour", "ENABLED"),
        ("table.exec.sink.upsert-materialize", "FORCE"),
    ] {
        let e = set(&mut Settings::new(), key, value).unwrap_err();
        assert_eq!(e.code, error::SETTING_NOT_SUPPORTED.code, "{key}");
        assert!(e.message.contains(key), "{}", e.message);
    }
    set(&mut Settings::new(), "table.exec.state.ttl", "0 s").unwrap();
    set(&mut Settings::new(), "table.exec.sink.upsert-materialize", "NONE").unwrap();
}

#[test]
fn keys_without_effect_share_one_warning() {
    let mut s = Settings::new();
    assert!(s.warning().is_none());
    set(&mut s, "taskmanager.memory.process.size", "4 gb").unwrap();
    set(&mut s, "pipeline.object-reuse", "true").unwrap();
    set(&mut s, "state.backend.rocksdb.localdir", "/tmp").unwrap();
    let text = s.warning().unwrap().message;
    assert!(text.starts_with("3 settings have no effect here: 'taskmanager.memory.process.size', "), "{text}");
}

#[test]
fn ranges_and_combinations_are_checked_when_resolved() {
    let mut s = Settings::new();
    set(&mut s, "parallelism.default", "300").unwrap();
    set(&mut s, "table.local-time-zone", "Europe/Berlim").unwrap();
    let e = resolve(&s).unwrap_err();
    let codes: Vec<_> = e.diagnostics().iter().map(|d| d.code.0).collect();
    assert_eq!(codes.len(), 2, "{e}");
    assert!(e.to_string().contains("Europe/Berlin"), "{e}");
}

#[test]
fn parallelism_is_refused_one_above_the_number_of_key_groups() {
    let mut s = Settings::new();
    set(&mut s, "pipeline.max-parallelism", "8").unwrap();
    set(&mut s, "parallelism.default", "8").unwrap();
    assert_eq!(resolve(&s).unwrap().parallelism, 8);
    set(&mut s, "parallelism.default", "9").unwrap();
    assert_eq!(resolve(&s).unwrap_err().diagnostics()[0].code, error::SETTING_VALUE.code);
}

#[test]
fn zones_read_as_java_reads_them() {
    for (text, zone) in
        [("UTC", "UTC"), ("Asia/Shanghai", "Asia/Shanghai"), ("GMT+08:00", "Etc/GMT-8"), ("-05", "Etc/GMT+5")]
    {
        assert_eq!(zone_for_test(text).as_deref(), Some(zone));
    }
    for text in ["GMT+05:30", "Mars/Olympus", ""] {
        assert_eq!(zone_for_test(text), None, "{text}");
    }
}

#[test]
fn every_key_is_declared_once_and_its_default_reads_as_its_type() {
    for (i, k) in KEYS.iter().enumerate() {
        assert!(KEYS[..i].iter().all(|other| other.key != k.key), "{} twice", k.key);
        assert!(k.default.is_empty() || check_type(k.ty, k.default).is_ok(), "{}", k.key);
        assert_eq!(known(k.key).as_deref(), Some(k.key));
    }
}

#[test]
fn a_flag_wins_over_every_spelling_and_says_so() {
    let mut s = Settings::new();
    set(&mut s, "parallelism.default", "2").unwrap();
    set(&mut s, "table.exec.resource.default-parallelism", "3").unwrap();
    set(&mut s, "execution.state-recovery.path", "none").unwrap();
    let r = resolve(&s).unwrap();
    assert_eq!((r.parallelism, r.job.restore), (3, RestoreMode::Path("jobs/none".into())));
    assert_eq!(r.overridden, []);
    s.set_flag("parallelism.default", "4", "--parallelism").unwrap();
    s.set_flag("execution.state-recovery.path", "none", "--restore").unwrap();
    s.set_flag("pipeline.name", "x", "--name").unwrap();
    let r = resolve(&s).unwrap();
    assert_eq!((r.parallelism, r.job.restore), (4, RestoreMode::None));
    let told: Vec<_> =
        r.overridden.iter().map(|o| format!("{} = {}: {} {}", o.key, o.script, o.flag, o.value)).collect();
    assert_eq!(
        told,
        [
            "parallelism.default = 2: --parallelism 4",
            "table.exec.resource.default-parallelism = 3: --parallelism 4",
            "execution.state-recovery.path = none: --restore none"
        ]
    );
    assert!(r.overridden.iter().all(|o| o.span == Some(span(2))));
}

#[test]
fn a_mode_of_flink_that_is_refused_is_not_listed_and_says_what_to_write() {
    let e = set(&mut Settings::new(), "execution.runtime-mode", "AUTOMATIC").unwrap_err();
    assert_eq!((e.code, e.help[0].as_str()), (error::SETTING_NOT_SUPPORTED.code, "write 'streaming' or 'batch'"));
    let listed = KEYS.iter().find(|k| k.key == "execution.runtime-mode").unwrap().ty;
    assert_eq!(listed, OptionType::Enum(&["streaming", "batch"]));
}

#[test]
fn a_path_to_restore_from_begins_at_the_scripts_folder_and_one_of_a_flag_where_one_stands() {
    let path = |s: &Settings| match resolve(s).unwrap().job.restore {
        dflow_runtime::config::RestoreMode::Path(path) => path,
        other => panic!("{other:?}"),
    };
    let mut s = Settings::new();
    set(&mut s, "execution.state-recovery.path", "old/state").unwrap();
    assert_eq!(path(&s), std::path::Path::new("jobs/old/state"));
    s.set_flag("execution.state-recovery.path", "old/state", "--restore").unwrap();
    assert_eq!(path(&s), std::path::Path::new("old/state"));
}
