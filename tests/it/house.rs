//! The rules of the house (ARCHITECTURE.md): who may depend on whom, who may touch the outside world, what every error
//! code and metric needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use crate::support::{code_and_tests, files, relative, root};

/// What each crate of ours may depend on, of our crates. Connectors: `CONNECTOR`.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("dflow-common", &[]),
    ("dflow-dsl", &["dflow-common"]),
    ("dflow-connector-api", &["dflow-common"]),
    ("dflow-formats", &["dflow-common", "dflow-connector-api"]),
    ("dflow-test-servers", &[]),
    ("dflow-connector-jdbc", &["dflow-common", "dflow-connector-api"]),
    ("dflow-runtime", &["dflow-common", "dflow-connector-api"]),
    ("dflow-engine", &["dflow-common", "dflow-connector-api", "dflow-dsl", "dflow-runtime"]),
];
/// What a crate named `dflow-connector-*` may depend on.
const CONNECTOR: &[&str] = &["dflow-common", "dflow-connector-api", "dflow-connector-jdbc", "dflow-formats"];

/// Third-party crates that only these of our crates may name, in any kind of dependency.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("datafusion", &["dflow-engine", "dflow-testkit"]),
    ("sqlparser", &["dflow-dsl", "dflow-engine"]),
    ("pest", &["dflow-dsl"]),
    ("clap", &["dflow"]),
];
/// Crates that may not name these.
const NEVER_IN: &[(&str, &[&str])] =
    &[("dflow-dsl", &["tokio", "datafusion", "arrow"]), ("dflow-common", &["datafusion", "sqlparser"])];

/// Lines a source file may have before it is two files.
const FILE_LINES_MAX: usize = 800;

struct Package {
    name: String,
    /// (name, kind): kind is `normal`, `dev` or `build`.
    dependencies: Vec<(String, String)>,
}

fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--locked", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |v: &serde_json::Value| v.as_str().unwrap().to_owned();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| Package {
            name: text(&p["name"]),
            dependencies: p["dependencies"]
                .as_array()
                .unwrap()
                .iter()
                .map(|d| (text(&d["name"]), d["kind"].as_str().unwrap_or("normal").to_owned()))
                .collect(),
        })
        .collect()
}

