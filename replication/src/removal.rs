//! What an operator does about a replica whose disk is lost: have its group remove it.

use std::time::Duration;

use bazaar_rpc::ServiceName;
use bazaar_rpc::connect::{Directory, call, client_config, client_transport, spawned};
use bazaar_rpc::net::Protocol;
use bazaar_rpc::replica::{RemoveError, ReplicaClient};
use tokio::time::{Instant, sleep, timeout};

/// How long the group may take to agree, and how long one replica to answer: it gives up before.
const LIMIT: Duration = Duration::from_secs(10);
const ANSWER_LIMIT: Duration = Duration::from_secs(6);

/// The pause before the replicas are asked again, where none of them leads.
const PAUSE: Duration = Duration::from_millis(50);

/// Has the group of `name`, in which there are `others`, remove it: nothing that its disk held counts
/// any more. A replica of that name with an empty data directory is let in afterwards, and has a vote
/// when it has the log. Takes 16 seconds at the most.
///
/// # Errors
/// When the group did not agree in time; it may do so later. To call this again does no harm.
pub async fn remove(
    directory: &Directory,
    name: ServiceName,
    others: &[ServiceName],
) -> Result<(), RemoveError> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let mut refused = RemoveError::NotLeader { leader: None };
        for other in others {
            let asked = timeout(ANSWER_LIMIT, ask(directory, *other, name.id));
            match asked.await.ok().flatten() {
                Some(Ok(())) => return Ok(()),
                Some(Err(RemoveError::NotLeader { .. })) | None => {}
                Some(Err(error)) => refused = error,
            }
            if Instant::now() > deadline {
                return Err(refused);
            }
        }
        sleep(PAUSE).await;
    }
}

async fn ask(
    directory: &Directory,
    replica: ServiceName,
    id: u64,
) -> Option<Result<(), RemoveError>> {
    let stream = directory.connect(replica, Protocol::Replica).await.ok()?;
    let client = spawned(ReplicaClient::new(
        client_config(),
        client_transport(stream),
    ));
    call(ANSWER_LIMIT, |context| client.remove(context, id))
        .await
        .ok()
}
