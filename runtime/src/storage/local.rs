//! `file://`: an object store over [`Env`]'s files that is durable and can be tested.
//!
//! # Writing
//! ```text
//! put      .tmp/<n>: create, write, fsync  ->  link (create) or rename (overwrite)  ->  fsync of the directory  ->  done
//! ```
//! A name appears with its whole content or not at all, and when `put` has answered, both survive a crash.
//! [`PutMode::Create`] is a hard link, which fails when the name is taken, however many processes try at once.
//! "Already exists" is answered only after that name is durable. After any other error the name may or may not be there
//! (the last fsync failed): the caller looks.
//!
//! # Invariants
//! Objects live below the root, in the directories of their path; `.tmp` and files directly in the root (the lock) are
//! never listed. Calls that touch files run on [`Spawner::blocking`](dflow_common::env::Spawner::blocking) threads.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path as FsPath, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, TimeZone, Utc};
use dflow_common::Env;
use dflow_common::env::Fs;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Where files are written before they get their name.
const TEMPORARY: &str = ".tmp";
/// What ext4 and others put into the root of a file system.
const LOST_AND_FOUND: &str = "lost+found";
/// The store's name in errors.
const STORE: &str = "file";

/// Objects as files below a directory.
#[derive(Clone)]
pub struct LocalStore {
    inner: Arc<Inner>,
}

struct Inner {
    env: Env,
    root: PathBuf,
    /// Tells the temporary files of two processes apart.
    nonce: u64,
    counter: AtomicU64,
    /// Directories known to exist durably.
    directories: Mutex<BTreeSet<PathBuf>>,
}

impl LocalStore {
    /// Objects below `root`, which need not exist yet.
    pub fn new(env: Env, root: impl Into<PathBuf>) -> Self {
        let nonce = env.rng.next_u64();
        let (counter, directories) = (AtomicU64::new(0), Mutex::default());
        Self { inner: Arc::new(Inner { env, root: root.into(), nonce, counter, directories }) }
    }

    /// The directory.
    pub fn root(&self) -> &FsPath {
        &self.inner.root
    }

    /// Creates the root and the given directories in it, durably.
    pub async fn create(&self, directories: &'static [&'static str]) -> io::Result<()> {
        self.blocking(move |inner| {
            inner.ensure(&inner.root)?;
            directories.iter().try_for_each(|d| inner.ensure(&inner.root.join(d)))
        })
        .await
    }

    /// The first name in the root, or in one of its directories, that is not of this store: not one of `own` in the root,
    /// not `is_ours` in those directories. Temporary files count as ours, and so does what a file system puts into its
    /// own root.
    pub async fn foreign(&self, own: &'static [&'static str], is_ours: fn(&str) -> bool) -> io::Result<Option<String>> {
        self.blocking(move |inner| {
            let names = |directory: &FsPath| match inner.fs().read_dir(directory) {
                Ok(entries) => Ok(entries.into_iter().map(|e| (inner.relative(&e.path), e)).collect::<Vec<_>>()),
                // That it is none is for the claim to say.
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
                Err(e) => Err(e),
            };
            for (name, entry) in names(&inner.root)? {
                if name == TEMPORARY || name == LOST_AND_FOUND {
                    continue;
                }
                if !own.contains(&name.as_str()) {
                    return Ok(Some(name));
                }
                for (inside, file) in if entry.meta.is_dir { names(&entry.path)? } else { Vec::new() } {
                    if file.meta.is_dir || !is_ours(&inside) {
                        return Ok(Some(inside));
                    }
                }
            }
            Ok(None)
        })
        .await
    }

    /// Removes what writers that crashed have left half-done. Only for the one writer of the directory.
    pub async fn clean_temporary(&self) -> io::Result<usize> {
        self.blocking(|inner| {
            let entries = match inner.env.fs.read_dir(&inner.root.join(TEMPORARY)) {
                Ok(entries) => entries,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
                Err(e) => return Err(e),
            };
            entries.iter().try_for_each(|e| inner.env.fs.remove_file(&e.path))?;
            Ok(entries.len())
        })
        .await
    }

    /// Renames the root to `target`, or to `target-2`, `target-3`, … when that is taken; answers with the name.
    pub async fn move_to(&self, target: PathBuf) -> io::Result<PathBuf> {
        self.blocking(move |inner| {
            let mut name = target.clone();
            for n in 2.. {
                match inner.fs().metadata(&name) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => break,
                    Err(e) => return Err(e),
                    Ok(_) => {
                        name = target.clone().into_os_string().into();
                        name.as_mut_os_string().push(format!("-{n}"));
                    }
                }
            }
            inner.directories.lock().unwrap_or_else(PoisonError::into_inner).clear();
            inner.fs().rename(&inner.root, &name)?;
            inner.root.parent().map_or(Ok(()), |parent| inner.fs().sync_dir(parent))?;
            Ok(name)
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Inner) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let inner = self.inner.clone();
        match self.inner.env.spawner.blocking(move || call(&inner)).await {
            Ok(answer) => answer,
            Err(e) => Err(io::Error::other(format!("a file operation did not end: {e}"))),
        }
    }
}

