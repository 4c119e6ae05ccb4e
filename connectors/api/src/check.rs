//! Options against declarations, before a table is used.
//!
//! What can be said without opening anything: whether the connector and the format exist, whether each option is theirs,
//! whether its value reads as its type, and whether it does anything here. That a required option is missing is not among
//! it: a `LIKE` or an `OPTIONS` hint may still bring it.

use dflow_common::{Classified, Diagnostic, Span, Spanned};

use crate::error::{MISSING_OPTION, OPTION_WITHOUT_EFFECT};
use crate::options::{OptionSpec, Options, RawOption};
use crate::registry::ConnectorRegistry;

/// Tells the options of a connector from those of its format, whose prefix is taken off: `csv.quote-character` of a table
/// with `'format' = 'csv'` is the format's `quote-character`.
pub fn split_format(options: &[RawOption]) -> (Vec<RawOption>, Vec<RawOption>) {
    let format = options.iter().find(|o| o.key == "format").map(|o| format!("{}.", o.value.expose()));
    let (mut own, mut of_format) = (Vec::new(), Vec::new());
    for option in options {
        match format.as_deref().and_then(|prefix| option.key.strip_prefix(prefix)) {
            Some(key) => of_format.push(RawOption { key: key.to_owned(), ..option.clone() }),
            None => own.push(option.clone()),
        }
    }
    (own, of_format)
}

impl ConnectorRegistry {
    /// All that is wrong with the options of a table of this connector, and a warning for each that does nothing here.
    /// `table` is where the table is declared.
    pub fn check(&self, connector: &Spanned<String>, options: &[RawOption], table: Span) -> Vec<Diagnostic> {
        let spec = match self.get(&connector.value, connector.span) {
            Ok(factory) => factory.spec(),
            Err(e) => return vec![e.diagnostic()],
        };
        if !spec.takes_format {
            return check(&format!("connector '{}'", spec.name), spec.options, options, table);
        }
        let (mut own, of_format) = split_format(options);
        let named = options.iter().find(|o| o.key == "format");
        let mut found = Vec::new();
        match named.map(|o| self.find_format(o.value.expose(), o.value_span)) {
            Some(Ok(format)) => {
                let owner = format!("format '{}'", format.spec().name);
                found = check(&owner, format.spec().options, &of_format, table);
            }
            // Which of the others are its options cannot be said.
            other => {
                found.extend(other.and_then(Result::err).map(|e| e.diagnostic()));
                own.retain(|o| !self.formats().keys().any(|f| is_below(&o.key, f)));
            }
        }
        found.extend(check(&format!("connector '{}'", spec.name), spec.options, &own, table));
        found
    }
}

fn is_below(key: &str, format: &str) -> bool {
    key.strip_prefix(format).is_some_and(|rest| rest.starts_with('.'))
}

fn check(owner: &str, specs: &[OptionSpec], options: &[RawOption], table: Span) -> Vec<Diagnostic> {
    let errors = Options::check(owner, specs, options, table).err().unwrap_or_default();
    let errors = errors.iter().filter(|e| e.code() != MISSING_OPTION.code).map(Classified::diagnostic);
    let idle = options.iter().filter(|o| specs.iter().any(|s| s.without_effect && s.matches(&o.key)));
    let warnings = idle.map(|o| {
        Diagnostic::warning(OPTION_WITHOUT_EFFECT, format!("option '{}' of {owner} has no effect here", o.key))
            .with_span(o.key_span, "no effect")
    });
    errors.chain(warnings).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dflow_common::{Severity, SourceId};

    use super::*;
    use crate::format::FormatFactory;
    use crate::options::{OptionText, OptionType};
    use crate::registry::{ConnectorFactory, ConnectorSpec, FormatSpec, Roles};

    static SPEC: ConnectorSpec = ConnectorSpec {
        name: "box",
        summary: "",
        roles: Roles { source: true, sink: true, lookup: false },
        options: &[
            OptionSpec::new("path", OptionType::Text, "").required(),
            OptionSpec::new("format", OptionType::Text, "").required(),
            OptionSpec::new("size", OptionType::Size, "").aliases(&["old.size"]).without_effect(),
        ],
        takes_format: true,
        guarantees: &[],
    };
    static FORMAT: FormatSpec = FormatSpec {
        name: "csv",
        summary: "",
        options: &[OptionSpec::new("quote", OptionType::Text, "")],
        decodes: true,
        encodes: true,
        changelog: false,
    };

    struct Box;
    struct Csv;
    impl ConnectorFactory for Box {
        fn spec(&self) -> &'static ConnectorSpec {
            &SPEC
        }
    }
    impl FormatFactory for Csv {
        fn spec(&self) -> &'static FormatSpec {
            &FORMAT
        }
    }

    fn diagnostics(connector: &str, options: &[(&str, &str)]) -> Vec<Diagnostic> {
        let mut registry = ConnectorRegistry::new();
        registry.connector(Arc::new(Box)).format(Arc::new(Csv));
        let span = Span::new(SourceId(0), 0, 1);
        let raw = |(key, value): &(&str, &str)| RawOption {
            key: (*key).into(),
            key_span: span,
            value: OptionText::Plain((*value).into()),
            value_span: span,
        };
        let raw: Vec<_> = options.iter().map(raw).collect();
        registry.check(&Spanned::new(connector.into(), span), &raw, span)
    }

    fn found(connector: &str, options: &[(&str, &str)]) -> Vec<(u16, Severity)> {
        diagnostics(connector, options).iter().map(|d| (d.code.0, d.severity)).collect()
    }

    #[test]
    fn everything_wrong_is_found_without_opening_the_table() {
        use Severity::{Error, Warning};
        assert_eq!(found("boxes", &[("path", "x")]), [(2301, Error)]);
        assert_eq!(found("box", &[]), [], "a hint may bring what is missing");
        assert_eq!(
            found("box", &[("format", "csv"), ("csv.qote", "x"), ("sise", "1 kb"), ("size", "big")]),
            [(2302, Error), (2302, Error), (2303, Error), (2308, Warning)]
        );
        assert_eq!(found("box", &[("format", "csv"), ("csv.quote", "x"), ("old.size", "1 kb")]), [(2308, Warning)]);
    }

    #[test]
    fn a_suggestion_is_written_as_in_a_script() {
        let all = diagnostics("box", &[("format", "csv"), ("csv.qote", "x")]);
        assert_eq!(all[0].help, ["did you mean 'csv.quote'?"]);
    }

    #[test]
    fn options_of_a_format_that_is_not_known_are_not_held_against_the_connector() {
        assert_eq!(found("box", &[("csv.quote", "x")]), []);
        assert_eq!(found("box", &[("format", "cvs"), ("csv.quote", "x"), ("cvs.a", "b")]), [(2305, Severity::Error)]);
    }
}
