//! What a cache lease is worth, seen from both ends of it.

use std::time::{Duration, Instant};

use bazaar_rpc::catalog::{CatalogError, LeaseRequest, ListQuery};
use bazaar_rpc::connect::within;
use bazaar_rpc::{CacheId, Side, Term};

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
async fn a_new_reign_waits_until_every_cache_on_record_has_called_in_and_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--lease", "10s"];
    // A catalog that has never led cannot tell what was before it, and waits.
    let catalog = Running::start(dir.path(), &["--lease", "50ms"])
        .await
        .unwrap();
    catalog.fence(1).await;
    catalog.item("FishCo").await;
    catalog.crash().await;

    let catalog = Running::start(dir.path(), &flags).await.unwrap();
    let started = Instant::now();
    catalog.item("FishCo").await;
    let (one, two) = (
        Cache::start(&catalog, 1).await,
        Cache::start(&catalog, 2).await,
    );
    one.lease(&catalog, None).await;
    two.lease(&catalog, None).await;
    catalog.crash().await;

    let catalog = Running::start(dir.path(), &flags).await.unwrap();
    let (one, two) = (one.beside(&catalog).await, two.beside(&catalog).await);
    let stranger = Cache::start(&catalog, 3).await;
    let mut fence = Box::pin(catalog.fence(1));
    let callers = async {
        one.lease(&catalog, None).await;
        stranger.lease(&catalog, None).await;
        // It speaks of a reign that is over, and may go by a lease of that.
        let term = Term(catalog.leads().await.0 - 1);
        let request = two.request(term, None);
        catalog.client.lease(within(PATIENCE), request).await
    };
    tokio::select! {
        _ = &mut fence => panic!("settled while a cache may go by a lease of the reign before"),
        refusal = callers => assert_eq!(refusal.unwrap(), Err(CatalogError::Starting)),
    }
    two.lease(&catalog, None).await;
    fence.await;
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "it was the call, not time, that settled it"
    );
    catalog.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caches_that_are_gone_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--lease", "1s", "--snapshot-interval", "10ms"];
    let catalog = Running::start(dir.path(), &flags).await.unwrap();
    let (gone, lives) = (
        Cache::start(&catalog, 1).await,
        Cache::start(&catalog, 2).await,
    );
    let lease = lives.lease(&catalog, None).await.lease;
    lives.keep_leased(&catalog, lease, Duration::from_millis(100));
    gone.lease(&catalog, None).await;
    let on_record = async |known: &[&Cache], unknown: &[&Cache]| {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = std::fs::read_to_string(dir.path().join("catalog.json"));
            let file = text.unwrap_or_default();
            let has = |cache: &&Cache| file.contains(&format!("\"{}\"", cache.id));
            if known.iter().all(has) && !unknown.iter().any(has) {
                return;
            }
            assert!(Instant::now() < deadline, "{file}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    on_record(&[&lives, &gone], &[]).await;
    on_record(&[&lives], &[&gone]).await;
    catalog.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_cannot_be_reached_gets_no_lease() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Running::start(dir.path(), &["--lease", "2s"])
        .await
        .unwrap();
    let cache = Cache::start(&catalog, 1).await;
    let grant = cache.lease(&catalog, None).await;
    let held = cache.request(grant.lease.term, Some(grant.lease));
    let nobody = LeaseRequest {
        address: nowhere(),
        ..held.clone()
    };
    let lease = async |request| {
        catalog
            .client
            .lease(within(PATIENCE), request)
            .await
            .unwrap()
    };
    // The holder of a live lease has a connection already.
    lease(nobody.clone()).await.unwrap();
    let cache = CacheId::fresh();
    let somebody_else = LeaseRequest {
        cache,
        holder: catalog.name,
        ..held
    };
    for request in [LeaseRequest { cache, ..nobody }, somebody_else] {
        let outcome = lease(request).await;
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
