//! Queries and expressions: places, hints, and the forms that Flink has and sqlparser has not.

use std::ops::ControlFlow;

use dflow_common::{SqlType, TypeKind};
use dflow_dsl::ast::{
    ColumnKind, HintArgs, HintTarget, IS_JSON, MAP_CONSTRUCTOR, MODEL_ARG, Query, StatementKind, TABLE_ARG,
};
use dflow_dsl::error;
use dflow_dsl::types::flink_type;
use sqlparser::ast::{self as sql, Spanned, visit_expressions};

use crate::{bad, one};

fn query(text: &str) -> Query {
    match one(text) {
        StatementKind::Query(q) => *q,
        other => panic!("{other:?}"),
    }
}

/// The query as sqlparser prints it.
fn printed(text: &str) -> String {
    query(text).ast.to_string()
}

/// Names of all functions called.
fn functions(query: &Query) -> Vec<String> {
    let mut names = Vec::new();
    let _ = visit_expressions(&*query.ast, |e| {
        if let sql::Expr::Function(f) = e {
            names.push(f.name.to_string());
        }
        ControlFlow::<()>::Continue(())
    });
    names
}

#[test]
fn every_expression_maps_back_to_its_text() {
    let text = "-- é\nSELECT a + b, 'é' || `c d`, CAST(x AS INT) FROM t WHERE y.z > 5";
    let q = query(text);
    assert_eq!(&text[q.span.range()], &text["-- é\n".len()..]);
    let mut found = Vec::new();
    let _ = visit_expressions(&*q.ast, |e| {
        found.extend(q.span_of(e.span()).map(|s| text[s.range()].to_owned()));
        ControlFlow::<()>::Continue(())
    });
    for expected in ["a + b", "a", "b", "'é' || `c d`", "'é'", "`c d`", "x", "y.z > 5", "y.z", "5"] {
        assert!(found.iter().any(|f| f == expected), "{expected:?} is not in {found:?}");
    }
}

#[test]
fn expressions_in_tables_map_back_too() {
    let text = "CREATE TABLE t (a INT, b AS a * 2, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)";
    let StatementKind::CreateTable(t) = one(text) else { panic!() };
    let computed = t.columns().find_map(|c| match &c.kind {
        ColumnKind::Computed(e) => Some(e),
        _ => None,
    });
    let computed = computed.unwrap();
    let sql::Expr::BinaryOp { right, .. } = &computed.ast else { panic!("{:?}", computed.ast) };
    assert_eq!(&text[computed.span_of(right.span()).unwrap().range()], "2");
    let watermark = t.watermark().unwrap();
    assert_eq!(&text[watermark.expr.span.range()], "ts - INTERVAL '5' SECOND");
}

#[test]
fn casts_carry_flinks_types() {
    let q = query(
        "SELECT CAST(a AS ROW<x INT NOT NULL, y ARRAY<STRING>>), TRY_CAST(b AS TIMESTAMP(3) WITH LOCAL TIME ZONE), CAST(c AS INT ARRAY)",
    );
    let mut types: Vec<(sql::CastKind, SqlType)> = Vec::new();
    let _ = visit_expressions(&*q.ast, |e| {
        if let sql::Expr::Cast { kind, data_type, .. } = e {
            types.push((kind.clone(), flink_type(data_type).unwrap()));
        }
        ControlFlow::<()>::Continue(())
    });
    assert_eq!(types[0].1.to_string(), "ROW<`x` INT NOT NULL, `y` ARRAY<STRING>>");
    assert_eq!(types[1], (sql::CastKind::TryCast, TypeKind::TimestampLtz(3).into()));
    assert_eq!(types[2].1.to_string(), "ARRAY<INT>");
    assert_eq!(flink_type(&sql::DataType::Int(None)), None);
}

