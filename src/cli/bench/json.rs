//! JSON lines in, half of them out again: ten fields, about 200 bytes a line.
//!
//! The input is written into a temporary directory first, outside what is measured: a pure function of the line's number,
//! in as many files as there are subtasks.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use dflow::common::env::{Env, Spawner};
use dflow::common::{Diagnostic, SourceMap};
use dflow::error::{BUG, OUTPUT_FAILED};

use super::super::args::SizeArgs;
use super::super::report::Report;
use super::{CHECKPOINT_INTERVAL, Case, Scratch, measure_all};

const SCRIPT: &str = include_str!("../../../benches/json.sql");
/// Bytes collected before they are written.
const BUFFER_BYTES: usize = 1 << 20;

/// Writes the input, measures; the exit code.
pub(crate) fn bench(size: &SizeArgs, report: &Report) -> u8 {
    let env = match Spawner::owned(1) {
        Ok(spawner) => Env::production(spawner),
        Err(e) => return report.fail(&Diagnostic::error(BUG, format!("cannot start threads: {e}")), &SourceMap::new()),
    };
    let events = size.events.unwrap_or(5_000_000);
    let scratch = Scratch::new(&env);
    let (input, output) = (scratch.path.join("in"), scratch.path.join("out"));
    report.status(&format!("writing {events} lines to {}", input.display()));
    if let Err(e) = write_input(&env, &input, events, size.parallelism as u64) {
        let error = Diagnostic::error(OUTPUT_FAILED, format!("cannot write {}: {e}", input.display()));
        return report.fail(&error, &SourceMap::new());
    }
    let case = Case {
        name: "json, half kept".into(),
        script: SCRIPT.into(),
        vars: vec![("in".to_owned(), input.display().to_string()), ("out".to_owned(), output.display().to_string())],
        events,
        checkpoints: CHECKPOINT_INTERVAL,
    };
    measure_all(&[case], size, report)
}

fn write_input(env: &Env, dir: &std::path::Path, events: u64, files: u64) -> io::Result<()> {
    env.fs.create_dir_all(dir)?;
    for file in 0..files {
        let mut out = env.fs.create(&dir.join(format!("part-{file}.json")))?;
        let mut lines = String::with_capacity(BUFFER_BYTES + 512);
        for i in events * file / files..events * (file + 1) / files {
            line(i, &mut lines);
            if lines.len() >= BUFFER_BYTES {
                out.write_all(lines.as_bytes())?;
                lines.clear();
            }
        }
        out.write_all(lines.as_bytes())?;
    }
    Ok(())
}

/// The i-th line. Every second one is active.
fn line(i: u64, out: &mut String) {
    const KINDS: [&str; 4] = ["purchase", "refund", "subscription", "voucher"];
    const COUNTRIES: [&str; 5] = ["DE", "FR", "NL", "IT", "ES"];
    // A multiplication by an odd constant scatters the values without repeating them.
    let h = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let (active, second) = (i.is_multiple_of(2), h % 60);
    // Writing into a string cannot fail.
    let _ = writeln!(
        out,
        "{{\"id\":{i},\"user_id\":{},\"kind\":\"{}\",\"country\":\"{}\",\"amount\":{}.{:02},\"quantity\":{},\
         \"price\":{}.5,\"active\":{active},\"created_at\":\"2026-01-{:02} 12:34:{second:02}.{:03}\",\
         \"note\":\"order {h} of the web shop\"}}",
        h % 1_000_000,
        KINDS[(h % 4) as usize],
        COUNTRIES[(h % 5) as usize],
        h % 10_000,
        h % 100,
        h % 50,
        h % 1_000,
        h % 28 + 1,
        h % 1_000,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_json_of_ten_fields_and_about_200_bytes_and_half_are_active() {
        let mut active = 0;
        for i in 0..100 {
            let mut text = String::new();
            line(i * 7_919, &mut text);
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value.as_object().unwrap().len(), 10, "{text}");
            assert!((160..240).contains(&text.len()), "{}: {text}", text.len());
            active += u32::from(value["active"] == true);
        }
        assert_eq!(active, 50);
    }
}
