//! `'connector' = 'jdbc'` and `'connector' = 'mysql'`: the same tables, by URL or by host and port; `'mysql-cdc'`: their changes.

use std::sync::Arc;

use dflow_connector_api::{
    ConnectorFactory, ConnectorRegistry, ConnectorSpec, Error, OptionSpec, OptionType, Options, Roles, Sink, Source,
    TableRequest,
};
use dflow_connector_jdbc::options::{TABLE, URL, join};

use crate::cdc::options::OPTIONS;
use crate::{cdc, scan, sink};

/// Where the server is, without a URL.
const HOST: &[OptionSpec] = &[
    OptionSpec::new("hostname", OptionType::Text, "The server's name or address.").required().identity(),
    OptionSpec::new("port", OptionType::Int, "Its port.").default("3306").identity(),
    OptionSpec::new("database-name", OptionType::Text, "The database of the table.").required().identity(),
];

const JDBC_OPTIONS: &[OptionSpec] = &join::<{ URL.len() + TABLE.len() }>([URL, TABLE]);
const MYSQL_OPTIONS: &[OptionSpec] = &join::<{ HOST.len() + TABLE.len() }>([HOST, TABLE]);

const GUARANTEES: &[&str] = &[
    "source: the rows of the table, once; a restart goes on behind the last row, exactly as long as the table does not change",
    "sink with a primary key: at least once by default, and a replay converges to the same rows; exactly once with 'sink.delivery-guarantee' = 'exactly-once'",
    "sink without a primary key: appends, at least once by default; exactly once with 'sink.delivery-guarantee' = 'exactly-once'",
    "exactly once: rows appear after their checkpoint, in transactions of at most 8192 rows or so, each with a row of the table `dflow_commits`",
    "a value that the column cannot keep exactly is an error",
];

static JDBC: ConnectorSpec = ConnectorSpec {
    name: "jdbc",
    summary: "Tables of MySQL and MariaDB by JDBC URL, with the options of Flink's connector.",
    roles: Roles { source: true, sink: true, lookup: false },
    options: JDBC_OPTIONS,
    takes_format: false,
    guarantees: GUARANTEES,
};

static MYSQL: ConnectorSpec = ConnectorSpec {
    name: "mysql",
    summary: "Tables of MySQL and MariaDB by host and port.",
    roles: Roles { source: true, sink: true, lookup: false },
    options: MYSQL_OPTIONS,
    takes_format: false,
    guarantees: GUARANTEES,
};

static MYSQL_CDC: ConnectorSpec = ConnectorSpec {
    name: "mysql-cdc",
    summary: "Tables of MySQL and MariaDB and every change of them, with the options of Flink CDC.",
    roles: Roles { source: true, sink: false, lookup: false },
    options: OPTIONS,
    takes_format: false,
    guarantees: &[
        "every row and every change exactly once: tables in chunks without locks, then the binary log, without a gap between them",
        "tables of engines without transactions (MyISAM): a change made while a chunk is read may come twice",
        "MySQL without global transaction ids: the seam between a table and its log rests on a pause of a second",
        "a restart goes on at the exact change, inside of a transaction too; a log that was purged meanwhile is an error",
        "a value reads the same from the table and from the log; one that the declared type cannot hold exactly is an error",
    ],
};

/// Changes of tables.
struct Changes;

impl ConnectorFactory for Changes {
    fn spec(&self) -> &'static ConnectorSpec {
        &MYSQL_CDC
    }

    fn source(&self, request: &TableRequest) -> Result<Arc<dyn Source>, Vec<Error>> {
        let checked = Options::check("connector 'mysql-cdc'", OPTIONS, &request.options, request.span)?;
        cdc::source::open(request, &checked)
    }
}

/// Tables of MySQL and MariaDB, under one of two names.
struct Tables(&'static ConnectorSpec);

impl Tables {
    fn check(&self, request: &TableRequest) -> Result<Options, Vec<Error>> {
        Options::check(&format!("connector '{}'", self.0.name), self.0.options, &request.options, request.span)
    }
}

impl ConnectorFactory for Tables {
    fn spec(&self) -> &'static ConnectorSpec {
        self.0
    }

    fn source(&self, request: &TableRequest) -> Result<Arc<dyn Source>, Vec<Error>> {
        scan::open(request, &self.check(request)?)
    }

    fn sink(&self, request: &TableRequest) -> Result<Arc<dyn Sink>, Vec<Error>> {
        sink::open(request, &self.check(request)?)
    }
}

/// Adds the connectors.
pub fn register(registry: &mut ConnectorRegistry) {
    registry.connector(Arc::new(Tables(&JDBC))).connector(Arc::new(Tables(&MYSQL))).connector(Arc::new(Changes));
}
