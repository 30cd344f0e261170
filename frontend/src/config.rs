//! The frontend's flags.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::str::FromStr;

use axum::http::{HeaderValue, Uri};
use bazaar_daemon::Flags;

/// Serves the shops over HTTP, with a cache of items.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// The flags that every service has.
    #[command(flatten)]
    pub flags: Flags,

    /// Where to serve HTTP; port 0 lets the kernel choose.
    #[arg(
        long,
        value_name = "ADDR",
        env = "BAZAAR_HTTP",
        default_value = "127.0.0.1:8080"
    )]
    pub http: SocketAddr,

    /// Whether items are cached.
    #[arg(long, value_name = "ON|OFF", default_value = "on")]
    pub cache: Switch,

    /// The most items to cache.
    #[arg(long, value_name = "N", default_value = "10000")]
    pub cache_items: NonZeroU32,

    /// What requests pass before they are handled.
    #[command(flatten)]
    pub edge: EdgeFlags,
}

impl AsRef<Flags> for Config {
    fn as_ref(&self) -> &Flags {
        &self.flags
    }
}

/// What requests pass before they are handled. By default, nothing.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct EdgeFlags {
    /// The most requests a second from one address, in the long run; without it there is no limit.
    /// Not for a frontend behind a proxy, where all requests come from one address.
    #[arg(long, value_name = "PER_SECOND")]
    pub rate_limit: Option<NonZeroU32>,

    /// The most requests at once from one address; by default, as many as in a second.
    #[arg(long, value_name = "N", requires = "rate_limit")]
    pub rate_burst: Option<NonZeroU32>,

    /// An origin whose pages may use the interface, such as `https://shop.example`; may be given more
    /// than once. By default none but the frontend's own.
    #[arg(long = "cors-origin", value_name = "ORIGIN")]
    pub cors_origins: Vec<Origin>,
}

impl EdgeFlags {
    /// The command line that says the same.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let rate_limit = self
            .rate_limit
            .map(|limit| ("--rate-limit", limit.to_string()));
        let rate_burst = self
            .rate_burst
            .map(|burst| ("--rate-burst", burst.to_string()));
        let origin = |origin: &Origin| ("--cors-origin", origin.to_string());
        rate_limit
            .into_iter()
            .chain(rate_burst)
            .chain(self.cors_origins.iter().map(origin))
            .flat_map(|(flag, value)| [flag.to_owned(), value])
            .collect()
    }
}

/// Whether something is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    /// It is.
    On,
    /// It is not.
    Off,
}

/// The origin of a web page (RFC 6454), as browsers write it: scheme and host, and the port where it
/// is not the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// As it stands in a header.
    #[must_use]
    pub(crate) fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("it was a URI")
    }
}

/// What is not an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an origin is scheme://host or scheme://host:port, in lower case, with nothing after it")]
pub struct InvalidOrigin;

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let uri: Uri = text.parse().map_err(|_| InvalidOrigin)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(InvalidOrigin);
        };
        let own_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return Err(InvalidOrigin),
        };
        let as_browsers_write_it = text == format!("{scheme}://{authority}")
            && !authority.as_str().contains('@')
            && authority.port_u16() != Some(own_port)
            && !text.bytes().any(|byte| byte.is_ascii_uppercase());
        if as_browsers_write_it {
            Ok(Self(text.into()))
        } else {
            Err(InvalidOrigin)
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_browsers_send() {
        for origin in [
            "https://shop.example",
            "http://localhost:3000",
            "http://[::1]:8080",
        ] {
            assert_eq!(origin.parse::<Origin>().unwrap().to_string(), origin);
        }
        for bad in [
            "",
            "*",
            "null",
            "shop.example",
            "https://",
            "https://shop.example/",
            "https://shop.example/path",
            "https://shop.example?q",
            "https://user@shop.example",
            "https://Shop.example",
            "https://shop.example:443",
            "http://shop.example:80",
            "ftp://shop.example",
            "https://shop.example\n",
        ] {
            assert_eq!(bad.parse::<Origin>(), Err(InvalidOrigin), "{bad}");
        }
    }
}
