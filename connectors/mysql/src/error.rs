//! What can go wrong with MySQL and MariaDB.
//!
//! | range | what |
//! |---|---|
//! | 5400-5449 | the binary log and positions in it |
//! | 5450-5499 | connections, scans and lookups |
//! | 6400-6499 | preflight: what the server must allow or have switched on |
//! | 7400-7499 | writing |

use dflow_common::CodeInfo;

/// Codes of this crate.
pub const CODES: &[CodeInfo] = &[];
