//! What can go wrong for a service that is replicated.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use bazaar_rpc::ServiceName;

/// What to do about a data directory that has lost something.
pub const WAY_OUT: &str = "Start it with the directory that it had, complete and as it was last; where \
    that is lost, `bazaar replace` has it start with none and get everything from its group, for \
    which a majority of the group is needed";

/// Why a replica cannot take part in its group.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration contradicts itself.
    #[error("{name} is not among the founding members {members:?}")]
    NotAMember {
        /// The replica.
        name: ServiceName,
        /// The founding members' ids.
        members: BTreeSet<u64>,
    },
    /// A file or directory cannot be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// What is stored is not what was stored, beyond a torn tail.
    #[error("{} is damaged: {reason}. {WAY_OUT}", path.display())]
    Damaged {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it, and where.
        reason: String,
    },
    /// The consensus core did not start.
    #[error("{}: {reason}", path.display())]
    Consensus {
        /// The data directory.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
}

/// Why a replica that is open cannot go on taking part.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MembershipError {
    #[error(
        "{name}: the data directory {} is not the one with which {name} is a member of its group \
         (the group knows another {name}). {WAY_OUT}",
        dir.display()
    )]
    OtherReplica { name: ServiceName, dir: PathBuf },
    #[error("the group could not be founded: {0}")]
    Founding(String),
}

/// Why a proposal, or a barrier, failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another replica leads, or nobody does; the command was not taken.
    ///
    /// A leader that has not heard from a majority for about a tenth of a second answers this too,
    /// with `leader` being none, until it hears again. It goes on leading in the same term, so who
    /// waits for a change of leadership would wait in vain: try [`crate::Group::barrier`] again.
    #[error("not the leader")]
    NotLeader {
        /// Who leads, as far as this replica knows.
        leader: Option<ServiceName>,
    },
    /// Leadership was lost with the command under way, or the replica is stopping: it may be applied
    /// or not.
    #[error("leadership was lost; the outcome is unknown")]
    Unknown,
}
