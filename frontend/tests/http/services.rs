//! The services that the frontend calls, in memory: a catalog and an order replica that keep their
//! [contracts](crate::contracts).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bazaar_daemon::{Acceptor, Routes, Tasks};
use bazaar_rpc::cache::{Invalidation, InvalidationsClient};
use bazaar_rpc::catalog::*;
use bazaar_rpc::connect::{Directory, client_config, client_transport, serve, within};
use bazaar_rpc::naming::Registration;
use bazaar_rpc::net::Protocol;
use bazaar_rpc::orders::{OrderError, Orders};
use bazaar_rpc::replica::Replica;
use bazaar_rpc::*;
use tokio::sync::watch;

use crate::contracts::Sole;
use crate::world::PATIENCE;

/// The lease that the catalog grants.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// The services around the frontend. Clones share their state.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) directory: Directory,
    pub(crate) shop: Mutex<Shop>,
    pub(crate) lookups: AtomicU64,
    /// Lookups wait while it is shut.
    pub(crate) gate: watch::Sender<bool>,
    /// The lease that is granted; none while none is.
    pub(crate) lease: Mutex<Option<u64>>,
    /// The requests for a lease that were refused.
    pub(crate) refused_leases: AtomicU64,
    pub(crate) holders: Mutex<BTreeMap<SocketAddr, (ServiceName, LeaseId)>>,
    /// What every trade is answered with.
    pub(crate) answer: Mutex<Option<OrderError>>,
    /// The trace of the last trade.
    pub(crate) trace: Mutex<u128>,
}

/// What the catalog and the order service keep.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shop {
    pub(crate) items: Vec<Item>,
    pub(crate) orders: Vec<Order>,
}

impl Services {
    /// One process of each of `kinds`, entered at the name server of `directory`.
    pub(crate) async fn start(directory: Directory, kinds: &[ServiceKind], tasks: &Tasks) -> Self {
        let shop = Shop {
            items: items(),
            orders: Vec::new(),
        };
        let shared = Arc::new(Shared {
            directory,
            shop: Mutex::new(shop),
            lookups: AtomicU64::new(0),
            gate: watch::Sender::new(true),
            lease: Mutex::new(Some(1)),
            refused_leases: AtomicU64::new(0),
            holders: Mutex::default(),
            answer: Mutex::default(),
            trace: Mutex::default(),
        });
        let services = Self { shared };
        for kind in kinds {
            services.start_one(ServiceName::new(*kind, 1), tasks).await;
        }
        services
    }

    /// What there is.
    pub(crate) fn shop(&self) -> Shop {
        self.shared.shop.lock().unwrap().clone()
    }

    /// How many lookups the catalog has answered or been asked for.
    pub(crate) fn lookups(&self) -> u64 {
        self.shared.lookups.load(Ordering::SeqCst)
    }

    /// Lets lookups wait, or go on.
    pub(crate) fn open_gate(&self, open: bool) {
        self.shared.gate.send_replace(open);
    }

    /// Grants lease number `serial` from now on, or none.
    pub(crate) fn grant_lease(&self, serial: Option<u64>) {
        *self.shared.lease.lock().unwrap() = serial;
    }

    /// The requests for a lease that were refused so far.
    pub(crate) fn refused_leases(&self) -> u64 {
        self.shared.refused_leases.load(Ordering::SeqCst)
    }

    /// Answers every trade with `error`.
    pub(crate) fn answer_trades_with(&self, error: OrderError) {
        *self.shared.answer.lock().unwrap() = Some(error);
    }

    /// The trace that the last trade was part of.
    pub(crate) fn last_trace(&self) -> u128 {
        *self.shared.trace.lock().unwrap()
    }

