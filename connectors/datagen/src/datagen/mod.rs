//! The `datagen` source: rows of random or sequential values.
//!
//! ```sql
//! CREATE TABLE t (id BIGINT, name STRING, at TIMESTAMP(3)) WITH (
//!   'connector' = 'datagen', 'number-of-rows' = '1000', 'dflow.seed' = '7',
//!   'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '1000',
//!   'fields.name.length' = '8', 'fields.at.max-past' = '1 h')
//! ```
//! A value is a function of the seed, the field's name and the row's index: any split, batch size, projection or restart
//! gives the same rows. Flink draws from an unseeded source; here a seed is drawn when the stream begins, unless
//! `dflow.seed` gives one, and is kept in the checkpoint.
//!
//! *Time.* Flink reads the clock for every row. Here row `i` happens `i / rows-per-second` seconds after the stream
//! began, which is the same while the source keeps up, and stays the same when rows are made again after a restart.
//! With `dflow.seed` the stream begins at [`SEEDED_START_US`], so that the data depends on nothing but the script.

mod fields;
mod values;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use dflow_common::limits::{BATCH_BYTES, BATCH_ROWS, RECORD_BYTES_MAX};
use dflow_common::{Env, Span};
use dflow_connector_api::source::{OutputSchema, Source, SourceChangelog};
use dflow_connector_api::{
    ConnectorFactory, ConnectorSpec, Error, OptionSpec, OptionType, Options, Result, Roles, TableRequest,
};
use serde::{Deserialize, Serialize};

use crate::error::{CANNOT_GENERATE, OUT_OF_RANGE};
use crate::generator::{GeneratorSource, Maker, Plan};
use fields::Field;
use values::Context;

/// Where the clock of a seeded stream starts: 2024-01-01T00:00:00Z.
pub(crate) const SEEDED_START_US: i64 = 1_704_067_200_000_000;
/// Blocks hold the rows of this many seconds, so that the splits' clocks stay together.
const BLOCK_SECONDS: f64 = 0.01;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("rows-per-second", OptionType::Int, "Rows a second, all subtasks together.").default("10000"),
    OptionSpec::new("number-of-rows", OptionType::Int, "Rows to make; without it the source goes on for ever."),
    OptionSpec::new("scan.parallelism", OptionType::Int, "Subtasks that make rows, at most."),
    OptionSpec::new("dflow.seed", OptionType::Int, "The same seed makes the same rows.").identity(),
    OptionSpec::new(
        "fields.#.kind",
        OptionType::Enum(&["random", "sequence"]),
        "How the field is made; `random` unless given.",
    )
    .identity(),
    OptionSpec::new("fields.#.min", OptionType::Text, "Smallest random number; of the type unless given.").identity(),
    OptionSpec::new("fields.#.max", OptionType::Text, "Largest random number; of the type unless given.").identity(),
    OptionSpec::new("fields.#.max-past", OptionType::Duration, "How far a random time lies in the past, at most.")
        .identity(),
    OptionSpec::new(
        "fields.#.length",
        OptionType::Int,
        "Characters, bytes or elements: 100 of text and bytes, 3 of a collection, unless given.",
    )
    .identity(),
    OptionSpec::new("fields.#.var-len", OptionType::Bool, "Whether the length is random, from 1 to `length`.")
        .identity(),
    OptionSpec::new("fields.#.start", OptionType::Int, "First value of a sequence.").identity(),
    OptionSpec::new("fields.#.end", OptionType::Int, "Last value of a sequence; the source ends with it."),
    OptionSpec::new("fields.#.null-rate", OptionType::Float, "Share of NULLs, 0 to 1.").identity(),
];

const SPEC: ConnectorSpec = ConnectorSpec {
    name: "datagen",
    summary: "Makes rows of random or sequential values.",
    roles: Roles { source: true, sink: false, lookup: false },
    options: OPTIONS,
    takes_format: false,
    guarantees: &["source: exactly once; every row can be made again from its position"],
};

/// Makes datagen sources.
pub struct DatagenFactory;

