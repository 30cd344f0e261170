//! A limit on how often one address may ask, in memory that does not grow.
//!
//! The algorithm is GCRA (ITU-T I.371), a token bucket of which one number is kept: the time at
//! which the bucket would be full again. The numbers stand in a table of fixed size, by a keyed hash
//! of the address. Addresses that meet in one place share a budget, which is rare and harmless where
//! the limit is far above what one client needs; and no address can choose whom it meets.
//!
//! Clients are told by the fields of draft-ietf-httpapi-ratelimit-headers-10:
//! `RateLimit-Policy: "address";q=100;w=1` and `RateLimit: "address";r=99;t=1`.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::EdgeFlags;
use crate::http::time::whole_seconds;

/// The places in the table; 8 bytes each.
const PLACES: usize = 1 << 16;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// What each address may ask.
pub(super) struct RateLimit {
    /// How long one request's share of the budget takes to come back.
    interval: Duration,
    /// The most requests at once.
    burst: u32,
    policy: HeaderValue,
    started: Instant,
    hasher: RandomState,
    /// When each budget is whole again, in nanoseconds since `started`.
    whole_at: Box<[AtomicU64]>,
}

/// What is left to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    /// Requests that it may send at once.
    pub remaining: u32,
    /// Until the next request is allowed; zero where one is.
    pub next: Duration,
    /// Until everything is allowed again.
    pub whole: Duration,
}

impl Budget {
    /// How long to wait with the next request, in whole seconds, and one at least.
    #[must_use]
    pub(super) fn wait(self) -> u64 {
        whole_seconds(self.next).max(1)
    }
}

impl RateLimit {
    /// The limit that `flags` ask for; none where they ask for none.
    #[must_use]
    pub(super) fn new(flags: &EdgeFlags) -> Option<Self> {
        let rate = flags.rate_limit?;
        let burst = flags.rate_burst.unwrap_or(rate).get();
        let interval = Duration::from_secs(1) / rate.get();
        let policy = format!(
            "\"address\";q={burst};w={}",
            whole_seconds(interval * burst)
        );
        Some(Self {
            interval,
            burst,
            policy: HeaderValue::try_from(policy).expect("digits are visible ASCII"),
            started: Instant::now(),
            hasher: RandomState::new(),
            whole_at: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// Takes one request from the budget of `peer`.
    ///
    /// # Errors
    /// When nothing is left of it; then nothing is taken.
    pub(super) fn take(&self, peer: IpAddr) -> Result<Budget, Budget> {
        self.take_at(peer, self.started.elapsed())
    }

    fn take_at(&self, peer: IpAddr, now: Duration) -> Result<Budget, Budget> {
        let place = self.hasher.hash_one(network(peer)) as usize % PLACES;
        let capacity = self.interval * self.burst;
        let taken = |whole_at: u64| {
            let whole_at = Duration::from_nanos(whole_at).max(now) + self.interval;
            (whole_at <= now + capacity).then_some(nanoseconds(whole_at))
        };
        let place = &self.whole_at[place];
        match place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken) {
            Ok(before) => {
                let whole_at = Duration::from_nanos(before).max(now) + self.interval;
                Ok(self.budget(whole_at, now))
            }
            Err(before) => Err(self.budget(Duration::from_nanos(before), now)),
        }
    }

    fn budget(&self, whole_at: Duration, now: Duration) -> Budget {
        let whole = whole_at.saturating_sub(now);
        let free = (self.interval * self.burst).saturating_sub(whole);
        let remaining = free.as_nanos() / self.interval.as_nanos().max(1);
        Budget {
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX).min(self.burst),
            next: self.interval.saturating_sub(free),
            whole,
        }
    }

    /// Tells the client what is left, beside what it is told of other limits.
    pub(super) fn tell(&self, budget: Budget, headers: &mut HeaderMap) {
        let (remaining, reset) = (budget.remaining, whole_seconds(budget.whole));
        let limit = HeaderValue::try_from(format!("\"address\";r={remaining};t={reset}"));
        headers.append(POLICY, self.policy.clone());
        headers.append(LIMIT, limit.expect("digits are visible ASCII"));
    }
}

/// What counts as one address: of IPv6 the first 64 bits, since one client has all of the rest.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn nanoseconds(time: Duration) -> u64 {
    // 2^64 nanoseconds are 584 years.
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn limit(rate: u32, burst: u32) -> RateLimit {
        let flags = EdgeFlags {
            rate_limit: Some(rate.try_into().unwrap()),
            rate_burst: Some(burst.try_into().unwrap()),
            ..EdgeFlags::default()
        };
        RateLimit::new(&flags).unwrap()
    }

    #[test]
    fn a_burst_is_allowed_and_then_the_rate() {
        let limit = limit(10, 3);
        let at = Duration::from_millis;
        for remaining in [2, 1, 0] {
            assert_eq!(limit.take_at(PEER, at(1000)).unwrap().remaining, remaining);
        }
        let refused = limit.take_at(PEER, at(1000)).unwrap_err();
        assert_eq!((refused.remaining, refused.next), (0, at(100)));
        assert_eq!(refused.wait(), 1);
        limit.take_at(PEER, at(1099)).unwrap_err();
        limit.take_at(PEER, at(1100)).unwrap();
        limit.take_at(PEER, at(1100)).unwrap_err();
        // Long afterwards the budget is whole, and not more than that.
        let later = limit.take_at(PEER, at(60_000)).unwrap();
        assert_eq!((later.remaining, later.whole), (2, at(100)));
    }

    #[test]
    fn a_client_is_told_of_every_limit() {
        let limit = limit(10, 3);
        let budget = limit.take(PEER).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(LIMIT, HeaderValue::from_static("\"logins\";r=0;t=6"));
        limit.tell(budget, &mut headers);
        let told: Vec<_> = headers.get_all(LIMIT).iter().collect();
        assert_eq!(told, ["\"logins\";r=0;t=6", "\"address\";r=2;t=1"]);
    }

    #[test]
    fn an_address_has_a_budget_of_its_own_and_a_network_has_one() {
        let limit = limit(1, 1);
        limit.take_at(PEER, Duration::ZERO).unwrap();
        limit.take_at(PEER, Duration::ZERO).unwrap_err();
        // One of them may share a place with the first; not all.
        let others = (2..=20).map(|last| IpAddr::from([192, 0, 2, last]));
        let allowed = others.filter(|peer| limit.take_at(*peer, Duration::ZERO).is_ok());
        assert!(allowed.count() > 10);
        let ip = |text: &str| network(text.parse().unwrap());
        assert_eq!(ip("2001:db8::1"), ip("2001:db8::ffff:1"));
        assert_ne!(ip("2001:db8::1"), ip("2001:db8:0:1::1"));
        assert_eq!(ip("::ffff:192.0.2.1"), PEER);
    }

    #[test]
    fn clients_are_told() {
        let limit = limit(100, 250);
        let mut headers = HeaderMap::new();
        limit.tell(limit.take_at(PEER, Duration::ZERO).unwrap(), &mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"address\";q=250;w=3");
        assert_eq!(headers["ratelimit"], "\"address\";r=249;t=1");
    }
}
