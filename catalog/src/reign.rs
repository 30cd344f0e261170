//! What exists while this replica leads: the queue of commands, their sequencing, and the answers.
//!
//! A reign is of one term of the catalog group. Handlers come and go, and may be dropped at any
//! moment; what they hand over here is proposed and settled by the one task that runs
//! [`Ruler::follow`], in the order of arrival.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bazaar_daemon::planted::{Bug, planted};
use bazaar_replication::{Group, ProposeError, Receipts};
use bazaar_rpc::catalog::CatalogError;
use bazaar_rpc::{CacheId, ServiceName, Term};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::command::{Answer, Applied, Command};
use crate::error::not_proposed;
use crate::holders::Admission;
use crate::machine::Replica;
use crate::registrar::{self, Registrar, Registration};
use crate::restock::Restocker;
use crate::shop::Shop;

/// The most calls that wait to be proposed. Further ones are told that the catalog is busy.
const MAX_WAITING: usize = 1024;

/// The most calls that are proposed together.
const MAX_TOGETHER: usize = 64;

/// The most proposals whose answers are awaited at once.
const MAX_PROPOSED: usize = 64;

/// How long a call waits for a reign that is about to begin here.
const START_PATIENCE: Duration = Duration::from_millis(500);

/// How long to wait before leadership that could not be confirmed is looked at again.
const PAUSE: Duration = Duration::from_millis(5);

/// One reign, as handlers see it.
pub(crate) struct Reign {
    /// The term in which this replica leads.
    pub(crate) term: Term,
    calls: mpsc::Sender<Call>,
    registrations: mpsc::Sender<Registration>,
}

/// A command, and who waits for its answer.
struct Call {
    command: Bytes,
    reply: oneshot::Sender<Result<Answer, CatalogError>>,
}

/// Commands that have their places in the log, and who waits for their answers.
struct Proposed {
    receipts: Receipts,
    replies: Vec<oneshot::Sender<Result<Answer, CatalogError>>>,
}

/// Why a reign ended.
pub(crate) enum End {
    /// Leadership was lost, or is not there yet.
    Lost(ProposeError),
    /// The machine that this runs on has failed.
    Broken(io::Error),
}

