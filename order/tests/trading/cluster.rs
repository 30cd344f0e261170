//! A name server, a catalog and the replicas of one order group, in one process.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bazaar_daemon::{App as _, GroupClient, GroupError, Tasks};
use bazaar_nameserver as nameserver;
use bazaar_order::{App, Config};
use bazaar_rpc::connect::{Directory, client_config, client_transport, within};
use bazaar_rpc::net::{Protocol, TcpListener, TcpStream};
use bazaar_rpc::orders::{OrderError, OrdersClient};
use bazaar_rpc::{
    AmendRequest, InvocationId, ItemKey, ItemName, Order, OrderNumber, OrderState, Quantity,
    RequestId, ServiceKind, ServiceName, Side, Timestamp, TradeRequest,
};
use clap::Parser as _;
use futures::future::join_all;
use tempfile::TempDir;
use tokio::task::{AbortHandle, JoinSet};

use crate::catalog::{State, TestCatalog};

pub(crate) const CLUSTER: &str = "test";

/// No test takes longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Runs a test with a bound on its time.
pub(crate) async fn bounded(test: impl Future<Output = ()>) {
    // Shown when the test fails.
    let log = tracing_subscriber::fmt()
        .with_test_writer()
        .with_ansi(false);
    log.with_env_filter("info,tarpc=error,openraft=error")
        .try_init()
        .ok();
    tokio::time::timeout(LIMIT, test)
        .await
        .expect("the test ends in time");
}

/// Accepts connections until it is dropped; then all of them break.
pub(crate) struct Process(AbortHandle);

impl Process {
    pub(crate) fn spawn<Fut>(
        listener: TcpListener,
        serve: impl Fn(TcpStream) -> Fut + Send + 'static,
    ) -> Self
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        let accept = async move {
            // Aborts them all when it is dropped.
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream));
            }
        };
        Self(tokio::spawn(accept).abort_handle())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) struct Cluster {
    pub(crate) catalog: TestCatalog,
    pub(crate) nameserver: SocketAddr,
    pub(crate) dir: TempDir,
    /// Calls the order group's leader as a frontend does.
    leader: GroupClient<OrdersClient>,
    members: u64,
    replicas: BTreeMap<u64, (App, Tasks)>,
    _catalog: JoinSet<()>,
}

#[derive(clap::Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

impl Cluster {
    /// Starts one order replica, or more.
    pub(crate) async fn start(catalog: TestCatalog, members: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tasks = Tasks::new();
        let config = nameserver::Config::new(
            CLUSTER.parse().unwrap(),
            "127.0.0.1:0".parse().unwrap(),
            dir.path().join("names"),
        );
        let names = nameserver::App::build(config, &tasks).await.unwrap();
        let nameserver = names.address();
        let directory = Directory::new(CLUSTER.parse().unwrap(), nameserver);
        let mut catalog_process = JoinSet::new();
        catalog_process.spawn(catalog.clone().live(directory.clone()));
        let leader = GroupClient::spawn(
            &tasks,
            directory,
            ServiceKind::Order,
            Protocol::Orders,
            |stream| OrdersClient::new(client_config(), client_transport(stream)),
        );
        let mut cluster = Self {
            catalog,
            nameserver,
            dir,
            leader,
            members,
            replicas: BTreeMap::new(),
            _catalog: catalog_process,
        };
        for id in 1..=members {
            cluster.start_replica(id).await;
        }
        cluster
    }

    pub(crate) async fn start_replica(&mut self, id: u64) {
        let (id_flag, members) = (id.to_string(), self.members.to_string());
        let (nameserver, dir) = (self.nameserver.to_string(), self.replica_dir(id));
        let config = Arguments::parse_from([
            "order",
            "--id",
            &id_flag,
            "--members",
            &members,
            "--cluster",
            CLUSTER,
            "--nameserver",
            &nameserver,
            "--data-dir",
            dir.to_str().unwrap(),
        ])
        .config;
        let deadline = Instant::now() + LIMIT / 4;
        let (app, tasks) = loop {
            let tasks = Tasks::new();
            match App::build(config.clone(), &tasks).await {
                Ok(app) => break (app, tasks),
                // Its former self has not let go of its files yet, as a process would have.
                Err(error) => assert!(Instant::now() < deadline, "{error:#}"),
            }
            tasks.stop(Duration::from_secs(1)).await;
        };
        self.replicas.insert(id, (app, tasks));
    }

    pub(crate) async fn stop_replica(&mut self, id: u64) {
        let (app, tasks) = self.replicas.remove(&id).unwrap();
        app.drain().await;
        tasks.stop(Duration::from_secs(5)).await;
    }

    pub(crate) fn replica_dir(&self, id: u64) -> std::path::PathBuf {
        self.dir.path().join(id.to_string())
    }

    /// Who leads the order group.
    pub(crate) async fn leader(&self) -> ServiceName {
        let mut leader = self.leader.leader();
        let leader = leader.wait_for(Option::is_some).await.unwrap();
        leader.as_ref().unwrap().name
    }

