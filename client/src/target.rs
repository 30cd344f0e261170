//! Where a frontend listens, as a person writes it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use hyper::Uri;
use hyper::header::HeaderValue;
use serde::{Deserialize, Serialize};

/// The URL of a frontend: `http://host[:port]`, with nothing behind it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct BaseUrl {
    /// `host:port`, port 80 where none was given.
    address: Arc<str>,
}

/// Why a text is not the URL of a frontend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// Not a URI at all, or one without a host.
    #[error("`{0}` is not a URL such as http://127.0.0.1:8080")]
    Malformed(String),
    /// Another scheme.
    #[error("`{0}` does not begin with http://, the only scheme the client speaks")]
    Scheme(String),
    /// A path or a query behind the host.
    #[error("`{0}` has more than a host and a port")]
    Path(String),
}

impl BaseUrl {
    /// `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The value of the `Host` header.
    pub(crate) fn host(&self) -> HeaderValue {
        HeaderValue::from_str(&self.address).expect("an authority is a header value")
    }
}

impl FromStr for BaseUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let malformed = || InvalidUrl::Malformed(text.into());
        let uri: Uri = text.parse().map_err(|_invalid| malformed())?;
        match uri.scheme_str() {
            Some("http") => {}
            Some(_) => return Err(InvalidUrl::Scheme(text.into())),
            None => return Err(malformed()),
        }
        let authority = uri.authority().ok_or_else(malformed)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(malformed());
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(InvalidUrl::Path(text.into()));
        }
        // A colon behind the host that `port_u16` cannot read is a port out of range.
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str() == authority.host() => 80,
            None => return Err(malformed()),
        };
        Ok(Self {
            address: format!("{}:{port}", authority.host()).into(),
        })
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.address)
    }
}

impl From<BaseUrl> for String {
    fn from(url: BaseUrl) -> Self {
        url.to_string()
    }
}

impl TryFrom<String> for BaseUrl {
    type Error = InvalidUrl;

    fn try_from(text: String) -> Result<Self, InvalidUrl> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_hosts_with_and_without_a_port() {
        let address = |text: &str| text.parse::<BaseUrl>().unwrap().address().to_owned();
        assert_eq!(address("http://127.0.0.1:8080"), "127.0.0.1:8080");
        assert_eq!(address("http://bazaar.example/"), "bazaar.example:80");
        assert_eq!(address("http://[::1]:9000"), "[::1]:9000");
    }

    #[test]
    fn refuses_what_it_cannot_connect_to() {
        for bad in [
            "",
            "127.0.0.1:8080",
            "/stocks",
            "https://127.0.0.1",
            "http://127.0.0.1:8080/stocks",
            "http://127.0.0.1/?a=b",
            "http://127.0.0.1:99999",
            "http://me@127.0.0.1",
        ] {
            assert!(bad.parse::<BaseUrl>().is_err(), "{bad}");
        }
    }
}
