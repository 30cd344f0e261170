//! One session of a client.

use std::sync::Arc;
use std::time::Duration;

use bazaar_history::http::Told;
use bazaar_history::{Answer, Call, Event, Reason};
use bazaar_rpc::{Quantity, Side};
use futures::future::join_all;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::sleep;

use super::http::Connections;
use super::recorder::Track;
use super::{ITEMS, RESTOCKED, Workload, item};
use crate::accounts::USER;
use crate::clock;

/// How long an operation may take when nothing is wrong any more.
const PATIENT: Duration = Duration::from_secs(9);

/// How long some clients wait: longer than a frontend tries, so that it is the frontend who gives up.
const UNTIL_TOLD: Duration = Duration::from_secs(12);

/// The pause before another attempt.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) struct Session {
    workload: Arc<Workload>,
    connections: Connections,
    track: Track,
    rng: SmallRng,
    /// Counts the keys that it has made.
    keys: u64,
    process: u64,
}

impl Session {
    pub(super) fn new(workload: Arc<Workload>, rng: SmallRng) -> Self {
        let process = workload.shared.next_process();
        Self {
            connections: Connections::new(workload.frontends.clone(), workload.tokens.clone()),
            track: workload.recorder.track(process),
            workload,
            rng,
            keys: 0,
            process,
        }
    }

    /// Does everything that a client does, until the end.
    pub(super) async fn trade(mut self) {
        while self.goes_on() {
            match self.rng.random_range(0..100) {
                0..37 => self.trade_anew().await,
                37..46 => self.amend().await,
                46..48 => self.restock().await,
                48..61 => self.repeat().await,
                61..64 => self.storm().await,
                64..71 => self.query().await,
                _ => {
                    let (item, frontend) = (self.any_item(), self.any_frontend());
                    self.look_up(item, frontend).await;
                }
            }
            self.think(60).await;
        }
    }

    /// Looks up what is hot, mostly, at the frontend in `place` alone, until the end.
    pub(super) async fn read(mut self, place: u64) {
        let place = usize::try_from(place).unwrap_or_default();
        while self.goes_on() {
            let item = self.any_item();
            self.look_up(item, place).await;
            self.think(24).await;
        }
    }

    fn new_key(&mut self) -> String {
        self.keys += 1;
        format!("{}-{}-{}", self.workload.seed, self.process, self.keys)
    }

    fn goes_on(&self) -> bool {
        clock::elapsed() < self.workload.ends
    }

    async fn think(&mut self, longest: u64) {
        sleep(Duration::from_millis(self.rng.random_range(0..=longest))).await;
    }

    fn any_frontend(&mut self) -> usize {
        self.rng.random_range(0..self.workload.frontends.len())
    }

    fn any_item(&mut self) -> usize {
        if self.rng.random() {
            return 0;
        }
        self.rng.random_range(0..ITEMS.len())
    }

    /// How long to wait for an answer: often not long enough while there are faults.
    fn patience(&mut self) -> Duration {
        if clock::elapsed() >= self.workload.calm {
            return PATIENT;
        }
        if self.rng.random_bool(self.workload.waiting) {
            return UNTIL_TOLD;
        }
        let longest = if self.rng.random_ratio(1, 3) {
            5000
        } else {
            400
        };
        Duration::from_millis(self.rng.random_range(20..longest))
    }

    /// A trade that nobody has asked for yet; sometimes with a look at what it has changed.
    async fn trade_anew(&mut self) {
        let place = self.any_item();
        // What is hot is bought as fast as it is sold, and some more.
        let (side, most) = if self.rng.random_ratio(6, 10) {
            (Side::Buy, 9)
        } else {
            (Side::Sell, 12)
        };
        let units = self.rng.random_range(1..=most);
        let call = Call::Trade {
            item: item(place),
            side,
            quantity: Quantity::new(units).expect("a few units"),
            key: self.new_key(),
            user: self.rng.random_bool(0.5).then_some(USER),
        };
        self.workload.shared.remember(&call, &mut self.rng);
        let frontend = self.any_frontend();
        let is_done = self.perform(&call, frontend).await;
        if is_done && self.rng.random() {
            let other = (frontend + 1) % self.workload.frontends.len();
            self.look_up(place, other).await;
        }
    }

    /// A change of an order that was placed with an account; sometimes with a look at it.
    async fn amend(&mut self) {
        let Some(order) = self.workload.shared.changeable(&mut self.rng) else {
            return;
        };
        // A cancel is for good: updates are to come first.
        let units = if self.rng.random_ratio(1, 4) {
            0
        } else {
            self.rng.random_range(1..=9)
        };
        let call = Call::Amend {
            order,
            to: Quantity::new(units).expect("a few units"),
            key: self.new_key(),
            user: USER,
        };
        self.workload.shared.remember(&call, &mut self.rng);
        let frontend = self.any_frontend();
        let is_done = self.perform(&call, frontend).await;
        if is_done && self.rng.random() {
            let other = (frontend + 1) % self.workload.frontends.len();
            self.perform(&Call::Query { number: order }, other).await;
        }
    }

