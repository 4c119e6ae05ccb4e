//! Variables inside string literals: `${var:name}`, `${var:name:-default}`, `${env:NAME}`, `${file:/path}`.
//!
//! # Where
//! In the values of `WITH (…)`, of an `OPTIONS` hint and of `SET`, nowhere else, so that a value can never become SQL.
//! Expanding is a step after parsing: the tree keeps what was written.
//!
//! # What always holds
//! * A text read from the environment or a file makes the whole literal an [`OptionText::Secret`].
//! * What a variable expands to is not looked at again: no nesting.
//! * Other uses of `${` stay as they are: `'${yyyy}-x'` is plain text.
//! * A missing variable is an error with its place ([`error::VARIABLE_MISSING`], class `Config`), never an empty text.

use std::collections::BTreeMap;
use std::fmt;

use dflow_common::suggest::nearest;
use dflow_common::{Diagnostic, Secret, Span};

use crate::ast::{OptionEntry, Options, Text};
use crate::error;

/// Where values come from. The caller decides what `env` and `file` may see.
pub trait VariableSource {
    /// The value of `${var:name}`: given on the command line or in a configuration file.
    fn var(&self, name: &str) -> Option<String>;
    /// The names `var` knows, for "did you mean".
    fn var_names(&self) -> Vec<String> {
        Vec::new()
    }
    /// The value of `${env:NAME}`.
    fn env(&self, name: &str) -> Option<String>;
    /// The content of `${file:path}`.
    ///
    /// # Errors
    /// Why it cannot be read, without the path.
    fn file(&self, path: &str) -> Result<String, String>;
}

type EnvFn = dyn Fn(&str) -> Option<String> + Send + Sync;
type FileFn = dyn Fn(&str) -> Result<String, String> + Send + Sync;

/// A [`VariableSource`] made of a map and two functions.
pub struct Variables {
    vars: BTreeMap<String, String>,
    env: Box<EnvFn>,
    file: Box<FileFn>,
}

impl Variables {
    /// Variables from `vars`, environment variables and files from the two functions.
    pub fn new(
        vars: BTreeMap<String, String>,
        env: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
        file: impl Fn(&str) -> Result<String, String> + Send + Sync + 'static,
    ) -> Self {
        Self { vars, env: Box::new(env), file: Box::new(file) }
    }

    /// No variable, no environment, no file: every reference is missing.
    pub fn none() -> Self {
        Self::new(BTreeMap::new(), |_| None, |_| Err("files cannot be read here".into()))
    }
}

impl VariableSource for Variables {
    fn var(&self, name: &str) -> Option<String> {
        self.vars.get(name).cloned()
    }
    fn var_names(&self) -> Vec<String> {
        self.vars.keys().cloned().collect()
    }
    fn env(&self, name: &str) -> Option<String> {
        (self.env)(name)
    }
    fn file(&self, path: &str) -> Result<String, String> {
        (self.file)(path)
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variables").field("vars", &self.vars.keys()).finish_non_exhaustive()
    }
}

/// The text of an option after its variables were expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionText {
    /// As written, or with `var` values only.
    Plain(String),
    /// Contains the value of an environment variable or a file.
    Secret(Secret),
}

impl OptionText {
    /// The text, for the one who uses it.
    pub fn expose(&self) -> &str {
        match self {
            OptionText::Plain(text) => text,
            OptionText::Secret(secret) => secret.expose(),
        }
    }

    /// Whether it must not be shown.
    pub fn is_secret(&self) -> bool {
        matches!(self, OptionText::Secret(_))
    }
}

impl fmt::Display for OptionText {
    /// The text, or `***`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptionText::Plain(text) => f.write_str(text),
            OptionText::Secret(secret) => secret.fmt(f),
        }
    }
}

/// An option with its variables expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedOption {
    /// The key as written.
    pub key: Text,
    /// The value.
    pub value: OptionText,
    /// Where the value stands, quotes included.
    pub value_span: Span,
}

/// Expands the values of a list of options; keys are taken as they are.
///
/// # Errors
/// All references that are malformed or missing.
pub fn expand_options(options: &Options, source: &dyn VariableSource) -> Result<Vec<ResolvedOption>, Vec<Diagnostic>> {
    let mut resolved = Vec::with_capacity(options.entries.len());
    let mut errors = Vec::new();
    for OptionEntry { key, value, .. } in &options.entries {
        match expand(value, source) {
            Ok(text) => resolved.push(ResolvedOption { key: key.clone(), value: text, value_span: value.span }),
            Err(found) => errors.extend(found),
        }
    }
    if errors.is_empty() { Ok(resolved) } else { Err(errors) }
}

