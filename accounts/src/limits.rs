//! How often somebody may try to log in: by user name and by address.
//!
//! Each key has a token bucket, kept as the one moment at which it will be full again (the generic
//! cell rate algorithm, ITU-T I.371). Attempts count whether they succeed or not.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bazaar_rpc::accounts::{AccountsError, UserName};

/// The most keys that a limiter keeps in mind.
const MAX_KEYS: usize = 10_000;

/// How often something may be done, such as `10/1m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    limit: u32,
    window: Duration,
}

/// A text that is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rate is a number and the time that it is for, such as 10/1m")]
pub struct InvalidRate;

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        let (limit, window) = text.split_once('/').ok_or(InvalidRate)?;
        let limit = limit.parse().map_err(|_| InvalidRate)?;
        let window = humantime::parse_duration(window).map_err(|_| InvalidRate)?;
        if limit == 0 || window < Duration::from_secs(1) || window > Duration::from_secs(86_400) {
            return Err(InvalidRate);
        }
        Ok(Self { limit, window })
    }
}

/// The limits of logins.
#[derive(Debug)]
pub(crate) struct Limits {
    by_user: Mutex<Limiter<String>>,
    by_address: Mutex<Limiter<IpAddr>>,
}

impl Limits {
    /// Allows `by_user` for each user name and `by_address` for each address.
    pub(crate) fn new(by_user: Rate, by_address: Rate) -> Self {
        Self {
            by_user: Mutex::new(Limiter::new(by_user)),
            by_address: Mutex::new(Limiter::new(by_address)),
        }
    }

    /// Counts an attempt from `address`.
    pub(crate) fn count_address(&self, address: IpAddr) -> Result<(), AccountsError> {
        take(&self.by_address, network(address))
    }

    /// Counts an attempt to log in as `user`, whether there is one or not.
    pub(crate) fn count_user(&self, user: &UserName) -> Result<(), AccountsError> {
        take(&self.by_user, user.folded())
    }
}

fn take<K: Hash + Eq + Clone>(limiter: &Mutex<Limiter<K>>, key: K) -> Result<(), AccountsError> {
    let mut limiter = limiter.lock().unwrap_or_else(PoisonError::into_inner);
    let Rate { limit, window } = limiter.rate;
    let taken = limiter.take(key, Instant::now());
    taken.map_err(|retry_after| AccountsError::TooManyAttempts {
        limit,
        window,
        retry_after,
    })
}

/// What one client has for an address: with IPv6, any of a network of 2^64 (RFC 6177).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        v4 => v4,
    }
}

/// Limits how often something may be done for each key.
#[derive(Debug)]
struct Limiter<K> {
    rate: Rate,
    /// When the bucket of each key will be full. Where there is none, it is.
    full_at: HashMap<K, Instant>,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    fn new(rate: Rate) -> Self {
        Self {
            rate,
            full_at: HashMap::new(),
        }
    }

    /// Takes a token of `key`; where there is none, says how long it takes until there is.
    fn take(&mut self, key: K, now: Instant) -> Result<(), Duration> {
        let Rate { limit, window } = self.rate;
        let known = self.full_at.get(&key).copied();
        let full_at = known.map_or(now, |known| known.max(now)) + window / limit;
        let missing = (full_at - now).saturating_sub(window);
        if !missing.is_zero() {
            return Err(missing);
        }
        if known.is_none() && self.full_at.len() >= MAX_KEYS {
            self.make_room(now);
        }
        self.full_at.insert(key, full_at);
        Ok(())
    }

    /// Forgets keys whose bucket is full; where there are none, the one that is nearest to it.
    fn make_room(&mut self, now: Instant) {
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() >= MAX_KEYS {
            let fullest = self.full_at.iter().min_by_key(|(_, full_at)| **full_at);
            if let Some(fullest) = fullest.map(|(key, _)| key.clone()) {
                self.full_at.remove(&fullest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    #[test]
    fn a_rate_is_a_number_and_a_time() {
        let parsed = rate("10/1m");
        assert_eq!((parsed.limit, parsed.window), (10, Duration::from_secs(60)));
        for bad in [
            "", "10", "10/", "0/1m", "/1m", "10/1ms", "10/2days", "-1/1m",
        ] {
            assert_eq!(bad.parse::<Rate>(), Err(InvalidRate), "{bad}");
        }
    }

    #[test]
    fn a_burst_is_allowed_and_then_one_by_one() {
        let mut limiter = Limiter::new(rate("3/30s"));
        let start = Instant::now();
        for _ in 0..3 {
            limiter.take("a", start).unwrap();
        }
        assert_eq!(limiter.take("a", start), Err(10 * SECOND));
        limiter.take("b", start).unwrap();
        assert_eq!(limiter.take("a", start + 4 * SECOND), Err(6 * SECOND));
        limiter.take("a", start + 10 * SECOND).unwrap();
        assert_eq!(limiter.take("a", start + 10 * SECOND), Err(10 * SECOND));
        // After a while it is as if nothing had been.
        for _ in 0..3 {
            limiter.take("a", start + 100 * SECOND).unwrap();
        }
        limiter.take("a", start + 100 * SECOND).unwrap_err();
    }

    #[test]
    fn what_is_kept_in_mind_is_bounded() {
        let mut limiter = Limiter::new(rate("2/60s"));
        let start = Instant::now();
        for key in 0..2 * MAX_KEYS {
            limiter.take(key, start).unwrap();
            assert!(limiter.full_at.len() <= MAX_KEYS);
        }
        limiter.take(2 * MAX_KEYS, start + 60 * SECOND).unwrap();
        assert_eq!(limiter.full_at.len(), 1);
    }

    #[test]
    fn a_client_with_a_network_of_addresses_is_one_client() {
        let network = |text: &str| super::network(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }
}
