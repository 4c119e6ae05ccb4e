//! The pages of `docs/errors`, compiled in.

use dflow_common::Code;

/// All pages by code, sorted.
static PAGES: &[(u16, &str)] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// What exit codes mean, as printed by `dflow help exit-codes`.
pub const EXIT_CODES: &str = include_str!("../docs/exit-codes.md");

/// The page about a code, in Markdown.
pub fn page(code: Code) -> Option<&'static str> {
    PAGES.binary_search_by_key(&code.0, |(c, _)| *c).ok().map(|i| PAGES[i].1)
}

/// All codes that have a page.
pub fn codes() -> impl Iterator<Item = Code> {
    PAGES.iter().map(|(c, _)| Code(*c))
}

/// Reads `DF2107`, `df2107` or `2107`.
pub fn parse_code(text: &str) -> Option<Code> {
    let digits = text.strip_prefix("DF").or_else(|| text.strip_prefix("df")).unwrap_or(text);
    (digits.len() == 4).then(|| digits.parse().ok().map(Code))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_read_in_three_spellings() {
        for text in ["DF2107", "df2107", "2107"] {
            assert_eq!(parse_code(text), Some(Code(2107)), "{text}");
        }
        for text in ["DF21", "DF21077", "DFxxxx", "", "21é"] {
            assert_eq!(parse_code(text), None, "{text}");
        }
    }

    #[test]
    fn every_code_of_this_package_has_its_page() {
        for info in crate::error::CODES {
            let page = page(info.code).unwrap_or_else(|| panic!("no page for {}", info.code));
            assert!(page.starts_with(&format!("# {}: {}\n", info.code, info.title)), "{}", info.code);
        }
        assert!(codes().count() >= crate::error::CODES.len());
    }
}
