//! Connector and format options: declared once, checked once.
//!
//! A script gives text ([`RawOption`]); [`Options::check`] compares it with the declaration ([`OptionSpec`]),
//! reports *all* problems at once with the nearest valid name, fills in defaults and gives typed access.

use std::time::Duration;

use dflow_common::{Secret, Span, suggest, units};
use indexmap::IndexMap;

use crate::error::{BAD_OPTION_VALUE, Error, MISSING_OPTION, Result, UNKNOWN_OPTION};

/// What values an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionType {
    /// Any text.
    Text,
    /// A whole number.
    Int,
    /// A number with a fraction.
    Float,
    /// `true` or `false`.
    Bool,
    /// `10 s`, `5 min`.
    Duration,
    /// `64 kb`, `128 mb`.
    Size,
    /// One of these, case ignored.
    Enum(&'static [&'static str]),
}

/// One option as a connector declares it.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// The key. A `#` stands for one part: `fields.#.kind` covers `fields.id.kind`.
    pub key: &'static str,
    /// Other spellings that mean the same (older Flink names).
    pub aliases: &'static [&'static str],
    /// What values it takes.
    pub ty: OptionType,
    /// The value when absent, as it would be written.
    pub default: Option<&'static str>,
    /// Whether it must be given.
    pub required: bool,
    /// Whether its value must never be shown.
    pub secret: bool,
    /// Whether another value means another stream of data, so that old state does not fit it.
    pub identity: bool,
    /// Whether it is taken for the sake of scripts written for Flink, and does nothing here.
    pub without_effect: bool,
    /// What it does, one sentence.
    pub doc: &'static str,
}

impl OptionSpec {
    /// An optional option without default, alias or secrecy.
    pub const fn new(key: &'static str, ty: OptionType, doc: &'static str) -> Self {
        Self {
            key,
            aliases: &[],
            ty,
            default: None,
            required: false,
            secret: false,
            identity: false,
            without_effect: false,
            doc,
        }
    }

    /// With a default.
    pub const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }

    /// Must be given.
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Never shown.
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Part of the identity of the data.
    pub const fn identity(mut self) -> Self {
        self.identity = true;
        self
    }

    /// Taken, and without effect.
    pub const fn without_effect(mut self) -> Self {
        self.without_effect = true;
        self
    }

    /// With other spellings.
    pub const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Whether a key of a script is this option: by its key, an alias, or its pattern.
    pub fn matches(&self, key: &str) -> bool {
        self.key == key || self.aliases.contains(&key) || (self.key.contains('#') && matches_pattern(self.key, key))
    }
}

/// `fields.#.kind` against `fields.a.b.kind`: the `#` takes one or more characters.
fn matches_pattern(pattern: &str, key: &str) -> bool {
    match pattern.split_once('#') {
        None => pattern == key,
        Some((head, tail)) => {
            key.len() > head.len() + tail.len() && key.starts_with(head) && key.ends_with(tail) && !tail.contains('#')
        }
    }
}

/// The text of an option, which may be secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionText {
    /// May be shown.
    Plain(String),
    /// Must not be shown: the option is declared secret, or its text came from `${env:…}` or `${file:…}`.
    Secret(Secret),
}

impl OptionText {
    /// The text itself. Only for use, never for display.
    pub fn expose(&self) -> &str {
        match self {
            OptionText::Plain(s) => s,
            OptionText::Secret(s) => s.expose(),
        }
    }

    /// The text for display: `***` for secrets.
    pub fn shown(&self) -> &str {
        match self {
            OptionText::Plain(s) => s,
            OptionText::Secret(_) => "***",
        }
    }
}

/// An option as the script gives it.
#[derive(Clone, Debug)]
pub struct RawOption {
    /// The key as written.
    pub key: String,
    /// Where the key stands.
    pub key_span: Span,
    /// The value after variables were expanded.
    pub value: OptionText,
    /// Where the value stands.
    pub value_span: Span,
}

