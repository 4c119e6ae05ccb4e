//! What can be typed: commands, flags, their help.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use dflow::common::units::parse_duration;

/// `dflow [flags] <command> …`
#[derive(Debug, Parser)]
#[command(
    name = "dflow",
    version,
    about = "Runs streaming pipelines written in Flink SQL",
    after_help = "Rows go to standard output, everything else to standard error.\n\
                  `dflow help exit-codes` and `dflow help DFnnnn` explain codes.",
    disable_help_subcommand = true,
    infer_subcommands = false
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Flags of every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// When to use colours (also: NO_COLOR, CLICOLOR_FORCE)
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    pub(crate) color: ColorChoice,
    /// Say less: errors and warnings only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say more; twice for debugging
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// How diagnostics and logs are written to standard error
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How standard error is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object per line
    Json,
}

/// How rows and tables are written to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Columns in line
    Table,
    /// One JSON object per change, with its kind as `op`
    Jsonl,
    /// Comma-separated, with a header and the kind as first column when the result changes
    Csv,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a script until it is finished or stopped
    Run(Box<RunArgs>),
    /// Read, bind and plan scripts; report every problem
    Check(CheckArgs),
    /// Show how a script would run
    Explain(ExplainArgs),
    /// List the connectors and formats of this build, or describe one
    Connectors(ConnectorsArgs),
    /// Measure dflow on this machine
    Bench(BenchArgs),
    /// Print the version
    Version,
    /// Explain an error code (DF2302), the exit codes, or dflow itself
    Help(HelpArgs),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// A script and its variables.
#[derive(Clone, Debug, Args)]
pub(crate) struct ScriptArgs {
    /// The script; `-` reads standard input
    pub(crate) script: PathBuf,
    #[command(flatten)]
    pub(crate) vars: VarArgs,
}

/// Values for `${var:…}` and `${env:…}`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct VarArgs {
    /// A value for `${var:NAME}`
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub(crate) var: Vec<(String, String)>,
    /// A file of NAME=VALUE lines for `${env:NAME}`; goes before the environment
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
}

/// `dflow run`
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) script: ScriptArgs,
    /// Job name [default: SET 'pipeline.name', else the script's file name]
    #[arg(short, long)]
    pub(crate) name: Option<String>,
    /// Subtasks per operator, or `auto` [default: SET 'parallelism.default', else the number of cores]
    #[arg(short, long, value_parser = parse_parallelism, value_name = "N|auto")]
    pub(crate) parallelism: Option<Parallelism>,
    /// How the rows of a final SELECT are printed [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Output>,
    /// Where state is kept [default: .dflow/JOB beside the script]
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Time between checkpoints [default: 10s]
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    pub(crate) checkpoint_interval: Option<Duration>,
    /// How to start: auto (from the newest checkpoint if there is one), require, none (fresh; old state is kept
    /// aside), or the path of a checkpoint
    #[arg(long, value_name = "auto|require|none|PATH", default_value = "auto")]
    pub(crate) restore: String,
    /// When to stop, with a final checkpoint: caught-up (all input there is now was read), end (input ended),
    /// rows=N (the sinks took N rows), idle=DURATION (no row for so long)
    #[arg(long, value_parser = parse_until, value_name = "CONDITION")]
    pub(crate) until: Option<Until>,
    /// How long the final checkpoint of a stop may take
    #[arg(long, value_parser = parse_duration, value_name = "DURATION", default_value = "25s")]
    pub(crate) stop_timeout: Duration,
    /// Everything up to, but not including, the first read or write
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `-p`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parallelism {
    /// As many as cores.
    Auto,
    /// So many.
    Fixed(usize),
}

/// `--until`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// All input that is there was read.
    CaughtUp,
    /// The input ended by itself.
    End,
    /// The sinks took so many rows.
    Rows(u64),
    /// No row moved for so long.
    Idle(Duration),
}

/// `dflow check`
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Scripts
    #[arg(required = true)]
    pub(crate) scripts: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) vars: VarArgs,
    /// Also ask the systems that the scripts read and write whether they are ready
    #[arg(long)]
    pub(crate) connect: bool,
    /// Fail (exit 31) when there are any
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) deny: Option<Deny>,
    /// How the verdict is printed: text, or jsonl with one object per diagnostic
    #[arg(short, long, value_enum, default_value_t = CheckOutput::Text)]
    pub(crate) output: CheckOutput,
}

/// What `check` refuses besides errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Deny {
    /// Warnings
    Warnings,
}

/// How `check` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckOutput {
    /// For people
    Text,
    /// One JSON object per diagnostic
    Jsonl,
}

/// `dflow explain`
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) script: ScriptArgs,
    /// Subtasks per operator, or `auto`
    #[arg(short, long, value_parser = parse_parallelism, value_name = "N|auto")]
    pub(crate) parallelism: Option<Parallelism>,
}

