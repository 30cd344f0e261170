//! Connections by name: the caller's side of the name service.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tarpc::client::{NewClient, RpcError};
use tarpc::context::Context;
use tarpc::server::{BaseChannel, Channel, Serve};
use tarpc::{ClientMessage, RequestName, Response};

use crate::codec::{Framed, framed};
use crate::naming::{Entry, NamingClient, NamingError, Selector};
use crate::net::{ClusterName, DialError, Greeting, Protocol, TcpStream, dial};
use crate::{ServiceKind, ServiceName};

/// How long a question to the name server may take.
pub const NAMING_TIMEOUT: Duration = Duration::from_millis(500);

/// The most calls one connection carries at once; further ones wait in the socket.
pub const MAX_CALLS_IN_FLIGHT: usize = 4096;

/// A call's context, with a deadline `limit` from now. When it passes, the caller gets
/// [`tarpc::client::RpcError::DeadlineExceeded`] and the server drops the handler; what the handler
/// has handed over to another task still happens.
#[must_use]
pub fn within(limit: Duration) -> Context {
    let mut context = tarpc::context::current();
    context.deadline = Instant::now() + limit;
    context
}

/// Makes one call, with a deadline `limit` from now, and waits no longer than that.
///
/// The deadline alone does not bound the wait: tarpc never answers a call that it takes on while its
/// connection ends. A call that is part of [a larger wait](tokio::time::timeout) can use [`within`].
///
/// # Errors
/// The call's own; [`RpcError::DeadlineExceeded`] when there is no answer in time.
pub async fn call<T, Answer>(
    limit: Duration,
    make: impl FnOnce(Context) -> Answer,
) -> Result<T, RpcError>
where
    Answer: Future<Output = Result<T, RpcError>>,
{
    let answer = tokio::time::timeout(limit, make(within(limit))).await;
    answer.unwrap_or(Err(RpcError::DeadlineExceeded))
}

/// The configuration of every client stub.
#[must_use]
pub fn client_config() -> tarpc::client::Config {
    let mut config = tarpc::client::Config::default();
    config.pending_request_buffer = MAX_CALLS_IN_FLIGHT;
    config.max_in_flight_requests = MAX_CALLS_IN_FLIGHT;
    config
}

/// Runs the connection of a client stub in a task of its own, and returns the stub.
pub fn spawned<C, D, E>(NewClient { client, dispatch }: NewClient<C, D>) -> C
where
    D: Future<Output = Result<(), E>> + Send + 'static,
    E: std::fmt::Display + Send + 'static,
{
    bazaar_machine::task::spawn(async move {
        if let Err(error) = dispatch.await {
            tracing::debug!(%error, "connection broken");
        }
    });
    client
}

/// The transport of a client stub over a greeted connection.
pub fn client_transport<Req, Resp>(
    stream: TcpStream,
) -> Framed<TcpStream, Response<Resp>, ClientMessage<Req>>
where
    Req: Serialize,
    Resp: for<'de> Deserialize<'de>,
{
    framed(stream)
}

/// Serves one greeted connection until the caller hangs up. Calls start in the order of arrival and
/// run concurrently, at most [`MAX_CALLS_IN_FLIGHT`] at a time.
pub async fn serve<S>(stream: TcpStream, service: S)
where
    S: Serve + Clone,
    S::Req: RequestName + for<'de> Deserialize<'de>,
    S::Resp: Serialize,
{
    let transport = framed::<_, ClientMessage<S::Req>, Response<S::Resp>>(stream);
    let config = tarpc::server::Config {
        pending_response_buffer: MAX_CALLS_IN_FLIGHT,
    };
    BaseChannel::new(config, transport)
        .execute(service)
        .for_each_concurrent(MAX_CALLS_IN_FLIGHT, |call| call)
        .await;
}

/// Finds services by name and connects to them. Clones share what they remember.
///
/// The last good address of a service is tried first, so the death of the name server stops nothing
/// that runs; the greeting finds out an address that has changed hands.
#[derive(Clone)]
pub struct Directory {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: ClusterName,
    nameserver: SocketAddr,
    /// The connection to the name server, while it works. Held locked only to copy or replace it.
    naming: Mutex<Option<NamingClient>>,
    /// The address at which each service was last reached.
    remembered: Mutex<BTreeMap<ServiceName, SocketAddr>>,
}

/// Why no connection to a service came about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The service's address is unknown.
    #[error("{name}: {source}")]
    Name {
        /// Who was looked for.
        name: ServiceName,
        /// What the name service said.
        source: ResolveError,
    },
    /// The address is known and does not work.
    #[error("{name}: {source}")]
    Dial {
        /// Who was looked for.
        name: ServiceName,
        /// What happened.
        source: DialError,
    },
}

impl ConnectError {
    /// Whether the service is known to be gone from where it was: nobody listens there any more, or
    /// somebody else does.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Name { .. } => false,
            Self::Dial { source, .. } => source.is_gone(),
        }
    }
}