#[test]
fn a_wrong_type_in_a_cast_is_marked_itself() {
    let text = "SELECT CAST(a AS DECIMAL(50, 2)) FROM t";
    let errors = bad(text);
    assert_eq!(errors.len(), 1);
    assert_eq!((errors[0].code, &text[errors[0].span().unwrap().range()]), (error::TYPE_PARAMETER.code, "50"));
}

#[test]
fn string_literals_of_all_spellings_are_strings() {
    assert_eq!(
        printed(r"SELECT E'a\nb', U&'\00e9', U&'!00e9' UESCAPE '!', N'x', _UTF16'y'"),
        "SELECT 'a\nb', 'é', 'é', 'x', 'y'"
    );
    assert_eq!(printed("SELECT 'a'\n  'b'"), "SELECT 'ab'");
    assert_eq!(printed(r"SELECT 'a\nb'"), r"SELECT 'a\nb'");
    assert_eq!(printed("SELECT X'0aFF', 5., .5"), "SELECT X'0aFF', 5.0, 0.5");
}

#[test]
fn hints_are_beside_the_tree_with_what_they_hang_on() {
    let text = "SELECT /*+ STATE_TTL('o' = '1d'), BROADCAST(o, `p q`) */ * FROM a.b /*+ OPTIONS('k' = 'it''s') */ AS o, (SELECT /*+ X */ 1 FROM c)";
    let q = query(text);
    let names: Vec<&str> = q.hints.iter().map(|h| h.name.as_str()).collect();
    assert_eq!(names, ["STATE_TTL", "BROADCAST", "OPTIONS", "X"]);
    let HintTarget::Table(table) = q.hints[2].target else { panic!() };
    assert_eq!(&text[table.range()], "b");
    assert_eq!(q.table_hints(table).count(), 1);
    let HintArgs::Options(options) = &q.hints[2].args else { panic!() };
    assert_eq!(options.get("k").unwrap().value.value, "it's");
    let HintArgs::Names(names) = &q.hints[1].args else { panic!() };
    assert_eq!(names[1].value, "p q");
    let HintTarget::Select(select) = q.hints[0].target else { panic!() };
    assert_eq!((&text[select.range()], q.select_hints(select).count()), ("SELECT", 2));
}

#[test]
fn hints_that_hang_on_nothing_are_refused() {
    for text in [
        "SELECT * FROM t AS o /*+ OPTIONS('a' = 'b') */",
        "SELECT * FROM (SELECT 1) /*+ OPTIONS('a' = 'b') */",
        "SELECT a /*+ OPTIONS('a' = 'b') */ FROM t",
        "SELECT * FROM t /*+ */",
        "SELECT * FROM t /*+ OPTIONS('a' = ) */",
        "SELECT * FROM t /*+ OPTIONS('a' = 'b' */",
        "INSERT INTO t /*+ BROADCAST(a) */ SELECT 1",
        "CREATE TABLE t (a AS b /*+ X */)",
    ] {
        assert_eq!(bad(text)[0].code, error::HINT.code, "{text}");
    }
}

#[test]
fn table_and_model_arguments_are_functions_of_their_own() {
    let q = query("SELECT * FROM ML_PREDICT(INPUT => TABLE a.t PARTITION BY (x, y) ORDER BY z, MODEL => MODEL m.n, 1)");
    let functions = functions(&q);
    assert!(functions.contains(&TABLE_ARG.to_owned()) && functions.contains(&MODEL_ARG.to_owned()), "{functions:?}");
    assert!(printed("SELECT * FROM f(TABLE t PARTITION BY k, arg => 1)").contains("OVER (PARTITION BY k), arg => 1"));
    // `model` is a name everywhere else.
    assert_eq!(printed("SELECT a, model m, model FROM t AS model"), "SELECT a, model AS m, model FROM t AS model");
}

