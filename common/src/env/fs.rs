//! Local files.
//!
//! The calls block; callers on an async runtime use `Spawner::blocking`. The trait has exactly the operations a
//! durable writer needs (write aside, sync, link or rename, sync the directory), so that a test can fail or crash
//! at every one of them.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// What is known about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Bytes.
    pub len: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Last change, milliseconds since 1970; 0 where the system does not say.
    pub modified_ms: i64,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The full path.
    pub path: PathBuf,
    /// What it is.
    pub meta: Metadata,
}

/// A file open for reading.
pub trait FsRead: Read + Seek + Send {}
impl<T: Read + Seek + Send> FsRead for T {}

/// A file open for writing. Nothing is durable before [`FsFile::sync`], and the name not before
/// [`Fs::sync_dir`] of its directory.
pub trait FsFile: Write + Send {
    /// Makes the content durable (fsync).
    fn sync(&mut self) -> io::Result<()>;
}

/// An exclusive lock on a file, released on drop.
pub trait FsLock: Send + Sync {}

/// A file system. All paths are absolute or relative to the process.
pub trait Fs: Send + Sync {
    /// Opens for reading.
    fn open(&self, path: &Path) -> io::Result<Box<dyn FsRead>>;
    /// Creates for writing; `AlreadyExists` when the name is taken.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// Creates for writing; an existing file is emptied.
    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// Gives the file a second name; `AlreadyExists` when that is taken. Atomic.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Renames, replacing what was there. Atomic.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Creates a directory and its parents. No error when it is there.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, sorted.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// What a path is; follows links.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;
    /// Locks a file (created when absent); `None` when another process holds it.
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn FsLock>>>;

    /// The whole file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(path)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

impl FsFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

struct RealLock(#[expect(dead_code, reason = "held for its lock, released on drop")] File);
impl FsLock for RealLock {}

#[expect(clippy::disallowed_methods, reason = "the one place that touches the file system")]
impl Fs for RealFs {
    fn open(&self, path: &Path) -> io::Result<Box<dyn FsRead>> {
        Ok(Box::new(File::open(path)?))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        Ok(Box::new(File::create_new(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        Ok(Box::new(File::create(path)?))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        File::open(path)?.sync_all()
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let path = entry?.path();
            match self.metadata(&path) {
                Ok(meta) => entries.push(DirEntry { path, meta }),
                // Removed between listing and looking.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let meta = std::fs::metadata(path)?;
        let modified_ms = meta
            .modified()
            .ok()
            .and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok())
            .map_or(0, |d| d.as_millis() as i64);
        Ok(Metadata { len: meta.len(), is_dir: meta.is_dir(), modified_ms })
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn FsLock>>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(RealLock(file)))),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(e)) => Err(e),
        }
    }
}
