//! What frontends verify tokens with: the keys, and whose tokens are void.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bazaar_rpc::accounts::{
    ACCESS_TOKEN_LIFETIME, AccountsError, CLOCK_SKEW, Feed, Generation, MAX_VOID, MAX_WATCH,
    PublicKey, VoidBefore,
};
use bazaar_rpc::{Timestamp, UserId};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::store::Raised;
use crate::tokens::before;

/// A generation that has risen is of interest for so long: while a token of an earlier one may still
/// be accepted.
const RETENTION: Duration = ACCESS_TOKEN_LIFETIME.saturating_add(CLOCK_SKEW.saturating_mul(2));

/// Whose tokens are void.
#[derive(Debug, Default)]
struct Void {
    users: BTreeMap<UserId, (Generation, Timestamp)>,
    /// See [`Feed::not_before`].
    not_before: Timestamp,
}

impl Void {
    /// Takes in a generation that has risen. They never fall, so the order does not matter.
    fn raise(&mut self, raised: Raised) {
        let Raised { void, at } = raised;
        let known = self.users.entry(void.user).or_default();
        *known = (*known).max((void.generation, at));
    }

    /// Forgets what is of no interest `now`, and what there is no room for: the tokens of those users,
    /// and of everybody else of their time, are void by their age then.
    fn prune(&mut self, now: Timestamp, max: usize) {
        let since = before(now, RETENTION);
        self.users.retain(|_, (_, at)| *at > since);
        if self.users.len() <= max {
            return;
        }
        let mut times: Vec<_> = self.users.values().map(|(_, at)| *at).collect();
        times.sort_unstable();
        // Half of them, so that it does not have to be done again at once.
        let last = times[times.len() - max / 2 - 1];
        self.users.retain(|_, (_, at)| *at > last);
        self.not_before = self.not_before.max(Timestamp(last.0 + 1));
    }

    fn list(&self) -> Vec<VoidBefore> {
        let void = |(user, (generation, _)): (&UserId, &(Generation, Timestamp))| VoidBefore {
            user: *user,
            generation: *generation,
        };
        self.users.iter().map(void).collect()
    }
}

/// The feed as it is now.
#[derive(Debug)]
pub(crate) struct Board {
    state: Mutex<State>,
    /// Of version 0 until it is known.
    feed: watch::Sender<Feed>,
}

#[derive(Debug, Default)]
struct State {
    keys: Vec<PublicKey>,
    void: Void,
    /// Whether the database was asked since the start.
    is_complete: bool,
    next_version: u64,
}

