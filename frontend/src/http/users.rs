//! Accounts: users, logins, and the keys that others verify our tokens with.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, HeaderName, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use bazaar_rpc::UserId;
use bazaar_rpc::accounts::{
    Email, Login, MAX_PAGE, NewUser, Password, Role, Secret, Session, StudentId, User, UserChange,
    UserName,
};
use serde::{Deserialize, Serialize};

use super::extract::{Param, QueryOf};
use super::json::{JsonBody, NoBody};
use super::peer::ClientAddress;
use super::time::rfc3339;
use super::{Frontend, Shared, page};
use crate::Error;
use crate::auth::{AuthError, Authenticated};

/// Tokens are for nobody to keep (RFC 6749, section 5.1).
const NO_STORE: (HeaderName, HeaderValue) = (CACHE_CONTROL, HeaderValue::from_static("no-store"));

/// Keys may be kept as long as a new one is published before it signs.
const FOR_A_MOMENT: (HeaderName, HeaderValue) =
    (CACHE_CONTROL, HeaderValue::from_static("public, max-age=5"));

/// The paths of accounts.
pub(super) fn router() -> Router<Arc<Frontend>> {
    Router::new()
        .route("/users", get(list))
        .route("/users/register", post(register))
        .route("/users/login", post(login))
        .route("/users/refresh", post(refresh))
        .route("/users/logout", post(logout))
        .route("/users/{id}", get(user).put(update).delete(deactivate))
        .route("/users/{id}/reactivate", post(reactivate))
        .route("/.well-known/jwks.json", get(keys))
}

/// `POST /users/register`
pub(super) async fn register(
    State(frontend): Shared,
    ClientAddress(address): ClientAddress,
    JsonBody(new): JsonBody<NewUser>,
) -> Result<impl IntoResponse, Error> {
    let user = frontend
        .accounts
        .change(|it, context| async move { it.register(context, new, address).await })
        .await?;
    let location = [(LOCATION, format!("/users/{}", user.id))];
    Ok((StatusCode::CREATED, location, Json(UserView::from(user))))
}

/// `POST /users/login`
pub(super) async fn login(
    State(frontend): Shared,
    ClientAddress(address): ClientAddress,
    JsonBody(login): JsonBody<Login>,
) -> Result<impl IntoResponse, Error> {
    let session = frontend
        .accounts
        .ask(|it, context| async move { it.login(context, login, address).await })
        .await?;
    Ok(([NO_STORE], Json(SessionView::from(session))))
}

/// `POST /users/refresh`
pub(super) async fn refresh(
    State(frontend): Shared,
    JsonBody(RefreshToken { refresh_token }): JsonBody<RefreshToken>,
) -> Result<impl IntoResponse, Error> {
    let session = frontend
        .accounts
        .change(|it, context| async move { it.refresh(context, refresh_token).await })
        .await?;
    Ok(([NO_STORE], Json(SessionView::from(session))))
}