#[derive(Clone, Debug)]
struct Entry {
    text: OptionText,
    span: Option<Span>,
    key_span: Option<Span>,
    identity: bool,
}

/// Checked options: every key is declared, every value reads as its type, aliases are resolved, defaults filled in.
#[derive(Clone, Debug, Default)]
pub struct Options {
    entries: IndexMap<String, Entry>,
    table_span: Option<Span>,
}

impl Options {
    /// Checks `raw` against `specs`. `owner` names the connector or format in messages; `table_span` is where
    /// a missing option is reported.
    ///
    /// # Errors
    /// All problems: unknown keys (with the nearest declared one), values of the wrong type, missing options,
    /// one option under two spellings.
    pub fn check(
        owner: &str,
        specs: &[OptionSpec],
        raw: &[RawOption],
        table_span: Span,
    ) -> Result<Options, Vec<Error>> {
        let mut errors = Vec::new();
        let mut entries: IndexMap<String, Entry> = IndexMap::new();
        for option in raw {
            let Some(spec) = specs.iter().find(|s| s.matches(&option.key)) else {
                errors.push(unknown(owner, specs, option));
                continue;
            };
            if let Err(why) = check_value(spec.ty, option.value.expose()) {
                let shown = if spec.secret { "***" } else { option.value.shown() };
                // The reason may quote the text, which must not leak from a secret.
                let reason = if shown == "***" { format!("the value is not {}", describe(spec.ty)) } else { why };
                errors.push(
                    Error::new(BAD_OPTION_VALUE, format!("option '{}' of {owner}: {reason}", option.key))
                        .at(option.value_span, format!("expected {}", describe(spec.ty))),
                );
                continue;
            }
            let key = if spec.key.contains('#') { option.key.clone() } else { spec.key.to_owned() };
            let text = match &option.value {
                OptionText::Plain(s) if spec.secret => OptionText::Secret(Secret::new(s.clone())),
                other => other.clone(),
            };
            let entry =
                Entry { text, span: Some(option.value_span), key_span: Some(option.key_span), identity: spec.identity };
            if let Some(first) = entries.insert(key.clone(), entry) {
                let mut e = Error::new(BAD_OPTION_VALUE, format!("option '{key}' of {owner} is given twice"))
                    .at(option.key_span, "given again here");
                if let Some(span) = first.key_span {
                    e = Error::from(dflow_common::Classified::diagnostic(&e).with_label(span, "first here"));
                }
                errors.push(e);
            }
        }
        for spec in specs.iter().filter(|s| !s.key.contains('#') && !entries.contains_key(s.key)).collect::<Vec<_>>() {
            if let Some(default) = spec.default {
                let entry = Entry {
                    text: OptionText::Plain(default.into()),
                    span: None,
                    key_span: None,
                    identity: spec.identity,
                };
                entries.insert(spec.key.to_owned(), entry);
            } else if spec.required {
                errors.push(
                    Error::new(MISSING_OPTION, format!("{owner} needs the option '{}'", spec.key))
                        .at(table_span, format!("'{}' is missing", spec.key))
                        .help(format!("add '{}' = '…' to the WITH clause: {}", spec.key, spec.doc)),
                );
            }
        }
        if errors.is_empty() { Ok(Options { entries, table_span: Some(table_span) }) } else { Err(errors) }
    }

