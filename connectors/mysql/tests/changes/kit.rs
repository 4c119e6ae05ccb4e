//! A source at work, driven by hand as the runtime does it, and what its changes add up to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use dflow_common::env::{Env, Spawner};
use dflow_common::metrics::Metrics;
use dflow_common::types::LENGTH_MAX;
use dflow_common::{ChangeBatch, SourceId, Span, SqlType, TypeKind};
use dflow_connector_api::testing::rows;
use dflow_connector_api::{
    Column, ColumnKind, Enumerator, EnumeratorEvent, Error, OptionText, Options, RawOption, Reader, ReaderContext,
    ReaderEvent, Result, Source, SourceContext, SplitAssignment, SplitId, TableRequest, TableSchema,
};
use dflow_connector_mysql::cdc::options::OPTIONS;
use dflow_connector_mysql::cdc::source;
use dflow_test_servers::Server;
use futures::future::{BoxFuture, poll_fn};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};

pub(crate) const KINDS: [&str; 2] = ["mysql", "mariadb"];

/// Whether every test runs at its full size.
pub(crate) fn is_full() -> bool {
    std::env::var("DFLOW_TEST_LEVEL").is_ok_and(|l| l == "full")
}

pub(crate) fn bigint() -> SqlType {
    SqlType::from(TypeKind::BigInt)
}

pub(crate) fn text() -> SqlType {
    SqlType::from(TypeKind::VarChar(LENGTH_MAX))
}

/// A database of its own on a server.
pub(crate) struct Database {
    pub(crate) server: Arc<Server>,
    pub(crate) name: String,
    pub(crate) env: Env,
}

impl Database {
    /// On the server that all tests share; `None` is a skip.
    pub(crate) async fn on(kind: &str) -> Option<Database> {
        let kind = kind.to_owned();
        let server = tokio::task::spawn_blocking(move || Server::get(&kind)).await.unwrap()?;
        Some(Self::of(server).await)
    }

    /// On a server of this test alone.
    pub(crate) async fn own(kind: &str, arguments: &'static [&str], gtid: &'static str) -> Option<Database> {
        let kind = kind.to_owned();
        let start = move || Server::own_with(&kind, arguments, &[("MYSQL_GTID", gtid)]);
        let server = tokio::task::spawn_blocking(start).await.unwrap()?;
        Some(Self::of(server.into()).await)
    }

