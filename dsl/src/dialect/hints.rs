//! The inside of `/*+ … */`: `OPTIONS('k' = 'v'), STATE_TTL('a' = '1 d') BROADCAST(b)`.

use dflow_common::{Diagnostic, SourceId, Span, Spanned};

use crate::ast::{Hint, HintArgs, HintTarget, Ident, OptionEntry, Options, Text};
use crate::error;
use crate::lexer::{Token, TokenKind, lex_range, unquote};

type Result<T> = std::result::Result<T, Box<Diagnostic>>;

/// Reads the hints of one hint token.
pub(crate) fn parse(source: SourceId, text: &str, token: Token, target: HintTarget) -> Result<Vec<Hint>> {
    let (tokens, mut errors) = lex_range(source, text, token.start + 3, token.end - 2);
    if !errors.is_empty() {
        return Err(Box::new(errors.swap_remove(0)));
    }
    let mut reader = Reader { source, text, tokens: &tokens, at: 0, whole: token };
    let mut hints = Vec::new();
    while reader.at < tokens.len() {
        hints.push(reader.hint(target)?);
        reader.eat(",");
    }
    if hints.is_empty() {
        return Err(reader.error("the name of a hint"));
    }
    Ok(hints)
}

/// The error for a hint that stands behind neither SELECT nor the name of a table.
pub(crate) fn misplaced(span: Span) -> Diagnostic {
    Diagnostic::error(error::HINT, "a hint cannot stand here")
        .with_span(span, "misplaced hint")
        .with_help("a table's hint stands directly behind its name and before its alias: `FROM t /*+ OPTIONS('k' = 'v') */ AS a`")
        .with_help("a query's hint stands directly behind SELECT: `SELECT /*+ STATE_TTL('a' = '1 d') */ …`")
}

struct Reader<'a> {
    source: SourceId,
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
    whole: Token,
}

impl Reader<'_> {
    fn error(&self, expected: &str) -> Box<Diagnostic> {
        let (found, span) = match self.tokens.get(self.at) {
            Some(t) => (t.describe(self.text), Span::new(self.source, t.start, t.end)),
            None => ("the end of the hint".into(), Span::new(self.source, self.whole.end - 2, self.whole.end)),
        };
        Box::new(
            Diagnostic::error(error::HINT, format!("expected {expected}, found {found}"))
                .with_span(span, format!("expected {expected}"))
                .with_help("a hint looks like `/*+ OPTIONS('key' = 'value') */` or `/*+ BROADCAST(t) */`"),
        )
    }

    fn eat(&mut self, op: &str) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|t| t.is_op(op));
        self.at += usize::from(found);
        found
    }

    fn span(&self, start: usize) -> Span {
        let (first, last) = (self.tokens[start], self.tokens[self.at - 1]);
        Span::new(self.source, first.start, last.end)
    }

    fn hint(&mut self, target: HintTarget) -> Result<Hint> {
        let start = self.at;
        let name = match self.tokens.get(self.at) {
            Some(t) if t.kind == TokenKind::Word => t.text(self.text).to_ascii_uppercase(),
            _ => return Err(self.error("the name of a hint")),
        };
        self.at += 1;
        let args = if self.eat("(") { self.args()? } else { HintArgs::Names(Vec::new()) };
        Ok(Hint { target, name, args, span: self.span(start) })
    }

    /// What follows `(`, with its `)`.
    fn args(&mut self) -> Result<HintArgs> {
        let open = self.at - 1;
        let mut entries = Vec::new();
        let mut names = Vec::new();
        while !self.eat(")") {
            let first = entries.is_empty() && names.is_empty();
            if !first && !self.eat(",") {
                return Err(self.error("`,` or `)`"));
            }
            let start = self.at;
            let key = self.text("a name or `'key' = 'value'`")?;
            if !entries.is_empty() || (names.is_empty() && self.tokens.get(self.at).is_some_and(|t| t.is_op("="))) {
                if !self.eat("=") {
                    return Err(self.error("`=` and a value"));
                }
                let value = self.text("a value in quotes")?;
                entries.push(OptionEntry { key, value, span: self.span(start) });
            } else {
                names.push(Ident {
                    quoted: self.tokens[start].kind == TokenKind::Quoted,
                    value: key.value,
                    span: key.span,
                });
            }
        }
        Ok(match entries.is_empty() {
            true => HintArgs::Names(names),
            false => HintArgs::Options(Options { entries, span: self.span(open) }),
        })
    }

    fn text(&mut self, expected: &str) -> Result<Text> {
        let Some(t) = self.tokens.get(self.at) else { return Err(self.error(expected)) };
        let value = match t.kind {
            TokenKind::String | TokenKind::Quoted => unquote(t.text(self.text)),
            TokenKind::Word | TokenKind::Number => t.text(self.text).to_owned(),
            _ => return Err(self.error(expected)),
        };
        self.at += 1;
        Ok(Spanned::new(value, Span::new(self.source, t.start, t.end)))
    }
}
