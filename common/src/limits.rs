//! Every limit has a name here. Each is tested at n and n + 1 where it is enforced.

/// Rows a batch aims at. Kernels lose their fixed cost from about 128 rows; caches like 4-8 K.
pub const BATCH_ROWS: usize = 8_192;
/// Bytes of rows after which a source hands out a batch even when it has fewer rows.
pub const BATCH_BYTES: usize = 4 << 20;
/// Rows queued in one channel before its sender waits.
pub const CHANNEL_ROWS_MAX: usize = 4 * BATCH_ROWS;
/// Bytes queued in one channel before its sender waits.
pub const CHANNEL_BYTES_MAX: usize = 16 << 20;
/// Bytes of one script.
pub const SCRIPT_BYTES_MAX: usize = 1 << 20;
/// Nesting of parentheses, types and statements in a script.
pub const NESTING_MAX: usize = 128;
/// Views that read one another, one inside the other.
pub const NESTED_VIEWS_MAX: usize = 32;
/// Columns of a table.
pub const COLUMNS_MAX: usize = 4_096;
/// Bytes of one record of a line format.
pub const RECORD_BYTES_MAX: usize = 16 << 20;
/// Operators of one pipeline.
pub const OPERATORS_MAX: usize = 1_000;
/// Subtasks of one operator.
pub const PARALLELISM_MAX: usize = 1_024;
/// Key groups of a job unless `pipeline.max-parallelism` says otherwise.
pub const MAX_PARALLELISM_DEFAULT: u16 = 256;
/// Key groups of a job at most.
pub const MAX_PARALLELISM_MAX: u16 = 32_768;
/// Independent errors reported for one script.
pub const DIAGNOSTICS_MAX: usize = 100;
/// Bytes of a state table below which a delta travels inside the manifest.
pub const STATE_INLINE_BYTES_MAX: usize = 4 << 10;
/// State files one table may consist of before a new base is written.
pub const STATE_DELTAS_MAX: usize = 16;
