//! What is wrong with a script beyond its grammar, told so that a user can act on it.
//!
//! | range | about |
//! |---|---|
//! | DF1800–1899 | `SET` keys |
//! | DF1900 | valid Flink SQL that dflow does not run |
//! | DF2000–2099 | names: catalogs, databases, tables, views, columns, functions |
//! | DF2100–2199 | expressions and types |
//! | DF2200–2299 | table definitions |
//! | DF2400–2499 | writing into a table |
//! | DF3000–3099 | warnings: what is allowed and probably not meant ([`crate::lint`]) |

use dflow_common::{Class, Classified, Code, CodeInfo, Diagnostic, Span};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $class:ident, $title:literal;)*) => {
        $($(#[$doc])* pub const $name: CodeInfo = CodeInfo { code: Code($code), title: $title, class: Class::$class };)*
        /// All codes of this crate.
        pub const CODES: &[CodeInfo] = &[$($name),*];
    };
}

codes! {
    /// A `SET` key neither Flink nor dflow knows.
    UNKNOWN_SETTING = 1800, Script, "unknown setting";
    /// A `SET` value that does not read as the key's type.
    SETTING_VALUE = 1801, Script, "setting value of the wrong type";
    /// Known Flink settings that do nothing here.
    SETTING_WITHOUT_EFFECT = 1802, Script, "settings without effect";
    /// A setting whose value would change results in a way dflow cannot do yet.
    SETTING_NOT_SUPPORTED = 1803, Script, "setting value not supported";
    /// Two settings, or a setting and the rest of the script, that exclude each other.
    SETTING_CONFLICT = 1804, Script, "settings that exclude each other";
    /// Valid Flink SQL that dflow does not run.
    UNSUPPORTED = 1900, Script, "valid Flink SQL that dflow does not support";
    /// No table or view of that name.
    TABLE_NOT_FOUND = 2001, Script, "table not found";
    /// No catalog of that name.
    CATALOG_NOT_FOUND = 2002, Script, "catalog not found";
    /// No database of that name.
    DATABASE_NOT_FOUND = 2003, Script, "database not found";
    /// Something of that name exists already.
    ALREADY_EXISTS = 2004, Script, "name is taken";
    /// A name with too many parts, or one that must not be dropped.
    BAD_NAME = 2005, Script, "name cannot be used here";
    /// No column of that name.
    COLUMN_NOT_FOUND = 2006, Script, "column not found";
    /// A column name that several inputs have.
    COLUMN_AMBIGUOUS = 2007, Script, "ambiguous column";
    /// No function of that name.
    FUNCTION_NOT_FOUND = 2008, Script, "function not found";
    /// An object of another kind than the statement is about.
    WRONG_KIND = 2009, Script, "object of another kind";
    /// A database that still has tables.
    NOT_EMPTY = 2010, Script, "database is not empty";
    /// A function called with arguments it does not take.
    BAD_ARGUMENTS = 2100, Script, "arguments do not fit the function";
    /// An expression whose types do not fit.
    BAD_EXPRESSION = 2101, Script, "expression cannot be typed";
    /// A column that is neither grouped nor aggregated.
    NOT_GROUPED = 2102, Script, "column is neither grouped nor aggregated";
    /// A query that does not plan for another reason.
    BAD_QUERY = 2103, Script, "query cannot be planned";
    /// A cast between types Flink does not cast.
    BAD_CAST = 2104, Script, "cast between these types is not possible";
    /// A number literal that no type holds.
    LITERAL_RANGE = 2105, Script, "literal out of range";
    /// A table without `connector`.
    CONNECTOR_MISSING = 2200, Script, "table without connector";
    /// Two columns of one name.
    DUPLICATE_COLUMN = 2201, Script, "column defined twice";
    /// A key or partition column that does not exist or cannot be one.
    BAD_KEY_COLUMN = 2202, Script, "column cannot be a key";
    /// A watermark on a column that cannot carry one.
    BAD_WATERMARK = 2203, Script, "watermark cannot be defined";
    /// `LIKE` that cannot be merged.
    BAD_LIKE = 2205, Script, "LIKE cannot be merged";
    /// More columns than [`dflow_common::limits::COLUMNS_MAX`].
    TOO_MANY_COLUMNS = 2206, Script, "too many columns";
    /// A view whose column list does not fit its query.
    BAD_VIEW = 2207, Script, "view cannot be defined";
    /// Two options of one key.
    DUPLICATE_OPTION = 2208, Script, "option given twice";
    /// An option of an OPTIONS hint that cannot be used.
    BAD_HINT = 2209, Script, "hint cannot be used";
    /// A view whose query no longer gives the columns the view was created with.
    STALE_VIEW = 2210, Script, "view no longer fits what it reads";
    /// ALTER of something that is not there, or that others need.
    BAD_ALTER = 2211, Script, "table cannot be altered so";
    /// A group key that is new with every row of a source without end.
    STATE_GROWS = 3001, Script, "state grows with every row";
    /// A function of chance or of the clock over rows that are taken back.
    VOLATILE_CHANGES = 3002, Script, "function that changes over an updating query";
    /// Columns that go by position into one another's names.
    SWAPPED_COLUMNS = 3003, Script, "columns by position into other names";
    /// A clock reading that becomes an instant, or the reverse, in a zone nobody chose.
    ZONE_BY_DEFAULT = 3004, Script, "time zone that nobody chose";
    /// A query with more or fewer columns than its sink.
    SINK_COLUMN_COUNT = 2400, Script, "query and sink have different numbers of columns";
    /// A query column whose type does not fit the sink's.
    SINK_COLUMN_TYPE = 2401, Script, "query and sink column types do not fit";
    /// An updating query into a sink that takes inserts only.
    SINK_APPEND_ONLY = 2402, Script, "updating query into an append-only sink";
    /// A sink key that the query's key does not imply.
    SINK_KEY = 2403, Script, "sink key is not the query's key";
    /// A NOT NULL column that would always be NULL.
    SINK_NOT_NULL = 2404, Script, "NOT NULL column without a value";
    /// A column of the list or PARTITION clause that cannot be written.
    SINK_COLUMN = 2405, Script, "column cannot be written";
    /// A keyed sink without a primary key.
    SINK_NO_KEY = 2406, Script, "keyed sink without primary key";
    /// A batch statement that its memory budget does not allow.
    MEMORY_EXCEEDED = 2450, Resources, "batch statement needs more memory";
    /// A NOT NULL column of a source with NULL in it.
    SOURCE_NOT_NULL = 2451, Data, "NULL in a NOT NULL column of a source";
    /// The receiver of a query's rows was dropped.
    OUTPUT_CLOSED = 2410, Unavailable, "the rows of a query are no longer wanted";
    /// Several bare SELECTs that cannot run one after the other.
    SEVERAL_QUERIES = 2411, Script, "queries that cannot run one after the other";
}

/// Everything that is wrong with a script: at least one error, in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(Vec<Diagnostic>);

/// The result of planning.
pub type Result<T, E = Errors> = std::result::Result<T, E>;

impl Errors {
    /// Errors collected from independent checks; `None` when there were none.
    pub fn from_list(mut list: Vec<Diagnostic>) -> Option<Errors> {
        if list.is_empty() {
            return None;
        }
        list.sort_by_key(|d| d.span().map(|s| (s.source, s.start)));
        // One mistake may be met on several ways: an option where its table is declared and where it is used.
        let mut told: Vec<Diagnostic> = Vec::with_capacity(list.len());
        for d in list {
            let same_place = told.iter().rev().take_while(|t| t.span() == d.span());
            if !same_place.into_iter().any(|t| *t == d) {
                told.push(d);
            }
        }
        Some(Errors(told))
    }

    /// The errors.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.0
    }

    /// The errors, taken out.
    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.0
    }

    /// Points errors without a place at `span`.
    pub fn at_default(mut self, span: Span) -> Self {
        for d in &mut self.0 {
            if d.primary.is_none() {
                *d = d.clone().with_span(span, "");
            }
        }
        self
    }
}

