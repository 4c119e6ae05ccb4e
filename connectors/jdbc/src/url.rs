//! JDBC URLs.
//!
//! ```text
//! jdbc:mysql://db.example:3306/shop?sslMode=REQUIRED&connectTimeout=5000
//!      ─────   ────────── ──── ────  ───────────────────────────────────
//!      scheme  host       port database      properties
//! ```

use std::fmt;

/// The parts of a JDBC URL, percent signs decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JdbcUrl {
    /// What stands behind `jdbc:`, in lower case.
    pub scheme: String,
    /// Name or address, IPv6 without brackets.
    pub host: String,
    /// The port, when given.
    pub port: Option<u16>,
    /// The path, when given.
    pub database: Option<String>,
    /// What stands behind the question mark, in order.
    pub properties: Vec<(String, String)>,
}

/// Why a text is no URL we can use. Never quotes the text: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// It does not start with `jdbc:<system>://`.
    NotJdbc,
    /// No host.
    NoHost,
    /// The port is not a number from 1 to 65535.
    BadPort,
    /// Several hosts.
    ManyHosts,
    /// `user:password@host`.
    Credentials,
    /// A percent sign without two digits, or what it decodes to is not UTF-8.
    BadEscape,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UrlError::NotJdbc => "it does not look like jdbc:mysql://host:3306/database",
            UrlError::NoHost => "it names no host",
            UrlError::BadPort => "the port is not a number from 1 to 65535",
            UrlError::ManyHosts => "it names several hosts, which is not supported",
            UrlError::Credentials => "it holds user and password, and would be shown in plans and logs",
            UrlError::BadEscape => "a percent sign is not followed by two hexadecimal digits of UTF-8 text",
        })
    }
}

impl JdbcUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// See [`UrlError`].
    pub fn parse(text: &str) -> Result<JdbcUrl, UrlError> {
        let rest = strip_prefix_ignore_case(text.trim(), "jdbc:").ok_or(UrlError::NotJdbc)?;
        let (scheme, rest) = rest.split_once("://").ok_or(UrlError::NotJdbc)?;
        if scheme.is_empty() || !scheme.chars().all(|c| c.is_ascii_alphanumeric() || c == '+') {
            return Err(UrlError::NotJdbc);
        }
        let (place, query) = rest.split_once('?').map_or((rest, None), |(p, q)| (p, Some(q)));
        let (authority, path) = place.split_once('/').map_or((place, None), |(a, p)| (a, Some(p)));
        if authority.contains('@') {
            return Err(UrlError::Credentials);
        }
        if authority.contains(',') || authority.starts_with('(') || authority.starts_with("address=") {
            return Err(UrlError::ManyHosts);
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, after) = v6.split_once(']').ok_or(UrlError::NoHost)?;
                (host, after.strip_prefix(':'))
            }
            None => authority.split_once(':').map_or((authority, None), |(h, p)| (h, Some(p))),
        };
        if host.is_empty() {
            return Err(UrlError::NoHost);
        }
        let port = match port {
            None => None,
            Some(p) => Some(p.parse().ok().filter(|p| *p > 0).ok_or(UrlError::BadPort)?),
        };
        let database = match path {
            None | Some("") => None,
            Some(path) => Some(decode(path, false)?),
        };
        let properties = query
            .into_iter()
            .flat_map(|q| q.split('&'))
            .filter(|p| !p.is_empty())
            .map(|p| {
                let (key, value) = p.split_once('=').unwrap_or((p, ""));
                Ok((decode(key, true)?, decode(value, true)?))
            })
            .collect::<Result<_, UrlError>>()?;
        Ok(JdbcUrl { scheme: scheme.to_ascii_lowercase(), host: host.to_owned(), port, database, properties })
    }
}

fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

fn decode(text: &str, plus_is_space: bool) -> Result<String, UrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(b) = rest.next() {
        bytes.push(match b {
            b'%' => {
                let mut digit = || rest.next().and_then(|d| char::from(d).to_digit(16)).ok_or(UrlError::BadEscape);
                (digit()? * 16 + digit()?) as u8
            }
            b'+' if plus_is_space => b' ',
            b => b,
        });
    }
    String::from_utf8(bytes).map_err(|_| UrlError::BadEscape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(host: &str, port: Option<u16>, database: Option<&str>, properties: &[(&str, &str)]) -> JdbcUrl {
        JdbcUrl {
            scheme: "mysql".into(),
            host: host.into(),
            port,
            database: database.map(Into::into),
            properties: properties.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        }
    }

    #[test]
    fn a_url_has_host_port_database_and_properties() {
        let full = JdbcUrl::parse("JDBC:MySQL://h:3307/shop?a=1&b=x%20y+z&&c").unwrap();
        assert_eq!(full, url("h", Some(3307), Some("shop"), &[("a", "1"), ("b", "x y z"), ("c", "")]));
        assert_eq!(JdbcUrl::parse(" jdbc:mysql://h ").unwrap(), url("h", None, None, &[]));
        assert_eq!(JdbcUrl::parse("jdbc:mysql://h/").unwrap(), url("h", None, None, &[]));
        let v6 = JdbcUrl::parse("jdbc:mysql://[::1]:3306/d%C3%BC").unwrap();
        assert_eq!(v6, url("::1", Some(3306), Some("dü"), &[]));
    }

    #[test]
    fn what_is_no_url_is_said_without_quoting_it() {
        for (text, why) in [
            ("mysql://h/d", UrlError::NotJdbc),
            ("jdbc:mysql:h", UrlError::NotJdbc),
            ("jdbc:ü://h", UrlError::NotJdbc),
            ("jdbc:mysql:///d", UrlError::NoHost),
            ("jdbc:mysql://:3306/d", UrlError::NoHost),
            ("jdbc:mysql://h:0/d", UrlError::BadPort),
            ("jdbc:mysql://h:65536/d", UrlError::BadPort),
            ("jdbc:mysql://a,b:1/d", UrlError::ManyHosts),
            ("jdbc:mysql://u:hunter2@h/d", UrlError::Credentials),
            ("jdbc:mysql://h/d?a=%zz", UrlError::BadEscape),
            ("jdbc:mysql://h/d?a=%f", UrlError::BadEscape),
            ("jdbc:mysql://h/%ff", UrlError::BadEscape),
        ] {
            assert_eq!(JdbcUrl::parse(text), Err(why), "{text}");
            assert!(!why.to_string().contains("hunter2"));
        }
    }
}
