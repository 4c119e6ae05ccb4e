//! A canary in every place a secret can stand appears in no output, log, EXPLAIN, error or state file.

use std::fs;

use dflow::connector::OptionSpec;

use crate::support::{Place, files, finish};

const CANARY: &str = "c4n4ry-0f-the-mine";

/// Everything dflow wrote: what it said, and all files it made below the place.
#[track_caller]
fn assert_silent(place: &Place, said: &[&crate::support::Ran], made: &[&str]) {
    for ran in said {
        assert!(!ran.out.contains(CANARY) && !ran.err.contains(CANARY), "{ran:#?}");
    }
    for folder in made {
        for path in files(&place.path(folder), "") {
            let bytes = fs::read(&path).unwrap();
            let found = bytes.windows(CANARY.len()).any(|w| w == CANARY.as_bytes());
            assert!(!found, "the canary is in {}", path.display());
        }
    }
}

/// Runs `check`, `explain` and `run`, quietly and at length, as text and as JSON.
fn everything(place: &Place, script: &str) -> Vec<crate::support::Ran> {
    let mut said = Vec::new();
    for args in [
        &["check", script][..],
        &["check", script, "-o", "jsonl"],
        &["explain", script],
        &["run", script, "--dry-run", "-vv"],
        &["run", script, "-vv"],
        &["run", script, "-vv", "--log-format", "json"],
    ] {
        let mut command = place.command(args);
        command.args(["--env-file", "secrets.env"]).env("CANARY", CANARY);
        said.push(finish(&mut command));
    }
    said
}

fn place() -> Place {
    let place = Place::new();
    place.write("secrets.env", format!("FROM_FILE={CANARY}\n"));
    place.write("secret.txt", format!("{CANARY}\n"));
    place.write("in/a.csv", "1;x\n2;y\n");
    place
}

#[test]
fn values_of_env_env_file_and_file_stay_unseen_when_all_goes_well() {
    for reference in ["${env:CANARY}", "${env:FROM_FILE}", "${file:secret.txt}"] {
        let place = place();
        place.write(
            "p.sql",
            format!(
                "CREATE TABLE t (id INT, name STRING) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'csv',
                   'csv.field-delimiter' = ';', 'csv.null-literal' = '{reference}');
                 CREATE TABLE o (id INT, name STRING) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json');
                 INSERT INTO o SELECT id, name FROM t;"
            ),
        );
        let said = everything(&place, "p.sql");
        assert!(said.iter().all(|r| r.code == 0), "{said:#?}");
        assert_silent(&place, &said.iter().collect::<Vec<_>>(), &["out", ".dflow"]);
        assert_eq!(place.lines_below("out").len(), 4, "both runs wrote");
    }
}

#[test]
fn values_stay_unseen_in_errors_about_them() {
    for (what, options) in [
        ("a path that is not there", "'path' = '${env:CANARY}', 'format' = 'csv'"),
        ("a path below it", "'path' = 'in/${env:FROM_FILE}/x', 'format' = 'csv'"),
        ("a format that does not exist", "'path' = 'in', 'format' = '${file:secret.txt}'"),
        ("a value of the wrong type", "'path' = 'in', 'format' = 'csv', 'source.monitor-interval' = '${env:CANARY}'"),
        ("a delimiter too long", "'path' = 'in', 'format' = 'csv', 'csv.field-delimiter' = '${env:CANARY}'"),
        ("a choice that is none", "'path' = 'in', 'format' = 'csv', 'dflow.on-error' = '${env:CANARY}'"),
    ] {
        let place = place();
        place.write(
            "p.sql",
            format!(
                "CREATE TABLE t (id INT, name STRING) WITH ('connector' = 'filesystem', {options});\nSELECT id FROM t;"
            ),
        );
        let said = everything(&place, "p.sql");
        assert!(said.iter().any(|r| r.code != 0), "{what}: {said:#?}");
        assert_silent(&place, &said.iter().collect::<Vec<_>>(), &[]);
    }
}

