//! Where Flink's grammar leaves sqlparser's: the dialect's flags, prefix and infix hooks.

use std::any::TypeId;

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{self as sql, Expr};
use sqlparser::dialect::{Dialect, GenericDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{Flink, call, function, json, literal, name, positional};
use crate::ast::{IS_JSON, MAP_CONSTRUCTOR, TABLE_ARG};
use crate::lexer::lex_range;
use crate::types::{TypeParser, custom_type};

pub(super) type R<T> = Result<T, ParserError>;

/// Whether a token is this word without quotes; `word` in upper case.
pub(super) fn is(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// Takes this word when it is next.
pub(super) fn eat(p: &mut Parser, word: &str) -> bool {
    let found = is(&p.peek_token_ref().token, word);
    if found {
        p.advance_token();
    }
    found
}

/// Takes this word or fails.
pub(super) fn expect(p: &mut Parser, word: &str) -> R<TokenWithSpan> {
    match is(&p.peek_token_ref().token, word) {
        true => Ok(p.next_token()),
        false => p.expected_ref(word, p.peek_token_ref()),
    }
}

impl Dialect for Flink {
    /// Only so that sqlparser reads `UNNEST(…)` in FROM as a table factor of its own. Flags are not inherited.
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`'
    }
    fn identifier_quote_style(&self, _: &str) -> Option<char> {
        Some('`')
    }
    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }
    fn is_identifier_part(&self, ch: char) -> bool {
        crate::lexer::continues_word(ch)
    }
    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }
    fn supports_group_by_expr(&self) -> bool {
        true
    }
    fn supports_named_fn_args_with_rarrow_operator(&self) -> bool {
        true
    }
    fn supports_match_recognize(&self) -> bool {
        true
    }
    fn supports_table_versioning(&self) -> bool {
        true
    }
    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }
    fn supports_parens_around_table_factor(&self) -> bool {
        true
    }
    fn supports_boolean_literals(&self) -> bool {
        true
    }
    fn supports_left_associative_joins_without_parens(&self) -> bool {
        true
    }
    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }
    fn require_interval_qualifier(&self) -> bool {
        true
    }

    fn parse_prefix(&self, p: &mut Parser) -> Option<R<Expr>> {
        let next = p.peek_token_ref();
        if let Err(e) = self.step(self.span(next.span)) {
            return Some(Err(e));
        }
        let Token::Word(w) = &next.token else { return None };
        if w.quote_style.is_some() {
            return None;
        }
        let word = w.value.to_ascii_uppercase();
        let second = &p.peek_nth_token_ref(1).token;
        match (word.as_str(), second) {
            ("TABLE", Token::Word(_)) => Some(table_argument(p)),
            ("CAST" | "TRY_CAST", Token::LParen) => Some(self.cast(p, word == "TRY_CAST")),
            ("MAP", Token::LBracket) => Some(map_constructor(p)),
            ("CASE", _) => Some(case(p)),
            ("TRIM", Token::LParen) if trims_from(p) => Some(trim(p)),
            ("TIMESTAMPADD" | "TIMESTAMPDIFF", Token::LParen) => Some(timestamp_arithmetic(p)),
            (f, Token::LParen) if json::is_function(f) => Some(json::function_call(self, p, f)),
            _ => None,
        }
    }

    fn parse_infix(&self, p: &mut Parser, expr: &Expr, _precedence: u8) -> Option<R<Expr>> {
        let (t0, t1, t2) =
            (&p.peek_nth_token_ref(0).token, &p.peek_nth_token_ref(1).token, &p.peek_nth_token_ref(2).token);
        let symmetry = |t: &Token| is(t, "SYMMETRIC") || is(t, "ASYMMETRIC");
        if is(t0, "BETWEEN") && symmetry(t1) {
            return Some(between(self, p, expr, false));
        }
        if is(t0, "NOT") && is(t1, "BETWEEN") && symmetry(t2) {
            return Some(between(self, p, expr, true));
        }
        if is(t0, "IS") && (is(t1, "DISTINCT") || (is(t1, "NOT") && is(t2, "DISTINCT"))) {
            return Some(is_distinct_from(self, p, expr));
        }
        if is(t0, "IS") && (is(t1, "JSON") || (is(t1, "NOT") && is(t2, "JSON"))) {
            return Some(is_json(p, expr));
        }
        None
    }
}

impl Flink {
    /// `CAST(e AS type)`, the type read by Flink's rules.
    fn cast(&self, p: &mut Parser, try_cast: bool) -> R<Expr> {
        p.advance_token();
        p.expect_token(&Token::LParen)?;
        let expr = Box::new(p.parse_expr()?);
        expect(p, "AS")?;
        let data_type = custom_type(&self.data_type(p, |t| *t == Token::RParen)?);
        p.expect_token(&Token::RParen)?;
        let kind = if try_cast { sql::CastKind::TryCast } else { sql::CastKind::Cast };
        Ok(Expr::Cast { kind, expr, data_type, array: false, format: None })
    }

