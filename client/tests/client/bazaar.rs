//! A Bazaar in memory behind a real HTTP server, with faults planted on purpose: what the judge must
//! find can be found missing only where somebody does it wrong.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bazaar_client::BaseUrl;
use bazaar_rpc::http::{Data, ErrorEnvelope, OrderView, Problem, Stock, TransactionNumber};
use bazaar_rpc::{ItemName, ItemNumber, Money, OrderNumber, Quantity, Side, Version};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::RwLock;
use tokio_util::task::AbortOnDropHandle;

/// What the server does wrong, once, at its twentieth trade or request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Acknowledges an order and forgets it.
    LoseOrder,
    /// Shows an order with one unit more than it has.
    WrongQuantity,
    /// Acknowledges two trades with one number.
    SharedNumber,
    /// Forgets the idempotency keys: what is sent again is made again.
    ForgetKeys,
    /// Books an order that nobody asked for.
    StrayOrder,
    /// Skips a number.
    Hole,
    /// Takes a unit out of stock without an order.
    Leak,
    /// Shows every item as it was one trade ago.
    OldLookups,
    /// Makes a trade and closes the connection instead of answering.
    ResetAfterTrade,
    /// Makes a trade, answers 503, and refuses it when it is sent again.
    RefuseAfterTrade,
    /// Leaves the version out of an acknowledgement.
    NoVersion,
    /// Answers nothing for a while.
    Stall(Duration),
}

/// When faults happen.
const AT: u64 = 20;

#[derive(Deserialize, Serialize)]
struct Trade {
    name: ItemName,
    quantity: Quantity,
    #[serde(rename = "type")]
    side: Side,
}

struct State {
    items: Vec<Stock>,
    before: Vec<Stock>,
    orders: HashMap<u64, OrderView>,
    next: u64,
    trades: u64,
    keys: HashMap<String, OrderView>,
    /// The key to be refused when it comes again.
    refuse: Option<String>,
}

/// A running server. It ends when it is dropped.
pub(crate) struct Bazaar {
    pub(crate) url: BaseUrl,
    shared: Arc<Shared>,
    _server: AbortOnDropHandle<()>,
}

struct Shared {
    fault: Fault,
    requests: AtomicU64,
    connections: AtomicU64,
    /// Held for reading by every request, for writing by a stall.
    stall: RwLock<()>,
    state: Mutex<State>,
}

impl Bazaar {
    pub(crate) async fn start(fault: Fault) -> Self {
        Self::with_stock(fault, 1_000_000).await
    }

    pub(crate) async fn with_stock(fault: Fault, units: u64) -> Self {
        let items: Vec<_> = ["GameStart", "Boar & Co", "FishCo"]
            .map(|name| Stock {
                name: ItemName::new(name).unwrap(),
                price: Money::from_cents(1599).unwrap(),
                quantity: Quantity::new(units).unwrap(),
                version: Version(1),
            })
            .into();
        let shared = Arc::new(Shared {
            fault,
            requests: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            stall: RwLock::new(()),
            state: Mutex::new(State {
                before: items.clone(),
                items,
                orders: HashMap::new(),
                next: 0,
                trades: 0,
                keys: HashMap::new(),
                refuse: None,
            }),
        });
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self {
            url: format!("http://{address}").parse().unwrap(),
            shared,
            _server: AbortOnDropHandle::new(server),
        }
    }

    /// How many orders are booked.
    pub(crate) fn orders(&self) -> u64 {
        self.shared.state.lock().unwrap().orders.len() as u64
    }

    /// How many connections were accepted.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        shared.connections.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| answer(Arc::clone(&shared), request));
        connections.spawn(async move {
            http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await
                .ok();
        });
    }
}

type Answer = Result<Response<Full<Bytes>>, std::io::Error>;

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Answer {
    let count = shared.requests.fetch_add(1, Ordering::Relaxed);
    if let (Fault::Stall(time), true) = (shared.fault, count == AT) {
        let _everybody_waits = shared.stall.write().await;
        tokio::time::sleep(time).await;
    }
    let _unless_stalled = shared.stall.read().await;

    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map_err(std::io::Error::other)?
        .to_bytes();
    let path = head.uri.path().to_owned();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let state = &mut *shared.state.lock().unwrap();
    match (&head.method, path.as_str()) {
        (&Method::GET, "/products") => products(state, &query),
        (&Method::POST, "/orders") => {
            let key = head.headers["idempotency-key"].to_str().unwrap();
            state.trade(shared.fault, key, &body)
        }
        (&Method::GET, "/orders") => {
            let numbers = query.strip_prefix("numbers=").unwrap().split(',');
            let orders = numbers.map(|number| state.orders.get(&number.parse().unwrap()));
            match orders.collect::<Option<Vec<_>>>() {
                Some(data) => ok(&Data { data }),
                None => problem(StatusCode::NOT_FOUND, "order number not found"),
            }
        }
        (&Method::GET, path) => match path.split_at(path.rfind('/').unwrap() + 1) {
            ("/stocks/", name) => state.lookup(shared.fault, &name.replace("%20%26%20", " & ")),
            ("/orders/", number) => match state.orders.get(&number.parse().unwrap()) {
                Some(order) => ok(&Data {
                    data: Standing { order, history: [] },
                }),
                None => problem(StatusCode::NOT_FOUND, "order number not found"),
            },
            _ => problem(StatusCode::NOT_FOUND, "no such path"),
        },
        _ => problem(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"),
    }
}

fn products(state: &State, query: &str) -> Answer {
    #[derive(Serialize)]
    struct Product<'a> {
        id: ItemNumber,
        name: &'a ItemName,
    }
    assert!(query.starts_with("shop=stocks&limit="), "{query}");
    let products = state.items.iter().zip(1..).map(|(item, id)| Product {
        id: ItemNumber(id),
        name: &item.name,
    });
    ok(&products.collect::<Vec<_>>())
}