/// Expands the references in one literal.
///
/// # Errors
/// All references in it that are malformed or missing.
pub fn expand(literal: &Text, source: &dyn VariableSource) -> Result<OptionText, Vec<Diagnostic>> {
    let text = literal.value.as_str();
    let mut out = String::with_capacity(text.len());
    let mut secret = false;
    let mut errors = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find("${") {
        let start = at + found;
        out.push_str(&text[at..start]);
        let (reference, len) = match reference(&text[start..]) {
            Ok(Some(found)) => found,
            Ok(None) => {
                out.push_str("${");
                at = start + 2;
                continue;
            }
            Err((message, len, help)) => {
                let span = subspan(literal, start, len);
                errors.push(
                    Diagnostic::error(error::VARIABLE_SYNTAX, message).with_span(span, "malformed").with_help(help),
                );
                at = start + len;
                continue;
            }
        };
        at = start + len;
        match lookup(&reference, subspan(literal, start, len), source) {
            Ok((value, tainted)) => {
                out.push_str(&value);
                secret |= tainted;
            }
            Err(d) => errors.push(*d),
        }
    }
    out.push_str(&text[at..]);
    match (errors.is_empty(), secret) {
        (false, _) => Err(errors),
        (true, true) => Ok(OptionText::Secret(Secret::new(out))),
        (true, false) => Ok(OptionText::Plain(out)),
    }
}

