//! Real servers for tests, and a proxy that breaks connections to them. Dev-only; links nothing of ours.
//!
//! ```text
//! Server::get("mysql")   the one of this test binary: started at first use, gone with the process
//! Server::own("mysql")   one for this test, which may kill and restart it
//! Proxy::start(port)     127.0.0.1:p' ── stalls, cuts, slows, corrupts on demand ──> 127.0.0.1:port
//! ```
//! # When there is no server
//! A test whose server cannot be had is *skipped*: counted, and said on standard error as `skipped: …`. When
//! `DFLOW_REQUIRE_BACKENDS` names the kind (`mysql,mariadb`), it fails instead. `DFLOW_TEST_MYSQL=host:port` (likewise
//! `DFLOW_TEST_MARIADB`) uses a server that runs already, as its user `root` without password.
#![allow(clippy::disallowed_methods, reason = "it stands outside the system under test")]

mod proxy;
mod server;

pub use proxy::{Fault, Proxy};
pub use server::{Server, skipped};
