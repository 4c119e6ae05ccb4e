//! The Nexmark benchmark's event generator: persons, auctions and bids of an online auction.
//!
//! ```sql
//! CREATE TABLE datagen (
//!   event_type INT,
//!   person ROW<id BIGINT, name VARCHAR, emailAddress VARCHAR, creditCard VARCHAR, city VARCHAR, state VARCHAR,
//!              `dateTime` TIMESTAMP(3), extra VARCHAR>,
//!   auction ROW<id BIGINT, itemName VARCHAR, description VARCHAR, initialBid BIGINT, reserve BIGINT,
//!               `dateTime` TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra VARCHAR>,
//!   bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, `dateTime` TIMESTAMP(3),
//!           extra VARCHAR>,
//!   `dateTime` AS CASE WHEN event_type = 0 THEN person.`dateTime` WHEN event_type = 1 THEN auction.`dateTime`
//!                      ELSE bid.`dateTime` END,
//!   WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
//! ) WITH ('connector' = 'nexmark', 'first-event.rate' = '10000000', 'events.num' = '100000000');
//! ```
//! # The pinned variant
//! The original draws from unseeded random numbers, so no two runs agree. Here every event has a random source of its own,
//! seeded with its id, and time starts at a fixed moment; all else is the original's. An event is a pure function of
//! its id: two engines, two runs, two parallelisms see the same events.
//!
//! # Splits
//! Blocks of events of the one sequence, dealt out in turn. (The original gives each subtask a time line of its own.)
//!
//! # Speed
//! Columns, not events, are made ([`bids`]); of a `ROW` only the fields that are read ([`FieldMask`]); and of a filter on
//! `event_type` only the kinds of event that pass it.

mod bids;
mod config;
mod maker;
mod random;
mod rare;
mod tables;

use std::sync::Arc;

use arrow::datatypes::DataType;
use dflow_common::limits::BATCH_ROWS;
use dflow_common::{Env, SqlType, TypeKind, suggest};
use dflow_connector_api::source::{OutputSchema, Source, SourceChangelog};
use dflow_connector_api::{
    ColumnKind, CompareOp, ConnectorFactory, ConnectorSpec, Error, FieldMask, OptionSpec, OptionType, Options,
    Predicate, Result, Roles, TableRequest, Value,
};

use crate::error::{NO_SUCH_COLUMN, OUT_OF_RANGE};
use crate::generator::{GeneratorSource, Maker, Plan};
use config::{Config, Kind};
use maker::{Column, Layout, NexmarkMaker};

/// Average sizes stay below this: padding is cut from a pool of 1 MiB.
const SIZE_MAX: i64 = 400 << 10;
/// Proportions and ratios stay below this.
const SHARE_MAX: i64 = 1 << 20;
/// Batches looked through for one batch of rows, when a filter lets few events pass.
const SPARSE_BATCHES_MAX: u64 = 16;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("first-event.rate", OptionType::Int, "Events a second of event time.").default("10000").identity(),
    OptionSpec::new("next-event.rate", OptionType::Int, "Accepted as the original accepts it.")
        .default("10000")
        .without_effect(),
    OptionSpec::new("events.num", OptionType::Int, "Events to make; 0 goes on for ever.").default("0"),
    OptionSpec::new("person.proportion", OptionType::Int, "Persons in a round of events.").default("1").identity(),
    OptionSpec::new("auction.proportion", OptionType::Int, "Auctions in a round of events.").default("3").identity(),
    OptionSpec::new("bid.proportion", OptionType::Int, "Bids in a round of events.").default("46").identity(),
    OptionSpec::new("person.avg-size", OptionType::Size, "Bytes of a person, on average.").default("200 b").identity(),
    OptionSpec::new("auction.avg-size", OptionType::Size, "Bytes of an auction, on average.")
        .default("500 b")
        .identity(),
    OptionSpec::new("bid.avg-size", OptionType::Size, "Bytes of a bid, on average.").default("100 b").identity(),
    OptionSpec::new("bid.hot-ratio.auctions", OptionType::Int, "1 of so many bids is not on a hot auction.")
        .default("2")
        .identity(),
    OptionSpec::new("bid.hot-ratio.bidders", OptionType::Int, "1 of so many bids is not by a hot bidder.")
        .default("4")
        .identity(),
    OptionSpec::new("auction.hot-ratio.sellers", OptionType::Int, "1 of so many auctions is not by a hot seller.")
        .default("4")
        .identity(),
    OptionSpec::new("max-emit-speed", OptionType::Bool, "Whether to go as fast as possible instead of at the rate.")
        .default("true"),
    OptionSpec::new("keep-alive", OptionType::Bool, "Whether to wait for ever after the last event.").default("false"),
    OptionSpec::new("stop-at", OptionType::Int, "Stop after so many events; -1 does not.").default("-1"),
    OptionSpec::new("rate.shape", OptionType::Enum(&["SQUARE", "SINE"]), "Accepted as the original accepts it.")
        .without_effect(),
    OptionSpec::new("rate.period", OptionType::Duration, "Accepted as the original accepts it.").without_effect(),
    OptionSpec::new("rate.limited", OptionType::Bool, "Accepted as the original accepts it.").without_effect(),
];

