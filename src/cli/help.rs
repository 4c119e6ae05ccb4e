//! `dflow help`, `dflow version`, `dflow completions`.

use clap::CommandFactory;
use dflow::common::{Diagnostic, SourceMap, suggest};
use dflow::error::USAGE;
use dflow::pages;

use super::args::{Cli, HelpArgs};
use super::report::Report;
use super::stdout;

/// Prints a page, the help of a command, or the help of dflow.
pub(crate) fn help(args: &HelpArgs, report: &Report) -> u8 {
    let mut command = Cli::command();
    command.build();
    let Some(topic) = args.topic.as_deref() else {
        return stdout::print(&command.render_long_help().to_string(), report);
    };
    if topic == "exit-codes" {
        return stdout::print(pages::EXIT_CODES, report);
    }
    if let Some(page) = pages::parse_code(topic).and_then(pages::page) {
        return stdout::print(page, report);
    }
    if let Some(sub) = command.find_subcommand_mut(topic) {
        return stdout::print(&sub.render_long_help().to_string(), report);
    }
    let names: Vec<String> = pages::codes()
        .map(|c| c.to_string())
        .chain(command.get_subcommands().map(|s| s.get_name().to_owned()))
        .chain(["exit-codes".to_owned()])
        .collect();
    let mut error = Diagnostic::error(USAGE, format!("there is no help about `{topic}`"));
    if let Some(near) = suggest::nearest(topic, names.iter().map(String::as_str)) {
        error = error.with_help(format!("did you mean `{near}`?"));
    }
    report.fail(&error.with_help("`dflow help` lists the commands, docs/errors the codes"), &SourceMap::new())
}

/// Prints the version: name, number, what is in it.
pub(crate) fn version(report: &Report) -> u8 {
    let registry = dflow::registry();
    let connectors: Vec<_> = registry.connectors().map(|c| c.name).collect();
    let formats: Vec<_> = registry.formats().keys().copied().collect();
    let text = format!(
        "dflow {}\nconnectors: {}\nformats: {}\n",
        env!("CARGO_PKG_VERSION"),
        connectors.join(", "),
        formats.join(", ")
    );
    stdout::print(&text, report)
}

/// Prints a completion script.
pub(crate) fn completions(shell: clap_complete::Shell, report: &Report) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "dflow", &mut script);
    stdout::print(&String::from_utf8_lossy(&script), report)
}