#[test]
fn table_alone_is_a_query() {
    assert_eq!(printed("TABLE a.b"), "SELECT * FROM a.b");
    assert_eq!(printed("SELECT 1 UNION ALL TABLE t"), "SELECT 1 UNION ALL SELECT * FROM t");
    assert_eq!(printed("SELECT * FROM (TABLE t) AS x"), "SELECT * FROM (SELECT * FROM t) AS x");
    assert_eq!(printed("SELECT a IN (TABLE t)"), "SELECT a IN (SELECT * FROM t)");
    assert_eq!(printed("WITH x AS (TABLE t) TABLE x"), "WITH x AS (SELECT * FROM t) SELECT * FROM x");
}

#[test]
fn within_is_kept_beside_the_tree() {
    let text =
        "SELECT * FROM t MATCH_RECOGNIZE (PATTERN (A B+? C{1,2} | D) WITHIN INTERVAL '1' HOUR DEFINE A AS A.x > 1)";
    let q = query(text);
    assert_eq!(q.withins.len(), 1);
    assert_eq!(&text[q.withins[0].match_recognize.range()], "MATCH_RECOGNIZE");
    assert_eq!(q.withins[0].interval.ast.to_string(), "INTERVAL '1' HOUR");
}

#[test]
fn flinks_expressions_take_their_documented_form() {
    for (text, expected) in [
        ("MAP['a', 1]", format!("{MAP_CONSTRUCTOR}('a', 1)")),
        ("MAP[]", format!("{MAP_CONSTRUCTOR}()")),
        ("CASE a WHEN 1, 2 THEN 3 ELSE 4 END", "CASE WHEN a = 1 OR a = 2 THEN 3 ELSE 4 END".into()),
        ("CASE a WHEN 1 THEN 2 END", "CASE a WHEN 1 THEN 2 END".into()),
        ("CASE WHEN a THEN b WHEN c THEN d END", "CASE WHEN a THEN b WHEN c THEN d END".into()),
        ("TIMESTAMPADD(minute, 1, a)", "TIMESTAMPADD('MINUTE', 1, a)".into()),
        ("TRIM(LEADING FROM a)", "TRIM(LEADING a)".into()),
        ("TRIM(a)", "TRIM(a)".into()),
        ("a IS NOT JSON ARRAY", format!("NOT {IS_JSON}(a, 'ARRAY')")),
        ("a IS JSON AND b", format!("{IS_JSON}(a, 'VALUE') AND b")),
        ("a NOT BETWEEN SYMMETRIC 1 AND 2 AND c", "(a NOT BETWEEN 1 AND 2 AND a NOT BETWEEN 2 AND 1) AND c".into()),
        ("a IS DISTINCT FROM TRUE AND b", "a IS DISTINCT FROM true AND b".into()),
        ("a IS NOT DISTINCT FROM b + 1 OR c", "a IS NOT DISTINCT FROM b + 1 OR c".into()),
        ("a IS DISTINCT FROM b = c", "a IS DISTINCT FROM b = c".into()),
        ("a BETWEEN ASYMMETRIC 1 AND 2", "a BETWEEN 1 AND 2".into()),
        ("JSON_VALUE(j, '$.a' RETURNING INT DEFAULT 1 + 1 ON EMPTY ERROR ON ERROR)", "JSON_VALUE(j, '$.a', returning => 'INT', on_empty => 'DEFAULT', on_empty_default => 1 + 1, on_error => 'ERROR')".into()),
        ("JSON_QUERY(j, '$' RETURNING ARRAY<STRING> WITHOUT ARRAY WRAPPER NULL ON EMPTY)", "JSON_QUERY(j, '$', returning => 'ARRAY<STRING>', wrapper => 'WITHOUT ARRAY', on_empty => 'NULL')".into()),
        ("JSON_EXISTS(j, '$.a' UNKNOWN ON ERROR)", "JSON_EXISTS(j, '$.a', on_error => 'UNKNOWN')".into()),
        ("JSON_OBJECT()", "JSON_OBJECT()".into()),
        ("JSON_OBJECT(KEY 'a' VALUE 1, 'b' VALUE 2 NULL ON NULL)", "JSON_OBJECT('a', 1, 'b', 2, on_null => 'NULL')".into()),
        ("JSON_ARRAY(1, JSON_ARRAY() ABSENT ON NULL)", "JSON_ARRAY(1, JSON_ARRAY(), on_null => 'ABSENT')".into()),
        ("JSON_ARRAYAGG(a NULL ON NULL) FILTER (WHERE b)", "JSON_ARRAYAGG(a, on_null => 'NULL') FILTER (WHERE b)".into()),
        ("JSON_OBJECTAGG(KEY a VALUE b)", "JSON_OBJECTAGG(a, b)".into()),
    ] {
        assert_eq!(printed(&format!("SELECT {text}")), format!("SELECT {expected}"), "{text}");
    }
}