impl Inner {
    /// A path below the root, from there, for messages.
    fn relative(&self, path: &FsPath) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().into_owned()
    }

    fn file(&self, location: &Path) -> PathBuf {
        self.root.join(location.as_ref())
    }

    fn fs(&self) -> &dyn Fs {
        self.env.fs.as_ref()
    }

    /// Makes a directory exist durably, with all above it.
    fn ensure(&self, directory: &FsPath) -> io::Result<()> {
        if self.directories.lock().unwrap_or_else(PoisonError::into_inner).contains(directory) {
            return Ok(());
        }
        let below_root = directory != self.root && directory.starts_with(&self.root);
        if below_root {
            self.ensure(&self.root)?;
        }
        self.fs().create_dir_all(directory)?;
        // Those that exist count too: who made them may have failed before they were durable.
        let named: Vec<&FsPath> = directory.ancestors().take_while(|a| !below_root || *a != self.root).collect();
        for parent in named.iter().rev().filter_map(|name| name.parent()).filter(|p| !p.as_os_str().is_empty()) {
            match self.fs().sync_dir(parent) {
                // Directories we may not open, or that are no real ones, are not ours to make durable.
                Err(e) if matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput) => {}
                other => other?,
            }
        }
        self.directories.lock().unwrap_or_else(PoisonError::into_inner).insert(directory.to_owned());
        Ok(())
    }

    fn put(&self, location: &Path, payload: &PutPayload, create: bool) -> io::Result<()> {
        let target = self.file(location);
        let directory = target.parent().ok_or(io::ErrorKind::InvalidInput)?;
        self.ensure(directory)?;
        self.ensure(&self.root.join(TEMPORARY))?;
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let temporary = self.root.join(TEMPORARY).join(format!("{:016x}-{number}", self.nonce));
        let result = self.put_aside(&temporary, payload).and_then(|()| {
            if create { self.fs().link(&temporary, &target) } else { self.fs().rename(&temporary, &target) }
        });
        if create || result.is_err() {
            // What stays is removed by the next claim.
            let _ = self.fs().remove_file(&temporary);
        }
        match result {
            Ok(()) => self.fs().sync_dir(directory),
            // Who acts on a taken name can rely on it: it is durable when that is answered.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => self.fs().sync_dir(directory).and(Err(e)),
            Err(e) => Err(e),
        }
    }

    fn put_aside(&self, temporary: &FsPath, payload: &PutPayload) -> io::Result<()> {
        let mut file = self.fs().create_new(temporary)?;
        for bytes in payload.iter() {
            file.write_all(bytes)?;
        }
        file.sync()
    }

    fn meta(&self, location: &Path) -> io::Result<ObjectMeta> {
        let meta = self.fs().metadata(&self.file(location))?;
        if meta.is_dir {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(object_meta(location.clone(), &meta))
    }

    fn read(&self, location: &Path, range: Range<u64>, whole: bool) -> io::Result<Bytes> {
        let path = self.file(location);
        if whole {
            return self.fs().read(&path).map(Bytes::from);
        }
        let mut file = self.fs().open(&path)?;
        file.seek(SeekFrom::Start(range.start))?;
        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }

    /// All objects below `prefix`, sorted.
    fn list(&self, prefix: &Path) -> io::Result<Vec<ObjectMeta>> {
        let mut objects = Vec::new();
        let mut directories = vec![prefix.clone()];
        while let Some(directory) = directories.pop() {
            let entries = match self.fs().read_dir(&self.file(&directory)) {
                Ok(entries) => entries,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            let in_root = directory.as_ref().is_empty();
            for entry in entries {
                // A name that is no object path was not made by us.
                let Some(name) = entry.path.file_name().and_then(|n| n.to_str()) else { continue };
                let Ok(location) = Path::parse(format!("{directory}/{name}").trim_start_matches('/')) else { continue };
                match entry.meta.is_dir {
                    true if in_root && name == TEMPORARY => {}
                    true => directories.push(location),
                    false if in_root => {}
                    false => objects.push(object_meta(location, &entry.meta)),
                }
            }
        }
        objects.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(objects)
    }
}

fn object_meta(location: Path, meta: &dflow_common::env::Metadata) -> ObjectMeta {
    let last_modified = Utc.timestamp_millis_opt(meta.modified_ms).single().unwrap_or(DateTime::<Utc>::MIN_UTC);
    ObjectMeta { location, last_modified, size: meta.len, e_tag: None, version: None }
}

/// An I/O error about an object, as the object store crate words it. The I/O error stays in the chain of sources.
fn about(location: &Path, source: io::Error) -> Error {
    let path = location.to_string();
    match source.kind() {
        io::ErrorKind::NotFound => Error::NotFound { path, source: source.into() },
        io::ErrorKind::AlreadyExists => Error::AlreadyExists { path, source: source.into() },
        io::ErrorKind::PermissionDenied => Error::PermissionDenied { path, source: source.into() },
        _ => Error::Generic { store: STORE, source: source.into() },
    }
}

impl fmt::Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file://{}", self.inner.root.display())
    }
}

