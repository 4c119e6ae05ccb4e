//! Oracles, crash supervisor and helpers for tests.