    /// A type up to a token outside its own brackets for which `ends` holds.
    pub(super) fn data_type(&self, p: &mut Parser, ends: impl Fn(&Token) -> bool) -> R<dflow_common::SqlType> {
        let first = p.peek_token_ref().span;
        let mut last = first;
        let mut depth = 0usize;
        loop {
            let token = p.peek_token_ref();
            match &token.token {
                Token::EOF => break,
                t if depth == 0 && ends(t) => break,
                Token::LParen => depth += 1,
                Token::RParen if depth == 0 => break,
                Token::RParen => depth -= 1,
                _ => {}
            }
            last = token.span;
            p.advance_token();
        }
        let place = self.span(first.union(&last)).filter(|_| last != first || p.peek_token_ref().span != first);
        let Some(place) = place else { return p.expected_ref("a type", p.peek_token_ref()) };
        let (tokens, mut errors) = lex_range(self.source, &self.text, place.start as usize, place.end as usize);
        if !errors.is_empty() {
            return Err(self.refuse(errors.swap_remove(0)));
        }
        let mut parser = TypeParser::new(self.source, &self.text, &tokens);
        let ty = parser.data_type(0).map_err(|d| self.refuse(*d))?;
        match parser.consumed() == tokens.len() {
            true => Ok(ty),
            false => Err(self.refuse(*parser.unexpected("the end of the type"))),
        }
    }
}

/// `TABLE t [PARTITION BY k | (k, …)] [ORDER BY x | (x, …)]` as an argument.
fn table_argument(p: &mut Parser) -> R<Expr> {
    let token = p.next_token();
    let table = p.parse_object_name(false)?;
    let mut partition_by = Vec::new();
    let mut order_by = Vec::new();
    // One key or a list in parentheses: a comma ends the argument.
    if p.parse_keywords(&[Keyword::PARTITION, Keyword::BY]) {
        if p.consume_token(&Token::LParen) {
            partition_by = p.parse_comma_separated(Parser::parse_expr)?;
            p.expect_token(&Token::RParen)?;
        } else {
            partition_by.push(p.parse_expr()?);
        }
    }
    if p.parse_keywords(&[Keyword::ORDER, Keyword::BY]) {
        if p.consume_token(&Token::LParen) {
            order_by = p.parse_comma_separated(Parser::parse_order_by_expr)?;
            p.expect_token(&Token::RParen)?;
        } else {
            order_by.push(p.parse_order_by_expr()?);
        }
    }
    let mut f = function(name(TABLE_ARG, token.span), Vec::new());
    f.args = sql::FunctionArguments::Subquery(Box::new(select_all_from(table, token)));
    f.over = Some(sql::WindowType::WindowSpec(sql::WindowSpec {
        window_name: None,
        partition_by,
        order_by,
        window_frame: None,
    }));
    Ok(Expr::Function(f))
}

