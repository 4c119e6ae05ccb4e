//! Diagnostics for people and for programs: one [`Diagnostic`], two faces.
//!
//! # As text
//! ```text
//! error[DF2107]: column `amout` not found in table `orders`
//!   --> pipeline.sql:38:14
//!    |
//! 38 |   SELECT SUM(amout) AS total
//!    |              ^^^^^ not found
//!    |
//!    = help: did you mean `amount` (DECIMAL(10,2))?
//!    = docs: dflow help DF2107
//! ```
//! rustc's own renderer (`annotate-snippets`) draws it. Labels in several sources become several snippets. A span that
//! points into no known source is left out, the words stay.
//!
//! # As JSON
//! One object, one line, the same fields wherever a diagnostic travels ([`json`]); `null` where nothing is known.
//!
//! # The last line
//! A run that fails ends with one line that a log collector can keep alone ([`last_line`]):
//! `dflow: exit 14 position-lost [DF5102] orders: binlog.000812 purged; see above`.
//!
//! # Invariants
//! Control characters in user text never reach the terminal (they are shown as symbols), and one diagnostic is one line
//! of JSON. The value of an option whose name looks secret is stars in the lines shown.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, normalize_untrusted_str};
use dflow_common::secret::is_sensitive;
use dflow_common::span::LineCol;
use dflow_common::{Diagnostic, Label, Severity, SourceId, SourceMap, Span};
use serde_json::{Value, json};

/// Draws a diagnostic as text, without a final newline.
pub fn text(diagnostic: &Diagnostic, sources: &SourceMap, color: bool) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let mut group =
        Group::with_title(level.primary_title(one_line(&diagnostic.message)).id(diagnostic.code.to_string()));
    for (source, labels) in by_source(diagnostic) {
        let Some(source) = sources.get(source) else { continue };
        // As long as the original: the labels stay where they are.
        let mut snippet =
            Snippet::source(dflow_dsl::redact::redact(&source.text, is_sensitive)).path(one_line(&source.name));
        for (kind, label) in labels {
            let span = clamp(&source.text, label.span);
            let text = (!label.text.is_empty()).then(|| one_line(&label.text));
            snippet = snippet.annotation(kind.span(span).label(text));
        }
        group = group.element(snippet);
    }
    for (name, value) in &diagnostic.context {
        group = group.element(Level::NOTE.with_name(*name).message(one_line(value)));
    }
    for note in &diagnostic.notes {
        group = group.element(Level::NOTE.message(lines(note)));
    }
    for help in &diagnostic.help {
        group = group.element(Level::HELP.message(lines(help)));
    }
    if diagnostic.severity != Severity::Note {
        group = group.element(Level::NOTE.with_name("docs").message(format!("dflow help {}", diagnostic.code)));
    }
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    renderer.render(&[group])
}

/// A diagnostic as one JSON object.
///
/// ```text
/// {"code":"DF2107","severity":"error","class":"script","exit":10,"message":"…","file":"pipeline.sql",
///  "span":{"start":{"line":38,"col":14},"end":{"line":38,"col":19}},"labels":[{"file":…,"span":…,"text":"not found"}],
///  "notes":[],"help":["…"],"job":null,"op":null,"table":null,"key":null,"position":null,"context":{}}
/// ```
pub fn json(diagnostic: &Diagnostic, sources: &SourceMap) -> Value {
    let context = |key: &str| diagnostic.context.iter().find(|(k, _)| *k == key).map(|(_, v)| v.as_str());
    let file = diagnostic.span().and_then(|s| sources.get(s.source)).map(|s| s.name.as_str());
    let labels: Vec<Value> = diagnostic
        .primary
        .iter()
        .chain(&diagnostic.labels)
        .map(|l| {
            let file = sources.get(l.span.source).map(|s| s.name.as_str());
            json!({ "file": file, "span": span_json(l.span, sources), "text": l.text })
        })
        .collect();
    let other: serde_json::Map<String, Value> = diagnostic
        .context
        .iter()
        .filter(|(k, _)| !["job", "op", "table", "key", "position"].contains(k))
        .map(|(k, v)| ((*k).to_owned(), Value::from(v.as_str())))
        .collect();
    json!({
        "code": diagnostic.code.to_string(),
        "severity": diagnostic.severity,
        "class": diagnostic.class,
        "exit": diagnostic.class.exit_code(),
        "message": diagnostic.message,
        "file": file,
        "span": diagnostic.span().and_then(|s| span_json(s, sources)),
        "labels": labels,
        "notes": diagnostic.notes,
        "help": diagnostic.help,
        "job": context("job"),
        "op": context("op"),
        "table": context("table"),
        "key": context("key"),
        "position": context("position"),
        "context": other,
    })
}

