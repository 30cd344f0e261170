//! Why there is no network, or not the one wanted.

use std::io;
use std::process::ExitStatus;

use super::fault::Host;

/// Why there is no network, or not the one wanted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetworkError {
    /// The kernel makes no network device for us.
    #[error("network device {name}: {source} (it takes root and /dev/net/tun)")]
    Device {
        /// Its name.
        name: String,
        /// What the kernel said.
        source: tokio_tun::Error,
    },
    /// Every range of addresses that networks use is in use.
    #[error("all {0} ranges of addresses are in use by other networks on this machine")]
    NoRange(u16),
    /// More hosts than a range has addresses.
    #[error("{0} hosts are more than the {1} that a network has addresses for")]
    TooManyHosts(usize, usize),
    /// A program could not be started.
    #[error("{command}: {source}")]
    Start {
        /// The program and its arguments.
        command: String,
        /// What happened.
        source: io::Error,
    },
    /// A program failed.
    #[error("{command}: {status}: {stderr}")]
    Failed {
        /// The program and its arguments.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        stderr: String,
    },
    /// A program did not end.
    #[error("{0}: no end in sight")]
    TimedOut(String),
    /// The thread that carries the packets could not be started.
    #[error("the switch: {0}")]
    Thread(io::Error),
    /// The thread that carries the packets has ended: nothing passes any more.
    #[error("the switch has stopped")]
    Stopped,
    /// A fault, or a question, names a host that the network does not have.
    #[error("{0} is not on this network")]
    UnknownHost(Host),
}