/// `SELECT * FROM table`
fn select_all_from(table: sql::ObjectName, token: TokenWithSpan) -> sql::Query {
    let relation = sql::TableFactor::Table {
        name: table,
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    };
    let select = sql::Select {
        select_token: AttachedToken(token),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: vec![sql::SelectItem::Wildcard(sql::WildcardAdditionalOptions::default())],
        exclude: None,
        into: None,
        from: vec![sql::TableWithJoins { relation, joins: Vec::new() }],
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        connect_by: Vec::new(),
        group_by: sql::GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: sql::SelectFlavor::Standard,
    };
    sql::Query {
        with: None,
        body: Box::new(sql::SetExpr::Select(Box::new(select))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

/// `MAP[k, v, …]`
fn map_constructor(p: &mut Parser) -> R<Expr> {
    let token = p.next_token();
    p.expect_token(&Token::LBracket)?;
    let mut args = Vec::new();
    if p.peek_token_ref().token != Token::RBracket {
        args = p.parse_comma_separated(Parser::parse_expr)?;
    }
    p.expect_token(&Token::RBracket)?;
    Ok(call(name(MAP_CONSTRUCTOR, token.span), args.into_iter().map(positional).collect()))
}

/// CASE in both forms; a list of values after WHEN becomes a disjunction.
fn case(p: &mut Parser) -> R<Expr> {
    let case_token = AttachedToken(p.next_token());
    let operand = if is(&p.peek_token_ref().token, "WHEN") { None } else { Some(p.parse_expr()?) };
    let mut branches: Vec<(Vec<Expr>, Expr)> = Vec::new();
    expect(p, "WHEN")?;
    loop {
        let values = match operand {
            Some(_) => p.parse_comma_separated(Parser::parse_expr)?,
            None => vec![p.parse_expr()?],
        };
        expect(p, "THEN")?;
        branches.push((values, p.parse_expr()?));
        if !eat(p, "WHEN") {
            break;
        }
    }
    let else_result = if eat(p, "ELSE") { Some(Box::new(p.parse_expr()?)) } else { None };
    let end_token = AttachedToken(expect(p, "END")?);
    let has_list = branches.iter().any(|(values, _)| values.len() > 1);
    let condition = |values: Vec<Expr>| -> Expr {
        let equal = |v: Expr| match (&operand, has_list) {
            (Some(operand), true) => binary(operand.clone(), sql::BinaryOperator::Eq, v),
            _ => v,
        };
        values
            .into_iter()
            .map(equal)
            .reduce(|a, b| binary(a, sql::BinaryOperator::Or, b))
            .expect("a WHEN has at least one value")
    };
    let conditions =
        branches.into_iter().map(|(values, result)| sql::CaseWhen { condition: condition(values), result }).collect();
    let operand = operand.filter(|_| !has_list).map(Box::new);
    Ok(Expr::Case { case_token, end_token, operand, conditions, else_result })
}

fn binary(left: Expr, op: sql::BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// Whether `TRIM(LEADING FROM x)` is next: sqlparser wants characters there.
fn trims_from(p: &Parser) -> bool {
    let side = &p.peek_nth_token_ref(2).token;
    ["BOTH", "LEADING", "TRAILING"].iter().any(|w| is(side, w)) && is(&p.peek_nth_token_ref(3).token, "FROM")
}

fn trim(p: &mut Parser) -> R<Expr> {
    p.advance_token();
    p.expect_token(&Token::LParen)?;
    let trim_where = Some(p.parse_trim_where()?);
    expect(p, "FROM")?;
    let expr = Box::new(p.parse_expr()?);
    p.expect_token(&Token::RParen)?;
    Ok(Expr::Trim { trim_where, trim_what: None, expr, trim_characters: None })
}

/// `TIMESTAMPADD(unit, n, t)`, `TIMESTAMPDIFF(unit, a, b)`: the unit becomes a string.
fn timestamp_arithmetic(p: &mut Parser) -> R<Expr> {
    let f = p.next_token();
    p.expect_token(&Token::LParen)?;
    let unit = p.next_token();
    let Token::Word(word) = &unit.token else { return p.expected("a unit such as MINUTE", unit) };
    let mut args = vec![positional(literal(word.value.to_ascii_uppercase(), unit.span))];
    for _ in 0..2 {
        p.expect_token(&Token::Comma)?;
        args.push(positional(p.parse_expr()?));
    }
    p.expect_token(&Token::RParen)?;
    let Token::Word(w) = &f.token else { return p.expected("a function", f) };
    Ok(call(name(&w.value, f.span), args))
}

/// `[NOT] BETWEEN SYMMETRIC a AND b`
fn between(dialect: &Flink, p: &mut Parser, expr: &Expr, negated: bool) -> R<Expr> {
    if negated {
        p.advance_token();
    }
    p.advance_token();
    let symmetric = is(&p.next_token().token, "SYMMETRIC");
    let precedence = dialect.prec_value(Precedence::Between);
    let low = p.parse_subexpr(precedence)?;
    p.expect_keyword(Keyword::AND)?;
    let high = p.parse_subexpr(precedence)?;
    let one = |low: &Expr, high: &Expr| Expr::Between {
        expr: Box::new(expr.clone()),
        negated,
        low: Box::new(low.clone()),
        high: Box::new(high.clone()),
    };
    if !symmetric {
        return Ok(one(&low, &high));
    }
    let op = if negated { sql::BinaryOperator::And } else { sql::BinaryOperator::Or };
    Ok(Expr::Nested(Box::new(binary(one(&low, &high), op, one(&high, &low)))))
}

/// `IS [NOT] DISTINCT FROM`. sqlparser's own reads everything behind it, AND and OR too, as the second operand.
fn is_distinct_from(dialect: &Flink, p: &mut Parser, expr: &Expr) -> R<Expr> {
    p.advance_token();
    let negated = eat(p, "NOT");
    p.expect_keywords(&[Keyword::DISTINCT, Keyword::FROM])?;
    let other = Box::new(p.parse_subexpr(dialect.prec_value(Precedence::Eq))?);
    let expr = Box::new(expr.clone());
    Ok(if negated { Expr::IsNotDistinctFrom(expr, other) } else { Expr::IsDistinctFrom(expr, other) })
}

/// `IS [NOT] JSON [VALUE | SCALAR | ARRAY | OBJECT]`
fn is_json(p: &mut Parser, expr: &Expr) -> R<Expr> {
    let token = p.next_token();
    let negated = eat(p, "NOT");
    expect(p, "JSON")?;
    let kind = ["VALUE", "SCALAR", "ARRAY", "OBJECT"].into_iter().find(|k| eat(p, k)).unwrap_or("VALUE");
    let test = call(name(IS_JSON, token.span), vec![positional(expr.clone()), positional(literal(kind, token.span))]);
    Ok(match negated {
        true => Expr::UnaryOp { op: sql::UnaryOperator::Not, expr: Box::new(test) },
        false => test,
    })
}
