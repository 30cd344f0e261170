//! The push of invalidations to the holder of one lease.

use std::sync::Arc;

use bazaar_rpc::LeaseId;
use bazaar_rpc::cache::InvalidationsClient;
use bazaar_rpc::connect::call;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tracing::{debug, warn};

use crate::leases::Ticket;
use crate::settle::Settlement;

/// The most calls on the way to one holder. While so many are, what changes is gathered, and goes
/// out together in the next call.
const MAX_CALLS: usize = 8;

/// Tells `holder` what has changed after `from`, as long as `lease` lives. What it acknowledges is
/// settled as far as it is concerned; when it cannot be reached, its lease runs out.
pub(crate) async fn push(
    settlement: Arc<Settlement>,
    lease: LeaseId,
    holder: InvalidationsClient,
    from: Ticket,
) {
    // An acknowledgement that takes longer than a lease can live without one is of no use.
    let limit = settlement.length() * 2;
    let mut told = from;
    // In order, because an acknowledgement stands for everything before it too.
    let mut calls = FuturesOrdered::new();
    loop {
        tokio::select! {
            Some((upto, outcome)) = calls.next() => match outcome {
                Ok(()) => settlement.acknowledge(lease, upto),
                Err(error) => {
                    let error: tarpc::client::RpcError = error;
                    warn!(?lease, %error, "a cache cannot be told; its lease runs out");
                    settlement.disconnect(lease);
                    return;
                }
            },
            push = settlement.next_push(lease, told), if calls.len() < MAX_CALLS => {
                let Some(push) = push else {
                    debug!(?lease, "a cache lease has ended");
                    return;
                };
                told = push.upto;
                let holder = holder.clone();
                calls.push_back(async move {
                    let outcome = call(limit, |context| holder.invalidate(context, lease, push.items)).await;
                    (push.upto, outcome)
                });
            }
        }
    }
}
