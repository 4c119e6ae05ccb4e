//! Checkpoints written by earlier versions, committed as files: each later version restores them.
#![allow(clippy::disallowed_methods)]

use std::io::Write as _;

use dflow_common::env::Fs;

use super::*;

/// Written by format version 1. Never rewritten: a version that cannot read it loses people's state.
const V1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/checkpoint-v1");

/// A simulated disk with the committed files.
fn load(directory: &str) -> SimFs {
    let fs = SimFs::new();
    for sub in [manifest::DIRECTORY, manifest::DATA, manifest::STAGED] {
        let target = FsPath::new(ROOT).join(sub);
        fs.create_dir_all(&target).unwrap();
        for entry in std::fs::read_dir(FsPath::new(directory).join(sub)).unwrap() {
            let path = entry.unwrap().path();
            let mut file = fs.create(&target.join(path.file_name().unwrap())).unwrap();
            file.write_all(&std::fs::read(path).unwrap()).unwrap();
        }
    }
    fs
}

#[tokio::test]
async fn a_checkpoint_of_format_1_is_restored_and_gone_on_from() {
    for parallelism in [1, 2, 3] {
        let fs = load(V1);
        let newest = manifests(&fs).pop().unwrap();
        assert_eq!((newest.format, newest.epoch, newest.generation), (1, Epoch(4), 1));
        let modes: BTreeSet<bool> = newest.files().map(|f| f.mode == SnapshotMode::Base).collect();
        let bodies: BTreeSet<bool> = newest.files().map(|f| f.path().is_some()).collect();
        assert!(modes.len() == 2 && bodies.len() == 2, "it has bases and deltas, inline and in files");
        let mut progress = Progress { acknowledged: 4, tried: 4 };
        let mut process = Process::start(open(&fs, 3), &request(parallelism), LARGE, &mut progress).await.unwrap();
        process.run(6, &mut progress).await.unwrap();
    }
}

/// Writes what this version writes, to be committed when the format changes: under a new name.
#[tokio::test]
#[ignore = "a tool, run by hand when a new format version is added"]
async fn write_golden_checkpoint() {
    let fs = after(LARGE, 2, 4).await;
    for (path, bytes) in fs.files() {
        let Ok(name) = path.strip_prefix(ROOT) else { continue };
        let target = std::env::temp_dir().join("dflow-checkpoint").join(name);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::write(target, bytes).unwrap();
    }
}
