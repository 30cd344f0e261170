//! A frontend and the services around it, all in this process and on real sockets.

use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bazaar_daemon::{App as _, Tasks};
use bazaar_frontend::{App, Config};
use bazaar_nameserver as nameserver;
use bazaar_rpc::ServiceKind;
use clap::Parser;
use http_body_util::BodyExt as _;
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::client::{Client, Reply};
use crate::services::Services;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A frontend and the services around it; all of it ends when this is dropped.
pub(crate) struct World {
    pub(crate) services: Services,
    pub(crate) http: SocketAddr,
    app: Option<App>,
    tasks: Tasks,
    /// Where the name server keeps its table.
    _names: TempDir,
}

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

/// A frontend's flags.
pub(crate) fn config(nameserver: SocketAddr, more: &[&str]) -> Config {
    let nameserver = nameserver.to_string();
    let fixed = [
        "frontend",
        "--nameserver",
        &nameserver,
        "--http",
        "127.0.0.1:0",
    ];
    Arguments::parse_from(fixed.iter().chain(more)).config
}

impl World {
    /// A frontend that is ready, with `flags`.
    pub(crate) async fn start(flags: &[&str]) -> Self {
        let world = Self::start_with(flags, &[ServiceKind::Catalog, ServiceKind::Order]).await;
        world
            .eventually("the frontend is ready", async || {
                world.get("/readyz").await.status == 200
            })
            .await;
        world
    }

    /// A frontend beside a name server and `kinds` of service.
    pub(crate) async fn start_with(flags: &[&str], kinds: &[ServiceKind]) -> Self {
        let tasks = Tasks::new();
        let names = tempfile::tempdir().unwrap();
        let nameserver = nameserver::Config::new(
            "bazaar".parse().unwrap(),
            "127.0.0.1:0".parse().unwrap(),
            names.path().into(),
        );
        let nameserver = nameserver::App::build(nameserver, &tasks).await.unwrap();
        let config = config(nameserver.address(), flags);
        let services = Services::start(config.flags.directory(), kinds, &tasks).await;
        let app = App::build(config, &tasks).await.unwrap();
        Self {
            services,
            http: app.http_address(),
            app: Some(app),
            tasks,
            _names: names,
        }
    }

    /// The frontend itself, to drain it.
    pub(crate) fn take_app(&mut self) -> App {
        self.app.take().unwrap()
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.http).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.client().await.send("GET", path, &[], "").await
    }

    /// As [`World::get`], for a body that is not JSON. The connection is hyper's.
    pub(crate) async fn get_bytes(&self, path: &str, headers: &[(&str, &str)]) -> Response<Bytes> {
        let stream = TokioIo::new(TcpStream::connect(self.http).await.unwrap());
        let (mut sender, connection) = handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::get(path).header("host", "bazaar");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(String::new()).unwrap();
        let (head, body) = in_time(sender.send_request(request))
            .await
            .unwrap()
            .into_parts();
        let body = in_time(body.collect()).await.unwrap().to_bytes();
        Response::from_parts(head, body)
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Reply {
        self.client().await.send("POST", path, &[], body).await
    }

    /// Waits until `holds`.
    pub(crate) async fn eventually(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds().await {
            assert!(Instant::now() < deadline, "waited in vain until {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// One number of `GET /cache`.
    pub(crate) async fn cache_count(&self, what: &str) -> u64 {
        self.get("/cache").await.json[what].as_u64().unwrap()
    }

    pub(crate) async fn is_cached(&self, name: &str) -> bool {
        let cache = self.get("/cache").await.json;
        cache["names"]
            .as_array()
            .unwrap()
            .iter()
            .any(|cached| cached == name)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.stopping().cancel();
    }
}

/// Runs `work`, which must end in time.
pub(crate) async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("in time")
}
