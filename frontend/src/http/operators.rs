//! What operators and launchers ask a frontend.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use bazaar_daemon::{GroupClient, Leader};
use bazaar_rpc::naming::Selector;
use bazaar_rpc::{ItemName, LeaseId, ServiceName, Term};
use serde::Serialize;

use super::{Frontend, Shared};
use crate::Error;
use crate::cache::{Cache, Counts};

/// The most names of cached items that `GET /cache` shows.
const MAX_NAMES: usize = 1000;

/// `GET /`
pub(super) async fn greeting() -> Json<BTreeMap<&'static str, &'static str>> {
    Json(BTreeMap::from([
        ("message", "Welcome to Bazaar"),
        ("products", "/products"),
    ]))
}

/// `GET /livez`: the process answers.
pub(super) async fn livez() -> Json<BTreeMap<&'static str, &'static str>> {
    Json(BTreeMap::from([("status", "alive")]))
}

/// How long `GET /readyz` waits for an order leader that trades.
const READY_LIMIT: Duration = Duration::from_millis(500);

/// `GET /readyz`: trades and lookups can be served.
pub(super) async fn readyz(
    State(frontend): Shared,
) -> Result<Json<BTreeMap<&'static str, &'static str>>, Error> {
    let leased = frontend
        .cache
        .as_ref()
        .is_none_or(|cache| cache.lease().is_some());
    let trading = match frontend.trades.ready(Instant::now() + READY_LIMIT).await {
        Ok(()) => true,
        Err(Error::NoLeader(_) | Error::NoAnswer(_) | Error::Busy) => false,
        Err(error) => return Err(error),
    };
    let missing: Vec<_> = [
        ("order leader that trades", trading),
        (
            "catalog leader",
            frontend.catalog.leader().borrow().is_some(),
        ),
        ("cache lease", leased),
    ]
    .into_iter()
    .filter_map(|(what, present)| (!present).then_some(what))
    .collect();
    if missing.is_empty() {
        Ok(Json(BTreeMap::from([("status", "ready")])))
    } else {
        Err(Error::NotReady {
            missing: missing.join(", no "),
        })
    }
}

/// `GET /cluster`: who leads, and who is there, as this frontend sees it.
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

/// `GET /cache`
pub(super) async fn cache(State(frontend): Shared) -> Json<CacheView> {
    Json(match &frontend.cache {
        None => CacheView {
            cache: "off",
            counts: None,
            lease: None,
            names: BTreeSet::new(),
        },
        Some(cache) => CacheView::of(cache),
    })
}

/// The answer to `GET /cluster`.
#[derive(Serialize)]
pub(super) struct Cluster {
    frontend: ServiceName,
    http: SocketAddr,
    catalog: Option<LeaderView>,
    order: Option<LeaderView>,
    /// `reachable`, or why it is not.
    nameserver: String,
    processes: Vec<Process>,
}

#[derive(Serialize)]
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

#[derive(Serialize)]
struct Process {
    name: String,
    address: SocketAddr,
    metadata: BTreeSet<String>,
}

/// The answer to `GET /cache`.
#[derive(Serialize)]
pub(super) struct CacheView {
    /// `on` or `off`.
    cache: &'static str,
    #[serde(flatten)]
    counts: Option<Counts>,
    lease: Option<LeaseView>,
    /// The items that would be served from the cache now, as far as they fit here.
    names: BTreeSet<ItemName>,
}

#[derive(Serialize)]
struct LeaseView {
    id: LeaseId,
    remaining_ms: u128,
}

impl CacheView {
    fn of(cache: &Cache) -> Self {
        let now = Instant::now();
        let lease = cache.lease().map(|lease| LeaseView {
            id: lease.id,
            remaining_ms: lease.valid_until.saturating_duration_since(now).as_millis(),
        });
        let names = cache.names(MAX_NAMES, now);
        Self {
            cache: "on",
            counts: Some(cache.counts()),
            lease,
            names,
        }
    }
}
