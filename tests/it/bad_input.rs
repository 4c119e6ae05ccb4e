//! What a user can get wrong, and what can be wrong with the machine: a coded error with its place and way out, the right
//! exit code, nothing lost, no panic.

use std::fs;

use dflow::connector::error as api;
use dflow::error::{ENV_FILE, NO_STATE_DIR, SCRIPT_UNREADABLE};
use dflow::runtime::storage::codes as state;
use dflow_formats::error::RECORD_TOO_LONG as TOO_LONG;

use crate::support::{Place, files, finish};

/// Reads `in`, writes `out`.
fn copy(format: &str) -> String {
    format!(
        "CREATE TABLE t (id INT, name STRING) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = '{format}');
CREATE TABLE o (id INT, name STRING) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json');
INSERT INTO o SELECT id, name FROM t;
"
    )
}

/// Runs a script that must be refused.
#[track_caller]
fn refused(script: &str, exit: i32, code: u16) -> crate::support::Ran {
    let place = Place::new();
    place.write("p.sql", script);
    let ran = place.run(&["run", "p.sql"]).expect(exit);
    assert!(ran.err.contains(&format!("error[DF{code}]")), "DF{code} expected: {ran:#?}");
    assert!(ran.err.contains(&format!("docs: dflow help DF{code}")), "{ran:#?}");
    ran
}

#[test]
fn a_syntax_error_has_its_place() {
    let ran = refused("CREATE TABLE t (a INT) WITH ('connector' = 'print');\nSELEC a FROM t;", 10, 1008);
    assert!(ran.err.contains("--> p.sql:2:1"), "{ran:#?}");
}

#[test]
fn a_binding_error_has_its_place_and_the_nearest_name() {
    let ran = refused("CREATE TABLE t (amount INT) WITH ('connector' = 'datagen');\nSELECT amout FROM t;", 10, 2006);
    assert!(ran.err.contains("--> p.sql:2:8") && ran.err.contains("did you mean `amount`"), "{ran:#?}");
}

#[test]
fn what_the_registry_does_not_know_is_named_with_the_nearest() {
    let table = |options: &str| format!("CREATE TABLE t (a INT) WITH ({options});\nSELECT a FROM t;");
    for (options, info, near) in [
        ("'connector' = 'datagn'", api::UNKNOWN_CONNECTOR, "'datagen'"),
        ("'connector' = 'datagen', 'row-per-second' = '1'", api::UNKNOWN_OPTION, "'rows-per-second'"),
        ("'connector' = 'filesystem', 'path' = 'x', 'format' = 'jsn'", api::UNKNOWN_FORMAT, "'json'"),
        ("'connector' = 'datagen', 'rows-per-second' = 'many'", api::BAD_OPTION_VALUE, "whole number"),
        ("'connector' = 'filesystem', 'format' = 'json'", api::MISSING_OPTION, "'path'"),
        ("'connector' = 'print'", api::ROLE_NOT_SUPPORTED, "print"),
    ] {
        let ran = refused(&table(options), 10, info.code.0);
        assert!(ran.err.contains(near), "{near}: {ran:#?}");
        assert!(ran.err.contains("--> p.sql:1:"), "{ran:#?}");
    }
}

#[test]
fn a_missing_script_or_variable_or_variables_file_is_a_configuration_error() {
    let place = Place::new();
    place.write("pipeline.sql", copy("json"));
    let ran = place.run(&["run", "pipline.sql"]).expect_error(11, SCRIPT_UNREADABLE);
    assert!(ran.err.contains("did you mean `pipeline.sql`?"), "{ran:#?}");
    place.write("v.sql", "CREATE TABLE t (a INT) WITH ('connector' = '${var:conn}');\nSELECT a FROM t;");
    let ran = place.run(&["run", "v.sql"]).expect(11);
    assert!(ran.err.contains("error[DF1071]") && ran.err.contains("--> v.sql:1:"), "{ran:#?}");
    place.write("bad.env", "A=1\nnot a pair\n");
    place.run(&["run", "v.sql", "--env-file", "bad.env"]).expect_error(11, ENV_FILE);
    place.run(&["run", "v.sql", "--env-file", "none.env"]).expect_error(11, ENV_FILE);
}

#[test]
fn a_script_from_stdin_needs_a_home_for_its_state() {
    let place = Place::new();
    let mut command = place.command(&["run", "-"]);
    place.write("p.sql", copy("json"));
    command.env_remove("HOME").stdin(fs::File::open(place.path("p.sql")).unwrap());
    finish(&mut command).expect_error(11, NO_STATE_DIR);
}

#[test]
fn a_missing_input_is_a_preflight_error() {
    let ran = refused(&copy("json"), 12, 5200);
    assert!(ran.err.contains("p.sql:1:"), "{ran:#?}");
}

