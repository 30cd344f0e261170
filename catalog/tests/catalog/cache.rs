//! A frontend's cache, as far as the catalog sees it: it is told of changes, and acknowledges when
//! the test lets it.

use std::net::SocketAddr;
use std::time::Duration;

use bazaar_daemon::{Acceptor, Routes, Tasks};
use bazaar_rpc::cache::{Invalidation, Invalidations};
use bazaar_rpc::catalog::{LeaseGrant, LeaseRequest};
use bazaar_rpc::connect::{serve, within};
use bazaar_rpc::net::Protocol;
use bazaar_rpc::{CacheId, LeaseId, ServiceKind, ServiceName, Term};
use tarpc::context::Context;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::running::{PATIENCE, Running, ready};

#[derive(Clone)]
pub(crate) struct Cache {
    pub(crate) id: CacheId,
    pub(crate) name: ServiceName,
    pub(crate) address: SocketAddr,
    told: watch::Sender<Vec<(LeaseId, Invalidation)>>,
    acknowledges: watch::Sender<bool>,
}

impl Cache {
    /// The same cache beside a `catalog` that was started again.
    pub(crate) async fn beside(self, catalog: &Running) -> Self {
        let mut cache = Self::start(catalog, self.name.id).await;
        cache.id = self.id;
        cache
    }

    /// Starts frontend `id` beside `catalog`, and ends with it.
    pub(crate) async fn start(catalog: &Running, id: u64) -> Self {
        let acceptor = Acceptor::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let cache = Self {
            id: CacheId::fresh(),
            name: ServiceName::new(ServiceKind::Frontend, id),
            address: acceptor.address(),
            told: watch::Sender::new(Vec::new()),
            acknowledges: watch::Sender::new(true),
        };
        let served = cache.clone();
        let routes = Routes::new().with(Protocol::Invalidations, move |stream| {
            serve(stream, served.clone().serve())
        });
        let (tasks, cluster): (&Tasks, _) = (&catalog.tasks, catalog.directory.cluster().clone());
        acceptor.serve(tasks, cluster, cache.name, routes);
        cache
    }

    /// Whether it acknowledges what it is told.
    pub(crate) fn acknowledge(&self, acknowledges: bool) {
        self.acknowledges.send_replace(acknowledges);
    }

    /// Waits until it has been told of a change of `item`; returns the last it was told.
    pub(crate) async fn told_of(&self, item: &str) -> (LeaseId, Invalidation) {
        let mut told = self.told.subscribe();
        let find = |told: &Vec<(LeaseId, Invalidation)>| {
            told.iter()
                .rfind(|(_, change)| change.name.as_str() == item)
                .cloned()
        };
        let told = told.wait_for(|told| find(told).is_some());
        find(
            &timeout(PATIENCE, told)
                .await
                .expect("told in time")
                .unwrap(),
        )
        .unwrap()
    }

    /// Asks the leader of `term` for a lease, or to renew the one it holds.
    pub(crate) fn request(&self, term: Term, held: Option<LeaseId>) -> LeaseRequest {
        LeaseRequest {
            cache: self.id,
            holder: self.name,
            address: self.address,
            term,
            held,
        }
    }

    /// Asks `catalog`, once it leads, for a lease, or to renew the one it holds.
    pub(crate) async fn lease(&self, catalog: &Running, held: Option<LeaseId>) -> LeaseGrant {
        let ask = async || {
            let request = self.request(catalog.leads().await, held);
            catalog.client.lease(within(PATIENCE), request).await
        };
        ready(ask).await.unwrap()
    }

    /// Keeps asking every `interval`, as a frontend does, whatever the answer.
    pub(crate) fn keep_leased(&self, catalog: &Running, first: LeaseId, interval: Duration) {
        let (client, cache) = (catalog.client.clone(), self.clone());
        catalog.tasks.spawn(async move {
            let mut held = Some(first);
            loop {
                tokio::time::sleep(interval).await;
                let request = cache.request(first.term, held);
                if let Ok(Ok(grant)) = client.lease(within(PATIENCE), request).await {
                    held = Some(grant.lease);
                }
            }
        });
    }
}

impl Invalidations for Cache {
    async fn invalidate(self, _: Context, lease: LeaseId, items: Vec<Invalidation>) {
        self.told
            .send_modify(|told| told.extend(items.into_iter().map(|item| (lease, item))));
        let mut acknowledges = self.acknowledges.subscribe();
        acknowledges.wait_for(|yes| *yes).await.unwrap();
    }
}
