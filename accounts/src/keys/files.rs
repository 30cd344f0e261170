//! Keys on disk: a directory of mode 0700 with a file of mode 0600 for each, a private JSON Web Key
//! (RFC 8037) and the time at which it was made.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bazaar_machine::disk::{self, File, OpenOptions};
use bazaar_rpc::Timestamp;
use bazaar_rpc::accounts::PublicKey;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey};
use rand::TryRng as _;
use rand::rngs::SysRng;
use serde::{Deserialize, Serialize};

use super::{Key, KeyRing};
use crate::private;

/// The version of the files' format.
const FORMAT: u32 = 1;

/// The most keys, and the largest file of one, in bytes.
const MAX_KEYS: usize = 100;
const MAX_FILE: u64 = 4096;

/// What comes before the 32 bytes of an Ed25519 key in PKCS #8 (RFC 8410, section 7).
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Why keys cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct KeyError {
    /// The file or directory.
    pub path: PathBuf,
    /// What is wrong.
    pub reason: String,
}

/// What a file holds.
#[derive(Serialize, Deserialize)]
struct Saved {
    format: u32,
    /// In milliseconds since 1970-01-01 UTC.
    created: u64,
    key: PrivateJwk,
}

/// A private Ed25519 key, as RFC 8037 has it.
#[derive(Serialize, Deserialize)]
struct PrivateJwk {
    kty: String,
    crv: String,
    kid: String,
    x: String,
    d: String,
}

/// The directory of the keys.
#[derive(Clone, Debug)]
pub(crate) struct KeyFiles {
    dir: PathBuf,
}

impl KeyFiles {
    /// The keys in `dir`, which is made where there is none.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn open(dir: &Path) -> Result<Self, KeyError> {
        private::open_dir(dir).map_err(failed(dir))?;
        Ok(Self { dir: dir.into() })
    }

    /// All keys; none where there are none.
    ///
    /// # Errors
    /// Names the file that cannot be read, or is damaged.
    pub(crate) fn load(&self) -> Result<Option<KeyRing>, KeyError> {
        let mut keys = Vec::new();
        for entry in disk::read_dir(&self.dir).map_err(failed(&self.dir))? {
            let path = entry.map_err(failed(&self.dir))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            if keys.len() == MAX_KEYS {
                let reason = format!("there are more than {MAX_KEYS} keys");
                return Err(damaged(&self.dir, reason));
            }
            keys.push(Arc::new(read(&path)?));
        }
        Ok(KeyRing::new(keys))
    }

    /// Makes a key. It is on disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn create(&self, now: Timestamp) -> Result<Key, KeyError> {
        let mut secret = [0; 32];
        let random = SysRng.try_fill_bytes(&mut secret);
        random.map_err(|error| damaged(&self.dir, error.to_string()))?;
        let key = key(&secret, now).map_err(|reason| damaged(&self.dir, reason))?;
        let saved = Saved {
            format: FORMAT,
            created: now.0,
            key: PrivateJwk {
                kty: "OKP".into(),
                crv: "Ed25519".into(),
                kid: key.public.kid.clone(),
                x: key.public.x.clone(),
                d: URL_SAFE_NO_PAD.encode(secret),
            },
        };
        let path = self.path(key.kid());
        write(&path, &saved).map_err(failed(&path))?;
        Ok(key)
    }

    /// Removes a key.
    ///
    /// # Errors
    /// When that is not possible.
    pub(crate) fn remove(&self, key: &Key) -> Result<(), KeyError> {
        let path = self.path(key.kid());
        disk::remove_file(&path).map_err(failed(&path))
    }

    /// What is wrong where there is no key.
    pub(crate) fn missing(&self) -> KeyError {
        damaged(&self.dir, "there is no key".into())
    }

    fn path(&self, kid: &str) -> PathBuf {
        self.dir.join(kid).with_added_extension("json")
    }
}