/// `dflow connectors`
#[derive(Debug, Args)]
pub(crate) struct ConnectorsArgs {
    /// A connector, or a format
    pub(crate) name: Option<String>,
    /// Write the generated pages below this folder
    #[arg(long, value_name = "DIR", conflicts_with = "name", hide = true)]
    pub(crate) write_docs: Option<PathBuf>,
}

/// `dflow help`
#[derive(Debug, Args)]
pub(crate) struct HelpArgs {
    /// DFnnnn, `exit-codes`, or a command
    pub(crate) topic: Option<String>,
}

/// `dflow bench`
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) what: Bench,
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Nexmark queries over an in-process generator, into a blackhole
    Nexmark(NexmarkArgs),
    /// JSON lines -> filter that keeps half -> JSON lines
    Json(SizeArgs),
    /// GROUP BY over an in-process source
    Groupby(GroupbyArgs),
    /// A large state of which a part changes, with checkpoints and without
    Checkpoint(CheckpointArgs),
}

/// How much, and how the figures are printed.
#[derive(Clone, Debug, Args)]
pub(crate) struct SizeArgs {
    /// Rows to read [default: enough for some seconds]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) events: Option<u64>,
    /// Subtasks per operator
    #[arg(short, long, default_value_t = 1, value_name = "P", value_parser = parse_count)]
    pub(crate) parallelism: usize,
    /// Print one JSON object per query instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// `dflow bench nexmark`
#[derive(Debug, Args)]
pub(crate) struct NexmarkArgs {
    /// Which queries
    #[arg(long, value_delimiter = ',', value_name = "q0,q1,…")]
    pub(crate) queries: Vec<String>,
    #[command(flatten)]
    pub(crate) size: SizeArgs,
    /// Measure the generator alone: every column is built, nothing is computed
    #[arg(long, conflicts_with = "queries")]
    pub(crate) generator_only: bool,
}

/// `dflow bench groupby`
#[derive(Debug, Args)]
pub(crate) struct GroupbyArgs {
    /// Distinct keys
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) keys: u64,
    #[command(flatten)]
    pub(crate) size: SizeArgs,
}

/// `dflow bench checkpoint`
#[derive(Debug, Args)]
pub(crate) struct CheckpointArgs {
    /// Keys in the state, about 100 bytes each
    #[arg(long, default_value_t = 10_000_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) keys: u64,
    /// Keys that change between two checkpoints
    #[arg(long, default_value_t = 500_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) hot: u64,
    #[command(flatten)]
    pub(crate) size: SizeArgs,
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".into()),
    }
}

fn parse_parallelism(text: &str) -> Result<Parallelism, String> {
    match text {
        "auto" => Ok(Parallelism::Auto),
        _ => parse_count(text).map(Parallelism::Fixed).map_err(|e| format!("{e}, or auto")),
    }
}

fn parse_count(text: &str) -> Result<usize, String> {
    use dflow::common::limits::PARALLELISM_MAX;
    match text.parse() {
        Ok(n) if (1..=PARALLELISM_MAX).contains(&n) => Ok(n),
        _ => Err(format!("write a number from 1 to {PARALLELISM_MAX}")),
    }
}

fn parse_until(text: &str) -> Result<Until, String> {
    let bad = || "write caught-up, end, rows=N or idle=DURATION".to_owned();
    match text.split_once('=') {
        None if text == "caught-up" => Ok(Until::CaughtUp),
        None if text == "end" => Ok(Until::End),
        Some(("rows", n)) => match n.parse() {
            Ok(n) if n > 0 => Ok(Until::Rows(n)),
            _ => Err(bad()),
        },
        Some(("idle", d)) => parse_duration(d).map(Until::Idle),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_declaration_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn until_reads_its_four_forms() {
        assert_eq!(parse_until("caught-up"), Ok(Until::CaughtUp));
        assert_eq!(parse_until("end"), Ok(Until::End));
        assert_eq!(parse_until("rows=3"), Ok(Until::Rows(3)));
        assert_eq!(parse_until("idle=2s"), Ok(Until::Idle(Duration::from_secs(2))));
        for text in ["rows=0", "rows=", "never", "idle=soon", "end=1"] {
            assert!(parse_until(text).is_err(), "{text}");
        }
    }

    #[test]
    fn parallelism_is_bounded() {
        let max = dflow::common::limits::PARALLELISM_MAX;
        assert_eq!(parse_parallelism("auto"), Ok(Parallelism::Auto));
        assert_eq!(parse_parallelism(&max.to_string()), Ok(Parallelism::Fixed(max)));
        assert!(parse_parallelism(&(max + 1).to_string()).is_err());
        assert!(parse_parallelism("0").is_err());
    }

    #[test]
    fn a_variable_needs_a_name() {
        assert_eq!(parse_pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(parse_pair("=x").is_err() && parse_pair("x").is_err());
    }
}