    async fn of(server: Arc<Server>) -> Database {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("g_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let database = Database { server, name, env: Env::production(Spawner::current()) };
        database.run(&format!("CREATE DATABASE {} CHARACTER SET utf8mb4", database.name)).await;
        database
    }

    pub(crate) async fn conn(&self) -> Conn {
        let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(self.server.port());
        let mut conn = Conn::new(options.user(Some("root")).prefer_socket(false)).await.unwrap();
        conn.query_drop("SET time_zone = '+00:00'").await.unwrap();
        let _ = conn.query_drop(format!("USE {}", self.name)).await;
        conn
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.conn().await.query_drop(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    /// The first column of a query, sorted.
    pub(crate) async fn lines(&self, sql: &str) -> Vec<String> {
        let mut lines: Vec<String> = self.conn().await.query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        lines.sort();
        lines
    }

    /// A declared table: `database-name` is this one, `table-name` is `t`, and the user an administrator, unless given.
    pub(crate) fn table(&self, columns: &[(&str, SqlType)], given: &[(&str, &str)]) -> Declared {
        let port = self.server.port().to_string();
        let options = [
            ("hostname", "127.0.0.1"),
            ("port", &port),
            ("username", "root"),
            ("password", ""),
            ("database-name", &self.name),
            ("table-name", "t"),
            ("heartbeat.interval", "1 s"),
        ];
        Declared {
            name: "t".into(),
            options: options.iter().chain(given).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            columns: columns.iter().map(|(n, ty)| ((*n).to_owned(), ty.clone(), None)).collect(),
            env: self.env.clone(),
        }
    }
}

/// A declared table.
#[derive(Clone)]
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) columns: Vec<(String, SqlType, Option<&'static str>)>,
    env: Env,
}

fn span() -> Span {
    Span::new(SourceId(0), 0, 1)
}

impl Declared {
    pub(crate) fn metadata(mut self, name: &str, ty: SqlType, key: &'static str) -> Self {
        self.columns.push((name.into(), ty, Some(key)));
        self
    }

    pub(crate) fn named(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.options.insert(key.into(), value.into());
        self
    }

    pub(crate) fn open(&self, projection: Option<&[usize]>) -> Result<Arc<dyn Source>, Vec<Error>> {
        let request = self.request(projection);
        let options = Options::check("connector 'mysql-cdc'", OPTIONS, &request.options, request.span)?;
        source::open(&request, &options)
    }

    pub(crate) fn request(&self, projection: Option<&[usize]>) -> TableRequest {
        let column = |(name, ty, key): &(String, SqlType, Option<&'static str>)| Column {
            name: name.clone(),
            ty: ty.clone(),
            kind: match key {
                Some(key) => ColumnKind::Metadata { key: (*key).into(), is_virtual: true },
                None => ColumnKind::Physical,
            },
            span: span(),
        };
        let raw = |(key, value): (&String, &String)| RawOption {
            key: key.clone(),
            key_span: span(),
            value: OptionText::Plain(value.clone()),
            value_span: span(),
        };
        TableRequest {
            name: self.name.clone(),
            schema: TableSchema {
                columns: self.columns.iter().map(column).collect(),
                primary_key: vec![0],
                partition_keys: vec![],
            },
            projection: projection.map_or_else(|| (0..self.columns.len()).collect(), <[usize]>::to_vec),
            masks: vec![],
            predicate: None,
            options: self.options.iter().map(raw).collect(),
            span: span(),
            base_dir: ".".into(),
            time_zone: "UTC".into(),
            job: "job".into(),
            env: self.env.clone(),
            metrics: Metrics::new(),
            formats: Arc::new(BTreeMap::new()),
        }
    }
}

/// Rows as the changes say they are: each with how often. What cannot be, is written down.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fold {
    pub(crate) rows: BTreeMap<String, i64>,
    pub(crate) faults: Vec<String>,
    pub(crate) changes: usize,
    /// Whether equal rows may be there twice.
    pub(crate) repeats: bool,
}

impl Fold {
    fn add(&mut self, line: &str) {
        self.changes += 1;
        let (kind, row) = line.split_at(3);
        let count = self.rows.entry(row.to_owned()).or_insert(0);
        *count += if kind.starts_with('+') { 1 } else { -1 };
        if *count < 0 || (*count > 1 && !self.repeats) {
            self.faults.push(line.to_owned());
        }
        if *count == 0 {
            self.rows.remove(row);
        }
    }

    /// Sorted.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.rows
            .iter()
            .flat_map(|(row, n)| std::iter::repeat_n(row.clone(), usize::try_from(*n).unwrap_or(0)))
            .collect()
    }
}

/// What a restart gets.
#[derive(Clone)]
pub(crate) struct Checkpoint {
    pub(crate) enumerator: String,
    pub(crate) splits: String,
    pub(crate) folds: Vec<Fold>,
    pub(crate) lines: Vec<String>,
}

/// A running source.
pub(crate) struct Run {
    env: Env,
    enumerator: Box<dyn Enumerator>,
    readers: Vec<Box<dyn Reader>>,
    held: BTreeMap<SplitId, usize>,
    turn: usize,
    no_more: bool,
    ended: BTreeSet<usize>,
    pub(crate) folds: Vec<Fold>,
    /// Every change, with its output: `0: +I 1|a`.
    pub(crate) lines: Vec<String>,
    pub(crate) keeps_lines: bool,
    /// Every batch, when they are kept.
    pub(crate) batches: Option<Vec<ChangeBatch>>,
    /// Splits that were assigned.
    pub(crate) assigned: Vec<SplitId>,
    pub(crate) log_batches: usize,
}

