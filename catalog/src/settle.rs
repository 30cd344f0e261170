//! Settling, as the tasks of this process see it: the lease table behind a lock, and the waits on
//! it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bazaar_rpc::cache::Invalidation;
use bazaar_rpc::{CacheId, LeaseId, Term};
use tokio::sync::watch;
use tokio::time::sleep_until;

use crate::holders::Admission;
use crate::leases::{Leases, Push, Renewal, Ticket};

/// What is settled, and who holds leases.
#[derive(Debug)]
pub(crate) struct Settlement {
    /// Held locked for a few steps, never across an await.
    leases: Mutex<Leases>,
    length: Duration,
    /// The last ticket given out: what pushers wait for.
    latest: watch::Sender<Ticket>,
    /// Up to where everything is settled: what readers wait for.
    settled: watch::Sender<Ticket>,
}

impl Settlement {
    /// Nothing is unsettled; leases last `length`.
    pub(crate) fn new(length: Duration) -> Self {
        let leases = Leases::new(length);
        Self {
            length,
            latest: watch::Sender::new(leases.latest()),
            settled: watch::Sender::new(leases.latest()),
            leases: Mutex::new(leases),
        }
    }

    /// How long a lease lasts.
    pub(crate) fn length(&self) -> Duration {
        self.length
    }

    /// See [`Leases::begin`].
    pub(crate) fn begin(
        &self,
        term: Term,
        serial: u64,
        caches: Option<BTreeSet<CacheId>>,
    ) -> Ticket {
        self.with(|leases, now| leases.begin(term, serial, caches, now))
    }

    /// See [`Leases::call_in`]. Returns what [`Leases::admission`] does.
    pub(crate) fn call_in(&self, cache: CacheId, term: Term) -> Option<Admission> {
        self.with(|leases, _now| {
            leases.call_in(cache, term);
            leases.admission(cache)
        })
    }

    /// See [`Leases::admit`].
    pub(crate) fn admit(&self, cache: CacheId) -> Admission {
        self.with(|leases, now| leases.admit(cache, now))
    }

    /// See [`Leases::take_idle`].
    pub(crate) fn take_idle(&self) -> Vec<CacheId> {
        self.with(Leases::take_idle)
    }

    /// See [`Leases::touch`].
    pub(crate) fn touch(&self, items: Vec<Invalidation>) -> Ticket {
        self.with(|leases, now| leases.touch(items, now))
    }

    /// The last ticket given out.
    pub(crate) fn latest(&self) -> Ticket {
        *self.latest.borrow()
    }

    /// See [`Leases::renew`].
    pub(crate) fn renew(&self, id: LeaseId, cache: CacheId) -> Renewal {
        self.with(|leases, now| leases.renew(id, cache, now))
    }

    /// See [`Leases::grant`]. Returns the lease with the ticket from which on its holder is told.
    pub(crate) fn grant(&self, cache: CacheId, admission: Admission) -> Option<(LeaseId, Ticket)> {
        self.with(|leases, now| Some((leases.grant(cache, admission, now)?, leases.latest())))
    }

    /// See [`Leases::acknowledge`].
    pub(crate) fn acknowledge(&self, id: LeaseId, upto: Ticket) {
        self.with(|leases, now| leases.acknowledge(id, upto, now));
    }

    /// See [`Leases::disconnect`].
    pub(crate) fn disconnect(&self, id: LeaseId) {
        self.with(|leases, _now| leases.disconnect(id));
    }

    /// Returns once `ticket` is settled: within one and a half lease lengths, and at once in the
    /// common case.
    pub(crate) async fn settled(&self, ticket: Ticket) {
        if *self.settled.borrow() >= ticket {
            return;
        }
        let mut settled = self.settled.subscribe();
        while *settled.borrow_and_update() < ticket {
            // Nobody watches the clock for everybody: whoever waits does so for itself.
            let (now_settled, expiry) =
                self.with(|leases, now| (leases.settle(now), leases.next_expiry(now)));
            if now_settled >= ticket {
                return;
            }
            tokio::select! {
                // The sender lives in `self`.
                _ = settled.changed() => {}
                () = at(expiry) => {}
            }
        }
    }

    /// What the holder of `id` has to be told next after `from`, as soon as there is something;
    /// none once the lease is no longer live.
    pub(crate) async fn next_push(&self, id: LeaseId, from: Ticket) -> Option<Push> {
        let mut latest = self.latest.subscribe();
        loop {
            latest.borrow_and_update();
            let (push, expiry) =
                self.with(|leases, now| (leases.push(id, from), leases.expiry(id, now)));
            if push.is_some() {
                return push;
            }
            tokio::select! {
                // The sender lives in `self`.
                _ = latest.changed() => {}
                () = sleep_until(expiry?.into()) => {}
            }
        }
    }

    /// Does one thing to the table, and tells those who wait what came of it.
    fn with<T>(&self, act: impl FnOnce(&mut Leases, Instant) -> T) -> T {
        // The table is whole between its methods, so a panic elsewhere has not broken it.
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let outcome = act(&mut leases, now);
        raise(&self.latest, leases.latest());
        raise(&self.settled, leases.settle(now));
        outcome
    }
}

fn raise(published: &watch::Sender<Ticket>, ticket: Ticket) {
    published.send_if_modified(|known| {
        let rises = *known < ticket;
        *known = ticket;
        rises
    });
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
