//! Small words for tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dflow_common::env::{Env, Spawner};
use dflow_common::metrics::Metrics;
use dflow_common::{Code, Diagnostic, SourceId, Span, SqlType};
use dflow_connector_api::{
    Column, ColumnKind, Error, OptionText, Options, OutputSchema, RawOption, SourceChangelog, TableRequest, TableSchema,
};
use dflow_connector_mysql::binlog::assembler::{Assembler, Outcome, Router};
use dflow_connector_mysql::binlog::position::{Point, Position};
use dflow_connector_mysql::binlog::rows::Wanted;
use dflow_connector_mysql::cdc::error::LOG_WITHOUT_NAMES;
use dflow_connector_mysql::cdc::log::LogOptions;
use dflow_connector_mysql::cdc::options::{CdcOptions, OPTIONS, TableFilter};
use dflow_connector_mysql::cdc::preflight::{Beginning, Captured, preflight};
use dflow_connector_mysql::cdc::reader::LogReader;
use dflow_connector_mysql::cdc::{catalog, columns};
use dflow_connector_mysql::client::{Endpoint, Session, connect};
use dflow_test_servers::Server;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};

use crate::recorded::{declared, lines, text};

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

    /// On a server of this test alone.
    pub(crate) async fn own(kind: &'static str, arguments: &'static [&str], gtid: &'static str) -> Option<Database> {
        let start = move || Server::own_with(kind, arguments, &[("MYSQL_GTID", gtid)]);
        let server = tokio::task::spawn_blocking(start).await.unwrap()?;
        Some(Self::of(server.into()).await)
    }

    async fn of(server: Arc<Server>) -> Database {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("c_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let database = Database { server, name, env: Env::production(Spawner::current()) };
        database.run(&format!("CREATE DATABASE {} CHARACTER SET utf8mb4", database.name)).await;
        database
    }

    pub(crate) fn is_mysql(&self) -> bool {
        self.server.kind() == "mysql"
    }

    /// A connection of the administrator, with this database once it is there.
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

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.conn().await.query_first(sql).await.unwrap().unwrap()
    }

    /// Removes the files of the log before this one, once nobody reads them any more.
    pub(crate) async fn purge_to(&self, file: &str) {
        for _ in 0..40 {
            self.run(&format!("PURGE BINARY LOGS TO '{file}'")).await;
            let first: Option<mysql_async::Row> = self.conn().await.query_first("SHOW BINARY LOGS").await.unwrap();
            if first.and_then(|row| row.get::<String, _>(0)).as_deref() == Some(file) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        panic!("the files before {file} stay");
    }

    /// A session of dflow's.
    pub(crate) async fn session(&self) -> Session {
        let mut endpoint = Endpoint::new("127.0.0.1", self.server.port());
        endpoint.user = Some("root".into());
        connect(&self.env, &endpoint, "t", Duration::from_secs(5)).await.unwrap()
    }

    /// `database-name` is this one, `table-name` is `t`, and the user an administrator, unless given.
    pub(crate) fn table(&self, columns: &[(&str, SqlType)], given: &[(&str, &str)]) -> Table {
        let port = self.server.port().to_string();
        let mut options: BTreeMap<String, String> = [
            ("hostname", "127.0.0.1"),
            ("port", &port),
            ("username", "root"),
            ("password", ""),
            ("database-name", &self.name),
            ("table-name", "t"),
            ("connect.max-retries", "0"),
        ]
        .iter()
        .chain(given)
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
        options.remove("");
        Table::new(self.env.clone(), columns, &options)
    }

    pub(crate) fn options(&self, given: &[(&str, &str)]) -> CdcOptions {
        self.table(&[], given).options
    }

    pub(crate) async fn tables(&self, pattern: &str) -> Vec<catalog::TableInfo> {
        let mut session = self.session().await;
        let options = self.options(&[]);
        let filter = TableFilter::new(&self.name, pattern).unwrap();
        catalog::list(&mut session, &options.endpoint, &filter).await.unwrap()
    }

    pub(crate) fn reader(&self, from: Point, server_id: u32) -> LogReader<OnlyTable> {
        self.reader_at(Position::new("s", from), server_id)
    }

    fn reader_at(&self, at: Position, server_id: u32) -> LogReader<OnlyTable> {
        let outputs = vec![declared(&[text("id")], false)];
        let log = Assembler::new(at, outputs, OnlyTable(self.name.clone()));
        let options = LogOptions { server_id, heartbeat: Duration::from_millis(500) };
        LogReader::new(self.env.clone(), self.options(&[]).endpoint, options, log)
    }

    /// The first column of the rows that are inserted into `t (id INT PRIMARY KEY)` behind a position; a little longer than
    /// until there are `n`, in case there are more.
    pub(crate) async fn ids(&self, at: Position, n: usize) -> Vec<String> {
        let options = self.options(&[]);
        let mut reader = self.reader_at(at, options.server_id(0, &self.env));
        let mut session = self.session().await;
        let mut out = Vec::new();
        let mut end = Instant::now() + Duration::from_secs(if n == 0 { 1 } else { 30 });
        while let Ok(outcome) = tokio::time::timeout_at(end.into(), reader.advance()).await {
            if let Outcome::NeedsCatalog { database, table } = outcome.unwrap() {
                let found = catalog::find(&mut session, &options.endpoint, &database, &table).await.unwrap().unwrap();
                reader.assembler().add_catalog(database, table, found.for_log());
            }
            if let Some(batch) = reader.assembler().finish(0).unwrap() {
                out.extend(lines(&batch).into_iter().map(|(_, row)| row[0].clone()));
                if out.len() >= n {
                    end = end.min(Instant::now() + Duration::from_millis(700));
                }
            }
        }
        out
    }
}