    /// A few more units of the item that is restocked.
    async fn restock(&mut self) {
        let units = self.rng.random_range(1..=5);
        let call = Call::Restock {
            item: RESTOCKED,
            units: Quantity::new(units).expect("a few units"),
            key: self.new_key(),
            user: USER,
        };
        self.workload.shared.remember(&call, &mut self.rng);
        let frontend = self.any_frontend();
        self.perform(&call, frontend).await;
    }

    /// A request that somebody has sent before, whatever came of it.
    async fn repeat(&mut self) {
        if let Some(call) = self.workload.shared.remembered(&mut self.rng) {
            let frontend = self.any_frontend();
            self.perform(&call, frontend).await;
        }
    }

    /// One request, new or old, over all frontends at once and several times over each.
    async fn storm(&mut self) {
        let Some(call) = self.workload.shared.remembered(&mut self.rng) else {
            return;
        };
        let frontends = self.workload.frontends.len();
        let storm = (0..frontends * 3).map(|number| {
            let rng = SmallRng::seed_from_u64(self.rng.random());
            let mut session = Self::new(self.workload.clone(), rng);
            let call = call.clone();
            async move {
                session.perform(&call, number % frontends).await;
            }
        });
        let storm: Vec<_> = storm.collect();
        join_all(storm).await;
    }

    async fn query(&mut self) {
        if let Some(number) = self.workload.shared.known_number(&mut self.rng) {
            let frontend = self.any_frontend();
            self.perform(&Call::Query { number }, frontend).await;
        }
    }

    async fn look_up(&mut self, place: usize, frontend: usize) {
        let call = Call::Lookup { item: item(place) };
        self.perform(&call, frontend).await;
    }

    /// Performs `call`, at the frontend in `place` first; says whether it was done.
    async fn perform(&mut self, call: &Call, place: usize) -> bool {
        let frontends = self.workload.frontends.clone();
        let patience = self.patience();
        let deadline = clock::elapsed() + patience;
        let is_change = !matches!(call, Call::Lookup { .. } | Call::Query { .. });
        // A reader is to see what this very frontend shows; and some clients give up at once.
        let stays = !is_change && clock::elapsed() < self.workload.calm;
        let attempts = if stays || self.rng.random_ratio(1, 4) {
            1
        } else {
            usize::MAX
        };
        self.track.invoke(&frontends[place].name, call);
        let mut doubt = None;
        let mut last = String::from("no time for an attempt");
        let mut at = place;
        for attempt in 0..attempts {
            let left = deadline.saturating_sub(clock::elapsed());
            if left.is_zero() {
                break;
            }
            if attempt > 0 {
                sleep(PAUSE).await;
                at = (at + 1) % frontends.len();
            }
            // Not all of the time on one frontend, which may be dead.
            let share = if stays || patience == UNTIL_TOLD {
                left
            } else {
                left.min(patience / 2).max(PAUSE)
            };
            let name = frontends[at].name.clone();
            match self.connections.attempt(at, call, share).await {
                Told::Done(answer) => {
                    if let Answer::Traded { number, .. } = answer {
                        self.workload.shared.note(number, call, &mut self.rng);
                    }
                    self.track.complete(Event::Ok {
                        frontend: name,
                        answer,
                    });
                    return true;
                }
                // A refusal is not pinned to a key: an earlier attempt may still be made.
                Told::Refused(reason) if doubt.is_none() || !is_change => {
                    self.track.complete(Event::Refused {
                        frontend: Some(name),
                        reason,
                    });
                    return false;
                }
                Told::Refused(reason) => {
                    doubt.get_or_insert_with(|| format!("{reason:?}"));
                    break;
                }
                Told::NotDone(problem) => last = problem,
                Told::Unknown(problem) => {
                    last.clone_from(&problem);
                    doubt.get_or_insert(problem);
                }
                Told::Broken(answer) => {
                    self.workload.shared.report(format!("{name}: {answer}"));
                    doubt.get_or_insert(answer);
                    break;
                }
            }
            if clock::elapsed() >= self.workload.ends + UNTIL_TOLD {
                break;
            }
        }
        self.track.complete(match doubt {
            Some(reason) if is_change => Event::Unknown { reason },
            Some(reason) => Event::Refused {
                frontend: None,
                reason: Reason::Other(reason),
            },
            None => Event::Refused {
                frontend: None,
                reason: Reason::Other(last),
            },
        });
        false
    }
}
