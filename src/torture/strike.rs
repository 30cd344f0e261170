//! One fault under way.

use std::fmt::Display;
use std::sync::Arc;

use anyhow::Context as _;
use bazaar_rpc::{ServiceKind, ServiceName};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::{Instant, sleep_until};

use crate::torture::arena::{Arena, GROUPS};
use crate::torture::clients::Clients;
use crate::torture::equipment::Equipment;
use crate::torture::fault::Fault;
use crate::torture::journal::{Journal, Outcome};
use crate::torture::schedule::Planned;
use crate::torture::watcher::Forgetful;
use crate::torture::{client_faults, damage, disk_faults, network_faults, process_faults};

/// What faults are injected into, and by what means.
pub(crate) struct World {
    pub(crate) arena: Arena,
    pub(crate) clients: Clients,
    pub(crate) equipment: Equipment,
    pub(crate) journal: Journal,
    pub(crate) forgetful: Forgetful,
    /// Where the torture keeps what it writes.
    pub(crate) dir: std::path::PathBuf,
}

/// A fault under way.
pub(crate) struct Strike {
    pub(crate) world: Arc<World>,
    pub(crate) planned: Planned,
    pub(crate) random: StdRng,
    /// What the journal knows it by, and when it is to be over; none until it begins.
    begun: Option<(u64, Instant)>,
}

/// Injects a fault and ends it; whatever happens is in the journal afterwards.
///
/// # Errors
/// When the journal cannot be written.
pub(crate) async fn strike(world: Arc<World>, planned: Planned) -> anyhow::Result<()> {
    if let Err(why) = world.equipment.permits(planned.fault) {
        world.journal.pass(&planned, Outcome::Skipped(why));
        return Ok(());
    }
    let mut strike = Strike {
        random: StdRng::seed_from_u64(planned.seed),
        world: Arc::clone(&world),
        planned: planned.clone(),
        begun: None,
    };
    let outcome = match strike.inject().await {
        Ok(()) => Outcome::Injected,
        Err(failure) => Outcome::Missed(format!("{failure:#}")),
    };
    match strike.begun {
        Some((id, _)) => world.journal.end(id, outcome),
        None => {
            world.journal.pass(&planned, outcome);
            Ok(())
        }
    }
}

impl Strike {
    async fn inject(&mut self) -> anyhow::Result<()> {
        match self.planned.fault {
            Fault::Kill => process_faults::kill(self).await,
            Fault::KillLeaders => process_faults::kill_leaders(self).await,
            Fault::Pause => process_faults::pause(self).await,
            Fault::Rolling => process_faults::rolling(self).await,
            Fault::LeaderInMinority
            | Fault::LeaderInMajority
            | Fault::OneWay
            | Fault::Flapping
            | Fault::FrontendCut
            | Fault::Slow
            | Fault::Lossy => network_faults::inject(self).await,
            Fault::DiskFull => disk_faults::full(self).await,
            Fault::FsyncFails | Fault::FsyncLies => disk_faults::bad_sync(self).await,
            Fault::PowerCutOne | Fault::PowerCutMost | Fault::PowerCutAll => {
                disk_faults::power_cut(self).await
            }
            Fault::TornTail
            | Fault::FlipLog
            | Fault::BlankLog
            | Fault::FlipVote
            | Fault::FlipSnapshot
            | Fault::FlipCatalog
            | Fault::TruncateLog
            | Fault::TruncateVote
            | Fault::TruncateSnapshot
            | Fault::TruncateCatalog
            | Fault::FlipIdentity => damage::inject(self).await,
            Fault::LostFiles => damage::lose(self).await,
            Fault::ClockJump => process_faults::clock_jump(self).await,
            Fault::Resets | Fault::RetryStorm | Fault::HotItem => client_faults::inject(self).await,
        }
    }

    pub(crate) fn arena(&self) -> &Arena {
        &self.world.arena
    }

    /// Writes down that the fault begins with the next step.
    pub(crate) fn begin(&mut self, what: impl Display) -> anyhow::Result<()> {
        let id = self.world.journal.begin(&self.planned, what.to_string())?;
        self.begun = Some((id, Instant::now() + self.planned.lasts));
        Ok(())
    }

    /// Writes down what is seen of it.
    pub(crate) fn note(&self, what: impl Display) {
        if let Some((id, _)) = self.begun {
            self.world.journal.note(id, what.to_string());
        }
    }

    /// Writes down whom it has met: `count` of `what`.
    pub(crate) fn met(&self, what: &'static str, count: u64) {
        if let Some((id, _)) = self.begun {
            self.world.journal.meet(id, what, count);
        }
    }

    /// When it is to be over.
    pub(crate) fn deadline(&self) -> Instant {
        self.begun
            .map_or_else(Instant::now, |(_, deadline)| deadline)
    }

    /// Waits until it is to be over.
    pub(crate) async fn lasts(&self) {
        sleep_until(self.deadline()).await;
    }

    /// One of the groups of replicas, by chance.
    pub(crate) fn some_group(&mut self) -> ServiceKind {
        *GROUPS.choose(&mut self.random).expect("there are groups")
    }

    /// One of `names`, by chance.
    pub(crate) fn some(&mut self, names: &[ServiceName]) -> anyhow::Result<ServiceName> {
        let chosen = names.choose(&mut self.random);
        chosen.copied().context("there is no such process")
    }

    /// A process, by chance: the leaders as often as all others together.
    pub(crate) async fn some_process(&mut self) -> anyhow::Result<ServiceName> {
        // Everything is drawn every time, so that what is drawn next does not depend on who leads.
        let (group, any) = (self.some_group(), self.arena().processes());
        let any = self.some(&any)?;
        if self.random.random() {
            self.arena().leader(group).await
        } else {
            Ok(any)
        }
    }

    /// A replica of `kind`, by chance: its leader as often as all others together.
    pub(crate) async fn some_replica(&mut self, kind: ServiceKind) -> anyhow::Result<ServiceName> {
        let members = self.arena().members(kind);
        let any = self.some(&members)?;
        if self.random.random() {
            self.arena().leader(kind).await
        } else {
            Ok(any)
        }
    }
}
