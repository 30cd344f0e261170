//! A catalog in memory that obeys the contract, sells one item, and fails on demand.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bazaar_rpc::catalog::{
    Catalog, CatalogError, Decision, Fence, LeaseGrant, LeaseRequest, ListQuery, MAX_BATCH,
    TradeBatch,
};
use bazaar_rpc::connect::{Directory, serve, within};
use bazaar_rpc::edit::{Edit, EditOutcome};
use bazaar_rpc::naming::Registration;
use bazaar_rpc::net::{Protocol, TcpListener, welcome};
use bazaar_rpc::replica::{Leadership, RemoveError, Replica, ReplicaStatus};
use bazaar_rpc::{
    FencingToken, Item, ItemKey, ItemName, ItemNumber, Money, Quantity, Refusal, RequestId,
    ShopName, Side, Term, Trade, TradeRequest, TradeSequence, Version,
};
use tarpc::context::Context;
use tokio::sync::{Notify, watch};

use crate::cluster::{CLUSTER, LIMIT, Process};

/// What goes wrong with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The catalog dies after it has decided and before it answers.
    LostAnswer,
    /// The catalog dies before it decides.
    LostBatch,
    /// The catalog has too much to do.
    Busy,
    /// Leadership is lost while the batch is decided, and it is.
    Unknown,
}

/// The catalog. Clones share it; its state outlives its deaths.
#[derive(Clone)]
pub(crate) struct TestCatalog {
    state: Arc<Mutex<State>>,
    crash: Arc<Notify>,
    /// While it is shut, batches wait before they are decided.
    gate: Arc<watch::Sender<bool>>,
}

#[derive(Default)]
pub(crate) struct State {
    /// Which life of the process this is.
    pub(crate) term: u64,
    pub(crate) token: FencingToken,
    pub(crate) forgotten: u64,
    pub(crate) outbox: VecDeque<Trade>,
    pub(crate) next: u64,
    pub(crate) stock: u64,
    /// The faults of the next batches.
    pub(crate) faults: VecDeque<Option<Fault>>,
    pub(crate) fences: u64,
    /// The batches that have arrived.
    arrived: u64,
}

impl TestCatalog {
    pub(crate) fn new(stock: u64) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                stock,
                ..State::default()
            })),
            crash: Arc::default(),
            gate: Arc::new(watch::Sender::new(true)),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Has batches wait, or lets them go.
    pub(crate) fn open_gate(&self, open: bool) {
        self.gate.send_replace(open);
    }

    /// How many batches have arrived.
    pub(crate) fn arrived(&self) -> u64 {
        self.state().arrived
    }

    /// Waits until more batches have arrived than `before`.
    pub(crate) async fn arrival_after(&self, before: u64) {
        while self.arrived() == before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Kills the process; it starts again at once, elsewhere.
    pub(crate) fn crash(&self) {
        self.crash.notify_one();
    }

    /// Lives and dies, until it is aborted. Each life is entered at the name server of `directory`.
    pub(crate) async fn live(self, directory: Directory) {
        loop {
            self.state().term += 1;
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let catalog = self.clone();
            let _process = Process::spawn(listener, move |mut stream| {
                let catalog = catalog.clone();
                async move {
                    let me = "catalog/1".parse().unwrap();
                    let cluster = CLUSTER.parse().unwrap();
                    match welcome(&mut stream, &cluster, me, Some).await {
                        Ok(Protocol::Catalog) => serve(stream, Catalog::serve(catalog)).await,
                        Ok(Protocol::Replica) => serve(stream, Replica::serve(catalog)).await,
                        Ok(_) | Err(_) => {}
                    }
                }
            });
            let registration = Registration {
                name: "catalog/1".into(),
                address,
                metadata: BTreeSet::new(),
                lease: None,
            };
            let naming = directory.naming().await.unwrap();
            let registered = naming.register(within(LIMIT), registration, true).await;
            registered.unwrap().unwrap();
            self.crash.notified().await;
        }
    }

    fn leads(&self) -> Leadership {
        Leadership {
            term: Term(self.state().term),
            leader: Some("catalog/1".parse().unwrap()),
        }
    }

    async fn die<T>(&self) -> T {
        self.crash();
        std::future::pending().await
    }
}

impl State {
    fn check(&self, token: FencingToken) -> Result<(), CatalogError> {
        if token == self.token {
            Ok(())
        } else {
            Err(CatalogError::Fenced { by: self.token })
        }
    }

    fn decide(&mut self, batch: TradeBatch) -> Result<Vec<Decision>, CatalogError> {
        self.check(batch.token)?;
        assert!(batch.trades.len() <= MAX_BATCH);
        assert!(
            batch.recorded.0 <= self.next,
            "trades are recorded that were never made"
        );
        self.forgotten = self.forgotten.max(batch.recorded.0);
        self.outbox
            .retain(|trade| trade.sequence.0 >= self.forgotten);
        Ok(batch
            .trades
            .into_iter()
            .map(|request| self.trade(request))
            .collect())
    }

