//! Follows the accounts service: keeps a connection to it, and hears from it which tokens are valid.

use std::time::{Duration, Instant};

use bazaar_rpc::accounts::AccountsClient;
use bazaar_rpc::connect::{Directory, call, client_config, client_transport, spawned};
use bazaar_rpc::net::Protocol;
use bazaar_rpc::{ServiceKind, ServiceName};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{debug, info};

use super::Verifier;

/// The accounts service.
const ACCOUNTS: ServiceName = ServiceName {
    kind: ServiceKind::Accounts,
    id: 1,
};

/// How long an answer may take. The service answers after a quarter of it where there is no news.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// The pause before a service that cannot be reached is tried again, doubled from the first to the
/// second with every failure. A cluster may well have none.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The pause before a service that answers with an error is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Keeps `client` connected to the accounts service, and `verifier` informed, for ever.
pub(crate) async fn follow(
    directory: Directory,
    verifier: Verifier,
    client: watch::Sender<Option<AccountsClient>>,
) {
    let mut pause = RECONNECT.0;
    loop {
        match directory.connect(ACCOUNTS, Protocol::Accounts).await {
            Ok(stream) => {
                pause = RECONNECT.0;
                info!("connected to the accounts service");
                let transport = client_transport(stream);
                let connected = spawned(AccountsClient::new(client_config(), transport));
                listen(&connected, &verifier, &client).await;
                client.send_replace(None);
                info!("lost the accounts service");
            }
            Err(error) => debug!(%error, "no accounts service"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(RECONNECT.1);
    }
}

/// Hears from the accounts service until it does not answer any more. Whoever wants to call it may do
/// so from its first answer on: what it issues is verified then.
async fn listen(
    connected: &AccountsClient,
    verifier: &Verifier,
    client: &watch::Sender<Option<AccountsClient>>,
) {
    // The first answer comes at once, whatever is known.
    let mut known = 0;
    loop {
        let asked = Instant::now();
        let answer = call(ANSWER_LIMIT, |context| connected.watch(context, known));
        let is_informed = match answer.await {
            Ok(Ok(Some(feed))) => {
                known = feed.version;
                verifier.learn(feed, asked);
                true
            }
            Ok(Ok(None)) => {
                verifier.confirm(asked);
                true
            }
            Ok(Err(error)) => {
                debug!(%error, "the accounts service cannot say which tokens are valid");
                false
            }
            Err(error) => {
                debug!(%error, "the accounts service does not answer");
                return;
            }
        };
        client.send_if_modified(|client| {
            let is_first = client.is_none();
            if is_first {
                *client = Some(connected.clone());
            }
            is_first
        });
        if !is_informed {
            sleep(ASK_AGAIN).await;
        }
    }
}