    /// The text of an option, `None` when it has neither a value nor a default.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.entries.get(key).map(|e| e.text.expose())
    }

    /// A secret option.
    pub fn secret(&self, key: &str) -> Option<Secret> {
        self.entries.get(key).map(|e| Secret::new(e.text.expose()))
    }

    /// A required or defaulted option's text.
    ///
    /// # Panics
    /// When the declaration has neither: a bug of the connector.
    pub fn required(&self, key: &str) -> &str {
        self.text(key).expect("the option is declared required or has a default")
    }

    /// A whole number.
    pub fn int(&self, key: &str) -> Option<i64> {
        self.text(key).and_then(|t| t.trim().parse().ok())
    }

    /// A number.
    pub fn float(&self, key: &str) -> Option<f64> {
        self.text(key).and_then(|t| t.trim().parse().ok())
    }

    /// True or false; false when absent.
    pub fn bool(&self, key: &str) -> bool {
        self.text(key).is_some_and(|t| t.trim().eq_ignore_ascii_case("true"))
    }

    /// A duration.
    pub fn duration(&self, key: &str) -> Option<Duration> {
        self.text(key).and_then(|t| units::parse_duration(t).ok())
    }

    /// A size in bytes.
    pub fn size(&self, key: &str) -> Option<u64> {
        self.text(key).and_then(|t| units::parse_size(t).ok())
    }

    /// Where the value stands in the script; the table when it is a default.
    pub fn span(&self, key: &str) -> Option<Span> {
        self.entries.get(key).and_then(|e| e.span).or(self.table_span)
    }

    /// Whether the script gave the option.
    pub fn is_set(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|e| e.span.is_some())
    }

    /// Keys the script gave that match a pattern such as `fields.#.kind`, with what stood for the `#`.
    pub fn matching<'a>(&'a self, pattern: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> + 'a {
        let (head, tail) = pattern.split_once('#').unwrap_or((pattern, ""));
        self.entries
            .iter()
            .filter(move |(k, _)| matches_pattern(pattern, k))
            .map(move |(k, e)| (&k[head.len()..k.len() - tail.len()], e.text.expose()))
    }

    /// Identity options as `key = value` lines, for the operator's fingerprint. Secrets never take part.
    pub fn identity(&self) -> Vec<(String, String)> {
        let mut all: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, e)| e.identity)
            .filter_map(|(k, e)| match &e.text {
                OptionText::Plain(v) => Some((k.clone(), v.clone())),
                OptionText::Secret(_) => None,
            })
            .collect();
        all.sort();
        all
    }

    /// All options for display, secrets as `***`.
    pub fn shown(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(k, e)| (k.as_str(), e.text.shown()))
    }

    /// An error about an option's value.
    pub fn invalid(&self, key: &str, why: impl std::fmt::Display) -> Error {
        let e = Error::new(BAD_OPTION_VALUE, format!("option '{key}': {why}"));
        match self.span(key) {
            Some(span) => e.at(span, ""),
            None => e,
        }
    }
}

fn unknown(owner: &str, specs: &[OptionSpec], option: &RawOption) -> Error {
    let names = specs.iter().flat_map(|s| std::iter::once(s.key).chain(s.aliases.iter().copied()));
    let e = Error::new(UNKNOWN_OPTION, format!("{owner} has no option '{}'", option.key))
        .at(option.key_span, "unknown option");
    let name = owner.split('\'').nth(1).unwrap_or("");
    // A script writes the options of a format behind its name.
    let prefix = if owner.starts_with("format ") { format!("{name}.") } else { String::new() };
    match suggest::nearest(&option.key, names) {
        Some(near) => e.help(format!("did you mean '{prefix}{near}'?")),
        None => e.help(format!("`dflow connectors {name}` lists its options")),
    }
}

fn check_value(ty: OptionType, text: &str) -> Result<(), String> {
    let t = text.trim();
    match ty {
        OptionType::Text => Ok(()),
        OptionType::Int => t.parse::<i64>().map(drop).map_err(|_| format!("`{text}` is not a whole number")),
        OptionType::Float => t.parse::<f64>().map(drop).map_err(|_| format!("`{text}` is not a number")),
        OptionType::Bool => {
            if t.eq_ignore_ascii_case("true") || t.eq_ignore_ascii_case("false") {
                Ok(())
            } else {
                Err(format!("`{text}` is neither true nor false"))
            }
        }
        OptionType::Duration => units::parse_duration(t).map(drop),
        OptionType::Size => units::parse_size(t).map(drop),
        OptionType::Enum(values) => {
            if values.iter().any(|v| v.eq_ignore_ascii_case(t)) {
                return Ok(());
            }
            let near = suggest::nearest(t, values.iter().copied())
                .map(|n| format!("; did you mean '{n}'?"))
                .unwrap_or_default();
            Err(format!("`{text}` is not one of {}{near}", values.join(", ")))
        }
    }
}