    /// Serves one process, `me`, and enters it at the name server.
    async fn start_one(&self, me: ServiceName, tasks: &Tasks) {
        let acceptor = Acceptor::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let directory = &self.shared.directory;
        let registration = Registration {
            name: me.to_string(),
            address: acceptor.address(),
            metadata: BTreeSet::new(),
            lease: None,
        };
        let naming = directory.naming().await.unwrap();
        let registered = naming.register(within(PATIENCE), registration, false).await;
        registered.unwrap().unwrap();
        let services = self.clone();
        let routes = Routes::new().with(Protocol::Replica, move |stream| {
            serve(stream, Sole(me).serve())
        });
        let routes = match me.kind {
            ServiceKind::Catalog => routes.with(Protocol::Catalog, move |stream| {
                serve(stream, Catalog::serve(services.clone()))
            }),
            _ => routes.with(Protocol::Orders, move |stream| {
                serve(stream, Orders::serve(services.clone()))
            }),
        };
        acceptor.serve(tasks, directory.cluster().clone(), me, routes);
    }

    /// Decides and records a trade.
    pub(crate) fn book(
        &self,
        request: &TradeRequest,
    ) -> Result<(Order, Option<Invalidation>), OrderError> {
        let mut shop = self.shared.shop.lock().unwrap();
        let Shop { items, orders } = &mut *shop;
        if let Some(order) = orders
            .iter()
            .find(|o| o.trade.request.request == request.request)
        {
            let answers = order.answers(request);
            return if answers {
                Ok((order.clone(), None))
            } else {
                Err(OrderError::KeyReused)
            };
        }
        let refused = |refusal| Err(OrderError::Refused(refusal));
        let Some(item) = items.iter_mut().find(|item| is(item, &request.item)) else {
            return refused(Refusal::UnknownItem);
        };
        if item.shop.as_str() == "merch" {
            return refused(Refusal::AccountRequired);
        }
        if request.quantity == Quantity::default() {
            return refused(Refusal::QuantityNotAllowed {
                min: Quantity::new(1).unwrap(),
                max: Quantity::MAX,
            });
        }
        let quantity = match request.side {
            Side::Sell => item.quantity.checked_add(request.quantity),
            Side::Buy => item.quantity.checked_sub(request.quantity),
        };
        match quantity {
            Some(quantity) => item.quantity = quantity,
            None => {
                return refused(Refusal::NotEnoughStock {
                    available: item.quantity,
                });
            }
        }
        item.version = item.version.next();
        let number = OrderNumber(orders.len() as u64);
        let trade = Trade {
            sequence: TradeSequence(number.0),
            request: request.clone(),
            item: item.number,
            name: item.name.clone(),
            shop: item.shop.clone(),
            price: item.price,
            version: item.version,
        };
        orders.push(Order { number, trade });
        let change = Invalidation {
            number: item.number,
            name: item.name.clone(),
            version: item.version,
        };
        Ok((orders.last().unwrap().clone(), Some(change)))
    }

    /// Has every holder of a lease acknowledge `change`.
    pub(crate) async fn invalidate(&self, change: Invalidation) {
        let holders = self.shared.holders.lock().unwrap().clone();
        for (address, (holder, lease)) in holders {
            let directory = &self.shared.directory;
            let stream = directory
                .connect_at(address, holder, Protocol::Invalidations)
                .await;
            let transport = client_transport(stream.unwrap());
            let client = InvalidationsClient::new(client_config(), transport).spawn();
            let told = client.invalidate(within(PATIENCE), lease, vec![change.clone()]);
            told.await.unwrap();
        }
    }
}

pub(crate) fn is(item: &Item, key: &ItemKey) -> bool {
    match key {
        ItemKey::Number(number) => item.number == *number,
        ItemKey::Name(name) => item.name == *name,
    }
}

/// Three items in three shops.
fn items() -> Vec<Item> {
    let item = |number, name, shop, category: &str, cents, quantity| Item {
        number: ItemNumber(number),
        name: ItemName::new(name).unwrap(),
        shop: Text::new(shop).unwrap(),
        category: Text::new(category).ok(),
        price: Money::from_cents(cents).unwrap(),
        quantity: Quantity::new(quantity).unwrap(),
        volume: 0,
        description: None,
        slogan: None,
        version: Version(1),
    };
    vec![
        item(1, "GameStart", "stocks", "", 1590, 100),
        item(2, "RPCs for Noobs", "books", "distributed systems", 2999, 2),
        item(3, "Café müße", "books", "distributed systems", 100, 1),
        item(4, "hoodie", "merch", "clothing", 4999, 500),
    ]
}
