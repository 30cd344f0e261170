//! Order replicas against a catalog that fails: every acknowledged order is recorded once, whatever
//! becomes of the catalog and its answers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod amendments;
mod catalog;
mod cluster;

use std::time::Duration;

use bazaar_order::{Export, export};
use bazaar_rpc::catalog::{Catalog as _, TradeBatch};
use bazaar_rpc::connect::within;
use bazaar_rpc::orders::OrderError;
use bazaar_rpc::{
    FencingToken, ItemKey, ItemNumber, Order, OrderNumber, Quantity, Refusal, Term, TradeRequest,
    TradeSequence, UserId,
};
use catalog::{Fault, TestCatalog};
use cluster::{CLUSTER, Cluster, LIMIT, bounded, request};
use futures::future::join_all;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_order_is_recorded_once() {
    bounded(async {
        let cluster = Cluster::start(TestCatalog::new(1000), 1).await;
        let orders = cluster.trade_many("a", 300).await;
        cluster.assert_booked_once(1000, orders).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_catalog_decided_and_could_not_tell_is_recovered_from_its_outbox() {
    bounded(async {
        for fault in [Fault::LostAnswer, Fault::Unknown] {
            let cluster = Cluster::start(TestCatalog::new(1000), 1).await;
            cluster.catalog.state().faults = [None, Some(fault), None, None, Some(fault)].into();
            let mut orders = cluster.trade_many("a", 40).await;
            cluster.catalog.state().faults = [Some(fault)].into();
            orders.extend(cluster.trade_many("b", 40).await);
            assert!(cluster.catalog.state().fences > 1);
            cluster.assert_booked_once(1000, orders).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_catalog_never_decided_is_sent_again() {
    bounded(async {
        for fault in [Fault::LostBatch, Fault::Busy] {
            let cluster = Cluster::start(TestCatalog::new(1000), 1).await;
            cluster.catalog.state().faults = [None, Some(fault), Some(fault)].into();
            let orders = cluster.trade_many("a", 40).await;
            cluster.assert_booked_once(1000, orders).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalog_that_keeps_dying_delays_trades_and_loses_none() {
    bounded(async {
        let cluster = Cluster::start(TestCatalog::new(1000), 1).await;
        let dying = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                cluster.catalog.crash();
            }
        };
        let trading = async {
            let mut orders = Vec::new();
            for round in 0..20 {
                orders.extend(cluster.trade_many(&round.to_string(), 10).await);
            }
            orders
        };
        let ((), orders) = tokio::join!(dying, trading);
        cluster.assert_booked_once(1000, orders).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_sent_many_times_is_one_order() {
    bounded(async {
        let cluster = Cluster::start(TestCatalog::new(1000), 1).await;
        let copies = join_all((0..20).map(|_| cluster.trade(request("k", 2)))).await;
        let original = copies[0].clone().unwrap();
        assert!(copies.iter().all(|copy| copy.as_ref() == Ok(&original)));
        // Recorded, and long forgotten by the catalog.
        cluster.trade_many("other", 5).await;
        assert_eq!(cluster.trade(request("k", 2)).await.unwrap(), original);
        let item = ItemKey::Number(ItemNumber(1));
        let by_number = TradeRequest {
            item,
            ..request("k", 2)
        };
        assert_eq!(cluster.trade(by_number).await.unwrap(), original);
        assert_eq!(cluster.orders(1).await.len(), 6);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_request_under_the_same_id_is_refused() {
    bounded(async {
        let cluster = Cluster::start(TestCatalog::new(1000), 1).await;
        cluster.trade(request("k", 2)).await.unwrap();
        assert_eq!(
            cluster.trade(request("k", 3)).await,
            Err(OrderError::KeyReused)
        );
        let before = cluster.catalog.arrived();
        cluster.catalog.open_gate(false);
        let mut calls = cluster.spawn_trade(request("l", 2));
        cluster.catalog.arrival_after(before).await;
        assert_eq!(
            cluster.trade(request("l", 3)).await,
            Err(OrderError::KeyReused)
        );
        cluster.catalog.open_gate(true);
        calls.join_next().await.unwrap().unwrap().unwrap();
        assert_eq!(cluster.orders(1).await.len(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_changes_nothing_and_is_not_pinned() {
    bounded(async {
        let cluster = Cluster::start(TestCatalog::new(5), 1).await;
        let available = Quantity::new(5).unwrap();
        let refused = Err(OrderError::Refused(Refusal::NotEnoughStock { available }));
        assert_eq!(cluster.trade(request("k", 6)).await, refused);
        let (min, max) = (Quantity::new(1).unwrap(), Quantity::MAX);
        let bounds = OrderError::Refused(Refusal::QuantityNotAllowed { min, max });
        assert_eq!(cluster.trade(request("z", 0)).await, Err(bounds));
        let attempt = request("late", 6);
        assert_eq!(cluster.trade(attempt.clone()).await, refused);
        assert_eq!(cluster.orders(1).await.len(), 0);
        cluster.catalog.state().stock = 10;
        assert_eq!(
            cluster.trade(request("k", 6)).await.unwrap().number,
            OrderNumber(0)
        );
        // But it is for another attempt of the same call, which comes too late to be told apart.
        cluster.catalog.state().stock = 10;
        assert_eq!(cluster.trade(attempt).await, refused);
        assert_eq!(cluster.orders(1).await.len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trade_that_was_sent_goes_on_when_its_caller_hangs_up() {
    bounded(async {
        let cluster = Cluster::start(TestCatalog::new(5), 1).await;
        cluster.trade(request("first", 1)).await.unwrap();
        let before = cluster.catalog.arrived();
        cluster.catalog.open_gate(false);
        let mut calls = cluster.spawn_trade(request("k", 1));
        cluster.catalog.arrival_after(before).await;
        calls.shutdown().await;
        cluster.catalog.open_gate(true);
        let (client, id) = (cluster.client(1).await, request("k", 1).request);
        let order = loop {
            let found = client
                .order_of_request(within(LIMIT), id)
                .await
                .unwrap()
                .unwrap();
            if let Some(order) = found {
                break order;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert_eq!(cluster.trade(request("k", 1)).await.unwrap(), order);
        assert_eq!(cluster.orders(1).await.len(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_starts_again_goes_on_where_it_was_and_records_what_is_left() {
    bounded(async {
        let mut cluster = Cluster::start(TestCatalog::new(1000), 1).await;
        let before = cluster.trade_many("a", 50).await;
        cluster.stop_replica(1).await;
        // What an earlier leader had made and did not live to record.
        let token = cluster.catalog.state().token;
        let trades = (0..10).map(|n| request(&format!("left {n}"), 1)).collect();
        let batch = TradeBatch {
            token,
            recorded: TradeSequence(50),
            trades,
        };
        cluster
            .catalog
            .clone()
            .decide(within(LIMIT), batch)
            .await
            .unwrap();
        cluster.start_replica(1).await;
        let left = cluster.trade(request("left 3", 1)).await.unwrap();
        assert_eq!(left.number, OrderNumber(53));
        let after = cluster.trade(request("after", 1)).await.unwrap();
        assert_eq!(after.number, OrderNumber(60));
        let orders = cluster.orders(1).await;
        assert_eq!(orders.len(), 61);
        assert!(before.iter().all(|order| orders.contains(order)));
        assert_eq!(cluster.catalog.state().next, 61);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_fence_of_our_own_is_fenced_again() {
    bounded(async {
        let cluster = Cluster::start(TestCatalog::new(1000), 1).await;
        let mut orders = cluster.trade_many("a", 10).await;
        cluster.catalog.state().token.epoch += 1;
        orders.extend(cluster.trade_many("b", 10).await);
        cluster.assert_booked_once(1000, orders).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalog_of_another_order_log_is_found_out() {
    bounded(async {
        let inconsistent = |answer: Result<Order, OrderError>| {
            assert!(
                matches!(answer, Err(OrderError::Inconsistent(_))),
                "{answer:?}"
            );
        };
        // It knows a leader that this log has never had.
        let cluster = Cluster::start(TestCatalog::new(1000), 1).await;
        cluster.trade(request("k", 1)).await.unwrap();
        cluster.catalog.state().token = FencingToken {
            term: Term(1 << 40),
            epoch: 9,
        };
        inconsistent(cluster.trade(request("l", 1)).await);
        // It has forgotten trades that this log does not have.
        let catalog = TestCatalog::new(1000);
        catalog.state().next = 9;
        catalog.state().forgotten = 7;
        let cluster = Cluster::start(catalog, 1).await;
        inconsistent(cluster.trade(request("k", 1)).await);
        // It has never made trades that this log has.
        let mut cluster = Cluster::start(TestCatalog::new(1000), 1).await;
        cluster.trade_many("a", 3).await;
        cluster.stop_replica(1).await;
        cluster.catalog.state().next = 0;
        cluster.catalog.state().forgotten = 0;
        cluster.start_replica(1).await;
        inconsistent(cluster.trade(request("k", 1)).await);
        assert_eq!(cluster.orders(1).await.len(), 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_read_by_number_request_and_user_and_exported() {
    bounded(async {
        let mut cluster = Cluster::start(TestCatalog::new(1000), 1).await;
        let mine = TradeRequest {
            user: Some(UserId(7)),
            ..request("mine", 4)
        };
        let mine = cluster.trade(mine).await.unwrap();
        let all = cluster.trade_many("a", 30).await;
        let second = all
            .iter()
            .find(|order| order.number == OrderNumber(2))
            .unwrap();
        let client = cluster.client(1).await;
        let numbers = [2, 99, 0].map(OrderNumber).to_vec();
        let found = client
            .orders(within(LIMIT), numbers)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found, [Some(second.clone()), None, Some(mine.clone())]);
        let of_user = client
            .orders_of_user(within(LIMIT), UserId(7), None, 10)
            .await;
        let of_user = of_user.unwrap().unwrap();
        assert_eq!((of_user.len(), &of_user[0].original), (1, &mine));
        let too_many = client
            .orders(within(LIMIT), vec![OrderNumber(0); 1001])
            .await
            .unwrap();
        assert!(matches!(too_many, Err(OrderError::Invalid(_))));

        let mut options = Export {
            csv: true,
            history: false,
            replica: None,
            nameserver: cluster.nameserver,
            cluster: CLUSTER.parse().unwrap(),
            data_dir: None,
        };
        let mut online = Vec::new();
        export::export(&options, &mut online).await.unwrap();
        let text = String::from_utf8(online.clone()).unwrap();
        assert!(
            text.starts_with(
                "Transaction ID,Stock Name,Order Type,Quantity\n0,GameStart,buy,4\n1,"
            )
        );
        assert_eq!(text.lines().count(), 32);

        options.data_dir = Some(cluster.replica_dir(1));
        let in_use = export::export(&options, &mut Vec::new()).await.unwrap_err();
        assert!(
            in_use.to_string().contains("locked by another process"),
            "{in_use}"
        );
        cluster.stop_replica(1).await;
        let mut offline = Vec::new();
        export::export(&options, &mut offline).await.unwrap();
        assert_eq!(offline, online);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_goes_on_where_the_old_one_stopped() {
    bounded(async {
        let mut cluster = Cluster::start(TestCatalog::new(10_000), 3).await;
        let mut orders = cluster.trade_many("before", 50).await;
        let first = cluster.leader().await;
        // Trades are with the catalog, and others wait, when the leader goes.
        let before = cluster.catalog.arrived();
        cluster.catalog.open_gate(false);
        let mut calls: Vec<_> = (0..50)
            .map(|n| cluster.spawn_trade(request(&format!("during {n}"), 1)))
            .collect();
        cluster.catalog.arrival_after(before).await;
        cluster.stop_replica(first.id).await;
        cluster.catalog.open_gate(true);
        for call in &mut calls {
            orders.push(call.join_next().await.unwrap().unwrap().unwrap());
        }
        assert_ne!(cluster.leader().await, first);
        orders.extend(cluster.trade_many("after", 50).await);
        cluster.start_replica(first.id).await;
        orders.extend(cluster.trade_many("again", 50).await);
        cluster.assert_booked_once(10_000, orders).await;
    })
    .await;
}