/// The type in words: "a duration such as '10 s'".
pub fn describe(ty: OptionType) -> String {
    match ty {
        OptionType::Text => "text".into(),
        OptionType::Int => "a whole number".into(),
        OptionType::Float => "a number".into(),
        OptionType::Bool => "true or false".into(),
        OptionType::Duration => "a duration such as '10 s'".into(),
        OptionType::Size => "a size such as '64 mb'".into(),
        OptionType::Enum(values) => format!("one of {}", values.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use dflow_common::{Classified, SourceId};

    use super::*;

    const SPECS: &[OptionSpec] = &[
        OptionSpec::new("path", OptionType::Text, "Where the files are.").required().identity(),
        OptionSpec::new("source.monitor-interval", OptionType::Duration, "How often to look for new files."),
        OptionSpec::new("password", OptionType::Text, "The password.").secret(),
        OptionSpec::new("sink.rolling-policy.file-size", OptionType::Size, "Roll at this size.").default("128 mb"),
        OptionSpec::new("fields.#.kind", OptionType::Enum(&["random", "sequence"]), "How values are made."),
    ];

    fn raw(pairs: &[(&str, &str)]) -> Vec<RawOption> {
        let span = |i| Span::new(SourceId(0), i, i + 1);
        pairs
            .iter()
            .enumerate()
            .map(|(i, (k, v))| RawOption {
                key: (*k).into(),
                key_span: span(i),
                value: OptionText::Plain((*v).into()),
                value_span: span(i),
            })
            .collect()
    }

    fn check(pairs: &[(&str, &str)]) -> Result<Options, Vec<Error>> {
        Options::check("connector 'x'", SPECS, &raw(pairs), Span::new(SourceId(0), 0, 1))
    }

    #[test]
    fn all_problems_come_at_once_with_the_nearest_name() {
        let errors = check(&[("source.monitor-intervall", "1 s"), ("fields.id.kind", "sequenc")]).unwrap_err();
        let text: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors.iter().map(|e| e.code().0).collect::<Vec<_>>(), [2302, 2303, 2304], "{text:?}");
        assert!(text[0].contains("did you mean 'source.monitor-interval'?"), "{text:?}");
        assert!(text[1].contains("did you mean 'sequence'?"), "{text:?}");
    }

    #[test]
    fn defaults_patterns_and_secrets() {
        let o = check(&[("path", "/data"), ("password", "canary"), ("fields.id.kind", "sequence")]).unwrap();
        assert_eq!(o.size("sink.rolling-policy.file-size"), Some(128 << 20));
        assert_eq!(o.matching("fields.#.kind").collect::<Vec<_>>(), [("id", "sequence")]);
        assert!(!format!("{o:?}").contains("canary"));
        assert!(o.shown().all(|(_, v)| v != "canary"));
        assert_eq!(o.secret("password").unwrap().expose(), "canary");
        assert_eq!(o.identity(), [("path".to_owned(), "/data".to_owned())]);
    }

    #[test]
    fn a_bad_secret_value_is_not_quoted() {
        const SECRET_INT: &[OptionSpec] = &[OptionSpec::new("pin", OptionType::Int, "The pin.").secret()];
        let e = Options::check("connector 'x'", SECRET_INT, &raw(&[("pin", "canary")]), Span::new(SourceId(0), 0, 1));
        assert!(!format!("{e:?}").contains("canary"));
    }
}
