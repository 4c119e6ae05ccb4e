//! Table options: variables expanded, duplicates found, secrets marked.

use dflow_common::secret::is_sensitive;
use dflow_common::{Diagnostic, Secret, Spanned};
use dflow_connector_api::{ConnectorRegistry, OptionSpec, OptionText, RawOption};
use dflow_dsl::ast as dsl;
use dflow_dsl::vars::{self, VariableSource};

use crate::error::{self, at, did_you_mean};

/// Expands a list of options.
pub(super) fn expand(options: &dsl::Options, variables: &dyn VariableSource) -> (Vec<RawOption>, Vec<Diagnostic>) {
    match vars::expand_options(options, variables) {
        Err(errors) => (Vec::new(), errors),
        Ok(resolved) => {
            let raw = resolved
                .into_iter()
                .map(|o| RawOption {
                    key: o.key.value,
                    key_span: o.key.span,
                    value: text(o.value),
                    value_span: o.value_span,
                })
                .collect();
            (raw, Vec::new())
        }
    }
}

/// Expands one literal.
pub(super) fn expand_text(literal: &dsl::Text, variables: &dyn VariableSource) -> Result<OptionText, Vec<Diagnostic>> {
    vars::expand(literal, variables).map(text)
}

fn text(value: vars::OptionText) -> OptionText {
    match value {
        vars::OptionText::Plain(s) => OptionText::Plain(s),
        vars::OptionText::Secret(s) => OptionText::Secret(s),
    }
}

/// Errors for keys that stand twice in one list.
pub(super) fn duplicates(options: &dsl::Options) -> Vec<Diagnostic> {
    let entries = &options.entries;
    let second = entries.iter().enumerate().filter_map(|(i, e)| {
        let first = entries[..i].iter().find(|f| f.key.value == e.key.value)?;
        Some(
            at(error::DUPLICATE_OPTION, e.key.span, format!("option '{}' is given twice", e.key.value), "again")
                .with_label(first.key.span, "first here"),
        )
    });
    second.collect()
}

/// Takes `connector` out of the options.
pub(super) fn take_connector(options: &mut Vec<RawOption>) -> Option<Spanned<String>> {
    let i = options.iter().position(|o| o.key == "connector")?;
    let option = options.remove(i);
    Some(Spanned::new(option.value.expose().to_owned(), option.value_span))
}

/// Makes every option a secret that its connector or format declares as one or whose key looks like one, so that nothing can show it.
pub(super) fn mark_secrets(registry: &ConnectorRegistry, connector: Option<&str>, options: &mut [RawOption]) {
    let spec = registry.connectors().find(|c| Some(c.name) == connector);
    for option in options {
        let own = spec.is_some_and(|s| is_secret(s.options, &option.key));
        let format = registry.formats().values().any(|f| {
            let f = f.spec();
            option.key.strip_prefix(f.name).and_then(|k| k.strip_prefix('.')).is_some_and(|k| is_secret(f.options, k))
        });
        if (own || format || is_sensitive(&option.key))
            && let OptionText::Plain(s) = &option.value
        {
            option.value = OptionText::Secret(Secret::new(s.clone()));
        }
    }
}

fn is_secret(specs: &[OptionSpec], key: &str) -> bool {
    specs.iter().any(|s| {
        let pattern = s.key.split_once('#').is_some_and(|(head, tail)| {
            key.len() > head.len() + tail.len() && key.starts_with(head) && key.ends_with(tail)
        });
        s.secret && (s.key == key || s.aliases.contains(&key) || pattern)
    })
}

/// Lays the options of a hint over those of the table.
pub(crate) fn merge(table: &[RawOption], hint: &[RawOption]) -> Vec<RawOption> {
    let kept = table.iter().filter(|o| hint.iter().all(|h| h.key != o.key));
    kept.chain(hint).cloned().collect()
}

/// The error for a table that is used and names no connector.
pub(crate) fn no_connector(name: &str, span: dflow_common::Span, registry: &ConnectorRegistry) -> Diagnostic {
    let all: Vec<_> = registry.connectors().map(|c| c.name).collect();
    let d = at(error::CONNECTOR_MISSING, span, format!("table `{name}` names no connector"), "declared here");
    did_you_mean(d, "", []).with_help(format!("add 'connector' = '…' to its WITH clause: {}", all.join(", ")))
}
