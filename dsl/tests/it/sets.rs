//! Statement sets and the cutting of a script into statements.

use dflow_dsl::ast::{PlanTarget, StatementKind};
use dflow_dsl::{error, parse};

use crate::{SOURCE, bad, good, one};

fn sinks(kind: &StatementKind) -> Vec<String> {
    let set = match kind {
        StatementKind::StatementSet(set) => set,
        StatementKind::Explain(e) => match &e.target {
            PlanTarget::StatementSet(set) => set,
            other => panic!("{other:?}"),
        },
        StatementKind::CompilePlan(c) => match &c.target {
            PlanTarget::StatementSet(set) => set,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    set.inserts.iter().map(|i| i.table.to_string()).collect()
}

#[test]
fn both_spellings_make_one_statement() {
    for text in [
        "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; INSERT INTO b SELECT 2; END;",
        "BEGIN STATEMENT SET; INSERT INTO a SELECT 1; INSERT INTO b SELECT 2; END;",
        "execute statement set begin -- c ; c\n INSERT INTO a SELECT 1;;; EXECUTE INSERT INTO b SELECT 2; end",
    ] {
        assert_eq!(sinks(&one(text)), ["a", "b"], "{text}");
    }
}

#[test]
fn a_set_spans_from_its_head_to_its_end() {
    let text = "SET 'a' = 'b'; EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; END; SELECT 1;";
    let statements = good(text);
    let shown: Vec<&str> = statements.iter().map(|s| &text[s.span.range()]).collect();
    assert_eq!(shown, ["SET 'a' = 'b'", "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; END", "SELECT 1"]);
}

#[test]
fn sets_can_be_explained_and_compiled() {
    let set = "STATEMENT SET BEGIN INSERT INTO a SELECT 1; INSERT INTO b SELECT 2; END;";
    for head in [
        "EXPLAIN ",
        "EXPLAIN EXECUTE ",
        "EXPLAIN PLAN FOR ",
        "EXPLAIN ESTIMATED_COST, CHANGELOG_MODE ",
        "COMPILE PLAN 'f' FOR ",
        "COMPILE AND EXECUTE PLAN 'f' IF NOT EXISTS FOR ",
    ] {
        assert_eq!(sinks(&one(&format!("{head}{set}"))), ["a", "b"], "{head}");
    }
}

#[test]
fn an_end_of_case_is_no_end_of_the_set() {
    let text = "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT CASE x WHEN 1 THEN 2 END; END;";
    assert_eq!(sinks(&one(text)), ["a"]);
}

#[test]
fn a_set_goes_on_after_a_broken_member() {
    let text = "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT FROM; INSERT INTO b SELECT 2; INSERT INTO c SELECT 1 1; END; FOO";
    let codes: Vec<u16> = bad(text).iter().map(|d| d.code.0).collect();
    assert_eq!(codes, [1009, 1009, 1008]);
    let parsed = parse(SOURCE, text);
    assert_eq!(sinks(&parsed.script.statements[0].kind), ["b"]);
}

#[test]
fn an_open_set_ends_where_another_statement_starts() {
    let parsed =
        parse(SOURCE, "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; CREATE VIEW v AS SELECT 1; SELECT 2;");
    assert_eq!(parsed.diagnostics.len(), 1);
    assert_eq!(parsed.diagnostics[0].code, error::STATEMENT_SET.code);
    assert!(matches!(parsed.script.statements[1].kind, StatementKind::CreateView(_)));
    assert!(matches!(parsed.script.statements[2].kind, StatementKind::Query(_)));
}

#[test]
fn a_foreign_member_is_named_and_the_rest_of_the_set_is_read() {
    let errors = bad("EXECUTE STATEMENT SET BEGIN CREATE VIEW v AS SELECT 1; INSERT INTO a SELECT 1; END; SELECT 1;");
    assert_eq!(errors.len(), 1);
    assert!(errors[0].message.contains("only INSERT"), "{}", errors[0]);
}

#[test]
fn semicolons_in_quotes_and_comments_cut_nothing() {
    assert_eq!(good("SELECT ';', `;` /* ; */ -- ;\n, 1 // ;\n; SELECT 2").len(), 2);
    assert_eq!(good(";;; ; \n").len(), 0);
    assert_eq!(good("").len(), 0);
    assert_eq!(good("-- only a comment").len(), 0);
    assert_eq!(good("\u{feff}SELECT 1").len(), 1);
}

#[test]
fn where_a_semicolon_is_missing_both_sides_are_read() {
    let parsed = parse(SOURCE, "CREATE VIEW v AS SELECT 1\nINSERT INTO a SELECT 1\n\nSELECT 2;");
    assert!(parsed.diagnostics.iter().all(|d| d.code == error::MISSING_SEMICOLON.code), "{:?}", parsed.diagnostics);
    let kinds: Vec<_> = parsed.script.statements.iter().map(|s| std::mem::discriminant(&s.kind)).collect();
    assert_eq!(kinds.len(), 3);
    assert!(matches!(parsed.script.statements[1].kind, StatementKind::Insert(_)));
}
