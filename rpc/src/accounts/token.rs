//! Access tokens and refresh tokens.
//!
//! An access token is a JSON Web Token (RFC 7519), signed with Ed25519 (`EdDSA`, RFC 8037). Frontends
//! verify it without asking anybody. A refresh token is 256 random bits, of which the accounts
//! service keeps a digest.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Role, Secret};
use crate::{Timestamp, UserId};

/// Who issues access tokens: the claim `iss`.
pub const ISSUER: &str = "bazaar-accounts";

/// For whom access tokens are: the claim `aud`.
pub const AUDIENCE: &str = "bazaar";

/// How long an access token is valid.
pub const ACCESS_TOKEN_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// How far the times of day of two processes may be apart: an access token is accepted for so long
/// after it has expired.
pub const CLOCK_SKEW: Duration = Duration::from_secs(30);

/// How long a refresh token can be spent.
pub const REFRESH_TOKEN_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The most users that a [`Feed`] lists.
pub const MAX_VOID: usize = 100_000;

/// Counts how often all tokens of a user have become void: by a deactivation, a new password or a new
/// role.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

/// The claims of an access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// [`ISSUER`].
    pub iss: String,
    /// [`AUDIENCE`].
    pub aud: String,
    /// The user's id, in decimal digits.
    pub sub: String,
    /// What the user may do.
    pub role: Role,
    /// The user's generation when the token was issued.
    #[serde(rename = "gen")]
    pub generation: Generation,
    /// When it was issued, in seconds since 1970-01-01 UTC.
    pub iat: u64,
    /// Until when it is valid, likewise.
    pub exp: u64,
    /// Unique.
    pub jti: String,
}

/// What a session is proven with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tokens {
    /// Sent with each request, in the header `Authorization: Bearer …` (RFC 6750).
    pub access: Secret,
    /// How much longer the access token is valid.
    pub expires_in: Duration,
    /// To be spent, once, for the next tokens.
    pub refresh: Secret,
}

/// A key that access tokens are verified with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey {
    /// Its id, as it stands in the header of a token: its thumbprint (RFC 7638, with SHA-256).
    pub kid: String,
    /// The 32 bytes of the Ed25519 key in base64url, as a JSON Web Key has them (RFC 8037).
    pub x: String,
}

/// The tokens of one user that are void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoidBefore {
    /// Whose.
    pub user: UserId,
    /// Those of earlier generations than this one.
    pub generation: Generation,
}

/// What it takes to verify access tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feed {
    /// Another one for every other content. Never 0, which stands for "none yet".
    pub version: u64,
    /// The keys of all tokens that may still be valid.
    pub keys: Vec<PublicKey>,
    /// The users whose generation has risen while tokens of an earlier one may still be valid; at most
    /// [`MAX_VOID`].
    pub void: Vec<VoidBefore>,
    /// Tokens issued before this moment are void, whoever's they are. It rises where there would be
    /// more users to list than [`MAX_VOID`].
    pub not_before: Timestamp,
}
