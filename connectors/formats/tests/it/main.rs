//! Formats seen from outside: text in, rows out, and back.
#![allow(clippy::unwrap_used)]

mod csv;
mod debezium;
mod fuzz;
mod json;
mod kit;
mod parquet;
mod raw;

#[test]
fn codes_are_unique_and_documented() {
    let mut seen = std::collections::BTreeSet::new();
    for info in dflow_formats::CODES {
        assert!(seen.insert(info.code), "{} is there twice", info.code);
        let page = format!("{}/../../docs/errors/{}.md", env!("CARGO_MANIFEST_DIR"), info.code);
        let text = kit::read(&page);
        assert!(text.starts_with(&format!("# {}: {}", info.code, info.title)), "{page} does not begin with the title");
    }
}
