//! Verifies access tokens by the last feed of the accounts service.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bazaar_rpc::accounts::{AUDIENCE, CLOCK_SKEW, Claims, Feed, Generation, ISSUER, PublicKey};
use bazaar_rpc::{Timestamp, UserId};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;
use tracing::warn;

use super::{AuthError, Identity};

/// How long a feed is believed, from the moment at which it was asked for.
pub(super) const MAX_AGE: Duration = Duration::from_secs(1);

/// The longest token, in bytes. Ours have less than 500.
const MAX_TOKEN: usize = 4096;

/// Verifies access tokens. Clones share what is known.
#[derive(Clone)]
pub(crate) struct Verifier {
    known: Arc<RwLock<Known>>,
    validation: Arc<Validation>,
}

/// What the accounts service has said last.
#[derive(Default)]
struct Known {
    /// When it was asked for, the last time that it was told or confirmed.
    asked: Option<Instant>,
    public: Vec<PublicKey>,
    keys: HashMap<String, Arc<DecodingKey>>,
    void: HashMap<UserId, Generation>,
    not_before: Timestamp,
}

/// What is of interest in a token's header (RFC 7515).
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood. None are.
    crit: Option<serde::de::IgnoredAny>,
}

impl Verifier {
    /// Knows nothing yet.
    #[must_use]
    pub(crate) fn new() -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        // By the machine's clock, below.
        validation.validate_exp = false;
        Self {
            known: Arc::default(),
            validation: Arc::new(validation),
        }
    }

    /// The accounts service says `feed`, which was asked for at `asked`.
    pub(super) fn learn(&self, feed: Feed, asked: Instant) {
        let mut keys = HashMap::new();
        for PublicKey { kid, x } in &feed.keys {
            match DecodingKey::from_ed_components(x) {
                Ok(key) => {
                    keys.insert(kid.clone(), Arc::new(key));
                }
                Err(error) => warn!(kid, %error, "an unusable key"),
            }
        }
        let void = feed.void.iter().map(|void| (void.user, void.generation));
        let known = Known {
            asked: Some(asked),
            keys,
            void: void.collect(),
            not_before: feed.not_before,
            public: feed.keys,
        };
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// The accounts service says, asked at `asked`, that nothing has changed.
    pub(super) fn confirm(&self, asked: Instant) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.asked = known.asked.max(Some(asked));
    }

    /// The keys that tokens are verified with; none before they are known.
    #[must_use]
    pub(crate) fn public_keys(&self) -> Option<Vec<PublicKey>> {
        self.read(|known| known.asked.map(|_| known.public.clone()))
    }

    /// Whom `token` was issued to.
    ///
    /// # Errors
    /// Says what is wrong with the token; [`AuthError::Stale`] where it may be valid, and there is
    /// nobody who knows.
    pub(crate) fn verify(&self, token: &str) -> Result<Identity, AuthError> {
        self.verify_at(token, Instant::now(), Timestamp::now())
    }

    fn verify_at(
        &self,
        token: &str,
        now: Instant,
        time_of_day: Timestamp,
    ) -> Result<Identity, AuthError> {
        let kid = key_id(token)?;
        let key = self.read(|known| {
            let is_fresh = known.asked.is_some_and(|asked| now < asked + MAX_AGE);
            if !is_fresh {
                return Err(AuthError::Stale);
            }
            known.keys.get(&kid).cloned().ok_or(AuthError::UnknownKey)
        })?;
        let claims: Claims = decode(token, &key, &self.validation)
            .map_err(|error| reason(error.kind()))?
            .claims;
        if claims.exp.saturating_add(CLOCK_SKEW.as_secs()) <= time_of_day.0 / 1000 {
            return Err(AuthError::Expired);
        }
        let user = claims.sub.parse().map_err(|_| AuthError::Malformed)?;
        let void = self.read(|known| {
            let generation = known.void.get(&user).copied().unwrap_or_default();
            claims.generation < generation || claims.iat.saturating_mul(1000) < known.not_before.0
        });
        if void {
            return Err(AuthError::Void);
        }
        Ok(Identity {
            user,
            role: claims.role,
        })
    }

    fn read<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The id of the key that `token` says it is signed with. Nothing of the token is believed yet.
fn key_id(token: &str) -> Result<String, AuthError> {
    if token.len() > MAX_TOKEN {
        return Err(AuthError::Malformed);
    }
    let mut parts = token.split('.');
    let (Some(header), Some(_), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(AuthError::Malformed);
    };
    let header = URL_SAFE_NO_PAD.decode(header);
    let header = header.map_err(|_| AuthError::Malformed)?;
    let header: Header = serde_json::from_slice(&header).map_err(|_| AuthError::Malformed)?;
    if header.alg != "EdDSA" {
        return Err(AuthError::WrongAlgorithm);
    }
    if header.crit.is_some() {
        return Err(AuthError::Malformed);
    }
    header.kid.ok_or(AuthError::UnknownKey)
}

/// What a token was refused for.
fn reason(kind: &ErrorKind) -> AuthError {
    match kind {
        ErrorKind::InvalidSignature => AuthError::BadSignature,
        ErrorKind::InvalidIssuer => AuthError::WrongIssuer,
        ErrorKind::InvalidAudience => AuthError::WrongAudience,
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => AuthError::WrongAlgorithm,
        ErrorKind::ExpiredSignature => AuthError::Expired,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => AuthError::WrongAudience,
        ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => AuthError::WrongIssuer,
        // Whatever else there is, and will be, is wrong with its form.
        _ => AuthError::Malformed,
    }
}

#[cfg(test)]
mod tests;
