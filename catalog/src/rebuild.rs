//! `bazaar catalog rebuild`: restores a catalog whose disks are lost from the shop files and the
//! order log, exactly; but for what administrators edited and shops restocked, of which the order log
//! tells little (see `state/restore.rs`, and the report).
//!
//! What the lost catalog had decided and no order recorded never happened: nobody was told that it
//! had. What was recorded is answered by the order group, whoever asks again. So the order log is
//! all that the catalog has to remember, once nothing can be added to it (see
//! `order_log`).
//!
//! The new directories are made aside, synced and renamed. Interrupted at any point, this leaves
//! nothing in the catalog's place or the whole state, and can be run again.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bazaar_daemon::{DataDirError, Tasks};
use bazaar_replication::OpenError;
use bazaar_rpc::connect::{Directory, ResolveError};
use bazaar_rpc::net::Protocol;
use bazaar_rpc::{FencingToken, ServiceKind, ServiceName, Term, Timestamp};

use crate::error::ShopError;
use crate::order_log::{OrderLog, Uncertain};
use crate::shop;
use crate::snapshot_file::SnapshotFile;
use crate::state::restore::{Restoration, RestoreError};

mod place;
mod report;

use place::Place;
pub use report::Report;

/// What is to be rebuilt, and from what.
#[derive(Clone)]
pub struct Rebuild {
    /// The services of the cluster.
    pub directory: Directory,
    /// The data directory of each of the catalog's replicas.
    pub dirs: BTreeMap<ServiceName, PathBuf>,
    /// The shop files beside those that ship.
    pub shops: Vec<PathBuf>,
    /// Whether to set aside what the directories still hold.
    pub move_aside: bool,
}

/// Why a catalog was not rebuilt. Its directories are as they were, but for
/// [`RebuildError::Interrupted`].
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// A shop file is wrong.
    #[error(transparent)]
    Shop(#[from] ShopError),
    /// A directory is in use.
    #[error(
        "data directory {}: {name} runs on it; stop it first (`bazaar kill {name}` where `bazaar \
         up` runs it)", dir.display()
    )]
    InUse {
        /// The replica.
        name: ServiceName,
        /// Its directory.
        dir: PathBuf,
    },
    /// A directory cannot be used.
    #[error(transparent)]
    Dir(#[from] DataDirError),
    /// A directory holds a state.
    #[error(
        "{name}: {} holds a catalog's state; where that is not the one that is wanted, \
         --move-aside sets it aside", dir.display()
    )]
    Holds {
        /// The replica.
        name: ServiceName,
        /// Its directory.
        dir: PathBuf,
    },
    /// Most replicas are not lost.
    #[error(
        "{intact} of the catalog's {members} replicas still hold their state and go on without the \
         others: this is for a catalog that lost the disks of a majority. Where those replicas are of \
         no use, remove their data directories"
    )]
    Majority {
        /// How many directories hold a state.
        intact: usize,
        /// How many there are.
        members: usize,
    },
    /// A catalog is there.
    #[error("{0} runs, or is paused; stop it first")]
    Runs(ServiceName),
    /// The name server was of no help.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The end of the order log is not certain.
    #[error(transparent)]
    Uncertain(#[from] Uncertain),
    /// The order log and the shop files contradict each other.
    #[error(transparent)]
    Contradiction(#[from] RestoreError),
    /// The new directories could not be made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The machine failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// The machine failed when some directories were in their places already.
    #[error("{}: {source}; run this again, with --move-aside", path.display())]
    Interrupted {
        /// Where.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
}

impl Rebuild {
    /// Rebuilds the catalog. The order group must run, and the catalog must not.
    ///
    /// # Errors
    /// See [`RebuildError`].
    pub async fn run(self, tasks: &Tasks) -> Result<Report, RebuildError> {
        let shops = shop::load(&self.shops)?;
        let mut places = Vec::with_capacity(self.dirs.len());
        for (name, dir) in self.dirs {
            places.push(Place::claim(name, dir)?);
        }
        check_places(&places, self.move_aside)?;
        check_none_runs(&self.directory).await?;

        // Both are higher than any that the lost catalog can have reached: it had neither an
        // election every second nor a fence every millisecond since 1970. So terms and tokens go on
        // rising for all who remember some, and what was sent under an old token is refused.
        let Timestamp(now) = Timestamp::now();
        let (term, epoch) = (Term(now / 1000), now);
        let mut restoration = Restoration::new(shops, term);
        let log = OrderLog::new(self.directory, tasks);
        let record = |order| Ok::<_, RebuildError>(restoration.record(&order)?);
        let leadership = log.read(record).await?;
        let state = restoration.finish(FencingToken {
            term: leadership.term,
            epoch,
        });

        let dirs = places.iter().map(|place| (place.name, place.aside()));
        let mut built = Vec::with_capacity(places.len());
        for place in &places {
            built.push(place.clear_aside()?);
        }
        let mark = bazaar_replication::found(&dirs.collect(), term).await?;
        for place in &places {
            let file = SnapshotFile::new(place.aside());
            let written = file.write(&state, &mark, 0);
            written.map_err(|source| RebuildError::Io {
                path: place.aside().into(),
                source,
            })?;
        }
        let mut moved = Vec::new();
        for (done, place) in places.into_iter().enumerate() {
            let (dir, placed) = (place.dir.clone(), place.install());
            let set_aside = placed.map_err(|source| match done {
                0 => RebuildError::Io {
                    path: dir.clone(),
                    source,
                },
                _ => RebuildError::Interrupted {
                    path: dir.clone(),
                    source,
                },
            })?;
            moved.extend(set_aside.map(|aside| (dir, aside)));
        }
        Ok(Report::new(&state, leadership, moved))
    }
}

/// Makes sure that nothing of value is in the way.
fn check_places(places: &[Place], move_aside: bool) -> Result<(), RebuildError> {
    let (members, mut holding) = (
        places.len(),
        places.iter().filter(|place| place.holds_state),
    );
    let intact = holding.clone().count();
    if members > 1 && intact * 2 > members {
        return Err(RebuildError::Majority { intact, members });
    }
    match holding.next() {
        Some(place) if !move_aside => Err(RebuildError::Holds {
            name: place.name,
            dir: place.dir.clone(),
        }),
        Some(_) | None => Ok(()),
    }
}

/// Makes sure that no catalog serves in this cluster, from whatever directory.
async fn check_none_runs(directory: &Directory) -> Result<(), RebuildError> {
    for entry in directory.list(ServiceKind::Catalog).await? {
        let Ok(name) = entry.name.parse::<ServiceName>() else {
            continue;
        };
        match directory
            .connect_at(entry.address, name, Protocol::Catalog)
            .await
        {
            Err(error) if error.is_gone() => {}
            Ok(_) | Err(_) => return Err(RebuildError::Runs(name)),
        }
    }
    Ok(())
}
