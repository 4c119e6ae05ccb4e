//! Reference pages written from declarations: connectors, formats, error codes, metrics, settings.
//!
//! What a connector declares ([`ConnectorSpec`]) is the only source for its page under `docs/connectors/`, for
//! `dflow connectors NAME` and for the check of its options, so that none of them can drift from another. The same goes
//! for the index of the error codes and for the metrics. `dflow connectors --write-docs docs` writes the pages; a test
//! compares them with what is committed.

use std::fmt::Write as _;

use dflow_common::metrics::{self, MetricKind};
use dflow_common::{Class, CodeInfo};
use dflow_connector_api::options::describe;
use dflow_connector_api::{ConnectorRegistry, ConnectorSpec, FormatSpec, OptionSpec, OptionType, Roles};
use dflow_engine::settings::{Effect, KEYS};

/// Every generated page: its path below `docs/` and its text.
pub fn pages(registry: &ConnectorRegistry) -> Vec<(String, String)> {
    let mut pages = vec![
        ("connectors/README.md".to_owned(), connectors_index(registry)),
        ("errors/README.md".to_owned(), errors_index(&crate::codes())),
        ("metrics.md".to_owned(), metrics_page()),
        ("settings.md".to_owned(), settings_page()),
    ];
    pages.extend(registry.connectors().map(|c| (format!("connectors/{}.md", c.name), connector_page(c))));
    pages.extend(
        registry.formats().values().map(|f| (format!("connectors/format-{}.md", f.spec().name), format_page(f.spec()))),
    );
    pages
}

/// The page of a connector, in Markdown.
pub fn connector_page(spec: &ConnectorSpec) -> String {
    let mut page = format!("# Connector `{}`\n\n{}\n\nUsed as: {}.", spec.name, spec.summary, roles(spec.roles));
    if spec.takes_format {
        page.push_str(" Takes a `format`.");
    }
    page.push_str("\n\n## What it promises\n\n");
    for promise in spec.guarantees {
        let _ = writeln!(page, "* {promise}");
    }
    options_section(&mut page, spec.options, "");
    page
}

/// The page of a format, in Markdown.
pub fn format_page(spec: &FormatSpec) -> String {
    let ways = match (spec.decodes, spec.encodes) {
        (true, true) => "reads and writes",
        (true, false) => "only reads",
        (false, true) => "only writes",
        (false, false) => "neither reads nor writes",
    };
    let kinds = if spec.changelog { "a changelog: its records carry row kinds" } else { "rows without row kinds" };
    let mut page = format!("# Format `{}`\n\n{}\n\nIt {ways} {kinds}.\n", spec.name, spec.summary);
    options_section(&mut page, spec.options, &format!("{}.", spec.name));
    page
}

fn connectors_index(registry: &ConnectorRegistry) -> String {
    let mut page = String::from(
        "# Connectors and formats\n\nWritten by `dflow connectors --write-docs docs` from what each connector declares.\n\n\
         | connector | used as | what it is |\n|---|---|---|\n",
    );
    for c in registry.connectors() {
        let _ = writeln!(page, "| [`{0}`]({0}.md) | {1} | {2} |", c.name, roles(c.roles), cell(c.summary));
    }
    page.push_str("\n| format | reads | writes | changelog | what it is |\n|---|---|---|---|---|\n");
    let yes = |b: bool| if b { "yes" } else { "no" };
    for f in registry.formats().values() {
        let s = f.spec();
        let _ = writeln!(
            page,
            "| [`{0}`](format-{0}.md) | {1} | {2} | {3} | {4} |",
            s.name,
            yes(s.decodes),
            yes(s.encodes),
            yes(s.changelog),
            cell(s.summary)
        );
    }
    page
}

fn options_section(page: &mut String, options: &[OptionSpec], prefix: &str) {
    page.push_str("\n## Options\n\n");
    if options.is_empty() {
        page.push_str("None.\n");
        return;
    }
    page.push_str("| option | value | default | meaning |\n|---|---|---|---|\n");
    for o in options {
        let mut meaning = cell(o.doc);
        if !o.aliases.is_empty() {
            let names: Vec<_> = o.aliases.iter().map(|a| format!("`{prefix}{a}`")).collect();
            let _ = write!(meaning, " Also written {}.", names.join(", "));
        }
        if o.without_effect {
            meaning.push_str(" Without effect here: DF2308.");
        }
        if o.secret {
            meaning.push_str(" Secret: never shown.");
        }
        if o.identity {
            meaning.push_str(" Part of the identity of the data: after a change, old state does not fit.");
        }
        let default = match (o.default, o.required) {
            (_, true) => "required".to_owned(),
            (Some(value), _) => format!("`{}`", cell(value)),
            (None, _) => "none".to_owned(),
        };
        let _ = writeln!(page, "| `{prefix}{}` | {} | {default} | {meaning} |", o.key, cell(&value_type(o.ty)));
    }
}

