//! Which database to use.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use sqlx::ConnectOptions as _;
use sqlx::any::AnyConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use super::Kind;

/// The database's file in the data directory.
pub(super) const FILE: &str = "accounts.db";

/// The URL of a database, `postgres://…` or `sqlite://…`. It may hold a password, so formatting it
/// shows nothing but its scheme.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

/// A URL of no database that is supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a database's URL begins with postgres:// or sqlite://")]
pub struct InvalidDatabaseUrl;

impl DatabaseUrl {
    /// The URL itself, for whoever connects.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub(super) fn options(&self) -> Result<(Kind, AnyConnectOptions), sqlx::Error> {
        let kind = kind(&self.0)
            .ok_or_else(|| sqlx::Error::Configuration(Box::new(InvalidDatabaseUrl)))?;
        let options = self.0.parse::<AnyConnectOptions>()?;
        Ok((kind, options))
    }
}

impl FromStr for DatabaseUrl {
    type Err = InvalidDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidDatabaseUrl> {
        kind(text).ok_or(InvalidDatabaseUrl)?;
        Ok(Self(text.into()))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.split(':').next().unwrap_or_default();
        write!(f, "{scheme}://…")
    }
}

fn kind(url: &str) -> Option<Kind> {
    match url.split_once("://")?.0 {
        "sqlite" => Some(Kind::Sqlite),
        "postgres" | "postgresql" => Some(Kind::Postgres),
        _ => None,
    }
}

/// The file of that absolute path, made where there is none.
pub(super) fn of_file(file: &Path) -> Result<AnyConnectOptions, sqlx::Error> {
    let url = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .to_url_lossy();
    AnyConnectOptions::from_url(&url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_shows_no_password() {
        let url: DatabaseUrl = "postgres://bazaar:sesame@db/accounts".parse().unwrap();
        assert!(!format!("{url:?}").contains("sesame"));
        assert!(url.expose().contains("sesame"));
        for bad in ["", "accounts.db", "mysql://host/db"] {
            bad.parse::<DatabaseUrl>().unwrap_err();
        }
    }
}
