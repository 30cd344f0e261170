//! What a process asks of the machine that it runs on: sockets, a disk, tasks and the time of day.
//!
//! In every program that ships these are tokio's and the standard library's own, by their own names,
//! and this crate is nothing but a list of them. With the feature `simulation` they are those of a
//! simulated machine, so that a whole cluster runs in one process, with the same code, and one seed
//! decides all that happens to it (see `tests/simulation`).
//!
//! So whatever a service writes, sends or runs, it does through this crate.

#[cfg(feature = "simulation")]
mod simulated;

#[cfg(feature = "simulation")]
pub use simulated::{Disk, Fsync, Machine};

/// Sockets.
pub mod net {
    #[cfg(feature = "simulation")]
    pub use crate::simulated::net::{TcpListener, TcpStream, limit_silence};
    #[cfg(not(feature = "simulation"))]
    pub use tokio::net::{TcpListener, TcpStream};

    /// Ends a connection whose other end's machine leaves what it was sent unacknowledged for so
    /// long; and finds that out where nothing was sent for `idle`.
    ///
    /// # Errors
    /// When the socket cannot be set so.
    #[cfg(not(feature = "simulation"))]
    pub fn limit_silence(
        stream: &TcpStream,
        unacknowledged: std::time::Duration,
        idle: std::time::Duration,
    ) -> std::io::Result<()> {
        use socket2::{SockRef, TcpKeepalive};

        let socket = SockRef::from(stream);
        socket.set_tcp_user_timeout(Some(unacknowledged))?;
        let keepalive = TcpKeepalive::new()
            .with_time(idle)
            .with_interval(unacknowledged);
        socket.set_tcp_keepalive(&keepalive)
    }
}

/// Files.
pub mod disk {
    #[cfg(feature = "simulation")]
    pub use crate::simulated::files::*;
    #[cfg(not(feature = "simulation"))]
    pub use std::fs::*;
}

/// Tasks.
pub mod task {
    #[cfg(feature = "simulation")]
    pub use crate::simulated::task::{spawn, spawn_blocking};
    #[cfg(not(feature = "simulation"))]
    pub use tokio::task::{spawn, spawn_blocking};
}

/// The time of day. Lengths of time are `std::time::Instant`'s and `tokio::time`'s in a simulation
/// too.
pub mod clock {
    #[cfg(feature = "simulation")]
    pub use crate::simulated::clock::time_of_day;

    /// The time of day now.
    #[cfg(not(feature = "simulation"))]
    #[must_use]
    pub fn time_of_day() -> std::time::SystemTime {
        std::time::SystemTime::now()
    }
}
