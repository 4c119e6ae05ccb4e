//! Which manifests and files may go. Pure decisions; [`super::Store`] acts on them.
//!
//! # Invariants
//! * The newest manifest stays, and of the newest `retained` checkpoints the newest manifest of each (a claim repeats
//!   the checkpoint it takes over).
//! * A file goes only when no manifest that stays needs it, and only after the manifest that needed it is gone.
//! * A file nobody refers to goes only when it was written by an older generation: a newer one may be about to refer
//!   to its own.

use std::collections::BTreeSet;

use dflow_common::Epoch;

use super::manifest::Manifest;

/// A manifest that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) number: u64,
    pub(super) epoch: Epoch,
    pub(super) references: BTreeSet<String>,
}

impl Kept {
    pub(super) fn new(manifest: &Manifest) -> Self {
        Self { number: manifest.number, epoch: manifest.epoch, references: manifest.references() }
    }
}

/// Splits manifests (oldest first) into those that stay and those that go.
pub(super) fn split(manifests: Vec<Kept>, retained: usize) -> (Vec<Kept>, Vec<Kept>) {
    let newest = manifests.last().map(|m| m.number);
    let mut epochs = BTreeSet::new();
    let (mut stay, mut go) = (Vec::new(), Vec::new());
    for manifest in manifests.into_iter().rev() {
        let new_epoch = manifest.epoch > Epoch(0) && !epochs.contains(&manifest.epoch);
        if Some(manifest.number) == newest || (new_epoch && epochs.len() < retained.max(1)) {
            if new_epoch {
                epochs.insert(manifest.epoch);
            }
            stay.push(manifest);
        } else {
            go.push(manifest);
        }
    }
    stay.reverse();
    go.reverse();
    (stay, go)
}

/// The files that only `gone` manifests needed.
pub(super) fn unneeded(gone: &[Kept], stay: &[Kept]) -> BTreeSet<String> {
    let all = gone.iter().flat_map(|m| &m.references);
    all.filter(|path| !stay.iter().any(|m| m.references.contains(*path))).cloned().collect()
}

/// Whether `path` is left over from a writer older than `generation` that crashed.
pub(super) fn orphan(path: &str, generation: u64, stay: &[Kept]) -> bool {
    let written_by =
        path.rsplit('/').next().and_then(|name| name.strip_prefix('g')?.split('-').next()?.parse::<u64>().ok());
    written_by.is_some_and(|g| g < generation) && !stay.iter().any(|m| m.references.contains(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(number: u64, epoch: u64, references: &[&str]) -> Kept {
        Kept { number, epoch: Epoch(epoch), references: references.iter().map(|s| s.to_string()).collect() }
    }

    fn stays(manifests: &[(u64, u64)], retained: usize) -> Vec<u64> {
        let manifests = manifests.iter().map(|(n, e)| manifest(*n, *e, &[])).collect();
        split(manifests, retained).0.into_iter().map(|m| m.number).collect()
    }

    #[test]
    fn the_newest_manifest_of_each_of_the_newest_checkpoints_stays() {
        assert_eq!(stays(&[(1, 0), (2, 1), (3, 2), (4, 3), (5, 4)], 3), [3, 4, 5]);
        assert_eq!(stays(&[(2, 1), (3, 2), (4, 2), (5, 2)], 2), [2, 5], "claims repeat a checkpoint");
        assert_eq!(stays(&[(2, 1), (3, 2), (4, 0)], 2), [2, 3, 4], "a fresh start is no checkpoint");
        assert_eq!(stays(&[(2, 1), (3, 2)], 0), [3], "at least one is kept");
        assert!(stays(&[], 3).is_empty());
    }

    #[test]
    fn files_go_when_nobody_needs_them() {
        let gone = [manifest(1, 1, &["a", "b"]), manifest(2, 2, &["b", "c"])];
        let stay = [manifest(3, 3, &["c"])];
        assert_eq!(unneeded(&gone, &stay).into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn orphans_are_unreferenced_files_of_older_generations() {
        let stay = [manifest(3, 3, &["data/g1-a-1.parquet"])];
        assert!(!orphan("data/g1-a-1.parquet", 4, &stay));
        assert!(orphan("data/g1-a-2.parquet", 4, &stay));
        assert!(!orphan("data/g4-a-2.parquet", 4, &stay), "our own");
        assert!(!orphan("data/g5-a-2.parquet", 4, &stay), "a newer writer's");
        assert!(!orphan("data/readme.txt", 4, &stay) && !orphan("data/gx-1", 4, &stay), "not ours to delete");
    }
}