#[test]
fn dependencies_point_one_way() {
    let packages = packages();
    assert!(packages.len() >= 9, "the workspace has lost crates");
    let mut broken = Vec::new();
    for package in &packages {
        let fixed = MAY_DEPEND_ON.iter().find(|(name, _)| *name == package.name).map(|(_, allowed)| *allowed);
        let allowed = match fixed {
            Some(allowed) => allowed,
            None if package.name.starts_with("dflow-connector-") => CONNECTOR,
            // The root and the test kit may use everything.
            None => continue,
        };
        for (dependency, kind) in &package.dependencies {
            if dependency.starts_with("dflow") && kind != "dev" && !allowed.contains(&dependency.as_str()) {
                broken.push(format!("{} depends on {dependency}", package.name));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_test_kit_ships_with_nothing() {
    for package in packages().iter().filter(|p| p.name != "dflow-testkit") {
        for kit in ["dflow-testkit", "dflow-test-servers"] {
            let ships = package.dependencies.iter().any(|(name, kind)| name == kit && kind != "dev");
            assert!(!ships, "{} depends on {kit} outside its tests", package.name);
        }
    }
}

#[test]
fn heavy_parts_stay_where_they_belong() {
    let mut broken = Vec::new();
    for package in packages() {
        for (dependency, kind) in &package.dependencies {
            let only = ONLY_IN.iter().find(|(name, _)| name == dependency).map(|(_, crates)| *crates);
            if only.is_some_and(|crates| !crates.contains(&package.name.as_str())) {
                broken.push(format!("{} names {dependency} ({kind})", package.name));
            }
            let never = NEVER_IN.iter().find(|(name, _)| *name == package.name).map(|(_, crates)| *crates);
            if kind != "dev" && never.is_some_and(|crates| crates.contains(&dependency.as_str())) {
                broken.push(format!("{} names {dependency}", package.name));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// `deny.toml` says it with reasons; this says it on every machine.
#[test]
fn rustup_and_a_c_compiler_stay_enough() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let versions = |name: &str| lock.matches(&format!("name = \"{name}\"\n")).count();
    for banned in ["openssl-sys", "native-tls", "cmake", "prost-build", "protobuf-src", "serde_yaml"] {
        assert_eq!(versions(banned), 0, "{banned} is in Cargo.lock");
    }
    for one in ["arrow", "datafusion", "object_store", "sqlparser", "tokio"] {
        assert_eq!(versions(one), 1, "{one}: exactly one version");
    }
}

/// `clippy.toml` forbids clocks, randomness, files and tasks outside `Env`; this keeps the list whole, and the exceptions few.
#[test]
fn only_env_touches_the_outside_world() {
    let lints = fs::read_to_string(root().join("clippy.toml")).unwrap();
    for call in [
        "std::time::SystemTime::now",
        "std::time::Instant::now",
        "tokio::time::sleep",
        "tokio::spawn",
        "std::thread::spawn",
        "std::fs::File::open",
        "std::fs::write",
        "std::fs::rename",
    ] {
        assert!(lints.contains(&format!("\"{call}\"")), "clippy.toml no longer forbids {call}");
    }
    let mut exceptions = Vec::new();
    for path in files(root(), ".rs") {
        let name = relative(&path);
        if name.starts_with("common/src/env/") || name.ends_with("build.rs") {
            continue;
        }
        let (code, _) = code_and_tests(&path);
        exceptions
            .extend(code.lines().filter(|l| l.contains("clippy::disallowed_methods")).map(|l| format!("{name}: {l}")));
    }
    let named = [
        // The operator benchmark times itself; a clock of Env would be timed along.
        "src/cli/bench",
    ];
    exceptions.retain(|e| !named.iter().any(|n| e.starts_with(n)));
    assert!(exceptions.is_empty(), "not through Env: {exceptions:#?}");
}

#[test]
fn the_library_is_quiet() {
    let mut loud = Vec::new();
    for path in files(root(), ".rs") {
        let name = relative(&path);
        let is_binary = name == "src/main.rs" || name.starts_with("src/cli/") || name == "build.rs";
        if is_binary || name.starts_with("tests/") || name.contains("/examples/") {
            continue;
        }
        let (code, _) = code_and_tests(&path);
        let calls =
            ["println!(", "eprintln!(", "process::exit", "tokio::signal", "set_global_default", "panic::set_hook"];
        for line in code.lines().filter(|l| !l.trim_start().starts_with("//")) {
            if calls.iter().any(|c| line.contains(c)) {
                loud.push(format!("{name}: {}", line.trim()));
            }
        }
    }
    assert!(loud.is_empty(), "{loud:#?}");
}

#[test]
fn a_file_one_scrolls_for_minutes_is_two_files() {
    let long: Vec<_> = files(root(), ".rs")
        .iter()
        .map(|p| (relative(p), fs::read_to_string(p).unwrap().lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn error_codes_are_unique_and_in_their_range() {
    let mut seen = BTreeMap::new();
    for info in dflow::codes() {
        if let Some(other) = seen.insert(info.code, info.title) {
            panic!("{} is both `{other}` and `{}`", info.code, info.title);
        }
        assert!((1000..=9999).contains(&info.code.0), "{}", info.code);
        assert!(!info.title.ends_with('.'), "{}: a title, not a sentence", info.code);
    }
    let mut forgotten = Vec::new();
    for path in files(root(), ".rs").iter().filter(|p| !relative(p).starts_with("tests/")) {
        let (code, _) = code_and_tests(path);
        let code = code.replace("=\n", "= ");
        let declared = code.lines().filter(|l| l.contains("CodeInfo")).filter_map(constant);
        forgotten.extend(declared.filter(|(n, _)| !seen.contains_key(&dflow::common::Code(*n))));
    }
    assert!(forgotten.is_empty(), "declared, but in no CODES: {forgotten:?}");
}

#[test]
fn every_error_code_is_produced_by_a_test() {
    // What tests say, in code and in the texts they compare with.
    let mut said = String::new();
    let mut constants: BTreeMap<u16, String> = BTreeMap::new();
    for path in files(root(), ".rs") {
        let (code, tests) = code_and_tests(&path);
        said.push_str(&tests);
        constants.extend(code.replace("=\n", "= ").lines().filter_map(constant));
    }
    for ending in [".snap", ".txt", ".golden", ".sql", ".out"] {
        for path in files(root(), ending) {
            if relative(&path).contains("tests/") || relative(&path).contains("snapshots/") {
                said.push_str(&fs::read_to_string(&path).unwrap_or_default());
            }
        }
    }
    let missing: Vec<_> = dflow::codes()
        .iter()
        .filter(|info| {
            let by_name = constants.get(&info.code.0).is_some_and(|name| mentions(&said, name));
            !by_name && !said.contains(&info.code.to_string())
        })
        .map(|info| format!("{} {}", info.code, info.title))
        .collect();
    assert!(missing.is_empty(), "no test produces: {missing:#?}");
}

/// The number and the name of a code constant: `pub const BAD: CodeInfo = script(2303, …` or `BAD = 2303, Script, …`.
fn constant(line: &str) -> Option<(u16, String)> {
    let (left, right) = line.split_once('=')?;
    let name = left.trim().trim_start_matches("pub const ").split(':').next()?.trim();
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let digits: String = right.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    (is_name && digits.len() == 4).then(|| Some((digits.parse().ok()?, name.to_owned())))?
}

fn mentions(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| !text[..at].ends_with(part) && !text[at + name.len()..].starts_with(part))
}

#[test]
fn every_metric_is_counted_somewhere() {
    let declared = fs::read_to_string(root().join("common/src/metrics.rs")).unwrap();
    let names: BTreeSet<&str> = declared
        .lines()
        .filter(|l| l.contains("= Counter \"") || l.contains("= Gauge \""))
        .filter_map(|l| l.trim().split(' ').next())
        .collect();
    assert_eq!(names.len(), dflow::common::metrics::ALL.len());
    let mut code = String::new();
    for path in files(root(), ".rs").iter().filter(|p| relative(p) != "common/src/metrics.rs") {
        code.push_str(&code_and_tests(path).0);
    }
    let idle: Vec<_> = names.iter().filter(|n| !mentions(&code, n)).collect();
    assert!(idle.is_empty(), "declared, but nobody counts: {idle:?}");
}

#[test]
fn constants_are_recognised_in_both_spellings() {
    assert_eq!(constant("pub const BAD: CodeInfo = script(2303, \"x\");"), Some((2303, "BAD".into())));
    assert_eq!(constant("    SYNTAX = 1001, Script, \"syntax\";"), Some((1001, "SYNTAX".into())));
    assert_eq!(constant("let x = 1001;"), None);
    assert!(mentions("a BAD b", "BAD") && !mentions("BADGER _BAD", "BAD"));
}
