//! A replica's stock as a history, for `bazaar check`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bazaar_history::{Origin, StockEnd, StockLine, StockRecord, Writer};
use bazaar_rpc::{ServiceKind, ServiceName};

use crate::error::SnapshotError;
use crate::snapshot_file::SnapshotFile;
use crate::state::State;

/// Print a replica's stock as a history for `bazaar check`, from the `catalog.json` that it wrote
/// last.
///
/// It is read and left as it is, whether the replica runs or not. One that runs writes it within
/// seconds of a change.
#[derive(Clone, Debug, clap::Args)]
pub struct Export {
    /// The replica's data directory, or that of `bazaar up`.
    #[arg(long, value_name = "DIR", default_value = "var")]
    pub data_dir: PathBuf,

    /// Which replica it is; the first one of the cluster, where none is given.
    #[arg(long, value_name = "N")]
    pub replica: Option<u64>,
}

/// Why a stock was not printed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is none.
    #[error("{0}: no catalog.json; a catalog replica writes it seconds after its first start")]
    NoFile(PathBuf),
    /// It cannot be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The output cannot be written.
    #[error("writing: {0}")]
    Write(#[from] io::Error),
}

/// Writes the stock that `options` name to `out`.
///
/// # Errors
/// When it cannot be read, or not be written.
pub fn export(options: &Export, out: impl Write) -> Result<(), ExportError> {
    let Export { data_dir, replica } = options;
    let source = match replica {
        Some(id) => ServiceName::new(ServiceKind::Catalog, *id).to_string(),
        None => replica_in(data_dir),
    };
    let file = SnapshotFile::new(data_dir);
    let (state, _) = file
        .read()?
        .ok_or_else(|| ExportError::NoFile(data_dir.clone()))?;
    write(&state, &source, out)?;
    Ok(())
}

fn write(state: &State, source: &str, out: impl Write) -> io::Result<()> {
    let mut history = Writer::new(out, &Origin::timeless(source, None))?;
    for stock in state.stocks() {
        history.write(&StockLine::Item(StockRecord {
            number: stock.item.number,
            item: stock.item.name.clone(),
            initial: stock.item.quantity,
            quantity: stock.quantity,
            volume: stock.volume(),
            restocked: stock.restocked,
            written_off: stock.written_off,
            version: stock.version,
            edits: stock.edits,
            removed: stock.removed,
        }))?;
    }
    for trade in state.unrecorded() {
        history.write(&StockLine::Outbox(trade.into()))?;
    }
    history.write(&StockLine::End(StockEnd {
        applied: state.next_sequence(),
        edits: state.edits(),
    }))?;
    history.finish()?.flush()
}

/// The replica whose data directory this is, by the name that `bazaar up` gives it; otherwise the
/// directory itself.
fn replica_in(data_dir: &Path) -> String {
    let name = data_dir.file_name().and_then(|name| name.to_str());
    let id = name.and_then(|name| name.strip_prefix("catalog-")?.parse().ok());
    match id {
        Some(id) => ServiceName::new(ServiceKind::Catalog, id).to_string(),
        None => data_dir.display().to_string(),
    }
}
