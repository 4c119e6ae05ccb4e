//! The contract suites, against both servers. They run on real time: the servers' clocks cannot be paused.

use std::sync::Arc;

use dflow_common::Env;
use dflow_common::types::LENGTH_MAX;
use dflow_common::{SqlType, TypeKind};
use dflow_connector_api::contract::{SinkFixture, SourceFixture, sink, source};
use dflow_connector_api::{Sink, Source};
use futures::future::BoxFuture;
use mysql_async::prelude::Queryable;

use crate::kit::{Database, Table};

/// A table `t` of the suite's schema.
struct Rows {
    database: Database,
    table: Table,
}

impl Rows {
    async fn on(kind: &str, key: &[usize], options: &[(&str, &str)]) -> Option<Rows> {
        let database = Database::on(kind).await?;
        let primary = if key.is_empty() { "" } else { "PRIMARY KEY" };
        database.run(&format!("CREATE TABLE t (id BIGINT NOT NULL {primary}, name TEXT)")).await;
        let columns: [(&str, SqlType); 2] =
            [("id", SqlType::from(TypeKind::BigInt).not_null()), ("name", TypeKind::VarChar(LENGTH_MAX).into())];
        let table = options.iter().fold(database.table(&columns, key), |t, (k, v)| t.with(k, v));
        Some(Rows { database, table })
    }
}

impl SinkFixture for Rows {
    fn env(&self) -> Env {
        self.database.env.clone()
    }

    fn open(&self) -> Arc<dyn Sink> {
        self.table.sink()
    }

    fn visible(&self) -> BoxFuture<'_, Vec<(i64, String)>> {
        Box::pin(async { self.database.conn().await.query("SELECT id, name FROM t").await.unwrap() })
    }
}

const EXACTLY_ONCE: &[(&str, &str)] = &[("sink.delivery-guarantee", "exactly-once")];

macro_rules! sink_suite {
    ($name:ident, $kind:literal, $key:expr, $options:expr) => {
        sink_suite!(@ $name, $kind, $key, $options, [
            a_commit_shows_rows_once_however_often_it_comes,
            a_crash_after_any_step_loses_and_doubles_nothing,
            an_empty_epoch_shows_nothing_and_harms_nothing,
            what_is_newer_than_the_manifest_is_undone,
            an_aborted_checkpoint_comes_with_the_next,
            subtasks_share_an_epoch,
            another_parallelism_finds_what_was_prepared,
            kinds_that_were_not_declared_are_refused,
            upserts_overwrite_and_deletes_remove,
            random_crashes_lose_and_double_nothing,
        ]);
    };
    (@ $name:ident, $kind:literal, $key:expr, $options:expr, [$($test:ident),* $(,)?]) => {
        mod $name {
            use super::*;
            $(
                #[tokio::test]
                async fn $test() {
                    if let Some(rows) = Rows::on($kind, $key, $options).await {
                        sink::$test(&rows).await;
                    }
                }
            )*
        }
    };
}

sink_suite!(mysql_upsert, "mysql", &[0], &[]);
sink_suite!(mariadb_upsert, "mariadb", &[0], &[]);
sink_suite!(mysql_exactly_once, "mysql", &[0], EXACTLY_ONCE);
sink_suite!(mariadb_exactly_once, "mariadb", &[0], EXACTLY_ONCE);
sink_suite!(mysql_append, "mysql", &[], &[]);
sink_suite!(mysql_exactly_once_append, "mysql", &[], EXACTLY_ONCE);
sink_suite!(mariadb_exactly_once_append, "mariadb", &[], EXACTLY_ONCE);

/// A table with 40 rows, read in three ranges and batches of five rows.
async fn ranges(kind: &str) -> Option<Rows> {
    let options = [
        ("scan.partition.column", "id"),
        ("scan.partition.num", "3"),
        ("scan.partition.lower-bound", "0"),
        ("scan.partition.upper-bound", "100"),
        ("scan.fetch-size", "5"),
    ];
    let rows = Rows::on(kind, &[0], &options).await?;
    let values: Vec<String> = (0..40).map(|i| format!("({}, 'row {i}')", i * 5 % 100 + i / 20)).collect();
    rows.database.run(&format!("INSERT INTO t VALUES {}", values.join(", "))).await;
    Some(rows)
}

impl SourceFixture for Rows {
    fn env(&self) -> Env {
        self.database.env.clone()
    }

    fn open(&self, projection: Option<&[usize]>) -> Arc<dyn Source> {
        self.table.try_source(projection).unwrap()
    }
}

macro_rules! source_suite {
    ($name:ident, $kind:literal, [$($test:ident),* $(,)?]) => {
        mod $name {
            use super::*;
            $(
                #[tokio::test]
                async fn $test() {
                    if let Some(rows) = ranges($kind).await {
                        source::$test(&rows).await;
                    }
                }
            )*
        }
    };
    ($name:ident, $kind:literal) => {
        source_suite!($name, $kind, [
            resumes_from_every_position,
            a_cancelled_next_loses_and_doubles_nothing,
            any_number_of_readers_reads_the_same_rows,
            a_snapshot_before_the_first_row_starts_at_the_beginning,
            the_end_comes_only_after_no_more_splits,
            projections_give_the_same_columns,
        ]);
    };
}

source_suite!(mysql_source, "mysql");
source_suite!(mariadb_source, "mariadb");
