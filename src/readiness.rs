//! Whether trades flow through a frontend.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::bail;
use bazaar_rpc::http::Problem;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tracing::warn;

/// How long one question may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// How long to wait for accounts.
const ACCOUNTS_LIMIT: Duration = Duration::from_secs(5);

/// The longest answer, in bytes.
const MAX_BODY: usize = 64 << 10;

/// How often to ask.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Waits until the frontend at `address` says that it is ready.
///
/// # Errors
/// When it says that it will not be, unless somebody mends something.
pub(crate) async fn wait(address: SocketAddr) -> anyhow::Result<()> {
    loop {
        match timeout(ANSWER_LIMIT, ask(address, "/readyz")).await {
            Ok(Ok((StatusCode::OK, _))) => return Ok(()),
            Ok(Ok((StatusCode::INTERNAL_SERVER_ERROR, body))) => {
                let problem: Problem = serde_json::from_slice(&body)?;
                bail!("no trades flow: {}", problem.detail);
            }
            _ => sleep(ASK_AGAIN).await,
        }
    }
}

/// Waits until the frontend at `address` knows what tokens are verified with. Trades flow without
/// accounts, so it is not waited for long: their database may be down.
pub(crate) async fn wait_for_accounts(address: SocketAddr) {
    let known = async {
        while !matches!(
            ask(address, "/.well-known/jwks.json").await,
            Ok((StatusCode::OK, _))
        ) {
            sleep(ASK_AGAIN).await;
        }
    };
    if timeout(ACCOUNTS_LIMIT, known).await.is_err() {
        warn!(frontend = %address, "there are no accounts yet; all else is served");
    }
}

async fn ask(address: SocketAddr, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
    let stream = TcpStream::connect(reachable(address)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path)
        .header("host", address.to_string())
        .header("connection", "close")
        .body(Empty::<Bytes>::new())?;
    let answer = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        anyhow::Ok((status, body.map_err(anyhow::Error::from_boxed)?.to_bytes()))
    };
    // The connection ends with the answer; whether it ends well is of no interest then.
    let (answer, _ended) = tokio::join!(answer, connection);
    answer
}

/// Where this machine reaches what listens at `address`, which may be all of its addresses.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
