//! Orders that are changed: one after the other, each once, whatever becomes of callers, leaders and
//! the catalog.

use bazaar_history::{OrderLog, OrderRecord, Verdict, check};
use bazaar_rpc::catalog::{Catalog as _, TradeBatch};
use bazaar_rpc::connect::within;
use bazaar_rpc::orders::{MAX_STATES, OrderError, Unchangeable};
use bazaar_rpc::{
    AmendRequest, Amendment, Change, InvocationId, Money, Order, OrderNumber, OrderState,
    OrderStatus, Quantity, Refusal, RequestId, Requester, Side, Timestamp, TradeRequest,
    TradeSequence, UserId,
};
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::catalog::{Fault, TestCatalog};
use crate::cluster::{Cluster, LIMIT, assert_stock, bounded, request};

const STOCK: u64 = 1000;
const OWNER: UserId = UserId(7);

/// The request, whose client sent `key`, that `order` be changed.
fn amend(key: &str, order: &Order, change: Change) -> AmendRequest {
    AmendRequest {
        request: RequestId::from_key(Some(OWNER), key),
        invocation: InvocationId::fresh(),
        order: order.number,
        requester: Requester {
            user: OWNER,
            is_admin: false,
        },
        change,
        received: Timestamp::now(),
    }
}

fn units(units: u64) -> Quantity {
    Quantity::new(units).unwrap()
}

fn update(key: &str, order: &Order, to: u64) -> AmendRequest {
    amend(key, order, Change::Quantity(units(to)))
}

/// The owner buys so many units.
async fn place(cluster: &Cluster, key: &str, units: u64) -> Order {
    let request = TradeRequest {
        user: Some(OWNER),
        ..request(key, units)
    };
    cluster.trade(request).await.unwrap()
}

async fn state(cluster: &Cluster, order: &Order) -> OrderState {
    let leader = cluster.leader().await;
    let client = cluster.client(leader.id).await;
    let states = client.states(within(LIMIT), vec![order.number]);
    states.await.unwrap().unwrap().remove(0).unwrap()
}

