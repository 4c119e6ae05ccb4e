//! The SQL/JSON functions, whose clauses become named arguments.

use sqlparser::ast::{Expr, FunctionArg};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Token};

use super::hooks::{R, eat, expect, is};
use super::{Flink, function, literal, name, named, positional};

/// Whether a function has clauses of its own; `name` in upper case.
pub(super) fn is_function(name: &str) -> bool {
    matches!(
        name,
        "JSON_VALUE" | "JSON_QUERY" | "JSON_EXISTS" | "JSON_OBJECT" | "JSON_ARRAY" | "JSON_OBJECTAGG" | "JSON_ARRAYAGG"
    )
}

/// A call from its name to its closing parenthesis and FILTER.
pub(super) fn function_call(dialect: &Flink, p: &mut Parser, f: &str) -> R<Expr> {
    let token = p.next_token();
    p.expect_token(&Token::LParen)?;
    let args = match f {
        "JSON_VALUE" | "JSON_QUERY" | "JSON_EXISTS" => path_function(dialect, p, f)?,
        _ => constructor(p, f)?,
    };
    p.expect_token(&Token::RParen)?;
    let Token::Word(written) = &token.token else { return p.expected("a function", token) };
    let mut call = function(name(&written.value, token.span), args);
    if f.ends_with("AGG") && eat(p, "FILTER") {
        p.expect_token(&Token::LParen)?;
        expect(p, "WHERE")?;
        call.filter = Some(Box::new(p.parse_expr()?));
        p.expect_token(&Token::RParen)?;
    }
    Ok(Expr::Function(call))
}

/// `(json, path [RETURNING type] [wrapper] [behaviour ON EMPTY] [behaviour ON ERROR])`
fn path_function(dialect: &Flink, p: &mut Parser, f: &str) -> R<Vec<FunctionArg>> {
    let mut args = vec![positional(p.parse_expr()?)];
    p.expect_token(&Token::Comma)?;
    args.push(positional(p.parse_expr()?));
    if f != "JSON_EXISTS" && eat(p, "RETURNING") {
        let ends = |t: &Token| {
            ["WITHOUT", "NULL", "ERROR", "DEFAULT", "EMPTY"].iter().any(|w| is(t, w))
                || (f == "JSON_QUERY" && is(t, "WITH"))
        };
        let ty = dialect.data_type(p, ends)?;
        args.push(named("returning", literal(ty.to_string(), Span::empty())));
    }
    if f == "JSON_QUERY" {
        let mut words = Vec::new();
        while let Some(w) = ["WITH", "WITHOUT", "CONDITIONAL", "UNCONDITIONAL", "ARRAY"].into_iter().find(|w| eat(p, w))
        {
            words.push(w);
        }
        if !words.is_empty() {
            expect(p, "WRAPPER")?;
            args.push(named("wrapper", literal(words.join(" "), Span::empty())));
        }
    }
    while let Some((behaviour, default)) = behaviour(p)? {
        expect(p, "ON")?;
        let event = if eat(p, "EMPTY") {
            "on_empty"
        } else {
            expect(p, "ERROR")?;
            "on_error"
        };
        args.push(named(event, literal(behaviour, Span::empty())));
        if let Some(default) = default {
            args.push(named(&format!("{event}_default"), default));
        }
    }
    Ok(args)
}

/// `NULL`, `ERROR`, `DEFAULT e`, `EMPTY ARRAY`, … in front of ON.
fn behaviour(p: &mut Parser) -> R<Option<(&'static str, Option<Expr>)>> {
    if eat(p, "DEFAULT") {
        return Ok(Some(("DEFAULT", Some(p.parse_expr()?))));
    }
    if eat(p, "EMPTY") {
        return Ok(Some(match eat(p, "ARRAY") {
            true => ("EMPTY ARRAY", None),
            false => {
                expect(p, "OBJECT")?;
                ("EMPTY OBJECT", None)
            }
        }));
    }
    Ok(["NULL", "ERROR", "TRUE", "FALSE", "UNKNOWN"].into_iter().find(|w| eat(p, w)).map(|w| (w, None)))
}

/// `([KEY] k VALUE v, … [NULL | ABSENT ON NULL])` or `(v, … [NULL | ABSENT ON NULL])`
fn constructor(p: &mut Parser, f: &str) -> R<Vec<FunctionArg>> {
    let object = f.starts_with("JSON_OBJECT");
    let mut args: Vec<FunctionArg> = Vec::new();
    let mut on_null = null_clause(p)?;
    while on_null.is_none() && p.peek_token_ref().token != Token::RParen {
        if !args.is_empty() {
            p.expect_token(&Token::Comma)?;
        }
        if object {
            let next = &p.peek_nth_token_ref(1).token;
            if is(&p.peek_token_ref().token, "KEY")
                && !is(next, "VALUE")
                && !matches!(next, Token::Colon | Token::Comma | Token::Period)
            {
                p.advance_token();
            }
            args.push(positional(p.parse_expr()?));
            if !eat(p, "VALUE") && !p.consume_token(&Token::Colon) {
                return p.expected_ref("VALUE and the value of the key", p.peek_token_ref());
            }
        }
        args.push(positional(p.parse_expr()?));
        on_null = null_clause(p)?;
    }
    args.extend(on_null.map(|w| named("on_null", literal(w, Span::empty()))));
    Ok(args)
}

/// `NULL ON NULL` or `ABSENT ON NULL`
fn null_clause(p: &mut Parser) -> R<Option<&'static str>> {
    if !is(&p.peek_nth_token_ref(1).token, "ON") {
        return Ok(None);
    }
    let Some(word) = ["NULL", "ABSENT"].into_iter().find(|w| eat(p, w)) else { return Ok(None) };
    expect(p, "ON")?;
    expect(p, "NULL")?;
    Ok(Some(word))
}
