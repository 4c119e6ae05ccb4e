//! The Nexmark queries.
//!
//! `benches/nexmark/tables.sql` declares the event stream and its views, `qN.sql` a sink and a query each, as in the
//! benchmark's Flink flavour. Events come from the deterministic generator, at its published rate of 10 M events a second
//! of event time.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use dflow::common::{Diagnostic, SqlType, TypeKind};
use dflow::error::USAGE;
use dflow::{Engine, ScalarFunction};

use super::super::args::NexmarkArgs;
use super::{CHECKPOINT_INTERVAL, Case};

const TABLES: &str = include_str!("../../../benches/nexmark/tables.sql");
const GENERATOR: &str = include_str!("../../../benches/nexmark/generator.sql");

/// Event time advances this many events a second.
const RATE: u64 = 10_000_000;

macro_rules! queries {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../../benches/nexmark/", $name, ".sql")))),*]
    };
}

/// All queries by name.
const QUERIES: &[(&str, &str)] = queries!("q0" "q1" "q2" "q14" "q15" "q16" "q17" "q21" "q22");

/// The cases the arguments ask for.
///
/// # Errors
/// A query that does not exist.
pub(crate) fn cases(args: &NexmarkArgs) -> Result<Vec<Case>, Box<Diagnostic>> {
    let events = args.size.events.unwrap_or(10_000_000);
    let case = |name: &str, query: &str| Case {
        name: name.to_owned(),
        script: format!("{TABLES}\n{query}"),
        vars: vec![("events".to_owned(), events.to_string()), ("rate".to_owned(), RATE.to_string())],
        events,
        checkpoints: CHECKPOINT_INTERVAL,
    };
    if args.generator_only {
        return Ok(vec![case("generator", GENERATOR)]);
    }
    if args.queries.is_empty() {
        return Ok(QUERIES.iter().map(|(name, query)| case(name, query)).collect());
    }
    args.queries
        .iter()
        .map(|wanted| match QUERIES.iter().find(|(name, _)| name == wanted) {
            Some((name, query)) => Ok(case(name, query)),
            None => {
                let names: Vec<_> = QUERIES.iter().map(|(name, _)| *name).collect();
                Err(Box::new(
                    Diagnostic::error(USAGE, format!("there is no query `{wanted}`"))
                        .with_help(format!("queries: {}", names.join(", "))),
                ))
            }
        })
        .collect()
}

/// `count_char(text, character)`: how often the character occurs, as q14's Java function counts it.
pub(crate) fn register_functions(engine: &mut Engine) {
    let text = SqlType::STRING;
    engine.register(ScalarFunction {
        name: "count_char".into(),
        arguments: vec![text.clone(), text],
        returns: SqlType { kind: TypeKind::BigInt, nullable: true },
        body: Arc::new(|columns| Ok(count_char(&columns[0], &columns[1]))),
    });
}

fn count_char(text: &ArrayRef, character: &ArrayRef) -> ArrayRef {
    let (text, character) = (text.as_string_view(), character.as_string_view());
    let counts = text.iter().zip(character.iter()).map(|(text, character)| {
        let wanted = character?.chars().next()?;
        let text = text?;
        Some(if wanted.is_ascii() {
            text.bytes().filter(|b| *b == wanted as u8).count() as i64
        } else {
            text.chars().filter(|c| *c == wanted).count() as i64
        })
    });
    let counts: Int64Array = counts.collect();
    debug_assert_eq!(counts.len(), text.len(), "one count per row");
    Arc::new(counts)
}

#[cfg(test)]
mod tests {
    use arrow::array::StringViewArray;

    use super::super::super::args::SizeArgs;
    use super::*;

    #[test]
    fn an_unknown_query_is_a_usage_error_that_lists_the_known_ones() {
        let size = SizeArgs { events: None, parallelism: 1, json: false };
        let args = |queries: &[&str]| NexmarkArgs {
            queries: queries.iter().map(|q| (*q).to_owned()).collect(),
            size: size.clone(),
            generator_only: false,
        };
        let error = cases(&args(&["q1", "q99"])).err().unwrap();
        assert_eq!(error.code, USAGE.code);
        assert!(error.help[0].contains("q0, q1, q2"));
        assert_eq!(cases(&args(&["q2", "q22"])).ok().unwrap().len(), 2);
        assert_eq!(cases(&args(&[])).ok().unwrap().len(), QUERIES.len());
    }

    #[test]
    fn count_char_counts_and_null_stays_null() {
        let text: ArrayRef = Arc::new(StringViewArray::from(vec![Some("abcabcc"), Some("ééx"), None, Some("")]));
        let of: ArrayRef = Arc::new(StringViewArray::from(vec![Some("c"), Some("é"), Some("c"), Some("c")]));
        let counts = count_char(&text, &of);
        assert_eq!(
            counts.as_primitive::<arrow::datatypes::Int64Type>(),
            &Int64Array::from(vec![Some(3), Some(2), None, Some(0)])
        );
    }
}