    /// Decides one trade. An order leader that sends a request again after it reported it as
    /// recorded gets a second trade, as it would from the real one.
    fn trade(&mut self, request: TradeRequest) -> Decision {
        if let Some(made) = self
            .outbox
            .iter()
            .find(|made| made.request.request == request.request)
        {
            return Ok(made.clone());
        }
        let known = match &request.item {
            ItemKey::Number(number) => *number == ItemNumber(1),
            ItemKey::Name(name) => name.as_str() == "GameStart",
        };
        if !known {
            return Err(Refusal::UnknownItem);
        }
        let units = request.quantity.units();
        if units == 0 {
            return Err(Refusal::QuantityNotAllowed {
                min: Quantity::new(1).unwrap(),
                max: Quantity::MAX,
            });
        }
        let stock = match request.side {
            Side::Buy => self.stock.checked_sub(units),
            Side::Sell => Some(self.stock + units),
        };
        self.stock = stock.ok_or_else(|| Refusal::NotEnoughStock {
            available: Quantity::new(self.stock).unwrap(),
        })?;
        let price = Money::from_cents(1599).unwrap();
        let trade = Trade {
            sequence: TradeSequence(self.next),
            price: request.amends.map_or(price, |amendment| amendment.price),
            request,
            item: ItemNumber(1),
            name: ItemName::new("GameStart").unwrap(),
            shop: ShopName::new("stocks").unwrap(),
            version: Version(self.next + 1),
        };
        self.next += 1;
        self.outbox.push_back(trade.clone());
        Ok(trade)
    }
}

impl Catalog for TestCatalog {
    async fn fence(
        self,
        _: Context,
        term: Term,
        recorded: TradeSequence,
    ) -> Result<Fence, CatalogError> {
        let mut state = self.state();
        if term < state.token.term {
            return Err(CatalogError::Fenced { by: state.token });
        }
        state.fences += 1;
        if (state.forgotten..=state.next).contains(&recorded.0) {
            state.token = FencingToken {
                term,
                epoch: state.token.epoch + 1,
            };
        }
        Ok(Fence {
            token: state.token,
            forgotten: TradeSequence(state.forgotten),
            next: TradeSequence(state.next),
        })
    }

    async fn decide(self, _: Context, batch: TradeBatch) -> Result<Vec<Decision>, CatalogError> {
        // A batch has its turn when it arrives, whatever it waits for afterwards.
        let fault = {
            let mut state = self.state();
            state.arrived += 1;
            state.faults.pop_front().flatten()
        };
        self.gate.subscribe().wait_for(|open| *open).await.unwrap();
        match fault {
            Some(Fault::Busy) => return Err(CatalogError::Busy),
            Some(Fault::LostBatch) => return self.die().await,
            Some(Fault::LostAnswer | Fault::Unknown) | None => {}
        }
        let decisions = self.state().decide(batch);
        match fault {
            Some(Fault::LostAnswer) => self.die().await,
            Some(Fault::Unknown) => Err(CatalogError::Unknown),
            Some(Fault::Busy | Fault::LostBatch) | None => decisions,
        }
    }

    async fn outbox(
        self,
        _: Context,
        token: FencingToken,
        from: TradeSequence,
    ) -> Result<Vec<Trade>, CatalogError> {
        let state = self.state();
        state.check(token)?;
        // Small pages, so that recovery takes several.
        let trades = state
            .outbox
            .iter()
            .filter(|trade| trade.sequence >= from)
            .take(3);
        Ok(trades.cloned().collect())
    }

    async fn lookup(self, _: Context, _: ItemKey) -> Result<Option<Item>, CatalogError> {
        Ok(None)
    }

    async fn list(self, _: Context, _: ListQuery) -> Result<Vec<Item>, CatalogError> {
        Ok(Vec::new())
    }

    async fn lease(self, _: Context, _: LeaseRequest) -> Result<LeaseGrant, CatalogError> {
        Err(CatalogError::Starting)
    }

    async fn edit(self, _: Context, _: RequestId, _: Edit) -> Result<EditOutcome, CatalogError> {
        Err(CatalogError::Starting)
    }
}

impl Replica for TestCatalog {
    async fn leadership(self, _: Context, known: Leadership, patience: Duration) -> Leadership {
        if known == self.leads() {
            tokio::time::sleep(patience).await;
        }
        self.leads()
    }

    async fn status(self, _: Context) -> ReplicaStatus {
        unreachable!("nobody asks")
    }

    async fn remove(self, _: Context, _: u64) -> Result<(), RemoveError> {
        unreachable!("nobody asks")
    }
}
