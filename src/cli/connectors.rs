//! `dflow connectors`: what this build can read and write, from the declarations.

use std::io::Write;
use std::path::Path;

use comfy_table::{ContentArrangement, Table, presets};
use dflow::common::env::{Fs, RealFs};
use dflow::common::{Diagnostic, SourceMap, suggest};
use dflow::connector::{ConnectorRegistry, OptionSpec, OptionType, options::describe};
use dflow::error::{OUTPUT_FAILED, USAGE};
use dflow::reference;

use super::args::ConnectorsArgs;
use super::report::Report;
use super::stdout;

/// Prints the list, or one connector or format.
pub(crate) fn connectors(args: &ConnectorsArgs, report: &Report) -> u8 {
    let registry = dflow::registry();
    if let Some(folder) = &args.write_docs {
        return write_docs(&registry, folder, report);
    }
    match &args.name {
        None => stdout::print(&list(&registry), report),
        Some(name) => match one(&registry, name) {
            Some(text) => stdout::print(&text, report),
            None => report.fail(&unknown(&registry, name), &SourceMap::new()),
        },
    }
}

fn list(registry: &ConnectorRegistry) -> String {
    let mut connectors = table(&["CONNECTOR", "USED AS", ""]);
    for c in registry.connectors() {
        connectors.add_row([c.name.to_owned(), reference::roles(c.roles), c.summary.to_owned()]);
    }
    let mut formats = table(&["FORMAT", "DOES", ""]);
    for f in registry.formats().values().map(|f| f.spec()) {
        let does = [(f.decodes, "reads"), (f.encodes, "writes"), (f.changelog, "changelog")];
        let does: Vec<_> = does.iter().filter(|(has, _)| *has).map(|(_, word)| *word).collect();
        formats.add_row([f.name.to_owned(), does.join(", "), f.summary.to_owned()]);
    }
    format!("{}\n\n{}\n\n`dflow connectors NAME` lists the options of one.\n", trimmed(&connectors), trimmed(&formats))
}

/// A connector and, when a format has the same name, that too.
fn one(registry: &ConnectorRegistry, name: &str) -> Option<String> {
    let mut text = String::new();
    if let Some(c) = registry.connectors().find(|c| c.name == name) {
        text += &format!("connector '{}': {}\nused as: {}\n", c.name, c.summary, reference::roles(c.roles));
        for promise in c.guarantees {
            text += &format!("  * {promise}\n");
        }
        text += &options(c.options, "");
        if c.takes_format {
            text += "\nand 'format' with the options of the format\n";
        }
    }
    if let Some(f) = registry.formats().get(name).map(|f| f.spec()) {
        if !text.is_empty() {
            text.push('\n');
        }
        text += &format!("format '{}': {}\n", f.name, f.summary);
        text += &options(f.options, &format!("{name}."));
    }
    (!text.is_empty()).then_some(text)
}

fn options(specs: &[OptionSpec], prefix: &str) -> String {
    let mut options = table(&["OPTION", "VALUE", "DEFAULT", ""]);
    for o in specs {
        let default = if o.required { "required" } else { o.default.unwrap_or("") };
        let value = match o.ty {
            OptionType::Enum(values) => values.join("|"),
            other => describe(other),
        };
        let secret = if o.secret { " (secret)" } else { "" };
        options.add_row([format!("{prefix}{}", o.key), value, default.to_owned(), format!("{}{secret}", o.doc)]);
    }
    if specs.is_empty() { "no options\n".into() } else { format!("\n{}\n", trimmed(&options)) }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
    table
}

/// Without the blanks that pad the last column and the first.
fn trimmed(table: &Table) -> String {
    table.lines().map(|l| l.strip_prefix(' ').unwrap_or(&l).trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn unknown(registry: &ConnectorRegistry, name: &str) -> Diagnostic {
    let names: Vec<_> = registry.connectors().map(|c| c.name).chain(registry.formats().keys().copied()).collect();
    let error = Diagnostic::error(USAGE, format!("this build has no connector or format `{name}`"));
    match suggest::nearest(name, names.iter().copied()) {
        Some(near) => error.with_help(format!("did you mean `{near}`?")),
        None => error.with_help(format!("it has: {}", names.join(", "))),
    }
}

fn write_docs(registry: &ConnectorRegistry, folder: &Path, report: &Report) -> u8 {
    for (path, text) in reference::pages(registry) {
        let path = folder.join(path);
        let write = || -> std::io::Result<()> {
            RealFs.create_dir_all(path.parent().unwrap_or(folder))?;
            RealFs.create(&path)?.write_all(text.as_bytes())
        };
        if let Err(e) = write() {
            let error = Diagnostic::error(OUTPUT_FAILED, format!("cannot write {}: {e}", path.display()));
            return report.fail(&error, &SourceMap::new());
        }
        report.status(&format!("wrote {}", path.display()));
    }
    0
}
