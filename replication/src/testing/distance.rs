//! Distance: what is sent to an address, and what comes back from there, takes its time.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// An address that leads to `there`, with everything on the way for `delay`, in both directions.
pub(crate) async fn far_away(there: SocketAddr, delay: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let far = TcpStream::connect(there).await?;
                near.set_nodelay(true)?;
                far.set_nodelay(true)?;
                let (near, far) = (near.into_split(), far.into_split());
                // Either direction ends the connection, as the end of a process does.
                tokio::select! {
                    outcome = carry(near.0, far.1, delay) => outcome,
                    outcome = carry(far.0, near.1, delay) => outcome,
                }
            });
        }
    });
    address
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: Duration,
) -> io::Result<()> {
    let (sender, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let read = async {
        loop {
            let mut bytes = vec![0; 64 << 10];
            let length = from.read(&mut bytes).await?;
            if length == 0 {
                return Ok(());
            }
            bytes.truncate(length);
            if sender.send((Instant::now() + delay, bytes)).await.is_err() {
                return Ok(());
            }
        }
    };
    let write = async {
        while let Some((arrival, bytes)) = under_way.recv().await {
            sleep_until(arrival).await;
            to.write_all(&bytes).await?;
        }
        Ok(())
    };
    tokio::select! {
        outcome = read => outcome,
        outcome = write => outcome,
    }
}
