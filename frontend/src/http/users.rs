//! Accounts: users, logins, and the keys that others verify our tokens with.

use axum::Json;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, HeaderName, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::IntoResponse;
use bazaar_rpc::UserId;
use bazaar_rpc::accounts::{
    Email, Login, MAX_PAGE, NewUser, Password, Role, Secret, Session, StudentId, User, UserChange,
    UserName,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::contract::{
    self, DeactivateProblems, KeyProblems, LoginProblems, LogoutProblems, ReactivateProblems,
    RefreshProblems, RegisterProblems, UserChangeProblems, UserListProblems, UserProblems,
};
use super::extract::{Param, QueryOf};
use super::json::{JsonBody, NoBody, Nothing};
use super::page::{Paged, limit, number};
use super::peer::ClientAddress;
use super::time::rfc3339;
use crate::Error;
use crate::auth::{AuthError, Authenticated};

/// Tokens are for nobody to keep (RFC 6749, section 5.1).
const NO_STORE: (HeaderName, HeaderValue) = (CACHE_CONTROL, HeaderValue::from_static("no-store"));

/// Keys may be kept as long as a new one is published before it signs.
const FOR_A_MOMENT: (HeaderName, HeaderValue) =
    (CACHE_CONTROL, HeaderValue::from_static("public, max-age=5"));

/// Register.
///
/// The new user is a customer, and can log in.
#[utoipa::path(
    post,
    path = "/users/register",
    operation_id = "register",
    tag = contract::USERS,
    request_body(
        content = NewUser,
        example = json!({
            "student_id": "4711", "user_name": "alice", "email": "alice@example.org",
            "password": "open sesame",
        }),
    ),
    responses(
        (
            status = 201,
            description = "The user.",
            body = UserView,
            headers(("Location" = String, description = "The user's path.")),
        ),
        RegisterProblems,
    )
)]
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

/// Log in.
///
/// An unknown user, a wrong password and a user who is not active are answered alike. Attempts are
/// limited by user name and by address, whether they succeed or not.
#[utoipa::path(
    post,
    path = "/users/login",
    operation_id = "logIn",
    tag = contract::USERS,
    request_body(
        content = Login,
        example = json!({"user_name": "alice", "password": "open sesame"}),
    ),
    responses(
        (status = 200, description = "The tokens of a new session.", body = SessionView),
        LoginProblems,
    )
)]
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

/// Go on with a session.
///
/// The refresh token is spent for the next tokens. One that is spent a second time was stolen, before
/// or after: it ends its session.
#[utoipa::path(
    post,
    path = "/users/refresh",
    operation_id = "refreshSession",
    tag = contract::USERS,
    request_body = RefreshToken,
    responses(
        (status = 200, description = "The session's next tokens.", body = SessionView),
        RefreshProblems,
    )
)]
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

/// Log out.
///
/// Ends the session that the refresh token belongs to. The session's access token stays valid until it
/// expires. A token of no session is as good as logged out.
#[utoipa::path(
    post,
    path = "/users/logout",
    operation_id = "logOut",
    tag = contract::USERS,
    request_body = RefreshToken,
    responses((status = 204, description = "The session has ended."), LogoutProblems)
)]
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

/// Look a user up.
///
/// Oneself or, for an administrator, anybody.
#[utoipa::path(
    get,
    path = "/users/{id}",
    operation_id = "getUser",
    tag = contract::USERS,
    security(("bearerAuth" = [])),
    params(("id" = UserId, Path, description = "The user's number.")),
    responses((status = 200, description = "The user.", body = UserView), UserProblems)
)]
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

/// Change a user.
///
/// Oneself or, for an administrator, anybody. What the body does not have stays as it is. A new password
/// ends every session of the user, and voids every access token; whoever changes their own gives the
/// current one too.
#[utoipa::path(
    put,
    path = "/users/{id}",
    operation_id = "changeUser",
    tag = contract::USERS,
    security(("bearerAuth" = [])),
    params(("id" = UserId, Path, description = "The user's number.")),
    request_body = Change,
    responses(
        (status = 200, description = "The user as they are now.", body = UserView),
        UserChangeProblems,
    )
)]
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

