//! The HTTP server: a listener of its own, connections served by hyper.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use bazaar_daemon::Tasks;
use bazaar_machine::net::{TcpListener, TcpStream};
use futures::FutureExt as _;
use hyper::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::edge::Edge;

use super::peer::ClientAddress;

/// The most connections at a time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 4096;

/// The most requests at a time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;

/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// How long a connection may take to begin, and to send the head of its next request: it bounds
/// slow heads, and how long a connection is kept open between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How often an HTTP/2 connection is asked whether anybody is there, and how long that may take.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// How long requests under way may take when the process stops.
const DRAIN_CAP: Duration = Duration::from_secs(4);

/// How long to wait after the kernel could not hand out a connection, for want of descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound port, not yet served.
pub(crate) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds `address`.
    ///
    /// # Errors
    /// Names the address, when it is in use or not this machine's.
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let name = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
        let listener = TcpListener::bind(address).await.map_err(name)?;
        let address = listener.local_addr().map_err(name)?;
        Ok(Self { listener, address })
    }

    /// The address it is bound to, with the port that the kernel chose.
    #[must_use]
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves what is behind `edge` until it is drained or the process stops.
    #[must_use]
    pub(crate) fn serve(self, tasks: &Tasks, edge: Edge) -> Server {
        let stop = CancellationToken::new();
        let (ended, drained) = oneshot::channel();
        let accepting = accept(self.listener, Arc::new(edge), tasks.clone(), stop.clone());
        tasks.spawn_vital::<Infallible>("http", async move {
            accepting.await;
            if ended.send(()).is_err() {
                debug!("nobody waits for the end of the http server");
            }
            // It has ended because it was told to.
            std::future::pending().await
        });
        Server { stop, drained }
    }
}

/// An HTTP server that runs.
pub(crate) struct Server {
    stop: CancellationToken,
    drained: oneshot::Receiver<()>,
}

impl Server {
    /// Accepts no more connections, answers the requests under way, and returns when that is done or
    /// has taken too long.
    pub(crate) async fn drain(self) {
        self.stop.cancel();
        // An error says that the server has gone before.
        self.drained.await.ok();
    }
}

async fn accept(listener: TcpListener, edge: Arc<Edge>, tasks: Tasks, stop: CancellationToken) {
    let connections = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let accept = async {
        // The semaphore is never closed.
        while let Ok(slot) = slots.clone().acquire_owned().await {
            let (stream, peer) = match listener.accept().await.and_then(prepare) {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "could not accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let watcher = connections.watcher();
            let connection = serve(stream, peer.ip(), edge.clone(), tasks.clone(), watcher);
            tasks.spawn(async move {
                connection.await;
                drop(slot);
            });
        }
    };
    tokio::select! {
        () = accept => {}
        () = stop.cancelled() => {}
    }
    drop(listener);
    match timeout(DRAIN_CAP, connections.shutdown()).await {
        Ok(()) => info!("all http connections are closed"),
        Err(_elapsed) => warn!("gave up waiting for http connections"),
    }
}

fn prepare((stream, peer): (TcpStream, SocketAddr)) -> io::Result<(TcpStream, SocketAddr)> {
    stream.set_nodelay(true)?;
    Ok((stream, peer))
}

/// Serves one connection, of `peer`, until it ends.
async fn serve<S>(stream: S, peer: IpAddr, edge: Arc<Edge>, tasks: Tasks, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let begun = Arc::new(AtomicBool::new(false));
    let service = {
        let begun = begun.clone();
        service_fn(move |mut request: Request<Incoming>| {
            begun.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(ClientAddress(peer));
            let answer = edge.clone().answer(peer, request.map(Body::new));
            answer.map(Ok::<_, Infallible>)
        })
    };
    let builder = builder(tasks);
    let connection = watcher.watch(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = connection => if let Err(error) = ended {
            debug!(%error, "connection ended");
        },
        // hyper's own limit on heads begins when it knows which protocol is spoken.
        () = silence(&begun) => debug!("connection without a request"),
    }
}

/// Ends when no request has begun in time.
async fn silence(begun: &AtomicBool) {
    sleep(HEAD_TIMEOUT).await;
    if begun.load(Ordering::Relaxed) {
        std::future::pending().await
    }
}

fn builder(tasks: Tasks) -> auto::Builder<OnTasks> {
    let mut builder = auto::Builder::new(OnTasks(tasks));
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD as u32);
    builder
}

/// Runs the requests of an HTTP/2 connection as tasks of the process.
#[derive(Clone)]
struct OnTasks(Tasks);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for OnTasks {
    fn execute(&self, work: F) {
        self.0.spawn(work);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::pin::Pin;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Context, Poll};

    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf};

    use super::*;
    use crate::config::EdgeFlags;

    /// A connection that counts what is written to it.
    struct Counting {
        stream: DuplexStream,
        writes: Arc<AtomicUsize>,
    }

    impl AsyncRead for Counting {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_read(cx, buffer)
        }
    }

    impl AsyncWrite for Counting {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.writes.fetch_add(1, Ordering::SeqCst);
            Pin::new(&mut self.stream).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[io::IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let bytes: Vec<u8> = slices
                .iter()
                .flat_map(|slice| slice.iter().copied())
                .collect();
            self.poll_write(cx, &bytes)
        }

        fn is_write_vectored(&self) -> bool {
            true
        }
    }

    #[tokio::test]
    async fn a_response_is_one_write() {
        let body = "x".repeat(2000);
        let router = Router::new().route("/", get(move || async { body }));
        let edge = Arc::new(Edge::new(router, &EdgeFlags::default()));
        let peer = IpAddr::from(Ipv4Addr::LOCALHOST);
        let (mut client, stream) = tokio::io::duplex(1 << 20);
        let writes = Arc::new(AtomicUsize::new(0));
        let stream = Counting {
            stream,
            writes: writes.clone(),
        };
        let connections = GracefulShutdown::new();
        tokio::spawn(serve(
            stream,
            peer,
            edge,
            Tasks::new(),
            connections.watcher(),
        ));
        let request = "GET / HTTP/1.1\r\nhost: bazaar\r\nconnection: close\r\n\r\n";
        client.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        client.read_to_string(&mut response).await.unwrap();
        assert!(response.ends_with(&"x".repeat(2000)), "{response}");
        assert_eq!(writes.load(Ordering::SeqCst), 1);
    }
}
