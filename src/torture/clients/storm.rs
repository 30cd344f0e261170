//! Retry storms: one request through every frontend at once, several times each.

use futures::future::join_all;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::time::Instant;

use super::{Caller, Clients};

/// How often each frontend is sent the same request.
const TIMES: usize = 4;

/// Storms until `deadline`; returns how many requests were sent that way.
pub(crate) async fn storm(clients: &Clients, seed: u64, deadline: Instant) -> anyhow::Result<u64> {
    let mut random = StdRng::seed_from_u64(seed);
    let caller = || Caller::new(clients.recorder.session());
    let mut callers: Vec<_> = (0..TIMES * clients.urls.len()).map(|_| caller()).collect();
    let mut storms = 0;
    while Instant::now() < deadline {
        let call = clients.some_call(&mut random);
        let sent = callers
            .iter_mut()
            .enumerate()
            .map(async |(index, caller)| caller.call(clients, index, &call).await);
        let mut is_known = false;
        for answer in join_all(sent).await {
            is_known |= answer?;
        }
        if !is_known {
            callers[0].insist(clients, 0, &call).await?;
        }
        storms += 1;
    }
    Ok(storms)
}
