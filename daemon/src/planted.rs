//! Bugs that can be planted on purpose, to see that the proof finds them: a check that has never
//! failed proves nothing.
//!
//! Each is one `if planted(Bug::…)` at the very place where somebody might have made that mistake.
//! In a normal build [`planted`] is a constant `false`, so there is nothing to switch on. With the
//! feature `planted`, which only the proof uses, at most one bug is in force in a process: the one
//! given to `plant`, or named by the environment variable `BAZAAR_PLANTED`.

use std::fmt;

/// A bug that can be planted. The doc comment is its story, and the name is that of the variant, in
/// kebab case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Bug {
    /// The log tells consensus that entries are durable as soon as they are written:
    /// every kill -9 is survived, and a power cut takes what was acknowledged.
    AcknowledgeBeforeFsync,
    /// An order leader does not look up whether a request id is recorded already:
    /// a client that repeats its request after a leader change has bought twice.
    NoRequestCheck,
    /// A snapshot of the order log brings the orders, and not the index by request id:
    /// a replica that caught up by snapshot books a repeated request again when it leads.
    SnapshotWithoutRequestIds,
    /// The cache leaves no floor behind where an item is invalidated while it is fetched:
    /// the answer that was overtaken brings the stock of before the trade back.
    FillAfterInvalidation,
    /// A catalog leader answers lookups without asking a majority whether it still leads:
    /// cut off with a frontend, it shows the stock as it was before its successor's trades.
    ReadByDeposedLeader,
    /// A frontend counts its lease on the time of day:
    /// a clock that is set back keeps a lease alive that the catalog takes for expired.
    WallClockLease,
    /// The catalog answers a trade before the caches have dropped what it changed:
    /// for a moment, another frontend still shows the stock of before.
    AcknowledgeBeforeInvalidation,
    /// The catalog takes batches with fencing tokens older than the one in force:
    /// an order leader of yesterday, whose batch was held up, has its trades made once more.
    NoFencing,
    /// The catalog forgets a trade as soon as the next batch arrives, recorded or not:
    /// where the order leader dies in between, the trade is in the stock and in no log.
    OutboxForgottenTooEarly,
    /// `catalog.json` is renamed into place without having been synced:
    /// after a power cut there is a name without a content, and the log before it is purged.
    SnapshotRenamedWithoutFsync,
    /// A new catalog leader does not wait for the leases that its predecessor granted:
    /// frontends that hold one are not told of its first trades, and show the stock of before.
    NoWaitForUnknownLeases,
    /// A frontend counts its lease from the arrival of the grant, and not from its request:
    /// where the answer was slow, the catalog's side of the lease has run out long before.
    LeaseCountedFromReceipt,
    /// A catalog leader grants and renews leases without asking a majority whether it still leads:
    /// the frontend that is cut off with it goes on serving what it has cached.
    LeaseByDeposedLeader,
    /// A lookup is answered without waiting until what it shows is settled:
    /// it shows the new stock, and a later one, from another frontend's cache, the old one again.
    LookupOfUnsettled,
    /// The cache serves what it has under whatever lease lives, not only the one it was fetched under:
    /// a frontend that was cut off for a while shows what it missed the invalidations of.
    CacheOutlivesLease,
    /// A frontend reports a trade whose answer it never had as not made:
    /// the client is told "no", and the order is in the log.
    UnknownToldAsRefused,
    /// A new order leader trades at once, without recording what its predecessor left in the outbox:
    /// the log's next number never comes, and nothing more is recorded.
    OutboxNotRecovered,
    /// A replica that comes back with an empty disk is taken for the one it was, vote and all:
    /// it helps to elect a leader that lacks what its predecessor had acknowledged.
    EmptyDiskKeepsItsVote,
    /// An order leader makes amendments of one order side by side:
    /// two cancels that are planned upon the same quantity both return it, and stock comes of nothing.
    AmendmentsAtOnce,
    /// The catalog does not remember which edits it has made:
    /// a restock whose answer was lost is sent again, and its units are there twice.
    EditsForgotten,
}

impl Bug {
    /// All of them.
    #[must_use]
    pub fn all() -> &'static [Self] {
        <Self as clap::ValueEnum>::value_variants()
    }

    /// What goes wrong, in two sentences.
    #[must_use]
    pub fn story(self) -> String {
        let value = <Self as clap::ValueEnum>::to_possible_value(&self);
        let story = value.as_ref().and_then(|value| value.get_help());
        story.map(ToString::to_string).unwrap_or_default()
    }
}

/// The name under which it is planted.
impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = <Self as clap::ValueEnum>::to_possible_value(self);
        f.pad(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// Whether `bug` is in force: never, in this build.
#[cfg(not(feature = "planted"))]
#[must_use]
pub const fn planted(_: Bug) -> bool {
    false
}

#[cfg(feature = "planted")]
pub use switch::{plant, planted};

#[cfg(feature = "planted")]
mod switch {
    use std::sync::OnceLock;

    use super::Bug;

    /// The environment variable that names the bug to plant.
    const VARIABLE: &str = "BAZAAR_PLANTED";

    /// The bug in force.
    static PLANTED: OnceLock<Option<Bug>> = OnceLock::new();

    /// Puts `bug` in force in this process, from now on and for good; none leaves it without.
    ///
    /// # Panics
    /// When it is settled already that another one is in force, or none.
    pub fn plant(bug: Option<Bug>) {
        let settled = *PLANTED.get_or_init(|| bug);
        assert_eq!(settled, bug, "another bug is planted in this process");
    }

    /// Whether `bug` is in force.
    #[must_use]
    pub fn planted(bug: Bug) -> bool {
        *PLANTED.get_or_init(from_environment) == Some(bug)
    }

    fn from_environment() -> Option<Bug> {
        let name = std::env::var(VARIABLE).ok()?;
        let bug = <Bug as clap::ValueEnum>::from_str(&name, false);
        Some(bug.unwrap_or_else(|_| panic!("{VARIABLE} names no bug that is known: {name:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_has_a_name_and_a_story_of_two_parts() {
        for bug in Bug::all() {
            let (name, story) = (bug.to_string(), bug.story());
            assert!(
                name.contains('-') && story.contains(": "),
                "{name}: {story}"
            );
        }
    }

    #[cfg(not(feature = "planted"))]
    #[test]
    fn nothing_is_planted_in_a_normal_build() {
        assert!(Bug::all().iter().all(|bug| !planted(*bug)));
    }
}
