//! The functions a query may call.
//!
//! | kind | where it comes from |
//! |---|---|
//! | Flink's scalar functions | [`crate::functions`] |
//! | scalar functions that mean the same in DataFusion | [`SAME_IN_DATAFUSION`] |
//! | COUNT, SUM, AVG, MIN, MAX | [`super::aggregates`] |
//! | aggregates and window functions that only batch mode runs | DataFusion |
//! | functions of the embedding program | [`crate::Engine::scalar_function`] |
//!
//! A name of Flink's that is none of these is refused as "not supported"; any other name is "not found".

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use dflow_common::env::Clock;
use dflow_dsl::types::parse_type;

use super::aggregates;

/// What the name of a cast's function begins with; the type follows.
pub(crate) const CAST_PREFIX: &str = "$CAST ";
/// The same for TRY_CAST.
pub(crate) const TRY_CAST_PREFIX: &str = "$TRY_CAST ";

/// DataFusion functions whose meaning is Flink's (flink name, DataFusion name).
const SAME_IN_DATAFUSION: &[(&str, &str)] = &[
    ("abs", "abs"),
    ("acos", "acos"),
    ("array_append", "array_append"),
    ("array_concat", "array_concat"),
    ("array_contains", "array_has"),
    ("array_distinct", "array_distinct"),
    ("array_except", "array_except"),
    ("array_intersect", "array_intersect"),
    ("array_join", "array_to_string"),
    ("array_max", "array_max"),
    ("array_min", "array_min"),
    ("array_reverse", "array_reverse"),
    ("array_union", "array_union"),
    ("asin", "asin"),
    ("atan", "atan"),
    ("atan2", "atan2"),
    ("btrim", "btrim"),
    ("char_length", "character_length"),
    ("character_length", "character_length"),
    ("coalesce", "coalesce"),
    ("cos", "cos"),
    ("cosh", "cosh"),
    ("cot", "cot"),
    ("degrees", "degrees"),
    ("exp", "exp"),
    ("ifnull", "nvl"),
    ("initcap", "initcap"),
    ("ln", "ln"),
    ("log10", "log10"),
    ("log2", "log2"),
    ("lower", "lower"),
    ("ltrim", "ltrim"),
    ("map_entries", "map_entries"),
    ("map_keys", "map_keys"),
    ("map_values", "map_values"),
    ("nullif", "nullif"),
    ("pi", "pi"),
    ("power", "power"),
    ("radians", "radians"),
    ("repeat", "repeat"),
    ("replace", "replace"),
    ("reverse", "reverse"),
    ("rtrim", "rtrim"),
    ("sin", "sin"),
    ("sinh", "sinh"),
    ("sqrt", "sqrt"),
    ("tan", "tan"),
    ("tanh", "tanh"),
    ("trim", "btrim"),
    ("upper", "upper"),
    ("uuid", "uuid"),
];

/// Functions behind a syntax of their own, such as `FLOOR(t TO DAY)`. A query finds them under `$name`, which nobody writes.
const HIDDEN: &[&str] = &["ceil_to", "floor_to"];

/// Aggregates that only batch mode runs (flink name, DataFusion name).
const BATCH_AGGREGATES: &[(&str, &str)] = &[
    ("stddev_pop", "stddev_pop"),
    ("stddev_samp", "stddev_samp"),
    ("var_pop", "var_pop"),
    ("var_samp", "var_samp"),
    ("variance", "var_samp"),
    ("approx_count_distinct", "approx_distinct"),
];

/// What a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One value per row.
    Scalar,
    /// One value per group, in streams and in batch mode.
    Aggregate,
    /// One value per group, in batch mode only.
    BatchAggregate,
    /// Needs OVER.
    Window,
    /// Flink has it, dflow does not.
    FlinkOnly,
}

/// All functions of an engine. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Functions {
    scalars: Arc<HashMap<String, Arc<ScalarUDF>>>,
    aggregates: Arc<HashMap<String, Arc<AggregateUDF>>>,
    batch_aggregates: Arc<HashMap<String, Arc<AggregateUDF>>>,
    windows: Arc<HashMap<String, Arc<WindowUDF>>>,
    time_zone: Arc<str>,
}

impl std::fmt::Debug for Functions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Functions")
    }
}

