//! `dflow bench`: figures that can be compared, from the same code that runs scripts.
//!
//! A benchmark is a script (`benches/`) with variables, run as a job with checkpoints every 10 s into a temporary
//! directory. The figure is **rows read per CPU-second of the whole process**: user and system time of all threads,
//! generator, checkpoints and allocator included; wall-clock time is printed beside it.
//!
//! | | reads | does |
//! |---|---|---|
//! | `nexmark` | the deterministic Nexmark generator | the Nexmark queries, into a blackhole |
//! | `json` | JSON lines from files | keeps half, writes JSON lines |
//! | `groupby` | random numbers | `COUNT` and `SUM` by key |
//! | `checkpoint` | numbers | updates a part of a large state, with checkpoints and without |

mod json;
mod measure;
mod nexmark;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dflow::common::env::{Fs, Spawner};
use dflow::common::metrics::Metrics;
use dflow::common::units::format_size;
use dflow::common::{Classified, Diagnostic, Env, SourceMap};
use dflow::dsl::vars::Variables;
use dflow::error::{BENCH_FAILED, BUG};
use dflow::pipeline::{self, State};
use dflow::runtime::job::JobEnd;
use dflow::{Engine, SessionOptions};
use serde_json::json;

use super::args::{Bench, BenchArgs, CheckpointArgs, SizeArgs};
use super::progress::{plural, short_number, totals};
use super::report::Report;
use super::stdout;
use measure::Cost;

/// Time between checkpoints, the default of `dflow run`.
const CHECKPOINT_INTERVAL: Option<Duration> = Some(Duration::from_secs(10));

/// Less CPU time than this is mostly rounding: it is counted in hundredths of a second.
const CPU_TIME_MIN: Duration = Duration::from_millis(100);

/// A script to measure.
pub(crate) struct Case {
    /// What the line of figures is called.
    pub(crate) name: String,
    /// The script.
    pub(crate) script: String,
    /// Its variables.
    pub(crate) vars: Vec<(String, String)>,
    /// Rows its sources must have read in the end.
    pub(crate) events: u64,
    /// Time between checkpoints; `None` takes only the one at the end.
    pub(crate) checkpoints: Option<Duration>,
}

/// What it cost.
pub(crate) struct Figures {
    name: String,
    events: u64,
    checkpoints: u64,
    cost: Cost,
}

impl Figures {
    /// Nothing for a run too short for the clock that counts CPU time.
    fn per_cpu_second(&self) -> Option<f64> {
        (self.cost.cpu >= CPU_TIME_MIN).then(|| self.events as f64 / self.cost.cpu.as_secs_f64())
    }
}

/// Runs what was asked for; the exit code.
pub(crate) fn bench(args: &BenchArgs, report: &Report) -> u8 {
    match &args.what {
        Bench::Nexmark(args) => match nexmark::cases(args) {
            Ok(cases) => measure_all(&cases, &args.size, report),
            Err(e) => report.fail(&e, &SourceMap::new()),
        },
        Bench::Groupby(args) => {
            let events = args.size.events.unwrap_or(50_000_000);
            let vars = vec![
                ("events".to_owned(), events.to_string()),
                ("last_key".to_owned(), args.keys.saturating_sub(1).to_string()),
            ];
            let script = include_str!("../../../benches/groupby.sql").to_owned();
            let name = format!("group by {} keys", args.keys);
            let case = Case { name, script, vars, events, checkpoints: CHECKPOINT_INTERVAL };
            measure_all(&[case], &args.size, report)
        }
        Bench::Checkpoint(args) => measure_all(&checkpoint_cases(args), &args.size, report),
        Bench::Json(size) => json::bench(size, report),
    }
}

/// The same job with checkpoints and without: the difference is what they cost.
fn checkpoint_cases(args: &CheckpointArgs) -> Vec<Case> {
    let events = args.size.events.unwrap_or(200_000_000);
    let updates = events.saturating_sub(args.keys).max(1);
    let vars = [("keys", args.keys), ("updates", updates), ("last_hot_key", args.hot - 1)];
    [("a checkpoint every 10 s", CHECKPOINT_INTERVAL), ("one at the end", None)]
        .map(|(name, checkpoints)| Case {
            name: name.to_owned(),
            script: include_str!("../../../benches/checkpoint.sql").to_owned(),
            vars: vars.map(|(name, value)| (name.to_owned(), value.to_string())).to_vec(),
            events: args.keys + updates,
            checkpoints,
        })
        .into()
}

/// Measures all cases, one after the other, and prints the figures.
pub(crate) fn measure_all(cases: &[Case], size: &SizeArgs, report: &Report) -> u8 {
    let env = match Spawner::owned(size.parallelism) {
        Ok(spawner) => Env::production(spawner),
        Err(e) => return report.fail(&Diagnostic::error(BUG, format!("cannot start threads: {e}")), &SourceMap::new()),
    };
    if !size.json {
        let code = stdout::print(&header(), report);
        if code != 0 {
            return code;
        }
    }
    for case in cases {
        let mut sources = SourceMap::new();
        let figures = match measure_one(case, size.parallelism, &env, &mut sources) {
            Ok(figures) => figures,
            Err(errors) => return report.all(&errors, &sources),
        };
        let code =
            stdout::print(&if size.json { as_json(&figures, size.parallelism) } else { as_line(&figures) }, report);
        if code != 0 {
            return code;
        }
    }
    0
}