const SPEC: ConnectorSpec = ConnectorSpec {
    name: "nexmark",
    summary: "The events of the Nexmark benchmark: persons, auctions and bids.",
    roles: Roles { source: true, sink: false, lookup: false },
    options: OPTIONS,
    takes_format: false,
    guarantees: &["source: exactly once; an event is a function of its number"],
};

/// Makes nexmark sources.
pub struct NexmarkFactory;

impl ConnectorFactory for NexmarkFactory {
    fn spec(&self) -> &'static ConnectorSpec {
        &SPEC
    }

    fn source(&self, request: &TableRequest) -> Result<Arc<dyn Source>, Vec<Error>> {
        let options = Options::check("connector 'nexmark'", OPTIONS, &request.options, request.span)?;
        let mut errors = Vec::new();
        let config = config(&options, &mut errors);
        let columns = columns(request, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let kinds = kinds(request);
        let layout = Layout {
            schema: request.output_schema(),
            columns: request
                .projection
                .iter()
                .map(|c| columns[*c].clone())
                .enumerate()
                .map(|(i, c)| masked(c, request.mask(i)))
                .collect(),
            kinds,
        };
        let limit = |key: &str, none: i64| options.int(key).filter(|n| *n != none).map(|n| n.max(0) as u64);
        let passing = [config.persons, config.auctions, config.bids].into_iter().zip(kinds).filter(|(_, k)| *k);
        let passing: i64 = passing.map(|(share, _)| share).sum();
        let sparse = config.round() as u64 / passing.max(1) as u64;
        let plan = NexmarkPlan {
            total: limit("events.num", 0).into_iter().chain(limit("stop-at", -1)).min(),
            keep_alive: options.bool("keep-alive"),
            rate: (!options.bool("max-emit-speed")).then_some(config.events_per_second),
            batch: sparse.clamp(1, SPARSE_BATCHES_MAX) * BATCH_ROWS as u64,
            config: Arc::new(config),
            layout,
        };
        let output = OutputSchema {
            table: request.name.clone(),
            schema: request.schema.clone(),
            projection: request.projection.clone(),
            predicate: request.predicate.clone(),
            changelog: SourceChangelog::Append,
        };
        Ok(Arc::new(GeneratorSource::new(plan, output)))
    }
}

