//! The account that some orders are placed with: only those can be changed afterwards.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use bazaar_client::BaseUrl;
use bazaar_rpc::UserId;
use bazaar_rpc::accounts::ACCESS_TOKEN_LIFETIME;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::caller::send;

/// The user's name.
const NAME: &str = "torture";

/// How long to use an access token: the next one may take a while to get.
const RENEW_AFTER: Duration = ACCESS_TOKEN_LIFETIME
    .checked_div(3)
    .expect("three is not zero");

/// How soon to log in again: no more often than anybody may.
const RETRY_AFTER: Duration = Duration::from_secs(7);

/// A user who is logged in.
pub(crate) struct Account {
    pub(crate) user: UserId,
    password: String,
    token: RwLock<Arc<str>>,
    /// Told when a frontend has refused the token.
    refused: Notify,
}

/// What is of interest in a session.
#[derive(Deserialize)]
struct LoggedIn {
    user_id: UserId,
    access_token: String,
}

impl Account {
    /// Registers a user at a frontend, and logs in.
    pub(crate) async fn open(at: &BaseUrl) -> anyhow::Result<Self> {
        let password = Uuid::new_v4().to_string();
        let user = json!({
            "student_id": "1", "user_name": NAME, "email": "torture@example.org",
            "password": password,
        });
        post(at, "/users/register", &user, StatusCode::CREATED).await?;
        let session = log_in(at, &password).await?;
        Ok(Self {
            user: session.user_id,
            password,
            token: RwLock::new(session.access_token.into()),
            refused: Notify::new(),
        })
    }

    /// The access token.
    pub(crate) fn token(&self) -> Arc<str> {
        Arc::clone(&self.token.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A frontend has refused the token: the clock of either may have jumped, or that of the service
    /// that issued it.
    pub(super) fn is_refused(&self) {
        self.refused.notify_one();
    }

    /// Gets new tokens before the old ones expire, and where one is refused, through any of the
    /// frontends, for ever.
    pub(crate) async fn keep(&self, urls: &[BaseUrl]) {
        for at in urls.iter().cycle() {
            sleep(RETRY_AFTER).await;
            timeout(RENEW_AFTER, self.refused.notified()).await.ok();
            if self.renew(at).await.is_err() {
                self.refused.notify_one();
            }
        }
    }

    async fn renew(&self, at: &BaseUrl) -> anyhow::Result<()> {
        let token = log_in(at, &self.password).await?.access_token;
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = token.into();
        Ok(())
    }
}

async fn log_in(at: &BaseUrl, password: &str) -> anyhow::Result<LoggedIn> {
    let login = json!({ "user_name": NAME, "password": password });
    let session = post(at, "/users/login", &login, StatusCode::OK).await?;
    serde_json::from_slice(&session).context("the answer to a login")
}

async fn post(
    at: &BaseUrl,
    path: &str,
    body: &Value,
    expected: StatusCode,
) -> anyhow::Result<Bytes> {
    let request = Request::post(path)
        .header("host", at.address())
        .header("content-type", "application/json")
        .body(Full::from(body.to_string()))?;
    let (status, _, body) = send(at, request).await?;
    let said = || String::from_utf8_lossy(&body).into_owned();
    anyhow::ensure!(status == expected, "{path} at {at}: {status}: {}", said());
    Ok(body)
}
