//! The documentation tells the truth: generated pages are current, links lead somewhere, promises name tests that exist.

use std::fs;
use std::path::Path;

use crate::support::{code_and_tests, files, relative, root};

#[test]
fn generated_pages_are_current() {
    let stale: Vec<_> = dflow::reference::pages(&dflow::registry())
        .into_iter()
        .filter(|(path, text)| fs::read_to_string(root().join("docs").join(path)).ok().as_ref() != Some(text))
        .map(|(path, _)| path)
        .collect();
    assert!(stale.is_empty(), "run `cargo run -- connectors --write-docs docs`: {stale:#?}");
}

#[test]
fn every_error_code_has_a_page_and_every_page_a_code() {
    let codes = dflow::codes();
    let mut wrong = Vec::new();
    for info in &codes {
        let path = format!("docs/errors/{}.md", info.code);
        let Ok(page) = fs::read_to_string(root().join(&path)) else {
            wrong.push(format!("{path} is missing ({})", info.title));
            continue;
        };
        if !page.starts_with(&format!("# {}: ", info.code)) {
            wrong.push(format!("{path} does not begin with `# {}: …`", info.code));
        }
        for section in ["## What it means", "## Example", "## What to do"] {
            if !page.contains(section) {
                wrong.push(format!("{path} has no `{section}`"));
            }
        }
    }
    for code in dflow::pages::codes().filter(|code| codes.iter().all(|info| info.code != *code)) {
        wrong.push(format!("docs/errors/{code}.md is about a code that does not exist"));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn links_lead_somewhere() {
    let mut dead = Vec::new();
    for path in files(root(), ".md") {
        let text = fs::read_to_string(&path).unwrap();
        for target in links(&text) {
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !path.parent().unwrap_or(Path::new("")).join(file).exists() {
                dead.push(format!("{} -> {target}", relative(&path)));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

/// Relative targets of Markdown links, code blocks left out.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (i, prose) in text.split("```").enumerate() {
        if i % 2 == 1 {
            continue;
        }
        found.extend(
            prose
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split(')').next())
                .filter(|t| !t.contains("://") && !t.contains(' '))
                .map(str::to_owned),
        );
    }
    found
}

/// `docs/guarantees.md` names a test for each promise as `path/to/file.rs: name_of_the_test`.
#[test]
fn every_promise_is_guarded_by_a_test_that_exists() {
    let page = fs::read_to_string(root().join("docs/guarantees.md")).unwrap();
    let named: Vec<(&str, &str)> = page.split('`').filter_map(|code| code.split_once(".rs: ")).collect();
    assert!(named.len() >= 10, "the page lost its tests");
    let missing: Vec<_> = named
        .iter()
        .filter(|(file, test)| {
            let path = root().join(format!("{file}.rs"));
            !path.exists() || !code_and_tests(&path).1.contains(&format!("fn {test}("))
        })
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn links_are_found_outside_code_blocks_only() {
    assert_eq!(links("[a](b.md) [w](https://x) ```\n[c](d.md)\n``` [e](f.md#g)"), ["b.md", "f.md#g"]);
}