impl fmt::Debug for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the object store crate's trait returns: its `async fn`s, written out.
type Answer<'f, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'f>>;

impl ObjectStore for LocalStore {
    fn put_opts<'s, 'l, 'f>(
        &'s self,
        location: &'l Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Answer<'f, PutResult>
    where
        's: 'f,
        'l: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let create = match options.mode {
                PutMode::Create => true,
                PutMode::Overwrite => false,
                PutMode::Update(_) => return Err(not_implemented("conditional update")),
            };
            let at = location.clone();
            self.blocking(move |inner| inner.put(&at, &payload, create)).await.map_err(|e| about(location, e))?;
            Ok(PutResult { e_tag: None, version: None })
        })
    }

    fn put_multipart_opts<'s, 'l, 'f>(
        &'s self,
        _location: &'l Path,
        _options: PutMultipartOptions,
    ) -> Answer<'f, Box<dyn MultipartUpload>>
    where
        's: 'f,
        'l: 'f,
        Self: 'f,
    {
        Box::pin(async { Err(not_implemented("multipart upload")) })
    }

    fn get_opts<'s, 'l, 'f>(&'s self, location: &'l Path, options: GetOptions) -> Answer<'f, GetResult>
    where
        's: 'f,
        'l: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let at = location.clone();
            let meta = self.blocking(move |inner| inner.meta(&at)).await.map_err(|e| about(location, e))?;
            options.check_preconditions(&meta)?;
            let range = match &options.range {
                None => 0..meta.size,
                Some(range) => range
                    .as_range(meta.size)
                    .map_err(|e| about(location, io::Error::new(io::ErrorKind::InvalidInput, e)))?,
            };
            let bytes = if options.head {
                Bytes::new()
            } else {
                let (at, range, whole) = (location.clone(), range.clone(), options.range.is_none());
                self.blocking(move |inner| inner.read(&at, range, whole)).await.map_err(|e| about(location, e))?
            };
            let payload = GetResultPayload::Stream(futures::stream::once(async { Ok(bytes) }).boxed());
            Ok(GetResult { payload, meta, range, attributes: Default::default() })
        })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .then(move |location| {
                let store = store.clone();
                async move {
                    let location = location?;
                    let at = location.clone();
                    let removed = store.blocking(move |inner| inner.fs().remove_file(&inner.file(&at))).await;
                    removed.map_err(|e| about(&location, e))?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned().unwrap_or_default());
        let listed = async move {
            let at = prefix.clone();
            let objects = store.blocking(move |inner| inner.list(&at)).await;
            match objects {
                Ok(objects) => futures::stream::iter(objects.into_iter().map(Ok)).boxed(),
                Err(e) => futures::stream::iter([Err(about(&prefix, e))]).boxed(),
            }
        };
        futures::stream::once(listed).flatten().boxed()
    }

    fn list_with_delimiter<'s, 'p, 'f>(&'s self, prefix: Option<&'p Path>) -> Answer<'f, ListResult>
    where
        's: 'f,
        'p: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let prefix = prefix.cloned().unwrap_or_default();
            let at = prefix.clone();
            let all = self.blocking(move |inner| inner.list(&at)).await.map_err(|e| about(&prefix, e))?;
            let mut result = ListResult { common_prefixes: Vec::new(), objects: Vec::new() };
            for object in all {
                let mut parts = object.location.prefix_match(&prefix).into_iter().flatten();
                match (parts.next(), parts.next()) {
                    (Some(_), None) => result.objects.push(object.clone()),
                    (Some(first), Some(_)) => {
                        let common = prefix.clone().join(first);
                        if result.common_prefixes.last() != Some(&common) {
                            result.common_prefixes.push(common);
                        }
                    }
                    _ => {}
                }
            }
            Ok(result)
        })
    }

    fn copy_opts<'s, 'a, 'b, 'f>(&'s self, from: &'a Path, to: &'b Path, options: CopyOptions) -> Answer<'f, ()>
    where
        's: 'f,
        'a: 'f,
        'b: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let (source, target, create) = (from.clone(), to.clone(), options.mode == CopyMode::Create);
            let bytes =
                self.blocking(move |inner| inner.read(&source, 0..0, true)).await.map_err(|e| about(from, e))?;
            self.blocking(move |inner| inner.put(&target, &bytes.into(), create)).await.map_err(|e| about(to, e))
        })
    }
}

