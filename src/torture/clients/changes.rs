//! Clients who change their minds: they place orders with an account, change and cancel them and each
//! other's, and look at them.

use std::time::Duration;

use bazaar_history::Call;
use futures::future::try_join_all;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Caller, Clients};

/// How many there are.
const SESSIONS: u64 = 4;

/// The longest pause from one request to the next.
const MAX_PAUSE: Duration = Duration::from_millis(300);

/// Has them go on until `ended`.
pub(crate) async fn changes(
    clients: &Clients,
    seed: u64,
    ended: &watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let sessions = (0..SESSIONS).map(|session| {
        let random = StdRng::seed_from_u64(seed ^ (session << 32));
        change(clients, random, ended)
    });
    try_join_all(sessions).await.map(drop)
}

async fn change(
    clients: &Clients,
    mut random: StdRng,
    ended: &watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut caller = Caller::new(clients.recorder.session());
    while !*ended.borrow() {
        let first = random.random_range(0..clients.urls.len());
        let call = clients.some_call(&mut random);
        if random.random() {
            caller.insist(clients, first, &call).await?;
        } else {
            caller.call(clients, first, &call).await?;
        }
        let shown = match &call {
            Call::Amend { order, .. } => Some(*order),
            _ => clients.changeable().choose(&mut random).copied(),
        };
        if let Some(number) = shown {
            let second = random.random_range(0..clients.urls.len());
            caller
                .call(clients, second, &Call::Query { number })
                .await?;
        }
        sleep(MAX_PAUSE.mul_f64(random.random())).await;
    }
    Ok(())
}
