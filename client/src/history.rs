//! The history of a run: every request and what it was told, with times, for `bazaar check`.
//!
//! One thread owns the file, as with the log of acknowledged orders: sessions hand events over
//! through a bounded queue, and wait when the disk is slower than they are. Retries of a request are
//! no events of their own: what is recorded is what was asked for and what came of it in the end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use std::{io, thread};

use anyhow::Context;
pub(crate) use bazaar_history::Call;
use bazaar_history::{Answer, ClientEvent, Event, Origin, Reason, ShownOrder, Writer, clock};
use bazaar_rpc::http::{StandingOrder, Stock};
use hyper::StatusCode;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use crate::api::{Error, Intent, Outcome};

/// Events that may wait to be written.
const QUEUE: usize = 1 << 14;

/// How long events gather before they are written: to wake a thread for each would cost more than to
/// write it does.
const GATHER: Duration = Duration::from_millis(2);

/// An open history. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct History(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    file: String,
    /// None once it is to be closed.
    queue: std::sync::Mutex<Option<mpsc::Sender<ClientEvent>>>,
    writer: Mutex<Option<JoinHandle<io::Result<()>>>>,
    /// How many processes there are.
    processes: AtomicU64,
}

/// Records what one session asks and is told.
#[derive(Debug)]
pub(crate) struct Recorder {
    queue: Option<mpsc::Sender<ClientEvent>>,
    process: u64,
    op: u64,
}

/// What came of a request, before it is known when, and through which frontend.
pub(crate) enum Completion {
    /// It was done.
    Ok(Answer),
    /// It was not, as a frontend said.
    Refused(Reason),
    /// It was not, since nobody was reached.
    Unsent(String),
    /// It may have been done.
    Unknown(String),
}

impl History {
    /// Creates the file at `path`, which must be new, for the run of that number.
    pub(crate) fn create(path: &Path, run: u64) -> anyhow::Result<Self> {
        let open = || {
            Writer::create(
                path,
                &Origin::timed(format!("client/{run:016x}"), None, clock::name()?),
            )
        };
        let file =
            open().with_context(|| format!("cannot create the history {}", path.display()))?;
        let (queue, events) = mpsc::channel(QUEUE);
        let writer = tokio::task::spawn_blocking(move || write(file, events));
        Ok(Self(Arc::new(Shared {
            file: path.display().to_string(),
            queue: std::sync::Mutex::new(Some(queue)),
            writer: Mutex::new(Some(writer)),
            processes: AtomicU64::new(0),
        })))
    }

    /// The recorder of another session.
    pub(crate) fn recorder(&self) -> Recorder {
        Recorder {
            queue: self.0.queue.lock().expect("no holder panics").clone(),
            process: self.0.processes.fetch_add(1, Relaxed),
            op: 0,
        }
    }

    /// Waits until everything is written and every recorder is gone.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        drop(self.0.queue.lock().expect("no holder panics").take());
        let Some(writer) = self.0.writer.lock().await.take() else {
            return Ok(());
        };
        let written = writer.await.context("the history's writer panicked")?;
        written.with_context(|| format!("cannot write the history {}", self.0.file))
    }
}

fn write(mut file: Writer<ClientEvent>, mut queue: mpsc::Receiver<ClientEvent>) -> io::Result<()> {
    let mut batch = Vec::with_capacity(QUEUE);
    while queue.blocking_recv_many(&mut batch, QUEUE) > 0 {
        for event in batch.drain(..) {
            file.write(&event)?;
        }
        // So that what was told is in the file, should this process be killed.
        file.flush()?;
        thread::sleep(GATHER);
    }
    file.finish().map(drop)
}

impl Recorder {
    /// `call` is about to be sent to `frontend`.
    pub(crate) async fn invoke(&mut self, frontend: String, call: Call) {
        self.op += 1;
        self.record(Event::Invoke { frontend, call }).await;
    }

    /// It was completed, by `frontend` if by any.
    pub(crate) async fn complete(&mut self, frontend: String, completion: Completion) {
        self.record(match completion {
            Completion::Ok(answer) => Event::Ok { frontend, answer },
            Completion::Refused(reason) => Event::Refused {
                frontend: Some(frontend),
                reason,
            },
            Completion::Unsent(why) => Event::Refused {
                frontend: None,
                reason: Reason::Other(why),
            },
            Completion::Unknown(reason) => Event::Unknown { reason },
        })
        .await;
    }

    async fn record(&mut self, event: Event) {
        let event = ClientEvent {
            at: clock::now(),
            process: self.process,
            op: self.op,
            event,
        };
        if let Some(queue) = &self.queue
            && queue.send(event).await.is_err()
        {
            self.queue = None;
        }
    }

    /// Whether what is recorded is no longer written.
    pub(crate) fn is_broken(&self) -> bool {
        self.queue.is_none()
    }
}

/// What a trade asks for.
pub(crate) fn asked(intent: &Intent) -> Call {
    let Intent {
        name,
        side,
        quantity,
        key,
    } = intent.clone();
    Call::Trade {
        item: name,
        side,
        quantity,
        key,
        user: None,
    }
}

/// What came of a lookup.
pub(crate) fn looked_up(stock: &Result<Stock, Error>) -> Completion {
    match stock {
        Ok(stock) => Completion::Ok(Answer::Stock {
            quantity: stock.quantity,
            version: Some(stock.version),
        }),
        Err(error) => failed(error),
    }
}

/// What came of a trade.
pub(crate) fn traded(outcome: &Outcome) -> Completion {
    match outcome {
        Outcome::Done(done) => Completion::Ok(Answer::Traded {
            number: done.number,
            version: done.version,
            replayed: done.replayed,
        }),
        Outcome::Refused(error) | Outcome::Rejected(error) => Completion::Refused(reason(error)),
        Outcome::Unsent(why) => Completion::Unsent(why.clone()),
        Outcome::Unknown(why) => Completion::Unknown(why.clone()),
    }
}

/// What came of a question for an order.
pub(crate) fn queried(order: &Result<Option<StandingOrder>, Error>) -> Completion {
    match order {
        Ok(Some(standing)) => Completion::Ok(Answer::Order(ShownOrder::from(standing))),
        Ok(None) => Completion::Refused(Reason::NotFound),
        Err(error) => failed(error),
    }
}

/// A question that was answered with an error.
fn failed(error: &Error) -> Completion {
    match error {
        Error::Status { .. } => Completion::Refused(reason(error)),
        Error::Unanswered(why) | Error::Malformed(why) => Completion::Unknown(why.clone()),
    }
}

/// Why a frontend did not do what it was asked for.
fn reason(error: &Error) -> Reason {
    let Error::Status { status, message } = error else {
        return Reason::Other(error.to_string());
    };
    if *status == StatusCode::NOT_FOUND {
        return Reason::NotFound;
    }
    match message.strip_prefix("not enough stock") {
        Some(rest) => Reason::NotEnoughStock {
            available: available(rest),
        },
        None => Reason::Other(error.to_string()),
    }
}

/// The number in `: 7 available`, where it says so.
fn available(rest: &str) -> Option<bazaar_rpc::Quantity> {
    let number = rest.strip_prefix(": ")?.strip_suffix(" available")?;
    bazaar_rpc::Quantity::new(number.parse().ok()?).ok()
}