fn not_implemented(operation: &str) -> Error {
    Error::NotImplemented { operation: operation.into(), implementer: STORE.into() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dflow_common::env::sim::{self, Fault, Loss, SimFs};
    use futures::TryStreamExt;
    use object_store::ObjectStoreExt;

    use super::*;

    fn store(fs: &SimFs) -> LocalStore {
        LocalStore::new(sim::env(1, Arc::new(fs.clone())), "/state/job")
    }

    fn at(path: &str) -> Path {
        Path::from(path)
    }

    async fn create(store: &LocalStore, path: &str, content: &'static str) -> Result<()> {
        store.put_opts(&at(path), content.into(), PutMode::Create.into()).await.map(|_| ())
    }

    async fn read(store: &LocalStore, path: &str) -> Result<String> {
        let bytes = store.get(&at(path)).await?.bytes().await?;
        Ok(String::from_utf8(bytes.to_vec()).expect("the tests write text"))
    }

    #[tokio::test]
    async fn what_put_has_answered_survives_a_crash_and_create_never_overwrites() {
        let fs = SimFs::new();
        create(&store(&fs), "manifests/1", "one").await.unwrap();
        store(&fs).put(&at("data/x"), "old".into()).await.unwrap();
        store(&fs).put(&at("data/x"), "new".into()).await.unwrap();
        let fs = fs.crash(Loss::All);
        assert_eq!(read(&store(&fs), "manifests/1").await.unwrap(), "one");
        assert_eq!(read(&store(&fs), "data/x").await.unwrap(), "new");
        let again = create(&store(&fs), "manifests/1", "two").await;
        assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
        assert_eq!(read(&store(&fs), "manifests/1").await.unwrap(), "one");
        assert!(fs.files().keys().all(|p| !p.starts_with("/state/job/.tmp")), "no temporary file is left");
    }

    #[tokio::test]
    async fn at_every_crash_an_object_is_whole_or_absent() {
        let mut operations = 0;
        for k in 0.. {
            let fs = SimFs::new();
            fs.fail_at(k, Fault::Crash);
            let done = create(&store(&fs), "manifests/1", "0123456789").await.is_ok();
            if !fs.crashed() {
                assert!(done);
                break;
            }
            operations += 1;
            let fs = fs.crash(Loss::Random(k));
            match read(&store(&fs), "manifests/1").await {
                Ok(content) => assert_eq!(content, "0123456789", "crash at {k}"),
                Err(e) => assert!(matches!(e, Error::NotFound { .. }), "{e}"),
            }
            store(&fs).clean_temporary().await.unwrap();
            let left: Vec<_> = fs.files().into_keys().filter(|p| p.starts_with("/state/job/.tmp")).collect();
            assert!(left.is_empty(), "{left:?}");
        }
        assert!(operations > 10, "{operations}");
    }

    #[tokio::test]
    async fn listing_ranges_heads_copies_and_removals() {
        let fs = SimFs::new();
        let store = store(&fs);
        for path in ["a/1", "a/b/2", "c/3"] {
            create(&store, path, "0123456789").await.unwrap();
        }
        fs.create(FsPath::new("/state/job/lock")).unwrap();
        let all: Vec<String> = store.list(None).map_ok(|m| m.location.to_string()).try_collect().await.unwrap();
        assert_eq!(all, ["a/1", "a/b/2", "c/3"]);
        let level = store.list_with_delimiter(Some(&at("a"))).await.unwrap();
        assert_eq!(level.common_prefixes, [at("a/b")]);
        assert_eq!(level.objects.iter().map(|m| m.location.as_ref()).collect::<Vec<_>>(), ["a/1"]);
        assert_eq!(store.get_range(&at("a/1"), 2..5).await.unwrap(), "234");
        assert_eq!(store.head(&at("a/1")).await.unwrap().size, 10);
        store.copy(&at("a/1"), &at("d/4")).await.unwrap();
        assert!(matches!(store.copy_if_not_exists(&at("a/1"), &at("c/3")).await, Err(Error::AlreadyExists { .. })));
        assert_eq!(read(&store, "d/4").await.unwrap(), "0123456789");
        store.delete(&at("a/1")).await.unwrap();
        assert!(matches!(store.delete(&at("a/1")).await, Err(Error::NotFound { .. })));
        assert!(matches!(store.head(&at("a")).await, Err(Error::NotFound { .. })), "a directory is no object");
    }
}
