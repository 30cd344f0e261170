//! When requests are sent.
//!
//! Closed loop: a session's next request is due at once. Open loop: request `i` of all sessions
//! together is due at `start + i / rate`, whether or not a session is free to send it; the first
//! free session takes it, and its latency counts from when it was due. (Gil Tene, "How NOT to
//! Measure Latency": a load generator that waits for the server omits exactly the requests that a
//! stall would have hurt.) The schedule is even rather than random, so that two runs differ by what
//! the server does only.
//!
//! A thread of its own releases what is due, because tokio's timer counts in milliseconds; the
//! kernel's sleep is good to some 60 µs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::Config;

/// For how long sessions may catch up with a schedule that has ended or was stopped.
const CATCH_UP: Duration = Duration::from_secs(2);

/// The right to send one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    /// When the request was due.
    pub(crate) due: Instant,
    /// Whether it counts in the measurements, or belongs to the warm-up.
    pub(crate) measured: bool,
}

/// Hands out tickets. Shared by all sessions.
#[derive(Debug)]
pub(crate) struct Pace {
    start: Instant,
    warmup: Duration,
    stopped: AtomicBool,
    schedule: Schedule,
}

#[derive(Debug)]
enum Schedule {
    Closed {
        /// From the start; none when the number of requests decides.
        end: Option<Duration>,
        /// Tickets left that count in the measurements.
        left: AtomicU64,
    },
    Open(Open),
}

#[derive(Debug)]
struct Open {
    rate: f64,
    /// Whether the load ends at a moment rather than with its last request.
    timed: bool,
    /// How many tickets there will be, the warm-up's included. Lowered by a stop.
    total: AtomicU64,
    taken: AtomicU64,
    /// Tickets taken in time, so that their requests were sent.
    begun: AtomicU64,
    /// One permit for each released ticket that nobody has taken.
    due: Semaphore,
    clock: OnceLock<Thread>,
}

impl Pace {
    /// The pace that `config` asks for, from now on.
    pub(crate) fn start(config: &Config) -> Arc<Self> {
        let timed = config.requests.is_none();
        let schedule = match config.rate {
            None => Schedule::Closed {
                end: timed.then(|| config.warmup + config.duration),
                left: AtomicU64::new(config.requests.unwrap_or(u64::MAX)),
            },
            Some(rate) => {
                let rate = rate.per_second();
                let tickets = |time: Duration| (time.as_secs_f64() * rate).ceil() as u64;
                let total = match config.requests {
                    Some(requests) => tickets(config.warmup).saturating_add(requests),
                    None => tickets(config.warmup + config.duration),
                };
                Schedule::Open(Open {
                    rate,
                    timed,
                    total: AtomicU64::new(total),
                    taken: AtomicU64::new(0),
                    begun: AtomicU64::new(0),
                    due: Semaphore::new(0),
                    clock: OnceLock::new(),
                })
            }
        };
        let pace = Arc::new(Self {
            start: Instant::now(),
            warmup: config.warmup,
            stopped: AtomicBool::new(false),
            schedule,
        });
        if let Schedule::Open(open) = &pace.schedule {
            let sessions = config.connections as usize;
            let shared = Arc::clone(&pace);
            let clock = thread::spawn(move || shared.release(sessions));
            open.clock.get_or_init(|| clock.thread().clone());
        }
        pace
    }

    /// When it began.
    pub(crate) fn began(&self) -> Instant {
        self.start
    }

    /// Waits for the next request to be due. None when the load has ended.
    pub(crate) async fn next(&self) -> Option<Ticket> {
        let due = match &self.schedule {
            Schedule::Closed { end, left } => {
                let now = Instant::now();
                let elapsed = now - self.start;
                if self.stopped.load(Relaxed) || end.is_some_and(|end| elapsed >= end) {
                    return None;
                }
                let take = |left: u64| left.checked_sub(1);
                if elapsed >= self.warmup && left.fetch_update(Relaxed, Relaxed, take).is_err() {
                    return None;
                }
                now
            }
            Schedule::Open(open) => {
                let permit = open
                    .due
                    .acquire()
                    .await
                    .expect("the semaphore is never closed");
                permit.forget();
                let index = open.taken.fetch_add(1, Relaxed);
                let total = open.total.load(Relaxed);
                if index >= total {
                    return None;
                }
                let bounded = open.timed || self.stopped.load(Relaxed);
                if bounded && self.start.elapsed() > open.offset(total) + CATCH_UP {
                    return None;
                }
                open.begun.fetch_add(1, Relaxed);
                self.start + open.offset(index)
            }
        };
        Some(Ticket {
            due,
            measured: due - self.start >= self.warmup,
        })
    }

