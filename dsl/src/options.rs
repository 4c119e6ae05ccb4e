//! Option values, typed when they are read.
//!
//! # Example
//! `SET 'execution.checkpointing.interval' = '10 sec'`: the reader of the key asks for a [`Value::duration`] and gets ten
//! seconds, or a [`Diagnostic`] that points at the literal and says what is accepted.
//!
//! A secret value is never part of a message.

use std::ops::RangeInclusive;
use std::time::Duration;

use dflow_common::suggest::nearest;
use dflow_common::{Diagnostic, Span, units};

use crate::error;
use crate::vars::{OptionText, ResolvedOption};

type Result<T> = std::result::Result<T, Box<Diagnostic>>;

/// One value with what a message about it needs.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    /// The option's key.
    pub key: &'a str,
    /// Its text.
    pub text: &'a OptionText,
    /// Where the text stands.
    pub span: Span,
}

impl<'a> From<&'a ResolvedOption> for Value<'a> {
    fn from(option: &'a ResolvedOption) -> Self {
        Value { key: &option.key.value, text: &option.value, span: option.value_span }
    }
}

impl<'a> Value<'a> {
    /// The error that this value is not `expected`.
    pub fn error(&self, expected: impl std::fmt::Display) -> Box<Diagnostic> {
        let key = self.key;
        let message = match self.text {
            OptionText::Plain(text) => format!("`{key}` is {expected}, not '{text}'"),
            OptionText::Secret(_) => format!("`{key}` is {expected}; its value is a secret and not shown"),
        };
        Box::new(Diagnostic::error(error::OPTION_VALUE, message).with_span(self.span, format!("not {expected}")))
    }

    /// The text itself.
    pub fn text(&self) -> &'a str {
        self.text.expose()
    }

    /// A duration: `10 s`, `250` (milliseconds), `PT10S`.
    ///
    /// # Errors
    /// What is accepted.
    pub fn duration(&self) -> Result<Duration> {
        units::parse_duration(self.text()).map_err(|_| {
            Box::new(self.error("a duration").with_help("write a whole number and one of ms, s, min, h, d: '10 s'"))
        })
    }

    /// A memory size in bytes: `512 mb`, `1024`.
    ///
    /// # Errors
    /// What is accepted.
    pub fn size(&self) -> Result<u64> {
        units::parse_size(self.text()).map_err(|_| {
            Box::new(
                self.error("a memory size").with_help("write a whole number and one of b, kb, mb, gb, tb: '512 mb'"),
            )
        })
    }

    /// `true` or `false`, in any case.
    ///
    /// # Errors
    /// What is accepted.
    pub fn bool(&self) -> Result<bool> {
        match self.text().trim() {
            t if t.eq_ignore_ascii_case("true") => Ok(true),
            t if t.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(Box::new(self.error("'true' or 'false'").with_help("no other spelling is accepted"))),
        }
    }

    /// A whole number in a range.
    ///
    /// # Errors
    /// What is accepted.
    pub fn int(&self, range: RangeInclusive<i64>) -> Result<i64> {
        let expected = match (*range.start(), *range.end()) {
            (i64::MIN, i64::MAX) => "a whole number".to_owned(),
            (min, i64::MAX) => format!("a whole number of at least {min}"),
            (min, max) => format!("a whole number between {min} and {max}"),
        };
        match self.text().trim().parse::<i64>() {
            Ok(n) if range.contains(&n) => Ok(n),
            _ => Err(self.error(expected)),
        }
    }

    /// A number with a fraction, finite.
    ///
    /// # Errors
    /// What is accepted.
    pub fn double(&self) -> Result<f64> {
        match self.text().trim().parse::<f64>() {
            Ok(n) if n.is_finite() => Ok(n),
            _ => Err(self.error("a number")),
        }
    }

    /// One of several words, in any case; `-` and `_` are the same.
    ///
    /// # Errors
    /// The words.
    pub fn one_of<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T> {
        let normal = |s: &str| s.trim().to_ascii_lowercase().replace('_', "-");
        let wanted = normal(self.text());
        if let Some((_, value)) = choices.iter().find(|(name, _)| normal(name) == wanted) {
            return Ok(*value);
        }
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("'{name}'")).collect();
        let d = self.error(format!("one of {}", names.join(", ")));
        Err(match nearest(&wanted, choices.iter().map(|(name, _)| *name)) {
            Some(near) if !self.text.is_secret() => Box::new(d.with_help(format!("did you mean '{near}'?"))),
            _ => d,
        })
    }
}

#[cfg(test)]
mod tests {
    use dflow_common::{Secret, SourceId};

    use super::*;

    fn check<T: PartialEq + std::fmt::Debug>(text: &str, read: impl Fn(&Value) -> Result<T>) -> Option<T> {
        let text = OptionText::Plain(text.to_owned());
        let span = Span::new(SourceId(0), 3, 9);
        match read(&Value { key: "some.key", text: &text, span }) {
            Ok(value) => Some(value),
            Err(d) => {
                assert_eq!((d.code, d.span()), (error::OPTION_VALUE.code, Some(span)));
                assert!(d.message.contains("some.key"), "{d}");
                None
            }
        }
    }

    #[test]
    fn values_are_read_as_flink_reads_them() {
        assert_eq!(check("10 sec", |v| v.duration()), Some(Duration::from_secs(10)));
        assert_eq!(check("1.5h", |v| v.duration()), None);
        assert_eq!(check("64kb", |v| v.size()), Some(65_536));
        assert_eq!(check("big", |v| v.size()), None);
        assert_eq!(check("TRUE", |v| v.bool()), Some(true));
        assert_eq!(check("1", |v| v.bool()), None);
        assert_eq!(check("0.5", |v| v.double()), Some(0.5));
        assert_eq!(check("NaN", |v| v.double()), None);
    }

    #[test]
    fn numbers_are_kept_in_their_range() {
        for (text, expected) in [("1", Some(1)), ("8", Some(8)), ("0", None), ("9", None), ("x", None)] {
            assert_eq!(check(text, |v| v.int(1..=8)), expected, "{text}");
        }
    }

    #[test]
    fn words_are_found_in_any_case_and_misspellings_get_the_nearest() {
        let modes = [("EXACTLY_ONCE", 1), ("AT_LEAST_ONCE", 2)];
        assert_eq!(check("exactly-once", |v| v.one_of(&modes)), Some(1));
        let text = OptionText::Plain("exactly_onse".into());
        let d = Value { key: "k", text: &text, span: Span::new(SourceId(0), 0, 1) }.one_of(&modes).unwrap_err();
        assert!(d.help.iter().any(|h| h.contains("EXACTLY_ONCE")), "{d}");
    }

    #[test]
    fn a_secret_is_in_no_message() {
        let text = OptionText::Secret(Secret::new("hunter2"));
        let value = Value { key: "k", text: &text, span: Span::new(SourceId(0), 0, 1) };
        let messages = [
            value.duration().unwrap_err(),
            value.size().unwrap_err(),
            value.bool().unwrap_err(),
            value.int(0..=1).unwrap_err(),
            value.double().unwrap_err(),
            value.one_of(&[("kerberos", ())]).unwrap_err(),
        ];
        for d in messages {
            assert!(!format!("{d:?}").contains("hunter"), "{d:?}");
        }
    }
}