    /// Connects to one replica.
    pub(crate) async fn client(&self, id: u64) -> OrdersClient {
        let directory = Directory::new(CLUSTER.parse().unwrap(), self.nameserver);
        let replica = ServiceName::new(ServiceKind::Order, id);
        let deadline = Instant::now() + LIMIT / 4;
        loop {
            match directory.connect(replica, Protocol::Orders).await {
                Ok(stream) => {
                    let transport = client_transport(stream);
                    return OrdersClient::new(client_config(), transport).spawn();
                }
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Trades as a frontend does: again, under the same id, while that may help.
    pub(crate) async fn trade(&self, request: TradeRequest) -> Result<Order, OrderError> {
        trade(self.leader.clone(), request).await
    }

    /// As [`Cluster::trade`], in a task.
    pub(crate) fn spawn_trade(&self, request: TradeRequest) -> JoinSet<Result<Order, OrderError>> {
        let mut tasks = JoinSet::new();
        tasks.spawn(trade(self.leader.clone(), request));
        tasks
    }

    /// Amends as a frontend does: again, under the same id, while that may help.
    pub(crate) async fn amend(&self, request: AmendRequest) -> Result<OrderState, OrderError> {
        amend(self.leader.clone(), request).await
    }

    /// As [`Cluster::amend`], in a task.
    pub(crate) fn spawn_amend(
        &self,
        request: AmendRequest,
    ) -> JoinSet<Result<OrderState, OrderError>> {
        let mut tasks = JoinSet::new();
        tasks.spawn(amend(self.leader.clone(), request));
        tasks
    }

    /// Has `count` clients trade one unit at once; returns the orders they are told of.
    pub(crate) async fn trade_many(&self, name: &str, count: u64) -> Vec<Order> {
        let trades = (0..count).map(|n| self.trade(request(&format!("{name} {n}"), 1)));
        join_all(trades)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect()
    }

    /// Every order, as the replica has it.
    pub(crate) async fn orders(&self, id: u64) -> Vec<Order> {
        let client = self.client(id).await;
        let orders = client
            .export(within(LIMIT), OrderNumber(0), 1000)
            .await
            .unwrap()
            .unwrap();
        for (number, order) in (0..).zip(&orders) {
            assert_eq!(
                order.number,
                OrderNumber(number),
                "transaction numbers have no gap"
            );
            assert_eq!(order.trade.sequence.0, number);
        }
        let requests: BTreeSet<_> = orders
            .iter()
            .map(|order| order.trade.request.request)
            .collect();
        assert_eq!(requests.len(), orders.len(), "a request is booked once");
        orders
    }

    /// Asserts that `acknowledged` and nothing else is made, and recorded by every replica that
    /// runs.
    pub(crate) async fn assert_booked_once(&self, stock: u64, mut acknowledged: Vec<Order>) {
        acknowledged.sort_by_key(|order| order.number);
        for id in self.replicas.keys() {
            let deadline = Instant::now() + LIMIT / 4;
            while self.orders(*id).await.len() < acknowledged.len() && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(self.orders(*id).await, acknowledged, "order/{id}");
        }
        let state = self.catalog.state();
        assert_eq!(state.next, acknowledged.len() as u64);
        assert_stock(&state, stock, &acknowledged);
    }
}

/// Asserts that what is left of `stock` is what `orders` left.
pub(crate) fn assert_stock(state: &State, stock: u64, orders: &[Order]) {
    let requests = orders.iter().map(|order| &order.trade.request);
    let moved = requests.map(|request| {
        let units = i128::from(request.quantity.units());
        match request.side {
            Side::Buy => -units,
            Side::Sell => units,
        }
    });
    let left = i128::from(stock) + moved.sum::<i128>();
    assert_eq!(i128::from(state.stock), left, "stock that moved is booked");
}

async fn trade(
    leader: GroupClient<OrdersClient>,
    request: TradeRequest,
) -> Result<Order, OrderError> {
    let call = |leader: bazaar_daemon::Leader<OrdersClient>| {
        let request = request.clone();
        async move { leader.client.trade(within(LIMIT / 4), request).await }
    };
    let deadline = Instant::now() + LIMIT / 2;
    answered(leader.call(deadline, OrderError::is_retryable, call).await)
}

async fn amend(
    leader: GroupClient<OrdersClient>,
    request: AmendRequest,
) -> Result<OrderState, OrderError> {
    let call = |leader: bazaar_daemon::Leader<OrdersClient>| async move {
        leader.client.amend(within(LIMIT / 4), request).await
    };
    let deadline = Instant::now() + LIMIT / 2;
    answered(leader.call(deadline, OrderError::is_retryable, call).await)
}

fn answered<T>(answer: Result<T, GroupError<OrderError>>) -> Result<T, OrderError> {
    answer.map_err(|error| match error {
        GroupError::Answer(error) => error,
        error => panic!("{error}"),
    })
}

/// A request for `units`, whose client sent `key`.
pub(crate) fn request(key: &str, units: u64) -> TradeRequest {
    TradeRequest {
        request: RequestId::from_key(None, key),
        invocation: InvocationId::fresh(),
        item: ItemKey::Name(ItemName::new("GameStart").unwrap()),
        side: Side::Buy,
        quantity: Quantity::new(units).unwrap(),
        user: None,
        received: Timestamp::now(),
        amends: None,
    }
}
