//! Passwords: hashed and verified by threads of their own, which give way to everything else.
//!
//! A hash takes tens of milliseconds of a core and 19 MiB, on purpose. So there are never more at a
//! time than there are cores, the others wait in a bounded queue, and the threads run at a lowered
//! priority: any number of logins leaves the machine to lookups and trades.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error as HashError, PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use bazaar_rpc::accounts::{AccountsError, Secret};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{error, warn};

/// The parameters of Argon2id: OWASP's Password Storage Cheat Sheet asks for at least 19 MiB of
/// memory, two passes and one lane.
/// <https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#argon2id>
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// The most passwords that wait to be hashed.
const MAX_WAITING: usize = 256;

/// How long a password may wait to be hashed, and to be hashed.
const WAIT_LIMIT: Duration = Duration::from_secs(8);

/// The priority of the threads (see setpriority(2)): a tenth of the weight of what runs at 0.
const NICENESS: i32 = 10;

/// What a password was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Another one.
    Wrong,
    /// The one.
    Right,
    /// The one, and hashed with other parameters than today's.
    RightButOutdated,
}

type Job = Box<dyn FnOnce() + Send>;

/// Hashes and verifies passwords. Clones share the threads, which end with the last clone.
#[derive(Clone)]
pub(crate) struct Passwords {
    jobs: SyncSender<Job>,
    /// The hash of a password that nobody knows: what an unknown user's password is verified against,
    /// so that it costs the same.
    nobodys: Arc<str>,
}

impl Passwords {
    /// Starts as many threads as there are cores.
    ///
    /// # Errors
    /// When a thread cannot be started, or the system has no random numbers.
    pub(crate) fn start() -> io::Result<Self> {
        let unknown: [u8; 32] = rand::random();
        let nobodys = hash(&unknown).map_err(io::Error::other)?.into();
        let (jobs, waiting) = sync_channel(MAX_WAITING);
        let waiting = Arc::new(Mutex::new(waiting));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        for number in 1..=threads {
            let waiting = waiting.clone();
            std::thread::Builder::new()
                .name(format!("password-{number}"))
                .spawn(move || work(&waiting))?;
        }
        Ok(Self { jobs, nobodys })
    }

    /// The hash of `password`, as a PHC string with a salt of its own.
    ///
    /// # Errors
    /// [`AccountsError::Busy`] when too many wait.
    pub(crate) async fn hash(&self, password: &Secret) -> Result<String, AccountsError> {
        let password = password.clone();
        let hashed = self.run(move || hash(password.expose().as_bytes()));
        hashed.await?.map_err(|error| {
            error!(%error, "could not hash a password");
            AccountsError::Failed
        })
    }

    /// Whether `password` is the one of the PHC string `stored`. Where none is stored it is wrong,
    /// which takes as long.
    ///
    /// # Errors
    /// [`AccountsError::Busy`] when too many wait.
    pub(crate) async fn verify(
        &self,
        password: &Secret,
        stored: Option<&str>,
    ) -> Result<Verdict, AccountsError> {
        let password = password.clone();
        let known = stored.is_some();
        let stored = stored.unwrap_or(&self.nobodys).to_owned();
        let verified = self.run(move || verify(password.expose().as_bytes(), &stored));
        match verified.await? {
            Ok(verdict) if known => Ok(verdict),
            Ok(_) => Ok(Verdict::Wrong),
            Err(error) => {
                error!(%error, "a stored password hash is damaged");
                Err(AccountsError::Failed)
            }
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, AccountsError> {
        let (answer, done) = oneshot::channel();
        let job = Box::new(move || {
            // Nobody waits any more for what has waited for too long.
            if !answer.is_closed() {
                answer.send(work()).ok();
            }
        });
        match self.jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(AccountsError::Busy),
            Err(TrySendError::Disconnected(_)) => return Err(AccountsError::Failed),
        }
        match timeout(WAIT_LIMIT, done).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_panicked)) => Err(AccountsError::Failed),
            Err(_elapsed) => Err(AccountsError::Busy),
        }
    }
}

/// Does what waits, until nothing can come any more.
fn work(waiting: &Mutex<Receiver<Job>>) {
    let me = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(me), NICENESS) {
        warn!(%error, "hashing passwords at full priority");
    }
    loop {
        let job = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        match job {
            // A panic costs a job, and not the thread that others wait for.
            Ok(job) => {
                if catch_unwind(AssertUnwindSafe(job)).is_err() {
                    error!("hashing a password panicked");
                }
            }
            Err(_closed) => return,
        }
    }
}

/// Hashes `password` on this thread.
pub(crate) fn hash(password: &[u8]) -> Result<String, HashError> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters()?);
    Ok(argon2.hash_password(password)?.to_string())
}

fn verify(password: &[u8], stored: &str) -> Result<Verdict, HashError> {
    let stored = PasswordHash::new(stored).map_err(|_| HashError::EncodingInvalid)?;
    let today = parameters()?;
    // The parameters are those of the stored hash.
    match Argon2::default().verify_password(password, &stored) {
        Ok(()) => {}
        Err(HashError::PasswordInvalid) => return Ok(Verdict::Wrong),
        Err(error) => return Err(error),
    }
    let used = Params::try_from(&stored)?;
    let is_todays = stored.algorithm == Algorithm::Argon2id.ident()
        && stored.version == Some(Version::V0x13.into())
        && (used.m_cost(), used.t_cost(), used.p_cost())
            == (today.m_cost(), today.t_cost(), today.p_cost());
    Ok(if is_todays {
        Verdict::Right
    } else {
        Verdict::RightButOutdated
    })
}

fn parameters() -> Result<Params, HashError> {
    Ok(Params::new(MEMORY_KIB, PASSES, LANES, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.into()).unwrap()
    }

    #[tokio::test]
    async fn a_password_is_verified_against_its_own_hash_alone() {
        let passwords = Passwords::start().unwrap();
        let (right, wrong) = (secret("open sesame"), secret("open barley"));
        let stored = passwords.hash(&right).await.unwrap();
        assert!(
            stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{stored}"
        );
        assert_ne!(stored, passwords.hash(&right).await.unwrap());
        let verify = async |password, stored| passwords.verify(password, stored).await;
        assert_eq!(verify(&right, Some(&stored)).await, Ok(Verdict::Right));
        assert_eq!(verify(&wrong, Some(&stored)).await, Ok(Verdict::Wrong));
        assert_eq!(verify(&right, None).await, Ok(Verdict::Wrong));
        assert_eq!(
            verify(&right, Some("$argon2id$")).await,
            Err(AccountsError::Failed)
        );
    }

    #[test]
    fn a_hash_with_other_parameters_is_outdated() {
        let cheap = Params::new(8 * 1024, 1, 1, None).unwrap();
        let cheap = Argon2::new(Algorithm::Argon2id, Version::V0x13, cheap);
        let stored = cheap.hash_password(b"open sesame").unwrap().to_string();
        assert_eq!(
            verify(b"open sesame", &stored).unwrap(),
            Verdict::RightButOutdated
        );
        assert_eq!(verify(b"open barley", &stored).unwrap(), Verdict::Wrong);
    }
}
