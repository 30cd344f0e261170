//! Calls to the leader of a replicated group.
//!
//! One task a replica asks it who leads (a long poll, so news travels at once); the newest term
//! wins. One task keeps a connection to that leader. A call goes out on the connection of the
//! moment, and again on the next one when the leader changes or the connection breaks.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bazaar_rpc::connect::{Directory, call, client_config, client_transport, spawned};
use bazaar_rpc::net::{Protocol, TcpStream};
use bazaar_rpc::replica::{Leadership, ReplicaClient};
use bazaar_rpc::{ServiceKind, ServiceName, Term};
use rand::RngExt as _;
use tarpc::client::{NewClient, RpcError};
use tokio::sync::watch;
use tokio::time::{sleep, timeout_at};
use tracing::{debug, info};

use crate::Tasks;

/// The most replicas of one group that are followed.
const MAX_REPLICAS: usize = 64;

/// How often the name server is asked for replicas that are not followed yet: seldom once some
/// are, often before.
const DISCOVERY: Duration = Duration::from_secs(2);
const FIRST_DISCOVERY: Duration = Duration::from_millis(25);

/// How long a replica may keep a question about the leadership open.
const PATIENCE: Duration = Duration::from_secs(2);

/// The pause before a replica or a leader that could not be reached is tried again, doubled from
/// the first to the second with every failure.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));

/// The pause before a leader that asked to be tried again is, doubled likewise. A change of leader
/// ends it.
const RETRY: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// The leader of a group, with a stub connected to it.
#[derive(Clone, Debug)]
pub struct Leader<C> {
    /// The term it was elected in.
    pub term: Term,
    /// Who it is.
    pub name: ServiceName,
    /// The stub.
    pub client: C,
}

/// Follows the leadership of a replicated group and calls whoever leads it. Clones share it.
#[derive(Clone)]
pub struct GroupClient<C> {
    current: watch::Receiver<Option<Leader<C>>>,
}

/// Why a call to a group had no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError<E> {
    /// The leader's own answer, and not one that another attempt may change.
    #[error(transparent)]
    Answer(E),
    /// The deadline passed with at least one attempt sent: it may have taken effect.
    #[error("no answer within the deadline")]
    NoAnswer,
    /// The deadline passed and no attempt was sent: it has not taken effect.
    #[error("no leader within the deadline")]
    NoLeader,
}

impl<C: Clone + Send + Sync + 'static> GroupClient<C> {
    /// Follows the group of `kind`: finds its replicas by name, hears from each of them who leads,
    /// and keeps a connection for `protocol` to the leader of the highest term, over which `stub`
    /// makes calls.
    #[must_use]
    pub fn spawn<D, E>(
        tasks: &Tasks,
        directory: Directory,
        kind: ServiceKind,
        protocol: Protocol,
        stub: fn(TcpStream) -> NewClient<C, D>,
    ) -> Self
    where
        D: Future<Output = Result<(), E>> + Send + 'static,
        E: Send + 'static,
    {
        let newest = Arc::new(watch::Sender::new(Leadership::default()));
        let (current_sender, current) = watch::channel(None);
        let connector = Connector {
            directory: directory.clone(),
            protocol,
            stub,
            newest: newest.subscribe(),
            current: current_sender,
        };
        tasks.spawn(connector.run());
        tasks.spawn(discover(tasks.clone(), directory, kind, newest));
        Self { current }
    }

    /// The leader, as it changes; none while none is known and reachable.
    #[must_use]
    pub fn leader(&self) -> watch::Receiver<Option<Leader<C>>> {
        self.current.clone()
    }

    /// Calls the leader until `deadline`: `call` is made again, with whoever leads by then, when the
    /// leader changes, when its connection breaks, and when it answers with an error that
    /// `is_retryable`. The call must therefore be idempotent.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn call<T, E, F, Fut>(
        &self,
        deadline: Instant,
        is_retryable: fn(&E) -> bool,
        call: F,
    ) -> Result<T, GroupError<E>>
    where
        F: Fn(Leader<C>) -> Fut + Send,
        Fut: Future<Output = Result<Result<T, E>, RpcError>> + Send,
    {
        let mut current = self.current.clone();
        let mut sent = false;
        let mut pause = Backoff::new(RETRY);
        let attempts = async {
            loop {
                let Some(leader) = current.borrow_and_update().clone() else {
                    changed(&mut current).await;
                    continue;
                };
                sent = true;
                let answer = tokio::select! {
                    biased;
                    answer = call(leader) => answer,
                    () = changed(&mut current) => continue,
                };
                match answer {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(error)) if !is_retryable(&error) => {
                        return Err(GroupError::Answer(error));
                    }
                    // Where the connection has broken, another one is on its way.
                    Ok(Err(_)) | Err(_) => {}
                }
                tokio::select! {
                    () = sleep(pause.next()) => {}
                    () = changed(&mut current) => {}
                }
            }
        };
        let outcome = timeout_at(deadline.into(), attempts).await;
        outcome.unwrap_or(Err(if sent {
            GroupError::NoAnswer
        } else {
            GroupError::NoLeader
        }))
    }
}

