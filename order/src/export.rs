//! A replica's order log: as CSV, in the format of the original system, or as a history for
//! `bazaar check`.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bazaar_daemon::{DataDir, DataDirError};
use bazaar_history::{End, OrdersLine, Origin, Writer};
use bazaar_rpc::connect::{
    ConnectError, Directory, ResolveError, call, client_config, client_transport, spawned,
};
use bazaar_rpc::net::{ClusterName, Protocol};
use bazaar_rpc::orders::{MAX_PAGE, OrderError, OrdersClient};
use bazaar_rpc::{Order, OrderNumber, ServiceKind, ServiceName, TradeSequence};

use crate::app::STORE_DIR;
use crate::error::StoreError;
use crate::store::Store;

/// The first line.
const HEADER: &str = "Transaction ID,Stock Name,Order Type,Quantity";

/// How long a replica may take for one page.
const PAGE_TIMEOUT: Duration = Duration::from_secs(5);

/// Print a replica's order log.
#[derive(Clone, Debug, clap::Args)]
pub struct Export {
    /// Print comma-separated values (RFC 4180), as is done where no format is given.
    #[arg(long, conflicts_with = "history")]
    pub csv: bool,

    /// Print a history for `bazaar check`.
    #[arg(long)]
    pub history: bool,

    /// Ask this replica; the first one that the name server knows where none is given. With the
    /// data directory of one that does not run, which one it is.
    #[arg(long, value_name = "N")]
    pub replica: Option<u64>,