enum Event {
    Enumerator(EnumeratorEvent),
    Reader(usize, ReaderEvent),
}

impl Run {
    pub(crate) fn start(source: &dyn Source, env: &Env, readers: usize, from: Option<&Checkpoint>) -> Run {
        let context =
            SourceContext { job: "job".into(), parallelism: readers, env: env.clone(), metrics: Metrics::new() };
        let state = from.map(|c| serde_json::from_str(&c.enumerator).unwrap());
        let enumerator = source.enumerator(&context, state).unwrap();
        let reader = |subtask| source.reader(&ReaderContext { source: context.clone(), subtask }).unwrap();
        let mut run = Run {
            env: env.clone(),
            enumerator,
            readers: (0..readers).map(reader).collect(),
            held: BTreeMap::new(),
            turn: 0,
            no_more: false,
            ended: BTreeSet::new(),
            folds: from.map_or_else(|| vec![Fold::default(); source.outputs().len()], |c| c.folds.clone()),
            lines: from.map(|c| c.lines.clone()).unwrap_or_default(),
            keeps_lines: false,
            batches: None,
            assigned: Vec::new(),
            log_batches: 0,
        };
        run.folds.resize(source.outputs().len(), Fold::default());
        if let Some(checkpoint) = from {
            run.assign(serde_json::from_str(&checkpoint.splits).unwrap()).unwrap();
        }
        run
    }

    fn assign(&mut self, splits: Vec<SplitAssignment>) -> Result<()> {
        for split in splits {
            let reader = self.turn % self.readers.len();
            self.turn += 1;
            self.assigned.push(split.id.clone());
            self.held.insert(split.id.clone(), reader);
            self.readers[reader].add_splits(vec![split])?;
        }
        Ok(())
    }

    /// As the runtime does it: the enumerator first.
    pub(crate) fn checkpoint(&mut self) -> Checkpoint {
        let enumerator = self.enumerator.snapshot().unwrap().to_string();
        let splits: Vec<_> = self.readers.iter_mut().flat_map(|r| r.snapshot().unwrap()).collect();
        let splits = serde_json::to_string(&splits).unwrap();
        Checkpoint { enumerator, splits, folds: self.folds.clone(), lines: self.lines.clone() }
    }

    async fn event(&mut self) -> Result<Event> {
        let no_more = self.no_more;
        self.turn += 1;
        let first = self.turn % self.readers.len();
        let mut futures: Vec<BoxFuture<'_, Result<Event>>> = Vec::new();
        if !no_more {
            let next = self.enumerator.next();
            futures.push(Box::pin(async move { next.await.map(Event::Enumerator) }));
        }
        let ended = &self.ended;
        let mut readers: Vec<_> = self.readers.iter_mut().enumerate().filter(|(i, _)| !ended.contains(i)).collect();
        if !readers.is_empty() {
            let at = first % readers.len();
            readers.rotate_left(at);
        }
        for (i, reader) in readers {
            let next = reader.next();
            futures.push(Box::pin(async move { next.await.map(|e| Event::Reader(i, e)) }));
        }
        poll_fn(|cx| {
            for future in &mut futures {
                if let Poll::Ready(event) = future.as_mut().poll(cx) {
                    return Poll::Ready(event);
                }
            }
            Poll::Pending
        })
        .await
    }

