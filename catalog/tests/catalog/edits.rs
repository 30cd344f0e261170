//! Edits of items, and restocks on a timer.

use std::fs;
use std::time::{Duration, Instant};

use bazaar_rpc::catalog::ListQuery;
use bazaar_rpc::connect::within;
use bazaar_rpc::edit::{Edit, EditOutcome, EditRefusal, ItemChange, NewItem};
use bazaar_rpc::{Item, ItemKey, ItemName, ItemNumber, Money, Quantity, Refusal, RequestId};
use bazaar_rpc::{ShopName, Side, Version};

use crate::cache::Cache;
use crate::running::{PATIENCE, Running, key, ready, request};

/// Leases do not matter here.
const SHORT: [&str; 2] = ["--lease", "10ms"];

/// Asks for `edit` under the request id of `id`.
async fn edit(catalog: &Running, id: &str, edit: &Edit) -> EditOutcome {
    let request = RequestId::from_key(None, id);
    let client = &catalog.client;
    let ask = || client.edit(within(PATIENCE), request, edit.clone());
    ready(ask).await.unwrap()
}

fn remove(item: ItemNumber, expected: Option<Version>) -> Edit {
    Edit::Remove { item, expected }
}

fn rename(item: ItemNumber, name: &str) -> Edit {
    let change = ItemChange {
        name: ItemName::new(name).ok(),
        ..ItemChange::default()
    };
    Edit::Change {
        item,
        expected: None,
        change,
    }
}

fn teapot() -> NewItem {
    NewItem {
        number: None,
        name: ItemName::new("teapot").unwrap(),
        shop: ShopName::new("stocks").unwrap(),
        category: None,
        price: Money::from_cents(1250).unwrap(),
        quantity: Quantity::new(5).unwrap(),
        description: None,
        slogan: None,
    }
}

