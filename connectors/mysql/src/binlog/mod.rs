//! The binary log, from bytes to Arrow.
