//! What every connector must do, as tests (feature `test-util`).
//!
//! A connector gives a fixture of its real system and gets one named test per promise:
//! ```ignore
//! struct Orders { dir: tempfile::TempDir }
//! impl SourceFixture for Orders { /* env, open */ }
//!
//! dflow_connector_api::source_contract!(orders, Orders::new());
//! dflow_connector_api::sink_contract!(orders_sink, OrdersSink::new());
//! ```
//! The expression is evaluated once per test, inside a Tokio runtime whose time is paused: a fresh system for each, and
//! waiting costs nothing. The functions can also be called one by one, for a system that needs another runtime.

pub mod sink;
pub mod source;

pub use sink::SinkFixture;
pub use source::{Growing, SourceFixture};

/// One test per promise of a source. `$fixture` is an expression of a [`SourceFixture`](crate::contract::SourceFixture).
#[macro_export]
macro_rules! source_contract {
    ($name:ident, $fixture:expr) => {
        $crate::contract_tests!(
            $name,
            source,
            $fixture,
            [
                resumes_from_every_position,
                a_cancelled_next_loses_and_doubles_nothing,
                any_number_of_readers_reads_the_same_rows,
                a_snapshot_before_the_first_row_starts_at_the_beginning,
                the_end_comes_only_after_no_more_splits,
                projections_give_the_same_columns,
                splits_that_appear_later_are_read,
            ]
        );
    };
}

/// One test per promise of a sink. `$fixture` is an expression of a [`SinkFixture`](crate::contract::SinkFixture).
#[macro_export]
macro_rules! sink_contract {
    ($name:ident, $fixture:expr) => {
        $crate::contract_tests!(
            $name,
            sink,
            $fixture,
            [
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
            ]
        );
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! contract_tests {
    ($name:ident, $suite:ident, $fixture:expr, [$($test:ident),* $(,)?]) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $(
                #[tokio::test(start_paused = true)]
                async fn $test() {
                    let fixture = $fixture;
                    $crate::contract::$suite::$test(&fixture).await;
                }
            )*
        }
    };
}

#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;
