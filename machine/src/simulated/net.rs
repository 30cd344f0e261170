//! Sockets of the simulated network.
//!
//! The simulated network acknowledges nothing, so the kernel's part in giving up a connection is done
//! here: whoever cuts links tells both machines ([`Machine::end_silent`]).

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Machine;
use super::connections::Connection;

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
        let (stream, from) = self.0.accept().await?;
        Ok((TcpStream::new(stream)?, from))
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

/// See [`tokio::net::TcpStream`].
#[derive(Debug)]
pub struct TcpStream {
    stream: turmoil::net::TcpStream,
    connection: Arc<Connection>,
}

impl TcpStream {
    fn new(stream: turmoil::net::TcpStream) -> io::Result<Self> {
        let connection = Connection::new(stream.local_addr()?, stream.peer_addr()?);
        let connection = Arc::new(connection);
        if let Some(machine) = Machine::current() {
            machine.connections().add(&connection);
        }
        Ok(Self { stream, connection })
    }

    /// Connects to `address`.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::new(turmoil::net::TcpStream::connect(address).await?)
    }

    /// Does nothing: everything is sent at once.
    ///
    /// # Errors
    /// None.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.stream.set_nodelay(nodelay)
    }

    /// The address of this end.
    ///
    /// # Errors
    /// None.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// None.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.connection.check(context)?;
        if !this.connection.is_orphaned() {
            return Pin::new(&mut this.stream).poll_read(context, into);
        }
        // What the other end sent before it gave up was never acknowledged, and is not sent again;
        // nor is the end of its stream.
        loop {
            let mut void = [0; 1024];
            let mut void = ReadBuf::new(&mut void);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut void))?;
            if void.filled().is_empty() {
                this.connection.set_told();
                return Poll::Pending;
            }
        }
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.connection.check(context)?;
        let written = ready!(Pin::new(&mut this.stream).poll_write(context, bytes))?;
        this.connection.note_write();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// See the function of that name for real sockets.
///
/// # Errors
/// None.
pub fn limit_silence(
    stream: &TcpStream,
    unacknowledged: Duration,
    idle: Duration,
) -> io::Result<()> {
    stream.connection.limit(unacknowledged, idle);
    Ok(())
}
