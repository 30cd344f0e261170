//! Sockets, and the greeting that opens every connection between Bazaar's processes.
//!
//! Ports are handed out by the kernel and reused, so an address that a caller remembers may belong
//! to another process by now. Before the first frame a caller therefore sends one line, saying the
//! version of the protocol, the cluster, the contract it wants to speak and the service it wants to
//! reach, and the listener answers with one line:
//!
//! ```text
//! bazaar/3 4f1c… orders order/3        (from the caller)
//! ok                                   (from the listener, or:)
//! no I am catalog/1
//! ```

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

pub use bazaar_machine::net::{TcpListener, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::ServiceName;

/// The version of the protocol: raised when any contract changes.
const VERSION: &str = "bazaar/3";

/// The longest greeting line, in bytes, with its line feed.
const MAX_LINE: usize = 256;

/// How long connecting and greeting may take, together.
pub const GREETING_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the other end's machine may leave what it was sent unacknowledged before the connection
/// is given up. A network that is cut shows in nothing else, and TCP alone waits ever longer between
/// two attempts: after a cut of ten seconds a connection would stay silent for ten more. A process
/// that is paused does not end its connections by this: its kernel acknowledges.
pub const UNACKNOWLEDGED: Duration = Duration::from_secs(2);

/// How long a connection may be idle before it is found out whether the other end is still there.
/// Nobody waits for that; it keeps connections to machines that are gone from piling up.
const IDLE: Duration = Duration::from_secs(10);

/// A contract spoken over a connection. A process serves several of them on one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// [`crate::naming::Naming`].
    Naming,
    /// [`crate::catalog::Catalog`].
    Catalog,
    /// [`crate::orders::Orders`].
    Orders,
    /// [`crate::cache::Invalidations`].
    Invalidations,
    /// [`crate::replica::Replica`].
    Replica,
    /// The consensus traffic of one replicated group, private to the replication crate.
    Raft,
    /// The supervisor's control of its processes, private to the `bazaar` command.
    Control,
    /// [`crate::accounts::Accounts`].
    Accounts,
}

impl Protocol {
    const ALL: [Self; 8] = [
        Self::Naming,
        Self::Catalog,
        Self::Orders,
        Self::Invalidations,
        Self::Replica,
        Self::Raft,
        Self::Control,
        Self::Accounts,
    ];

    /// The protocol as the greeting spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Naming => "naming",
            Self::Catalog => "catalog",
            Self::Orders => "orders",
            Self::Invalidations => "invalidations",
            Self::Replica => "replica",
            Self::Raft => "raft",
            Self::Control => "control",
            Self::Accounts => "accounts",
        }
    }
}

/// The name of a cluster: letters, digits, `-` and `_`, at most 64 of them. Processes of different
/// clusters refuse to talk to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterName(String);

impl std::str::FromStr for ClusterName {
    type Err = InvalidClusterName;

    fn from_str(name: &str) -> Result<Self, InvalidClusterName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(allowed) {
            return Err(InvalidClusterName);
        }
        Ok(Self(name.into()))
    }
}

impl std::fmt::Display for ClusterName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that names no cluster.
#[derive(Debug, thiserror::Error)]
#[error("a cluster's name has 1 to 64 letters, digits, '-' or '_'")]
pub struct InvalidClusterName;

/// What a caller asks for when it connects.
#[derive(Clone, Debug)]
pub struct Greeting {
    /// The cluster that the caller belongs to.
    pub cluster: ClusterName,
    /// What it wants to speak.
    pub protocol: Protocol,
    /// Whom it wants to reach.
    pub service: ServiceName,
}

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The network said no, or the other end hung up.
    #[error("{address}: {source}")]
    Io {
        /// Where it was tried.
        address: SocketAddr,
        /// What happened; [`io::ErrorKind::ConnectionRefused`] when nobody listens there.
        source: io::Error,
    },
    /// Somebody else listens there, or somebody who does not speak this.
    #[error("{address}: refused: {reason}")]
    Refused {
        /// Where it was tried.
        address: SocketAddr,
        /// The listener's words.
        reason: String,
    },
}

impl DialError {
    /// Whether nobody listens at the address: the process that did is gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == io::ErrorKind::ConnectionRefused,
            Self::Refused { .. } => true,
        }
    }
}

