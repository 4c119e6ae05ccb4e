//! A file system in memory that forgets what was not made durable, and fails where a test says so.
//!
//! # Model
//! ```text
//!              live (what every process sees)          durable (what a crash leaves)
//! file         bytes                        ──sync──>  bytes
//! directory    names -> files                ─sync_dir─>  names -> files
//! ```
//! A crash replaces live by durable; with [`Loss::Random`] a seeded part of what was not durable survives: any prefix
//! of unsynced bytes (a torn write), any subset of a directory's unsynced changes. A rename inside one directory is
//! kept or lost as a whole.
//!
//! # Processes
//! A [`SimFs`] is one process's view. [`SimFs::process`] is another process on the same machine, [`SimFs::kill`]
//! ends one and leaves what it wrote, [`SimFs::crash`] ends all and gives the first process after the reboot. Calls of
//! a dead process fail and change nothing. Locks end with their process.
//!
//! # Faults
//! Every call counts as one operation, and so does each write, sync and read of an open file. [`SimFs::fail_at`]
//! names the operation that fails and how.
//!
//! # Invariants
//! After a failed sync the bytes it was for are visible but never become durable, whatever a later sync says: that is
//! what Linux does, and what a writer that trusts the second sync loses.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::env::{DirEntry, Fs, FsFile, FsLock, FsRead, Metadata, Rng, SeededRng};

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The machine stops before the operation is done; of a write, a part may be done.
    Crash,
    /// `EIO`: nothing is done; of a write, half; after a sync the bytes are lost.
    Io,
    /// `ENOSPC`, for operations that need room: otherwise it waits for the next that does.
    NoSpace,
    /// `EACCES`, for operations that change something: otherwise it waits for the next that does.
    Denied,
    /// The operation is done, but the answer is `TimedOut`.
    LateAnswer,
}

/// What a crash leaves of what was not durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing.
    All,
    /// A part, chosen by this seed.
    Random(u64),
}

/// One process's view of a simulated machine's files.
#[derive(Clone)]
pub struct SimFs {
    machine: Arc<Mutex<Machine>>,
    process: u64,
}

#[derive(Default)]
struct Machine {
    nodes: BTreeMap<u64, Node>,
    last_id: u64,
    processes: BTreeSet<u64>,
    /// Path -> (process, lock).
    locks: BTreeMap<PathBuf, (u64, u64)>,
    ops: Vec<String>,
    faults: Vec<(u64, Fault, bool)>,
    crashed: bool,
}

enum Node {
    File(FileNode),
    Dir(DirNode),
}

#[derive(Default)]
struct FileNode {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Ranges of `live` whose sync failed.
    lost: Vec<Range<usize>>,
    modified_ms: i64,
}

#[derive(Default)]
struct DirNode {
    live: BTreeMap<OsString, u64>,
    durable: BTreeMap<OsString, u64>,
    pending: Vec<NameChange>,
}

/// One change to the names of a directory, kept or lost as a whole.
#[derive(Clone)]
struct NameChange {
    remove: Option<OsString>,
    set: Option<(OsString, u64)>,
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<OsString, u64>) {
        if let Some(name) = &self.remove {
            names.remove(name);
        }
        if let Some((name, id)) = &self.set {
            names.insert(name.clone(), *id);
        }
    }
}

/// The root directory.
const ROOT: u64 = 0;

/// What an operation needs, which decides which faults can hit it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    Change,
    Room,
}

impl Default for SimFs {
    fn default() -> Self {
        Self::new()
    }
}

impl SimFs {
    /// An empty machine with one process.
    pub fn new() -> Self {
        let mut machine = Machine::default();
        machine.nodes.insert(ROOT, Node::Dir(DirNode::default()));
        let process = machine.spawn();
        Self { machine: Arc::new(Mutex::new(machine)), process }
    }

    /// Another process on the same machine.
    pub fn process(&self) -> SimFs {
        let process = self.lock().spawn();
        SimFs { machine: self.machine.clone(), process }
    }

