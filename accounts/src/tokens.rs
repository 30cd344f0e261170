//! Tokens: access tokens are signed, refresh tokens are random.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bazaar_rpc::accounts::{
    ACCESS_TOKEN_LIFETIME, AUDIENCE, AccountsError, Claims, Generation, ISSUER,
    REFRESH_TOKEN_LIFETIME, Role, Secret,
};
use bazaar_rpc::{Timestamp, UserId};
use jsonwebtoken::{Algorithm, Header};
use rand::TryRng as _;
use rand::rngs::SysRng;
use sha2::{Digest as _, Sha256};
use tracing::error;
use uuid::Uuid;

use crate::keys::Key;

/// For whom a token is issued.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder {
    pub(crate) user: UserId,
    pub(crate) role: Role,
    pub(crate) generation: Generation,
}

/// An access token for `holder`, issued `now`.
///
/// # Errors
/// When `key` cannot sign.
pub(crate) fn access(key: &Key, holder: Holder, now: Timestamp) -> Result<Secret, AccountsError> {
    let issued = now.0 / 1000;
    let claims = Claims {
        iss: ISSUER.into(),
        aud: AUDIENCE.into(),
        sub: holder.user.to_string(),
        role: holder.role,
        generation: holder.generation,
        iat: issued,
        exp: issued + ACCESS_TOKEN_LIFETIME.as_secs(),
        jti: Uuid::new_v4().to_string(),
    };
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(key.kid().to_owned());
    let signed = jsonwebtoken::encode(&header, &claims, key.signing()).map_err(|error| {
        error!(kid = key.kid(), %error, "could not sign a token");
        AccountsError::Failed
    })?;
    secret(signed)
}

/// A refresh token: 256 random bits, in base64url.
///
/// # Errors
/// When the system has no random numbers.
pub(crate) fn refresh() -> Result<Secret, AccountsError> {
    let mut random = [0; 32];
    SysRng.try_fill_bytes(&mut random).map_err(|error| {
        error!(%error, "no random numbers");
        AccountsError::Failed
    })?;
    secret(URL_SAFE_NO_PAD.encode(random))
}

/// What is kept of a refresh token. It is as random as a key, so one round of SHA-256 is enough.
pub(crate) fn digest(token: &Secret) -> [u8; 32] {
    Sha256::digest(token.expose().as_bytes()).into()
}

/// Until when a refresh token that is issued `now` can be spent.
pub(crate) fn refresh_until(now: Timestamp) -> Timestamp {
    after(now, REFRESH_TOKEN_LIFETIME)
}

/// The moment `length` after `from`.
pub(crate) fn after(from: Timestamp, length: Duration) -> Timestamp {
    Timestamp(from.0.saturating_add(millis(length)))
}

/// The moment `length` before `until`.
pub(crate) fn before(until: Timestamp, length: Duration) -> Timestamp {
    Timestamp(until.0.saturating_sub(millis(length)))
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

fn secret(text: String) -> Result<Secret, AccountsError> {
    Secret::new(text).map_err(|error| {
        error!(%error, "a token is out of bounds");
        AccountsError::Failed
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refresh_tokens_are_random_and_kept_as_a_digest() {
        let (a, b) = (refresh().unwrap(), refresh().unwrap());
        assert_eq!(a.expose().len(), 43);
        assert_ne!(a, b);
        assert_eq!(digest(&a), digest(&a.clone()));
        assert_ne!(digest(&a), digest(&b));
    }
}