/// Connects to `address` and greets.
///
/// # Errors
/// After [`GREETING_TIMEOUT`] at the latest, with [`io::ErrorKind::TimedOut`].
pub async fn dial(address: SocketAddr, greeting: &Greeting) -> Result<TcpStream, DialError> {
    let Greeting {
        cluster,
        protocol,
        service,
    } = greeting;
    let attempt = async {
        let mut stream = TcpStream::connect(address).await?;
        tune(&stream)?;
        let line = format!("{VERSION} {cluster} {} {service}\n", protocol.as_str());
        stream.write_all(line.as_bytes()).await?;
        let answer = read_line(&mut stream).await?;
        io::Result::Ok((stream, answer))
    };
    let failed = |source| DialError::Io { address, source };
    let (stream, answer) = timeout(GREETING_TIMEOUT, attempt)
        .await
        .map_err(|_elapsed| failed(io::ErrorKind::TimedOut.into()))?
        .map_err(failed)?;
    match answer.as_str() {
        "ok" => Ok(stream),
        other => Err(DialError::Refused {
            address,
            reason: other
                .strip_prefix("no ")
                .unwrap_or("not one of Bazaar's services")
                .into(),
        }),
    }
}

/// Has a connection send what it is given at once, and end when the other end cannot be reached.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    bazaar_machine::net::limit_silence(stream, UNACKNOWLEDGED, IDLE)
}

/// Reads a caller's greeting from a connection just accepted, and answers it: with `ok` where
/// `serves` finds something to serve it with, and with a refusal otherwise.
///
/// # Errors
/// When the caller is not one of ours, is of another cluster, wants somebody else or takes longer
/// than [`GREETING_TIMEOUT`]. It has been told why, and the connection is to be dropped.
pub async fn welcome<T>(
    stream: &mut TcpStream,
    cluster: &ClusterName,
    service: ServiceName,
    serves: impl FnOnce(Protocol) -> Option<T>,
) -> io::Result<T> {
    let exchange = async {
        tune(stream)?;
        let line = read_line(stream).await?;
        let outcome = check(&line, cluster, service).and_then(|protocol| {
            serves(protocol).ok_or_else(|| format!("I do not serve {}", protocol.as_str()))
        });
        match outcome {
            Ok(found) => {
                stream.write_all(b"ok\n").await?;
                Ok(found)
            }
            Err(reason) => {
                stream
                    .write_all(format!("no {reason}\n").as_bytes())
                    .await?;
                Err(io::Error::new(io::ErrorKind::InvalidData, reason))
            }
        }
    };
    timeout(GREETING_TIMEOUT, exchange)
        .await
        .unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
}

/// Checks a greeting line; returns the protocol it asks for.
fn check(line: &str, cluster: &ClusterName, service: ServiceName) -> Result<Protocol, String> {
    let mut words = line.split(' ');
    let mut word = || words.next().unwrap_or_default();
    if word() != VERSION {
        return Err(format!("I speak {VERSION}"));
    }
    if word() != cluster.0 {
        return Err("I belong to another cluster".into());
    }
    let protocol = word();
    if word() != service.to_string() {
        return Err(format!("I am {service}"));
    }
    Protocol::ALL
        .into_iter()
        .find(|known| known.as_str() == protocol)
        .ok_or_else(|| "I do not know that protocol".into())
}

/// Reads up to a line feed, byte by byte: what follows the line belongs to the frames.
async fn read_line(stream: &mut TcpStream) -> io::Result<String> {
    let mut line = Vec::with_capacity(64);
    loop {
        match stream.read_u8().await? {
            b'\n' => break,
            _ if line.len() + 1 >= MAX_LINE => return Err(io::ErrorKind::InvalidData.into()),
            byte => line.push(byte),
        }
    }
    String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ServiceKind;

    fn greeting(cluster: &str, protocol: Protocol, service: &str) -> Greeting {
        Greeting {
            cluster: cluster.parse().unwrap(),
            protocol,
            service: service.parse().unwrap(),
        }
    }

    /// Dials a listener that is `order/3` of cluster `one` and serves `orders` alone.
    async fn dial_order_three(greeting: Greeting) -> Result<TcpStream, DialError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accept = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let me = ServiceName::new(ServiceKind::Order, 3);
            let serves = |protocol| (protocol == Protocol::Orders).then_some(());
            welcome(&mut stream, &"one".parse().unwrap(), me, serves)
                .await
                .ok();
        };
        tokio::join!(dial(address, &greeting), accept).0
    }

    #[tokio::test]
    async fn a_caller_that_asks_for_the_right_service_is_welcome() {
        dial_order_three(greeting("one", Protocol::Orders, "order/3"))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_stale_address_is_found_out() {
        for (wrong, reason) in [
            (
                greeting("two", Protocol::Orders, "order/3"),
                "I belong to another cluster",
            ),
            (greeting("one", Protocol::Orders, "order/2"), "I am order/3"),
            (
                greeting("one", Protocol::Catalog, "order/3"),
                "I do not serve catalog",
            ),
        ] {
            match dial_order_three(wrong).await {
                Err(DialError::Refused { reason: said, .. }) => assert_eq!(said, reason),
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_dead_address_is_known_as_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = dial(address, &greeting("one", Protocol::Orders, "order/3"))
            .await
            .unwrap_err();
        assert!(error.is_gone(), "{error}");
    }
}
