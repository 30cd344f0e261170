//! Orders of account holders are changed while processes die: each change is made once, upon what the
//! one before has left, and a rebuilt catalog knows them all.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bazaar_daemon::{GroupClient, GroupError, Leader, Tasks};
use bazaar_rpc::connect::{Directory, client_config, client_transport, within};
use bazaar_rpc::net::Protocol;
use bazaar_rpc::orders::{MAX_STATES, OrderError, OrdersClient, Unchangeable};
use bazaar_rpc::{
    AmendRequest, Change, InvocationId, ItemKey, ItemName, Order, OrderState, OrderStatus,
    Quantity, RequestId, Requester, ServiceKind, Side, Timestamp, TradeRequest, UserId,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::cluster::{Cluster, PATIENCE, bazaar};
use crate::http::get;
use crate::rebuild::{done, rebuild, stock};

/// What is sold, and how many there are.
const ITEM: &str = "hoodie";
const STOCK: u64 = 500;

/// Two sessions each, so that the changes of an order race.
const USERS: u64 = 3;
const SESSIONS: u64 = 2 * USERS;

/// Changes orders as a frontend does.
#[derive(Clone)]
struct Till {
    orders: GroupClient<OrdersClient>,
    /// The changes that were answered.
    changes: Arc<AtomicU64>,
    closed: Arc<AtomicBool>,
}

impl Till {
    fn of(cluster: &Cluster, tasks: &Tasks) -> Self {
        let text = fs::read(cluster.dir().join("supervisor.json")).unwrap();
        let listening: Value = serde_json::from_slice(&text).unwrap();
        let field = |name: &str| listening[name].as_str().unwrap();
        let name = field("cluster").parse().unwrap();
        let directory = Directory::new(name, field("nameserver").parse().unwrap());
        let stub = |stream| OrdersClient::new(client_config(), client_transport(stream));
        let (kind, protocol) = (ServiceKind::Order, Protocol::Orders);
        Self {
            orders: GroupClient::spawn(tasks, directory, kind, protocol, stub),
            changes: Arc::default(),
            closed: Arc::default(),
        }
    }

    async fn place(&self, user: UserId, units: u64) -> Order {
        let trade = TradeRequest {
            request: RequestId::fresh(),
            invocation: InvocationId::fresh(),
            item: ItemKey::Name(ItemName::new(ITEM).unwrap()),
            side: Side::Buy,
            quantity: Quantity::new(units).unwrap(),
            user: Some(user),
            received: Timestamp::now(),
            amends: None,
        };
        let send = |leader: Leader<OrdersClient>| {
            let trade = trade.clone();
            async move { leader.client.trade(within(PATIENCE), trade).await }
        };
        let deadline = Instant::now() + PATIENCE;
        let placed = self.orders.call(deadline, OrderError::is_retryable, send);
        placed.await.unwrap()
    }

    async fn amend(&self, request: AmendRequest) -> Result<OrderState, OrderError> {
        let send = |leader: Leader<OrdersClient>| async move {
            leader.client.amend(within(PATIENCE), request).await
        };
        let deadline = Instant::now() + PATIENCE;
        let amended = self.orders.call(deadline, OrderError::is_retryable, send);
        amended.await.map_err(|error| match error {
            GroupError::Answer(error) => error,
            error => panic!("{error}"),
        })
    }

    /// How all orders of `user` stand.
    async fn orders_of(&self, user: UserId) -> Vec<OrderState> {
        let mut states: Vec<OrderState> = Vec::new();
        loop {
            let after = states.last().map(|state| state.original.number);
            let send = |leader: Leader<OrdersClient>| async move {
                let (context, limit) = (within(PATIENCE), u32::try_from(MAX_STATES).unwrap());
                leader
                    .client
                    .orders_of_user(context, user, after, limit)
                    .await
            };
            let deadline = Instant::now() + PATIENCE;
            let page = self.orders.call(deadline, OrderError::is_retryable, send);
            let page = page.await.unwrap();
            if page.is_empty() {
                return states;
            }
            states.extend(page);
        }
    }

    /// Waits until so many more changes are answered.
    async fn more_changes(&self, count: u64) {
        let enough = self.changes.load(Ordering::Relaxed) + count;
        let begin = Instant::now();
        while self.changes.load(Ordering::Relaxed) < enough {
            assert!(begin.elapsed() < PATIENCE, "orders can be changed again");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Changes the user's orders, each twice at once as an impatient client does, until the till is
    /// closed.
    async fn session(self, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        let user = UserId(seed % USERS);
        self.place(user, 1).await;
        let mut orders = self.orders_of(user).await;
        while !self.closed.load(Ordering::Relaxed) {
            let place = random.random_range(0..orders.len());
            let change = match random.random_range(0..12) {
                0 => Change::Cancel,
                _ => Change::Quantity(Quantity::new(random.random_range(1..=3)).unwrap()),
            };
            let request = AmendRequest {
                request: RequestId::fresh(),
                invocation: InvocationId::fresh(),
                order: orders[place].original.number,
                requester: Requester {
                    user,
                    is_admin: false,
                },
                change,
                received: Timestamp::now(),
            };
            let answers = tokio::join!(self.amend(request), self.amend(request));
            check(&request, &answers);
            self.changes.fetch_add(1, Ordering::Relaxed);
            let is_over = |answer: &Result<OrderState, OrderError>| match answer {
                Ok(state) => state.status() == OrderStatus::Cancelled,
                Err(_) => true,
            };
            if is_over(&answers.0) || is_over(&answers.1) {
                self.place(user, 1).await;
                let states = self.orders_of(user).await.into_iter();
                orders = states
                    .filter(|state| state.status() != OrderStatus::Cancelled)
                    .collect();
            }
        }
    }
}

type Answer = Result<OrderState, OrderError>;

/// Asserts that both `answers` are right, and the same where the change was made.
fn check(request: &AmendRequest, answers: &(Answer, Answer)) {
    let made = |answer: &Answer| {
        let last = answer.as_ref().ok()?.last().clone();
        (last.trade.request.request == request.request).then_some(last)
    };
    for answer in [&answers.0, &answers.1] {
        match answer {
            Ok(state) => assert_eq!(state.quantity(), request.change.to()),
            Err(OrderError::Unchangeable(Unchangeable::Cancelled | Unchangeable::TooOften)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    if let (Some(one), Some(other)) = (made(&answers.0), made(&answers.1)) {
        assert_eq!(one, other);
        assert_eq!(answers.0, answers.1);
    }
}

/// Runs `bazaar check` over the histories of all order replicas and of the catalog in `dir`, which is
/// stopped.
fn check_histories(histories: &TempDir, dir: &Path) {
    let stock = bazaar()
        .args(["catalog", "export", "--data-dir"])
        .arg(dir)
        .output()
        .unwrap();
    assert!(stock.status.success(), "{stock:?}");
    fs::write(histories.path().join("stock.ndjson"), stock.stdout).unwrap();
    let files = fs::read_dir(histories.path()).unwrap();
    let checked = bazaar()
        .arg("check")
        .args(files.map(|file| file.unwrap().path()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{said}");
    assert!(said.contains("amendments"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_are_changed_while_leaders_die_add_up_and_so_does_a_rebuilt_catalog() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_in(dir.path(), &[]);
    let tasks = Tasks::new();
    let till = Till::of(&cluster, &tasks);
    let mut sessions = JoinSet::new();
    for seed in 0..SESSIONS {
        sessions.spawn(till.clone().session(seed));
    }
    for kind in ["order", "catalog", "order"] {
        till.more_changes(50).await;
        let leader = cluster.leader(kind);
        cluster.control("kill", &leader);
        if kind == "order" {
            till.more_changes(50).await;
        }
        cluster.control("start", &leader);
    }
    till.more_changes(50).await;
    till.closed.store(true, Ordering::Relaxed);
    sessions.join_all().await;

    let mut taken = 0;
    for user in (0..USERS).map(UserId) {
        let states = till.orders_of(user).await;
        taken += states
            .iter()
            .map(|state| state.quantity().units())
            .sum::<u64>();
    }
    let shown = get(cluster.frontend(), "/stocks/hoodie").await.json();
    assert_eq!(shown["data"]["quantity"], STOCK - taken);

    cluster.caught_up("order/");
    let histories = tempfile::tempdir().unwrap();
    for replica in ["1", "2", "3"] {
        let log = cluster.command(&["order", "export", "--history", "--replica", replica]);
        assert!(log.status.success(), "{log:?}");
        let file = histories.path().join(format!("order-{replica}.ndjson"));
        fs::write(file, log.stdout).unwrap();
    }
    assert_eq!(cluster.stop().code(), Some(0));
    check_histories(&histories, dir.path());
    let lost = stock(dir.path());
    fs::remove_dir_all(dir.path().join("catalog-1")).unwrap();
    done(rebuild(dir.path(), &[]));
    assert_eq!(stock(dir.path()), lost);
}
