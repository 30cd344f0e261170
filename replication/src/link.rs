//! A connection to one peer.

use std::fmt::Display;
use std::time::{Duration, Instant};

use bazaar_machine::task::spawn;
use bazaar_rpc::ServiceName;
use bazaar_rpc::connect::{ConnectError, Directory, client_config, client_transport, spawned};
use bazaar_rpc::net::Protocol;
use openraft::errors::{RPCError, Unreachable};
use tarpc::client::RpcError;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use crate::peer::{PeerClient, PeerError};
use crate::types::Types;

/// A connection on which nothing was answered for so long is given up: its other end may be gone
/// without a trace.
const SILENCE: Duration = Duration::from_secs(2);

/// What a call to a peer came to.
pub(crate) type RpcResult<T> = Result<T, RPCError<Types>>;

/// A connection to one peer, made when it is needed.
pub(crate) struct Link {
    directory: Directory,
    peer: ServiceName,
    client: Option<PeerClient>,
    /// An attempt to connect. It outlives the calls that wait for it, which are impatient.
    connecting: Option<AbortOnDropHandle<Result<PeerClient, ConnectError>>>,
    /// Since when calls were made without an answer.
    silent_since: Option<Instant>,
    /// How long calls may be made without an answer.
    silence: Duration,
}

impl Link {
    pub(crate) fn new(directory: Directory, peer: ServiceName) -> Self {
        Self::silent_for(SILENCE, directory, peer)
    }

    /// A connection that is given up when nothing was answered on it for `silence`.
    pub(crate) fn silent_for(silence: Duration, directory: Directory, peer: ServiceName) -> Self {
        Self {
            directory,
            peer,
            client: None,
            connecting: None,
            silent_since: None,
            silence,
        }
    }

    /// A stub, for a call that is about to be made; connects first, call `patience`.
    pub(crate) async fn client(&mut self, patience: Duration) -> RpcResult<PeerClient> {
        if self
            .silent_since
            .is_some_and(|since| since.elapsed() > self.silence)
        {
            self.forget();
        }
        let client = match &self.client {
            Some(client) => client.clone(),
            None => self.connect(patience).await?,
        };
        self.silent_since.get_or_insert_with(Instant::now);
        Ok(client)
    }

    async fn connect(&mut self, patience: Duration) -> RpcResult<PeerClient> {
        let (directory, peer) = (self.directory.clone(), self.peer);
        let connecting = self.connecting.get_or_insert_with(|| {
            AbortOnDropHandle::new(spawn(async move {
                let stream = directory.connect(peer, Protocol::Raft).await?;
                let stub = PeerClient::new(client_config(), client_transport(stream));
                Ok(spawned(stub))
            }))
        });
        let outcome = timeout(patience, connecting)
            .await
            .map_err(|_elapsed| unreachable(self.peer, "connecting takes long"))?;
        self.connecting = None;
        let connected = outcome.map_err(|panic| unreachable(self.peer, panic))?;
        let client = connected.map_err(|error| unreachable(self.peer, error))?;
        self.client = Some(client.clone());
        Ok(client)
    }

    /// Notes what came of a call, and gives the connection up where it is to blame.
    pub(crate) fn settle<T>(
        &mut self,
        outcome: Result<Result<T, PeerError>, RpcError>,
    ) -> RpcResult<T> {
        match outcome {
            Ok(answer) => {
                self.answered();
                answer.map_err(|error| unreachable(self.peer, error))
            }
            Err(error) => {
                if !is_late(&error) {
                    self.forget();
                }
                Err(unreachable(self.peer, error))
            }
        }
    }

    /// Notes that the peer has answered.
    pub(crate) fn answered(&mut self) {
        self.silent_since = None;
    }

    /// Gives the connection up.
    pub(crate) fn forget(&mut self) {
        self.client = None;
        self.silent_since = None;
    }
}

fn unreachable(peer: ServiceName, cause: impl Display) -> RPCError<Types> {
    // openraft reports the peer and not the cause.
    debug!(%peer, %cause, "peer unreachable");
    RPCError::Unreachable(Unreachable::from_string(format!("{peer}: {cause}")))
}

/// Whether a call was only not answered in time.
pub(crate) fn is_late(error: &RpcError) -> bool {
    matches!(error, RpcError::DeadlineExceeded)
}