#[test]
fn what_follows_is_distinct_from_is_not_part_of_it() {
    for (text, split) in [
        ("a IS DISTINCT FROM TRUE AND b > 3", "And"),
        ("a IS NOT DISTINCT FROM b + 1 OR c", "Or"),
        ("a IS DISTINCT FROM b = c", "Eq"),
    ] {
        let q = query(&format!("SELECT {text}"));
        let printed = format!("{:?}", q.ast);
        assert!(printed.contains(&format!("op: {split}")), "{text}");
        let distinct = printed.find("DistinctFrom").unwrap();
        assert!(printed.find("BinaryOp").unwrap() < distinct, "{text}: {printed}");
    }
}

#[test]
fn reserved_words_are_no_names_without_backticks() {
    for text in [
        "SELECT value FROM t",
        "SELECT t.value FROM t",
        "SELECT a AS value FROM t",
        "SELECT * FROM t AS value",
        "SELECT * FROM t AS x (value)",
        "WITH value AS (SELECT 1) SELECT 1",
        "CREATE TABLE value (a INT)",
        "CREATE VIEW v (value) AS SELECT 1",
        "INSERT INTO t (value) SELECT 1",
        "CREATE TABLE t (a INT, PRIMARY KEY (value) NOT ENFORCED)",
    ] {
        assert_eq!(bad(text)[0].code, error::RESERVED_WORD.code, "{text}");
        one(&text.replace("value", "`value`"));
    }
    one("SELECT CURRENT_TIMESTAMP, LOCALTIME, COUNT(*), type, name, topic, key FROM data");
}

#[test]
fn clauses_of_other_databases_are_refused_by_name() {
    for text in [
        "SELECT TOP 5 a FROM t",
        "SELECT DISTINCT ON (a) b FROM t",
        "SELECT a FROM t FOR UPDATE",
        "SELECT a FROM t SORT BY a",
        "SELECT * FROM t LEFT SEMI JOIN u ON t.a = u.a",
        "SELECT * FROM t LEFT ANTI JOIN u ON t.a = u.a",
        "SELECT * FROM t CROSS APPLY f(a)",
        "SELECT * FROM t PIVOT (SUM(a) FOR b IN ('x'))",
        "SELECT a XOR b FROM t",
        "SELECT a RLIKE 'x' FROM t",
        "SELECT a FROM t WITH (NOLOCK)",
        "SELECT a FROM t PARTITION (p0)",
        "SELECT a FROM t UNION ALL BY NAME SELECT a FROM u",
        "SELECT a & b FROM t",
        "SELECT a::INT FROM t",
        "SELECT a <=> b FROM t",
        "SELECT ! a FROM t",
        "SELECT a FROM t WHERE b = ?",
    ] {
        assert_eq!(bad(text)[0].code, error::FOREIGN_SYNTAX.code, "{text}");
    }
    assert!(printed("SELECT * FROM (SELECT 1) LIMIT 5 OFFSET 2").ends_with("LIMIT 5 OFFSET 2"));
}