    /// Ends this process. What it wrote stays, its locks are released.
    pub fn kill(&self) {
        let mut machine = self.lock();
        machine.processes.remove(&self.process);
        machine.locks.retain(|_, (process, _)| *process != self.process);
    }

    /// Crashes the machine (unless a [`Fault::Crash`] did) and reboots it: the first process after that. Faults that
    /// have not happened are forgotten.
    pub fn crash(&self, loss: Loss) -> SimFs {
        let mut machine = self.lock();
        let rng = match loss {
            Loss::All => None,
            Loss::Random(seed) => Some(SeededRng::new(seed)),
        };
        for node in machine.nodes.values_mut() {
            node.crash(rng.as_ref());
        }
        machine.processes.clear();
        machine.locks.clear();
        machine.faults.clear();
        machine.crashed = false;
        let process = machine.spawn();
        SimFs { machine: self.machine.clone(), process }
    }

    /// Whether a [`Fault::Crash`] has stopped the machine.
    pub fn crashed(&self) -> bool {
        self.lock().crashed
    }

    /// Operations so far, in all processes; the next has this number.
    pub fn operations(&self) -> u64 {
        self.lock().ops.len() as u64
    }

    /// What the operations from number `from` on were, for messages of a test.
    pub fn log(&self, from: u64) -> Vec<String> {
        self.lock().ops.iter().skip(from as usize).cloned().collect()
    }

    /// Fails operation number `operation`, once.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        self.lock().faults.push((operation, fault, false));
    }

    /// Fails operation number `operation` and every later one that the fault can hit, until [`SimFs::heal`].
    pub fn fail_from(&self, operation: u64, fault: Fault) {
        self.lock().faults.push((operation, fault, true));
    }

    /// Forgets all faults to come.
    pub fn heal(&self) {
        self.lock().faults.clear();
    }

    /// Overwrites a file behind everybody's back, durably: a corrupted disk. No operation.
    pub fn corrupt(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut machine = self.lock();
        let id = machine.find(path)?;
        let file = machine.file(id)?;
        change(&mut file.live);
        file.durable = file.live.clone();
        Ok(())
    }

    /// Every file with its live content, by path. No operation.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let machine = self.lock();
        let mut files = BTreeMap::new();
        let mut directories = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, id)) = directories.pop() {
            let Some(Node::Dir(dir)) = machine.nodes.get(&id) else { continue };
            for (name, id) in &dir.live {
                match machine.nodes.get(id) {
                    Some(Node::File(file)) => {
                        files.insert(path.join(name), file.live.clone());
                    }
                    _ => directories.push((path.join(name), *id)),
                }
            }
        }
        files
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an operation and fails it where a fault says so, else does it.
    fn run<T>(
        &self,
        what: impl FnOnce() -> String,
        needs: Needs,
        act: impl FnOnce(&mut Machine) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut machine = self.lock();
        match machine.begin(self.process, what(), needs)? {
            None => act(&mut machine),
            Some(Fault::LateAnswer) => {
                let answer = act(&mut machine);
                // The answer may be a lock, whose end needs the machine.
                drop(machine);
                answer.and_then(|_| Err(Fault::LateAnswer.error()))
            }
            Some(fault) => Err(fault.error()),
        }
    }
}

impl Fault {
    fn hits(self, needs: Needs) -> bool {
        match self {
            Fault::NoSpace => needs == Needs::Room,
            Fault::Denied => needs != Needs::Nothing,
            Fault::Crash | Fault::Io | Fault::LateAnswer => true,
        }
    }

    fn error(self) -> io::Error {
        match self {
            Fault::Crash => dead(),
            Fault::Io => io::Error::from_raw_os_error(5),
            Fault::NoSpace => io::Error::from(io::ErrorKind::StorageFull),
            Fault::Denied => io::Error::from(io::ErrorKind::PermissionDenied),
            Fault::LateAnswer => io::Error::from(io::ErrorKind::TimedOut),
        }
    }
}

fn dead() -> io::Error {
    io::Error::other("this process of the simulated machine has ended")
}

