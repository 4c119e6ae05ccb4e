//! The command line itself: help, flags, output forms, where things are written.

use dflow::error::{OUTPUT_FAILED, USAGE, WARNINGS_DENIED};

use crate::support::{Place, finish};

/// Ten rows, 1 to 10.
const TEN: &str = "CREATE TABLE t (id BIGINT) WITH ('connector' = 'datagen', 'fields.id.kind' = 'sequence',
  'fields.id.start' = '1', 'fields.id.end' = '10');
SELECT id, id * id AS square FROM t;
";
/// Rows without end, a thousand a second.
const ENDLESS: &str = "CREATE TABLE t (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000');
SELECT id FROM t;
";

#[test]
fn without_a_command_there_is_help_on_stderr_and_exit_2() {
    let ran = Place::new().run(&[]).expect(2);
    assert!(ran.out.is_empty() && ran.err.contains("Usage: dflow"), "{ran:#?}");
    assert_eq!(ran.last_line(), "dflow: exit 2 usage [DF1700] no command was given; see above");
}

#[test]
fn wrong_flags_end_with_the_last_line_too() {
    let place = Place::new();
    for args in [&["run"][..], &["run", "x.sql", "-p", "0"], &["run", "x.sql", "--until", "never"], &["fly"]] {
        let ran = place.run(args).expect(2);
        assert!(ran.last_line().starts_with(&format!("dflow: exit 2 usage [{}] ", USAGE.code)), "{ran:#?}");
    }
    place.run(&["help", "nonsense"]).expect_error(2, USAGE);
    place.run(&["connectors", "filesytem"]).expect_error(2, USAGE);
    place.run(&["bench", "nexmark", "--queries", "q99"]).expect_error(2, USAGE);
}

#[test]
fn help_and_version_are_data() {
    let place = Place::new();
    let help = place.run(&["--help"]).expect(0);
    assert!(help.out.contains("Usage: dflow") && help.err.is_empty());
    assert!(place.run(&["help", "DF1700"]).expect(0).out.starts_with("# DF1700: "));
    assert!(place.run(&["help", "exit-codes"]).expect(0).out.contains("| 14 | position-lost |"));
    assert!(place.run(&["help", "run"]).expect(0).out.contains("--checkpoint-interval"));
    assert!(place.run(&["version"]).expect(0).out.starts_with(&format!("dflow {}\n", env!("CARGO_PKG_VERSION"))));
    assert!(place.run(&["completions", "bash"]).expect(0).out.contains("complete"));
}

#[test]
fn connectors_describes_one_from_its_declaration() {
    let place = Place::new();
    let ran = place.run(&["connectors", "filesystem"]).expect(0);
    for text in ["path", "required", "sink.rolling-policy.file-size", "exactly once"] {
        assert!(ran.out.contains(text), "{text}: {ran:#?}");
    }
    assert!(place.run(&["connectors", "json"]).expect(0).out.contains("json.fail-on-missing-field"));
}

#[test]
fn what_keeps_no_state_promises_no_going_on() {
    let place = Place::new();
    place.write("q.sql", ENDLESS);
    let ran = place.run(&["run", "q.sql", "--until", "rows=1"]).expect(0);
    assert!(ran.err.contains("none is kept") && !ran.err.contains("goes on from it"), "{ran:#?}");
}