    fn carry_out(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Enumerator(EnumeratorEvent::Assign(splits)) => self.assign(splits)?,
            Event::Enumerator(EnumeratorEvent::Revoke(splits)) => {
                self.readers.iter_mut().for_each(|r| r.revoke_splits(&splits));
            }
            Event::Enumerator(EnumeratorEvent::NoMoreSplits) => {
                self.no_more = true;
                self.readers.iter_mut().for_each(|r| r.no_more_splits());
            }
            Event::Reader(i, ReaderEvent::Batch { output, split, batch }) => {
                assert_eq!(self.held.get(&split), Some(&i), "rows of {split:?}");
                self.log_batches += usize::from(split.0.starts_with("log/"));
                self.batches.iter_mut().for_each(|kept| kept.push(batch.clone()));
                for line in rows(&batch) {
                    self.folds[output].add(&line);
                    if self.keeps_lines {
                        self.lines.push(format!("{output}: {line}"));
                    }
                }
            }
            Event::Reader(i, ReaderEvent::SplitFinished(split)) => {
                assert_eq!(self.held.remove(&split), Some(i), "{split:?} finished");
                self.enumerator.split_finished(&split);
            }
            Event::Reader(i, ReaderEvent::Message(message)) => self.enumerator.reader_message(i, message),
            Event::Reader(i, ReaderEvent::End) => {
                self.ended.insert(i);
            }
        }
        Ok(())
    }

    pub(crate) fn is_over(&self) -> bool {
        self.ended.len() == self.readers.len()
    }

    /// One event; false when none came in time.
    pub(crate) async fn step(&mut self, patience: Duration) -> Result<bool> {
        match tokio::time::timeout(patience, self.event()).await {
            Ok(event) => self.carry_out(event?).map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// A source that drops its futures now and then, as barriers and ticks do.
    pub(crate) async fn step_cancelled(&mut self, patience: Duration) -> Result<bool> {
        if self.env.rng.below(4) == 0 {
            let polls = self.env.rng.below(3);
            let mut ready = None;
            {
                let mut event = Box::pin(self.event());
                for _ in 0..polls {
                    if let Poll::Ready(event) = futures::poll!(&mut event) {
                        ready = Some(event);
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
            if let Some(event) = ready {
                return self.carry_out(event?).map(|()| true);
            }
        }
        self.step(patience).await
    }

    /// Until `done` says so.
    pub(crate) async fn until(&mut self, what: &str, mut done: impl FnMut(&Run) -> bool) {
        let start = Instant::now();
        let patience = Duration::from_secs(if is_full() { 900 } else { 120 });
        while !done(self) {
            if start.elapsed() > patience {
                let (changes, splits) = (self.folds[0].changes, &self.assigned);
                panic!("waited too long until {what}: {changes} changes, {} log batches, {splits:?}", self.log_batches);
            }
            let moved = self.step(Duration::from_secs(1)).await.unwrap_or_else(|e| panic!("until {what}: {e}"));
            if !moved && self.readers.len() > 1 {
                // What hands over behind a barrier waits for one.
                self.checkpoint();
            }
        }
    }

    /// Until output 0 is what the server has; then a little longer, in case there is more.
    pub(crate) async fn until_equal(&mut self, expected: &[String]) {
        let start = Instant::now();
        let mut seen = usize::MAX;
        while seen != self.folds[0].changes || self.folds[0].lines() != expected {
            if start.elapsed() > Duration::from_secs(60) {
                let have = self.folds[0].lines();
                let missing: Vec<_> = expected.iter().filter(|l| !have.contains(l)).take(5).collect();
                let extra: Vec<_> = have.iter().filter(|l| !expected.contains(l)).take(5).collect();
                let n = self.folds[0].changes;
                self.folds[0].faults.truncate(10);
                panic!(
                    "{} rows of {}, {n} changes; missing {missing:?}, extra {extra:?}, faults {:?}",
                    have.len(),
                    expected.len(),
                    self.folds[0].faults
                );
            }
            let mut idle = 0;
            while idle < 2 {
                seen = self.folds[0].changes;
                match self.step(Duration::from_millis(150)).await.unwrap() {
                    true if seen != self.folds[0].changes => idle = 0,
                    true => {}
                    false => {
                        idle += 1;
                        if self.readers.len() > 1 {
                            self.checkpoint();
                        }
                    }
                }
            }
        }
        assert!(
            self.folds[0].faults.is_empty(),
            "doubled or lost: {:?}",
            &self.folds[0].faults[..self.folds[0].faults.len().min(10)]
        );
    }
}