impl Node {
    fn crash(&mut self, rng: Option<&SeededRng>) {
        match self {
            Node::File(file) => {
                file.spoil_lost();
                // What was synced stays; of what was written since, a prefix is the torn write that looks most like a
                // file.
                if let Some(rng) = rng.filter(|_| file.live != file.durable) {
                    let synced = file.live.iter().zip(&file.durable).take_while(|(a, b)| a == b).count();
                    let unsynced = (file.live.len() - synced) as u64;
                    match rng.below(3) {
                        0 => {}
                        1 => file.durable = file.live.clone(),
                        _ => file.durable = file.live[..synced + rng.below(unsynced + 1) as usize].to_vec(),
                    }
                }
                file.live = file.durable.clone();
                file.lost.clear();
            }
            Node::Dir(dir) => {
                for change in std::mem::take(&mut dir.pending) {
                    if rng.is_some_and(|r| r.below(2) == 1) {
                        change.apply(&mut dir.durable);
                    }
                }
                dir.live = dir.durable.clone();
            }
        }
    }
}

impl FileNode {
    /// Zeroes what a failed sync lost, as it will be found after a crash.
    fn spoil_lost(&mut self) {
        for range in &self.lost {
            let end = range.end.min(self.live.len());
            self.live[range.start.min(end)..end].fill(0);
        }
    }

    fn sync(&mut self) {
        let visible = self.live.clone();
        self.spoil_lost();
        self.durable = std::mem::replace(&mut self.live, visible);
    }

    fn fail_sync(&mut self) {
        let same = self.live.iter().zip(&self.durable).take_while(|(a, b)| a == b).count();
        self.lost.push(same..self.live.len());
    }
}

impl Machine {
    fn spawn(&mut self) -> u64 {
        self.last_id += 1;
        self.processes.insert(self.last_id);
        self.last_id
    }

    fn begin(&mut self, process: u64, what: String, needs: Needs) -> io::Result<Option<Fault>> {
        if self.crashed || !self.processes.contains(&process) {
            return Err(dead());
        }
        let number = self.ops.len() as u64;
        self.ops.push(what);
        let hit = self.faults.iter().position(|(at, fault, _)| *at <= number && fault.hits(needs));
        let Some(hit) = hit else { return Ok(None) };
        let (_, fault, again) = self.faults[hit];
        if !again {
            self.faults.remove(hit);
        }
        self.crashed |= fault == Fault::Crash;
        Ok(Some(fault))
    }

    /// The node at a path.
    fn find(&self, path: &Path) -> io::Result<u64> {
        let mut ids = vec![ROOT];
        for component in path.components() {
            match component {
                Component::Normal(name) => {
                    let Some(Node::Dir(dir)) = ids.last().and_then(|id| self.nodes.get(id)) else {
                        return Err(io::ErrorKind::NotADirectory.into());
                    };
                    ids.push(*dir.live.get(name).ok_or(io::ErrorKind::NotFound)?);
                }
                Component::ParentDir if ids.len() > 1 => {
                    ids.pop();
                }
                _ => {}
            }
        }
        ids.pop().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The directory a path is in, and its last name.
    fn parent(&self, path: &Path) -> io::Result<(u64, OsString)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = self.find(path.parent().unwrap_or(Path::new("/")))?;
        Ok((parent, name.to_owned()))
    }

