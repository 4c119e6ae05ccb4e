//! Where a server is and how to speak to it.

use std::path::PathBuf;
use std::time::Duration;

use dflow_common::Secret;
use dflow_connector_api::{Error, Options, TableRequest};
use dflow_connector_jdbc::error::BAD_URL;
use dflow_connector_jdbc::url::JdbcUrl;
use mysql_async::{Opts, OptsBuilder, SslOpts};

/// The port of a server whose URL names none.
pub const PORT: u16 = 3306;
/// Bytes of one packet at most, on any server.
const PACKET_BYTES_MAX: usize = 1 << 30;
/// How long a statement may go without an answer, unless `socketTimeout` says otherwise: silence must end.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
/// How long opening a connection may take, unless `connectTimeout` says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Connector/J's `sslMode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Never.
    Disabled,
    /// When the server offers it; whoever answers is trusted.
    Preferred,
    /// Always; whoever answers is trusted.
    Required,
    /// Always, with a certificate of a known CA.
    VerifyCa,
    /// Always, with a certificate of a known CA for this host.
    VerifyIdentity,
}

/// How dates that are no dates (`0000-00-00`) read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroDates {
    /// As an error.
    Error,
    /// As NULL.
    Null,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The database that names refer to.
    pub database: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// Whether connections are encrypted.
    pub tls: Tls,
    /// The certificate of a CA (PEM) beside the well-known ones.
    pub ca: Option<PathBuf>,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// How long a statement may go without an answer; `None` for ever.
    pub answer_timeout: Option<Duration>,
    /// How dates that are no dates read.
    pub zero_dates: ZeroDates,
}

/// Properties of Connector/J that change nothing here: how it talks, caches and logs.
const WITHOUT_EFFECT: &[&str] = &[
    "allowMultiQueries",
    "allowPublicKeyRetrieval",
    "autoReconnect",
    "cachePrepStmts",
    "characterEncoding",
    "connectionCollation",
    "defaultFetchSize",
    "maxReconnects",
    "failOverReadOnly",
    "nullCatalogMeansCurrent",
    "prepStmtCacheSize",
    "prepStmtCacheSqlLimit",
    "rewriteBatchedStatements",
    "tcpKeepAlive",
    "tinyInt1isBit",
    "useCompression",
    "useCursorFetch",
    "useLocalSessionState",
    "useOldAliasMetadataBehavior",
    "useServerPrepStmts",
    "useUnicode",
];

impl Endpoint {
    /// A server without credentials and properties.
    pub fn new(host: &str, port: u16) -> Endpoint {
        Endpoint {
            host: host.into(),
            port,
            database: None,
            user: None,
            password: None,
            tls: Tls::Preferred,
            ca: None,
            connect_timeout: CONNECT_TIMEOUT,
            answer_timeout: Some(ANSWER_TIMEOUT),
            zero_dates: ZeroDates::Error,
        }
    }