    /// Ends the load: what is due already is still sent, as far as sessions catch up in time.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Relaxed);
        if let Schedule::Open(open) = &self.schedule {
            open.total
                .fetch_min(open.due_after(self.start.elapsed()), Relaxed);
            if let Some(clock) = open.clock.get() {
                clock.unpark();
            }
        }
    }

    /// How many requests were due and never sent, once the load has ended.
    pub(crate) fn unstarted(&self) -> u64 {
        match &self.schedule {
            Schedule::Closed { .. } => 0,
            Schedule::Open(open) => open.total.load(Relaxed) - open.begun.load(Relaxed),
        }
    }

    /// Releases every ticket when it is due; at the end, one for each session to find the end by.
    fn release(&self, sessions: usize) {
        let Schedule::Open(open) = &self.schedule else {
            return;
        };
        let mut released = 0;
        loop {
            let total = open.total.load(Relaxed);
            let due = open.due_after(self.start.elapsed()).min(total);
            if due > released {
                open.due.add_permits((due - released) as usize);
                released = due;
            }
            if released >= total {
                break;
            }
            thread::park_timeout(open.offset(released).saturating_sub(self.start.elapsed()));
        }
        open.due.add_permits(sessions);
    }
}

impl Open {
    /// When ticket `index` is due, from the start.
    fn offset(&self, index: u64) -> Duration {
        Duration::from_secs_f64(index as f64 / self.rate)
    }

    /// How many tickets are due when `elapsed` has passed.
    fn due_after(&self, elapsed: Duration) -> u64 {
        (elapsed.as_secs_f64() * self.rate) as u64 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rate;

    async fn all(pace: &Pace) -> Vec<Ticket> {
        let mut tickets = Vec::new();
        while let Some(ticket) = pace.next().await {
            tickets.push(ticket);
        }
        tickets
    }

    #[tokio::test]
    async fn an_open_loop_has_as_many_tickets_as_its_schedule_and_none_is_early() {
        let config = Config {
            rate: Some(Rate::new(2000.0).unwrap()),
            duration: Duration::from_millis(80),
            warmup: Duration::from_millis(20),
            ..Config::default()
        };
        let pace = Pace::start(&config);
        let mut tickets = 0;
        let mut measured = 0;
        while let Some(ticket) = pace.next().await {
            assert!(Instant::now() >= ticket.due);
            assert_eq!(
                ticket.due,
                pace.start + Duration::from_secs_f64(tickets as f64 / 2000.0)
            );
            tickets += 1;
            measured += u64::from(ticket.measured);
        }
        assert_eq!((tickets, measured), (200, 160));
        assert_eq!(pace.unstarted(), 0);
    }

    #[tokio::test]
    async fn a_stopped_schedule_hands_out_what_was_due_and_ends() {
        let config = Config {
            rate: Some(Rate::new(0.001).unwrap()),
            ..Config::default()
        };
        let pace = Pace::start(&config);
        assert!(pace.next().await.is_some());
        pace.stop();
        assert!(pace.next().await.is_none());
        assert_eq!(pace.unstarted(), 0);
    }

    #[tokio::test]
    async fn what_was_due_and_never_sent_is_counted() {
        let config = Config {
            rate: Some(Rate::new(1.0).unwrap()),
            duration: Duration::from_millis(1),
            ..Config::default()
        };
        let pace = Pace::start(&config);
        assert_eq!(pace.unstarted(), 1);
        assert_eq!(all(&pace).await.len(), 1);
        assert_eq!(pace.unstarted(), 0);
    }

    #[tokio::test]
    async fn a_number_of_requests_bounds_either_loop() {
        for rate in [None, Some(Rate::new(100_000.0).unwrap())] {
            let config = Config {
                rate,
                requests: Some(50),
                ..Config::default()
            };
            assert_eq!(all(&Pace::start(&config)).await.len(), 50);
        }
    }

    #[tokio::test]
    async fn a_stop_ends_a_closed_loop() {
        let pace = Pace::start(&Config::default());
        assert!(pace.next().await.is_some_and(|ticket| ticket.measured));
        pace.stop();
        assert!(pace.next().await.is_none());
    }
}
