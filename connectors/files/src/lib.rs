//! The filesystem source and exactly-once sink.
