//! `SET` keys: what a script may set, and what becomes of it.
//!
//! # Input and output
//! In: `SET 'key' = 'value'` with its place, or the same from a flag. Out: [`Resolved`], the typed settings of a job.
//! ```text
//! SET 'state.checkpoints.num-retained' = '5';     old spelling   -> execution.checkpointing.num-retained = 5
//! SET 'taskmanager.memory.size' = '4 gb';         a cluster's    -> kept, listed in one warning
//! SET 'table.exec.state.tll' = '1 d';             unknown        -> DF1800, did you mean 'table.exec.state.ttl'?
//! SET 'table.exec.state.ttl' = '1 d';             changes results and cannot be done yet -> DF1803
//! ```
//! # Invariants
//! A key is stored under its spelling of Flink 2.x; when two spellings are set, the last one wins. A value that does
//! not read as its type is refused where it is set, not where it is used. A flag wins over the script.

mod keys;
mod resolve;

use std::time::Duration;

use dflow_common::{Diagnostic, Span, Spanned, suggest, units};
use dflow_connector_api::{OptionText, OptionType};
use indexmap::IndexMap;

use crate::error::{self, at};

pub use keys::{Effect, FAMILIES, KEYS, KeySpec, flink_keys};
pub(crate) use resolve::Fallbacks;
pub use resolve::{Resolved, RuntimeMode};

/// Goes before `parallelism.default`.
const DEFAULT_PARALLELISM: &str = "table.exec.resource.default-parallelism";

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a script.
    Script {
        /// The key.
        key: Span,
        /// The value.
        value: Span,
    },
    /// By the caller: `--parallelism`.
    Flag(String),
}

impl Origin {
    /// Where the value stands in a script.
    pub fn span(&self) -> Option<Span> {
        match self {
            Origin::Script { value, .. } => Some(*value),
            Origin::Flag(_) => None,
        }
    }
}

/// A value with where it was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The text; secret when it came from `${env:…}` or `${file:…}`.
    pub value: OptionText,
    /// Where.
    pub origin: Origin,
}

/// A value of a script that a flag has taken the place of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overridden {
    /// The key.
    pub key: String,
    /// What the script says, `***` when it is secret.
    pub script: String,
    /// Where it says so.
    pub span: Option<Span>,
    /// The flag.
    pub flag: String,
    /// What the flag says.
    pub value: String,
}

/// The settings of a session.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    script: IndexMap<String, Setting>,
    flags: IndexMap<String, Setting>,
    without_effect: IndexMap<String, Option<Span>>,
}

impl Settings {
    /// Nothing set: every key has its default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key from a script.
    ///
    /// # Errors
    /// A key nobody knows, a value of the wrong type, or one that is not supported.
    pub fn set(&mut self, key: &Spanned<String>, value: OptionText, value_span: Span) -> Result<(), Box<Diagnostic>> {
        let origin = Origin::Script { key: key.span, value: value_span };
        let name = self.check(&key.value, &value, &origin)?;
        self.script.insert(name, Setting { value, origin });
        Ok(())
    }

    /// Sets a key from a flag, which wins over scripts. `origin` is the flag as the user typed it.
    ///
    /// # Errors
    /// As [`Settings::set`].
    pub fn set_flag(&mut self, key: &str, value: &str, origin: &str) -> Result<(), Box<Diagnostic>> {
        let (value, origin) = (OptionText::Plain(value.to_owned()), Origin::Flag(origin.to_owned()));
        let name = self.check(key, &value, &origin)?;
        self.flags.insert(name, Setting { value, origin });
        Ok(())
    }

    /// Forgets a key of the script, or all of them.
    ///
    /// # Errors
    /// A key nobody knows.
    pub fn reset(&mut self, key: Option<&Spanned<String>>) -> Result<(), Box<Diagnostic>> {
        match key {
            None => {
                self.script.clear();
                self.without_effect.clear();
            }
            Some(key) => {
                let Some(name) = known(&key.value) else {
                    return Err(Box::new(unknown(&key.value, Some(key.span))));
                };
                self.script.shift_remove(&name);
                self.without_effect.shift_remove(&name);
            }
        }
        Ok(())
    }

