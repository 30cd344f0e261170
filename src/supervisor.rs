//! The processes of a cluster, kept together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bazaar_rpc::{ServiceKind, ServiceName};
use futures::future::join_all;
use tokio::sync::mpsc;

use crate::keeper::{Death, Keeper};
use crate::launcher::Launcher;
use crate::lifecycle::Event;
use crate::roster::Roster;

/// The most deaths that wait to be reported; further ones are not.
const MAX_DEATHS: usize = 64;

/// Those that serve others end after those they serve.
const STOP_ORDER: [ServiceKind; 5] = [
    ServiceKind::Frontend,
    ServiceKind::Accounts,
    ServiceKind::Order,
    ServiceKind::Catalog,
    ServiceKind::Nameserver,
];

/// Keeps the processes of a cluster. Clones share them.
#[derive(Clone)]
pub(crate) struct Supervisor {
    inner: Arc<Inner>,
}

struct Inner {
    launcher: Arc<Launcher>,
    roster: Arc<Roster>,
    deaths: mpsc::Sender<Death>,
    keepers: Mutex<BTreeMap<ServiceName, Arc<Keeper>>>,
}

impl Supervisor {
    /// Supervises nothing yet. Unasked deaths will arrive at the receiver.
    pub(crate) fn new(launcher: Launcher, roster: Roster) -> (Self, mpsc::Receiver<Death>) {
        let (deaths, receiver) = mpsc::channel(MAX_DEATHS);
        let inner = Inner {
            launcher: Arc::new(launcher),
            roster: Arc::new(roster),
            deaths,
            keepers: Mutex::default(),
        };
        (
            Self {
                inner: Arc::new(inner),
            },
            receiver,
        )
    }

    /// The command lines.
    pub(crate) fn launcher(&self) -> &Launcher {
        &self.inner.launcher
    }

    /// Starts every process of `kind`, and keeps it.
    pub(crate) fn launch(&self, kind: ServiceKind) {
        let mut keepers = self
            .inner
            .keepers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for name in self.inner.launcher.processes(kind) {
            let Inner {
                launcher,
                roster,
                deaths,
                ..
            } = &*self.inner;
            let keeper = Keeper::spawn(name, launcher.clone(), roster.clone(), deaths.clone());
            keepers.insert(name, Arc::new(keeper));
        }
    }

    /// The keepers of all processes, by name.
    pub(crate) fn keepers(&self) -> BTreeMap<ServiceName, Arc<Keeper>> {
        self.inner
            .keepers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Stops every process in good order, those that hang too.
    pub(crate) async fn stop(&self) {
        let keepers = self.keepers();
        for kind in STOP_ORDER {
            let of_kind = keepers.iter().filter(|(name, _)| name.kind == kind);
            join_all(of_kind.map(async |(_, keeper)| {
                // Refused where it has ended already.
                keeper.tell(Event::Stop).await.ok();
                keeper.wait_until(|view| view.is_over).await;
            }))
            .await;
        }
    }
}
