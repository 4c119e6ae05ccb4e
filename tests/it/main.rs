//! End-to-end tests: the real binary, the house's own rules, the documentation.

#![allow(clippy::disallowed_methods, reason = "tests touch files, clocks and processes")]

mod documentation;
mod house;
mod support;
