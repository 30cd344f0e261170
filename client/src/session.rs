//! A session: looks items up and trades them over its own connection, and tells the judge.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use bazaar_rpc::{OrderNumber, Quantity, Side};
use tokio::sync::mpsc;

use crate::Acknowledged;
use crate::api::{Api, Done, Intent, Outcome};
use crate::load::World;
use crate::meter::Kind;
use crate::pace::Ticket;
use crate::plan::Plan;

/// The most trades of each sort that a session keeps for the judge. A load that leaves more
/// outcomes open than this is not one that can be judged.
const MAX_KEPT: usize = 10_000;

/// A running session.
pub(crate) struct Session {
    world: Arc<World>,
    log: mpsc::Sender<Acknowledged>,
    number: u32,
    plan: Plan,
    /// Counts the trades, for their keys.
    serial: u64,
    left: Left,
}

/// What a session leaves to the judge.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) api: Api,
    /// Acknowledged trades worth sending again: those that took several attempts, and the last one.
    pub(crate) repeatable: Vec<Acknowledged>,
    /// Trades of which it is not known whether they were made.
    pub(crate) undecided: Vec<Intent>,
}

impl Session {
    pub(crate) fn new(
        world: Arc<World>,
        log: mpsc::Sender<Acknowledged>,
        number: u32,
        api: Api,
    ) -> Self {
        Self {
            plan: Plan::new(world.seed, number, world.mix()),
            world,
            log,
            number,
            serial: 0,
            left: Left {
                api,
                repeatable: Vec::new(),
                undecided: Vec::new(),
            },
        }
    }

    /// Visits items until the load ends.
    ///
    /// # Errors
    /// When acknowledgements can no longer be logged, the history can no longer be written, or too
    /// many outcomes are open.
    pub(crate) async fn run(mut self) -> anyhow::Result<Left> {
        let mut last = None;
        loop {
            let visit = self.plan.next_visit();
            let Some(ticket) = self.world.pace.next().await else {
                break;
            };
            self.lookup(visit.item, ticket).await;
            anyhow::ensure!(
                !self.left.api.has_lost_history(),
                "the history can no longer be written"
            );

            let Some((side, quantity)) = visit.trade else {
                continue;
            };
            let Some(ticket) = self.world.pace.next().await else {
                break;
            };
            let Some(order) = self.trade(visit.item, side, quantity, ticket).await? else {
                continue;
            };
            let number = order.number;
            last = Some(order);

            if visit.query {
                let Some(ticket) = self.world.pace.next().await else {
                    break;
                };
                self.query(number, ticket).await;
            }
        }
        self.left.repeatable.extend(last);
        Ok(self.left)
    }

    async fn lookup(&mut self, item: usize, ticket: Ticket) {
        let item = &self.world.items[item];
        let begun = item.watched.begin();
        let answer = self.left.api.lookup(&item.name, &item.lookup).await;
        match answer {
            Ok(stock) => {
                self.world
                    .stale
                    .add(item.watched.end(Kind::Lookup, begun, stock.version));
                self.answered(Kind::Lookup, ticket);
            }
            Err(error) => self.failed(Kind::Lookup, error.to_string()),
        }
    }

    async fn trade(
        &mut self,
        item: usize,
        side: Side,
        quantity: Quantity,
        ticket: Ticket,
    ) -> anyhow::Result<Option<Acknowledged>> {
        let item = &self.world.items[item];
        let intent = Intent {
            name: item.name.clone(),
            side,
            quantity,
            key: format!("{:016x}-{}-{}", self.world.run, self.number, self.serial),
        };
        self.serial += 1;
        let begun = item.watched.begin();
        let outcome = self.left.api.trade(&intent).await;
        match outcome {
            Outcome::Done(Done {
                number,
                version,
                replayed,
            }) => {
                self.world.gap.close(Instant::now());
                match version {
                    Some(version) => {
                        self.world
                            .stale
                            .add(item.watched.end(Kind::Trade, begun, version));
                    }
                    None => {
                        self.world.counters.unversioned.fetch_add(1, Relaxed);
                    }
                }
                self.world
                    .counters
                    .replayed
                    .fetch_add(replayed.into(), Relaxed);
                let retried = self.answered(Kind::Trade, ticket);
                let order = Acknowledged::new(number, intent);
                if retried && self.left.repeatable.len() < MAX_KEPT {
                    self.left.repeatable.push(order.clone());
                }
                self.log(order.clone()).await?;
                return Ok(Some(order));
            }
            Outcome::Refused(_) => {
                self.answered(Kind::Refusal, ticket);
            }
            Outcome::Rejected(error) => self.failed(Kind::Trade, error.to_string()),
            Outcome::Unsent(why) => self.failed(Kind::Trade, why),
            Outcome::Unknown(why) => {
                self.failed(Kind::Trade, why);
                self.world.counters.undecided.fetch_add(1, Relaxed);
                anyhow::ensure!(
                    self.left.undecided.len() < MAX_KEPT,
                    "one session has {MAX_KEPT} trades of unknown outcome"
                );
                self.left.undecided.push(intent);
            }
        }
        Ok(None)
    }

    /// Looks an acknowledged order up: it must be there, at once. Whether it is right is for the
    /// judge to find.
    async fn query(&mut self, number: OrderNumber, ticket: Ticket) {
        match self.left.api.order(number).await {
            Ok(Some(standing)) if standing.order.number == number => {
                self.answered(Kind::OrderQuery, ticket);
            }
            Ok(_) => self.failed(Kind::OrderQuery, format!("order {number} is not there")),
            Err(error) => self.failed(Kind::OrderQuery, error.to_string()),
        }
    }

    async fn log(&self, order: Acknowledged) -> anyhow::Result<()> {
        let closed = |_| anyhow::anyhow!("the log of acknowledged orders can no longer be written");
        self.log.send(order).await.map_err(closed)
    }

    /// Counts an answer; says whether it took several attempts.
    fn answered(&mut self, kind: Kind, ticket: Ticket) -> bool {
        if ticket.measured {
            self.world.meter.record(self.number, kind, ticket.due);
        }
        self.world.counters.answered.add(kind);
        self.count_retries() > 0
    }

    fn failed(&mut self, kind: Kind, why: String) {
        self.world.counters.errors.add(kind);
        self.world.counters.reasons.add(kind, why);
        self.count_retries();
    }

    fn count_retries(&mut self) -> u64 {
        let retries = self.left.api.take_retries();
        if retries > 0 {
            self.world.counters.retries.fetch_add(retries, Relaxed);
        }
        retries
    }
}