/// `POST /users/logout`
pub(super) async fn logout(
    State(frontend): Shared,
    JsonBody(RefreshToken { refresh_token }): JsonBody<RefreshToken>,
) -> Result<StatusCode, Error> {
    frontend
        .accounts
        .change(|it, context| async move { it.logout(context, refresh_token).await })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /users/{id}`
pub(super) async fn user(
    State(frontend): Shared,
    Authenticated(identity): Authenticated,
    Param(id): Param<UserId>,
) -> Result<Json<UserView>, Error> {
    let user = frontend
        .accounts
        .ask(|it, context| async move { it.get(context, identity.caller(), id).await })
        .await?;
    Ok(Json(UserView::from(user)))
}

/// `PUT /users/{id}`
pub(super) async fn update(
    State(frontend): Shared,
    Authenticated(identity): Authenticated,
    Param(id): Param<UserId>,
    JsonBody(change): JsonBody<Change>,
) -> Result<Json<UserView>, Error> {
    let change = UserChange::from(change);
    let user = frontend
        .accounts
        .change(
            |it, context| async move { it.update(context, identity.caller(), id, change).await },
        )
        .await?;
    Ok(Json(UserView::from(user)))
}

/// `DELETE /users/{id}`: deactivates the user.
pub(super) async fn deactivate(
    State(frontend): Shared,
    Authenticated(identity): Authenticated,
    Param(id): Param<UserId>,
    _: NoBody,
) -> Result<StatusCode, Error> {
    frontend
        .accounts
        .change(|it, context| async move { it.deactivate(context, identity.caller(), id).await })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /users/{id}/reactivate`
pub(super) async fn reactivate(
    State(frontend): Shared,
    Authenticated(identity): Authenticated,
    Param(id): Param<UserId>,
    _: NoBody,
) -> Result<Json<UserView>, Error> {
    let user = frontend
        .accounts
        .change(|it, context| async move { it.reactivate(context, identity.caller(), id).await })
        .await?;
    Ok(Json(UserView::from(user)))
}

/// `GET /users`
pub(super) async fn list(
    State(frontend): Shared,
    Authenticated(identity): Authenticated,
    QueryOf(UserPage { after, limit }): QueryOf<UserPage>,
) -> Result<Json<Vec<UserView>>, Error> {
    let limit = page::limit(limit, MAX_PAGE)?;
    let users = frontend
        .accounts
        .ask(|it, context| async move { it.list(context, identity.caller(), after, limit).await })
        .await?;
    Ok(Json(users.into_iter().map(UserView::from).collect()))
}

/// `GET /.well-known/jwks.json`: a JSON Web Key Set (RFC 7517) of Ed25519 keys (RFC 8037).
pub(super) async fn keys(State(frontend): Shared) -> Result<impl IntoResponse, Error> {
    let keys = frontend.verifier.public_keys().ok_or(AuthError::Stale)?;
    let jwk = |key: bazaar_rpc::accounts::PublicKey| Jwk {
        kty: "OKP",
        crv: "Ed25519",
        alg: "EdDSA",
        purpose: "sig",
        kid: key.kid,
        x: key.x,
    };
    let keys = keys.into_iter().map(jwk).collect();
    Ok(([FOR_A_MOMENT], Json(JwkSet { keys })))
}

/// Which part of the list of users, as of every other list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UserPage {
    after: Option<UserId>,
    limit: Option<u32>,
}

/// The body of a refresh and of a logout.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RefreshToken {
    refresh_token: Secret,
}

/// The body of `PUT /users/{id}`; what is not given stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    user_name: Option<UserName>,
    email: Option<Email>,
    password: Option<Password>,
    current_password: Option<Secret>,
}

impl From<Change> for UserChange {
    fn from(change: Change) -> Self {
        Self {
            user_name: change.user_name,
            email: change.email,
            password: change.password,
            current_password: change.current_password,
        }
    }
}

/// A user.
#[derive(Serialize)]
pub(super) struct UserView {
    id: UserId,
    student_id: StudentId,
    user_name: UserName,
    email: Email,
    role: Role,
    active: bool,
    /// As RFC 3339 has it, in UTC.
    created_at: String,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            student_id: user.student_id,
            user_name: user.user_name,
            email: user.email,
            role: user.role,
            active: user.active,
            created_at: rfc3339(user.created_at),
        }
    }
}

/// The tokens of a session (RFC 6749, section 5.1).
#[derive(Serialize)]
pub(super) struct SessionView {
    access_token: Secret,
    token_type: &'static str,
    /// In seconds.
    expires_in: u64,
    refresh_token: Secret,
    user_id: UserId,
}

impl From<Session> for SessionView {
    fn from(session: Session) -> Self {
        Self {
            access_token: session.tokens.access,
            token_type: "Bearer",
            expires_in: session.tokens.expires_in.as_secs(),
            refresh_token: session.tokens.refresh,
            user_id: session.user,
        }
    }
}

#[derive(Serialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

#[derive(Serialize)]
struct Jwk {
    kty: &'static str,
    crv: &'static str,
    alg: &'static str,
    #[serde(rename = "use")]
    purpose: &'static str,
    kid: String,
    x: String,
}
