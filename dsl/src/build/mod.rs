//! One statement's text to its node.
//!
//! # Way
//! The grammar (grammar.pest) gives a tree of rules; the functions here turn it into [`crate::ast`] nodes, one function per
//! rule that has a meaning. Queries, expressions and types inside the statement go to their own parsers with the tokens of
//! their byte range.
//!
//! # Errors
//! Building goes on after an error and leaves a hole (`None`), so that one statement can report several. A statement in
//! which anything was reported becomes [`StatementKind::Invalid`].

mod command;
mod ddl;
mod dml;

use std::sync::Arc;

use dflow_common::{Diagnostic, SourceId, Span, Spanned, SqlType};
use pest::Parser;
use pest::iterators::Pair;

use crate::ast::{Expr, Ident, ObjectName, OptionEntry, Options, Query, StatementKind, StatementSet, Text, TypeRef};
use crate::lexer::{Token, unquote};
use crate::types::TypeParser;
use crate::{dialect, error, message, reserved};

// The derive makes an enum without docs; nothing of it leaves the crate.
#[allow(missing_docs)]
mod grammar {
    #[derive(pest_derive::Parser)]
    #[grammar = "grammar.pest"]
    pub(crate) struct Grammar;
}
pub(crate) use grammar::{Grammar, Rule};

type P<'i> = Pair<'i, Rule>;

/// Reads the statement that consists of all of `tokens`.
///
/// `members` are the inserts of a statement set whose head is this statement (EXPLAIN and COMPILE PLAN).
pub(crate) fn statement(
    source: SourceId,
    text: &Arc<str>,
    tokens: &[Token],
    members: Option<StatementSet>,
) -> Result<StatementKind, Vec<Diagnostic>> {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { return Err(Vec::new()) };
    let mut builder = Builder { source, text, tokens, base: first.start, errors: Vec::new(), members };
    let query_words = ["SELECT", "WITH", "VALUES", "TABLE"];
    let kind = if first.is_op("(") || query_words.iter().any(|w| first.is_word(text, w)) {
        builder.query_of(tokens).map(StatementKind::Query)
    } else {
        match Grammar::parse(Rule::statement, &text[first.start..last.end]) {
            Ok(mut pairs) => pairs.next().and_then(|p| p.into_inner().next()).and_then(|p| builder.kind(p)),
            Err(e) => {
                builder.errors.push(message::grammar_error(source, text, tokens, &e));
                None
            }
        }
    };
    match kind {
        Some(kind) if builder.errors.is_empty() => Ok(kind),
        _ => Err(builder.errors),
    }
}

/// The part of a pair that is a given rule.
fn child<'i>(pair: &P<'i>, rule: Rule) -> Option<P<'i>> {
    pair.clone().into_inner().find(|p| p.as_rule() == rule)
}

fn children<'i>(pair: &P<'i>, rule: Rule) -> impl Iterator<Item = P<'i>> + use<'i> {
    pair.clone().into_inner().filter(move |p| p.as_rule() == rule)
}

fn has(pair: &P, rule: Rule) -> bool {
    child(pair, rule).is_some()
}

struct Builder<'a> {
    source: SourceId,
    text: &'a Arc<str>,
    tokens: &'a [Token],
    /// Where the statement starts in the text.
    base: usize,
    errors: Vec<Diagnostic>,
    members: Option<StatementSet>,
}

impl<'a> Builder<'a> {
    fn kind(&mut self, pair: P) -> Option<StatementKind> {
        match pair.as_rule() {
            Rule::create_table
            | Rule::create_view
            | Rule::create_catalog
            | Rule::create_database
            | Rule::create_function
            | Rule::create_model
            | Rule::create_materialized => self.create(&pair),
            Rule::alter_table
            | Rule::alter_view
            | Rule::alter_catalog
            | Rule::alter_database
            | Rule::alter_function
            | Rule::alter_model
            | Rule::alter_materialized => self.alter(&pair),
            Rule::drop => self.drop(&pair),
            Rule::truncate => self.name_in(&pair).map(StatementKind::Truncate),
            Rule::insert => self.insert(&pair).map(|i| StatementKind::Insert(Box::new(i))),
            Rule::update => self.update(&pair),
            Rule::delete => self.delete(&pair),
            _ => self.command(&pair),
        }
    }

