//! A catalog that runs in this process, and a caller of it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use bazaar_catalog::{App, Config};
use bazaar_daemon::{App as _, Tasks};
use bazaar_rpc::catalog::{CatalogClient, CatalogError, Decision, Fence, TradeBatch};
use bazaar_rpc::connect::{Directory, client_config, client_transport, within};
use bazaar_rpc::net::Protocol;
use bazaar_rpc::replica::ReplicaClient;
use bazaar_rpc::{
    InvocationId, Item, ItemKey, ItemName, Quantity, RequestId, ServiceKind, ServiceName, Side,
    Term, Timestamp, TradeRequest, TradeSequence,
};
use clap::Parser;
use tarpc::client::RpcError;

/// How long anything here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

/// A catalog, and a connection to it.
pub(crate) struct Running {
    pub(crate) app: App,
    pub(crate) tasks: Tasks,
    pub(crate) directory: Directory,
    pub(crate) name: ServiceName,
    pub(crate) client: CatalogClient,
}

/// An address at which nobody listens.
pub(crate) fn nowhere() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

impl Running {
    /// Starts the only member of a catalog. It needs no name server.
    pub(crate) async fn start(dir: &Path, flags: &[&str]) -> anyhow::Result<Self> {
        Self::start_member(1, nowhere(), dir, flags).await
    }

    /// Starts member `id` of a catalog whose members find each other by `nameserver`.
    pub(crate) async fn start_member(
        id: u64,
        nameserver: SocketAddr,
        dir: &Path,
        flags: &[&str],
    ) -> anyhow::Result<Self> {
        let (id_flag, nameserver) = (id.to_string(), nameserver.to_string());
        let fixed = [
            "catalog",
            "--data-dir",
            dir.to_str().unwrap(),
            "--id",
            &id_flag,
        ];
        let fixed = fixed.into_iter().chain(["--nameserver", &nameserver]);
        let config = Arguments::parse_from(fixed.chain(flags.iter().copied())).config;
        let directory = config.flags.directory();
        let tasks = Tasks::new();
        let app = build(config, &tasks).await?;
        let name = ServiceName::new(ServiceKind::Catalog, id);
        let stream = directory
            .connect_at(app.address(), name, Protocol::Catalog)
            .await?;
        let client = CatalogClient::new(client_config(), client_transport(stream)).spawn();
        Ok(Self {
            app,
            tasks,
            directory,
            name,
            client,
        })
    }

    /// Stops it as a signal would.
    pub(crate) async fn stop(self) {
        self.app.drain().await;
        self.tasks.stop(PATIENCE).await;
    }

    /// Ends it without any farewell.
    pub(crate) async fn crash(self) {
        self.tasks.stop(PATIENCE).await;
    }

    /// The newest term that it knows of.
    pub(crate) async fn leads(&self) -> Term {
        let stream = self
            .directory
            .connect_at(self.app.address(), self.name, Protocol::Replica)
            .await
            .unwrap();
        let replica = ReplicaClient::new(client_config(), client_transport(stream)).spawn();
        let status = replica.status(within(PATIENCE)).await.unwrap();
        status.leadership.term
    }

    /// Fences, as the order group's leader of `term` whose log goes as far as it must, once the
    /// catalog leads.
    pub(crate) async fn fence(&self, term: u64) -> Fence {
        let term = Term(term);
        let fence = |recorded| self.client.fence(within(PATIENCE), term, recorded);
        let fenced = ready(|| fence(TradeSequence(0))).await.unwrap();
        if fenced.token.term == term {
            return fenced;
        }
        ready(|| fence(fenced.forgotten)).await.unwrap()
    }

    /// Has `trades` decided under `fence`, with nothing reported as recorded.
    pub(crate) async fn decide(&self, fence: &Fence, trades: Vec<TradeRequest>) -> Vec<Decision> {
        let batch = TradeBatch {
            token: fence.token,
            recorded: fence.forgotten,
            trades,
        };
        self.client
            .decide(within(PATIENCE), batch)
            .await
            .unwrap()
            .unwrap()
    }

    /// The item of that name.
    pub(crate) async fn item(&self, name: &str) -> Item {
        let lookup = || self.client.lookup(within(PATIENCE), key(name));
        ready(lookup).await.unwrap().unwrap()
    }
}

/// Builds the process. The threads of a former one on the same directory, which in earnest end with
/// their process, may take a moment to let go of the log.
async fn build(config: Config, tasks: &Tasks) -> anyhow::Result<App> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match App::build(config.clone(), tasks).await {
            Err(error)
                if error.to_string().contains("/log' is already locked")
                    && Instant::now() < deadline =>
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            outcome => return outcome,
        }
    }
}

/// Calls again while the catalog does not lead yet.
pub(crate) async fn ready<T, F>(call: impl Fn() -> F) -> Result<T, CatalogError>
where
    F: Future<Output = Result<Result<T, CatalogError>, RpcError>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        match call().await.unwrap() {
            Err(CatalogError::Starting | CatalogError::NotLeader { .. })
                if Instant::now() < deadline =>
            {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            outcome => return outcome,
        }
    }
}

pub(crate) fn key(name: &str) -> ItemKey {
    ItemKey::Name(ItemName::new(name).unwrap())
}

/// A request under the key `id`.
pub(crate) fn request(id: &str, item: &str, side: Side, units: u64) -> TradeRequest {
    TradeRequest {
        request: RequestId::from_key(None, id),
        invocation: InvocationId::fresh(),
        item: key(item),
        side,
        quantity: Quantity::new(units).unwrap(),
        user: None,
        received: Timestamp::now(),
        amends: None,
    }
}
