//! Queries and expressions: this crate's tokens to sqlparser's tree.
//!
//! # Way
//! ```text
//! script tokens ─ convert: literals decoded, hints and WITHIN set aside, foreign operators refused ─> sqlparser tokens
//!               ─ sqlparser's parser with [`Flink`] as dialect ───────────────────────────────────> tree
//!               ─ check: hints at a table, reserved words as names ──────────────────────────────> Query
//! ```
//! The tree is described in [`crate::ast::Query`]'s module. The JSON functions' clauses become named arguments:
//! `JSON_VALUE(j, 'p' RETURNING INT DEFAULT 0 ON EMPTY NULL ON ERROR)` is
//! `JSON_VALUE(j, 'p', returning => 'INT', on_empty => 'DEFAULT', on_empty_default => 0, on_error => 'NULL')`;
//! `JSON_QUERY` has `wrapper => 'WITH CONDITIONAL ARRAY'` and the like, the constructors `on_null => 'NULL' | 'ABSENT'`.
//!
//! # Limits
//! sqlparser's own recursion is bounded and on a growing stack; the number of its prefix parses is bounded too, because its
//! backtracking over parentheses in FROM is exponential in hostile texts; operators chained in one expression are bounded
//! ([`CHAIN_MAX`]), because the tree they make is as deep as the chain is long.

mod check;
mod convert;
mod hints;
mod hooks;
mod json;

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use dflow_common::limits::NESTING_MAX;
use dflow_common::{Diagnostic, SourceId, Span};
use sqlparser::ast as sql;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token as SqlToken;

use crate::ast::{Expr, Query};
use crate::error;
use crate::lexer::Token;

/// How deep the operators of an expression may chain and nest, and how many set operations a query may have.
///
/// sqlparser's tree is cloned, compared, measured and dropped by recursion; a debug build needs 5 KB of stack per node for
/// that, and threads have 2 MB.
pub const CHAIN_MAX: usize = 250;
/// sqlparser's recursion counter: it takes several steps per parenthesis.
const RECURSION_MAX: usize = 8 * NESTING_MAX;
/// Stack that must be left when one of sqlparser's recursive functions starts, else it grows. The crate's default of 128 KB is
/// less than what a debug build needs from one such function to the next.
const STACK_LEFT_MIN: usize = 1 << 20;
/// Prefix parses per token before a query is given up. Honest queries need fewer than ten.
const STEPS_PER_TOKEN_MAX: u64 = 32;

type Result<T> = std::result::Result<T, Vec<Diagnostic>>;

/// Reads a query from all of `tokens`.
pub(crate) fn parse_query(source: SourceId, text: &Arc<str>, tokens: &[Token]) -> Result<Query> {
    read_query(source, text, tokens).map_err(|errors| {
        // `SELECT 1 ⏎ INSERT INTO …` fails in many ways; there is one cause.
        crate::message::missing_semicolon(source, text, tokens).map_or(errors, |d| vec![d])
    })
}

fn read_query(source: SourceId, text: &Arc<str>, tokens: &[Token]) -> Result<Query> {
    let span = whole(source, tokens);
    let (converted, ast) = run(source, text, tokens, |parser| parser.parse_query())?;
    let query = Query { ast, span, hints: converted.hints, withins: converted.withins };
    let errors = check::query(&query);
    if errors.is_empty() { Ok(query) } else { Err(errors) }
}

/// Reads an expression from all of `tokens`.
pub(crate) fn parse_expr(source: SourceId, text: &Arc<str>, tokens: &[Token]) -> Result<Expr> {
    let span = whole(source, tokens);
    let (converted, ast) = run(source, text, tokens, |parser| parser.parse_expr())?;
    let expr = Expr { ast, span };
    let mut errors = check::expr(&expr);
    errors.extend(converted.hints.iter().map(|h| hints::misplaced(h.span)));
    if errors.is_empty() { Ok(expr) } else { Err(errors) }
}

fn whole(source: SourceId, tokens: &[Token]) -> Span {
    match (tokens.first(), tokens.last()) {
        (Some(first), Some(last)) => Span::new(source, first.start, last.end),
        _ => Span::new(source, 0, 0),
    }
}

