//! What tests of several crates share. Dev-only.
//!
//! * [`changelog`]: folding a changelog into its table, canonical row text
//! * [`classes`]: counts of what a generator made
//! * [`connector`]: tables that a test feeds by hand
//! * [`generate`]: random changelogs that collide on purpose, with counted classes
//! * [`harness`]: a job graph run by hand, barrier by barrier
//! * [`query`]: random queries, for the stream and for the reference
//! * [`supervise`]: the real binary, killed at random moments
//! * [`servers`]: real servers, and a proxy that breaks connections to them

//!
//! # To repeat a failure of the oracle
//! Every run is its seed: query, history, batches, restarts.
//!
//! | test | what it does | to repeat one |
//! |---|---|---|
//! | `oracle` | fixed queries, random histories | `DFLOW_ORACLE_SEED=<n> cargo test -p dflow-testkit --test it every_operator` |
//! | `random` | random scripts, random histories | `DFLOW_ORACLE_SCRIPT=<n> cargo test -p dflow-testkit --test it random_scripts_equal` |
//! | `batch` | random scripts in batch mode | `DFLOW_ORACLE_SCRIPT=<n> cargo test -p dflow-testkit --test it random_scripts_give` |
//! | `ids` | operator ids of random scripts | `DFLOW_ORACLE_SCRIPT=<n> cargo test -p dflow-testkit --test it ids_of` |
//!
//! A failing script is printed whole, with the batch text, the difference and the last changes. `DFLOW_TEST_LEVEL=full` runs
//! twenty times as many. A seed that failed goes into `tests/it/seeds.txt`, which runs first; it stands for its script only
//! until the generator changes, so what it found also becomes a test with its own text.

pub mod changelog;
pub mod classes;
pub mod connector;
pub mod generate;
pub mod harness;
pub mod query;
pub mod supervise;

pub use dflow_test_servers as servers;
