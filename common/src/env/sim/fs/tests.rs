use super::*;

const DIR: &str = "/d";

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// A machine with a durable, empty directory.
fn machine() -> SimFs {
    let fs = SimFs::new();
    fs.create_dir_all(Path::new(DIR)).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs
}

fn write(fs: &SimFs, name: &str, bytes: &[u8], sync: bool) -> io::Result<()> {
    let mut file = fs.create(&path(name))?;
    file.write_all(bytes)?;
    if sync { file.sync() } else { Ok(()) }
}

#[test]
fn a_file_survives_a_crash_only_when_both_it_and_its_directory_were_synced() {
    for (sync, sync_dir) in [(false, false), (false, true), (true, false), (true, true)] {
        let fs = machine();
        write(&fs, "a", b"hello", sync).unwrap();
        if sync_dir {
            fs.sync_dir(Path::new(DIR)).unwrap();
        }
        assert_eq!(fs.read(&path("a")).unwrap(), b"hello");
        let after = fs.crash(Loss::All).read(&path("a"));
        match (sync, sync_dir) {
            (true, true) => assert_eq!(after.unwrap(), b"hello"),
            (false, true) => assert_eq!(after.unwrap(), b"", "the name is there, the bytes are not"),
            _ => assert_eq!(after.unwrap_err().kind(), io::ErrorKind::NotFound),
        }
    }
}

#[test]
fn a_directory_nobody_synced_the_parent_of_is_lost() {
    let fs = SimFs::new();
    fs.create_dir_all(Path::new(DIR)).unwrap();
    write(&fs, "a", b"x", true).unwrap();
    fs.sync_dir(Path::new(DIR)).unwrap();
    assert!(fs.crash(Loss::All).files().is_empty());
}

#[test]
fn unsynced_renames_links_and_removals_are_undone_by_a_crash() {
    let fs = machine();
    for name in ["a", "b", "c"] {
        write(&fs, name, name.as_bytes(), true).unwrap();
    }
    fs.sync_dir(Path::new(DIR)).unwrap();
    fs.rename(&path("a"), &path("b")).unwrap();
    fs.remove_file(&path("c")).unwrap();
    fs.link(&path("b"), &path("d")).unwrap();
    assert_eq!(fs.link(&path("b"), &path("d")).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    let before: Vec<_> = fs.files().into_iter().map(|(p, b)| (p, String::from_utf8(b).unwrap())).collect();
    assert_eq!(before, [(path("b"), "a".to_owned()), (path("d"), "a".to_owned())]);
    let fs = fs.crash(Loss::All);
    let after: Vec<_> = fs.files().into_values().map(|b| String::from_utf8(b).unwrap()).collect();
    assert_eq!(after, ["a", "b", "c"]);
}

#[test]
fn a_random_loss_tears_writes_and_keeps_some_names() {
    let (mut torn, mut whole, mut none, mut both_names) = (0, 0, 0, 0);
    for seed in 0..200 {
        let fs = machine();
        write(&fs, "a", b"0123456789", false).unwrap();
        fs.sync_dir(Path::new(DIR)).unwrap();
        write(&fs, "b", b"synced", true).unwrap();
        fs.sync_dir(Path::new(DIR)).unwrap();
        fs.rename(&path("b"), &path("c")).unwrap();
        let fs = fs.crash(Loss::Random(seed));
        let renamed = fs.read(&path("b")).or_else(|_| fs.read(&path("c"))).unwrap();
        assert_eq!(renamed, b"synced", "what is durable stays whole");
        let bytes = fs.read(&path("a")).unwrap();
        assert!(b"0123456789".starts_with(&bytes));
        match bytes.len() {
            0 => none += 1,
            10 => whole += 1,
            _ => torn += 1,
        }
        both_names += usize::from(fs.metadata(&path("b")).is_ok() && fs.metadata(&path("c")).is_ok());
    }
    assert!(torn > 20 && whole > 20 && none > 20, "{torn} {whole} {none}");
    assert_eq!(both_names, 0, "a rename in one directory is one change");
}

#[test]
fn bytes_of_a_failed_sync_never_become_durable() {
    let fs = machine();
    let mut file = fs.create_new(&path("a")).unwrap();
    file.write_all(b"one").unwrap();
    file.sync().unwrap();
    fs.sync_dir(Path::new(DIR)).unwrap();
    file.write_all(b"two").unwrap();
    fs.fail_at(fs.operations(), Fault::Io);
    assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(5));
    file.sync().expect("the second sync lies, as on Linux");
    file.write_all(b"three").unwrap();
    file.sync().unwrap();
    assert_eq!(fs.read(&path("a")).unwrap(), b"onetwothree", "still visible");
    assert_eq!(fs.crash(Loss::All).read(&path("a")).unwrap(), b"one\0\0\0three");
}