fn config(options: &Options, errors: &mut Vec<Error>) -> Config {
    let mut number = |key: &str, value: Option<i64>, min: i64, max: i64| {
        let n = value.unwrap_or(min);
        if n < min || n > max {
            let e = Error::new(OUT_OF_RANGE, format!("'{key}' is {n}, and must be between {min} and {max}"));
            errors.push(match options.span(key) {
                Some(span) => e.at(span, "out of range"),
                None => e,
            });
        }
        n.clamp(min, max)
    };
    let mut int = |key: &str, min, max| number(key, options.int(key), min, max);
    let config = Config {
        events_per_second: int("first-event.rate", 1, i64::from(i32::MAX)) as f64,
        persons: int("person.proportion", 0, SHARE_MAX),
        auctions: int("auction.proportion", 0, SHARE_MAX),
        bids: int("bid.proportion", 0, SHARE_MAX),
        hot_auctions: int("bid.hot-ratio.auctions", 1, SHARE_MAX) as u32,
        hot_bidders: int("bid.hot-ratio.bidders", 1, SHARE_MAX) as u32,
        hot_sellers: int("auction.hot-ratio.sellers", 1, SHARE_MAX) as u32,
        ..Config::default()
    };
    let mut size =
        |key: &str| number(key, options.size(key).map(|n| n.min(i64::MAX as u64) as i64), 0, SIZE_MAX) as u32;
    let config = Config {
        person_bytes: size("person.avg-size"),
        auction_bytes: size("auction.avg-size"),
        bid_bytes: size("bid.avg-size"),
        ..config
    };
    if config.round() == 0 {
        let e = Error::new(OUT_OF_RANGE, "the proportions of persons, auctions and bids are all 0");
        errors.push(match options.span("bid.proportion") {
            Some(span) => e.at(span, "nothing would happen"),
            None => e,
        });
    }
    config
}

/// The type of a field of the benchmark's rows.
fn field_type(name: &str) -> TypeKind {
    match name {
        "dateTime" | "expires" => TypeKind::Timestamp(3),
        "id" | "auction" | "bidder" | "price" | "initialBid" | "reserve" | "seller" | "category" => TypeKind::BigInt,
        _ => TypeKind::VarChar(dflow_common::types::LENGTH_MAX),
    }
}

const COLUMNS: [&str; 4] = ["event_type", "person", "auction", "bid"];

/// The columns of the table; pushes every one that does not exist in the benchmark to `errors`.
fn columns(request: &TableRequest, errors: &mut Vec<Error>) -> Vec<Column> {
    let mut columns = Vec::with_capacity(request.schema.columns.len());
    for column in &request.schema.columns {
        let refuse = |message: String| Error::new(NO_SUCH_COLUMN, message).at(column.span, "not made by nexmark");
        if let ColumnKind::Metadata { .. } = column.kind {
            errors.push(refuse(format!("nexmark has no metadata, so `{}` cannot be read", column.name)));
        }
        let (kind, known): (Kind, &[&str]) = match column.name.as_str() {
            "event_type" => {
                if column.ty.kind != TypeKind::Int {
                    errors.push(refuse(format!("`event_type` is INT, not {}", column.ty)).help("declare it as INT"));
                }
                columns.push(Column::EventType);
                continue;
            }
            "person" => (Kind::Person, &rare::PERSON_FIELDS),
            "auction" => (Kind::Auction, &rare::AUCTION_FIELDS),
            "bid" => (Kind::Bid, &bids::FIELDS),
            other => {
                let e = refuse(format!("nexmark makes no column `{other}`"));
                errors.push(match suggest::nearest(other, COLUMNS.iter().copied()) {
                    Some(near) => e.help(format!("did you mean `{near}`?")),
                    None => e.help(format!("its columns are {}", COLUMNS.join(", "))),
                });
                continue;
            }
        };
        let TypeKind::Row(declared) = &column.ty.kind else {
            errors.push(refuse(format!("`{}` is a ROW, not {}", column.name, column.ty)));
            continue;
        };
        let mut sources = Vec::with_capacity(declared.len());
        for field in declared {
            let path = format!("{}.{}", column.name, field.name);
            let Some(place) = known.iter().position(|k| *k == field.name) else {
                let e = refuse(format!("nexmark makes no field `{path}`"));
                errors.push(match suggest::nearest(&field.name, known.iter().copied()) {
                    Some(near) => e.help(format!("did you mean `{near}`?")),
                    None => e.help(format!("its fields are {}", known.join(", "))),
                });
                continue;
            };
            let made = field_type(&field.name);
            if !fits(&field.ty, &made) {
                errors.push(
                    refuse(format!("`{path}` is {made}, not {}", field.ty)).help(format!("declare it as {made}")),
                );
            }
            sources.push((place, true));
        }
        let DataType::Struct(fields) = column.ty.to_arrow() else { continue };
        columns.push(Column::Row { kind, fields, sources });
    }
    columns
}

