//! What a cache lease is worth, seen from both ends of it.

use std::time::{Duration, Instant};

use bazaar_rpc::Side;
use bazaar_rpc::catalog::{CatalogError, LeaseRequest, ListQuery};
use bazaar_rpc::connect::within;

use crate::cache::Cache;
use crate::running::{PATIENCE, Running, key, nowhere, request};

/// Long enough for everything that must happen before a lease runs out to happen before.
const LONG: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_trade_is_answered_when_every_cache_has_acknowledged_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Running::start(dir.path(), &["--lease", "3s"])
        .await
        .unwrap();
    let fence = catalog.fence(1).await;
    catalog.item("FishCo").await;
    let (slow, quick) = (
        Cache::start(&catalog, 1).await,
        Cache::start(&catalog, 2).await,
    );
    slow.acknowledge(false);
    let granted = Instant::now();
    let lease = slow.lease(&catalog, None).await.lease;
    quick.lease(&catalog, None).await;

    let trade = vec![request("a", "FishCo", Side::Buy, 1)];
    let mut trade = Box::pin(catalog.decide(&fence, trade));
    let told = tokio::select! {
        _ = &mut trade => panic!("answered before a cache has acknowledged"),
        told = async { quick.told_of("FishCo").await; slow.told_of("FishCo").await } => told,
    };
    slow.acknowledge(true);
    let made = trade.await.remove(0).unwrap();
    assert!(
        granted.elapsed() < LONG,
        "it was the acknowledgement, not time, that settled it"
    );
    assert_eq!(told.0, lease);
    assert_eq!((told.1.number, told.1.version), (made.item, made.version));
    catalog.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_settled_is_shown_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Running::start(dir.path(), &["--lease", "3s"])
        .await
        .unwrap();
    let fence = catalog.fence(1).await;
    let before = catalog.item("FishCo").await;
    let cache = Cache::start(&catalog, 1).await;
    cache.acknowledge(false);
    let granted = Instant::now();
    cache.lease(&catalog, None).await;

    let trade = vec![request("a", "FishCo", Side::Buy, 1)];
    let mut trade = Box::pin(catalog.decide(&fence, trade));
    let mut lookup = Box::pin(catalog.item("FishCo"));
    let query = ListQuery {
        limit: 100,
        ..ListQuery::default()
    };
    let mut list = Box::pin(async {
        catalog
            .client
            .list(within(PATIENCE), query)
            .await
            .unwrap()
            .unwrap()
    });
    let mut outbox = Box::pin(async {
        let page = catalog
            .client
            .outbox(within(PATIENCE), fence.token, fence.next);
        page.await.unwrap().unwrap()
    });
    tokio::select! {
        _ = &mut trade => panic!("answered"),
        _ = cache.told_of("FishCo") => {}
    }
    tokio::select! {
        biased;
        _ = &mut lookup => panic!("looked up"),
        _ = &mut list => panic!("listed"),
        _ = &mut outbox => panic!("found in the outbox"),
        // What has not changed is shown all the while.
        item = async { catalog.item("BoarCo").await; catalog.item("GameStart").await } => {
            assert_eq!(item.quantity.units(), 100);
        }
    }
    cache.acknowledge(true);
    let (trade, item, list, outbox) = tokio::join!(trade, lookup, list, outbox);
    assert!(
        granted.elapsed() < LONG,
        "it was the acknowledgement, not time, that settled it"
    );
    assert_eq!(item.version, before.version.next());
    assert_eq!(trade[0].as_ref().unwrap().version, item.version);
    assert_eq!(
        list.into_iter().find(|listed| listed.number == item.number),
        Some(item)
    );
    assert_eq!(outbox.len(), 1);
    catalog.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_never_acknowledges_delays_a_trade_by_one_and_a_half_lengths_at_most() {
    let length = Duration::from_millis(400);
    let dir = tempfile::tempdir().unwrap();
    let catalog = Running::start(dir.path(), &["--lease", "400ms"])
        .await
        .unwrap();
    let fence = catalog.fence(1).await;
    catalog.item("FishCo").await;
    let cache = Cache::start(&catalog, 1).await;
    cache.acknowledge(false);
    let grant = cache.lease(&catalog, None).await;
    assert_eq!(grant.length, length);
    assert_eq!(
        cache.lease(&catalog, Some(grant.lease)).await,
        grant,
        "renewed without a gap"
    );
    cache.keep_leased(&catalog, grant.lease, length / 4);

    let asked = Instant::now();
    catalog
        .decide(&fence, vec![request("a", "FishCo", Side::Buy, 1)])
        .await;
    let waited = asked.elapsed();
    // The rest is what a loaded machine takes for anything at all.
    let bound = length * 3 / 2 + Duration::from_millis(500);
    assert!(waited > length / 2 && waited < bound, "{waited:?}");
    cache.acknowledge(true);
    assert_ne!(
        cache.lease(&catalog, Some(grant.lease)).await.lease,
        grant.lease
    );
    catalog.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_that_has_just_started_waits_for_the_leases_of_its_former_self() {
    let length = Duration::from_millis(600);
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--lease", "600ms"];
    let catalog = Running::start(dir.path(), &flags).await.unwrap();
    let cache = Cache::start(&catalog, 1).await;
    let former = cache.lease(&catalog, None).await.lease;
    catalog.crash().await;

    let started = Instant::now();
    let catalog = Running::start(dir.path(), &flags).await.unwrap();
    let trade = async {
        let fence = catalog.fence(1).await;
        let trade = vec![request("a", "FishCo", Side::Buy, 1)];
        catalog.decide(&fence, trade).await;
        started.elapsed()
    };
    let lookup = async {
        catalog.item("BoarCo").await;
        started.elapsed()
    };
    let (traded, looked_up) = tokio::join!(trade, lookup);
    assert!(traded >= length, "{traded:?}");
    assert!(looked_up >= length, "{looked_up:?}");
    let cache = Cache::start(&catalog, 1).await;
    let lease = cache.lease(&catalog, Some(former)).await.lease;
    assert_ne!(lease, former, "what was cached before is not served again");
    catalog.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_cannot_be_reached_gets_no_lease() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Running::start(dir.path(), &[]).await.unwrap();
    let cache = Cache::start(&catalog, 1).await;
    let grant = cache.lease(&catalog, None).await;
    for (holder, address) in [(cache.name, nowhere()), (catalog.name, cache.address)] {
        let request = LeaseRequest {
            holder,
            address,
            held: Some(grant.lease),
        };
        // The holder of a live lease has a connection already.
        let outcome = catalog
            .client
            .lease(within(PATIENCE), request)
            .await
            .unwrap();
        if holder == cache.name && outcome.is_ok() {
            continue;
        }
        assert!(
            matches!(outcome, Err(CatalogError::Invalid(_))),
            "{outcome:?}"
        );
    }
    catalog.fence(1).await;
    catalog
        .client
        .lookup(within(PATIENCE), key("FishCo"))
        .await
        .unwrap()
        .unwrap();
    catalog.crash().await;
}