#[test]
fn faults_hit_the_operation_they_name() {
    let fs = machine();
    write(&fs, "a", b"x", true).unwrap();
    fs.fail_at(fs.operations(), Fault::NoSpace);
    assert!(fs.read(&path("a")).is_ok(), "reading needs no room");
    assert_eq!(fs.link(&path("a"), &path("b")).unwrap_err().kind(), io::ErrorKind::StorageFull);
    fs.link(&path("a"), &path("b")).expect("once");

    fs.fail_from(fs.operations(), Fault::Denied);
    for _ in 0..2 {
        assert_eq!(fs.remove_file(&path("b")).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
    fs.heal();

    fs.fail_at(fs.operations() + 1, Fault::Io);
    assert!(write(&fs, "c", b"0123", false).is_err());
    assert_eq!(fs.read(&path("c")).unwrap(), b"01", "half of a failed write is there");

    fs.fail_at(fs.operations(), Fault::LateAnswer);
    assert_eq!(fs.remove_file(&path("c")).unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert!(fs.read(&path("c")).is_err(), "it was done");
    let log = fs.log(0);
    assert_eq!(log.last().map(String::as_str), Some("open /d/c"));
}

#[test]
fn a_crash_ends_every_process_until_the_reboot() {
    let fs = machine();
    let other = fs.process();
    let mut file = fs.create_new(&path("a")).unwrap();
    fs.fail_at(fs.operations(), Fault::Crash);
    assert!(file.write_all(b"0123").is_err());
    assert!(fs.crashed() && other.metadata(Path::new(DIR)).is_err());
    let operations = fs.operations();
    let after = fs.crash(Loss::Random(3));
    assert!(file.write_all(b"late").is_err() && fs.metadata(Path::new(DIR)).is_err(), "the dead stay dead");
    assert_eq!(fs.operations(), operations, "and count for nothing");
    assert!(after.metadata(Path::new(DIR)).is_ok() && !after.crashed());
}

#[test]
fn a_lock_is_held_by_one_process_until_it_drops_it_or_ends() {
    let fs = machine();
    let other = fs.process();
    let lock = fs.try_lock(&path("lock")).unwrap();
    assert!(lock.is_some());
    assert!(other.try_lock(&path("lock")).unwrap().is_none());
    drop(lock);
    let lock = other.try_lock(&path("lock")).unwrap();
    assert!(lock.is_some() && fs.try_lock(&path("lock")).unwrap().is_none());
    drop(lock);
    fs.fail_at(fs.operations(), Fault::LateAnswer);
    assert!(fs.try_lock(&path("lock")).is_err(), "whoever did not hear of its lock does not hold it");
    let lock = other.try_lock(&path("lock")).unwrap();
    assert!(lock.is_some());
    other.kill();
    let mine = fs.try_lock(&path("lock")).unwrap();
    assert!(mine.is_some());
    drop(lock);
    assert!(fs.process().try_lock(&path("lock")).unwrap().is_none(), "a dead process's lock does not release ours");
}
