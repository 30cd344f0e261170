//! Sockets of the simulated network.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

pub use turmoil::net::TcpStream;

use super::Machine;

/// See [`tokio::net::TcpListener`].
pub struct TcpListener(turmoil::net::TcpListener);

impl TcpListener {
    /// Listens at the port of `address`: a simulated machine has one address.
    ///
    /// # Errors
    /// When the port is in use.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let any = (Ipv4Addr::UNSPECIFIED, address.port());
        turmoil::net::TcpListener::bind(any).await.map(Self)
    }

    /// The next connection, and where it comes from.
    ///
    /// # Errors
    /// None that is known.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.accept().await
    }

    /// Where it is reached.
    ///
    /// # Errors
    /// Outside of every machine.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let machine = Machine::current().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(SocketAddr::new(
            machine.address(),
            self.0.local_addr()?.port(),
        ))
    }
}

/// See the function of that name for real sockets. The simulated network does not acknowledge, so
/// there is nothing to wait for.
///
/// # Errors
/// None.
pub fn limit_silence(
    _stream: &TcpStream,
    _unacknowledged: std::time::Duration,
    _idle: std::time::Duration,
) -> io::Result<()> {
    Ok(())
}
