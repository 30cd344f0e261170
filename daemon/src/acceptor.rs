//! The accept loop: one port a process, several contracts on it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bazaar_rpc::ServiceName;
use bazaar_rpc::net::{ClusterName, Protocol, TcpListener, TcpStream, welcome};
use futures::future::BoxFuture;
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use crate::Tasks;

/// The most connections that one process keeps open to other services. Further ones wait to be
/// accepted.
const MAX_CONNECTIONS: usize = 1024;

/// How long to wait after the kernel could not hand out a connection, for want of descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves one connection until it ends.
pub type Handler = Arc<dyn Fn(TcpStream) -> BoxFuture<'static, ()> + Send + Sync>;

/// Which handler serves which protocol.
#[derive(Clone, Default)]
pub struct Routes(Vec<(Protocol, Handler)>);

impl Routes {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Has `handler` serve connections that ask for `protocol`.
    #[must_use]
    pub fn with<F, Fut>(mut self, protocol: Protocol, handler: F) -> Self
    where
        F: Fn(TcpStream) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.0
            .push((protocol, Arc::new(move |stream| Box::pin(handler(stream)))));
        self
    }

    fn find(&self, protocol: Protocol) -> Option<Handler> {
        self.0
            .iter()
            .find(|(known, _)| *known == protocol)
            .map(|(_, handler)| handler.clone())
    }
}

/// A bound port, not yet served.
pub struct Acceptor {
    listener: TcpListener,
    address: SocketAddr,
}

impl Acceptor {
    /// Binds `address`.
    ///
    /// # Errors
    /// Names the address, when it is in use or not this machine's.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let name = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
        let listener = TcpListener::bind(address).await.map_err(name)?;
        let address = listener.local_addr().map_err(name)?;
        Ok(Self { listener, address })
    }

    /// The address it is bound to, with the port that the kernel chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves connections, as `service` of `cluster`, until the process stops.
    pub fn serve(self, tasks: &Tasks, cluster: ClusterName, service: ServiceName, routes: Routes) {
        let listener = self.listener;
        let connections = tasks.clone();
        tasks.spawn(async move {
            let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
            loop {
                // The semaphore is never closed.
                let Ok(slot) = slots.clone().acquire_owned().await else {
                    return;
                };
                let (mut stream, peer) = match listener.accept().await {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        warn!(%error, "could not accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                };
                let (cluster, routes) = (cluster.clone(), routes.clone());
                connections.spawn(async move {
                    let serves = |protocol| routes.find(protocol);
                    match welcome(&mut stream, &cluster, service, serves).await {
                        Ok(handler) => handler(stream).await,
                        Err(error) => debug!(%peer, %error, "connection refused"),
                    }
                    drop(slot);
                });
            }
        });
    }
}
