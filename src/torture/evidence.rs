//! What replicas hold at the end, as histories.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use bazaar_catalog::Export;
use bazaar_history::{End, OrderRecord, OrdersLine, Origin, Writer};
use bazaar_rpc::connect::{call, client_config, client_transport};
use bazaar_rpc::net::Protocol;
use bazaar_rpc::orders::{MAX_PAGE, OrdersClient};
use bazaar_rpc::{OrderNumber, ServiceKind, ServiceName, TradeSequence};

use crate::torture::arena::Arena;

/// How long a page may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Writes the log of every order replica into `dir`. They run, and no trades flow.
pub(crate) async fn export_logs(arena: &Arena, dir: &Path) -> anyhow::Result<()> {
    for name in arena.members(ServiceKind::Order) {
        let file = dir.join(format!("order-{}.ndjson", name.id));
        export_orders(arena, name, &file)
            .await
            .with_context(|| format!("cannot export the log of {name}"))?;
    }
    Ok(())
}

/// Writes the stock of every catalog replica into `dir`, from what each wrote when it was stopped in
/// good order. `replicas` are they, and their data directories.
pub(crate) fn export_stocks(replicas: &[(ServiceName, PathBuf)], dir: &Path) -> anyhow::Result<()> {
    for (name, data_dir) in replicas {
        let file = File::create_new(dir.join(format!("catalog-{}.ndjson", name.id)))?;
        let options = Export {
            data_dir: data_dir.clone(),
            replica: Some(name.id),
        };
        let exported = bazaar_catalog::export::export(&options, file);
        exported.with_context(|| format!("cannot export the stock of {name}"))?;
    }
    Ok(())
}

async fn export_orders(arena: &Arena, name: ServiceName, file: &Path) -> anyhow::Result<()> {
    let directory = arena.directory();
    let stream = directory.connect(name, Protocol::Orders).await?;
    let replica = OrdersClient::new(client_config(), client_transport(stream)).spawn();
    let origin = Origin::timeless(name.to_string(), Some(directory.cluster().to_string()));
    let mut writer = Writer::create(file, &origin)?;
    let limit = u32::try_from(MAX_PAGE)?;
    let (mut from, mut applied) = (OrderNumber(0), TradeSequence(0));
    loop {
        let page = call(ANSWER_LIMIT, |context| replica.export(context, from, limit)).await??;
        for order in &page {
            writer.write(&OrdersLine::Order(OrderRecord::from(order)))?;
        }
        let Some(last) = page.last() else { break };
        from = last.number.next();
        applied = last.trade.sequence.next();
    }
    writer.write(&OrdersLine::End(End { applied }))?;
    Ok(writer.finish().map(drop)?)
}