    /// The name server's address.
    #[arg(
        long,
        value_name = "ADDR",
        env = "BAZAAR_NAMESERVER",
        default_value = "127.0.0.1:9090"
    )]
    pub nameserver: SocketAddr,

    /// The cluster's name.
    #[arg(
        long,
        value_name = "NAME",
        env = "BAZAAR_CLUSTER",
        default_value = "bazaar"
    )]
    pub cluster: ClusterName,

    /// A cluster's data directory, to ask one of its replicas; or that of a replica which does not
    /// run, to read it.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// Why an order log was not printed, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// No replica was found.
    #[error("no order replica is registered at the name server")]
    NoReplica,
    /// The name server was of no help.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The replica cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The replica did not answer.
    #[error("the replica did not answer: {0}")]
    NoAnswer(#[from] tarpc::client::RpcError),
    /// The replica said no.
    #[error(transparent)]
    Orders(#[from] OrderError),
    /// There is no order store.
    #[error("{0}: not the data directory of an order replica")]
    NoStore(PathBuf),
    /// The directory is in use, by a replica that runs most likely.
    #[error("{0}; leave --data-dir out to ask the replica that runs")]
    DataDir(#[from] DataDirError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The output cannot be written.
    #[error("writing: {0}")]
    Write(#[from] io::Error),
}

/// Where orders are read from.
struct Source {
    /// The replica.
    name: String,
    /// Its cluster, where that is known.
    cluster: Option<String>,
    log: Log,
}

enum Log {
    Running(OrdersClient),
    Stopped { store: Store, _owned: DataDir },
}

/// A form to write orders in.
trait Form<W> {
    fn write(&mut self, order: &Order) -> io::Result<()>;

    /// The first trade that is not in the log is `applied`.
    fn finish(self, applied: TradeSequence) -> io::Result<()>;
}

struct Csv<W>(W);

struct History<W: Write>(Writer<OrdersLine, W>);

/// Writes the order log that `options` name to `out`, with a header, page by page.
///
/// # Errors
/// When it cannot be read to its end, or not be written.
pub async fn export(options: &Export, out: &mut impl Write) -> Result<(), ExportError> {
    let source = Source::open(options).await?;
    if options.history {
        let origin = Origin::timeless(&source.name, source.cluster.clone());
        let form = History(Writer::new(out, &origin)?);
        source.write(form).await
    } else {
        writeln!(out, "{HEADER}")?;
        source.write(Csv(out)).await
    }
}

impl<W: Write> Form<W> for Csv<W> {
    fn write(&mut self, order: &Order) -> io::Result<()> {
        write_row(&mut self.0, order)
    }

    fn finish(mut self, _: TradeSequence) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write> Form<W> for History<W> {
    fn write(&mut self, order: &Order) -> io::Result<()> {
        self.0.write(&OrdersLine::Order(order.into()))
    }

    fn finish(mut self, applied: TradeSequence) -> io::Result<()> {
        self.0.write(&OrdersLine::End(End { applied }))?;
        self.0.finish()?.flush()
    }
}

impl Source {
    async fn write<W>(&self, mut form: impl Form<W>) -> Result<(), ExportError> {
        let mut next = OrderNumber(0);
        let mut applied = TradeSequence(0);
        loop {
            let orders = self.page(next).await?;
            let Some(last) = orders.last() else { break };
            next = last.number.next();
            applied = last.trade.sequence.next();
            for order in &orders {
                form.write(order)?;
            }
        }
        Ok(form.finish(applied)?)
    }

    async fn open(options: &Export) -> Result<Self, ExportError> {
        let Some(data_dir) = &options.data_dir else {
            let (replica, client) = connect(options).await?;
            return Ok(Self {
                name: replica.to_string(),
                cluster: Some(options.cluster.to_string()),
                log: Log::Running(client),
            });
        };
        let store_dir = data_dir.join(STORE_DIR);
        if !store_dir.is_dir() {
            return Err(ExportError::NoStore(data_dir.clone()));
        }
        let owned = DataDir::open(data_dir)?;
        let (store, _) = Store::open(&store_dir)?;
        Ok(Self {
            name: match options.replica {
                Some(id) => ServiceName::new(ServiceKind::Order, id).to_string(),
                None => replica_in(data_dir),
            },
            cluster: None,
            log: Log::Stopped {
                store,
                _owned: owned,
            },
        })
    }

    async fn page(&self, from: OrderNumber) -> Result<Vec<Order>, ExportError> {
        match &self.log {
            Log::Running(replica) => {
                let limit = u32::try_from(MAX_PAGE).unwrap_or(u32::MAX);
                Ok(call(PAGE_TIMEOUT, |context| replica.export(context, from, limit)).await??)
            }
            Log::Stopped { store, .. } => Ok(store.page(from, MAX_PAGE)?),
        }
    }
}

/// The replica whose data directory this is, by the name that `bazaar up` gives it; otherwise the
/// directory itself.
fn replica_in(data_dir: &Path) -> String {
    let name = data_dir.file_name().and_then(|name| name.to_str());
    let id = name.and_then(|name| name.strip_prefix("order-")?.parse().ok());
    match id {
        Some(id) => ServiceName::new(ServiceKind::Order, id).to_string(),
        None => data_dir.display().to_string(),
    }
}

/// Connects to the replica that `options` name.
async fn connect(options: &Export) -> Result<(ServiceName, OrdersClient), ExportError> {
    let directory = Directory::new(options.cluster.clone(), options.nameserver);
    let replicas: Vec<_> = match options.replica {
        Some(id) => vec![ServiceName::new(ServiceKind::Order, id)],
        None => {
            let entries = directory.list(ServiceKind::Order).await?;
            entries
                .iter()
                .filter_map(|entry| entry.name.parse().ok())
                .collect()
        }
    };
    let mut failure = ExportError::NoReplica;
    for replica in replicas {
        match directory.connect(replica, Protocol::Orders).await {
            Ok(stream) => {
                let stub = OrdersClient::new(client_config(), client_transport(stream));
                return Ok((replica, spawned(stub)));
            }
            Err(error) => failure = error.into(),
        }
    }
    Err(failure)
}

fn write_row(out: &mut impl Write, Order { number, trade }: &Order) -> io::Result<()> {
    let (name, request) = (quoted(trade.name.as_str()), &trade.request);
    writeln!(
        out,
        "{number},{name},{},{}",
        request.side.as_str(),
        request.quantity
    )
}

/// The text as one field: in quotes, its own quotes doubled, where it needs them (RFC 4180).
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use bazaar_rpc::ItemName;

    use super::*;
    use crate::samples::trade;

    #[test]
    fn names_with_commas_and_quotes_are_quoted() {
        let mut order = Order {
            number: OrderNumber(3),
            trade: trade(3),
        };
        let mut out = Vec::new();
        write_row(&mut out, &order).unwrap();
        order.trade.name = ItemName::new(r#"Cod, "fresh""#).unwrap();
        write_row(&mut out, &order).unwrap();
        let expected = "3,GameStart,buy,10\n3,\"Cod, \"\"fresh\"\"\",buy,10\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