fn read(path: &Path) -> Result<Key, KeyError> {
    let length = disk::metadata(path).map_err(failed(path))?.len();
    if length > MAX_FILE {
        return Err(damaged(path, "damaged: too long for a key".into()));
    }
    let text = disk::read(path).map_err(failed(path))?;
    decode(&text).map_err(|reason| damaged(path, format!("damaged: {reason}")))
}

/// Reads a file's text; says what is wrong with it where it is damaged.
fn decode(text: &[u8]) -> Result<Key, String> {
    let saved: Saved = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if saved.format != FORMAT {
        let format = saved.format;
        return Err(format!(
            "format {format}, and this program reads format {FORMAT}"
        ));
    }
    let secret = URL_SAFE_NO_PAD.decode(&saved.key.d);
    let secret = secret.map_err(|_| "d is not base64url")?;
    let secret = secret.try_into().map_err(|_| "d has not 32 bytes")?;
    let key = key(&secret, Timestamp(saved.created))?;
    // The id is a digest of the public key, which follows from the private one.
    if key.public.kid != saved.key.kid || key.public.x != saved.key.x {
        return Err("the key does not have the id that the file says".into());
    }
    Ok(key)
}

fn key(secret: &[u8; 32], created: Timestamp) -> Result<Key, String> {
    let der = [&PKCS8[..], &secret[..]].concat();
    let signing = EncodingKey::from_ed_der(&der);
    let jwk = Jwk::from_encoding_key(&signing, Algorithm::EdDSA);
    let jwk = jwk.map_err(|error| error.to_string())?;
    let kid = jwk.thumbprint(ThumbprintHash::SHA256);
    let kid = kid.map_err(|error| error.to_string())?;
    let AlgorithmParameters::OctetKeyPair(pair) = jwk.algorithm else {
        return Err("not an Ed25519 key".into());
    };
    Ok(Key {
        created,
        public: PublicKey { kid, x: pair.x },
        signing,
    })
}

/// Writes a file aside, syncs it, and puts it in its place: nobody ever sees half a key.
fn write(path: &Path, saved: &Saved) -> io::Result<()> {
    let aside = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)?;
    serde_json::to_writer_pretty(&mut file, saved)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    disk::rename(&aside, path)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> KeyError {
    move |error| damaged(path, error.to_string())
}

fn damaged(path: &Path, reason: String) -> KeyError {
    KeyError {
        path: path.into(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written_and_by_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let files = KeyFiles::open(&dir.path().join("keys")).unwrap();
        assert!(files.load().unwrap().is_none());
        let key = files.create(Timestamp(7)).unwrap();
        let ring = files.load().unwrap().unwrap();
        assert_eq!(ring.public(), std::slice::from_ref(&key.public));
        assert_eq!(ring.newest(), Timestamp(7));
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&files.dir), 0o700);
        assert_eq!(mode(&files.path(key.kid())), 0o600);
        files.remove(&key).unwrap();
        assert!(files.load().unwrap().is_none());
    }

    #[test]
    fn a_key_has_the_thumbprint_of_rfc_8037() {
        // Appendix A.1 and A.3.
        let secret = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
        let key = key(&secret.unwrap().try_into().unwrap(), Timestamp(0)).unwrap();
        assert_eq!(key.public.x, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn damage_is_named_and_never_taken_for_a_key() {
        let dir = tempfile::tempdir().unwrap();
        let files = KeyFiles::open(dir.path()).unwrap();
        let path = files.path(files.create(Timestamp(7)).unwrap().kid());
        let text = std::fs::read_to_string(&path).unwrap();
        let d = text.find("\"d\": \"").unwrap() + 8;
        let mut flipped = text.clone().into_bytes();
        flipped[d] = if flipped[d] == b'A' { b'B' } else { b'A' };
        for damage in [&flipped[..], &text.as_bytes()[..text.len() / 2], b"{}"] {
            std::fs::write(&path, damage).unwrap();
            let said = files.load().err().unwrap().to_string();
            assert!(said.contains("damaged") && said.contains(".json"), "{said}");
        }
    }
}
