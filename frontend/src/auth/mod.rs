//! Who a request comes from: access tokens, verified here without asking anybody.
//!
//! The accounts service signs tokens; this frontend [follows](follow) its feed of public keys and of
//! users whose tokens have become void, and [verifies](Verifier) by that. It believes the feed for
//! [`verifier::MAX_AGE`] from the moment at which it *asked* for it, and serves nobody by a token
//! after that: so a deactivation takes effect everywhere within that time, whatever fails.

mod extract;
mod follow;
mod verifier;

use bazaar_rpc::accounts::{Caller, Role};
use bazaar_rpc::{Requester, UserId};

pub(crate) use extract::{Admin, Authenticated, MaybeAuthenticated, challenge};
pub(crate) use follow::follow;
pub(crate) use verifier::Verifier;

/// Whoever a valid token was issued to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Who.
    pub(crate) user: UserId,
    /// What they may do.
    pub(crate) role: Role,
}

impl Identity {
    /// The identity, to act on whose behalf the accounts service is asked.
    pub(crate) fn caller(self) -> Caller {
        Caller {
            user: self.user,
            role: self.role,
        }
    }

    /// The identity, to which orders are shown and by which they are changed.
    pub(crate) fn requester(self) -> Requester {
        Requester {
            user: self.user,
            is_admin: self.role == Role::Admin,
        }
    }
}

/// Why a request comes from nobody who is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthError {
    /// It carries no token.
    #[error("an access token is required: Authorization: Bearer ...")]
    Missing,
    /// It is no token.
    #[error("the access token is malformed")]
    Malformed,
    /// It is signed by another algorithm, or by none.
    #[error("the access token is not signed with EdDSA")]
    WrongAlgorithm,
    /// The key that it names is none of the accounts service's, or not any more.
    #[error("the access token is signed with an unknown key")]
    UnknownKey,
    /// It is not what was signed.
    #[error("the access token's signature is wrong")]
    BadSignature,
    /// Somebody else has issued it.
    #[error("the access token is of another issuer")]
    WrongIssuer,
    /// It is meant for somebody else.
    #[error("the access token is for another audience")]
    WrongAudience,
    /// It was valid.
    #[error("the access token has expired")]
    Expired,
    /// Its user was deactivated, or has another password or role since.
    #[error("the access token has been revoked")]
    Void,
    /// It is unknown at the moment which tokens are valid: no fault of the token's.
    #[error("access tokens cannot be verified at the moment")]
    Stale,
}
