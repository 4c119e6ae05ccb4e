//! A string that cannot be printed.

use secrecy::{ExposeSecret, SecretString};

/// A password, token or key. `Debug` and `Display` print `***`; it does not serialise.
///
/// The only way to the text is [`Secret::expose`], so that a search for it lists every use.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes the text over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The text, for the one call that needs it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// What the key of a password, token or key contains: Flink's list.
const SENSITIVE: &[&str] = &[
    "password",
    "secret",
    "fs.azure.account.key",
    "apikey",
    "api-key",
    "auth-params",
    "service-key",
    "token",
    "basic-auth",
    "jaas.config",
    "http-headers",
];

/// Whether the value of an option or setting with this key must not be shown, whoever declares it or nobody.
pub fn is_sensitive(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SENSITIVE.iter().any(|s| key.contains(s))
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl std::fmt::Display for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_look_secret_are() {
        for key in ["password", "Db.PassWord", "secret.key", "properties.sasl.jaas.config", "fs.azure.account.key.x"] {
            assert!(is_sensitive(key), "{key}");
        }
        for key in ["connector", "path", "csv.map-null-key.literal", "key.format", "topic"] {
            assert!(!is_sensitive(key), "{key}");
        }
    }

    #[test]
    fn printing_shows_stars_only() {
        let s = Secret::new("hunter2");
        assert_eq!(format!("{s} {s:?}"), "*** ***");
        assert_eq!(s.expose(), "hunter2");
    }
}