async fn lookup(catalog: &Running, name: &str) -> Option<Item> {
    let lookup = || catalog.client.lookup(within(PATIENCE), key(name));
    ready(lookup).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_is_created_traded_changed_and_removed_and_stays_so_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Running::start(dir.path(), &SHORT).await.unwrap();
    let fence = catalog.fence(1).await;
    let created = edit(&catalog, "a", &Edit::Create(teapot())).await.unwrap();
    assert_eq!(lookup(&catalog, "teapot").await, Some(created.clone()));
    let sold_out = catalog
        .decide(&fence, vec![request("b", "teapot", Side::Buy, 5)])
        .await;
    assert_eq!(sold_out[0].as_ref().unwrap().item, created.number);
    let restock = Edit::Restock {
        item: created.number,
        expected: Some(created.version),
        units: Quantity::new(3).unwrap(),
    };
    let current = Version(2);
    let conflict = Err(EditRefusal::VersionConflict { current });
    assert_eq!(edit(&catalog, "c", &restock).await, conflict);
    let kettle = edit(&catalog, "d", &rename(created.number, "kettle"))
        .await
        .unwrap();
    assert_eq!(lookup(&catalog, "teapot").await, None);
    assert_eq!(lookup(&catalog, "kettle").await, Some(kettle));
    let fish = catalog.item("FishCo").await;
    let gone = edit(&catalog, "e", &remove(fish.number, Some(fish.version))).await;
    assert_eq!(gone.unwrap().version, fish.version.next());
    catalog.crash().await;

    let catalog = Running::start(dir.path(), &SHORT).await.unwrap();
    let fence = catalog.fence(2).await;
    assert_eq!(lookup(&catalog, "FishCo").await, None);
    let refused = catalog
        .decide(&fence, vec![request("f", "FishCo", Side::Buy, 1)])
        .await;
    assert_eq!(refused, [Err(Refusal::UnknownItem)]);
    let query = ListQuery {
        limit: 100,
        ..ListQuery::default()
    };
    let list = catalog.client.list(within(PATIENCE), query);
    let listed = list.await.unwrap().unwrap();
    let names: Vec<_> = listed.iter().map(|item| item.name.as_str()).collect();
    assert!(
        names.contains(&"kettle") && !names.contains(&"FishCo"),
        "{names:?}"
    );
    // What was asked for before the crash is answered as it was.
    let again = edit(&catalog, "a", &Edit::Create(teapot())).await;
    assert_eq!(again, Ok(created));
    assert_eq!(edit(&catalog, "c", &restock).await, conflict);
    catalog.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_answered_and_shown_when_every_cache_has_acknowledged_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Running::start(dir.path(), &["--lease", "3s"])
        .await
        .unwrap();
    catalog.fence(1).await;
    let (fish, boar) = (catalog.item("FishCo").await, catalog.item("BoarCo").await);
    let cache = Cache::start(&catalog, 1).await;
    for (id, change, names) in [
        ("a", remove(fish.number, None), vec!["FishCo"]),
        ("b", rename(boar.number, "PigCo"), vec!["BoarCo", "PigCo"]),
        ("c", Edit::Create(teapot()), vec!["teapot"]),
    ] {
        cache.lease(&catalog, None).await;
        cache.acknowledge(false);
        let began = Instant::now();
        let mut edited = Box::pin(edit(&catalog, id, &change));
        tokio::select! {
            outcome = &mut edited => panic!("{outcome:?} before a cache has acknowledged"),
            () = async { for name in &names { cache.told_of(name).await; } } => {}
        }
        // Nobody is shown what there is now, nor that there is nothing any more.
        let lookups = names.iter().map(|name| lookup(&catalog, name));
        let mut lookups = Box::pin(futures::future::select_all(lookups.map(Box::pin)));
        tokio::select! {
            biased;
            (shown, _, _) = &mut lookups => panic!("{shown:?} before a cache has acknowledged"),
            stock = catalog.item("GameStart") => assert_eq!(stock.version, Version(1)),
        }
        cache.acknowledge(true);
        edited.await.unwrap();
        let lasted = began.elapsed();
        assert!(
            lasted < Duration::from_secs(3),
            "acknowledged, not timed out: {lasted:?}"
        );
    }
    assert_eq!(lookup(&catalog, "FishCo").await, None);
    assert_eq!(lookup(&catalog, "PigCo").await.unwrap().number, boar.number);
    let by_number = ItemKey::Number(fish.number);
    let gone = catalog.client.lookup(within(PATIENCE), by_number).await;
    assert_eq!(gone.unwrap(), Ok(None));
    catalog.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_restocks_what_is_low_on_a_timer() {
    let dir = tempfile::tempdir().unwrap();
    let shop = dir.path().join("teas.json");
    let teas = r#"{
        "shop": "teas",
        "policy": { "sides": ["buy"], "min": 1, "account": false,
                    "restock": { "every": "1s", "below": 3, "to": 8 } },
        "items": [{ "number": 9001, "name": "Oolong", "price": 4.50, "quantity": 20 },
                  { "number": 9002, "name": "Assam", "price": 3.50, "quantity": 20 }]
    }"#;
    fs::write(&shop, teas).unwrap();
    let flags = [&SHORT[..], &["--shop", shop.to_str().unwrap()]].concat();
    let data = dir.path().join("catalog");
    let catalog = Running::start(&data, &flags).await.unwrap();
    let fence = catalog.fence(1).await;
    let buy = |id: &str, item: &str, units: u64| vec![request(id, item, Side::Buy, units)];
    catalog.decide(&fence, buy("a", "Oolong", 18)).await[0]
        .as_ref()
        .unwrap();
    catalog.decide(&fence, buy("b", "Assam", 17)).await[0]
        .as_ref()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    let restocked = loop {
        let item = catalog.item("Oolong").await;
        if item.quantity.units() != 2 {
            break item;
        }
        assert!(Instant::now() < deadline, "it is restocked within seconds");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(
        (restocked.quantity.units(), restocked.version),
        (8, Version(3))
    );
    assert_eq!(
        catalog.item("Assam").await.quantity.units(),
        3,
        "it is not low"
    );
    catalog.decide(&fence, buy("c", "Oolong", 8)).await[0]
        .as_ref()
        .unwrap();
    catalog.crash().await;
    // A new reign looks at once, whatever the timer said.
    let started = Running::start(&data, &flags).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while started.item("Oolong").await.quantity.units() != 8 {
        assert!(Instant::now() < deadline, "it is restocked again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    started.stop().await;
}
