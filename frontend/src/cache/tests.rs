//! Facts about the cache, one at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bazaar_rpc::cache::Invalidation;
use bazaar_rpc::{
    Item, ItemKey, ItemName, ItemNumber, LeaseId, Money, Quantity, Term, Text, Version,
};

use super::*;
use crate::Error;

pub(super) fn lease_id(serial: u64) -> LeaseId {
    LeaseId {
        term: Term(1),
        serial,
    }
}

pub(super) fn name(item: usize) -> ItemName {
    ItemName::new(["GameStart", "BoarCo", "MenhirCo", "FishCo"][item]).unwrap()
}

pub(super) fn key(item: usize, by_name: bool) -> ItemKey {
    if by_name {
        ItemKey::Name(name(item))
    } else {
        ItemKey::Number(ItemNumber(item as u64))
    }
}

pub(super) fn item(item: usize, version: u64) -> Item {
    Item {
        number: ItemNumber(item as u64),
        name: name(item),
        shop: Text::new("stocks").unwrap(),
        category: None,
        price: Money::from_cents(1599).unwrap(),
        quantity: Quantity::new(100).unwrap(),
        volume: 0,
        description: None,
        slogan: None,
        version: Version(version),
    }
}

/// A cache that holds a lease for a second.
fn leased(capacity: usize) -> (Cache, Instant) {
    let cache = Cache::new(capacity);
    let now = Instant::now();
    cache.grant(Lease {
        id: lease_id(1),
        valid_until: now + Duration::from_secs(1),
    });
    (cache, now)
}

fn lead(cache: &Cache, key: &ItemKey, now: Instant) -> Fetch {
    match cache.lookup(key, || now) {
        Lookup::Lead(fetch) => fetch,
        other => panic!("{other:?}"),
    }
}

fn changed(item: usize, version: u64) -> [Invalidation; 1] {
    [Invalidation {
        number: ItemNumber(item as u64),
        name: name(item),
        version: Version(version),
    }]
}

fn is_hit(cache: &Cache, key: &ItemKey, now: Instant) -> bool {
    matches!(cache.lookup(key, || now), Lookup::Hit(_))
}

#[test]
fn misses_of_one_item_are_fetched_once_however_many_wait() {
    let (cache, now) = leased(10);
    let key = key(0, true);
    let fetch = lead(&cache, &key, now);
    let waiters: Vec<_> = (0..5)
        .map(|_| match cache.lookup(&key, || now) {
            Lookup::Join(waiter) => waiter,
            other => panic!("{other:?}"),
        })
        .collect();
    cache.complete(fetch, Ok(Some(Arc::new(item(0, 1)))));
    assert!(waiters.iter().all(|waiter| waiter.now().is_some()));
    assert!(is_hit(&cache, &key, now));
    let counts = cache.counts();
    assert_eq!((counts.misses, counts.joins, counts.hits), (1, 5, 1));
}

#[test]
fn an_invalidation_reaches_an_item_under_both_its_keys() {
    let (cache, now) = leased(10);
    for by_name in [true, false] {
        let fetch = lead(&cache, &key(0, by_name), now);
        cache.complete(fetch, Ok(Some(Arc::new(item(0, 1)))));
    }
    cache.invalidate(&changed(0, 1));
    assert!(
        is_hit(&cache, &key(0, true), now),
        "it names no newer version"
    );
    cache.invalidate(&changed(0, 2));
    for by_name in [true, false] {
        lead(&cache, &key(0, by_name), now);
    }
}

#[test]
fn an_overtaken_fetch_is_not_joined_and_caches_only_what_is_new_enough() {
    for (version, cached) in [(1, false), (2, true)] {
        let (cache, now) = leased(10);
        let key = key(0, true);
        let fetch = lead(&cache, &key, now);
        let waiter = fetch.waiter();
        cache.invalidate(&changed(0, 2));
        cache.complete(fetch, Ok(Some(Arc::new(item(0, version)))));
        assert!(waiter.now().is_some(), "who waited before is answered");
        assert_eq!(is_hit(&cache, &key, now), cached);
        assert_eq!(cache.counts().refused_fills, u64::from(!cached));
    }
    let (cache, now) = leased(10);
    let _overtaken = lead(&cache, &key(0, true), now);
    cache.invalidate(&changed(0, 2));
    lead(&cache, &key(0, true), now);
}

#[test]
fn an_item_that_is_removed_is_gone_and_one_that_is_new_is_looked_for_again() {
    let (cache, now) = leased(10);
    let key = key(0, true);
    let fetch = lead(&cache, &key, now);
    cache.complete(fetch, Ok(Some(Arc::new(item(0, 1)))));
    cache.invalidate(&changed(0, 2));
    // That there is none is not kept, so that nothing is wrong about it later.
    for _ in 0..2 {
        let fetch = lead(&cache, &key, now);
        cache.complete(fetch, Ok(None));
    }
    // A fetch that has found none when the item is created is joined by nobody.
    let overtaken = lead(&cache, &key, now);
    cache.invalidate(&changed(0, 1));
    let fetch = lead(&cache, &key, now);
    cache.complete(overtaken, Ok(None));
    cache.complete(fetch, Ok(Some(Arc::new(item(0, 1)))));
    assert!(is_hit(&cache, &key, now));
}