#[test]
fn rows_go_to_stdout_as_jsonl_csv_or_a_table_and_talk_to_stderr() {
    let place = Place::new();
    place.write("q.sql", TEN);
    let lines = |format: &str| {
        let ran = place.run(&["run", "q.sql", "-p", "1", "-o", format]).expect(0);
        assert!(ran.err.contains("finished after"), "{ran:#?}");
        ran.out.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let jsonl = lines("jsonl");
    assert_eq!((jsonl.len(), jsonl[2].as_str()), (10, r#"{"op":"+I","id":3,"square":9}"#));
    assert_eq!(lines("csv")[..3], ["id,square", "1,1", "2,4"]);
    assert_eq!(lines("table")[..3], ["id | square", "-- | ------", "1  | 1"]);
    let quiet = place.run(&["run", "q.sql", "-q"]).expect(0);
    assert!(quiet.err.is_empty() && quiet.out.lines().count() == 10, "{quiet:#?}");
}

#[test]
fn a_script_may_come_from_standard_input() {
    let ran = Place::new().run_with(&["run", "-", "-q"], TEN).expect(0);
    assert_eq!(ran.out.lines().count(), 10, "{ran:#?}");
    let wrong = Place::new().run_with(&["run", "-"], "SELEC 1").expect(10);
    assert!(wrong.err.contains("--> <stdin>:1:1"), "{wrong:#?}");
}

#[test]
fn until_rows_prints_exactly_so_many_and_ends_well() {
    let place = Place::new();
    place.write("q.sql", ENDLESS);
    let ran = place.run(&["run", "q.sql", "--until", "rows=7"]).expect(0);
    assert_eq!(ran.out.lines().count(), 7, "{ran:#?}");
    assert!(ran.err.contains("stopped after"), "{ran:#?}");
}

#[test]
fn a_reader_that_goes_away_is_a_clean_end() {
    use std::io::{BufRead, BufReader};
    let place = Place::new();
    place.write("q.sql", ENDLESS);
    let mut running = place.start(&["run", "q.sql"]);
    let mut first = String::new();
    BufReader::new(running.child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("{\"op\":\"+I\""), "{first}");
    // The reader is dropped here.
    running.end().expect(0);
}

#[test]
fn a_full_standard_output_is_named() {
    let place = Place::new();
    place.write("q.sql", TEN);
    let mut command = place.command(&["run", "q.sql"]);
    command
        .stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap())
        .stderr(std::process::Stdio::piped());
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(23), "{err}");
    assert!(err.contains(&format!("error[{}]", OUTPUT_FAILED.code)), "{err}");
}

#[test]
fn colours_are_off_in_a_pipe_and_on_when_asked_for() {
    let place = Place::new();
    place.write("q.sql", "SELEC 1;");
    assert!(!place.run(&["check", "q.sql"]).err.contains('\u{1b}'));
    assert!(place.run(&["check", "q.sql", "--color", "always"]).err.contains('\u{1b}'));
    let forced = finish(place.command(&["check", "q.sql"]).env("CLICOLOR_FORCE", "1"));
    assert!(forced.err.contains('\u{1b}'));
    let no = finish(place.command(&["check", "q.sql"]).env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1"));
    assert!(!no.err.contains('\u{1b}'));
}

#[test]
fn with_json_every_line_of_talk_is_an_object() {
    let place = Place::new();
    place.write("q.sql", TEN);
    place.write("bad.sql", "SELEC 1;");
    for (script, code) in [("q.sql", 0), ("bad.sql", 10)] {
        let ran = place.run(&["run", script, "--log-format", "json"]).expect(code);
        for line in ran.err.lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert!(value.is_object());
        }
        assert!(!ran.err.is_empty());
    }
    let ran = place.run(&["check", "bad.sql", "-o", "jsonl"]).expect(10);
    let first: serde_json::Value = serde_json::from_str(ran.out.lines().next().unwrap()).unwrap();
    assert_eq!((first["code"].as_str(), first["span"]["start"]["line"].as_u64()), (Some("DF1008"), Some(1)));
}

#[test]
fn check_asks_the_other_side_only_when_it_is_to_connect() {
    let place = Place::new();
    // A port that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let changes = format!(
        "CREATE TABLE orders (id INT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'mysql-cdc', \
         'hostname' = '127.0.0.1', 'port' = '{port}', 'username' = 'u', 'password' = 'hunter2', \
         'database-name' = 'shop', 'table-name' = 'orders', 'connect.max-retries' = '0');\n\
         CREATE TABLE sums (id INT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'mysql', \
         'hostname' = '127.0.0.1', 'port' = '{port}', 'database-name' = 'shop', 'table-name' = 'sums', \
         'connection.max-retry-timeout' = '1 s');\n\
         INSERT INTO sums SELECT id FROM orders;\n"
    );
    place.write("changes.sql", changes);
    let ran = place.run(&["check", "changes.sql"]).expect(0);
    assert!(ran.out.contains("√ changes.sql  1 source, 1 sink"), "{ran:#?}");
    let ran = place.run(&["check", "changes.sql", "--connect"]).expect(20);
    assert!(ran.out.contains("x changes.sql  2 errors"), "{ran:#?}");
    assert!(
        ran.err.contains("DF5450") && ran.err.contains("changes.sql:1:") && ran.err.contains("changes.sql:2:"),
        "{ran:#?}"
    );
    assert!(!ran.err.contains("hunter2"), "{ran:#?}");
}

