//! Founds a group on disk, around a state that was restored from elsewhere.
//!
//! A group that lost the disks of a majority is lost, and so is its log. Where its state can be
//! restored all the same, a new group goes on from it, under the old names: each replica gets a new
//! data directory with a new identity, so that none of the old ones can join in by mistake, and a
//! log that begins with the membership. The state is stored with the mark of that entry.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bazaar_machine::disk::{self, File};
use bazaar_rpc::{ServiceName, Term};
use openraft::StoredMembership;
use openraft::vote::leader_id_std::CommittedLeaderId;

use crate::error::OpenError;
use crate::log_store::LogStore;
use crate::types::{LogId, Node, Payload, Vote};
use crate::{Mark, identity};

/// Founds a group of the replicas of `dirs`, in term `term`, and returns the mark of its first log
/// entry, with which each replica's state is to be stored. What it writes is durable when it
/// returns.
///
/// The group's first leader is elected in a later term. Where the group takes the place of a lost
/// one, `term` is to be higher than any that one had: terms then go on rising for everybody who
/// compares them.
///
/// # Errors
/// When a directory cannot be written to, or holds a replica already.
pub async fn found(dirs: &BTreeMap<ServiceName, &Path>, term: Term) -> Result<Mark, OpenError> {
    let mut nodes = BTreeMap::new();
    for (name, dir) in dirs {
        let io = |source| OpenError::Io {
            path: dir.into(),
            source,
        };
        disk::create_dir_all(dir).map_err(io)?;
        if identity::load(dir).map_err(io)?.is_some() {
            let taken = std::io::Error::other("a replica's data directory already");
            return Err(io(taken));
        }
        let replica = identity::create(dir).map_err(io)?;
        let name = *name;
        nodes.insert(name.id, Node { name, replica });
    }
    let voters: BTreeSet<u64> = nodes.keys().copied().collect();
    let highest = voters.last().copied().unwrap_or_default();
    let membership =
        openraft::Membership::new(vec![voters], nodes).expect("every voter is one of the nodes");
    let log_id = LogId {
        leader_id: CommittedLeaderId::new(term.0),
        index: 0,
    };
    for dir in dirs.values() {
        let log_dir = dir.join("log");
        let io = |source| OpenError::Io {
            path: log_dir.clone(),
            source,
        };
        let log = LogStore::open(&log_dir)?;
        // As if the replica with the highest id had been elected, and had founded the group.
        let entry = (log_id, Payload::Membership(membership.clone()));
        log.begin(Vote::new(term.0, highest), entry)
            .await
            .map_err(io)?;
        for synced in [&log_dir, *dir] {
            File::open(synced)
                .and_then(|synced| synced.sync_all())
                .map_err(io)?;
        }
    }
    Ok(Mark {
        log_id,
        membership: StoredMembership::new(Some(log_id), membership),
    })
}