/// The line that ends a run which failed: exit code, class, code, what happened.
pub fn last_line(diagnostic: &Diagnostic) -> String {
    let table = diagnostic.context.iter().find(|(k, _)| *k == "table");
    let place = table.map(|(_, v)| format!("{}: ", one_line(v))).unwrap_or_default();
    format!(
        "dflow: exit {} {} [{}] {}{}; see above",
        diagnostic.class.exit_code(),
        diagnostic.class.name(),
        diagnostic.code,
        place,
        one_line(&diagnostic.message)
    )
}

/// The diagnostic that decides the exit code: the first error; of errors that stop a run the most fundamental comes
/// first in every report.
pub fn deciding(diagnostics: &[Diagnostic]) -> Option<&Diagnostic> {
    diagnostics.iter().find(|d| d.severity == Severity::Error)
}

/// Labels grouped by source, the primary's source first, in order of appearance.
fn by_source(diagnostic: &Diagnostic) -> Vec<(SourceId, Vec<(AnnotationKind, &Label)>)> {
    let primary = diagnostic.primary.iter().map(|l| (AnnotationKind::Primary, l));
    let others = diagnostic.labels.iter().map(|l| (AnnotationKind::Context, l));
    let mut groups: Vec<(SourceId, Vec<(AnnotationKind, &Label)>)> = Vec::new();
    for (kind, label) in primary.chain(others) {
        match groups.iter_mut().find(|(source, _)| *source == label.span.source) {
            Some((_, labels)) => labels.push((kind, label)),
            None => groups.push((label.span.source, vec![(kind, label)])),
        }
    }
    groups
}

/// A span as bytes of the text: inside it, on character boundaries.
fn clamp(text: &str, span: Span) -> std::ops::Range<usize> {
    let floor = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = floor(span.start as usize);
    start..floor(span.end as usize).max(start)
}

fn span_json(span: Span, sources: &SourceMap) -> Option<Value> {
    let source = sources.get(span.source)?;
    let place = |at: u32| -> LineCol { source.line_col(at as usize) };
    Some(json!({ "start": place(span.start), "end": place(span.end) }))
}

/// The text on one line, control characters made visible.
fn one_line(text: &str) -> String {
    text.lines().map(|l| normalize_untrusted_str(l.trim_end())).collect::<Vec<_>>().join(" ")
}