impl From<ProposeError> for End {
    fn from(error: ProposeError) -> Self {
        Self::Lost(error)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl Reign {
    /// Has `command` applied. The answer comes when it is durable and what it shows is settled.
    pub(crate) async fn submit(&self, command: &Command) -> Result<Answer, CatalogError> {
        let (reply, answer) = oneshot::channel();
        let call = Call {
            command: command.encode(),
            reply,
        };
        self.calls.try_send(call).map_err(refused)?;
        // A reign that ends drops the calls that it has not answered.
        answer.await.unwrap_or(Err(CatalogError::Unknown))
    }

    /// Puts `cache`, which is `holder`'s, on record, so that it may be granted leases.
    pub(crate) async fn register(
        &self,
        cache: CacheId,
        holder: ServiceName,
    ) -> Result<Admission, CatalogError> {
        let (reply, outcome) = oneshot::channel();
        let registration = Registration {
            cache,
            holder,
            reply,
        };
        self.registrations.try_send(registration).map_err(refused)?;
        outcome.await.unwrap_or(Err(CatalogError::Unknown))
    }
}

fn refused<T>(refused: mpsc::error::TrySendError<T>) -> CatalogError {
    match refused {
        mpsc::error::TrySendError::Full(_) => CatalogError::Busy,
        mpsc::error::TrySendError::Closed(_) => CatalogError::NotLeader { leader: None },
    }
}

/// Follows the group's leadership, and leads when it is this replica's turn.
pub(crate) struct Ruler {
    name: ServiceName,
    group: Group,
    replica: Arc<Replica>,
    shops: Vec<Shop>,
    current: watch::Sender<Option<Arc<Reign>>>,
}

impl Ruler {
    /// Leads as `name`; every reign opens those of `shops` that are not open yet.
    pub(crate) fn new(
        name: ServiceName,
        group: Group,
        replica: Arc<Replica>,
        shops: Vec<Shop>,
    ) -> Self {
        Self {
            name,
            group,
            replica,
            shops,
            current: watch::Sender::new(None),
        }
    }

    /// The current reign; where this replica is elected and its reign is about to begin, once it
    /// has: callers learn of an election before the reign's first command is on disk, and would only
    /// have to ask again.
    ///
    /// # Errors
    /// As [`Ruler::reign`].
    pub(crate) async fn await_reign(&self) -> Result<Arc<Reign>, CatalogError> {
        let outcome = self.reign();
        let Err(CatalogError::Starting) = outcome else {
            return outcome;
        };
        let (mut current, mut leadership) = (self.current.subscribe(), self.group.leadership());
        let begun_or_lost = async {
            tokio::select! {
                _ = current.wait_for(Option::is_some) => {}
                _ = leadership.wait_for(|now| now.leader != Some(self.name)) => {}
            }
        };
        // Whatever came of it is found out below.
        timeout(START_PATIENCE, begun_or_lost).await.ok();
        self.reign()
    }

    /// The current reign, at once: calls that must not overtake each other may not wait here.
    ///
    /// # Errors
    /// When another replica leads, or this one is not ready to.
    pub(crate) fn reign(&self) -> Result<Arc<Reign>, CatalogError> {
        if let Some(reign) = self.current.borrow().as_ref() {
            return Ok(reign.clone());
        }
        match self.group.leadership().borrow().leader {
            Some(leader) if leader == self.name => Err(CatalogError::Starting),
            leader => Err(CatalogError::NotLeader { leader }),
        }
    }

    /// The term in which this replica leads, confirmed after the call began and with everything
    /// applied that was committed before.
    pub(crate) async fn confirm(&self) -> Result<Term, CatalogError> {
        let reign = self.await_reign().await?;
        let term = self.group.barrier().await.map_err(not_proposed)?;
        if term == reign.term {
            Ok(term)
        } else {
            Err(CatalogError::Starting)
        }
    }

    /// Leads whenever it is this replica's turn, until the process stops.
    ///
    /// # Errors
    /// When the machine has failed.
    pub(crate) async fn follow(self: Arc<Self>) -> io::Result<()> {
        let mut leadership = self.group.leadership();
        loop {
            let seen = *leadership.borrow_and_update();
            if seen.leader == Some(self.name) {
                let end = tokio::select! {
                    biased;
                    _ = leadership.wait_for(|now| *now != seen) => None,
                    end = self.lead(seen.term) => Some(end),
                };
                self.current.send_replace(None);
                match end {
                    Some(End::Broken(error)) => return Err(error),
                    Some(End::Lost(error)) => {
                        info!(term = %seen.term, %error, "the reign has ended");
                        tokio::time::sleep(PAUSE).await;
                    }
                    None => info!(term = %seen.term, "leadership has changed"),
                }
            } else if leadership.changed().await.is_err() {
                // The group has stopped, and so will the process.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Leads in `term`, as long as that is possible.
    async fn lead(&self, term: Term) -> End {
        let (calls, waiting) = mpsc::channel(MAX_WAITING);
        let (proposed, answers) = mpsc::channel(MAX_PROPOSED);
        let (registrations, registering) = mpsc::channel(registrar::MAX_WAITING);
        let registrar = Registrar {
            term,
            group: self.group.clone(),
            settlement: self.replica.settlement.clone(),
        };
        let restocker = Restocker {
            group: self.group.clone(),
            replica: self.replica.clone(),
        };
        let lead = async {
            // Once this is applied, so is everything that earlier reigns put into the log; and it is
            // committed only where this replica leads. So it does for a barrier, and saves a round.
            let former = match self.apply(vec![Command::begin(term)]).await?.pop() {
                Some(Answer::Opened { former }) => former,
                other => unreachable!("a reign begins with an opening, not {other:?}"),
            };
            // A state of no reign at all, such as a new one, says nothing of the time before it.
            let has_record = former > Term::default();
            let caches = has_record.then(|| self.replica.state().caches().collect());
            self.replica.begin(term, rand::random(), caches);
            self.open_shops(term).await?;
            info!(%term, "leading");
            let reign = Reign {
                term,
                calls,
                registrations,
            };
            self.current.send_replace(Some(Arc::new(reign)));
            tokio::try_join!(
                self.sequence(waiting, proposed),
                self.answer(answers),
                registrar.run(registering),
                restocker.run()
            )
        };
        match lead.await {
            Err(end) => end,
            // The reign's queue is closed by nobody but this function's caller.
            Ok(((), (), (), ())) => End::Lost(ProposeError::Unknown),
        }
    }

    /// Opens what is not open yet of the shops.
    async fn open_shops(&self, term: Term) -> Result<(), End> {
        let state = self.replica.state();
        for item in state.conflicts(&self.shops) {
            warn!(number = %item.number, name = %item.name, "not opened: its number or name is taken");
        }
        let missing = Command::open(term, state.missing(&self.shops));
        if !missing.is_empty() {
            self.apply(missing).await?;
        }
        Ok(())
    }

    /// Has `commands` applied, whose answers show nothing that would have to be settled.
    async fn apply(&self, commands: Vec<Command>) -> Result<Vec<Answer>, End> {
        let commands = commands.iter().map(Command::encode).collect();
        let mut receipts = self.group.propose(commands).await?;
        let mut answers = Vec::new();
        while let Some(applied) = receipts.next().await {
            answers.push(Applied::decode(&applied?)?.answer);
        }
        Ok(answers)
    }

    /// Proposes calls in the order of their arrival.
    async fn sequence(
        &self,
        mut waiting: mpsc::Receiver<Call>,
        proposed: mpsc::Sender<Proposed>,
    ) -> Result<(), End> {
        let mut calls = Vec::with_capacity(MAX_TOGETHER);
        while waiting.recv_many(&mut calls, MAX_TOGETHER).await > 0 {
            let (commands, replies): (Vec<_>, Vec<_>) = calls
                .drain(..)
                .map(|call| (call.command, call.reply))
                .unzip();
            match self.group.propose(commands).await {
                Ok(receipts) => {
                    if proposed.send(Proposed { receipts, replies }).await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    for reply in replies {
                        reply.send(Err(not_proposed(error.clone()))).ok();
                    }
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    /// Answers calls in the order of the log, which is also the order in which they settle.
    async fn answer(&self, mut proposed: mpsc::Receiver<Proposed>) -> Result<(), End> {
        while let Some(Proposed {
            mut receipts,
            replies,
        }) = proposed.recv().await
        {
            for reply in replies {
                let outcome = match receipts.next().await {
                    Some(Ok(applied)) => {
                        let Applied { ticket, answer } = Applied::decode(&applied)?;
                        if !planted(Bug::AcknowledgeBeforeInvalidation) {
                            self.replica.settlement.settled(ticket).await;
                        }
                        Ok(answer)
                    }
                    Some(Err(error)) => Err(not_proposed(error)),
                    None => Err(CatalogError::Unknown),
                };
                // Whoever asked may have gone; what was decided stands.
                reply.send(outcome).ok();
            }
        }
        Ok(())
    }
}