/// Why the name service gave no answer, or not the one wanted.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// It said so.
    #[error(transparent)]
    Naming(#[from] NamingError),
    /// It could not be reached.
    #[error("the name server is unreachable: {0}")]
    Unreachable(#[from] DialError),
    /// It did not answer.
    #[error("the name server did not answer: {0}")]
    NoAnswer(#[from] RpcError),
}

impl Directory {
    /// The directory of `cluster`, whose name server listens at `nameserver`.
    #[must_use]
    pub fn new(cluster: ClusterName, nameserver: SocketAddr) -> Self {
        Self {
            inner: Arc::new(Inner {
                cluster,
                nameserver,
                naming: Mutex::default(),
                remembered: Mutex::default(),
            }),
        }
    }

    /// The cluster that this directory is of.
    #[must_use]
    pub fn cluster(&self) -> &ClusterName {
        &self.inner.cluster
    }

    /// The name server's address.
    #[must_use]
    pub fn nameserver(&self) -> SocketAddr {
        self.inner.nameserver
    }

    /// A stub of the name service; connects where there is no working connection.
    ///
    /// # Errors
    /// When the name server cannot be reached, after [`crate::net::GREETING_TIMEOUT`] at the latest.
    pub async fn naming(&self) -> Result<NamingClient, DialError> {
        if let Some(client) = lock(&self.inner.naming).clone() {
            return Ok(client);
        }
        let greeting = Greeting {
            cluster: self.inner.cluster.clone(),
            protocol: Protocol::Naming,
            service: ServiceName::new(ServiceKind::Nameserver, 1),
        };
        let stream = dial(self.inner.nameserver, &greeting).await?;
        let client = spawned(NamingClient::new(client_config(), client_transport(stream)));
        *lock(&self.inner.naming) = Some(client.clone());
        Ok(client)
    }

    /// Asks the name service one question. After a call that failed, the next one makes a new
    /// connection.
    ///
    /// # Errors
    /// Within [`crate::net::GREETING_TIMEOUT`] and [`NAMING_TIMEOUT`].
    pub async fn ask<T, Answer>(
        &self,
        question: impl FnOnce(NamingClient, Context) -> Answer,
    ) -> Result<T, ResolveError>
    where
        Answer: Future<Output = Result<Result<T, NamingError>, RpcError>>,
    {
        let naming = self.naming().await?;
        match call(NAMING_TIMEOUT, |context| question(naming, context)).await {
            Ok(answer) => Ok(answer?),
            Err(error) => {
                *lock(&self.inner.naming) = None;
                Err(error.into())
            }
        }
    }

    /// Where the name service says that `name` listens.
    ///
    /// # Errors
    /// As [`Directory::ask`].
    pub async fn resolve(&self, name: ServiceName) -> Result<SocketAddr, ResolveError> {
        let lookup = |naming: NamingClient, context| async move {
            naming.lookup(context, name.to_string()).await
        };
        Ok(self.ask(lookup).await?.address)
    }

    /// The live services of `kind`, in the order of their names.
    ///
    /// # Errors
    /// As [`Directory::ask`].
    pub async fn list(&self, kind: ServiceKind) -> Result<Vec<Entry>, ResolveError> {
        let selector = Selector::Prefix(format!("{kind}/"));
        self.ask(|naming, context| async move { naming.list(context, selector).await })
            .await
    }

    /// Connects to `name`, to speak `protocol`.
    ///
    /// # Errors
    /// When neither the last good address nor the one in the name service works.
    pub async fn connect(
        &self,
        name: ServiceName,
        protocol: Protocol,
    ) -> Result<TcpStream, ConnectError> {
        let remembered = lock(&self.inner.remembered).get(&name).copied();
        let failure = match remembered {
            None => None,
            Some(address) => match self.connect_at(address, name, protocol).await {
                Ok(stream) => return Ok(stream),
                Err(failure) => Some((address, failure)),
            },
        };
        match (self.resolve(name).await, failure) {
            // The name service knows nothing newer, or nothing at all.
            (Ok(address), Some((tried, failure))) if address == tried => Err(failure),
            (Err(_), Some((_, failure))) => Err(failure),
            (Ok(address), _) => self.connect_at(address, name, protocol).await,
            (Err(source), None) => Err(ConnectError::Name { name, source }),
        }
    }

    /// Connects to `name` at `address`, and remembers the address where that works.
    ///
    /// # Errors
    /// When it does not work, after [`crate::net::GREETING_TIMEOUT`] at the latest.
    pub async fn connect_at(
        &self,
        address: SocketAddr,
        name: ServiceName,
        protocol: Protocol,
    ) -> Result<TcpStream, ConnectError> {
        let greeting = Greeting {
            cluster: self.inner.cluster.clone(),
            protocol,
            service: name,
        };
        match dial(address, &greeting).await {
            Ok(stream) => {
                lock(&self.inner.remembered).insert(name, address);
                Ok(stream)
            }
            Err(source) => Err(ConnectError::Dial { name, source }),
        }
    }
}

/// Locks a plain value; a panic elsewhere cannot have left it half changed.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