#[test]
fn a_broken_record_is_named_with_file_line_and_field_and_nothing_is_published() {
    let place = Place::new();
    place.write("p.sql", copy("json"));
    place.write("in/a.json", "{\"id\":1,\"name\":\"a\"}\n{\"id\":\"x\",\"name\":\"b\"}\n");
    let ran = place.run(&["run", "p.sql"]).expect(15);
    for text in ["error[DF5100]", "a.json", "line: 2", "id"] {
        assert!(ran.err.contains(text), "{text}: {ran:#?}");
    }
    assert!(place.lines_below("out").is_empty(), "rows of a failed epoch are visible");
}

#[test]
fn an_unusable_state_directory_is_named() {
    let place = Place::new();
    place.write("p.sql", copy("json"));
    place.write("in/a.json", "{\"id\":1,\"name\":\"a\"}\n");
    place.write("file", "");
    let ran = place.run(&["run", "p.sql", "--state-dir", "file/state"]).expect_error(11, state::UNUSABLE_DIRECTORY);
    assert!(ran.err.contains("file/state"), "{ran:#?}");
    place.run(&["run", "p.sql", "--state-dir", "s3://bucket/x"]).expect_error(11, state::UNKNOWN_STORAGE);
}

#[test]
fn foreign_damaged_and_missing_state_are_refused_with_the_ways_on() {
    let place = Place::new();
    place.write("p.sql", copy("json"));
    place.write("in/a.json", "{\"id\":1,\"name\":\"a\"}\n");
    place.run(&["run", "p.sql", "--state-dir", "state", "--restore", "require"]).expect_error(13, state::NO_STATE);
    place.run(&["run", "p.sql", "--state-dir", "state"]).expect(0);
    let ran = place
        .run(&["run", "p.sql", "--state-dir", "state", "--name", "another"])
        .expect_error(13, state::FOREIGN_STATE);
    assert!(ran.err.contains("help:"), "{ran:#?}");
    for manifest in files(&place.path("state/manifests"), ".json") {
        let mut bytes = fs::read(&manifest).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&manifest, bytes).unwrap();
    }
    let ran = place.run(&["run", "p.sql", "--state-dir", "state"]).expect_error(13, state::DAMAGED_STATE);
    assert!(ran.err.contains("--restore none"), "{ran:#?}");
    let ran = place.run(&["run", "p.sql", "--state-dir", "state", "--restore", "none"]).expect(0);
    assert!(ran.err.contains("fresh"), "{ran:#?}");
}

#[test]
fn a_second_instance_is_refused_while_the_first_runs() {
    let place = Place::new();
    place.write(
        "p.sql",
        "CREATE TABLE t (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '10');
         CREATE TABLE o (id BIGINT) WITH ('connector' = 'blackhole');
         INSERT INTO o SELECT id FROM t;",
    );
    let first = place.start(&["run", "p.sql"]);
    first.wait_for("start      fresh");
    place.run(&["run", "p.sql"]).expect_error(24, state::STATE_IN_USE);
    first.signal("TERM");
    first.end().expect(0);
}

#[test]
fn updates_into_a_format_of_inserts_only_are_refused_by_name() {
    let place = Place::new();
    place.write(
        "p.sql",
        "CREATE TABLE t (k STRING) WITH ('connector' = 'datagen', 'number-of-rows' = '3');
CREATE TABLE o (k STRING, n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json');
INSERT INTO o SELECT k, COUNT(*) FROM t GROUP BY k;",
    );
    let ran = place.run(&["run", "p.sql"]).expect(10);
    assert!(ran.err.contains("error[DF2402]") && ran.err.contains("--> p.sql:3:"), "{ran:#?}");
}

#[test]
fn garbage_is_an_error_and_never_a_panic() {
    let place = Place::new();
    for (i, text) in ["\u{0}", "'", "((((((((", "SELECT", ";;;;", "/*", "--", "\u{feff}SELECT 1", "SELECT 💥 FROM 💥"]
        .iter()
        .enumerate()
    {
        let name = format!("{i}.sql");
        place.write(&name, text);
        let ran = place.run(&["check", &name]);
        assert!(ran.code == 0 || ran.code == 10, "{text:?}: {ran:#?}");
        assert!(!ran.err.contains("DF9100"), "{text:?}: {ran:#?}");
    }
}

/// Every format of this build reads and writes; a one-way format is made up here.
#[test]
fn a_format_used_the_wrong_way_is_refused_in_both_directions() {
    use dflow::common::{Classified, SourceId, Span};
    use dflow::connector::format::{FormatFactory, FormatRequest};
    use dflow::connector::{FormatSpec, TableSchema};
    struct Neither;
    impl FormatFactory for Neither {
        fn spec(&self) -> &'static FormatSpec {
            &FormatSpec {
                name: "neither",
                summary: "For this test.",
                options: &[],
                decodes: false,
                encodes: false,
                changelog: false,
            }
        }
    }
    let request = FormatRequest {
        table: "t".into(),
        schema: TableSchema { columns: Vec::new(), primary_key: Vec::new(), partition_keys: Vec::new() },
        projection: Vec::new(),
        masks: Vec::new(),
        options: Vec::new(),
        span: Span::new(SourceId(0), 0, 1),
        time_zone: "UTC".into(),
    };
    let read = Neither.decoding(&request).err().expect("it cannot be read").remove(0);
    let written = Neither.encoding(&request).err().expect("it cannot be written").remove(0);
    for error in [read, written] {
        assert_eq!(error.code(), api::FORMAT_ROLE_NOT_SUPPORTED.code);
        assert!(error.span().is_some() && error.to_string().contains("'neither'"), "{error}");
    }
}

