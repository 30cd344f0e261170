//! Ports that stay a process's own while it is down.
//!
//! A port that the kernel chose may be given to somebody else as soon as nobody listens on it, to an
//! outgoing connection for instance. This process therefore keeps a socket bound to it, without
//! listening. Every listener sets SO_REUSEADDR, as this socket does, so a child may listen there all
//! the same; the kernel hands the port to nobody else, and refuses connections while no child
//! listens.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpSocket;

/// A port kept for a child.
#[derive(Debug)]
pub(crate) struct Reservation {
    address: SocketAddr,
    _socket: TcpSocket,
}

impl Reservation {
    /// Reserves `address`; port 0 lets the kernel choose.
    ///
    /// # Errors
    /// When somebody listens there, or it is not this machine's.
    pub(crate) fn take(address: SocketAddr) -> io::Result<Self> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self {
            address: socket.local_addr()?,
            _socket: socket,
        })
    }

    /// The address, with the port that the kernel chose.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    fn any_port() -> SocketAddr {
        ([127, 0, 0, 1], 0).into()
    }

    #[tokio::test]
    async fn a_child_may_listen_again_and_again_where_nobody_else_gets_in() {
        let reservation = Reservation::take(any_port()).unwrap();
        let kept = reservation.address();
        for _life in 0..2 {
            let listener = TcpListener::bind(kept).await.unwrap();
            TcpStream::connect(kept).await.unwrap();
            let second = TcpListener::bind(kept).await.unwrap_err();
            assert_eq!(second.kind(), ErrorKind::AddrInUse);
            drop(listener);
            let refused = TcpStream::connect(kept).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        }
        drop(reservation);
    }

    #[tokio::test]
    async fn a_port_in_use_cannot_be_reserved() {
        let listener = TcpListener::bind(any_port()).await.unwrap();
        let refused = Reservation::take(listener.local_addr().unwrap()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
    }
}
