//! What operators and launchers ask a frontend.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use bazaar_daemon::{GroupClient, Leader};
use bazaar_rpc::naming::Selector;
use bazaar_rpc::{ItemName, LeaseId, ServiceName, Term};
use serde::Serialize;
use utoipa::ToSchema;

use super::contract::{self, ReadyProblems};
use super::{Frontend, Shared};
use crate::Error;
use crate::cache::{Cache, Counts};

/// The most names of cached items that `GET /cache` shows.
const MAX_NAMES: usize = 1000;

/// Say hello.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "greet",
    tag = contract::OPERATORS,
    responses((status = 200, description = "A greeting, and where to go on.", body = Greeting))
)]
pub(super) async fn greeting() -> Json<Greeting> {
    Json(Greeting {
        message: "Welcome to Bazaar",
        products: "/products",
    })
}

/// Ask whether the process answers.
#[utoipa::path(
    get,
    path = "/livez",
    operation_id = "isAlive",
    tag = contract::OPERATORS,
    responses((status = 200, description = "It does.", body = Health))
)]
pub(super) async fn livez() -> Json<Health> {
    Json(Health { status: "alive" })
}

/// How long [`Frontend::ready`] waits for an order leader that trades.
const READY_LIMIT: Duration = Duration::from_millis(500);

/// Ask whether trades and lookups are served.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "isReady",
    tag = contract::OPERATORS,
    responses((status = 200, description = "They are.", body = Health), ReadyProblems)
)]
pub(super) async fn readyz(State(frontend): Shared) -> Result<Json<Health>, Error> {
    frontend.ready().await?;
    Ok(Json(Health { status: "ready" }))
}

impl Frontend {
    /// Returns where trades and lookups are served.
    ///
    /// # Errors
    /// [`Error::NotReady`] with what there is none of; otherwise what somebody has to mend.
    pub(crate) async fn ready(&self) -> Result<(), Error> {
        let leased = self
            .cache
            .as_ref()
            .is_none_or(|cache| cache.lease().is_some());
        let trading = match self.trades.ready(Instant::now() + READY_LIMIT).await {
            Ok(()) => true,
            Err(Error::NoLeader(_) | Error::NoAnswer(_) | Error::Busy) => false,
            Err(error) => return Err(error),
        };
        let missing: Vec<_> = [
            ("order leader that trades", trading),
            ("catalog leader", self.catalog.leader().borrow().is_some()),
            ("cache lease", leased),
        ]
        .into_iter()
        .filter_map(|(what, present)| (!present).then_some(what))
        .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(Error::NotReady {
                missing: missing.join(", no "),
            })
        }
    }
}

/// See who leads and who is there, as this frontend does.
#[utoipa::path(
    get,
    path = "/cluster",
    operation_id = "getCluster",
    tag = contract::OPERATORS,
    responses((status = 200, description = "The cluster.", body = Cluster))
)]
pub(super) async fn cluster(State(frontend): Shared) -> Json<Cluster> {
    let (processes, nameserver) = match processes(&frontend).await {
        Ok(processes) => (processes, "reachable".into()),
        Err(reason) => (Vec::new(), reason),
    };
    Json(Cluster {
        frontend: frontend.name,
        http: frontend.http,
        catalog: LeaderView::of(&frontend.catalog),
        order: LeaderView::of(&frontend.orders),
        nameserver,
        processes,
    })
}

/// The processes that the name server knows, or why it did not say.
async fn processes(frontend: &Frontend) -> Result<Vec<Process>, String> {
    let entries = frontend
        .directory
        .ask(|naming, context| async move { naming.list(context, Selector::All).await })
        .await
        .map_err(|error| error.to_string())?;
    let process = |entry: bazaar_rpc::naming::Entry| Process {
        name: entry.name,
        address: entry.address,
        metadata: entry.metadata,
    };
    Ok(entries.into_iter().map(process).collect())
}

/// See what this frontend has cached.
#[utoipa::path(
    get,
    path = "/cache",
    operation_id = "getCache",
    tag = contract::OPERATORS,
    responses((status = 200, description = "The cache.", body = CacheView))
)]
pub(super) async fn cache(State(frontend): Shared) -> Json<CacheView> {
    Json(match &frontend.cache {
        None => CacheView::Off,
        Some(cache) => CacheView::On(Cached::of(cache)),
    })
}

/// The answer to `GET /`.
#[derive(Serialize, ToSchema)]
pub(super) struct Greeting {
    message: &'static str,
    /// Where the products are.
    products: &'static str,
}

/// The answer to `GET /livez` and `GET /readyz`.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// `alive` or `ready`.
    status: &'static str,
}

/// The answer to `GET /cluster`.
#[derive(Serialize, ToSchema)]
pub(super) struct Cluster {
    /// The frontend that answers.
    frontend: ServiceName,
    /// Where it serves HTTP.
    #[schema(value_type = String, example = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Who leads the catalog; null where nobody does, as far as this frontend knows.
    #[schema(required)]
    catalog: Option<LeaderView>,
    /// Who leads the order group.
    #[schema(required)]
    order: Option<LeaderView>,
    /// `reachable`, or why it is not.
    nameserver: String,
    /// The processes that the name server knows.
    processes: Vec<Process>,
}

/// Who leads a group.
#[derive(Serialize, ToSchema)]
struct LeaderView {
    leader: ServiceName,
    term: Term,
}

impl LeaderView {
    fn of<C: Clone + Send + Sync + 'static>(group: &GroupClient<C>) -> Option<Self> {
        let view = |leader: &Leader<C>| Self {
            leader: leader.name,
            term: leader.term,
        };
        group.leader().borrow().as_ref().map(view)
    }
}

/// A process, as it has registered.
#[derive(Serialize, ToSchema)]
struct Process {
    name: String,
    /// Where it listens.
    #[schema(value_type = String, example = "127.0.0.1:40001")]
    address: SocketAddr,
    metadata: BTreeSet<String>,
}

/// The answer to `GET /cache`.
#[derive(Serialize, ToSchema)]
#[serde(tag = "cache", rename_all = "lowercase")]
pub(super) enum CacheView {
    /// There is none.
    Off,
    /// There is one.
    On(Cached),
}

/// A cache, as it is.
#[derive(Serialize, ToSchema)]
pub(super) struct Cached {
    #[serde(flatten)]
    counts: Counts,
    /// The lease under which it serves; null where it holds none.
    #[schema(required)]
    lease: Option<LeaseView>,
    /// The items that would be served from the cache now, as far as they fit here.
    #[schema(max_items = 1000)]
    names: BTreeSet<ItemName>,
}

/// A lease of the catalog.
#[derive(Serialize, ToSchema)]
struct LeaseView {
    id: LeaseId,
    /// How long it has left, in milliseconds.
    #[schema(minimum = 0)]
    remaining_ms: u64,
}

impl Cached {
    fn of(cache: &Cache) -> Self {
        let now = Instant::now();
        let lease = cache.lease().map(|lease| LeaseView {
            id: lease.id,
            remaining_ms: milliseconds(lease.valid_until.saturating_duration_since(now)),
        });
        Self {
            counts: cache.counts(),
            lease,
            names: cache.names(MAX_NAMES, now),
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
