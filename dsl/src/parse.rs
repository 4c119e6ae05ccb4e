//! The script: text to statements, with all independent errors.
//!
//! # Way
//! ```text
//! text ─ lexer ─> tokens ─ cut at `;` ─> chunks ─ brackets, nesting ─> one statement each ─ build ─> Script
//!                                        statement sets: BEGIN … END joins the chunks of its members
//! ```
//! # Recovery
//! A chunk with an error becomes [`StatementKind::Invalid`] and the next chunk is read as if nothing had happened. Where a `;`
//! is missing, the chunk is cut there and both halves are read.

use std::sync::Arc;

use dflow_common::limits::{DIAGNOSTICS_MAX, NESTING_MAX, SCRIPT_BYTES_MAX};
use dflow_common::suggest::nearest;
use dflow_common::{Diagnostic, SourceId, Span};

use crate::ast::*;
use crate::lexer::{Token, TokenKind, lex, unquote};
use crate::message::{STATEMENT_WORDS, starts_statement};
use crate::{build, error};

/// A script and everything that is wrong with its text.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The statements; those with errors are [`StatementKind::Invalid`].
    pub script: Script,
    /// In the order of the text, at most [`DIAGNOSTICS_MAX`].
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    /// Whether the script may be used.
    pub fn is_ok(&self) -> bool {
        self.diagnostics.is_empty()
    }
}

/// Reads a script. Never fails: what cannot be read is in the diagnostics.
pub fn parse(source: SourceId, text: &str) -> Parsed {
    if text.len() > SCRIPT_BYTES_MAX {
        let mut end = SCRIPT_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let d = Diagnostic::error(error::SCRIPT_TOO_LARGE, format!("a script has at most {SCRIPT_BYTES_MAX} bytes"))
            .with_span(Span::new(source, end, end), format!("the text has {} bytes", text.len()))
            .with_help("put the data into a file and read it with the filesystem connector");
        return Parsed { script: Script { source, statements: Vec::new() }, diagnostics: vec![d] };
    }
    let (tokens, errors) = lex(source, text);
    let lexical = errors.len();
    let mut reader =
        Reader { source, text: Arc::from(text), chunks: chunks(&tokens), statements: Vec::new(), errors, lexical };
    reader.chunks.reverse();
    while let Some(chunk) = reader.chunks.pop() {
        reader.statement(chunk);
    }
    let Reader { statements, mut errors, .. } = reader;
    errors.sort_by_key(|d| d.span().map_or(0, |s| s.start));
    if errors.len() > DIAGNOSTICS_MAX {
        let more = errors.len() - (DIAGNOSTICS_MAX - 1);
        let at = errors[DIAGNOSTICS_MAX - 1].span().unwrap_or(Span::new(source, 0, 0));
        errors.truncate(DIAGNOSTICS_MAX - 1);
        errors.push(
            Diagnostic::error(error::TOO_MANY_ERRORS, format!("{more} more errors are not shown"))
                .with_span(at, "the next one"),
        );
    }
    Parsed { script: Script { source, statements }, diagnostics: errors }
}

/// The runs of tokens between semicolons; empty ones are left out.
fn chunks(tokens: &[Token]) -> Vec<&[Token]> {
    tokens.split(|t| t.is_op(";")).filter(|c| !c.is_empty()).collect()
}

/// What has been read of a statement set.
struct Members<'a> {
    inserts: Vec<Insert>,
    /// Whether a member had an error.
    failed: bool,
    /// The last tokens that belong to the set: a member may have been cut where a `;` is missing.
    last: &'a [Token],
}

/// How a statement set goes on behind one of its chunks.
enum Next {
    /// With the next chunk.
    Member,
    /// It has ended.
    End,
    /// It has not ended, but the chunk is no part of it.
    Left,
}

struct Reader<'a> {
    source: SourceId,
    text: Arc<str>,
    /// What is still to be read, last first.
    chunks: Vec<&'a [Token]>,
    statements: Vec<Statement>,
    errors: Vec<Diagnostic>,
    /// How many of the errors, from the front, are the lexer's.
    lexical: usize,
}