fn value_type(ty: OptionType) -> String {
    match ty {
        OptionType::Enum(values) => values.iter().map(|v| format!("`{v}`")).collect::<Vec<_>>().join(", "),
        other => describe(other),
    }
}

fn errors_index(codes: &[CodeInfo]) -> String {
    let mut page = String::from(
        "# Error codes\n\nA code never changes its meaning. `dflow help DF2302` prints its page. What exit codes mean: \
         [exit-codes.md](../exit-codes.md).\n\n| code | what | exit |\n|---|---|---|\n",
    );
    let mut codes = codes.to_vec();
    codes.sort_by_key(|c| c.code);
    for c in codes {
        let _ = writeln!(
            page,
            "| [{0}]({0}.md) | {1} | {2} {3} |",
            c.code,
            cell(c.title),
            c.class.exit_code(),
            c.class.name()
        );
    }
    page
}

fn metrics_page() -> String {
    let mut page = String::from(
        "# Metrics\n\nNames and labels follow Prometheus' conventions: base units, counters end in `_total`. All are counted \
         from the start of a job; the end-of-run summary is made from them.\n\n| metric | kind | labels | what it measures \
         |\n|---|---|---|---|\n",
    );
    for m in metrics::ALL {
        let kind = match m.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
        };
        let _ = writeln!(page, "| `{}` | {kind} | {} | {} |", m.name, m.labels.join(", "), cell(m.help));
    }
    page
}

fn settings_page() -> String {
    let mut page = String::from(
        "# Settings\n\n`SET 'key' = 'value';` in a script. A flag of the command line wins. Keys of Flink that are not \
         listed here are known and have no effect; one warning names them (DF1802). A key that neither knows is refused \
         with the nearest name (DF1800).\n\n| key | value | default | meaning |\n|---|---|---|---|\n",
    );
    for key in KEYS {
        let only = match key.effect {
            Effect::Honoured => String::new(),
            Effect::Only(values) => {
                let values: Vec<_> = values.iter().map(|v| format!("`{v}`")).collect();
                format!(" Only {} for now.", values.join(" or "))
            }
            Effect::None => " Without effect.".to_owned(),
        };
        let default = if key.default.is_empty() { "none".to_owned() } else { format!("`{}`", key.default) };
        let _ =
            writeln!(page, "| `{}` | {} | {default} | {}{only} |", key.key, cell(&value_type(key.ty)), cell(key.doc));
    }
    page
}

/// `source, sink`.
pub fn roles(roles: Roles) -> String {
    let names = [(roles.source, "source"), (roles.sink, "sink"), (roles.lookup, "lookup")];
    names.iter().filter(|(has, _)| *has).map(|(_, n)| *n).collect::<Vec<_>>().join(", ")
}

/// Text as a table cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// All exit codes with their meaning, for the test that keeps `docs/exit-codes.md` honest.
pub const CLASSES: &[Class] = &[
    Class::Internal,
    Class::Usage,
    Class::Script,
    Class::Config,
    Class::Preflight,
    Class::State,
    Class::PositionLost,
    Class::Data,
    Class::Schema,
    Class::Unavailable,
    Class::RestartsExhausted,
    Class::Checkpoint,
    Class::Resources,
    Class::Fenced,
    Class::Lint,
    Class::UncleanStop,
];

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: ConnectorSpec = ConnectorSpec {
        name: "toy",
        summary: "A toy | for tests.",
        roles: Roles { source: true, sink: true, lookup: false },
        options: &[
            OptionSpec::new("password", OptionType::Text, "The password.").secret().aliases(&["pw"]),
            OptionSpec::new("mode", OptionType::Enum(&["a", "b"]), "How.").default("a").identity(),
        ],
        takes_format: true,
        guarantees: &["as a sink: exactly-once"],
    };

    #[test]
    fn a_connector_page_tells_all_it_declares() {
        assert_eq!(
            connector_page(&SPEC),
            "\
# Connector `toy`

A toy | for tests.

Used as: source, sink. Takes a `format`.

## What it promises

* as a sink: exactly-once

## Options

| option | value | default | meaning |
|---|---|---|---|
| `password` | text | none | The password. Also written `pw`. Secret: never shown. |
| `mode` | `a`, `b` | `a` | How. Part of the identity of the data: after a change, old state does not fit. |
"
        );
    }

    #[test]
    fn the_exit_code_page_lists_every_class() {
        for class in CLASSES {
            let row = format!("| {} | {} |", class.exit_code(), class.name());
            assert!(crate::pages::EXIT_CODES.contains(&row), "docs/exit-codes.md misses {row}");
        }
    }
}