pub(crate) struct OnlyTable(pub(crate) String);

impl Router for OnlyTable {
    fn route(&mut self, database: &str, table: &str) -> Vec<usize> {
        if database == self.0 && table == "t" { vec![0] } else { Vec::new() }
    }
}

/// A table as a script would declare it.
pub(crate) struct Table {
    pub(crate) options: CdcOptions,
    pub(crate) output: OutputSchema,
    pub(crate) wanted: Vec<Wanted>,
    env: Env,
}

impl Table {
    fn new(env: Env, columns: &[(&str, SqlType)], options: &BTreeMap<String, String>) -> Table {
        let column = |(i, (name, ty)): (usize, &(&str, SqlType))| Column {
            name: (*name).into(),
            ty: ty.clone(),
            kind: ColumnKind::Physical,
            span: Span::new(SourceId(0), i, i + 1),
        };
        let span = Span::new(SourceId(0), 900, 901);
        let raw = |(k, v): (&String, &String)| RawOption {
            key: k.clone(),
            key_span: span,
            value: OptionText::Plain(v.clone()),
            value_span: span,
        };
        let request = TableRequest {
            name: "default_catalog.default_database.t".into(),
            schema: TableSchema {
                columns: columns.iter().enumerate().map(column).collect(),
                primary_key: vec![],
                partition_keys: vec![],
            },
            projection: (0..columns.len()).collect(),
            masks: Vec::new(),
            predicate: None,
            options: options.iter().map(raw).collect(),
            span,
            base_dir: ".".into(),
            time_zone: "UTC".into(),
            job: "job".into(),
            env: env.clone(),
            metrics: Metrics::new(),
            formats: Arc::new(BTreeMap::new()),
        };
        let checked = Options::check("connector 'mysql-cdc'", OPTIONS, &request.options, span).unwrap();
        let mut errors: Vec<Error> = Vec::new();
        let read = CdcOptions::read(&checked, &request, &mut errors);
        let wanted = columns::wanted(&request, &mut errors);
        assert!(errors.is_empty(), "{errors:?}");
        let output = OutputSchema {
            table: request.name.clone(),
            schema: request.schema.clone(),
            projection: request.projection.clone(),
            predicate: None,
            changelog: SourceChangelog::Retract,
        };
        Table { options: read.unwrap(), output, wanted, env }
    }

    pub(crate) async fn preflight(&self, at: Option<&Position>) -> Vec<Diagnostic> {
        let span = Span::new(SourceId(0), 900, 901);
        let captured = Captured { options: &self.options, output: &self.output, wanted: &self.wanted, span };
        preflight(&self.env, &[captured], at.map_or(Beginning::Script, Beginning::At)).await
    }

    /// Codes of what a preflight says, and what it advises; but not what it says of a server as it comes, whose log has no
    /// names of columns.
    pub(crate) async fn told(&self) -> (Vec<Code>, Vec<String>) {
        let mut found = self.preflight(None).await;
        found.retain(|d| d.code != LOG_WITHOUT_NAMES.code);
        for d in &found {
            assert!(!d.help.is_empty() && d.span().is_some(), "a place and a way out: {d}");
        }
        (found.iter().map(|d| d.code).collect(), found.into_iter().flat_map(|d| d.help).collect())
    }
}
