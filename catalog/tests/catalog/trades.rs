//! Trades, and what is left of them after a restart.

use std::fs;

use bazaar_rpc::catalog::{CatalogError, MAX_BATCH, TradeBatch};
use bazaar_rpc::connect::within;
use bazaar_rpc::{Refusal, Side, Trade, TradeSequence};
use futures::future::join_all;

use crate::running::{PATIENCE, Running, request};

/// Leases do not matter here.
const SHORT: [&str; 2] = ["--lease", "10ms"];

fn sequences(trades: &[Trade]) -> Vec<u64> {
    trades.iter().map(|trade| trade.sequence.0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_decided_in_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Running::start(dir.path(), &SHORT).await.unwrap();
    let fence = catalog.fence(1).await;
    assert_eq!(
        (fence.forgotten, fence.next),
        (TradeSequence(0), TradeSequence(0))
    );
    let decided = catalog
        .decide(
            &fence,
            vec![
                request("a", "GameStart", Side::Buy, 100),
                request("b", "GameStart", Side::Buy, 1),
                request("c", "GameStart", Side::Sell, 5),
                request("a", "GameStart", Side::Buy, 100),
                request("d", "hoodie", Side::Buy, 1),
            ],
        )
        .await;
    let made = |at: usize| decided[at].as_ref().map(|trade| trade.sequence.0);
    assert_eq!((made(0), made(2), made(3)), (Ok(0), Ok(1), Ok(0)));
    assert!(matches!(decided[1], Err(Refusal::NotEnoughStock { .. })));
    assert_eq!(decided[4], Err(Refusal::AccountRequired));
    let item = catalog.item("GameStart").await;
    assert_eq!((item.quantity.units(), item.volume), (5, 105));
    catalog.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_on_one_connection_are_decided_in_the_order_in_which_they_were_sent() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Running::start(dir.path(), &SHORT).await.unwrap();
    let fence = catalog.fence(1).await;
    let calls = (0..500).map(|call| {
        let trade = |n: usize| request(&format!("{call}.{n}"), "BoarCo", Side::Sell, 1);
        catalog.decide(&fence, (0..3).map(trade).collect())
    });
    // Unconstrained, because a task that uses up its budget sends some of the calls later.
    let decided = tokio::task::unconstrained(join_all(calls)).await;
    let trades: Vec<_> = decided
        .into_iter()
        .flatten()
        .map(|decided| decided.unwrap())
        .collect();
    assert_eq!(sequences(&trades), (0..1500).collect::<Vec<_>>());
    assert_eq!(catalog.item("BoarCo").await.quantity.units(), 1600);
    catalog.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_order_leader_is_fenced_out() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Running::start(dir.path(), &SHORT).await.unwrap();
    let old = catalog.fence(3).await;
    let new = catalog.fence(4).await;
    let by = new.token;
    let trades = vec![request("a", "BoarCo", Side::Buy, 1)];
    let batch = TradeBatch {
        token: old.token,
        recorded: old.forgotten,
        trades,
    };
    let refused = catalog
        .client
        .decide(within(PATIENCE), batch)
        .await
        .unwrap();
    assert_eq!(refused, Err(CatalogError::Fenced { by }));
    let refused = catalog
        .client
        .outbox(within(PATIENCE), old.token, old.next)
        .await
        .unwrap();
    assert_eq!(refused, Err(CatalogError::Fenced { by }));
    assert_eq!(catalog.item("BoarCo").await.volume, 0);
    catalog.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_too_long_is_refused_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Running::start(dir.path(), &SHORT).await.unwrap();
    let fence = catalog.fence(1).await;
    let trade = |n: usize| request(&n.to_string(), "BoarCo", Side::Sell, 1);
    let trades = (0..=MAX_BATCH).map(trade).collect();
    let batch = TradeBatch {
        token: fence.token,
        recorded: fence.forgotten,
        trades,
    };
    let refused = catalog
        .client
        .decide(within(PATIENCE), batch)
        .await
        .unwrap();
    assert!(
        matches!(refused, Err(CatalogError::Invalid(_))),
        "{refused:?}"
    );
    assert_eq!(catalog.item("BoarCo").await.volume, 0);
    catalog.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut booked = Vec::new();
    for round in 0..4 {
        let catalog = Running::start(dir.path(), &SHORT).await.unwrap();
        let fence = catalog.fence(1).await;
        assert_eq!(fence.next.0, booked.len() as u64, "round {round}");
        let outbox = catalog
            .client
            .outbox(within(PATIENCE), fence.token, TradeSequence(0));
        assert_eq!(outbox.await.unwrap().unwrap(), booked);
        // A repetition of what is in the outbox is no new trade, before and after a restart.
        let trade = |n: usize| request(&n.to_string(), "FishCo", Side::Buy, 1);
        let decided = catalog
            .decide(&fence, (0..booked.len() + 10).map(trade).collect())
            .await;
        booked = decided
            .into_iter()
            .map(|decided| decided.unwrap())
            .collect();
        assert_eq!(
            sequences(&booked),
            (0..booked.len() as u64).collect::<Vec<_>>()
        );
        let item = catalog.item("FishCo").await;
        assert_eq!(item.quantity.units(), 100 - booked.len() as u64);
        // What was told to be recorded stays forgotten too.
        if round % 2 == 0 {
            catalog.stop().await;
            assert!(dir.path().join("catalog.json").is_file());
        } else {
            catalog.crash().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_start_with_more_shops_opens_them_and_leaves_the_stock_alone() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Running::start(dir.path(), &SHORT).await.unwrap();
    let fence = catalog.fence(1).await;
    catalog
        .decide(&fence, vec![request("a", "FishCo", Side::Buy, 7)])
        .await;
    catalog.stop().await;

    let file = dir.path().join("fish.json");
    let text = r#"{"shop": "fish",
        "policy": {"sides": ["buy"], "min": 1, "max": null, "account": false},
        "items": [{"number": 900, "name": "cod", "price": 3, "quantity": 12}]}"#;
    fs::write(&file, text).unwrap();
    let flags = ["--lease", "10ms", "--shop", file.to_str().unwrap()];
    let catalog = Running::start(dir.path(), &flags).await.unwrap();
    assert_eq!(catalog.item("cod").await.quantity.units(), 12);
    assert_eq!(catalog.item("FishCo").await.quantity.units(), 93);
    catalog.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_catalog_file_stops_the_start_with_its_name_and_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Running::start(dir.path(), &SHORT).await.unwrap();
    catalog.fence(1).await;
    catalog.item("FishCo").await;
    catalog.stop().await;
    let file = dir.path().join("catalog.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("100", "999", 1)).unwrap();
    let refusal = Running::start(dir.path(), &SHORT)
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(refusal.contains(file.to_str().unwrap()), "{refusal}");
    assert!(refusal.contains("put a good copy back"), "{refusal}");
    fs::write(&file, text).unwrap();
    Running::start(dir.path(), &SHORT)
        .await
        .unwrap()
        .stop()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Running::start(dir.path(), &SHORT).await.unwrap();
    let refusal = Running::start(dir.path(), &SHORT)
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(refusal.contains("locked by another process"), "{refusal}");
    catalog.stop().await;
}
