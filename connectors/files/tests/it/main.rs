//! Files seen from outside.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod contract;
mod crash;
mod errors;
mod kit;
mod sink;
mod source;

#[test]
fn codes_are_unique_and_documented() {
    let mut seen = std::collections::BTreeSet::new();
    for info in dflow_connector_files::CODES {
        assert!(seen.insert(info.code), "{} is there twice", info.code);
        let page = format!("{}/../../docs/errors/{}.md", env!("CARGO_MANIFEST_DIR"), info.code);
        let text = std::fs::read_to_string(&page).unwrap_or_else(|e| panic!("{page}: {e}"));
        assert!(text.starts_with(&format!("# {}: {}", info.code, info.title)), "{page} does not begin with the title");
    }
}