    /// The value of a key: flag, script, or default; `None` when there is none.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.setting(key)
            .map(|s| s.value.expose())
            .or_else(|| keys::spec(key).map(|s| s.default).filter(|d| !d.is_empty()))
    }

    /// What was set for a key.
    pub fn setting(&self, key: &str) -> Option<&Setting> {
        self.flags.get(key).or_else(|| self.script.get(key))
    }

    /// What flags have overridden, in the order of the script.
    pub fn overridden(&self) -> Vec<Overridden> {
        let wins = |(key, set): (&String, &Setting)| {
            // One of these keys goes before the other, but not before a flag.
            let by = if key == DEFAULT_PARALLELISM { "parallelism.default" } else { key.as_str() };
            let Setting { value, origin: Origin::Flag(flag) } = self.flags.get(by)? else { return None };
            Some(Overridden {
                key: key.clone(),
                script: set.value.shown().to_owned(),
                span: set.origin.span(),
                flag: flag.clone(),
                value: value.shown().to_owned(),
            })
        };
        self.script.iter().filter_map(wins).collect()
    }

    /// Everything that was set, in order, secrets as `***`.
    pub fn shown(&self) -> Vec<(String, String)> {
        let mut all: IndexMap<&str, &str> = IndexMap::new();
        for (key, setting) in self.script.iter().chain(&self.flags) {
            all.insert(key, setting.value.shown());
        }
        all.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    /// The warning that lists the keys that do nothing here.
    pub fn warning(&self) -> Option<Diagnostic> {
        let (_, span) = self.without_effect.first()?;
        let names: Vec<_> = self.without_effect.keys().map(|k| format!("'{k}'")).collect();
        let (subject, verb) = if names.len() == 1 { ("setting", "has") } else { ("settings", "have") };
        let d = Diagnostic::warning(
            error::SETTING_WITHOUT_EFFECT,
            format!("{} {subject} {verb} no effect here: {}", names.len(), names.join(", ")),
        );
        Some(match span {
            Some(span) => d.with_span(*span, "the first of them"),
            None => d,
        })
    }

    /// Checks a key and its value; the key's spelling of Flink 2.x.
    fn check(&mut self, key: &str, value: &OptionText, origin: &Origin) -> Result<String, Box<Diagnostic>> {
        let key_span = match origin {
            Origin::Script { key, .. } => Some(*key),
            Origin::Flag(_) => None,
        };
        let Some(name) = known(key) else {
            return Err(Box::new(unknown(key, key_span)));
        };
        let Some(spec) = keys::spec(&name) else {
            self.without_effect.insert(name.clone(), key_span);
            return Ok(name);
        };
        let place = |d: Diagnostic, label: &str| match origin {
            Origin::Script { value, .. } => Box::new(d.with_span(*value, label)),
            Origin::Flag(flag) => Box::new(d.with_note(format!("given by {flag}"))),
        };
        let text = value.expose().trim();
        let refused = keys::REFUSED.iter().find(|(key, value, _)| *key == name && same(spec.ty, value, text));
        if let Some((_, value, instead)) = refused {
            let message = format!("'{name}' = '{value}' is not supported by dflow");
            let d = Diagnostic::error(error::SETTING_NOT_SUPPORTED, message).with_help(*instead);
            return Err(place(d, "not supported"));
        }
        if let Err(why) = check_type(spec.ty, text) {
            let why = if matches!(value, OptionText::Secret(_)) { String::new() } else { format!(": {why}") };
            let d = Diagnostic::error(error::SETTING_VALUE, format!("'{name}' cannot take this value{why}"));
            return Err(place(d, &format!("expected {}", dflow_connector_api::options::describe(spec.ty))));
        }
        if let Effect::Only(values) = spec.effect
            && !values.iter().any(|v| same(spec.ty, v, text))
        {
            let d = Diagnostic::error(
                error::SETTING_NOT_SUPPORTED,
                format!("'{name}' = '{}' is not supported by dflow", value.shown()),
            )
            .with_note(spec.doc)
            .with_help(format!("remove the statement; '{name}' is then '{}'", spec.default));
            return Err(place(d, "not supported"));
        }
        Ok(name)
    }
}

/// The spelling of Flink 2.x; a key of a family is its own.
fn known(key: &str) -> Option<String> {
    keys::normalise(key).map(str::to_owned).or_else(|| keys::in_family(key).then(|| key.to_owned()))
}

fn unknown(key: &str, span: Option<Span>) -> Diagnostic {
    let d = match span {
        Some(span) => at(error::UNKNOWN_SETTING, span, format!("unknown setting '{key}'"), "no such setting"),
        None => Diagnostic::error(error::UNKNOWN_SETTING, format!("unknown setting '{key}'")),
    };
    let names = KEYS.iter().map(|k| k.key).chain(flink_keys().flat_map(|(k, old)| std::iter::once(k).chain(old)));
    match suggest::nearest(key, names) {
        Some(near) => d.with_help(format!("did you mean '{near}'?")),
        None => d.with_help("dflow takes Flink's keys; Flink itself would ignore this one in silence"),
    }
}

fn check_type(ty: OptionType, text: &str) -> Result<(), String> {
    let expected = || Err(format!("expected {}", dflow_connector_api::options::describe(ty)));
    match ty {
        OptionType::Text => Ok(()),
        OptionType::Int => text.parse::<i64>().map(drop).or_else(|_| expected()),
        OptionType::Float => text.parse::<f64>().map(drop).or_else(|_| expected()),
        OptionType::Bool if ["true", "false"].iter().any(|v| v.eq_ignore_ascii_case(text)) => Ok(()),
        OptionType::Bool => expected(),
        OptionType::Duration => units::parse_duration(text).map(drop),
        OptionType::Size => units::parse_size(text).map(drop),
        OptionType::Enum(values) if values.iter().any(|v| same(ty, v, text)) => Ok(()),
        OptionType::Enum(_) => expected(),
    }
}

/// Whether two texts of a type mean the same. Flink writes enum values with `-` or `_`, in any case.
fn same(ty: OptionType, a: &str, b: &str) -> bool {
    let plain = |s: &str| s.to_ascii_lowercase().replace('-', "_");
    match ty {
        OptionType::Duration => units::parse_duration(a).is_ok_and(|a| units::parse_duration(b) == Ok(a)),
        OptionType::Text => a == b,
        _ => plain(a) == plain(b),
    }
}

/// A duration that was checked when it was set.
fn duration(text: &str) -> Duration {
    units::parse_duration(text).unwrap_or_default()
}

#[cfg(test)]
mod tests;