impl<'a> Reader<'a> {
    fn span(&self, tokens: &[Token]) -> Span {
        match (tokens.first(), tokens.last()) {
            (Some(first), Some(last)) => Span::new(self.source, first.start, last.end),
            _ => Span::new(self.source, 0, 0),
        }
    }

    fn word(&self, tokens: &[Token], at: usize, word: &str) -> bool {
        tokens.get(at).is_some_and(|t| t.is_word(&self.text, word))
    }

    fn words(&self, tokens: &[Token], at: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(i, w)| self.word(tokens, at + i, w))
    }

    fn push(&mut self, kind: StatementKind, span: Span) {
        self.statements.push(Statement { kind, span });
    }

    fn invalid(&mut self, chunk: &[Token]) {
        let creates = self.created_name(chunk);
        self.push(StatementKind::Invalid(Invalid { creates }), self.span(chunk));
    }

    /// One statement; a statement set takes more chunks.
    fn statement(&mut self, chunk: &'a [Token]) {
        if let Some(begin) = self.set_head(chunk) {
            return self.statement_set(chunk, begin);
        }
        if self.words(chunk, 0, &["BEGIN", "STATEMENT", "SET"]) && chunk.len() == 3 {
            return self.statement_set(chunk, chunk.len());
        }
        if let Some(d) = self.refuse(chunk) {
            self.errors.push(d);
            return self.invalid(chunk);
        }
        match self.read(chunk, None) {
            Ok((kind, used)) => self.push(kind, self.span(used)),
            Err(used) => self.invalid(used),
        }
    }

    /// Reads a chunk. When a `;` is missing inside, its front is read and the rest becomes the next chunk.
    /// Both outcomes come with the tokens they are about.
    fn read(
        &mut self,
        chunk: &'a [Token],
        members: Option<StatementSet>,
    ) -> Result<(StatementKind, &'a [Token]), &'a [Token]> {
        // Where a token is broken, what follows from it is no error of its own.
        let span = self.span(chunk);
        let inside = |d: &Diagnostic| d.span().is_some_and(|s| span.start <= s.start && s.start < span.end);
        if self.errors[..self.lexical].iter().any(inside) {
            return Err(chunk);
        }
        if let Err(d) = check_brackets(self.source, &self.text, chunk) {
            self.errors.push(*d);
            return Err(chunk);
        }
        let errors = match build::statement(self.source, &self.text, chunk, members) {
            Ok(kind) => return Ok((kind, chunk)),
            Err(errors) => errors,
        };
        let cut = errors.iter().find(|d| d.code == error::MISSING_SEMICOLON.code).and_then(Diagnostic::span);
        let cut = cut
            .map(|s| chunk.partition_point(|t| t.start < s.start as usize))
            .filter(|at| *at > 0 && *at < chunk.len());
        let Some(cut) = cut else {
            self.errors.extend(errors);
            return Err(chunk);
        };
        self.errors.extend(errors.into_iter().filter(|d| d.code == error::MISSING_SEMICOLON.code));
        let (front, rest) = chunk.split_at(cut);
        self.chunks.push(rest);
        match build::statement(self.source, &self.text, front, None) {
            Ok(kind) => Ok((kind, front)),
            Err(errors) => {
                self.errors.extend(errors);
                Err(front)
            }
        }
    }

    /// Statements that are refused by their first words.
    fn refuse(&self, chunk: &[Token]) -> Option<Diagnostic> {
        let first = *chunk.first()?;
        let span = self.span(&chunk[..1]);
        let shown = first.describe(&self.text);
        if self.words(chunk, 0, &["STATEMENT", "SET"]) {
            return Some(
                Diagnostic::error(error::STATEMENT_SET, "a statement set starts with EXECUTE")
                    .with_span(self.span(&chunk[..2]), "EXECUTE is missing")
                    .with_help("write `EXECUTE STATEMENT SET BEGIN …; …; END;`"),
            );
        }
        if self.word(chunk, 0, "END") {
            return Some(
                Diagnostic::error(error::STATEMENT_SET, "END without a statement set")
                    .with_span(span, "nothing to end here")
                    .with_help("a statement set starts with `EXECUTE STATEMENT SET BEGIN`"),
            );
        }
        if self.words(chunk, 0, &["INSERT"]) && self.word(chunk, 2, "TABLE") {
            return Some(
                Diagnostic::error(error::FOREIGN_STATEMENT, "Flink SQL has no `INSERT INTO TABLE`")
                    .with_span(self.span(&chunk[2..3]), "one word too many")
                    .with_help("write `INSERT INTO name …`"),
            );
        }
        let foreign = |help: &str| {
            Diagnostic::error(error::FOREIGN_STATEMENT, format!("Flink SQL has no statement {shown}"))
                .with_span(span, "not a Flink SQL statement")
                .with_help(help)
        };
        if first.kind != TokenKind::Word {
            return (!first.is_op("(")).then(|| {
                Diagnostic::error(error::UNKNOWN_STATEMENT, format!("expected a statement, found {shown}"))
                    .with_span(span, "no statement starts like this")
            });
        }
        let word = first.text(&self.text).to_ascii_uppercase();
        Some(match word.as_str() {
            "UPSERT" => foreign("INSERT INTO a table with a PRIMARY KEY is an upsert"),
            "MERGE" => foreign("INSERT INTO a table with a PRIMARY KEY is an upsert; join in its query"),
            "SOURCE" => foreign("put the statements into one script"),
            "BEGIN" | "COMMIT" | "ROLLBACK" | "START" => {
                foreign("a set of inserts that runs as one job is `EXECUTE STATEMENT SET BEGIN …; END;`")
            }
            "GRANT" | "REVOKE" => foreign("access rights are kept by the systems the tables live in"),
            _ if STATEMENT_WORDS.contains(&word.as_str()) || word == "TABLE" => return None,
            _ => {
                let d = Diagnostic::error(error::UNKNOWN_STATEMENT, format!("no statement starts with {shown}"))
                    .with_span(span, "unknown statement");
                match nearest(&word, STATEMENT_WORDS.iter().copied()) {
                    Some(near) => d.with_help(format!("did you mean `{near}`?")),
                    None => d.with_help("statements start with words such as SET, CREATE, INSERT, SELECT"),
                }
            }
        })
    }

    /// Index behind BEGIN when a chunk is the head of a statement set.
    fn set_head(&self, chunk: &[Token]) -> Option<usize> {
        /// `COMPILE AND EXECUTE PLAN 'f' IF NOT EXISTS FOR STATEMENT SET BEGIN` and all details of EXPLAIN fit.
        const HEAD_TOKENS_MAX: usize = 16;
        let heads = ["EXECUTE", "EXPLAIN", "COMPILE"];
        if !heads.iter().any(|w| self.word(chunk, 0, w)) {
            return None;
        }
        (1..chunk.len().min(HEAD_TOKENS_MAX))
            .find(|at| self.words(chunk, *at, &["STATEMENT", "SET", "BEGIN"]))
            .map(|at| at + 3)
    }

    /// `… BEGIN insert; insert; END`, or `BEGIN STATEMENT SET; insert; END`: chunks up to END.
    fn statement_set(&mut self, head: &'a [Token], begin: usize) {
        let begins = &head[..begin];
        let mut members = Members { inserts: Vec::new(), failed: false, last: begins };
        let mut chunk = (begin < head.len()).then(|| &head[begin..]).or_else(|| self.chunks.pop());
        let mut closed = false;
        while let Some(member) = chunk {
            match self.member(member, begins, &mut members) {
                Next::Member => chunk = self.chunks.pop(),
                Next::End => {
                    closed = true;
                    break;
                }
                Next::Left => break,
            }
        }
        let wrong = match (closed, members.failed || !members.inserts.is_empty()) {
            (true, true) => None,
            (true, false) => Some(
                Diagnostic::error(error::STATEMENT_SET, "this statement set is empty")
                    .with_span(self.span(begins), "no INSERT"),
            ),
            (false, _) => Some(
                Diagnostic::error(error::STATEMENT_SET, "this statement set has no END")
                    .with_span(self.span(begins), "starts here")
                    .with_help("write `END;` after its last INSERT"),
            ),
        };
        self.errors.extend(wrong);
        let span = self.span(begins).join(self.span(members.last));
        let set = StatementSet { inserts: members.inserts, span };
        let kind = if set.inserts.is_empty() {
            None
        } else if self.word(head, 0, "EXECUTE") || self.word(head, 0, "BEGIN") {
            Some(StatementKind::StatementSet(set))
        } else {
            // EXPLAIN or COMPILE PLAN: the head is a statement of its own that has the set as its object.
            self.read(begins, Some(set)).ok().map(|(kind, _)| kind)
        };
        self.push(kind.unwrap_or(StatementKind::Invalid(Invalid { creates: None })), span);
    }

    /// One chunk of a statement set.
    fn member(&mut self, chunk: &'a [Token], begins: &[Token], members: &mut Members<'a>) -> Next {
        if self.word(chunk, 0, "END") {
            let (end, rest) = chunk.split_at(1);
            members.last = end;
            if let Some(next) = rest.first() {
                self.errors.push(
                    Diagnostic::error(error::MISSING_SEMICOLON, "a `;` is missing after END")
                        .with_span(Span::new(self.source, next.start, next.end), "another statement starts here"),
                );
                self.chunks.push(rest);
            }
            return Next::End;
        }
        if self.word(chunk, 0, "INSERT") || self.words(chunk, 0, &["EXECUTE", "INSERT"]) {
            let (body, ended) = self.without_end(chunk);
            let used = match self.read(body, None) {
                Ok((StatementKind::Insert(insert), used)) => {
                    members.inserts.push(*insert);
                    used
                }
                Ok((_, used)) | Err(used) => {
                    members.failed = true;
                    used
                }
            };
            members.last = if used.len() == body.len() { chunk } else { used };
            return if ended { Next::End } else { Next::Member };
        }
        let known = STATEMENT_WORDS.iter().any(|w| self.word(chunk, 0, w));
        if known && !self.end_follows() {
            // The set was left open: this statement is the next one of the script.
            self.chunks.push(chunk);
            return Next::Left;
        }
        let unknown = if known { None } else { self.refuse(chunk) };
        self.errors.push(unknown.unwrap_or_else(|| {
            let found = chunk[0].describe(&self.text);
            Diagnostic::error(error::STATEMENT_SET, format!("only INSERT can be in a statement set, found {found}"))
                .with_span(self.span(&chunk[..1]), "not an INSERT")
                .with_label(self.span(begins), "the set starts here")
                .with_help("end the set with `END;` first")
        }));
        members.failed = true;
        members.last = chunk;
        Next::Member
    }

    /// Whether an END comes before the next statement set.
    fn end_follows(&self) -> bool {
        let stops = |c: &&&[Token]| self.set_head(c).is_some() || self.word(c, 0, "BEGIN") || self.word(c, 0, "END");
        self.chunks.iter().rev().find(stops).is_some_and(|c| self.word(c, 0, "END"))
    }

    /// A member without an END that belongs to the set: the `;` before it is missing.
    fn without_end(&mut self, member: &'a [Token]) -> (&'a [Token], bool) {
        let Some((last, body)) = member.split_last() else { return (member, false) };
        let count = |w: &str| member.iter().filter(|t| t.is_word(&self.text, w)).count();
        if !last.is_word(&self.text, "END") || count("END") <= count("CASE") {
            return (member, false);
        }
        let at = body.last().map_or(last.start, |t| t.end);
        self.errors.push(
            Diagnostic::error(error::STATEMENT_SET, "a `;` is missing before END")
                .with_span(Span::new(self.source, last.start, last.end), "ends the set")
                .with_label(Span::new(self.source, at, at), "`;` goes here")
                .with_help("every INSERT of a statement set ends with `;`, the last one too"),
        );
        (body, true)
    }

    /// The name a CREATE that does not parse was going to define.
    fn created_name(&self, chunk: &[Token]) -> Option<ObjectName> {
        const WORDS: &[&str] = &[
            "OR",
            "REPLACE",
            "ALTER",
            "TEMPORARY",
            "SYSTEM",
            "MATERIALIZED",
            "TABLE",
            "VIEW",
            "CATALOG",
            "DATABASE",
            "FUNCTION",
            "MODEL",
            "IF",
            "NOT",
            "EXISTS",
        ];
        if !self.word(chunk, 0, "CREATE") && !self.word(chunk, 0, "REPLACE") {
            return None;
        }
        let skipped = chunk[1..].iter().take_while(|t| WORDS.iter().any(|w| t.is_word(&self.text, w))).count();
        let mut parts: Vec<Ident> = Vec::new();
        for (i, token) in chunk[1 + skipped..].iter().enumerate() {
            let text = token.text(&self.text);
            match (i % 2, token.kind) {
                (0, TokenKind::Word) => {
                    parts.push(Ident {
                        value: text.to_owned(),
                        quoted: false,
                        span: Span::new(self.source, token.start, token.end),
                    });
                }
                (0, TokenKind::Quoted) => {
                    parts.push(Ident {
                        value: unquote(text),
                        quoted: true,
                        span: Span::new(self.source, token.start, token.end),
                    });
                }
                (1, TokenKind::Op(".")) => {}
                _ => break,
            }
        }
        let (first, last) = (parts.first()?, parts.last()?);
        Some(ObjectName { span: first.span.join(last.span), parts })
    }
}