    /// From checked options: `url`, or `hostname`, `port` and `database-name`; then `username`, `password` and `properties.*`.
    /// Adds what is wrong to `errors`.
    pub fn read(options: &Options, request: &TableRequest, errors: &mut Vec<Error>) -> Option<Endpoint> {
        let before = errors.len();
        let (mut endpoint, mut properties) = match options.text("url") {
            Some(text) => match JdbcUrl::parse(text) {
                Ok(url) if matches!(url.scheme.as_str(), "mysql" | "mariadb") => {
                    let mut endpoint = Endpoint::new(&url.host, url.port.unwrap_or(PORT));
                    endpoint.database = url.database;
                    (endpoint, url.properties.into_iter().map(|(k, v)| (k, v, "url")).collect::<Vec<_>>())
                }
                Ok(url) => {
                    errors.push(bad_url(options, &format!("this build cannot connect to '{}'", url.scheme)));
                    return None;
                }
                Err(why) => {
                    errors.push(bad_url(options, &why.to_string()));
                    return None;
                }
            },
            None => {
                let port = options.int("port").and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0);
                if port.is_none() {
                    errors.push(options.invalid("port", "not a port from 1 to 65535"));
                }
                let mut endpoint = Endpoint::new(options.required("hostname"), port.unwrap_or(PORT));
                endpoint.database = options.text("database-name").map(Into::into);
                (endpoint, Vec::new())
            }
        };
        if endpoint.database.is_none() {
            errors.push(bad_url(options, "it names no database"));
        }
        properties.extend(options.matching("properties.#").map(|(k, v)| (k.into(), v.into(), "properties")));
        for (key, value, option) in &properties {
            if let Err(why) = endpoint.property(key, value, request) {
                let e = Error::new(BAD_URL, format!("connection property '{key}': {why}"));
                let span =
                    if *option == "url" { options.span("url") } else { options.span(&format!("properties.{key}")) };
                errors.push(e.at(span.unwrap_or(request.span), ""));
            }
        }
        endpoint.user = options.text("username").map(Into::into);
        endpoint.password = options.secret("password");
        (errors.len() == before).then_some(endpoint)
    }

    /// Takes a connection property of Connector/J.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub(crate) fn property(&mut self, key: &str, value: &str, request: &TableRequest) -> Result<(), String> {
        let is_true = value.eq_ignore_ascii_case("true");
        let millis = || value.parse().map(Duration::from_millis).map_err(|_| "not a number of milliseconds".to_owned());
        match key {
            "sslMode" => {
                self.tls = match value.to_ascii_uppercase().as_str() {
                    "DISABLED" => Tls::Disabled,
                    "PREFERRED" => Tls::Preferred,
                    "REQUIRED" => Tls::Required,
                    "VERIFY_CA" => Tls::VerifyCa,
                    "VERIFY_IDENTITY" => Tls::VerifyIdentity,
                    _ => return Err("not one of DISABLED, PREFERRED, REQUIRED, VERIFY_CA, VERIFY_IDENTITY".into()),
                }
            }
            "useSSL" if !is_true => self.tls = Tls::Disabled,
            "useSSL" if self.tls == Tls::Disabled => self.tls = Tls::Preferred,
            "requireSSL" if is_true => self.tls = Tls::Required,
            "verifyServerCertificate" if is_true => self.tls = Tls::VerifyCa,
            "useSSL" | "requireSSL" | "verifyServerCertificate" => {}
            "sslCa" | "serverSslCert" => self.ca = Some(request.base_dir.join(value)),
            "connectTimeout" => {
                self.connect_timeout = Some(millis()?).filter(|d| !d.is_zero()).unwrap_or(CONNECT_TIMEOUT)
            }
            "socketTimeout" => self.answer_timeout = Some(millis()?).filter(|d| !d.is_zero()),
            "zeroDateTimeBehavior" => {
                self.zero_dates = match value.to_ascii_uppercase().replace('_', "").as_str() {
                    "EXCEPTION" => ZeroDates::Error,
                    "CONVERTTONULL" => ZeroDates::Null,
                    _ => return Err("not one of EXCEPTION, CONVERT_TO_NULL".into()),
                }
            }
            "serverTimezone" | "connectionTimeZone" => {
                if value != request.time_zone && !matches!(value, "LOCAL" | "SERVER") {
                    return Err(format!(
                        "times are read and written in the session's zone {}; write SET 'table.local-time-zone' = '{value}'",
                        request.time_zone
                    ));
                }
            }
            "user" | "password" => return Err("give it as the option 'username' or 'password' of its own".into()),
            key if WITHOUT_EFFECT.contains(&key) => {}
            _ => return Err("not known".into()),
        }
        Ok(())
    }

    /// `host:port`, for messages.
    pub fn shown(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Options of the client, with or without TLS.
    pub(crate) fn client_options(&self, is_encrypted: bool) -> Opts {
        let mut options = OptsBuilder::default()
            .ip_or_hostname(self.host.clone())
            .tcp_port(self.port)
            .user(self.user.clone())
            .pass(self.password.as_ref().map(|p| p.expose().to_owned()))
            .db_name(self.database.clone())
            .prefer_socket(false)
            .tcp_keepalive(Some(Duration::from_secs(30)))
            // What a server may send is its own business: the largest packet there is.
            .max_allowed_packet(Some(PACKET_BYTES_MAX))
            // Statements are kept by who prepares them.
            .stmt_cache_size(0);
        if is_encrypted {
            let trusts_anybody = matches!(self.tls, Tls::Preferred | Tls::Required);
            let ca = self.ca.iter().map(|p| p.clone().into()).collect();
            options = options.ssl_opts(
                SslOpts::default()
                    .with_root_certs(ca)
                    .with_danger_accept_invalid_certs(trusts_anybody)
                    .with_danger_skip_domain_validation(self.tls != Tls::VerifyIdentity),
            );
        }
        options.into()
    }
}

fn bad_url(options: &Options, why: &str) -> Error {
    let key = if options.text("url").is_some() { "url" } else { "database-name" };
    let e = Error::new(BAD_URL, format!("option '{key}': {why}")).help("write jdbc:mysql://host:3306/database");
    match options.span(key) {
        Some(span) => e.at(span, ""),
        None => e,
    }
}
