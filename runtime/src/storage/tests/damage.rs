//! Bytes that are not what was written: every flip and truncation of every file, and files that are missing, swapped,
//! or another job's. A restore fails and names the file; it never answers with other data.

use dflow_common::env::Fs;
use dflow_common::{Classified, CodeInfo};

use super::*;

/// Bytes flipped per file: all of small ones, and of large ones the ends (where Parquet keeps its footer) and a sample.
const BYTES_MAX: usize = 4_000;

fn assert_code(error: &Error, expected: CodeInfo, about: &str) {
    assert_eq!((error.code(), error.class().exit_code()), (expected.code, 13), "{error}; {about}");
    assert!(error.to_string().contains(about), "{error} does not name {about}");
    assert!(error.diagnostic().help.iter().any(|h| h.contains("--restore none")), "{error}");
}

/// Positions of a file to damage.
fn sample(len: usize) -> impl Iterator<Item = usize> {
    let stride = len.div_ceil(BYTES_MAX).max(1);
    (0..len).filter(move |i| i % stride == 0 || *i < 64 || *i + 512 > len)
}

fn at(path: &str) -> PathBuf {
    FsPath::new(ROOT).join(path)
}

#[tokio::test]
async fn every_flipped_byte_and_every_truncation_of_a_checkpoint_is_found() {
    let fs = after(LARGE, 1, 2).await;
    let newest = manifests(&fs).pop().unwrap();
    let manifest = Manifest::path(newest.number);
    let mut damages = 0;

    // The manifest, with the small state files inside: a claim refuses it before it changes anything.
    let store = open(&fs, 3);
    let original = read(&fs, &manifest);
    let files = fs.files();
    for i in sample(original.len()) {
        fs.corrupt(&at(&manifest), |bytes| bytes[i] ^= 1 << (i % 8)).unwrap();
        assert_code(&store.claim(&request(1)).await.unwrap_err(), codes::DAMAGED_STATE, &manifest);
        fs.corrupt(&at(&manifest), |bytes| bytes.truncate(i)).unwrap();
        assert_code(&store.claim(&request(1)).await.unwrap_err(), codes::DAMAGED_STATE, &manifest);
        fs.corrupt(&at(&manifest), |bytes| bytes.clone_from(&original)).unwrap();
        damages += 2;
    }
    assert_eq!(fs.files(), files, "refusals leave no trace");

    // The files it names: reading them back fails.
    let mut progress = Progress { acknowledged: 2, tried: 2 };
    let process = Process::start(store, &request(1), LARGE, &mut progress).await.unwrap();
    let restored = process.claimed.restored.clone().unwrap();
    let staged: StagedRef =
        serde_json::from_value(restored.sinks[&id("sink")].committables[0].0["body"].clone()).unwrap();
    let data: Vec<String> = newest.files().filter_map(|f| f.path().map(str::to_owned)).collect();
    assert!(!data.is_empty());
    for path in data.iter().chain([&staged.path]) {
        let original = read(&fs, path);
        for i in sample(original.len()) {
            let flip: fn(&mut Vec<u8>, usize) = |bytes, i| bytes[i] ^= 1 << (i % 8);
            for damage in [flip, Vec::truncate] {
                fs.corrupt(&at(path), |bytes| damage(bytes, i)).unwrap();
                if *path == staged.path {
                    let error = process.store.stage().get(&staged).await.unwrap_err();
                    assert_eq!(error.code(), codes::DAMAGED_STATE.code);
                } else {
                    let restored = process.store.restore(&id("aggregate"), 0, 0..MAX_PARALLELISM).await;
                    assert_code(&restored.err().expect("damage is found"), codes::DAMAGED_STATE, path);
                }
                fs.corrupt(&at(path), |bytes| bytes.clone_from(&original)).unwrap();
                damages += 1;
            }
        }
    }
    process.store.restore(&id("aggregate"), 0, 0..MAX_PARALLELISM).await.expect("everything was put back");
    assert!(damages > 10_000, "{damages}");
    println!("{damages} damages, each found");
}

