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
use bazaar_rpc::{ServiceName, Term};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use crate::command::{Answer, Applied, Command};
use crate::error::not_proposed;
use crate::machine::Replica;
use crate::shop::Shop;

/// The most calls that wait to be proposed. Further ones are told that the catalog is busy.
const MAX_WAITING: usize = 1024;

/// The most calls that are proposed together.
const MAX_TOGETHER: usize = 64;

/// The most proposals whose answers are awaited at once.
const MAX_PROPOSED: usize = 64;

/// How long to wait before leadership that could not be confirmed is looked at again.
const PAUSE: Duration = Duration::from_millis(5);

/// One reign, as handlers see it.
pub(crate) struct Reign {
    /// The term in which this replica leads.
    pub(crate) term: Term,
    calls: mpsc::Sender<Call>,
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
enum End {
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
        self.calls.try_send(call).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => CatalogError::Busy,
            mpsc::error::TrySendError::Closed(_) => CatalogError::NotLeader { leader: None },
        })?;
        // A reign that ends drops the calls that it has not answered.
        answer.await.unwrap_or(Err(CatalogError::Unknown))
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

    /// The current reign.
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
        let reign = self.reign()?;
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
                    end = self.lead(seen.term) => Some(end),
                    _ = leadership.wait_for(|now| *now != seen) => None,
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
        let lead = async {
            if self.group.barrier().await? != term {
                return Err(ProposeError::NotLeader { leader: None }.into());
            }
            self.replica.begin(term, rand::random());
            self.open_shops(term).await?;
            info!(%term, "leading");
            self.current
                .send_replace(Some(Arc::new(Reign { term, calls })));
            tokio::try_join!(self.sequence(waiting, proposed), self.answer(answers))
        };
        match lead.await {
            Err(end) => end,
            // The reign's queue is closed by nobody but this function's caller.
            Ok(((), ())) => End::Lost(ProposeError::Unknown),
        }
    }

    /// Puts the reign on record, and opens what is not open yet of the shops.
    ///
    /// Every reign begins with such a command, so that a replica which has applied anything of it
    /// knows that an earlier one is over, its own included.
    async fn open_shops(&self, term: Term) -> Result<(), End> {
        let state = self.replica.state();
        for item in state.conflicts(&self.shops) {
            warn!(number = %item.number, name = %item.name, "not opened: its number or name is taken");
        }
        let commands = Command::open(term, state.missing(&self.shops));
        let mut receipts = self
            .group
            .propose(commands.iter().map(Command::encode).collect())
            .await?;
        while let Some(answer) = receipts.next().await {
            answer?;
        }
        Ok(())
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