/// Asserts that the log of `replica` is whole, that amendments follow from one another, and that
/// they have moved the stock; returns the log.
async fn assert_sound(cluster: &Cluster, replica: u64) -> Vec<Order> {
    let orders = cluster.orders(replica).await;
    let log = OrderLog {
        source: format!("order/{replica}"),
        orders: orders.iter().map(OrderRecord::from).collect(),
        applied: TradeSequence(orders.len() as u64),
    };
    assert_eq!(check::amendments::check(&[log]), Verdict::Ok);
    assert_stock(&cluster.catalog.state(), STOCK, &orders);
    orders
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancels_at_once_return_the_stock_once() {
    bounded(async {
        let cluster = Cluster::start(TestCatalog::new(STOCK), 1).await;
        let order = place(&cluster, "k", 10).await;
        let before = cluster.catalog.arrived();
        cluster.catalog.open_gate(false);
        let mut cancels: Vec<_> = (0..20)
            .map(|n| cluster.spawn_amend(amend(&n.to_string(), &order, Change::Cancel)))
            .collect();
        cluster.catalog.arrival_after(before).await;
        cluster.catalog.open_gate(true);
        for cancel in &mut cancels {
            let state = cancel.join_next().await.unwrap().unwrap().unwrap();
            assert_eq!(state.status(), OrderStatus::Cancelled);
            assert_eq!((state.original, state.history.len()), (order.clone(), 1));
        }
        assert_eq!(cluster.catalog.state().stock, STOCK);
        assert_eq!(assert_sound(&cluster, 1).await.len(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_that_races_an_update_comes_before_it_or_after_it() {
    bounded(async {
        let cluster = Cluster::start(TestCatalog::new(STOCK), 1).await;
        for round in 0..20 {
            let order = place(&cluster, &format!("order {round}"), 3).await;
            let cancel = amend(&format!("cancel {round}"), &order, Change::Cancel);
            let update = update(&format!("update {round}"), &order, 5);
            let (cancelled, updated) = tokio::join!(cluster.amend(cancel), cluster.amend(update));
            let history = cancelled.unwrap().history;
            match updated {
                Ok(updated) => {
                    assert_eq!(updated.quantity(), units(5));
                    assert_eq!((updated.history.len(), history.len()), (1, 2));
                }
                Err(error) => {
                    assert_eq!(error, OrderError::Unchangeable(Unchangeable::Cancelled));
                    assert_eq!(history.len(), 1);
                }
            }
            let state = state(&cluster, &order).await;
            assert_eq!(state.status(), OrderStatus::Cancelled);
        }
        assert_eq!(cluster.catalog.state().stock, STOCK);
        assert_sound(&cluster, 1).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_goes_on_when_its_caller_hangs_up_and_the_next_one_waits_for_it() {
    bounded(async {
        let cluster = Cluster::start(TestCatalog::new(STOCK), 1).await;
        let order = place(&cluster, "k", 10).await;
        let before = cluster.catalog.arrived();
        cluster.catalog.open_gate(false);
        let mut cancel = cluster.spawn_amend(amend("cancel", &order, Change::Cancel));
        cluster.catalog.arrival_after(before).await;
        cancel.shutdown().await;
        let mut late = cluster.spawn_amend(update("late", &order, 5));
        // Under way, it is told from another request under its key.
        let reused = cluster.amend(update("cancel", &order, 5)).await;
        assert_eq!(reused, Err(OrderError::KeyReused));
        cluster.catalog.open_gate(true);
        let late = late.join_next().await.unwrap().unwrap();
        assert_eq!(late, Err(OrderError::Unchangeable(Unchangeable::Cancelled)));
        assert_eq!(assert_sound(&cluster, 1).await.len(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_made_once_and_always_answered_alike() {
    bounded(async {
        let cluster = Cluster::start(TestCatalog::new(STOCK), 1).await;
        let order = place(&cluster, "k", 10).await;
        let first = cluster.amend(update("a", &order, 12)).await.unwrap();
        assert_eq!(
            (first.quantity(), first.status()),
            (units(12), OrderStatus::Updated)
        );
        assert_eq!(first.total(), Money::from_cents(1599).unwrap() * units(12));
        let second = cluster.amend(update("b", &order, 2)).await.unwrap();
        assert_eq!(second.history[..1], first.history);
        assert_eq!(cluster.amend(update("a", &order, 12)).await, Ok(first));
        assert_eq!(
            cluster.amend(update("b", &order, 2)).await,
            Ok(second.clone())
        );
        // It is as is asked already.
        assert_eq!(
            cluster.amend(update("c", &order, 2)).await,
            Ok(second.clone())
        );
        assert_eq!(cluster.orders(1).await.len(), 3);

        let other = place(&cluster, "other", 1).await;
        for reused in [
            update("a", &order, 13),
            amend("a", &order, Change::Cancel),
            update("a", &other, 12),
        ] {
            assert_eq!(cluster.amend(reused).await, Err(OrderError::KeyReused));
        }
        let trade = TradeRequest {
            request: update("a", &order, 1).request,
            ..request("", 2)
        };
        assert_eq!(cluster.trade(trade).await, Err(OrderError::KeyReused));
        let of_trade = AmendRequest {
            request: request("k", 10).request,
            ..amend("", &order, Change::Cancel)
        };
        assert_eq!(cluster.amend(of_trade).await, Err(OrderError::KeyReused));

        let cancelled = cluster.amend(amend("d", &order, Change::Cancel)).await;
        assert_eq!(cancelled.unwrap().status(), OrderStatus::Cancelled);
        assert_eq!(cluster.amend(update("b", &order, 2)).await, Ok(second));
        assert_sound(&cluster, 1).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_its_owners_and_an_admins() {
    bounded(async {
        let cluster = Cluster::start(TestCatalog::new(STOCK), 1).await;
        let order = place(&cluster, "k", 10).await;
        let open = cluster.trade(request("open", 1)).await.unwrap();
        let by = |user, is_admin, request: AmendRequest| AmendRequest {
            requester: Requester { user, is_admin },
            ..request
        };
        let (stranger, admin) = (UserId(8), UserId(9));
        let cancel = || amend("c", &order, Change::Cancel);
        let unknown = OrderError::UnknownOrder;
        let refused = cluster.amend(by(stranger, false, cancel())).await;
        assert_eq!(refused, Err(unknown(order.number)));
        let missing = AmendRequest {
            order: OrderNumber(77),
            ..cancel()
        };
        assert_eq!(cluster.amend(missing).await, Err(unknown(OrderNumber(77))));
        let nobodys = amend("c", &open, Change::Cancel);
        for requester in [nobodys, by(admin, true, nobodys)] {
            let refused = cluster.amend(requester).await;
            let no_account = OrderError::Unchangeable(Unchangeable::NoAccount);
            assert_eq!(refused, Err(no_account));
        }
        let nothing = cluster.amend(update("c", &order, 0)).await;
        let (min, max) = (units(1), Quantity::MAX);
        let bounds = Refusal::QuantityNotAllowed { min, max };
        assert_eq!(nothing, Err(OrderError::Refused(bounds)));
        let too_many = cluster.amend(update("c", &order, STOCK + 1)).await;
        let available = units(STOCK - 11);
        assert_eq!(
            too_many,
            Err(OrderError::Refused(Refusal::NotEnoughStock { available }))
        );
        assert_eq!(cluster.orders(1).await.len(), 2, "nothing has changed");

        let cancelled = cluster.amend(by(admin, true, cancel())).await.unwrap();
        let amendment = cancelled.last().clone();
        assert_eq!(amendment.trade.request.user, Some(OWNER));
        // An amendment is no order of its own.
        let of_amendment = amend("d", &amendment, Change::Cancel);
        assert_eq!(
            cluster.amend(of_amendment).await,
            Err(unknown(amendment.number))
        );
        let client = cluster.client(1).await;
        let numbers = vec![amendment.number, order.number, OrderNumber(99)];
        let states = client.states(within(LIMIT), numbers).await.unwrap();
        assert_eq!(states, Ok(vec![None, Some(cancelled.clone()), None]));
        let too_many = vec![order.number; MAX_STATES + 1];
        let refused = client.states(within(LIMIT), too_many).await.unwrap();
        assert!(matches!(refused, Err(OrderError::Invalid(_))));
        let second = place(&cluster, "second", 1).await;
        let page = |after, limit| client.orders_of_user(within(LIMIT), OWNER, after, limit);
        let all = page(None, 10).await.unwrap().unwrap();
        let numbers: Vec<_> = all.iter().map(|state| state.original.number).collect();
        assert_eq!(numbers, [order.number, second.number]);
        assert_eq!(all[0], cancelled);
        assert_eq!(page(None, 1).await.unwrap().unwrap(), all[..1]);
        let rest = page(Some(order.number), 10).await.unwrap().unwrap();
        assert_eq!(rest, all[1..]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_through_a_catalog_that_fails_are_made_once_and_one_after_the_other() {
    bounded(async {
        let seed = rand::random();
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let cluster = Cluster::start(TestCatalog::new(STOCK), 1).await;
        let orders =
            join_all((0..5).map(async |n| place(&cluster, &format!("{n}"), 3).await)).await;
        let faults = [
            Fault::LostAnswer,
            Fault::LostBatch,
            Fault::Busy,
            Fault::Unknown,
        ];
        let (cluster, mut acknowledged) = (&cluster, Vec::new());
        for round in 0..8 {
            cluster.catalog.state().faults = (0..6)
                .map(|_| {
                    faults
                        .get(random.random_range(0..3 * faults.len()))
                        .copied()
                })
                .collect();
            let changes = (0..30).map(|n| {
                let order = &orders[random.random_range(0..orders.len())];
                let key = format!("{round}.{n}");
                let request = match random.random_range(0..40) {
                    0 => amend(&key, order, Change::Cancel),
                    _ => update(&key, order, random.random_range(1..6)),
                };
                async move { (request, cluster.amend(request).await) }
            });
            let changes: Vec<_> = changes.collect();
            acknowledged.extend(join_all(changes).await);
        }
        let log = assert_sound(cluster, 1).await;
        for (request, answer) in acknowledged {
            let id = request.request;
            let recorded = log.iter().find(|order| order.trade.request.request == id);
            match answer {
                Ok(state) => {
                    assert_eq!(state.quantity(), request.change.to());
                    assert!(recorded.is_none_or(|order| order == state.last()));
                }
                Err(error) => {
                    let reason = OrderError::Unchangeable(Unchangeable::Cancelled);
                    let often = OrderError::Unchangeable(Unchangeable::TooOften);
                    assert!(error == reason || error == often, "{error}");
                    assert_eq!(recorded, None);
                }
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_finds_the_changes_that_were_under_way() {
    bounded(async {
        let mut cluster = Cluster::start(TestCatalog::new(STOCK), 3).await;
        let orders =
            join_all((0..10).map(async |n| place(&cluster, &format!("{n}"), 3).await)).await;
        let first = cluster.leader().await;
        // Some are with the catalog, and others wait for those, when the leader goes.
        let before = cluster.catalog.arrived();
        cluster.catalog.open_gate(false);
        let mut changes = Vec::new();
        for order in &orders {
            let number = order.number;
            let cancel = amend(&format!("cancel {number}"), order, Change::Cancel);
            for request in [
                update(&format!("update {number}"), order, 5),
                cancel,
                cancel,
            ] {
                changes.push((request, cluster.spawn_amend(request)));
            }
        }
        cluster.catalog.arrival_after(before).await;
        cluster.stop_replica(first.id).await;
        cluster.catalog.open_gate(true);
        let mut answers = Vec::new();
        for (request, change) in &mut changes {
            answers.push((*request, change.join_next().await.unwrap().unwrap()));
        }
        let second = cluster.leader().await;
        assert_ne!(second, first);
        // And once more, of the new leader.
        for (request, answer) in answers {
            let again = cluster.amend(request).await;
            match (&answer, &again) {
                (Ok(one), Ok(other)) => {
                    assert_eq!(one.quantity(), request.change.to());
                    assert_eq!(one, other);
                }
                _ => {
                    assert_eq!(again, answer);
                    assert_eq!(
                        again,
                        Err(OrderError::Unchangeable(Unchangeable::Cancelled))
                    );
                }
            }
        }
        for order in &orders {
            let state = state(&cluster, order).await;
            assert_eq!(state.status(), OrderStatus::Cancelled);
        }
        assert_eq!(cluster.catalog.state().stock, STOCK);
        assert_sound(&cluster, second.id).await;
        cluster.start_replica(first.id).await;
        place(&cluster, "after", 1).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_amendment_that_contradicts_the_log_is_recorded_and_stops_the_trading() {
    bounded(async {
        let mut cluster = Cluster::start(TestCatalog::new(STOCK), 1).await;
        let order = place(&cluster, "k", 10).await;
        cluster.stop_replica(1).await;
        // A catalog that was sent what no leader sends.
        let amends = Amendment {
            order: order.number,
            price: order.trade.price,
            from: units(9),
            to: units(0),
        };
        let amendment = TradeRequest {
            user: Some(OWNER),
            side: Side::Sell,
            amends: Some(amends),
            ..request("contradiction", 9)
        };
        let batch = TradeBatch {
            token: cluster.catalog.state().token,
            recorded: TradeSequence(1),
            trades: vec![amendment],
        };
        let decided = cluster.catalog.clone().decide(within(LIMIT), batch).await;
        assert!(decided.unwrap()[0].is_ok());
        cluster.start_replica(1).await;
        let refused = cluster.trade(request("l", 1)).await.unwrap_err();
        let said = refused.to_string();
        assert!(said.contains("record 1 amends an order"), "{said}");
        assert_eq!(cluster.orders(1).await.len(), 2);
    })
    .await;
}
