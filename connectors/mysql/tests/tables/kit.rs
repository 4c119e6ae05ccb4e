//! Small words for tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dflow_common::env::{Env, Spawner};
use dflow_common::metrics::Metrics;
use dflow_common::{ChangeBatch, Epoch, SourceId, Span, SqlType};
use dflow_connector_api::testing::{MemoryStage, rows};
use dflow_connector_api::{
    Column, ColumnKind, Committer, CommitterContext, ConnectorRegistry, EnumeratorEvent, Error, OptionText, Predicate,
    RawOption, ReaderContext, ReaderEvent, Result, Sink, Source, SourceContext, TableRequest, TableSchema, Writer,
    WriterContext,
};
use dflow_test_servers::Server;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};

/// The systems that every test here runs against.
pub(crate) const KINDS: [&str; 2] = ["mysql", "mariadb"];

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

    pub(crate) async fn of(server: Arc<Server>) -> Database {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("d`{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let database = Database { server, name: name.clone(), env: Env::production(Spawner::current()) };
        let mut conn = connection(database.server.port(), None).await;
        conn.query_drop(format!("CREATE DATABASE `{}` CHARACTER SET utf8mb4", name.replace('`', "``"))).await.unwrap();
        database
    }

    pub(crate) async fn conn(&self) -> Conn {
        connection(self.server.port(), Some(&self.name)).await
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.conn().await.query_drop(sql).await.unwrap();
    }

    /// The rows of a query as text.
    pub(crate) async fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let rows: Vec<mysql_async::Row> = self.conn().await.query(sql).await.unwrap();
        rows.into_iter()
            .map(|row| row.unwrap().into_iter().map(mysql_async::from_value::<Option<String>>).collect())
            .collect()
    }

    /// A table that is written to or read, through `port`.
    pub(crate) fn table(&self, columns: &[(&str, SqlType)], key: &[usize]) -> Table {
        Table::new(self.server.port(), &self.name, self.env.clone(), columns, key)
    }
}

async fn connection(port: u16, database: Option<&str>) -> Conn {
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .user(Some("root"))
        .prefer_socket(false)
        .db_name(database)
        .init(vec!["SET time_zone = '+00:00'"]);
    Conn::new(options).await.unwrap()
}

/// A table as a script would declare it: `table-name` is `t` unless given.
#[derive(Clone)]
pub(crate) struct Table {
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) time_zone: &'static str,
    pub(crate) predicate: Option<Predicate>,
    env: Env,
    schema: TableSchema,
}

pub(crate) fn span() -> Span {
    Span::new(SourceId(0), 0, 1)
}

