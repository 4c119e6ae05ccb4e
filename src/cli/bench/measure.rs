//! What a run cost: CPU time of the whole process, peak memory.
//!
//! All from `/proc/self`, which knows of every thread, allocator and page. On a system without it the figures are 0.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use dflow::common::Env;

/// Clock ticks a second in `/proc/self/stat`; 100 on every Linux.
const TICKS_PER_SECOND: u64 = 100;

/// A moment of the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    wall: Duration,
    cpu: Duration,
}

/// What a stretch of the process cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cost {
    /// Seconds on the wall.
    pub(crate) wall: Duration,
    /// User and system time of all threads.
    pub(crate) cpu: Duration,
    /// Largest resident size, bytes.
    pub(crate) peak_rss: u64,
}

/// Starts measuring; the peak of memory starts over.
pub(crate) fn begin(env: &Env) -> Moment {
    // Writing 5 resets the high-water mark; where that is not allowed, the peak is that of the process so far.
    if let Ok(mut file) = env.fs.create(Path::new("/proc/self/clear_refs")) {
        let _ = file.write_all(b"5");
    }
    now(env)
}

/// What it cost since `begin`.
pub(crate) fn end(env: &Env, began: Moment) -> Cost {
    let now = now(env);
    let status = read(env, "/proc/self/status");
    Cost {
        wall: now.wall.saturating_sub(began.wall),
        cpu: now.cpu.saturating_sub(began.cpu),
        peak_rss: peak_rss(&status),
    }
}

fn now(env: &Env) -> Moment {
    Moment { wall: env.clock.monotonic(), cpu: cpu_time(&read(env, "/proc/self/stat")) }
}

fn read(env: &Env, path: &str) -> String {
    env.fs.read(Path::new(path)).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
}

/// Fields 14 and 15 of `stat`; the second field, a name in parentheses, may hold blanks.
fn cpu_time(stat: &str) -> Duration {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND)
}

/// `VmHWM:   123 kB`
fn peak_rss(status: &str) -> u64 {
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_user_and_system_also_with_blanks_in_the_name() {
        let stat = "7 (a ) b) R 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 100 1000 10";
        assert_eq!(cpu_time(stat), Duration::from_secs(3));
        assert_eq!(cpu_time(""), Duration::ZERO);
    }

    #[test]
    fn the_peak_is_read_in_kilobytes() {
        assert_eq!(peak_rss("Name:\tx\nVmHWM:\t   2048 kB\nVmRSS: 1 kB\n"), 2 << 20);
        assert_eq!(peak_rss(""), 0);
    }
}
