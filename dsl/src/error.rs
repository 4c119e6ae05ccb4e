//! The codes of this crate, DF1000 to DF1999: what can be wrong with the text of a script.

use dflow_common::{Class, Code, CodeInfo, Diagnostic, Span};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $class:ident, $title:literal;)*) => {
        $($(#[$doc])* pub const $name: CodeInfo = CodeInfo { code: Code($code), title: $title, class: Class::$class };)*
        /// All codes of this crate.
        pub const CODES: &[CodeInfo] = &[$($name),*];
    };
}

codes! {
    /// The text does not follow the grammar of its statement.
    SYNTAX = 1001, Script, "syntax error in a statement";
    /// A string, quoted name, hint or comment without its end.
    UNCLOSED = 1002, Script, "unclosed string, name or comment";
    /// A character that no token starts with.
    UNEXPECTED_CHARACTER = 1003, Script, "unexpected character";
    /// `"…"`
    DOUBLE_QUOTES = 1004, Script, "double quotes";
    /// Parentheses or brackets that do not match.
    UNBALANCED = 1005, Script, "unbalanced parentheses";
    /// More nesting than [`dflow_common::limits::NESTING_MAX`].
    NESTED_TOO_DEEP = 1006, Script, "nested too deep";
    /// More bytes than [`dflow_common::limits::SCRIPT_BYTES_MAX`].
    SCRIPT_TOO_LARGE = 1007, Script, "script too large";
    /// A statement that starts with no word of Flink SQL's.
    UNKNOWN_STATEMENT = 1008, Script, "unknown statement";
    /// sqlparser does not understand the query or expression.
    QUERY_SYNTAX = 1009, Script, "syntax error in a query or expression";
    /// A reserved word used as a name without backticks.
    RESERVED_WORD = 1010, Script, "reserved word used as a name";
    /// Two statements without `;` between them.
    MISSING_SEMICOLON = 1011, Script, "missing semicolon";
    /// A comma with nothing after it.
    TRAILING_COMMA = 1012, Script, "trailing comma";
    /// An operator or clause other databases have and Flink has not.
    FOREIGN_SYNTAX = 1013, Script, "operator or clause that Flink SQL does not have";
    /// A statement other databases have and Flink has not.
    FOREIGN_STATEMENT = 1014, Script, "statement that Flink SQL does not have";
    /// More errors than [`dflow_common::limits::DIAGNOSTICS_MAX`].
    TOO_MANY_ERRORS = 1015, Script, "too many errors";
    /// A type name Flink does not know, or cannot use here.
    UNKNOWN_TYPE = 1020, Script, "unknown type";
    /// A length, precision or scale out of range.
    TYPE_PARAMETER = 1021, Script, "type parameter out of range";
    /// `PRIMARY KEY` without `NOT ENFORCED`.
    NOT_ENFORCED_MISSING = 1022, Script, "PRIMARY KEY without NOT ENFORCED";
    /// `UNIQUE`, `DEFAULT`, `CHECK`, `REFERENCES`, …
    UNSUPPORTED_CONSTRAINT = 1023, Script, "constraint that Flink SQL does not have";
    /// A second watermark or primary key.
    DEFINED_TWICE = 1024, Script, "watermark or primary key defined twice";
    /// `WITH (connector = 'x')`
    OPTION_NOT_QUOTED = 1030, Script, "option key or value without quotes";
    /// `PARTITIONED BY` before `COMMENT`, and the like.
    CLAUSE_ORDER = 1031, Script, "clauses in the wrong order";
    /// Something other than `INSERT` in a statement set, a missing `END`, an empty set.
    STATEMENT_SET = 1040, Script, "malformed statement set";
    /// A hint that cannot be read, or that stands where no hint may stand.
    HINT = 1050, Script, "malformed or misplaced hint";
    /// An option value of the wrong type.
    OPTION_VALUE = 1060, Script, "option value of the wrong type";
    /// `${…}` that is none of the known forms.
    VARIABLE_SYNTAX = 1070, Script, "malformed variable reference";
    /// A variable that is not set.
    VARIABLE_MISSING = 1071, Config, "variable is not set";
    /// A file of `${file:…}` that cannot be read.
    VARIABLE_FILE = 1072, Config, "file of a variable cannot be read";
}

/// The error of every nesting limit of this crate.
pub(crate) fn nested_too_deep(span: Span) -> Diagnostic {
    let max = dflow_common::limits::NESTING_MAX;
    Diagnostic::error(NESTED_TOO_DEEP, format!("more than {max} levels of nesting"))
        .with_span(span, format!("level {}", max + 1))
        .with_help("split the statement with views or WITH clauses")
}

/// `"…"` where a name or a string was meant.
pub(crate) fn double_quotes(span: Span, text: &str) -> Diagnostic {
    let inner = crate::lexer::unquote(text);
    Diagnostic::error(DOUBLE_QUOTES, "Flink SQL has no double quotes")
        .with_span(span, "double-quoted text")
        .with_help(format!("a string is '{}'; a name is `{}`", inner.replace('\'', "''"), inner.replace('`', "``")))
}

/// An operator other databases have and Flink has not.
pub(crate) fn foreign_operator(span: Span, op: &str) -> Diagnostic {
    let help = match op {
        "!=" => "write `<>`",
        "==" => "write `=`",
        "<=>" => "write `IS NOT DISTINCT FROM`",
        "!" => "write `NOT`",
        "&&" => "write `AND`",
        "::" => "write `CAST(value AS type)`",
        "&" => "write `BITAND(a, b)`",
        "|" => "write `BITOR(a, b)`, or `||` to join strings",
        "^" => "write `BITXOR(a, b)`, or `POWER(a, b)`",
        "~" => "write `BITNOT(a)`, or `REGEXP(text, pattern)`",
        "->" | "->>" => "write `JSON_VALUE(json, '$.field')`",
        "?" => "there are no parameters; write the value, or `'${var:name}'` inside a string",
        "$" => "names start with a letter; put others in backticks",
        _ => "Flink SQL's operators are = <> < <= > >= + - * / % || and words such as AND, LIKE, BETWEEN",
    };
    Diagnostic::error(FOREIGN_SYNTAX, format!("Flink SQL has no operator `{op}`"))
        .with_span(span, "unknown operator")
        .with_help(help)
}
