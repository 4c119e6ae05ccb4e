//! Lists the pages of `docs/errors` for the binary, so that `dflow help DF2107` needs no files beside it, and compiles what
//! has to run before Rust's runtime (`src/cli/closed.c`).
//!
//! In: `docs/errors/DFnnnn.md`. Out: `$OUT_DIR/pages.rs`, a sorted slice `[(2107, include_str!("…"))]`.

#![allow(clippy::disallowed_methods, reason = "a build script runs on the build machine, outside Env")]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let pages = root.join("docs/errors");
    println!("cargo::rerun-if-changed={}", pages.display());
    let mut codes: Vec<(u16, PathBuf)> = fs::read_dir(&pages)?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let code = path.file_name()?.to_str()?.strip_prefix("DF")?.strip_suffix(".md")?.parse().ok()?;
            Some((code, path))
        })
        .collect();
    codes.sort();
    let mut text = String::from("&[\n");
    for (code, path) in codes {
        writeln!(text, "({code}, include_str!({path:?})),").expect("a string takes all it is given");
    }
    text.push_str("]\n");
    fs::write(PathBuf::from(env::var("OUT_DIR").expect("cargo sets it")).join("pages.rs"), text)?;
    let early = "src/cli/closed.c";
    println!("cargo::rerun-if-changed={early}");
    if env::var_os("CARGO_FEATURE_CLI").is_none() {
        return Ok(());
    }
    // As an object: of a library the linker would take only what something refers to.
    for object in cc::Build::new().file(early).compile_intermediates() {
        println!("cargo::rustc-link-arg-bins={}", object.display());
    }
    Ok(())
}
