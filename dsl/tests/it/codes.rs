//! Every code has a page, and the example on the page produces it.

use std::collections::BTreeSet;

use dflow_common::Diagnostic;
use dflow_common::limits::{DIAGNOSTICS_MAX, SCRIPT_BYTES_MAX};
use dflow_dsl::ast::StatementKind;
use dflow_dsl::options::Value;
use dflow_dsl::vars::{Variables, expand};
use dflow_dsl::{CODES, error, parse};

use crate::SOURCE;

fn page(code: impl std::fmt::Display) -> String {
    let path = format!("{}/../docs/errors/{code}.md", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The errors of a script; one that parses has its SET values expanded and read as durations.
fn all_errors(text: &str) -> Vec<Diagnostic> {
    let parsed = parse(SOURCE, text);
    if !parsed.is_ok() {
        return parsed.diagnostics;
    }
    let mut errors = Vec::new();
    for statement in parsed.script.statements {
        let StatementKind::Set(Some(option)) = statement.kind else { continue };
        match expand(&option.value, &Variables::none()) {
            Ok(value) => {
                let value = Value { key: &option.key.value, text: &value, span: option.value.span };
                errors.extend(value.duration().err().map(|d| *d));
            }
            Err(found) => errors.extend(found),
        }
    }
    errors
}

#[test]
fn codes_are_unique_and_in_range() {
    let numbers: BTreeSet<u16> = CODES.iter().map(|c| c.code.0).collect();
    assert_eq!(numbers.len(), CODES.len());
    assert!(numbers.iter().all(|n| (1000..2000).contains(n)));
}

#[test]
fn every_code_has_a_page_with_its_title() {
    for info in CODES {
        let page = page(info.code);
        assert!(page.starts_with(&format!("# {}: {}\n", info.code, info.title)), "{}", info.code);
        for section in ["## What it means\n", "## Example\n", "## What to do\n"] {
            assert!(page.contains(section), "{} has no {section}", info.code);
        }
    }
}

#[test]
fn the_example_of_every_page_produces_its_code() {
    for info in CODES {
        // Two examples are too long to print.
        let script = if info.code == error::SCRIPT_TOO_LARGE.code {
            "-".repeat(SCRIPT_BYTES_MAX + 1)
        } else if info.code == error::TOO_MANY_ERRORS.code {
            "FOO;\n".repeat(DIAGNOSTICS_MAX + 1)
        } else {
            let page = page(info.code);
            let (_, rest) = page.split_once("```sql\n").unwrap_or_else(|| panic!("{} has no script", info.code));
            rest.split_once("\n```").unwrap().0.to_owned()
        };
        let errors = all_errors(&script);
        let found = errors.iter().find(|d| d.code == info.code);
        let found = found.unwrap_or_else(|| panic!("{} is not produced, but {errors:?}", info.code));
        assert_eq!(found.class, info.class);
        assert!(found.span().is_some());
    }
}