#[test]
fn a_directory_with_other_files_is_not_taken_for_state() {
    let place = Place::new();
    place.write("p.sql", copy("json"));
    place.write("in/a.json", "{\"id\":1,\"name\":\"a\"}\n");
    place.write("project/README.md", "mine");
    place.write("project/data/orders.csv", "1,2");
    for restore in ["auto", "none"] {
        let ran = place
            .run(&["run", "p.sql", "--state-dir", "project", "--restore", restore])
            .expect_error(13, state::FOREIGN_FILES);
        assert!(
            ran.err.contains("project") && ran.err.contains("`README.md`") && ran.err.contains("help:"),
            "{ran:#?}"
        );
    }
    // The folder the script lies in, too, and the one with its output.
    place.run(&["run", "p.sql", "--state-dir", "."]).expect_error(13, state::FOREIGN_FILES);
    assert_eq!(fs::read_dir(place.path("project")).unwrap().count(), 2, "nothing was changed");
    assert!(!place.path("out").exists(), "and nothing was begun");
    fs::create_dir(place.path("empty")).unwrap();
    for good in ["empty", "absent/too", "project/state"] {
        place.run(&["run", "p.sql", "--state-dir", good]).expect(0);
    }
    place.write("empty/notes.txt", "a state directory stays one");
    place.run(&["run", "p.sql", "--state-dir", "empty"]).expect(0);
}

#[test]
fn an_error_of_a_running_job_is_told_once() {
    let place = Place::new();
    place.write("p.sql", copy("json"));
    place.write("in/a.json", "{\"id\":\"x\",\"name\":\"b\"}\n");
    let ran = place.run(&["run", "p.sql"]).expect(15);
    let told: Vec<&str> = ran.err.lines().filter(|l| l.contains("bad record")).collect();
    assert_eq!(told.len(), 2, "rendered, and in the last line: {ran:#?}");
    assert!(told[0].starts_with("error[DF5100]: bad record") && told[1] == ran.last_line(), "{ran:#?}");
    assert!(!ran.last_line().contains("help:") && !ran.err.contains("ERROR"), "{ran:#?}");
}

#[test]
fn a_record_that_is_too_long_is_skipped_where_the_table_says_so() {
    let place = Place::new();
    let long = "x".repeat(dflow::common::limits::RECORD_BYTES_MAX + 1);
    place.write(
        "in/a.json",
        format!("{{\"id\":1,\"name\":\"a\"}}\n{{\"name\":\"{long}\"}}\n{{\"id\":2,\"name\":\"b\"}}\n"),
    );
    place.write("p.sql", copy("json"));
    let ran = place.run(&["run", "p.sql"]).expect_error(15, TOO_LONG);
    for text in ["a.json", "line: 2"] {
        assert!(ran.err.contains(text), "{text}: {ran:#?}");
    }
    place.write("q.sql", copy("json").replacen("'json')", "'json', 'json.ignore-parse-errors' = 'true')", 1));
    let ran = place.run(&["run", "q.sql"]).expect(0);
    assert!(ran.err.contains("1 record skipped"), "{ran:#?}");
    assert_eq!(place.lines_below("out").len(), 2);
}

#[test]
fn secrets_and_tables_of_a_script_are_found_from_anywhere() {
    let place = Place::new();
    place.write("jobs/where.txt", "in\n");
    place.write("jobs/in/a.json", "{\"id\":1,\"name\":\"a\"}\n");
    place.write("jobs/p.sql", copy("json").replacen("'in'", "'${file:where.txt}'", 1));
    fs::create_dir_all(place.path("elsewhere")).unwrap();
    for (from, script) in [(".", "jobs/p.sql"), ("jobs", "p.sql"), ("elsewhere", "../jobs/p.sql")] {
        let mut command = place.command(&["run", script]);
        command.current_dir(place.path(from));
        finish(&mut command).expect(0);
    }
    assert_eq!(place.lines_below("jobs/out").len(), 3);
}
