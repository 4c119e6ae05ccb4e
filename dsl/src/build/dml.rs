//! INSERT, UPDATE, DELETE.

use dflow_common::Span;

use super::{Builder, P, Rule, child, children, has};
use crate::ast::*;
use crate::dialect;
use crate::lexer::{Token, TokenKind};

impl Builder<'_> {
    pub(super) fn insert(&mut self, pair: &P) -> Option<Insert> {
        let table = self.name_in(pair);
        let hint = child(pair, Rule::hint).and_then(|h| self.sink_hint(&h, table.as_ref()));
        let partition = child(pair, Rule::partition).map(|p| self.partition(&p));
        let mut columns = Vec::new();
        if let Some(list) = child(pair, Rule::insert_columns) {
            self.trailing_comma(&list);
            columns = children(&list, Rule::path).map(|p| self.idents(&p)).collect();
        }
        let rest = child(pair, Rule::rest)?;
        let span = rest.as_span();
        let tokens = self.tokens_from(self.base + span.start(), self.base + span.end());
        let on_conflict = self.on_conflict(tokens);
        let query = self.query_of(&tokens[..tokens.len() - on_conflict.map_or(0, |(_, len)| len)]);
        Some(Insert {
            overwrite: has(pair, Rule::overwrite),
            table: table?,
            hint,
            partition,
            columns,
            query: query?,
            on_conflict: on_conflict.map(|(c, _)| c),
            span: self.span(pair),
        })
    }

    /// `ON CONFLICT DO action` at the end, and of how many tokens.
    fn on_conflict(&self, tokens: &[Token]) -> Option<(OnConflict, usize)> {
        const WORDS: [&str; 3] = ["ON", "CONFLICT", "DO"];
        let tail = tokens.len().checked_sub(4).map(|at| &tokens[at..])?;
        if !WORDS.iter().zip(tail).all(|(w, t)| t.is_word(self.text, w)) {
            return None;
        }
        let action = match tail[3].text(self.text).to_ascii_uppercase().as_str() {
            "NOTHING" => ConflictAction::Nothing,
            "ERROR" => ConflictAction::Error,
            "DEDUPLICATE" => ConflictAction::Deduplicate,
            _ => return None,
        };
        Some((OnConflict { action, span: Span::new(self.source, tail[0].start, tail[3].end) }, 4))
    }

    /// The options of a hint behind the name of a sink.
    fn sink_hint(&mut self, pair: &P, table: Option<&ObjectName>) -> Option<Options> {
        let span = self.span(pair);
        let token = Token { kind: TokenKind::Hint, start: span.start as usize, end: span.end as usize };
        let target = HintTarget::Table(table.map_or(span, |t| t.object().span));
        match dialect::parse_hint(self.source, self.text, token, target) {
            Ok(hints) => {
                for hint in hints {
                    match hint.args {
                        HintArgs::Options(options) if hint.name == "OPTIONS" => return Some(options),
                        _ => self.errors.push(dialect::misplaced_hint(hint.span)),
                    }
                }
                None
            }
            Err(d) => {
                self.errors.push(*d);
                None
            }
        }
    }

    pub(super) fn partition(&mut self, pair: &P) -> PartitionSpec {
        let mut entries = Vec::new();
        for entry in children(pair, Rule::part_entry) {
            let key = self.ident_in(&entry);
            let value = child(&entry, Rule::expr).map(|e| self.expr(&e));
            entries.extend(key.map(|k| (k, value.flatten())));
        }
        PartitionSpec { entries, span: self.span(pair) }
    }

    fn alias(&mut self, pair: &P) -> Option<Ident> {
        child(pair, Rule::alias).and_then(|a| self.ident_in(&a))
    }

    fn filter(&mut self, pair: &P) -> Option<Box<Expr>> {
        child(pair, Rule::where_).and_then(|w| child(&w, Rule::expr_rest)).and_then(|e| self.expr(&e))
    }

    pub(super) fn update(&mut self, pair: &P) -> Option<StatementKind> {
        let table = self.name_in(pair);
        let alias = self.alias(pair);
        let mut assignments = Vec::new();
        for assignment in children(pair, Rule::assignment) {
            let column = self.name_in(&assignment);
            let value = child(&assignment, Rule::set_expr).and_then(|e| self.expr(&e));
            assignments.extend(column.zip(value));
        }
        let filter = self.filter(pair);
        Some(StatementKind::Update(Box::new(Update { table: table?, alias, assignments, filter })))
    }

    pub(super) fn delete(&mut self, pair: &P) -> Option<StatementKind> {
        let (table, alias, filter) = (self.name_in(pair), self.alias(pair), self.filter(pair));
        Some(StatementKind::Delete(Box::new(Delete { table: table?, alias, filter })))
    }
}