#[test]
fn check_reports_all_errors_of_all_scripts_and_can_deny_warnings() {
    let place = Place::new();
    place.write("good.sql", TEN);
    place.write("bad.sql", "SELEC 1;\nSELECT id FROM nowhere;\n");
    // A cluster's setting has no effect here, which is one warning.
    place.write("warned.sql", format!("SET 'taskmanager.numberOfTaskSlots' = '4';\n{TEN}"));
    let ran = place.run(&["check", "good.sql", "bad.sql"]).expect(10);
    assert!(ran.out.contains("√ good.sql") && ran.out.contains("x bad.sql  2 errors"), "{ran:#?}");
    let ran = place.run(&["check", "warned.sql"]).expect(0);
    assert!(ran.out.contains("~ warned.sql  1 warning"), "{ran:#?}");
    let ran = place.run(&["check", "warned.sql", "--deny", "warnings"]).expect(31);
    assert!(
        ran.last_line().starts_with(&format!("dflow: exit 31 lint [{}] 1 warning", WARNINGS_DENIED.code)),
        "{ran:#?}"
    );
}

#[test]
fn a_dry_run_touches_nothing() {
    let place = Place::new();
    place.write(
        "p.sql",
        "CREATE TABLE t (id INT) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'json');
         CREATE TABLE o (id INT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json');
         INSERT INTO o SELECT id FROM t;",
    );
    let ran = place.run(&["run", "p.sql", "--dry-run"]).expect(0);
    assert!(ran.err.contains("dry run") && ran.err.contains("guarantee  o exactly once"), "{ran:#?}");
    assert!(!place.path(".dflow").exists() && !place.path("out").exists());
}

#[test]
fn explain_shows_operators_with_their_place_in_the_script() {
    let place = Place::new();
    place.write(
        "p.sql",
        "CREATE TABLE t (k STRING, v INT) WITH ('connector' = 'datagen', 'number-of-rows' = '3');
SELECT k, SUM(v) AS total FROM t GROUP BY k;",
    );
    let ran = place.run(&["explain", "p.sql", "-p", "2"]).expect(0);
    assert!(ran.out.contains("p.sql:2:") && ran.out.contains("parallelism"), "{ran:#?}");
}

#[test]
fn show_and_describe_answer_on_stdout() {
    let ran = Place::new()
        .run_with(
            &["run", "-"],
            "CREATE TABLE t (a INT, b STRING) WITH ('connector' = 'datagen'); SHOW TABLES; DESCRIBE t;",
        )
        .expect(0);
    assert!(ran.out.lines().any(|l| l == "t") && ran.out.contains("STRING"), "{ran:#?}");
}

#[test]
fn every_benchmark_runs_and_counts_its_events() {
    let place = Place::new();
    let lines = |args: &[&str]| {
        let ran = place.run(args).expect(0);
        ran.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect::<Vec<serde_json::Value>>()
    };
    let nexmark = lines(&["bench", "nexmark", "--events", "3000", "--json"]);
    let names: Vec<_> = nexmark.iter().map(|v| v["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["q0", "q1", "q2", "q14", "q15", "q16", "q17", "q21", "q22"]);
    assert!(nexmark.iter().all(|v| v["events"] == 3000 && v["checkpoints"] == 1), "{nexmark:#?}");
    let two = lines(&["bench", "nexmark", "--queries", "q0,q17", "--events", "3000", "-p", "2", "--json"]);
    assert_eq!((two.len(), two[1]["parallelism"].as_u64()), (2, Some(2)));
    for args in
        [&["bench", "nexmark", "--generator-only"][..], &["bench", "json"], &["bench", "groupby", "--keys", "10"]]
    {
        let figures = lines(&[args, &["--events", "2000", "--json"]].concat());
        assert_eq!(figures[0]["events"], 2000, "{figures:#?}");
    }
}

#[test]
fn verbose_tells_of_checkpoints_and_the_log_obeys_its_filter() {
    let place = Place::new();
    place.write("q.sql", TEN);
    let quiet = place.run(&["run", "q.sql"]).expect(0);
    assert!(!quiet.err.contains("checkpoint complete"), "{quiet:#?}");
    let told = place.run(&["run", "q.sql", "-v"]).expect(0);
    assert!(told.err.contains("INFO checkpoint complete"), "{told:#?}");
    let filtered = finish(place.command(&["run", "q.sql"]).env("DFLOW_LOG", "dflow_runtime=info"));
    assert!(filtered.err.contains("INFO job started"), "{filtered:#?}");
    let json = place.run(&["run", "q.sql", "-v", "--log-format", "json"]).expect(0);
    let told = json.err.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
    assert!(told.into_iter().any(|v| v["msg"] == "checkpoint complete" && v["epoch"] == "1"), "{json:#?}");
}

#[test]
fn a_setting_that_a_flag_overrides_is_told_with_its_place() {
    let place = Place::new();
    place.write(
        "p.sql",
        "SET 'parallelism.default' = '3';
SET 'execution.checkpointing.interval' = '1 min';
SET 'execution.checkpointing.dir' = 'elsewhere';
CREATE TABLE t (id INT) WITH ('connector' = 'datagen', 'number-of-rows' = '1');
CREATE TABLE o (id INT) WITH ('connector' = 'blackhole');
INSERT INTO o SELECT id FROM t;",
    );
    let ran = place.run(&["run", "p.sql", "-p", "2", "--state-dir", "here", "--checkpoint-interval", "5 s"]).expect(0);
    for line in [
        "parallelism.default = 3 (p.sql:1:29) is overridden by --parallelism 2",
        "execution.checkpointing.interval = 1 min (p.sql:2:42) is overridden by --checkpoint-interval 5s",
        "execution.checkpointing.dir = elsewhere (p.sql:3:37) is overridden by --state-dir here",
    ] {
        assert!(ran.err.lines().any(|l| l.trim_start() == format!("setting    {line}")), "{line}: {}", ran.err);
    }
    assert!(place.path("here").exists() && !place.path("elsewhere").exists());
    assert!(!place.run(&["run", "p.sql", "--dry-run"]).expect(0).err.contains("overridden"));
}

#[test]
fn a_closed_standard_output_is_named_and_dev_null_is_fine() {
    let place = Place::new();
    place.write("q.sql", TEN);
    place.write(
        "i.sql",
        TEN.replace(
            "SELECT id, id * id",
            "CREATE TABLE o (a BIGINT, b BIGINT) WITH ('connector' = 'print');\nINSERT INTO o SELECT id, id * id",
        ),
    );
    place.write(
        "b.sql",
        TEN.replace(
            "SELECT id, id * id",
            "CREATE TABLE o (a BIGINT, b BIGINT) WITH ('connector' = 'blackhole');\nINSERT INTO o SELECT id, id * id",
        ),
    );
    let shell = |line: &str| {
        let mut command = std::process::Command::new("sh");
        let line = line.replace("dflow", env!("CARGO_BIN_EXE_dflow"));
        command.args(["-c", &line]).current_dir(place.path("."));
        finish(&mut command)
    };
    for line in ["exec dflow run q.sql >&-", "exec dflow run q.sql -o table >&-", "exec dflow version >&-"] {
        let ran = shell(line).expect_error(23, OUTPUT_FAILED);
        assert!(ran.err.contains("closed"), "{ran:#?}");
    }
    shell("exec dflow run i.sql >&-").expect(23);
    shell("exec dflow run b.sql >&-").expect(0);
    // As Python and Node turn output off.
    shell("exec dflow run q.sql 1<>/dev/null").expect(0);
    shell("exec dflow run q.sql >/dev/null").expect(0);
    assert_eq!(shell("dflow run q.sql -q | head -1").expect(0).err, "");
}

#[test]
fn several_queries_print_one_after_the_other() {
    let place = Place::new();
    let three = TEN.to_owned() + "SELECT id + 100 AS x FROM t;\nSELECT COUNT(*) AS n FROM t WHERE id > 4;\n";
    place.write("q.sql", &three);
    for _ in 0..5 {
        let ran = place.run(&["run", "q.sql", "-o", "csv"]).expect(0);
        let lines: Vec<&str> = ran.out.lines().collect();
        assert_eq!((lines[0], lines[11], lines[22]), ("id,square", "x", "op,n"), "{ran:#?}");
        assert!(lines.last().unwrap().ends_with(",6"), "{ran:#?}");
        let in_order = lines[1..11].iter().all(|l| l.contains(','))
            && lines[12..22].iter().all(|l| l.parse::<i64>().unwrap() > 100);
        assert!(in_order, "{ran:#?}");
    }
    let ran = place.run(&["run", "q.sql", "--until", "rows=3"]).expect(0);
    assert_eq!(ran.out.lines().count(), 3, "who has enough of one has enough: {ran:#?}");
    let kept = place.run(&["run", "q.sql", "--state-dir", "s"]).expect(0);
    assert!(kept.err.contains("none is kept: several queries run one after the other"), "{kept:#?}");
    assert!(!place.path("s").exists());
}

#[test]
fn queries_that_cannot_run_one_after_the_other_are_refused() {
    let place = Place::new();
    place.write("endless.sql", ENDLESS.to_owned() + "SELECT id + 1 AS x FROM t;\n");
    let ran = place.run(&["run", "endless.sql"]).expect(10);
    assert!(ran.err.contains("error[DF2411]") && ran.err.contains("--> endless.sql:2:1"), "{ran:#?}");
    place.write("last.sql", TEN.to_owned() + &ENDLESS.replace(" t ", " e ").replace("FROM t", "FROM e"));
    assert_eq!(place.run(&["run", "last.sql", "--until", "idle=1h", "--dry-run"]).expect(0).out, "");
    let insert = "CREATE TABLE o (a BIGINT) WITH ('connector' = 'blackhole');\nINSERT INTO o SELECT id FROM t;\n";
    place.write("mixed.sql", TEN.to_owned() + insert + "SELECT id FROM t;\n");
    let ran = place.run(&["check", "mixed.sql"]).expect(10);
    assert!(ran.err.contains("error[DF2411]") && ran.err.contains("--> mixed.sql:6:1"), "{ran:#?}");
    place.write("one.sql", TEN.to_owned() + insert);
    place.run(&["run", "one.sql"]).expect(0);
}

#[test]
fn every_object_of_the_log_has_its_time() {
    let place = Place::new();
    place.write("q.sql", TEN);
    place.write("bad.sql", "SELEC 1;");
    for (script, code) in [("q.sql", 0), ("bad.sql", 10)] {
        let ran = place.run(&["run", script, "-v", "--log-format", "json"]).expect(code);
        assert!(!ran.err.is_empty());
        for line in ran.err.lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let ts = value["ts"].as_str().unwrap_or_else(|| panic!("{line}"));
            assert!(ts.len() >= 20 && ts.ends_with('Z') && ts.as_bytes()[10] == b'T', "{line}");
        }
    }
}

#[test]
fn durations_in_messages_are_written_as_everywhere() {
    let place = Place::new();
    place.write(
        "q.sql",
        ENDLESS
            .replace("SELECT id", "CREATE TABLE o (id BIGINT) WITH ('connector' = 'print');\nINSERT INTO o SELECT id"),
    );
    let running = place.start(&["run", "q.sql", "--stop-timeout", "0s"]);
    running.wait_for("start      fresh");
    running.signal("TERM");
    let ran = running.end().expect(40);
    assert!(ran.err.contains("no final checkpoint within 0s"), "{ran:#?}");
}
