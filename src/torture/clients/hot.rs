//! One hot item: everybody wants the same.

use std::path::Path;
use std::time::Duration;

use bazaar_client::{Config, Load, Probability, Rate};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use super::Clients;

/// How many want it at once.
const CONNECTIONS: u32 = 32;

/// What they send together, a second: more than a lookup's share, and no more than the checkers can
/// take for an hour.
const RATE: f64 = 500.0;

/// All want one item for `lasts`; returns which, and how many trades were accepted. What they did is
/// written below `dir`.
pub(crate) async fn hot_item(
    clients: &Clients,
    seed: u64,
    lasts: Duration,
    dir: &Path,
) -> anyhow::Result<(String, u64)> {
    let item = clients.items.choose(&mut StdRng::seed_from_u64(seed));
    let item = item.expect("there are items").clone();
    let name = format!("hot-{seed:016x}.ndjson");
    let load = Load::start(Config {
        urls: clients.urls.to_vec(),
        items: vec![item.clone()],
        connections: CONNECTIONS,
        rate: Some(Rate::new(RATE)?),
        duration: lasts,
        seed: Some(seed),
        trade_probability: Probability::new(0.5)?,
        log: Some(dir.join("orders").join(&name)),
        history: Some(dir.join("histories").join(name)),
        ..Config::default()
    })
    .await?;
    let ended = load.ended().await?;
    let report = ended.judge().await?;
    let failures = report.failures();
    anyhow::ensure!(
        failures.is_empty(),
        "the clients of the hot item: {}",
        failures.join("; ")
    );
    Ok((item.to_string(), report.judgement.acknowledged))
}
