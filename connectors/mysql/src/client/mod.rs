//! Connections to MySQL and MariaDB, and what their errors mean.
//!
//! | module | what |
//! |---|---|
//! | [`endpoint`] | where a server is and how to speak to it: host, user, TLS, timeouts, from options or a JDBC URL |
//! | [`connect`] | opening a session, with patience |
//! | [`server`] | which server answered |
//! | [`error`] | the server's error numbers as codes with a way out |
//! | [`zone`] | calendar and clock of a time zone |
//!
//! Every session of dflow has the time zone `+00:00`, a strict SQL mode and utf8mb4, whatever the server's defaults are: values mean the
//! same everywhere, and a value that does not fit is an error rather than another value.

pub mod connect;
pub mod endpoint;
pub mod error;
pub mod server;
pub mod zone;

pub use connect::{Session, connect, within, within_all};
pub use endpoint::{Endpoint, Tls};
pub use error::{CODES, Place};
pub use server::ServerInfo;