/// Waits for a change; for ever where there will be none any more, because the process is stopping.
async fn changed<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// A pause that doubles up to a bound, with jitter of a half.
struct Backoff {
    pause: Duration,
    bounds: (Duration, Duration),
}

impl Backoff {
    fn new(bounds: (Duration, Duration)) -> Self {
        Self {
            pause: bounds.0,
            bounds,
        }
    }

    fn next(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(self.bounds.1);
        pause.mul_f64(rand::rng().random_range(0.5..1.0))
    }

    fn reset(&mut self) {
        self.pause = self.bounds.0;
    }
}

/// Finds the replicas of a group, and follows each of them.
async fn discover(
    tasks: Tasks,
    directory: Directory,
    kind: ServiceKind,
    newest: Arc<watch::Sender<Leadership>>,
) {
    let mut followed = BTreeSet::new();
    loop {
        match directory.list(kind).await {
            Ok(entries) => {
                let names = entries.iter().filter_map(|entry| entry.name.parse().ok());
                let found: Vec<ServiceName> = names.collect();
                for name in found {
                    if followed.len() < MAX_REPLICAS && followed.insert(name) {
                        tasks.spawn(follow(directory.clone(), name, newest.clone()));
                    }
                }
            }
            Err(error) => debug!(%kind, %error, "could not ask for replicas"),
        }
        sleep(if followed.is_empty() {
            FIRST_DISCOVERY
        } else {
            DISCOVERY
        })
        .await;
    }
}

/// Hears from one replica who leads, and keeps what is newer than what is known.
async fn follow(
    directory: Directory,
    replica: ServiceName,
    newest: Arc<watch::Sender<Leadership>>,
) {
    let mut pause = Backoff::new(RECONNECT);
    loop {
        match directory.connect(replica, Protocol::Replica).await {
            Ok(stream) => {
                let client = spawned(ReplicaClient::new(
                    client_config(),
                    client_transport(stream),
                ));
                // Whatever it says first is news.
                let (mut known, mut patience) = (Leadership::default(), Duration::ZERO);
                let limit = PATIENCE * 2;
                while let Ok(told) =
                    call(limit, |context| client.leadership(context, known, patience)).await
                {
                    pause.reset();
                    newest.send_if_modified(|newest| {
                        let newer = told.term > newest.term
                            || told.term == newest.term && newest.leader.is_none();
                        let news = newer && *newest != told;
                        if news {
                            *newest = told;
                        }
                        news
                    });
                    (known, patience) = (told, PATIENCE);
                }
            }
            Err(error) => debug!(%replica, %error, "could not ask who leads"),
        }
        sleep(pause.next()).await;
    }
}

/// Keeps a connection to the leader.
struct Connector<C, D> {
    directory: Directory,
    protocol: Protocol,
    stub: fn(TcpStream) -> NewClient<C, D>,
    newest: watch::Receiver<Leadership>,
    current: watch::Sender<Option<Leader<C>>>,
}

impl<C, D, E> Connector<C, D>
where
    D: Future<Output = Result<(), E>> + Send + 'static,
    E: Send + 'static,
{
    async fn run(mut self) {
        let mut pause = Backoff::new(RECONNECT);
        loop {
            let known = *self.newest.borrow_and_update();
            let Leadership { term, leader } = known;
            let Some(name) = leader else {
                changed(&mut self.newest).await;
                continue;
            };
            let connecting = self.directory.connect(name, self.protocol);
            let connected = tokio::select! {
                connected = connecting => connected,
                () = changed(&mut self.newest) => continue,
            };
            match connected {
                Ok(stream) => {
                    pause.reset();
                    info!(%term, leader = %name, "connected to the leader");
                    let NewClient { client, dispatch } = (self.stub)(stream);
                    // Ends with the connection, or with the last clone of the stub.
                    let connection = bazaar_machine::task::spawn(dispatch);
                    self.current
                        .send_replace(Some(Leader { term, name, client }));
                    tokio::select! {
                        () = self.superseded(known) => {}
                        _ = connection => {
                            info!(%term, leader = %name, "lost the connection to the leader");
                            self.current.send_replace(None);
                        }
                    }
                }
                Err(error) => {
                    debug!(%term, leader = %name, %error, "could not connect to the leader");
                    tokio::select! {
                        () = sleep(pause.next()) => {}
                        () = changed(&mut self.newest) => {}
                    }
                }
            }
        }
    }

    /// Waits until another leader is known. A newer term without one changes nothing yet: its
    /// leader will be known in a moment, and until then the old one answers as it can.
    async fn superseded(&self, held: Leadership) {
        let mut newest = self.newest.clone();
        let newer = |newest: &Leadership| newest.leader.is_some() && *newest != held;
        if newest.wait_for(newer).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