impl Table {
    pub(crate) fn new(port: u16, database: &str, env: Env, columns: &[(&str, SqlType)], key: &[usize]) -> Self {
        let column = |(name, ty): &(&str, SqlType)| Column {
            name: (*name).into(),
            ty: ty.clone(),
            kind: ColumnKind::Physical,
            span: span(),
        };
        let options = [
            ("hostname", "127.0.0.1".to_owned()),
            ("port", port.to_string()),
            ("database-name", database.to_owned()),
            ("table-name", "t".to_owned()),
            ("username", "dflow".to_owned()),
            ("password", "dflow".to_owned()),
        ];
        Self {
            options: options.into_iter().map(|(k, v)| (k.into(), v)).collect(),
            time_zone: "UTC",
            predicate: None,
            env,
            schema: TableSchema {
                columns: columns.iter().map(column).collect(),
                primary_key: key.to_vec(),
                partition_keys: vec![],
            },
        }
    }

    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.options.insert(key.into(), value.into());
        self
    }

    pub(crate) fn request(&self) -> TableRequest {
        let option = |(k, v): (&String, &String)| RawOption {
            key: k.clone(),
            key_span: span(),
            value: OptionText::Plain(v.clone()),
            value_span: span(),
        };
        TableRequest {
            name: "default_catalog.default_database.t".into(),
            schema: self.schema.clone(),
            projection: (0..self.schema.columns.len()).collect(),
            masks: Vec::new(),
            predicate: None,
            options: self.options.iter().map(option).collect(),
            span: span(),
            base_dir: ".".into(),
            time_zone: self.time_zone.into(),
            job: "job".into(),
            env: self.env.clone(),
            metrics: Metrics::new(),
            formats: Arc::new(BTreeMap::new()),
        }
    }

    pub(crate) fn connector(&self) -> &'static str {
        if self.options.contains_key("url") { "jdbc" } else { "mysql" }
    }

    pub(crate) fn try_sink(&self) -> Result<Arc<dyn Sink>, Vec<Error>> {
        registry().get(self.connector(), span()).unwrap().sink(&self.request())
    }

    pub(crate) fn sink(&self) -> Arc<dyn Sink> {
        self.try_sink().unwrap()
    }

    pub(crate) fn try_source(&self, projection: Option<&[usize]>) -> Result<Arc<dyn Source>, Vec<Error>> {
        let mut request = self.request();
        request.predicate = self.predicate.clone();
        if let Some(projection) = projection {
            request.projection = projection.to_vec();
        }
        registry().get(self.connector(), span()).unwrap().source(&request)
    }

    /// All rows, sorted by their text.
    pub(crate) async fn read(&self) -> Result<Vec<String>> {
        let mut all: Vec<String> = self.read_batches().await?.iter().flat_map(rows).collect();
        all.sort();
        Ok(all)
    }

    pub(crate) async fn read_batches(&self) -> Result<Vec<ChangeBatch>> {
        let source = self.try_source(None).unwrap();
        let context =
            SourceContext { job: "job".into(), parallelism: 1, env: self.env.clone(), metrics: Metrics::new() };
        let mut enumerator = source.enumerator(&context, None)?;
        let mut reader = source.reader(&ReaderContext { source: context, subtask: 0 })?;
        loop {
            match enumerator.next().await? {
                EnumeratorEvent::Assign(splits) => reader.add_splits(splits)?,
                EnumeratorEvent::Revoke(_) => {}
                EnumeratorEvent::NoMoreSplits => break,
            }
        }
        reader.no_more_splits();
        let mut all = Vec::new();
        loop {
            match reader.next().await? {
                ReaderEvent::Batch { batch, .. } => all.push(batch),
                ReaderEvent::End => return Ok(all),
                ReaderEvent::SplitFinished(_) | ReaderEvent::Message(_) => {}
            }
        }
    }

    /// A writer and, where there is one, the committer.
    pub(crate) async fn write(&self) -> Result<Writing> {
        Writing::open(&*self.sink(), &self.env).await
    }
}

pub(crate) fn registry() -> ConnectorRegistry {
    let mut registry = ConnectorRegistry::new();
    dflow_connector_mysql::register(&mut registry);
    registry
}

/// A sink at work, one checkpoint after the other.
pub(crate) struct Writing {
    pub(crate) writer: Box<dyn Writer>,
    pub(crate) committer: Option<Box<dyn Committer>>,
    epoch: Epoch,
}

impl Writing {
    async fn open(sink: &dyn Sink, env: &Env) -> Result<Writing> {
        let (stage, metrics) = (Arc::new(MemoryStage::new()), Metrics::new());
        let mut committer = sink.committer(&CommitterContext {
            job: "job".into(),
            owner: "owner".into(),
            sink: "sink".into(),
            env: env.clone(),
            metrics: metrics.clone(),
            stage: stage.clone(),
        })?;
        if let Some(committer) = &mut committer {
            committer.recover(Epoch(0), vec![]).await?;
        }
        let writer = sink.writer(&WriterContext {
            job: "job".into(),
            owner: "owner".into(),
            sink: "sink".into(),
            subtask: 0,
            parallelism: 1,
            restored: Epoch(0),
            env: env.clone(),
            metrics,
            stage,
        })?;
        Ok(Writing { writer, committer, epoch: Epoch(0) })
    }

    pub(crate) async fn checkpoint(&mut self) -> Result<()> {
        self.epoch = self.epoch.next();
        let prepared = self.writer.prepare(self.epoch).await?;
        match &mut self.committer {
            Some(committer) => committer.commit(self.epoch, prepared).await,
            None => Ok(()),
        }
    }

    pub(crate) async fn all(&mut self, batch: ChangeBatch) -> Result<()> {
        self.writer.write(batch).await?;
        self.checkpoint().await
    }
}
