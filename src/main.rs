//! The `dflow` binary: the command line over the library.

mod cli;

use std::process::ExitCode;

/// The process' allocator: fewer page faults and less fragmentation than the C library's under many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(cli::main())
}
