//! End-to-end tests: the real binary, the house's own rules, the documentation.

#![allow(clippy::disallowed_methods, reason = "tests touch files, clocks and processes")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod bad_input;
mod capture;
mod chaos;
mod command_line;
mod documentation;
mod examples;
mod full_disk;
mod house;
mod lifecycle;
mod nested;
mod secrets;
mod support;