impl Board {
    /// Nothing is known yet. Versions begin at the time of day, so that they are none of an earlier
    /// run's.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            state: Mutex::new(State {
                next_version: now.0.max(1) << 16,
                ..State::default()
            }),
            feed: watch::Sender::new(Feed::default()),
        }
    }

    /// The keys have changed.
    pub(crate) fn set_keys(&self, keys: Vec<PublicKey>, now: Timestamp) {
        let mut state = self.lock();
        state.keys = keys;
        self.publish(&mut state, now);
    }

    /// A generation has risen. Whoever asks from now on hears of it.
    pub(crate) fn raise(&self, raised: Raised, now: Timestamp) {
        let mut state = self.lock();
        state.void.raise(raised);
        self.publish(&mut state, now);
    }

    /// The database holds these, of those that are of interest `now`.
    pub(crate) fn complete(&self, raised: Vec<Raised>, now: Timestamp) {
        let mut state = self.lock();
        for raised in raised {
            state.void.raise(raised);
        }
        state.is_complete = true;
        self.publish(&mut state, now);
    }

    /// Since when generations that have risen are of interest `now`.
    pub(crate) fn since(now: Timestamp) -> Timestamp {
        before(now, RETENTION)
    }

    /// See [`bazaar_rpc::accounts::Accounts::watch`].
    pub(crate) async fn watch(&self, known: u64) -> Result<Option<Feed>, AccountsError> {
        let mut feed = self.feed.subscribe();
        let news = feed.wait_for(|feed| feed.version != 0 && feed.version != known);
        let news = match timeout(MAX_WATCH, news).await {
            Ok(Ok(news)) => Some(news.clone()),
            Ok(Err(_)) | Err(_) => None,
        };
        match news {
            Some(news) => Ok(Some(news)),
            None if self.feed.borrow().version == 0 => Err(AccountsError::Unavailable),
            None => Ok(None),
        }
    }

    fn publish(&self, state: &mut State, now: Timestamp) {
        state.void.prune(now, MAX_VOID);
        if !state.is_complete || state.keys.is_empty() {
            return;
        }
        let next = Feed {
            version: state.next_version,
            keys: state.keys.clone(),
            void: state.void.list(),
            not_before: state.void.not_before,
        };
        let changed = self.feed.send_if_modified(|feed| {
            let same = feed.version != 0
                && feed.keys == next.keys
                && feed.void == next.void
                && feed.not_before == next.not_before;
            if !same {
                *feed = next;
            }
            !same
        });
        if changed {
            state.next_version += 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000_000);

    fn raised(user: u64, generation: u64, at: Timestamp) -> Raised {
        let void = VoidBefore {
            user: UserId(user),
            generation: Generation(generation),
        };
        Raised { void, at }
    }

    fn board() -> Board {
        let board = Board::new(NOW);
        let key = PublicKey {
            kid: "k".into(),
            x: "x".into(),
        };
        board.set_keys(vec![key], NOW);
        board
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_said_before_the_database_was_asked() {
        let board = board();
        board.raise(raised(1, 1, NOW), NOW);
        assert_eq!(board.watch(0).await, Err(AccountsError::Unavailable));
        board.complete(vec![raised(2, 3, NOW)], NOW);
        let feed = board.watch(0).await.unwrap().unwrap();
        assert_eq!(feed.void, [raised(1, 1, NOW).void, raised(2, 3, NOW).void]);
    }

    #[tokio::test(start_paused = true)]
    async fn news_is_told_once_and_at_once() {
        let board = board();
        board.complete(Vec::new(), NOW);
        let first = board.watch(0).await.unwrap().unwrap();
        assert_eq!(board.watch(first.version).await, Ok(None));
        // The same again is no news.
        board.complete(Vec::new(), NOW);
        assert_eq!(board.watch(first.version).await, Ok(None));
        let (watched, ()) = tokio::join!(board.watch(first.version), async {
            tokio::task::yield_now().await;
            board.raise(raised(1, 1, NOW), NOW);
        });
        let second = watched.unwrap().unwrap();
        assert_ne!(second.version, first.version);
        assert_eq!(second.void, [raised(1, 1, NOW).void]);
    }

    #[test]
    fn an_older_answer_of_the_database_lowers_nothing() {
        let mut void = Void::default();
        void.raise(raised(1, 5, NOW));
        void.raise(raised(1, 4, Timestamp(NOW.0 - 1)));
        assert_eq!(void.list(), [raised(1, 5, NOW).void]);
    }

    #[test]
    fn what_no_token_can_be_older_than_is_forgotten() {
        let mut void = Void::default();
        void.raise(raised(1, 1, NOW));
        void.prune(Timestamp(NOW.0 + 15 * 60 * 1000), 10);
        assert_eq!(void.list().len(), 1);
        void.prune(Timestamp(NOW.0 + 17 * 60 * 1000), 10);
        assert_eq!(void.list(), []);
    }

    #[test]
    fn what_there_is_no_room_for_is_void_by_its_age() {
        let mut void = Void::default();
        for user in 1..=11 {
            void.raise(raised(user, 1, Timestamp(NOW.0 + user)));
        }
        void.prune(NOW, 10);
        let left: Vec<_> = void.list().iter().map(|void| void.user.0).collect();
        assert_eq!(left, [7, 8, 9, 10, 11]);
        assert_eq!(void.not_before, Timestamp(NOW.0 + 7));
    }
}
