//! Script text to statements with spans.