impl From<Diagnostic> for Errors {
    fn from(d: Diagnostic) -> Self {
        Errors(vec![d])
    }
}

impl From<Box<Diagnostic>> for Errors {
    fn from(d: Box<Diagnostic>) -> Self {
        Errors(vec![*d])
    }
}

impl From<Vec<dflow_connector_api::Error>> for Errors {
    fn from(list: Vec<dflow_connector_api::Error>) -> Self {
        Errors(list.iter().map(Classified::diagnostic).collect())
    }
}

impl std::fmt::Display for Errors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, d) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            d.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

impl Classified for Errors {
    fn class(&self) -> Class {
        self.0.first().map_or(Class::Internal, |d| d.class)
    }

    fn code(&self) -> Code {
        self.0.first().map_or(UNSUPPORTED.code, |d| d.code)
    }

    fn span(&self) -> Option<Span> {
        self.0.first().and_then(Diagnostic::span)
    }

    fn retryable(&self) -> bool {
        false
    }

    fn diagnostic(&self) -> Diagnostic {
        self.0.first().expect("an error list is never empty").clone()
    }
}

/// An error at a place: `message`, with a short `label` under the caret.
pub(crate) fn at(info: CodeInfo, span: Span, message: impl Into<String>, label: impl Into<String>) -> Diagnostic {
    Diagnostic::error(info, message).with_span(span, label)
}

/// "valid Flink SQL, not supported by dflow".
pub(crate) fn unsupported(what: impl std::fmt::Display, span: Span) -> Diagnostic {
    at(UNSUPPORTED, span, format!("{what} is valid Flink SQL, but dflow does not support it"), "not supported")
}

/// Adds "did you mean" when a candidate is near.
pub(crate) fn did_you_mean<'a>(d: Diagnostic, name: &str, all: impl IntoIterator<Item = &'a str>) -> Diagnostic {
    match dflow_common::suggest::nearest(name, all) {
        Some(near) => d.with_help(format!("did you mean `{near}`?")),
        None => d,
    }
}