impl ConnectorFactory for DatagenFactory {
    fn spec(&self) -> &'static ConnectorSpec {
        &SPEC
    }

    fn source(&self, request: &TableRequest) -> Result<Arc<dyn Source>, Vec<Error>> {
        let options = Options::check("connector 'datagen'", OPTIONS, &request.options, request.span)?;
        let mut errors = Vec::new();
        let number = |key: &str, min: i64, errors: &mut Vec<Error>| match options.int(key) {
            Some(n) if n < min => {
                let span = options.span(key).unwrap_or(request.span);
                errors.push(
                    Error::new(OUT_OF_RANGE, format!("'{key}' is {n}, and must be at least {min}"))
                        .at(span, "out of range"),
                );
                None
            }
            n => n,
        };
        let rate = number("rows-per-second", 1, &mut errors).unwrap_or(1) as f64;
        let rows = number("number-of-rows", 0, &mut errors).map(|n| n as u64);
        let parallelism = number("scan.parallelism", 1, &mut errors).map(|n| n as usize);
        let seed = options.int("dflow.seed").map(|s| s as u64);
        let all = fields::of_table(&request.schema, &options, &mut errors);
        for (field, column) in all.iter().zip(&request.schema.columns) {
            if field.bytes() > RECORD_BYTES_MAX as u64 {
                let why = format!("a value takes {} bytes, and {RECORD_BYTES_MAX} is the most", field.bytes());
                errors.push(field_error(&column.name, column.span, why).help("make its 'length' smaller"));
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let total = all.iter().filter_map(Field::rows).chain(rows).min();
        let fields: Vec<Field> =
            request.projection.iter().enumerate().map(|(i, c)| all[*c].clone().masked(request.mask(i))).collect();
        let row_bytes: u64 = fields.iter().map(Field::bytes).sum::<u64>().max(1);
        let plan = DatagenPlan {
            schema: request.output_schema(),
            fields: fields.into(),
            rate,
            total,
            parallelism,
            seed,
            batch: (BATCH_BYTES as u64 / row_bytes).clamp(1, BATCH_ROWS as u64),
        };
        let output = OutputSchema {
            table: request.name.clone(),
            schema: request.schema.clone(),
            projection: request.projection.clone(),
            predicate: None,
            changelog: SourceChangelog::Append,
        };
        Ok(Arc::new(GeneratorSource::new(plan, output)))
    }
}

struct DatagenPlan {
    schema: SchemaRef,
    fields: Arc<[Field]>,
    rate: f64,
    total: Option<u64>,
    parallelism: Option<usize>,
    seed: Option<u64>,
    batch: u64,
}

/// What a stream's rows depend on beside the script.
#[derive(Clone, Serialize, Deserialize)]
struct Origin {
    seed: u64,
    start_us: i64,
    /// Of the first start: a row's time must not move when the script changes the rate.
    rate: f64,
}

impl Plan for DatagenPlan {
    type Origin = Origin;

    fn origin(&self, env: &Env) -> Origin {
        match self.seed {
            Some(seed) => Origin { seed, start_us: SEEDED_START_US, rate: self.rate },
            None => Origin { seed: env.rng.next_u64(), start_us: env.clock.wall_us(), rate: self.rate },
        }
    }

    fn total(&self) -> Option<u64> {
        self.total
    }

    fn rate(&self) -> Option<f64> {
        Some(self.rate)
    }

    fn block(&self) -> u64 {
        ((self.rate * BLOCK_SECONDS) as u64).clamp(1, BATCH_ROWS as u64)
    }

    fn batch(&self) -> u64 {
        self.batch
    }

    fn max_parallelism(&self) -> Option<usize> {
        self.parallelism
    }

    fn maker(&self, origin: &Origin) -> Box<dyn Maker> {
        Box::new(DatagenMaker {
            schema: self.schema.clone(),
            fields: self.fields.clone(),
            context: Context { seed: origin.seed, start_us: origin.start_us, us_per_row: 1e6 / origin.rate },
            rows: Vec::new(),
        })
    }
}

struct DatagenMaker {
    schema: SchemaRef,
    fields: Arc<[Field]>,
    context: Context,
    rows: Vec<u64>,
}

impl Maker for DatagenMaker {
    fn make(&mut self, runs: &[Range<u64>]) -> RecordBatch {
        self.rows.clear();
        self.rows.extend(runs.iter().cloned().flatten());
        let column =
            |field| values::column(field, &self.context, &self.rows).expect("a field's kind was chosen by its type");
        let columns: Vec<ArrayRef> = self.fields.iter().map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .expect("every column has the type of its field and a value per row")
    }
}

/// An error about a field.
fn field_error(path: &str, span: Span, why: impl std::fmt::Display) -> Error {
    Error::new(CANNOT_GENERATE, format!("field `{path}` cannot be generated: {why}")).at(span, "")
}