fn measure_one(
    case: &Case,
    parallelism: usize,
    env: &Env,
    sources: &mut SourceMap,
) -> Result<Figures, Vec<Diagnostic>> {
    let mut engine = Engine::new(dflow::registry(), env.clone(), Metrics::new());
    nexmark::register_functions(&mut engine);
    let mut options = SessionOptions::new("bench", ".");
    options.parallelism = parallelism;
    let no_file = |_: &str| Err("benchmarks read no files".to_owned());
    options.variables = Arc::new(Variables::new(case.vars.iter().cloned().collect(), |_| None, no_file));
    let mut session = engine.session(options);
    let scratch = Scratch::new(env);
    let script = pipeline::compile(&mut session, &case.name, &case.script, sources)?;
    let mut job = script.streams().next().ok_or_else(|| vec![failed(&case.name, "has no INSERT")])?;
    job.config.checkpoint.interval = case.checkpoints;
    let began = measure::begin(env);
    let outcome = env.spawner.block_on(async {
        let started = pipeline::start(&engine, job, State::Directory(scratch.path.clone()))?;
        Ok(started.handle.wait().await)
    });
    let cost = measure::end(env, began);
    let outcome = outcome.map_err(|e: dflow::runtime::Error| vec![e.diagnostic()])?;
    if let JobEnd::Failed(e) = &outcome.end {
        return Err(vec![e.diagnostic()]);
    }
    let (read, _) = totals(&outcome.status);
    verify(&case.name, case.events, read).map_err(|e| vec![*e])?;
    Ok(Figures { name: case.name.clone(), events: read, checkpoints: outcome.status.checkpoints_completed, cost })
}

/// Figures of a run that read something else are worth nothing.
fn verify(name: &str, expected: u64, read: u64) -> Result<(), Box<Diagnostic>> {
    if read == expected {
        return Ok(());
    }
    Err(Box::new(failed(
        name,
        &format!("read {}, not {expected}: its figures are worth nothing", plural(read, "event")),
    )))
}

fn failed(name: &str, what: &str) -> Diagnostic {
    Diagnostic::error(BENCH_FAILED, format!("{name} {what}"))
        .with_help("this is a bug in dflow; please report it with the command")
}

fn header() -> String {
    format!(
        "{:<24} {:>12} {:>8} {:>8} {:>14} {:>10} {:>12}\n",
        "", "events", "wall s", "CPU s", "events/CPU-s", "peak RSS", "checkpoints"
    )
}

fn as_line(f: &Figures) -> String {
    format!(
        "{:<24} {:>12} {:>8.2} {:>8.2} {:>14} {:>10} {:>12}\n",
        f.name,
        f.events,
        f.cost.wall.as_secs_f64(),
        f.cost.cpu.as_secs_f64(),
        f.per_cpu_second().map_or("too short".to_owned(), short_number),
        format_size(f.cost.peak_rss),
        f.checkpoints
    )
}

fn as_json(f: &Figures, parallelism: usize) -> String {
    let figures = json!({
        "name": f.name,
        "events": f.events,
        "parallelism": parallelism,
        "wall_seconds": f.cost.wall.as_secs_f64(),
        "cpu_seconds": f.cost.cpu.as_secs_f64(),
        "events_per_cpu_second": f.per_cpu_second(),
        "peak_rss_bytes": f.cost.peak_rss,
        "checkpoints": f.checkpoints,
        "dflow": env!("CARGO_PKG_VERSION"),
        "debug": cfg!(debug_assertions),
    });
    format!("{figures}\n")
}

/// A temporary directory of our own, removed on drop.
pub(crate) struct Scratch {
    pub(crate) path: PathBuf,
    fs: Arc<dyn Fs>,
}

impl Scratch {
    /// A name that is not taken; the directory is made by who writes into it.
    pub(crate) fn new(env: &Env) -> Self {
        let name = format!("dflow-bench-{}-{:08x}", std::process::id(), env.rng.next_u64() as u32);
        Self { path: std::env::temp_dir().join(name), fs: env.fs.clone() }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove_tree(self.fs.as_ref(), &self.path);
    }
}

/// Removes what can be removed; temporary files that stay are a nuisance, not an error.
fn remove_tree(fs: &dyn Fs, dir: &Path) {
    for entry in fs.read_dir(dir).unwrap_or_default() {
        if entry.meta.is_dir {
            remove_tree(fs, &entry.path);
        } else {
            let _ = fs.remove_file(&entry.path);
        }
    }
    let _ = fs.remove_dir(dir);
}

#[cfg(test)]
mod tests {
    use dflow::render;

    use super::*;

    #[test]
    fn figures_of_a_run_that_lost_events_are_refused() {
        assert!(verify("q1", 10, 10).is_ok());
        let error = verify("q1", 10, 9).unwrap_err();
        assert_eq!(error.code, BENCH_FAILED.code);
        assert!(render::text(&error, &SourceMap::new(), false).contains("q1 read 9 events, not 10"));
    }

    #[test]
    fn events_are_counted_per_cpu_second() {
        let cost = Cost { wall: Duration::from_secs(9), cpu: Duration::from_secs(2), peak_rss: 5 << 20 };
        let f = Figures { name: "q0".into(), events: 6_000_000, checkpoints: 1, cost };
        assert!(as_line(&f).contains("3.0 M"), "{}", as_line(&f));
        let v: serde_json::Value = serde_json::from_str(&as_json(&f, 2)).unwrap();
        assert_eq!((v["events_per_cpu_second"].as_f64(), v["parallelism"].as_u64()), (Some(3e6), Some(2)));
        let short = Figures { cost: Cost { cpu: Duration::from_millis(10), ..f.cost }, ..f };
        assert!(as_line(&short).contains(" too short "), "{}", as_line(&short));
        let v: serde_json::Value = serde_json::from_str(&as_json(&short, 2)).unwrap();
        assert!(v["events_per_cpu_second"].is_null(), "{v}");
    }
}