fn run<T>(
    source: SourceId,
    text: &Arc<str>,
    tokens: &[Token],
    read: impl FnOnce(&mut Parser) -> std::result::Result<T, ParserError>,
) -> Result<(convert::Converted, T)> {
    recursive::set_minimum_stack_size(STACK_LEFT_MIN.max(recursive::get_minimum_stack_size()));
    let mut converted = convert::convert(source, text, tokens)?;
    let sql_tokens = std::mem::take(&mut converted.tokens);
    let dialect = Flink {
        source,
        text: text.clone(),
        steps: Cell::new(STEPS_PER_TOKEN_MAX * (sql_tokens.len() as u64 + 16)),
        furthest: Cell::new(0),
        refusal: RefCell::new(None),
    };
    let mut parser = Parser::new(&dialect).with_recursion_limit(RECURSION_MAX).with_tokens_with_locations(sql_tokens);
    let outcome = read(&mut parser).and_then(|ast| match parser.peek_token_ref().token {
        SqlToken::EOF => Ok(ast),
        _ => parser.expected_ref("the end of the statement", parser.peek_token_ref()),
    });
    match outcome {
        Ok(ast) => Ok((converted, ast)),
        Err(e) => {
            let refusal = dialect.refusal.borrow_mut().take();
            let furthest = dialect.furthest.get();
            Err(vec![refusal.unwrap_or_else(|| crate::message::query_error(source, text, tokens, &e, furthest))])
        }
    }
}

/// Flink SQL as a sqlparser dialect. One value per parse: it carries the budget and the refusal of its hooks.
#[derive(Debug)]
struct Flink {
    source: SourceId,
    text: Arc<str>,
    /// Prefix parses left.
    steps: Cell<u64>,
    /// Where the last expression in the text was begun: what sqlparser says after backtracking is about an earlier place.
    furthest: Cell<usize>,
    /// The diagnostic of a hook that must not be backtracked over.
    refusal: RefCell<Option<Diagnostic>>,
}

impl Flink {
    /// Ends the parse with a diagnostic of our own. sqlparser backtracks over every error but this one.
    fn refuse(&self, diagnostic: Diagnostic) -> ParserError {
        self.refusal.borrow_mut().get_or_insert(diagnostic);
        ParserError::RecursionLimitExceeded
    }

    /// Counts one prefix parse.
    fn step(&self, at: Option<Span>) -> std::result::Result<(), ParserError> {
        self.furthest.set(self.furthest.get().max(at.map_or(0, |s| s.start as usize)));
        match self.steps.get().checked_sub(1) {
            Some(left) => {
                self.steps.set(left);
                Ok(())
            }
            None => {
                let span = at.unwrap_or(Span::new(self.source, 0, 0));
                Err(self.refuse(
                    Diagnostic::error(error::QUERY_SYNTAX, "this query cannot be read in reasonable time")
                        .with_span(span, "gave up here")
                        .with_help("take doubled parentheses away, or move subqueries into views"),
                ))
            }
        }
    }

    fn span(&self, span: sqlparser::tokenizer::Span) -> Option<Span> {
        crate::ast::span_of(self.source, span)
    }
}

/// A name for a node that has no place in the text.
fn name(value: &str, span: sqlparser::tokenizer::Span) -> sql::Ident {
    sql::Ident { value: value.to_owned(), quote_style: None, span }
}

/// A call of a function with these arguments.
fn call(name: sql::Ident, args: Vec<sql::FunctionArg>) -> sql::Expr {
    sql::Expr::Function(function(name, args))
}

fn function(name: sql::Ident, args: Vec<sql::FunctionArg>) -> sql::Function {
    sql::Function {
        name: sql::ObjectName::from(vec![name]),
        uses_odbc_syntax: false,
        parameters: sql::FunctionArguments::None,
        args: sql::FunctionArguments::List(sql::FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }
}

fn positional(expr: sql::Expr) -> sql::FunctionArg {
    sql::FunctionArg::Unnamed(sql::FunctionArgExpr::Expr(expr))
}

fn named(name_: &str, expr: sql::Expr) -> sql::FunctionArg {
    sql::FunctionArg::Named {
        name: name(name_, sqlparser::tokenizer::Span::empty()),
        arg: sql::FunctionArgExpr::Expr(expr),
        operator: sql::FunctionArgOperator::RightArrow,
    }
}

fn literal(text: impl Into<String>, span: sqlparser::tokenizer::Span) -> sql::Expr {
    sql::Expr::Value(sql::ValueWithSpan { value: sql::Value::SingleQuotedString(text.into()), span })
}

pub(crate) use hints::{misplaced as misplaced_hint, parse as parse_hint};