/// Text of any declared length is text: the benchmark's scripts write a bare VARCHAR.
fn fits(declared: &SqlType, made: &TypeKind) -> bool {
    match &declared.kind {
        TypeKind::VarChar(_) => made.is_string(),
        other => other == made,
    }
}

fn masked(column: Column, mask: &FieldMask) -> Column {
    match column {
        Column::Row { kind, fields, sources } => {
            let read = |(i, (place, _)): (usize, (usize, bool))| (place, mask.field(i).is_some());
            Column::Row { kind, fields, sources: sources.into_iter().enumerate().map(read).collect() }
        }
        column => column,
    }
}

/// Which kinds of event may pass the offered filter.
fn kinds(request: &TableRequest) -> [bool; 3] {
    [Kind::Person, Kind::Auction, Kind::Bid].map(|kind| match &request.predicate {
        Some(predicate) => passes(predicate, request, kind) != Some(false),
        None => true,
    })
}

/// What a filter says of all events of a kind; `None` when it depends on the event.
fn passes(predicate: &Predicate, request: &TableRequest, kind: Kind) -> Option<bool> {
    let name = |column: &usize| request.schema.columns.get(*column).map(|c| c.name.as_str());
    let row = |column: &usize| match name(column)? {
        "event_type" => Some(true),
        "person" => Some(kind == Kind::Person),
        "auction" => Some(kind == Kind::Auction),
        "bid" => Some(kind == Kind::Bid),
        _ => None,
    };
    match predicate {
        Predicate::Compare(column, op, Value::Int(n)) if name(column) == Some("event_type") => {
            let order = (kind as i64).cmp(n);
            Some(match op {
                CompareOp::Eq => order.is_eq(),
                CompareOp::NotEq => order.is_ne(),
                CompareOp::Lt => order.is_lt(),
                CompareOp::LtEq => order.is_le(),
                CompareOp::Gt => order.is_gt(),
                CompareOp::GtEq => order.is_ge(),
            })
        }
        Predicate::In(column, values) if name(column) == Some("event_type") => {
            let known = values.iter().all(|v| matches!(v, Value::Int(_)));
            known.then(|| values.contains(&Value::Int(kind as i64)))
        }
        Predicate::IsNull(column) => row(column).map(|present| !present),
        Predicate::IsNotNull(column) => row(column),
        Predicate::And(parts) => {
            let parts: Vec<_> = parts.iter().map(|p| passes(p, request, kind)).collect();
            if parts.contains(&Some(false)) {
                Some(false)
            } else {
                parts.iter().all(|p| *p == Some(true)).then_some(true)
            }
        }
        Predicate::Or(parts) => {
            let parts: Vec<_> = parts.iter().map(|p| passes(p, request, kind)).collect();
            if parts.contains(&Some(true)) {
                return Some(true);
            }
            parts.iter().all(|p| *p == Some(false)).then_some(false)
        }
        Predicate::Not(part) => passes(part, request, kind).map(|p| !p),
        Predicate::Compare(..) | Predicate::In(..) => None,
    }
}

struct NexmarkPlan {
    config: Arc<Config>,
    layout: Layout,
    total: Option<u64>,
    keep_alive: bool,
    rate: Option<f64>,
    batch: u64,
}

impl Plan for NexmarkPlan {
    type Origin = ();

    fn origin(&self, _env: &Env) {}

    fn total(&self) -> Option<u64> {
        self.total
    }

    fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    fn rate(&self) -> Option<f64> {
        self.rate
    }

    fn block(&self) -> u64 {
        BATCH_ROWS as u64
    }

    fn batch(&self) -> u64 {
        self.batch
    }

    fn maker(&self, _origin: &()) -> Box<dyn Maker> {
        Box::new(NexmarkMaker::new(self.config.clone(), self.layout.clone()))
    }
}
