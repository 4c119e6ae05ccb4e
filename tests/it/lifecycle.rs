//! Starting, stopping, going on: what a state directory is for.

use dflow::runtime::storage::codes as state;

use crate::support::{Place, files, wait_until};

/// Watches a folder and copies what comes.
const WATCHING: &str = "CREATE TABLE t (id INT) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'json',
  'source.monitor-interval' = '50 ms');
CREATE TABLE o (id INT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json');
INSERT INTO o SELECT id FROM t;
";

fn watching() -> Place {
    let place = Place::new();
    place.write("p.sql", WATCHING);
    place.write("in/1.json", "{\"id\":1}\n");
    place
}

fn ids(place: &Place) -> Vec<String> {
    let mut lines = place.lines_below("out");
    lines.sort();
    lines
}

/// Drops a file into the watched folder at once, as a writer should.
fn arrive(place: &Place, id: u32) {
    let aside = place.write(&format!("aside/{id}.json"), format!("{{\"id\":{id}}}\n"));
    std::fs::rename(aside, place.path(&format!("in/{id}.json"))).unwrap();
}

#[test]
fn the_first_signal_takes_a_final_checkpoint_and_the_next_run_goes_on() {
    for signal in ["INT", "TERM"] {
        let place = watching();
        let first = place.start(&["run", "p.sql", "--checkpoint-interval", "1 h"]);
        first.wait_for("start      fresh");
        // Read, but not yet published: the final checkpoint does that.
        std::thread::sleep(std::time::Duration::from_millis(500));
        first.signal(signal);
        let ran = first.end().expect(0);
        assert!(ran.err.contains("stopped after"), "{ran:#?}");
        assert_eq!(ids(&place), [r#"{"id":1}"#]);
        arrive(&place, 2);
        let second = place.run(&["run", "p.sql", "--until", "caught-up"]).expect(0);
        assert!(second.err.contains("start      from checkpoint"), "{second:#?}");
        assert_eq!(ids(&place), [r#"{"id":1}"#, r#"{"id":2}"#]);
    }
}

#[test]
fn two_jobs_of_one_name_that_write_into_one_folder_leave_each_others_files_alone() {
    let place = Place::new();
    let script = |input: &str| {
        format!(
            "CREATE TABLE t (id BIGINT) WITH ('connector' = 'filesystem', 'path' = '../in-{input}', 'format' = 'json',
               'source.monitor-interval' = '20 ms');
             CREATE TABLE o (id BIGINT) WITH ('connector' = 'filesystem', 'path' = '../out', 'format' = 'json');
             INSERT INTO o SELECT id FROM t;"
        )
    };
    for (name, id) in [("a", 1), ("b", 2)] {
        place.write(&format!("in-{name}/x.json"), format!("{{\"id\":{id}}}\n"));
        place.write(&format!("{name}/etl.sql"), script(name));
    }
    let first = place.start(&["run", "a/etl.sql", "--checkpoint-interval", "1 h"]);
    let hidden = || files(&place.path("out"), ".inprogress").len();
    wait_until("a file is being written", || place.path("out").exists() && hidden() == 1);
    place.run(&["run", "b/etl.sql", "--until", "caught-up"]).expect(0);
    assert_eq!((ids(&place), hidden()), (vec![r#"{"id":2}"#.to_owned()], 1));
    first.signal("TERM");
    first.end().expect(0);
    assert_eq!(ids(&place), [r#"{"id":1}"#, r#"{"id":2}"#]);
    place.run(&["run", "a/etl.sql", "--until", "caught-up"]).expect(0);
    assert_eq!(ids(&place), [r#"{"id":1}"#, r#"{"id":2}"#]);
}

#[test]
fn a_second_signal_ends_at_once() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let place = Place::new();
        // Standard output that nobody reads blocks the printing sink, so that the graceful stop cannot finish.
        place.write(
            "q.sql",
            "CREATE TABLE t (id BIGINT, s STRING) WITH ('connector' = 'datagen', 'rows-per-second' = '1000000');
             CREATE TABLE o (id BIGINT, s STRING) WITH ('connector' = 'print');
             INSERT INTO o SELECT id, s FROM t;",
        );
        let running = place.start(&["run", "q.sql"]);
        running.wait_for("start      fresh");
        std::thread::sleep(std::time::Duration::from_millis(500));
        running.signal(signal);
        running.wait_for("stopping");
        running.signal(signal);
        let mut running = running;
        wait_until("the end", || running.child.try_wait().unwrap().is_some());
        assert_eq!(running.child.wait().unwrap().code(), Some(code), "{}", running.said());
    }
}

#[test]
fn a_stop_that_takes_too_long_is_an_unclean_one() {
    let place = Place::new();
    place.write(
        "q.sql",
        "CREATE TABLE t (id BIGINT, s STRING) WITH ('connector' = 'datagen', 'rows-per-second' = '1000000');
         CREATE TABLE o (id BIGINT, s STRING) WITH ('connector' = 'print');
         INSERT INTO o SELECT id, s FROM t;",
    );
    let mut running = place.start(&["run", "q.sql", "--stop-timeout", "300 ms"]);
    running.wait_for("start      fresh");
    std::thread::sleep(std::time::Duration::from_millis(500));
    running.signal("TERM");
    wait_until("the end", || running.child.try_wait().unwrap().is_some());
    assert_eq!(running.child.wait().unwrap().code(), Some(40), "{}", running.said());
    assert!(running.said().contains("[DF4000]"), "{}", running.said());
}

#[test]
fn a_bounded_script_that_has_finished_starts_fresh_and_says_so() {
    let place = Place::new();
    place.write("p.sql", WATCHING.replace(",\n  'source.monitor-interval' = '50 ms'", ""));
    place.write("in/1.json", "{\"id\":1}\n");
    place.run(&["run", "p.sql"]).expect(0);
    let again = place.run(&["run", "p.sql"]).expect(0);
    assert!(again.err.contains("start      fresh"), "{again:#?}");
    assert_eq!(ids(&place), [r#"{"id":1}"#, r#"{"id":1}"#], "INSERT INTO adds");
}

const TOTALS: &str =
    "CREATE TABLE t (k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'json',
  'source.monitor-interval' = '50 ms');
CREATE TABLE o (k STRING, total INT) WITH ('connector' = 'print');
INSERT INTO o SELECT k, SUM(v) AS total FROM t GROUP BY k;
";

#[test]
fn comments_and_another_insert_keep_all_state_and_a_changed_aggregate_is_named() {
    let place = Place::new();
    place.write("p.sql", TOTALS);
    place.write("in/1.json", "{\"k\":\"a\",\"v\":1}\n");
    let run = || place.run(&["run", "p.sql", "-p", "1", "--until", "caught-up"]);
    assert_eq!(run().expect(0).out, "+I[a, 1]\n");

    let edited = format!("-- a comment\n{}", TOTALS.replace("SUM(v) AS total", "SUM(v) /* all */ AS sum_of_v"));
    place.write(
        "p.sql",
        format!(
            "{edited}CREATE TABLE b (k STRING) WITH ('connector' = 'blackhole');\nINSERT INTO b SELECT k FROM t;\n"
        ),
    );
    let aside = place.write("aside/2.json", "{\"k\":\"a\",\"v\":2}\n");
    std::fs::rename(aside, place.path("in/2.json")).unwrap();
    assert_eq!(run().expect(0).out, "-U[a, 1]\n+U[a, 3]\n");

    place.write("p.sql", TOTALS.replace("SUM(v)", "MAX(v)"));
    let ran = run().expect(13);
    assert!(ran.err.contains("SUM(") && ran.err.contains("--restore none"), "{ran:#?}");
}

#[test]
fn a_query_on_its_own_keeps_no_state() {
    let place = Place::new();
    place.write(
        "q.sql",
        "CREATE TABLE t (id BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '3'); SELECT id FROM t;",
    );
    let ran = place.run(&["run", "q.sql"]).expect(0);
    assert!(ran.err.contains("state      none is kept"), "{ran:#?}");
    assert!(!place.path(".dflow").exists() && !place.path("home").exists());
    place.run(&["run", "q.sql", "--state-dir", "s"]).expect(0);
    assert!(place.path("s/manifests").exists());
}

#[test]
fn state_lies_beside_the_script_wherever_one_stands() {
    let place = watching();
    std::fs::create_dir_all(place.path("elsewhere")).unwrap();
    let mut command = place.command(&["run", "../p.sql", "--until", "caught-up"]);
    command.current_dir(place.path("elsewhere"));
    crate::support::finish(&mut command).expect(0);
    assert!(place.path(".dflow/p/manifests").exists() && !place.path("elsewhere/.dflow").exists());
    assert_eq!(ids(&place), [r#"{"id":1}"#]);
}

/// Two `INSERT`s, from two tables into two.
const TWO: &str = "CREATE TABLE t (k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'json',
  'source.monitor-interval' = '50 ms');
CREATE TABLE u (id INT) WITH ('connector' = 'filesystem', 'path' = 'in2', 'format' = 'json',
  'source.monitor-interval' = '50 ms');
CREATE TABLE o (k STRING, total INT) WITH ('connector' = 'print');
CREATE TABLE b (id INT, n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'debezium-json');
INSERT INTO o SELECT k, SUM(v) AS total FROM t GROUP BY k;
INSERT INTO b SELECT id, COUNT(*) FROM u GROUP BY id;
";

fn two_inserts() -> Place {
    let place = Place::new();
    place.write("p.sql", TWO);
    place.write("in/1.json", "{\"k\":\"a\",\"v\":1}\n");
    place.write("in2/1.json", "{\"id\":7}\n");
    place
}

/// The script without its second `INSERT`.
fn one_insert() -> String {
    TWO.lines().filter(|l| !l.starts_with("INSERT INTO b")).fold(String::new(), |all, l| all + l + "\n")
}

#[test]
fn a_removed_insert_is_let_go_with_a_line_and_its_neighbour_goes_on() {
    let place = two_inserts();
    let run = || place.run(&["run", "p.sql", "-p", "1", "--until", "caught-up"]);
    assert_eq!(run().expect(0).out, "+I[a, 1]\n");
    place.write("p.sql", one_insert());
    let aside = place.write("aside/2.json", "{\"k\":\"a\",\"v\":2}\n");
    std::fs::rename(aside, place.path("in/2.json")).unwrap();
    let ran = run().expect(0);
    assert_eq!(ran.out, "-U[a, 1]\n+U[a, 3]\n", "the other has its state: {ran:#?}");
    let told: Vec<&str> = ran.err.lines().filter(|l| l.contains("is let go")).collect();
    assert_eq!(told.len(), 2, "{ran:#?}");
    assert!(told.iter().any(|l| l.starts_with("  state      the position of `source[u]` (p.sql:")), "{ran:#?}");
    assert!(told.iter().any(|l| l.starts_with("  state      the state of `aggregate[")), "{ran:#?}");
    assert!(!run().expect(0).err.contains("is let go"), "once");
}

#[test]
fn a_removed_insert_whose_output_may_not_be_committed_is_named() {
    let place = two_inserts();
    let running = place.start(&["run", "p.sql", "-p", "1", "--checkpoint-interval", "100ms"]);
    wait_until("a published file", || !place.lines_below("out").is_empty());
    running.signal("KILL");
    running.end().expect(-1);
    place.write("p.sql", one_insert());
    let run = || place.run(&["run", "p.sql", "-p", "1", "--until", "caught-up"]);
    let ran = run().expect_error(13, state::UNCLAIMED_STATE);
    assert!(ran.err.contains("no longer writes `sink[b]`") && ran.err.contains("put its INSERT back"), "{ran:#?}");
    // The way that was named.
    place.write("p.sql", TWO);
    run().expect(0);
    place.write("p.sql", one_insert());
    run().expect(0);
}

#[test]
fn a_table_that_reads_other_data_is_named_with_its_option() {
    let place = two_inserts();
    place.run(&["run", "p.sql", "-p", "1", "--until", "caught-up"]).expect(0);
    place.write("in3/1.json", "{\"k\":\"a\",\"v\":1}\n");
    place.write("p.sql", TWO.replace("'path' = 'in',", "'path' = 'in3',"));
    for more in [&["--until", "caught-up"][..], &["--dry-run"]] {
        let ran = place.run(&[&["run", "p.sql", "-p", "1"], more].concat()).expect_error(13, state::CHANGED_SOURCE);
        for text in
            ["table `t` reads other data: 'path' was 'in' and is 'in3'", "--> p.sql:1:", "was 'in'", "--restore none"]
        {
            assert!(ran.err.contains(text), "{text}: {ran:#?}");
        }
        assert!(
            ran.err.contains(" (p.sql:7:") && !ran.err.contains("bytes "),
            "places are lines and columns: {ran:#?}"
        );
    }
    // The neighbour keeps what it has.
    let set = "SET 'execution.state-recovery.ignore-unclaimed-state' = 'true';\n";
    place.write("p.sql", set.to_owned() + &TWO.replace("'path' = 'in',", "'path' = 'in3',"));
    let ran = place.run(&["run", "p.sql", "-p", "1", "--until", "caught-up"]).expect(0);
    assert_eq!((ran.out.as_str(), place.lines_below("out").len()), ("+I[a, 1]\n", 1), "{ran:#?}");
}

#[test]
fn a_table_whose_path_is_not_shown_reads_other_data_too() {
    let place = two_inserts();
    place.write("in3/1.json", "{\"k\":\"a\",\"v\":5}\n");
    place.write("where", "in");
    place.write("p.sql", TWO.replace("'path' = 'in',", "'path' = '${file:where}',"));
    let run = || place.run(&["run", "p.sql", "-p", "1", "--until", "caught-up"]);
    assert_eq!(run().expect(0).out, "+I[a, 1]\n");
    assert!(run().expect(0).err.contains("from checkpoint"), "the same value is the same data");
    place.write("where", "in3");
    let ran = run().expect_error(13, state::CHANGED_SOURCE);
    assert!(ran.err.contains("table `t` reads other data: 'path' was '*** ") && !ran.err.contains("in3"), "{ran:#?}");
}

#[test]
fn an_edited_query_and_a_new_insert_are_told() {
    let place = two_inserts();
    let run = |args: &[&str]| {
        let ran = place.run(&[&["run", "p.sql", "-p", "1", "--until", "caught-up"], args].concat()).expect(0);
        let told = |l: &str| l.contains("was edited") || l.contains("is new");
        ran.err.lines().filter(|l| told(l)).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(run(&[]), [""; 0], "a fresh start has nothing to tell");
    assert_eq!(run(&[]), [""; 0], "nor has the same script");
    place.write(
        "p.sql",
        TWO.replace("SUM(v) AS total FROM t GROUP BY k", "SUM(v) * 10 FROM t GROUP BY k HAVING SUM(v) > 0"),
    );
    let told = run(&[]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("  state      the query of `sink[o]` (p.sql:"), "{told:?}");
    assert_eq!(run(&[]), [""; 0], "once");
    place.write("p.sql", place.read("p.sql") + "INSERT INTO o SELECT 'all', SUM(v) FROM t;\n");
    let told = run(&[]);
    assert!(told.len() == 1 && told[0].contains("is new: it has nothing of what was read before"), "{told:?}");
}

#[test]
fn a_short_run_and_a_dry_run_say_what_they_start_from() {
    let place = watching();
    let start = |args: &[&str]| {
        let ran = place.run(&[&["run", "p.sql", "-p", "1"], args].concat()).expect(0);
        let lines: Vec<&str> = ran.err.lines().filter_map(|l| l.strip_prefix("  start      ")).collect();
        assert_eq!(lines.len(), 1, "{ran:#?}");
        lines[0].to_owned()
    };
    assert_eq!(start(&["--dry-run"]), "fresh: no earlier checkpoint is used");
    assert!(!place.path(".dflow").exists(), "a dry run leaves nothing behind");
    assert_eq!(start(&["--until", "caught-up"]), "fresh: no earlier checkpoint is used");
    assert_eq!(start(&["--dry-run"]), "from checkpoint 1");
    assert_eq!(start(&["--dry-run", "--restore", "none"]), "fresh: no earlier checkpoint is used");
    place.write(
        "q.sql",
        "CREATE TABLE t (a INT) WITH ('connector' = 'datagen', 'number-of-rows' = '1'); SELECT a FROM t;",
    );
    for _ in 0..20 {
        let ran = place.run(&["run", "q.sql"]).expect(0);
        assert!(ran.err.contains("  start      fresh"), "however short: {ran:#?}");
    }
}

#[test]
fn after_a_restored_checkpoint_numbers_go_on_from_the_highest() {
    let place = watching();
    let run =
        |args: &[&str]| place.run(&[&["run", "p.sql", "-p", "1", "--until", "caught-up"], args].concat()).expect(0);
    for number in 1..=3 {
        assert!(run(&[]).err.contains(&format!("checkpoint {number} is durable")));
        arrive(&place, number + 1);
    }
    let oldest = files(&place.path(".dflow/p/manifests"), ".json").remove(0);
    let ran = run(&["--restore", oldest.to_str().unwrap()]);
    assert!(ran.err.contains("checkpoint 1 of job `p` at ") && ran.err.contains("; the next one is 4"), "{ran:#?}");
    let last = "checkpoint 4 is durable; the same command without `--restore` goes on from it";
    assert!(ran.err.contains(last), "{ran:#?}");
    assert!(run(&[]).err.contains("; the same command goes on from it"));
}

#[test]
fn after_a_clean_stop_its_files_may_be_taken_away() {
    let place = watching();
    let run = || place.run(&["run", "p.sql", "-p", "1", "--until", "caught-up"]).expect(0);
    run();
    assert_eq!(ids(&place), [r#"{"id":1}"#]);
    std::fs::remove_dir_all(place.path("out")).unwrap();
    arrive(&place, 2);
    run();
    assert_eq!(ids(&place), [r#"{"id":2}"#], "nothing is written or looked for again");
}
