//! The contract suite. On a server where nothing else happens, a bounded source has chunks of one moment only, so that no
//! barrier is needed, which the suite does not know.

use std::sync::Arc;

use dflow_common::Env;
use dflow_connector_api::Source;
use dflow_connector_api::contract::{SourceFixture, source};

use crate::kit::{Database, KINDS, bigint, text};

struct Table(Database);

impl SourceFixture for Table {
    fn env(&self) -> Env {
        self.0.env.clone()
    }

    fn open(&self, projection: Option<&[usize]>) -> Arc<dyn Source> {
        let options = [("scan.startup.mode", "snapshot"), ("scan.incremental.snapshot.chunk.size", "7")];
        self.0.table(&[("id", bigint()), ("name", text())], &options).open(projection).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_promise_of_a_source_is_kept() {
    for kind in KINDS {
        let Some(database) = Database::own(kind, &[], "ON").await else { continue };
        database.run("CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT)").await;
        let values: Vec<String> = (0..40).map(|i| format!("({}, 'row {i}')", i * 5 % 100 + i / 20)).collect();
        database.run(&format!("INSERT INTO t VALUES {}", values.join(", "))).await;
        let table = Table(database);
        source::resumes_from_every_position(&table).await;
        source::a_cancelled_next_loses_and_doubles_nothing(&table).await;
        source::any_number_of_readers_reads_the_same_rows(&table).await;
        source::a_snapshot_before_the_first_row_starts_at_the_beginning(&table).await;
        source::the_end_comes_only_after_no_more_splits(&table).await;
        source::projections_give_the_same_columns(&table).await;
    }
}
