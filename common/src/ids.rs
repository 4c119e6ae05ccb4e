//! Ids that must not be mixed up.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of a checkpoint, counted from 1; 0 means "before the first".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The next checkpoint.
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identity of an operator's state across versions of a script: a fingerprint of what it computes
/// (see `dflow-engine`, module `rel::fingerprint`). Printed as 16 hexadecimal digits, with `-N` for the
/// N-th of equal twins.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OperatorId(pub String);

impl fmt::Display for OperatorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A slice of the key space: `xxh3(key) % max_parallelism`. The unit of rescaling.
pub type KeyGroup = u16;