/// Deactivate a user.
///
/// Oneself or, for an administrator, anybody. No login succeeds any more, and every token is void. A user
/// who is not active stays so.
#[utoipa::path(
    delete,
    path = "/users/{id}",
    operation_id = "deactivateUser",
    tag = contract::USERS,
    security(("bearerAuth" = [])),
    params(("id" = UserId, Path, description = "The user's number.")),
    request_body(content = Option<Nothing>, description = "Nothing, or an empty object."),
    responses(
        (status = 204, description = "The user is not active."),
        DeactivateProblems,
    )
)]
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

/// Reactivate a user.
///
/// Takes a deactivation back, which only an administrator does. What was void stays void.
#[utoipa::path(
    post,
    path = "/users/{id}/reactivate",
    operation_id = "reactivateUser",
    tag = contract::USERS,
    security(("bearerAuth" = [])),
    params(("id" = UserId, Path, description = "The user's number.")),
    request_body(content = Option<Nothing>, description = "Nothing, or an empty object."),
    responses(
        (status = 200, description = "The user, who is active.", body = UserView),
        ReactivateProblems,
    )
)]
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

/// List users.
///
/// Only an administrator sees them.
#[utoipa::path(
    get,
    path = "/users",
    operation_id = "listUsers",
    tag = contract::USERS,
    security(("bearerAuth" = [])),
    params(UserPage),
    responses(
        (
            status = 200,
            description = "One page of users, by number.",
            body = Vec<UserView>,
            headers(("Link" = String, description = "The next page, where there may be one: `<…>; rel=\"next\"`.")),
        ),
        UserListProblems,
    )
)]
pub(super) async fn list(
    State(frontend): Shared,
    Authenticated(identity): Authenticated,
    QueryOf(page): QueryOf<UserPage>,
) -> Result<Paged<UserView>, Error> {
    let (after, limit) = (page.after, limit(page.limit, MAX_PAGE)?);
    let users = frontend
        .accounts
        .ask(|it, context| async move { it.list(context, identity.caller(), after, limit).await })
        .await?;
    let next = |last: &User| UserPage {
        after: Some(last.id),
        ..page
    };
    Paged::new(users, limit, "/users", next, UserView::from)
}

/// See the keys that access tokens are signed with.
///
/// A JSON Web Key Set (RFC 7517) of Ed25519 keys (RFC 8037).
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    operation_id = "getKeys",
    tag = contract::USERS,
    responses((status = 200, description = "The keys.", body = JwkSet), KeyProblems)
)]
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

/// Which part of the list of users.
#[derive(Clone, Copy, Default, Deserialize, Serialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct UserPage {
    /// Only users with higher numbers than this one: the number of the last user seen.
    #[serde(deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    #[param(nullable = false)]
    after: Option<UserId>,
    /// The most users to list; 100 where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000, nullable = false)]
    limit: Option<u32>,
}

/// The body of a refresh and of a logout.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RefreshToken {
    /// The last one of the session.
    refresh_token: Secret,
}

/// What changes of a user: what is not there, or `null`, stays as it is.
#[derive(Deserialize, ToSchema)]
#[schema(as = UserChange)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    user_name: Option<UserName>,
    email: Option<Email>,
    password: Option<Password>,
    /// The password until now, for whoever changes their own.
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
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub(super) struct UserView {
    id: UserId,
    student_id: StudentId,
    user_name: UserName,
    email: Email,
    role: Role,
    /// Whether the user may log in.
    active: bool,
    /// When the user was entered (RFC 3339, in UTC).
    #[schema(format = DateTime)]
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
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(super) struct SessionView {
    /// To be sent with each request: `Authorization: Bearer …`.
    #[schema(value_type = String)]
    access_token: Secret,
    /// `Bearer`.
    token_type: &'static str,
    /// How much longer the access token is valid, in seconds.
    #[schema(minimum = 0)]
    expires_in: u64,
    /// To be spent, once, for the next tokens.
    #[schema(value_type = String)]
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

/// A set of keys.
#[derive(Serialize, ToSchema)]
pub(super) struct JwkSet {
    keys: Vec<Jwk>,
}

/// A key that access tokens are verified with.
#[derive(Serialize, ToSchema)]
struct Jwk {
    /// `OKP`.
    kty: &'static str,
    /// `Ed25519`.
    crv: &'static str,
    /// `EdDSA`.
    alg: &'static str,
    /// `sig`.
    #[serde(rename = "use")]
    purpose: &'static str,
    /// The key's thumbprint (RFC 7638), as it stands in the header of a token.
    kid: String,
    /// The key itself, in base64url.
    x: String,
}
