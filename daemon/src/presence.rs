//! A service's presence at the name server.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use bazaar_rpc::ServiceName;
use bazaar_rpc::connect::Directory;
use bazaar_rpc::naming::{Registration, SERVICE_LEASE, Selector};
use tracing::{info, warn};

use crate::Tasks;

/// How often an entry is renewed: three times within its lease.
const RENEWAL: Duration = SERVICE_LEASE.checked_div(3).expect("three is not zero");

/// How soon a failed renewal is tried again: often enough that a name server which comes back empty
/// is whole within one renewal.
const RETRY: Duration = Duration::from_millis(100);

/// Keeps a service's entry at the name server.
pub struct Presence {
    directory: Directory,
    name: ServiceName,
}

impl Presence {
    /// Enters `name` at `address` and keeps renewing the entry until the process stops. The entry
    /// overwrites one of that name: a service that has started again has a new address.
    #[must_use]
    pub fn spawn(
        tasks: &Tasks,
        directory: Directory,
        name: ServiceName,
        address: SocketAddr,
        metadata: BTreeSet<String>,
    ) -> Self {
        let registration = Registration {
            name: name.to_string(),
            address,
            metadata,
            lease: Some(SERVICE_LEASE),
        };
        tasks.spawn(renew(directory.clone(), registration));
        Self { directory, name }
    }

    /// Takes the entry back, so that nobody is sent to a service that has stopped.
    pub async fn withdraw(self) {
        let selector = Selector::Name(self.name.to_string());
        let withdrawn = self
            .directory
            .ask(|naming, context| async move { naming.remove(context, selector).await })
            .await;
        if withdrawn.is_err() {
            info!(name = %self.name, "the name server keeps the entry until its lease runs out");
        }
    }
}

async fn renew(directory: Directory, registration: Registration) {
    let mut registered = None;
    loop {
        let entry = registration.clone();
        let renewed = directory
            .ask(|naming, context| async move { naming.register(context, entry, true).await })
            .await;
        match (&renewed, registered) {
            (Ok(()), Some(true)) | (Err(_), Some(false)) => {}
            (Ok(()), _) => info!(name = registration.name, "registered"),
            (Err(error), _) => warn!(name = registration.name, %error, "could not register"),
        }
        registered = Some(renewed.is_ok());
        tokio::time::sleep(if renewed.is_ok() { RENEWAL } else { RETRY }).await;
    }
}