#[test]
fn settings_may_be_secret_too() {
    let place = place();
    place.write(
        "p.sql",
        "SET 'parallelism.default' = '${env:CANARY}';
         SET 'no.such.key' = '${env:CANARY}';
         SET 'taskmanager.memory.process.size' = '${env:FROM_FILE}';
         CREATE TABLE t (id BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '1'); SELECT id FROM t;",
    );
    assert_silent(&place, &everything(&place, "p.sql").iter().collect::<Vec<_>>(), &[]);
}

#[test]
fn options_declared_secret_are_unseen_without_any_variable() {
    let registry = dflow::registry();
    let secret = |options: &'static [OptionSpec]| options.iter().filter(|o| o.secret);
    for connector in registry.connectors() {
        for option in secret(connector.options) {
            let place = place();
            place.write(
                "p.sql",
                format!(
                    "CREATE TABLE t (id INT) WITH ('connector' = '{}', '{}' = '{CANARY}');\nSELECT id FROM t;",
                    connector.name, option.key
                ),
            );
            // The snippet of a diagnostic shows the script itself; the script is the user's own text. What dflow adds must not.
            for ran in everything(&place, "p.sql") {
                let shown =
                    ran.out.lines().chain(ran.err.lines()).filter(|l| !l.trim_start().starts_with(char::is_numeric));
                assert!(!shown.into_iter().any(|l| l.contains(CANARY)), "{ran:#?}");
            }
        }
    }
    // No connector of this build has one yet; the declaration is then what is tested.
    let spec = OptionSpec::new("password", dflow::connector::OptionType::Int, "The password.").secret();
    let span = dflow::common::Span::new(dflow::common::SourceId(0), 0, 0);
    let raw = |value: &str| dflow::connector::RawOption {
        key: "password".into(),
        key_span: span,
        value: dflow::connector::OptionText::Plain(value.into()),
        value_span: span,
    };
    let specs = [spec];
    let errors = dflow::connector::Options::check("x", &specs, &[raw(CANARY)], span).unwrap_err();
    assert!(!format!("{errors:?}").contains(CANARY));
    let options = dflow::connector::Options::check("x", &specs, &[raw("12345678")], span).unwrap();
    assert!(!format!("{options:?}").contains("12345678"), "{options:?}");
    assert_eq!(options.shown().collect::<Vec<_>>(), [("password", "***")]);
}

#[test]
fn options_that_look_secret_are_unseen_though_nobody_declares_them() {
    let table = |rest: &str| {
        format!(
            "CREATE TABLE t (id INT) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'csv',
               'password' = '{CANARY}', 'secret.key' = '{CANARY}', 'x.sasl.jaas.config' = '{CANARY}'{rest});"
        )
    };
    for (what, script) in [
        ("not declared", format!("{} SELECT id FROM t;", table(""))),
        ("shown", format!("{} SHOW CREATE TABLE t;", table(""))),
        ("an error beside it", format!("{} SELECT nope FROM t;", table(", 'format' = 'csv'"))),
        ("a parse error behind it", format!("{} SELECT FROM t;", table(" 'x' = 'y'"))),
        (
            "a parse error at it",
            format!("CREATE TABLE t (id INT) WITH ('connector' = 'datagen' 'token' = '{CANARY}');"),
        ),
        ("a parse error at its value", format!("CREATE TABLE t (id INT) WITH ('token' = '{CANARY}' '{CANARY}');")),
        ("a quote forgotten", format!("CREATE TABLE t (id INT) WITH ('token' = '{CANARY});\nSELECT 1;")),
        (
            "a hint in a view",
            format!(
                "CREATE TABLE t (id INT) WITH ('connector' = 'datagen');
             CREATE VIEW v AS SELECT id FROM t /*+ OPTIONS('token' = '{CANARY}') */; SHOW CREATE VIEW v;"
            ),
        ),
        ("a setting", format!("SET 'my.password' = '{CANARY}'; SET; SELECT 1 FROM nope;")),
    ] {
        let place = place();
        place.write("p.sql", &script);
        let said = everything(&place, "p.sql");
        assert!(said.iter().all(|r| !r.out.is_empty() || !r.err.is_empty()), "{what}: {said:#?}");
        assert_silent(&place, &said.iter().collect::<Vec<_>>(), &[]);
    }
}