#[tokio::test]
async fn missing_swapped_and_foreign_files_are_found() {
    let mut fs = after(LARGE, 2, 2).await;
    let other = after(Size { keys: 100, ..LARGE }, 2, 2).await;
    let newest = manifests(&fs).pop().unwrap();
    let data: Vec<String> = newest.files().filter_map(|f| f.path().map(str::to_owned)).collect();
    assert!(data.len() >= 2);
    let foreign = manifests(&other).pop().unwrap().files().find_map(|f| f.path().map(str::to_owned)).unwrap();
    let originals: Vec<Vec<u8>> = data.iter().map(|p| read(&fs, p)).collect();
    for (i, path) in data.iter().enumerate() {
        for replacement in
            [originals[(i + 1) % data.len()].clone(), read(&other, &foreign), vec![0; originals[i].len()]]
        {
            fs.corrupt(&at(path), |bytes| *bytes = replacement).unwrap();
            assert_code(&judge(&fs, LARGE, 2).await.unwrap_err(), codes::DAMAGED_STATE, path);
            fs.kill();
            fs = fs.process();
            fs.corrupt(&at(path), |bytes| bytes.clone_from(&originals[i])).unwrap();
            assert_eq!(judge(&fs, LARGE, 2).await.unwrap(), 2);
            fs.kill();
            fs = fs.process();
        }
    }
    fs.remove_file(&at(&data[0])).unwrap();
    let error = judge(&fs, LARGE, 2).await.unwrap_err();
    assert_code(&error, codes::DAMAGED_STATE, &data[0]);
    assert!(error.to_string().contains("it is missing"), "{error}");
}

#[tokio::test]
async fn swapped_manifests_are_found() {
    let fs = after(SMALL, 2, 2).await;
    let [older, newer] = [0, 1].map(|i| Manifest::path(manifests(&fs)[i].number));
    let content = read(&fs, &older);
    fs.corrupt(&at(&newer), |bytes| *bytes = content).unwrap();
    assert_code(&judge(&fs, SMALL, 2).await.unwrap_err(), codes::DAMAGED_STATE, &newer);
}

#[tokio::test]
async fn a_removed_newest_manifest_is_found() {
    let fs = after(SMALL, 2, 3).await;
    let newest = Manifest::path(manifests(&fs).pop().unwrap().number);
    fs.remove_file(&at(&newest)).unwrap();
    assert_code(&judge(&fs, SMALL, 2).await.unwrap_err(), codes::DAMAGED_STATE, &newest);
}

#[tokio::test]
async fn damaged_state_can_be_put_aside() {
    for remove in [false, true] {
        let fs = after(SMALL, 2, 3).await;
        for manifest in manifests(&fs) {
            let path = at(&Manifest::path(manifest.number));
            match remove {
                true => fs.remove_file(&path).unwrap(),
                false => fs.corrupt(&path, |bytes| bytes[7] ^= 1).unwrap(),
            }
        }
        assert_eq!(judge(&fs, SMALL, 2).await.unwrap_err().code(), codes::DAMAGED_STATE.code);
        let fresh = ClaimRequest { restore: RestoreMode::None, ..request(2) };
        let claimed = open(&fs, 3).claim(&fresh).await.unwrap();
        assert!(claimed.restored.is_none() && claimed.next_epoch > Epoch(3), "{claimed:?}");
        assert!(fs.files().keys().any(|p| p.starts_with(format!("{ROOT}.aside-0"))));
    }
}

#[tokio::test]
async fn an_older_checkpoint_is_used_only_when_told() {
    let fs = after(LARGE, 2, 3).await;
    let newest = Manifest::path(manifests(&fs).pop().unwrap().number);
    fs.corrupt(&at(&newest), |bytes| bytes[7] ^= 1).unwrap();
    assert_code(&judge(&fs, LARGE, 2).await.unwrap_err(), codes::DAMAGED_STATE, &newest);
    let options = StoreOptions { location: ROOT.into(), retained: 3, allow_older: true };
    let store = Store::open(sim::env(5, Arc::new(fs.clone())), options).unwrap();
    let mut progress = Progress { acknowledged: 2, tried: 2 };
    let mut process = Process::start(store, &request(2), LARGE, &mut progress).await.unwrap();
    assert_eq!(process.claimed.notices, ["newer manifests are damaged: checkpoint 2 is restored"]);
    process.run(4, &mut progress).await.unwrap();
    fs.kill();
    assert_eq!(judge(&fs.process(), LARGE, 2).await.unwrap(), 4);
}

#[tokio::test]
async fn state_of_a_newer_version_is_refused_by_name() {
    let fs = after(SMALL, 2, 1).await;
    let newest = manifests(&fs).pop().unwrap();
    let path = Manifest::path(newest.number);
    let newer = Manifest { format: manifest::FORMAT + 1, ..newest }.to_bytes();
    fs.corrupt(&at(&path), |bytes| *bytes = newer).unwrap();
    let error = judge(&fs, SMALL, 2).await.unwrap_err();
    assert_code(&error, codes::NEWER_STATE, &path);
}