    fn span(&self, pair: &P) -> Span {
        let span = pair.as_span();
        let (start, end) = (self.base + span.start(), self.base + span.end());
        // A rule that ends in an optional part may have taken the white space in front of it.
        let trimmed = pair.as_str().trim_end().len();
        Span::new(self.source, start, (start + trimmed).min(end).max(start))
    }

    /// The tokens of a byte range.
    fn tokens_of(&self, pair: &P) -> &'a [Token] {
        let span = pair.as_span();
        self.tokens_from(self.base + span.start(), self.base + span.end())
    }

    fn tokens_from(&self, start: usize, end: usize) -> &'a [Token] {
        let from = self.tokens.partition_point(|t| t.start < start);
        let to = self.tokens.partition_point(|t| t.start < end);
        &self.tokens[from..to.max(from)]
    }

    fn keep<T>(&mut self, result: Result<T, Vec<Diagnostic>>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(errors) => {
                self.errors.extend(errors);
                None
            }
        }
    }

    fn query(&mut self, pair: &P) -> Option<Box<Query>> {
        let result = dialect::parse_query(self.source, self.text, self.tokens_of(pair));
        self.keep(result).map(Box::new)
    }

    fn query_of(&mut self, tokens: &[Token]) -> Option<Box<Query>> {
        let result = dialect::parse_query(self.source, self.text, tokens);
        self.keep(result).map(Box::new)
    }

    fn expr(&mut self, pair: &P) -> Option<Box<Expr>> {
        let result = dialect::parse_expr(self.source, self.text, self.tokens_of(pair));
        self.keep(result).map(Box::new)
    }

    /// The query of an `AS query` among the parts of a pair.
    fn as_query(&mut self, pair: &P) -> Option<Option<Box<Query>>> {
        match child(pair, Rule::as_query).and_then(|q| child(&q, Rule::rest)) {
            Some(rest) => self.query(&rest).map(Some),
            None => Some(None),
        }
    }

    /// A name's part. Reserved words and double quotes are reported here.
    fn ident(&mut self, pair: &P) -> Option<Ident> {
        let span = self.span(pair);
        let inner = pair.clone().into_inner().next()?;
        let text = inner.as_str();
        match inner.as_rule() {
            Rule::bq => Some(Ident { value: unquote(text), quoted: true, span }),
            Rule::dq => {
                self.errors.push(error::double_quotes(span, text));
                None
            }
            _ => {
                if reserved::is_reserved(text) {
                    self.errors.push(reserved::error(span, text));
                }
                Some(Ident { value: text.to_owned(), quoted: false, span })
            }
        }
    }

    /// All names directly under a pair.
    fn idents(&mut self, pair: &P) -> Vec<Ident> {
        children(pair, Rule::ident).filter_map(|p| self.ident(&p)).collect()
    }

    fn ident_in(&mut self, pair: &P) -> Option<Ident> {
        child(pair, Rule::ident).and_then(|p| self.ident(&p))
    }

    fn name(&mut self, pair: &P) -> Option<ObjectName> {
        let parts = self.idents(pair);
        (!parts.is_empty()).then(|| ObjectName { parts, span: self.span(pair) })
    }

    fn name_in(&mut self, pair: &P) -> Option<ObjectName> {
        child(pair, Rule::name).and_then(|p| self.name(&p))
    }

    /// The names of a `(a, b)` list.
    fn columns_in(&mut self, pair: &P) -> Vec<Ident> {
        match child(pair, Rule::cols) {
            Some(cols) => {
                self.trailing_comma(&cols);
                self.idents(&cols)
            }
            None => Vec::new(),
        }
    }

    fn string(&self, pair: &P) -> Text {
        Spanned::new(unquote(pair.as_str()), self.span(pair))
    }

    fn string_in(&self, pair: &P) -> Option<Text> {
        child(pair, Rule::string).map(|p| self.string(&p))
    }

    fn comment_in(&self, pair: &P) -> Option<Text> {
        child(pair, Rule::comment).and_then(|c| self.string_in(&c))
    }

    fn data_type(&mut self, pair: &P) -> TypeRef {
        let span = self.span(pair);
        let tokens = self.tokens_of(pair);
        let mut parser = TypeParser::new(self.source, self.text, tokens);
        let result = parser.data_type(0).and_then(|ty| match parser.consumed() == tokens.len() {
            true => Ok(ty),
            false => Err(parser.unexpected("the end of the type")),
        });
        let ty = match result {
            Ok(ty) if has_interval(&ty) => {
                self.errors.push(
                    Diagnostic::error(error::UNKNOWN_TYPE, "INTERVAL is no type of a column")
                        .with_span(span, "only in expressions")
                        .with_help("store the number of milliseconds or months as BIGINT"),
                );
                SqlType::STRING
            }
            Ok(ty) => ty,
            Err(d) => {
                self.errors.push(*d);
                SqlType::STRING
            }
        };
        Spanned::new(ty, span)
    }

    fn trailing_comma(&mut self, list: &P) {
        if let Some(comma) = child(list, Rule::comma) {
            self.errors.push(
                Diagnostic::error(error::TRAILING_COMMA, "nothing follows this comma")
                    .with_span(self.span(&comma), "trailing comma")
                    .with_help("take the comma away"),
            );
        }
    }

    fn options(&mut self, pair: &P) -> Options {
        self.trailing_comma(pair);
        let mut entries = Vec::new();
        for option in children(pair, Rule::option) {
            let mut texts = children(&option, Rule::option_text);
            let (Some(key), Some(value)) = (texts.next(), texts.next()) else { continue };
            let (key, value) = (self.option_text(&key, "key"), self.option_text(&value, "value"));
            entries.push(OptionEntry { key, value, span: self.span(&option) });
        }
        Options { entries, span: self.span(pair) }
    }

    fn option_text(&mut self, pair: &P, what: &str) -> Text {
        let span = self.span(pair);
        let Some(inner) = pair.clone().into_inner().next() else { return Spanned::new(String::new(), span) };
        let text = inner.as_str();
        match inner.as_rule() {
            Rule::string => self.string(&inner),
            rule => {
                let value = if rule == Rule::dq { unquote(text) } else { text.to_owned() };
                // A value may be a password: only keys are repeated.
                let help = match what {
                    "key" => format!("write '{}'", value.trim_matches('`').replace('\'', "''")),
                    _ => "put it in single quotes, numbers and booleans too".to_owned(),
                };
                self.errors.push(
                    Diagnostic::error(error::OPTION_NOT_QUOTED, format!("this option {what} is not a string"))
                        .with_span(span, "needs single quotes")
                        .with_help(help),
                );
                Spanned::new(value, span)
            }
        }
    }

    /// The options of a `WITH (…)` among the parts of a pair.
    fn with_options(&mut self, pair: &P) -> Option<Options> {
        self.options_under(pair, Rule::with_options)
    }

    fn options_under(&mut self, pair: &P, rule: Rule) -> Option<Options> {
        let clause = if pair.as_rule() == rule { Some(pair.clone()) } else { child(pair, rule) };
        let list = clause.and_then(|c| child(&c, Rule::options))?;
        Some(self.options(&list))
    }
}

/// Whether a type is or contains an interval.
fn has_interval(ty: &SqlType) -> bool {
    use dflow_common::TypeKind as K;
    match &ty.kind {
        K::IntervalDayTime | K::IntervalYearMonth => true,
        K::Array(t) | K::Multiset(t) => has_interval(t),
        K::Map(k, v) => has_interval(k) || has_interval(v),
        K::Row(fields) => fields.iter().any(|f| has_interval(&f.ty)),
        _ => false,
    }
}
