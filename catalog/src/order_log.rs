//! The order log as its group's leader has it, for a catalog that is to be rebuilt from it.
//!
//! The log is read only while its end is certain: a majority confirms the leader, the leader has
//! applied all that it has, and it does not trade, so that nothing the lost catalog had decided can
//! be recorded any more.

use std::time::{Duration, Instant};

use bazaar_daemon::{GroupClient, Leader, Tasks};
use bazaar_rpc::connect::{Directory, call, client_config, client_transport};
use bazaar_rpc::net::Protocol;
use bazaar_rpc::orders::{MAX_PAGE, OrderError, OrdersClient};
use bazaar_rpc::replica::{Leadership, ReplicaClient};
use bazaar_rpc::{Order, OrderNumber, ServiceKind, ServiceName};
use tarpc::client::RpcError;
use tokio::time::sleep;

/// How long the order group may take to become certain of its log.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often to look whether it is.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How often the log is read on until nothing more comes. Once is enough where nothing fails.
const MAX_ROUNDS: u32 = 10;

/// The most orders in one answer.
const PAGE: u32 = MAX_PAGE as u32;

/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A leader that trades says so at once.
const TRADING_LIMIT: Duration = Duration::from_millis(500);

/// Why the end of the order log is not certain.
#[derive(Debug, thiserror::Error)]
pub enum Uncertain {
    /// Nobody leads the order group, as far as can be seen.
    #[error(
        "no order leader was found within {PATIENCE:?}: a majority of the order replicas must run, \
         or the end of the order log is uncertain"
    )]
    NoLeader,
    /// Its leader is cut off from the others.
    #[error(
        "{0} leads the order group, and no majority confirms it: the end of the order log is \
         uncertain"
    )]
    NoMajority(ServiceName),
    /// Trades are recorded.
    #[error("the order leader, {0}, trades: a catalog runs somewhere; stop it first")]
    Trading(ServiceName),
    /// There is something in the leader's log that is not recorded for good.
    #[error("the order leader, {0}, has not recorded all that it was given")]
    Unsettled(ServiceName),
    /// The leader does not answer.
    #[error("the order leader, {name}, does not answer: {source}")]
    NoAnswer {
        /// Who leads.
        name: ServiceName,
        /// What came instead of an answer.
        source: RpcError,
    },
    /// The leader says no.
    #[error("the order leader, {name}: {source}")]
    Refused {
        /// Who leads.
        name: ServiceName,
        /// What it says.
        source: OrderError,
    },
    /// Orders kept being added, or answers failing.
    #[error("the order group kept changing while its log was read; run this again")]
    Changed,
}

/// The order log, by way of the order group's leader.
pub(crate) struct OrderLog {
    directory: Directory,
    group: GroupClient<OrdersClient>,
}

impl OrderLog {
    /// The order log of the cluster that `directory` is of.
    pub(crate) fn new(directory: Directory, tasks: &Tasks) -> Self {
        let group = GroupClient::spawn(
            tasks,
            directory.clone(),
            ServiceKind::Order,
            Protocol::Orders,
            |stream| OrdersClient::new(client_config(), client_transport(stream)),
        );
        Self { directory, group }
    }

    /// Hands every recorded order to `each`, in sequence. Returns the leadership under which all of
    /// them, and no others, were recorded.
    pub(crate) async fn read<E: From<Uncertain>>(
        &self,
        mut each: impl FnMut(Order) -> Result<(), E>,
    ) -> Result<Leadership, E> {
        let mut next = OrderNumber(0);
        for round in 0..MAX_ROUNDS {
            let leader = self.certain().await?;
            let before = next;
            let is_read = loop {
                let answer = call(ANSWER_LIMIT, |context| {
                    leader.client.export(context, next, PAGE)
                });
                let Ok(page) = answered(leader.name, answer.await) else {
                    break false;
                };
                let Some(last) = page.last() else { break true };
                next = last.number.next();
                page.into_iter().try_for_each(&mut each)?;
            };
            // What was read is recorded for good, whoever leads. Nothing was added to it until a
            // moment at which nobody could.
            if is_read && next == before && round > 0 {
                return Ok(Leadership {
                    term: leader.term,
                    leader: Some(leader.name),
                });
            }
        }
        Err(Uncertain::Changed.into())
    }

    /// The leader, once the end of its log is certain.
    async fn certain(&self) -> Result<Leader<OrdersClient>, Uncertain> {
        let deadline = Instant::now() + PATIENCE;
        let leader = self.group.leader();
        loop {
            let current = leader.borrow().clone();
            let uncertain = match current {
                Some(leader) => match self.confirm(&leader).await {
                    Ok(()) => return Ok(leader),
                    Err(uncertain) => uncertain,
                },
                None => Uncertain::NoLeader,
            };
            if Instant::now() > deadline {
                return Err(uncertain);
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn confirm(&self, leader: &Leader<OrdersClient>) -> Result<(), Uncertain> {
        let (name, client) = (leader.name, &leader.client);
        match call(TRADING_LIMIT, |context| client.ready(context)).await {
            Ok(Ok(())) => return Err(Uncertain::Trading(name)),
            // It waits for a catalog, or has found one that is not its own.
            Err(RpcError::DeadlineExceeded) | Ok(Err(OrderError::Inconsistent(_))) => {}
            Ok(Err(OrderError::NotLeader { .. })) => return Err(Uncertain::NoLeader),
            other => return answered(name, other),
        }
        // A look-up of no orders is a barrier, and nothing else.
        let barrier = call(ANSWER_LIMIT, |context| client.orders(context, Vec::new())).await;
        if matches!(barrier, Ok(Err(OrderError::NotLeader { .. }))) {
            return Err(Uncertain::NoMajority(name));
        }
        answered(name, barrier)?;
        let stream = self
            .directory
            .connect(name, Protocol::Replica)
            .await
            .map_err(|_| Uncertain::NoLeader)?;
        let replica = ReplicaClient::new(client_config(), client_transport(stream)).spawn();
        let status = call(ANSWER_LIMIT, |context| replica.status(context))
            .await
            .map_err(|source| Uncertain::NoAnswer { name, source })?;
        let leads = Leadership {
            term: leader.term,
            leader: Some(name),
        };
        if status.leadership != leads {
            return Err(Uncertain::NoLeader);
        }
        if status.last_log != status.last_applied {
            return Err(Uncertain::Unsettled(name));
        }
        Ok(())
    }
}

fn answered<T>(
    name: ServiceName,
    answer: Result<Result<T, OrderError>, RpcError>,
) -> Result<T, Uncertain> {
    answer
        .map_err(|source| Uncertain::NoAnswer { name, source })?
        .map_err(|source| Uncertain::Refused { name, source })
}
