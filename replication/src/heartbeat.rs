//! Heartbeats: how a leader tells its followers that it lives, more often than it can hear back.
//!
//! openraft sends a follower the next heartbeat when the last one is answered, or when as much time
//! has passed as the longest round trip may take. Followers that rely on such heartbeats would find a
//! pause late. So the leader is asked for one often, and while an answer is under way, the heartbeat
//! that waits for it is sent again.

use bazaar_rpc::ServiceName;
use bazaar_rpc::replica::Leadership;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tarpc::client::RpcError;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::config::HEARTBEAT;
use crate::types::Raft;

/// Asks for heartbeats while `name` leads, until the consensus core ends.
pub(crate) async fn run(
    name: ServiceName,
    raft: Raft,
    mut leadership: watch::Receiver<Leadership>,
) {
    let mut beat = beats();
    while leadership
        .wait_for(|now| now.leader == Some(name))
        .await
        .is_ok()
    {
        beat.tick().await;
        if raft.trigger().heartbeat().await.is_err() {
            return;
        }
    }
}

/// Makes a call, and makes it again and again until one of these calls is answered.
pub(crate) async fn repeated<T, Call>(mut make: impl FnMut() -> Call) -> Result<T, RpcError>
where
    Call: Future<Output = Result<T, RpcError>>,
{
    let mut beat = beats();
    let mut calls = FuturesUnordered::from_iter([make()]);
    loop {
        tokio::select! {
            Some(outcome) = calls.next() => return outcome,
            _ = beat.tick() => calls.push(make()),
        }
    }
}

fn beats() -> tokio::time::Interval {
    let mut beat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn a_call_is_repeated_until_the_first_answer() {
        // The first call is answered once two more were made.
        let made = Semaphore::new(0);
        let answer = repeated(|| async {
            made.add_permits(1);
            let enough = made.acquire_many(3).await;
            enough.expect("it is not closed").forget();
            Ok("answer")
        });
        let answer = tokio::time::timeout(HEARTBEAT * 500, answer).await;
        assert_eq!(answer.unwrap().unwrap(), "answer");
    }
}
