//! The keys that access tokens are signed with.
//!
//! The newest signs. It begins to [`LEAD`] after it was made, when every frontend that serves knows
//! it, and older ones verify until every token that they signed has expired.

mod files;

use std::sync::Arc;
use std::time::Duration;

use bazaar_rpc::Timestamp;
use bazaar_rpc::accounts::{ACCESS_TOKEN_LIFETIME, CLOCK_SKEW, PublicKey};
use jsonwebtoken::EncodingKey;

use crate::tokens::{after, before};

pub use files::KeyError;
pub(crate) use files::KeyFiles;

/// How long a key is published before it signs. A frontend serves nobody by what it heard more than a
/// second ago.
const LEAD: Duration = Duration::from_secs(5);

/// A key.
#[derive(Clone)]
pub(crate) struct Key {
    created: Timestamp,
    public: PublicKey,
    signing: EncodingKey,
}

impl Key {
    /// Its id.
    pub(crate) fn kid(&self) -> &str {
        &self.public.kid
    }

    /// What signs.
    pub(crate) fn signing(&self) -> &EncodingKey {
        &self.signing
    }
}

/// All keys, at least one.
#[derive(Clone)]
pub(crate) struct KeyRing {
    /// By age, the oldest first.
    keys: Vec<Arc<Key>>,
}

impl KeyRing {
    /// The ring of `keys`; none where there are none.
    pub(crate) fn new(mut keys: Vec<Arc<Key>>) -> Option<Self> {
        keys.sort_by(|a, b| (a.created, a.kid()).cmp(&(b.created, b.kid())));
        (!keys.is_empty()).then_some(Self { keys })
    }

    /// The key that signs `now`.
    pub(crate) fn signer(&self, now: Timestamp) -> &Arc<Key> {
        let published = before(now, LEAD);
        let newest = self.keys.iter().rfind(|key| key.created <= published);
        newest.unwrap_or(&self.keys[0])
    }

    /// What verifies.
    pub(crate) fn public(&self) -> Vec<PublicKey> {
        self.keys.iter().map(|key| key.public.clone()).collect()
    }

    /// When the newest key was made.
    pub(crate) fn newest(&self) -> Timestamp {
        self.keys.last().map(|key| key.created).unwrap_or_default()
    }

    /// The keys whose every token has expired: another one has been signing for longer than a token
    /// lives.
    pub(crate) fn retired(&self, now: Timestamp) -> Vec<Arc<Key>> {
        let lifetime = ACCESS_TOKEN_LIFETIME + 2 * CLOCK_SKEW + LEAD;
        let successors = self.keys.iter().skip(1);
        self.keys
            .iter()
            .zip(successors)
            .filter(|(_, successor)| after(successor.created, lifetime) < now)
            .map(|(key, _)| key.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(dir: &std::path::Path, created: &[u64]) -> KeyRing {
        let files = KeyFiles::open(dir).unwrap();
        for at in created {
            files.create(Timestamp(*at)).unwrap();
        }
        files.load().unwrap().unwrap()
    }

    #[test]
    fn a_new_key_signs_when_it_is_known_and_an_old_one_verifies_for_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (1_000_000, 2_000_000);
        let ring = ring(dir.path(), &[second, first]);
        let signs_at = |now| ring.signer(Timestamp(now)).created.0;
        // The only one there is signs at once.
        assert_eq!(signs_at(first), first);
        assert_eq!(signs_at(second), first);
        assert_eq!(signs_at(second + 4_999), first);
        assert_eq!(signs_at(second + 5_000), second);
        assert_eq!(ring.public().len(), 2);
        let retired = |now| ring.retired(Timestamp(now)).len();
        assert_eq!(retired(second + 15 * 60 * 1000), 0);
        assert_eq!(retired(second + 17 * 60 * 1000), 1);
        assert_eq!(retired(u64::MAX), 1);
    }
}