    fn dir(&mut self, id: u64) -> io::Result<&mut DirNode> {
        match self.nodes.get_mut(&id) {
            Some(Node::Dir(dir)) => Ok(dir),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn file(&mut self, id: u64) -> io::Result<&mut FileNode> {
        match self.nodes.get_mut(&id) {
            Some(Node::File(file)) => Ok(file),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn change(&mut self, dir: u64, change: NameChange) -> io::Result<()> {
        let dir = self.dir(dir)?;
        change.apply(&mut dir.live);
        dir.pending.push(change);
        Ok(())
    }

    fn add(&mut self, node: Node) -> u64 {
        self.last_id += 1;
        self.nodes.insert(self.last_id, node);
        self.last_id
    }

    /// Opens a file for writing: its node.
    fn create(&mut self, path: &Path, fresh: bool) -> io::Result<u64> {
        let (parent, name) = self.parent(path)?;
        match self.dir(parent)?.live.get(&name).copied() {
            Some(_) if fresh => Err(io::ErrorKind::AlreadyExists.into()),
            Some(id) => {
                let file = self.file(id)?;
                file.live.clear();
                file.lost.clear();
                Ok(id)
            }
            None => {
                let modified_ms = self.ops.len() as i64;
                let id = self.add(Node::File(FileNode { modified_ms, ..FileNode::default() }));
                self.change(parent, NameChange { remove: None, set: Some((name, id)) })?;
                Ok(id)
            }
        }
    }

    fn meta(&self, id: u64) -> Metadata {
        match self.nodes.get(&id) {
            Some(Node::File(f)) => Metadata { len: f.live.len() as u64, is_dir: false, modified_ms: f.modified_ms },
            _ => Metadata { len: 0, is_dir: true, modified_ms: 0 },
        }
    }
}

impl Fs for SimFs {
    fn open(&self, path: &Path) -> io::Result<Box<dyn FsRead>> {
        self.run(
            || format!("open {}", path.display()),
            Needs::Nothing,
            |m| {
                let id = m.find(path)?;
                let content = Cursor::new(m.file(id)?.live.clone());
                Ok(Box::new(SimRead { fs: self.clone(), path: path.to_owned(), content }) as Box<dyn FsRead>)
            },
        )
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let id = self.run(|| format!("create_new {}", path.display()), Needs::Room, |m| m.create(path, true))?;
        Ok(Box::new(SimWrite { fs: self.clone(), path: path.to_owned(), id, position: 0 }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let id = self.run(|| format!("create {}", path.display()), Needs::Room, |m| m.create(path, false))?;
        Ok(Box::new(SimWrite { fs: self.clone(), path: path.to_owned(), id, position: 0 }))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run(
            || format!("link {} {}", from.display(), to.display()),
            Needs::Room,
            |m| {
                let id = m.find(from)?;
                m.file(id)?;
                let (parent, name) = m.parent(to)?;
                if m.dir(parent)?.live.contains_key(&name) {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                m.change(parent, NameChange { remove: None, set: Some((name, id)) })
            },
        )
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run(
            || format!("rename {} {}", from.display(), to.display()),
            Needs::Room,
            |m| {
                let id = m.find(from)?;
                let ((from_dir, from_name), (to_dir, to_name)) = (m.parent(from)?, m.parent(to)?);
                if let Some(old) = m.dir(to_dir)?.live.get(&to_name).copied() {
                    if old == id {
                        return Ok(());
                    }
                    if let Some(Node::Dir(dir)) = m.nodes.get(&old)
                        && !dir.live.is_empty()
                    {
                        return Err(io::ErrorKind::DirectoryNotEmpty.into());
                    }
                }
                if from_dir == to_dir {
                    return m.change(from_dir, NameChange { remove: Some(from_name), set: Some((to_name, id)) });
                }
                m.change(to_dir, NameChange { remove: None, set: Some((to_name, id)) })?;
                m.change(from_dir, NameChange { remove: Some(from_name), set: None })
            },
        )
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.run(
            || format!("remove_file {}", path.display()),
            Needs::Change,
            |m| {
                let id = m.find(path)?;
                m.file(id)?;
                let (parent, name) = m.parent(path)?;
                m.change(parent, NameChange { remove: Some(name), set: None })
            },
        )
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.run(
            || format!("remove_dir {}", path.display()),
            Needs::Change,
            |m| {
                let id = m.find(path)?;
                if !m.dir(id)?.live.is_empty() {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                }
                let (parent, name) = m.parent(path)?;
                m.change(parent, NameChange { remove: Some(name), set: None })
            },
        )
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.run(
            || format!("create_dir_all {}", path.display()),
            Needs::Room,
            |m| {
                let mut at = ROOT;
                for component in path.components() {
                    let Component::Normal(name) = component else { continue };
                    at = match m.dir(at)?.live.get(name).copied() {
                        Some(id) => id,
                        None => {
                            let id = m.add(Node::Dir(DirNode::default()));
                            m.change(at, NameChange { remove: None, set: Some((name.to_owned(), id)) })?;
                            id
                        }
                    };
                }
                m.dir(at).map(|_| ())
            },
        )
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.run(
            || format!("sync_dir {}", path.display()),
            Needs::Room,
            |m| {
                let id = m.find(path)?;
                let dir = m.dir(id)?;
                dir.durable = dir.live.clone();
                dir.pending.clear();
                Ok(())
            },
        )
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.run(
            || format!("read_dir {}", path.display()),
            Needs::Nothing,
            |m| {
                let id = m.find(path)?;
                let names = m.dir(id)?.live.clone();
                Ok(names.into_iter().map(|(n, id)| DirEntry { path: path.join(n), meta: m.meta(id) }).collect())
            },
        )
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.run(|| format!("metadata {}", path.display()), Needs::Nothing, |m| m.find(path).map(|id| m.meta(id)))
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn FsLock>>> {
        self.run(
            || format!("try_lock {}", path.display()),
            Needs::Room,
            |m| {
                let (parent, name) = m.parent(path)?;
                if !m.dir(parent)?.live.contains_key(&name) {
                    m.create(path, true)?;
                }
                if m.locks.contains_key(path) {
                    return Ok(None);
                }
                m.last_id += 1;
                let lock = (self.process, m.last_id);
                m.locks.insert(path.to_owned(), lock);
                Ok(Some(Box::new(SimLock { fs: self.clone(), path: path.to_owned(), lock }) as Box<dyn FsLock>))
            },
        )
    }
}

struct SimRead {
    fs: SimFs,
    path: PathBuf,
    content: Cursor<Vec<u8>>,
}

impl Read for SimRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fs.run(|| format!("read {}", self.path.display()), Needs::Nothing, |_| Ok(()))?;
        self.content.read(buffer)
    }

    fn read_to_end(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        self.fs.run(|| format!("read {}", self.path.display()), Needs::Nothing, |_| Ok(()))?;
        self.content.read_to_end(buffer)
    }
}

impl Seek for SimRead {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.content.seek(to)
    }
}

struct SimWrite {
    fs: SimFs,
    path: PathBuf,
    id: u64,
    position: usize,
}

impl Write for SimWrite {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut machine = self.fs.lock();
        let what = format!("write {} {}", self.path.display(), bytes.len());
        let fault = machine.begin(self.fs.process, what, Needs::Room)?;
        let n = match fault {
            None | Some(Fault::LateAnswer) => bytes.len(),
            Some(Fault::Denied) => 0,
            Some(Fault::Crash | Fault::Io | Fault::NoSpace) => bytes.len() / 2,
        };
        let modified_ms = machine.ops.len() as i64;
        let file = machine.file(self.id)?;
        let end = self.position + n;
        if file.live.len() < end {
            file.live.resize(end, 0);
        }
        file.live[self.position..end].copy_from_slice(&bytes[..n]);
        file.modified_ms = modified_ms;
        self.position = end;
        fault.map_or(Ok(n), |f| Err(f.error()))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl FsFile for SimWrite {
    fn sync(&mut self) -> io::Result<()> {
        let mut machine = self.fs.lock();
        let fault = machine.begin(self.fs.process, format!("sync {}", self.path.display()), Needs::Room)?;
        let file = machine.file(self.id)?;
        match fault {
            None | Some(Fault::LateAnswer) => file.sync(),
            Some(Fault::Crash) => {}
            Some(Fault::Io | Fault::NoSpace | Fault::Denied) => file.fail_sync(),
        }
        fault.map_or(Ok(()), |f| Err(f.error()))
    }
}

struct SimLock {
    fs: SimFs,
    path: PathBuf,
    lock: (u64, u64),
}

impl FsLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut machine = self.fs.lock();
        if machine.locks.get(&self.path) == Some(&self.lock) {
            machine.locks.remove(&self.path);
        }
    }
}

#[cfg(test)]
mod tests;
