//! Record formats: bytes to Arrow builders and back.
