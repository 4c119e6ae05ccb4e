//! The crash supervisor: runs the real binary and kills it at random moments.
#![allow(clippy::disallowed_methods)] // It stands outside the system under test.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use dflow_common::env::{Rng, SeededRng};

/// How one life of the process ended.
#[derive(Debug)]
pub enum End {
    /// We killed it with SIGKILL after this long.
    Killed(Duration),
    /// It ended by itself before.
    Exited(Output),
}

/// Starts `command` and kills it after a random time in `range`, unless it ends before. Output is captured.
///
/// # Errors
/// When the process cannot be started or waited for.
pub fn run_and_kill(command: &mut Command, rng: &SeededRng, range: std::ops::Range<Duration>) -> std::io::Result<End> {
    let span = (range.end - range.start).as_micros() as u64;
    let life = range.start + Duration::from_micros(rng.below(span));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if wait_at_most(&mut child, life)? {
        return child.wait_with_output().map(End::Exited);
    }
    child.kill()?;
    child.wait()?;
    Ok(End::Killed(life))
}

/// Runs `command` to its end; kills it after `limit`, which is a failure.
///
/// # Errors
/// When the process cannot be started, or is still running after `limit`.
pub fn run_to_end(command: &mut Command, limit: Duration) -> std::io::Result<Output> {
    let dir = tempfile::tempdir()?;
    let (out, err) = (dir.path().join("out"), dir.path().join("err"));
    // Files, not pipes: a full pipe would stop the process while nobody reads.
    let mut child = command
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&out)?)
        .stderr(std::fs::File::create(&err)?)
        .spawn()?;
    let ended = wait_at_most(&mut child, limit)?;
    if !ended {
        child.kill()?;
    }
    let status = child.wait()?;
    let output = Output { status, stdout: std::fs::read(out)?, stderr: std::fs::read(err)? };
    if ended {
        Ok(output)
    } else {
        let text = String::from_utf8_lossy(&output.stderr);
        Err(std::io::Error::other(format!("still running after {limit:?}; its stderr:\n{text}")))
    }
}

/// Sends a signal by number through `kill(1)`.
///
/// # Errors
/// When there is no `kill` or no such process.
pub fn signal(child: &Child, name: &str) -> std::io::Result<()> {
    Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status().map(drop)
}

fn wait_at_most(child: &mut Child, limit: Duration) -> std::io::Result<bool> {
    let start = Instant::now();
    loop {
        if child.try_wait()?.is_some() {
            return Ok(true);
        }
        if start.elapsed() >= limit {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(2).min(limit));
    }
}

/// All lines of all files below `dir` that `keep` accepts by name, sorted. Missing folders are empty.
///
/// # Errors
/// When a file cannot be read.
pub fn lines_below(dir: &Path, keep: &dyn Fn(&str) -> bool) -> std::io::Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.file_name().and_then(|n| n.to_str()).is_some_and(keep) {
                lines.extend(std::fs::read_to_string(&path)?.lines().map(str::to_owned));
            }
        }
    }
    lines.sort();
    Ok(lines)
}