#[test]
fn a_name_that_passes_to_another_item_shows_that_one_whatever_its_version() {
    let (cache, now) = leased(10);
    let key = key(0, true);
    let fetch = lead(&cache, &key, now);
    cache.complete(fetch, Ok(Some(Arc::new(item(0, 900)))));
    // The item is renamed, and item 1, which has changed less often, is given its name.
    cache.invalidate(&changed(0, 901));
    let [change] = changed(1, 5);
    cache.invalidate(&[Invalidation {
        name: name(0),
        ..change
    }]);
    let heir = Item {
        name: name(0),
        ..item(1, 5)
    };
    let fetch = lead(&cache, &key, now);
    cache.complete(fetch, Ok(Some(Arc::new(heir.clone()))));
    match cache.lookup(&key, || now) {
        Lookup::Hit(hit) => assert_eq!(*hit, heir),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_served_when_the_lease_runs_out_nor_under_the_next_one() {
    let (cache, now) = leased(10);
    let key = key(0, true);
    let fetch = lead(&cache, &key, now);
    cache.complete(fetch, Ok(Some(Arc::new(item(0, 1)))));
    let later = now + Duration::from_secs(1);
    assert!(matches!(cache.lookup(&key, || later), Lookup::Alone));
    assert!(cache.names(10, later).is_empty());
    let valid_until = later + Duration::from_secs(1);
    cache.grant(Lease {
        id: lease_id(1),
        valid_until,
    });
    assert!(is_hit(&cache, &key, later), "a renewal has no gap");
    cache.grant(Lease {
        id: lease_id(2),
        valid_until,
    });
    let _began_under_the_second = lead(&cache, &key, later);
    cache.grant(Lease {
        id: lease_id(3),
        valid_until,
    });
    lead(&cache, &key, later);
}

#[test]
fn what_was_given_up_is_not_served_even_if_it_is_granted_later() {
    let (cache, now) = leased(10);
    let key = key(0, true);
    let fetch = lead(&cache, &key, now);
    cache.complete(fetch, Ok(Some(Arc::new(item(0, 1)))));
    cache.renounce(Term(1));
    assert!(is_hit(&cache, &key, now), "it is of no earlier term");
    let under_way = lead(&cache, &self::key(1, true), now);
    cache.renounce(Term(2));
    assert!(matches!(cache.lookup(&key, || now), Lookup::Alone));
    let lease = |term| Lease {
        id: LeaseId {
            term,
            ..lease_id(1)
        },
        valid_until: now + Duration::from_secs(1),
    };
    assert!(!cache.grant(lease(Term(1))), "it comes too late");
    assert!(matches!(cache.lookup(&key, || now), Lookup::Alone));
    assert!(cache.grant(lease(Term(2))));
    cache.complete(under_way, Ok(Some(Arc::new(item(1, 1)))));
    for item in [0, 1] {
        lead(&cache, &self::key(item, true), now);
    }
    cache.renounce(Term(1));
    assert_eq!(cache.lease(), Some(lease(Term(2))));
}

#[test]
fn what_does_not_exist_or_cannot_be_fetched_leaves_nothing_behind() {
    let (cache, now) = leased(10);
    for outcome in [Ok(None), Err(Error::Busy)] {
        let fetch = lead(&cache, &key(0, true), now);
        cache.complete(fetch, outcome);
        assert!(cache.is_empty());
    }
    drop(lead(&cache, &key(0, true), now));
    lead(&cache, &key(0, true), now);
}

#[test]
fn the_least_used_item_makes_room() {
    let (cache, now) = leased(3);
    let fill = |item: usize| {
        let fetch = lead(&cache, &key(item, true), now);
        cache.complete(fetch, Ok(Some(Arc::new(self::item(item, 1)))));
    };
    (0..3).for_each(fill);
    assert!(is_hit(&cache, &key(0, true), now));
    fill(3);
    assert!(is_hit(&cache, &key(0, true), now));
    lead(&cache, &key(1, true), now);
    assert_eq!((cache.counts().items, cache.counts().evictions), (3, 1));
}

#[test]
fn readers_on_other_threads_see_every_acknowledged_change() {
    const CHANGES: u64 = 20_000;
    let (cache, now) = leased(10);
    let key = key(0, true);
    let (applied, acknowledged) = (AtomicU64::new(1), AtomicU64::new(1));
    let read = || {
        let needed = acknowledged.load(Ordering::SeqCst);
        let shown = match cache.lookup(&key, || now) {
            Lookup::Hit(item) => item.version.0,
            Lookup::Join(waiter) => loop {
                match waiter.now() {
                    Some(outcome) => break outcome.unwrap().unwrap().version.0,
                    None => std::thread::yield_now(),
                }
            },
            Lookup::Lead(fetch) => {
                let version = applied.load(Ordering::SeqCst);
                std::thread::yield_now();
                cache.complete(fetch, Ok(Some(Arc::new(item(0, version)))));
                version
            }
            Lookup::Alone => panic!("the lease is live"),
        };
        assert!(
            shown >= needed,
            "shows version {shown} where {needed} was acknowledged"
        );
    };
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for version in 2..=CHANGES {
                applied.store(version, Ordering::SeqCst);
                cache.invalidate(&changed(0, version));
                acknowledged.store(version, Ordering::SeqCst);
            }
        });
        for _ in 0..3 {
            threads.spawn(|| {
                while acknowledged.load(Ordering::SeqCst) < CHANGES {
                    read();
                }
            });
        }
    });
}