enum Reference<'a> {
    Var { name: &'a str, default: Option<&'a str> },
    Env { name: &'a str },
    File { path: &'a str },
}

type Malformed = (String, usize, &'static str);
const FORMS: &str = "the forms are ${var:name}, ${var:name:-default}, ${env:NAME} and ${file:/path}";

/// The reference a text starts with, and its length. `None`: `${` that is none of ours.
fn reference(text: &str) -> Result<Option<(Reference<'_>, usize)>, Malformed> {
    /// Kinds that were surely meant as one of ours.
    const NEAR: &[&str] =
        &["vars", "variable", "environ", "environment", "envvar", "files", "secret", "vault", "aws-sm"];
    let body = &text[2..];
    let Some((kind, rest)) = body.split_once(':') else { return Ok(None) };
    if NEAR.contains(&kind) {
        let len = text.find('}').map_or(text.len(), |e| e + 1);
        return Err((format!("there are no `${{{kind}:…}}` references"), len, FORMS));
    }
    if !["var", "env", "file"].contains(&kind) {
        return Ok(None);
    }
    let Some(end) = rest.find('}') else {
        return Err(("this reference has no `}`".into(), text.len(), FORMS));
    };
    let content = &rest[..end];
    let len = 2 + kind.len() + 1 + end + 1;
    let is_name = |n: &str| !n.is_empty() && n.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    let malformed = |what: &str| (format!("`{}` is not {what}", content.escape_debug()), len, FORMS);
    let reference = match kind {
        "var" => {
            let (name, default) = match content.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (content, None),
            };
            if !is_name(name) {
                return Err(malformed("the name of a variable"));
            }
            Reference::Var { name, default }
        }
        "env" if content.contains(":-") => {
            return Err(("only ${var:…} has a default".into(), len, FORMS));
        }
        "env" if !is_name(content) => return Err(malformed("the name of an environment variable")),
        "env" => Reference::Env { name: content },
        _ if content.is_empty() => return Err(("the path of the file is missing".into(), len, FORMS)),
        _ => Reference::File { path: content },
    };
    Ok(Some((reference, len)))
}

/// The value of a reference, and whether it is a secret.
fn lookup(reference: &Reference, span: Span, source: &dyn VariableSource) -> Result<(String, bool), Box<Diagnostic>> {
    let missing = |what: String| Diagnostic::error(error::VARIABLE_MISSING, what).with_span(span, "not set");
    match reference {
        Reference::Var { name, default } => match (source.var(name), default) {
            (Some(value), _) => Ok((value, false)),
            (None, Some(default)) => Ok(((*default).to_owned(), false)),
            (None, None) => {
                let names = source.var_names();
                let d = missing(format!("the variable `{name}` is not set"))
                    .with_help(format!("give it on the command line: `--var {name}=…`"))
                    .with_help(format!("or give it a default in the script: `${{var:{name}:-default}}`"));
                Err(Box::new(match nearest(name, names.iter().map(String::as_str)) {
                    Some(near) => d.with_help(format!("did you mean `{near}`?")),
                    None => d,
                }))
            }
        },
        Reference::Env { name } => match source.env(name) {
            Some(value) => Ok((value, true)),
            None => Err(Box::new(
                missing(format!("the environment variable `{name}` is not set"))
                    .with_help(format!("set it before the start: `{name}=… dflow run …`")),
            )),
        },
        Reference::File { path } => match source.file(path) {
            // Editors and `echo` end a file with a newline that no password contains.
            Ok(content) => {
                let trimmed = content.strip_suffix('\n').unwrap_or(&content);
                Ok((trimmed.strip_suffix('\r').unwrap_or(trimmed).to_owned(), true))
            }
            Err(why) => Err(Box::new(
                Diagnostic::error(error::VARIABLE_FILE, format!("cannot read `{path}`: {why}"))
                    .with_span(span, "cannot be read")
                    .with_help("the path is taken as written; the user that runs dflow needs read access"),
            )),
        },
    }
}

/// The place of a part of a literal; the whole literal when doubled quotes have moved the bytes.
fn subspan(literal: &Text, start: usize, len: usize) -> Span {
    let span = literal.span;
    let quotes = (span.end - span.start) as usize - literal.value.len().min((span.end - span.start) as usize);
    match quotes {
        0 => Span::new(span.source, span.start as usize + start, span.start as usize + start + len),
        2 => Span::new(span.source, span.start as usize + 1 + start, span.start as usize + 1 + start + len),
        _ => span,
    }
}

#[cfg(test)]
mod tests {
    use dflow_common::{Class, SourceId, Spanned};

    use super::*;

    fn variables() -> Variables {
        let vars =
            BTreeMap::from([("dir".to_owned(), "/data".to_owned()), ("tricky".to_owned(), "${env:PW}".to_owned())]);
        Variables::new(
            vars,
            |name| (name == "PW").then(|| "hunter2".to_owned()),
            |path| match path {
                "/run/secrets/pw" => Ok("s3cret\n".to_owned()),
                _ => Err("no such file".to_owned()),
            },
        )
    }

    fn literal(value: &str) -> Text {
        Spanned::new(value.to_owned(), Span::new(SourceId(0), 10, 12 + value.len()))
    }

    fn expanded(value: &str) -> OptionText {
        expand(&literal(value), &variables()).unwrap()
    }

    fn only_error(value: &str) -> Diagnostic {
        let errors = expand(&literal(value), &variables()).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        errors[0].clone()
    }

    #[test]
    fn variables_stay_plain_and_what_they_contain_is_not_expanded() {
        assert_eq!(expanded("${var:dir}/in"), OptionText::Plain("/data/in".into()));
        assert_eq!(expanded("${var:port:-3306}"), OptionText::Plain("3306".into()));
        assert_eq!(expanded("${var:x:-}"), OptionText::Plain(String::new()));
        assert_eq!(expanded("${var:tricky}"), OptionText::Plain("${env:PW}".into()));
    }

    #[test]
    fn environment_and_files_make_the_whole_literal_a_secret() {
        let url = expanded("mysql://root:${env:PW}@${var:dir}");
        assert_eq!(url.expose(), "mysql://root:hunter2@/data");
        assert!(url.is_secret());
        assert_eq!(format!("{url} {url:?}"), "*** Secret(***)");
        assert_eq!(expanded("${file:/run/secrets/pw}").expose(), "s3cret");
    }

    #[test]
    fn other_dollars_are_text() {
        for text in ["${yyyy}", "$var", "${date:HH}", "cost $5", "${", "$${x}"] {
            assert_eq!(expanded(text), OptionText::Plain(text.into()));
        }
    }

    #[test]
    fn a_missing_variable_is_a_configuration_error_at_its_place() {
        let d = only_error("a/${var:dri}");
        assert_eq!((d.code, d.class), (error::VARIABLE_MISSING.code, Class::Config));
        assert_eq!(d.span(), Some(Span::new(SourceId(0), 13, 23)));
        assert!(d.help.iter().any(|h| h.contains("did you mean `dir`")), "{d}");
        assert_eq!(only_error("${env:NOPE}").code, error::VARIABLE_MISSING.code);
        let d = only_error("${file:/nope}");
        assert_eq!((d.code, d.class), (error::VARIABLE_FILE.code, Class::Config));
    }

    #[test]
    fn malformed_references_are_named() {
        for text in ["${var:}", "${var:a b}", "${env:A:-b}", "${env:A", "${file:}", "${vars:x}", "${vault:x}"] {
            assert_eq!(only_error(text).code, error::VARIABLE_SYNTAX.code, "{text}");
        }
    }

    #[test]
    fn all_errors_of_a_literal_are_found() {
        let errors = expand(&literal("${var:a}${var:b}${var:}"), &Variables::none()).unwrap_err();
        assert_eq!(errors.len(), 3);
    }

    #[test]
    fn doubled_quotes_make_the_place_the_whole_literal() {
        let text = Spanned::new("'${var:x}".to_owned(), Span::new(SourceId(0), 0, 12));
        let errors = expand(&text, &Variables::none()).unwrap_err();
        assert_eq!(errors[0].span(), Some(text.span));
    }
}