impl Functions {
    /// The built-in functions in a session of this time zone, and those of the embedding program.
    pub(crate) fn new(time_zone: &str, clock: &Arc<dyn Clock>, own: &[Arc<ScalarUDF>]) -> Self {
        let mut library: HashMap<String, Arc<ScalarUDF>> = HashMap::new();
        let nested = datafusion::functions_nested::all_default_nested_functions();
        for f in datafusion::functions::all_default_functions().into_iter().chain(nested) {
            for alias in f.aliases() {
                library.insert(alias.clone(), f.clone());
            }
            library.insert(f.name().to_owned(), f);
        }
        let mut scalars: HashMap<String, Arc<ScalarUDF>> = SAME_IN_DATAFUSION
            .iter()
            .filter_map(|(flink, theirs)| library.get(*theirs).map(|f| ((*flink).to_owned(), f.clone())))
            .collect();
        for (name, f) in super::library::scalar_functions(time_zone, clock) {
            let name = if HIDDEN.contains(&name.as_str()) { format!("${name}") } else { name };
            scalars.insert(name, f);
        }
        for f in own {
            scalars.insert(f.name().to_lowercase(), f.clone());
        }
        let theirs: HashMap<String, Arc<AggregateUDF>> =
            datafusion::functions_aggregate::all_default_aggregate_functions()
                .into_iter()
                .flat_map(|f| {
                    let names: Vec<String> = std::iter::once(f.name().to_owned()).chain(f.aliases().to_vec()).collect();
                    names.into_iter().map(move |n| (n, f.clone()))
                })
                .collect();
        let batch_aggregates = BATCH_AGGREGATES
            .iter()
            .filter_map(|(flink, name)| theirs.get(*name).map(|f| ((*flink).to_owned(), f.clone())))
            .collect();
        let windows = datafusion::functions_window::all_default_window_functions()
            .into_iter()
            .map(|f| (f.name().to_owned(), f))
            .filter(|(name, _)| is_flinks(name))
            .collect();
        Self {
            scalars: Arc::new(scalars),
            aggregates: Arc::new(aggregates::all().into_iter().map(|f| (f.name().to_owned(), f)).collect()),
            batch_aggregates: Arc::new(batch_aggregates),
            windows: Arc::new(windows),
            time_zone: time_zone.into(),
        }
    }

    /// The cast to a type, as `CAST(x AS type)` would be bound.
    pub(crate) fn cast_to(&self, ty: &dflow_common::SqlType) -> Arc<ScalarUDF> {
        super::library::cast_function(ty, false, &self.time_zone)
    }

    /// What a lower-case name is.
    pub(crate) fn kind(&self, name: &str) -> Option<Kind> {
        if self.scalars.contains_key(name) {
            Some(Kind::Scalar)
        } else if self.aggregates.contains_key(name) {
            Some(Kind::Aggregate)
        } else if self.batch_aggregates.contains_key(name) {
            Some(Kind::BatchAggregate)
        } else if self.windows.contains_key(name) {
            Some(Kind::Window)
        } else {
            is_flinks(name).then_some(Kind::FlinkOnly)
        }
    }

    /// All names that can be called.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let aggregates = self.aggregates.keys().chain(self.batch_aggregates.keys());
        let all = self.scalars.keys().chain(aggregates).chain(self.windows.keys()).map(String::as_str);
        all.filter(|name| !name.starts_with('$'))
    }

    /// A scalar function; casts are made from the type in their name.
    pub(crate) fn scalar(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        for (prefix, is_try) in [(CAST_PREFIX, false), (TRY_CAST_PREFIX, true)] {
            if let Some(text) = name.strip_prefix(prefix) {
                let ty = parse_type(dflow_common::SourceId(u32::MAX), text).ok()?;
                return Some(super::library::cast_function(&ty, is_try, &self.time_zone));
            }
        }
        self.scalars.get(&name.to_lowercase()).cloned()
    }

    pub(crate) fn aggregate(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        let name = name.to_lowercase();
        self.aggregates.get(&name).or_else(|| self.batch_aggregates.get(&name)).cloned()
    }

    pub(crate) fn window(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.windows.get(&name.to_lowercase()).cloned()
    }
}

/// Whether Flink has a function of this name.
fn is_flinks(name: &str) -> bool {
    let upper = name.to_uppercase();
    include_str!("flink_functions.txt").lines().any(|f| f == upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> Arc<dyn Clock> {
        Arc::new(dflow_common::env::SystemClock::new())
    }

    #[test]
    fn every_function_taken_from_datafusion_exists_there() {
        let functions = Functions::new("UTC", &clock(), &[]);
        for (flink, _) in SAME_IN_DATAFUSION {
            assert_eq!(functions.kind(flink), Some(Kind::Scalar), "{flink}");
        }
        for (flink, _) in BATCH_AGGREGATES {
            assert_eq!(functions.kind(flink), Some(Kind::BatchAggregate), "{flink}");
        }
    }

    #[test]
    fn every_name_that_can_be_called_is_one_of_flinks() {
        let functions = Functions::new("UTC", &clock(), &[]);
        let foreign: Vec<&str> = functions.names().filter(|n| !is_flinks(n)).collect();
        // EXTRACT is syntax in Flink, which its list leaves out.
        assert_eq!(foreign, ["extract"]);
        assert_eq!(functions.kind("floor_to"), None);
        assert!(functions.scalar("$floor_to").is_some());
    }

    #[test]
    fn names_of_flink_are_known_even_when_they_cannot_run() {
        let functions = Functions::new("UTC", &clock(), &[]);
        assert_eq!(functions.kind("bitmap_build_agg"), Some(Kind::FlinkOnly));
        assert_eq!(functions.kind("count"), Some(Kind::Aggregate));
        assert_eq!(functions.kind("row_number"), Some(Kind::Window));
        assert_eq!(functions.kind("no_such_function"), None);
    }
}