/// Brackets match, and nothing is nested deeper than [`NESTING_MAX`]: what reads the chunk may recurse.
fn check_brackets(source: SourceId, text: &str, chunk: &[Token]) -> Result<(), Box<Diagnostic>> {
    let span = |t: &Token| Span::new(source, t.start, t.end);
    let mut open: Vec<&Token> = Vec::new();
    for (i, token) in chunk.iter().enumerate() {
        let TokenKind::Op(op) = token.kind else { continue };
        let closes = match op {
            "(" | "[" => {
                open.push(token);
                None
            }
            // Only the `<` of a type counts: `ROW<a INT, …>`.
            "<" => {
                let types = ["ROW", "ARRAY", "MAP", "MULTISET", "STRUCTURED"];
                let before = i.checked_sub(1).map(|j| &chunk[j]);
                if before.is_some_and(|t| types.iter().any(|w| t.is_word(text, w))) {
                    open.push(token);
                }
                None
            }
            ">" => {
                if open.last().is_some_and(|t| t.is_op("<")) {
                    open.pop();
                }
                None
            }
            ")" => Some("("),
            "]" => Some("["),
            _ => None,
        };
        if open.len() > NESTING_MAX {
            return Err(Box::new(error::nested_too_deep(span(token))));
        }
        let Some(opener) = closes else { continue };
        while let Some(t) = open.last().filter(|t| t.is_op("<")) {
            // `MAP` is a name too: `map < 3` opens nothing.
            let before = chunk.iter().take_while(|c| c.start < t.start).last();
            if before.is_some_and(|b| !b.is_word(text, "MAP")) {
                return Err(Box::new(
                    Diagnostic::error(error::UNBALANCED, "`<` is never closed")
                        .with_span(span(t), "opened here")
                        .with_label(span(token), "`>` goes before this")
                        .with_help("close the type with `>`"),
                ));
            }
            open.pop();
        }
        match open.pop() {
            Some(t) if t.is_op(opener) => {}
            Some(t) => {
                return Err(Box::new(
                    Diagnostic::error(error::UNBALANCED, format!("`{op}` closes {}", t.describe(text)))
                        .with_span(span(token), "does not match")
                        .with_label(span(t), "opened here"),
                ));
            }
            None => {
                return Err(Box::new(
                    Diagnostic::error(error::UNBALANCED, format!("`{op}` closes nothing"))
                        .with_span(span(token), format!("no `{opener}` is open here")),
                ));
            }
        }
    }
    open.retain(|t| !t.is_op("<"));
    match open.last() {
        None => Ok(()),
        Some(t) => {
            let d = Diagnostic::error(error::UNBALANCED, format!("{} is never closed", t.describe(text)))
                .with_span(span(t), "opened here");
            let cut = (0..chunk.len()).find(|i| chunk[*i].start > t.start && starts_statement(text, chunk, *i));
            Err(Box::new(match cut {
                Some(i) => d.with_label(span(&chunk[i]), "this looks like the next statement"),
                None => d.with_help(format!("close it with `{}`", if t.is_op("(") { ")" } else { "]" })),
            }))
        }
    }
}