/// The text with its line breaks, control characters made visible.
fn lines(text: &str) -> String {
    text.lines().map(normalize_untrusted_str).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use dflow_common::{Class, Code, CodeInfo};

    use super::*;

    const INFO: CodeInfo = CodeInfo { code: Code(2107), title: "unknown column", class: Class::Script };

    fn example() -> (Diagnostic, SourceMap) {
        let mut sources = SourceMap::new();
        let id = sources.add("pipeline.sql", "CREATE TABLE orders (amount INT);\nSELECT SUM(amout) FROM orders;\n");
        let at = "CREATE TABLE orders (amount INT);\nSELECT SUM(".len();
        let d = Diagnostic::error(INFO, "column `amout` not found in table `orders`")
            .with_span(Span::new(id, at, at + 5), "not found")
            .with_label(Span::new(id, 21, 27), "has this one")
            .with_help("did you mean `amount` (INT)?");
        (d, sources)
    }

    #[test]
    fn text_shows_code_place_caret_help_and_where_to_read_on() {
        let (d, sources) = example();
        assert_eq!(
            text(&d, &sources, false),
            "\
error[DF2107]: column `amout` not found in table `orders`
 --> pipeline.sql:2:12
  |
1 | CREATE TABLE orders (amount INT);
  |                      ------ has this one
2 | SELECT SUM(amout) FROM orders;
  |            ^^^^^ not found
  |
  = help: did you mean `amount` (INT)?
  = docs: dflow help DF2107"
        );
    }

    #[test]
    fn text_without_a_place_keeps_its_words() {
        let d =
            Diagnostic::error(INFO, "the state directory is gone").with_context("file", "a/b").with_note("it was here");
        assert_eq!(
            text(&d, &SourceMap::new(), false),
            "\
error[DF2107]: the state directory is gone
 |
 = file: a/b
 = note: it was here
 = docs: dflow help DF2107"
        );
    }

    #[test]
    fn colours_are_escape_codes_and_only_on_demand() {
        let (d, sources) = example();
        assert!(text(&d, &sources, true).contains("\u{1b}["));
        assert!(!text(&d, &sources, false).contains('\u{1b}'));
    }

    #[test]
    fn control_characters_of_user_text_do_not_reach_the_terminal() {
        let mut sources = SourceMap::new();
        let id = sources.add("x.sql", "SELECT '\u{1b}[31mred' FROM t");
        let d = Diagnostic::error(INFO, "bad \u{1b}[2J name")
            .with_span(Span::new(id, 7, 19), "\u{7}")
            .with_help("\u{1b}c")
            .with_context("file", "\u{1b}x");
        assert!(!text(&d, &sources, false).contains(['\u{1b}', '\u{7}']));
        assert!(!last_line(&d).contains('\u{1b}'));
    }

    #[test]
    fn a_span_past_the_end_or_of_no_source_is_survived() {
        let mut sources = SourceMap::new();
        let id = sources.add("x.sql", "SELECT é");
        for span in [Span::new(id, 8, 9), Span::new(id, 90, 99), Span::new(SourceId(7), 0, 1)] {
            let d = Diagnostic::error(INFO, "m").with_span(span, "here");
            assert!(text(&d, &sources, false).starts_with("error[DF2107]: m"));
            assert_eq!(json(&d, &sources)["message"], "m");
        }
    }

    #[test]
    fn json_has_every_field_and_positions_in_lines_and_columns() {
        let (d, sources) = example();
        let d = d.with_context("table", "orders").with_context("file", "o.json");
        let v = json(&d, &sources);
        assert_eq!(v["code"], "DF2107");
        assert_eq!(v["severity"], "error");
        assert_eq!((v["class"].as_str(), v["exit"].as_u64()), (Some("script"), Some(10)));
        assert_eq!(v["file"], "pipeline.sql");
        assert_eq!(v["span"], json!({"start": {"line": 2, "col": 12}, "end": {"line": 2, "col": 17}}));
        assert_eq!(v["labels"][1]["text"], "has this one");
        assert_eq!((v["table"].as_str(), v["context"]["file"].as_str()), (Some("orders"), Some("o.json")));
        assert!(v["position"].is_null());
        assert!(!v.to_string().contains('\n'));
    }

    #[test]
    fn the_last_line_is_one_line_with_the_exit_code() {
        let info = CodeInfo { class: Class::PositionLost, ..INFO };
        let d = Diagnostic::error(info, "binlog.000812 purged\nby the server").with_context("table", "orders");
        assert_eq!(
            last_line(&d),
            "dflow: exit 14 position-lost [DF2107] orders: binlog.000812 purged by the server; see above"
        );
    }
}