impl State {
    fn lookup(&self, fault: Fault, name: &str) -> Answer {
        let is_old = fault == Fault::OldLookups && self.trades >= AT;
        let items = if is_old { &self.before } else { &self.items };
        match items.iter().find(|item| item.name.as_str() == name) {
            Some(item) => ok(&Data { data: item }),
            None => problem(StatusCode::NOT_FOUND, "stock not found"),
        }
    }

    fn trade(&mut self, fault: Fault, key: &str, body: &[u8]) -> Answer {
        let trade: Trade = serde_json::from_slice(body).unwrap();
        if let Some(order) = self.keys.get(key).filter(|_| fault != Fault::ForgetKeys) {
            if self.refuse.take_if(|refuse| refuse == key).is_some() {
                return problem(StatusCode::BAD_REQUEST, "not enough stock");
            }
            return acknowledge(order, true, fault != Fault::NoVersion);
        }
        let index = self
            .items
            .iter()
            .position(|item| item.name == trade.name)
            .unwrap();
        let item = &mut self.items[index];
        let units = match trade.side {
            Side::Buy => item.quantity.checked_sub(trade.quantity),
            Side::Sell => item.quantity.checked_add(trade.quantity),
        };
        let Some(units) = units else {
            return problem(StatusCode::BAD_REQUEST, "not enough stock");
        };
        self.before[index] = item.clone();
        item.quantity = units;
        item.version = item.version.next();
        let now = self.trades == AT;
        self.trades += 1;

        self.next += u64::from(now && fault == Fault::Hole);
        self.next -= u64::from(now && fault == Fault::SharedNumber);
        let mut order = OrderView {
            number: OrderNumber(self.next),
            name: trade.name,
            product_id: ItemNumber(index as u64 + 1),
            side: trade.side,
            quantity: trade.quantity,
            price: item.price,
            version: item.version,
        };
        self.next += 1;
        self.keys.insert(key.to_owned(), order.clone());
        let answer = acknowledge(&order, false, fault != Fault::NoVersion);
        if now {
            match fault {
                Fault::LoseOrder => return answer,
                Fault::WrongQuantity => {
                    order.quantity = order
                        .quantity
                        .checked_add(Quantity::new(1).unwrap())
                        .unwrap();
                }
                Fault::StrayOrder => {
                    let number = OrderNumber(self.next);
                    self.orders.insert(
                        self.next,
                        OrderView {
                            number,
                            ..order.clone()
                        },
                    );
                    self.next += 1;
                }
                Fault::Leak => {
                    item.quantity = item
                        .quantity
                        .checked_sub(Quantity::new(1).unwrap())
                        .unwrap();
                }
                _ => {}
            }
        }
        self.orders.insert(order.number.0, order);
        match fault {
            Fault::ResetAfterTrade if now => Err(std::io::Error::other("reset")),
            Fault::RefuseAfterTrade if now => {
                self.refuse = Some(key.to_owned());
                problem(StatusCode::SERVICE_UNAVAILABLE, "busy")
            }
            _ => answer,
        }
    }
}

/// An order as it stands: nobody changes one here.
#[derive(Serialize)]
struct Standing<'a> {
    #[serde(flatten)]
    order: &'a OrderView,
    history: [(); 0],
}

fn acknowledge(order: &OrderView, replayed: bool, versioned: bool) -> Answer {
    let mut answer = ok(&Data {
        data: TransactionNumber {
            transaction_number: order.number,
        },
    })?;
    if versioned {
        let version = order.version.to_string().parse().unwrap();
        answer.headers_mut().insert("item-version", version);
    }
    if replayed {
        let replayed = "true".parse().unwrap();
        answer.headers_mut().insert("idempotent-replayed", replayed);
    }
    Ok(answer)
}

fn ok(body: &impl Serialize) -> Answer {
    Ok(Response::new(Full::new(
        serde_json::to_vec(body).unwrap().into(),
    )))
}

fn problem(status: StatusCode, message: &str) -> Answer {
    let mut answer = ok(&Problem {
        kind: "about:blank".into(),
        title: status.to_string(),
        status: status.as_u16(),
        request_id: "one".into(),
        detail: message.into(),
        error: ErrorEnvelope {
            code: status.as_u16(),
            message: message.into(),
        },
    })?;
    *answer.status_mut() = status;
    Ok(answer)
}
