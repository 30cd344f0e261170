//! How often one may try, and what that costs everybody else.

use std::time::{Duration, Instant};

use bazaar_rpc::accounts::AccountsError;
use futures::future::join_all;

use crate::world::{PASSWORD, World};

pub(crate) const FLAGS: &[&str] = &[
    "--logins-per-user",
    "3/30s",
    "--logins-per-address",
    "60/1h",
];

fn is_limit(error: &AccountsError, expected: u32) -> bool {
    matches!(error, AccountsError::TooManyAttempts { limit, retry_after, window }
        if *limit == expected && !retry_after.is_zero() && retry_after <= window)
}

/// Whether a login was refused for its password; or, on a machine that does many other things, for
/// want of somebody who hashes it in time.
fn is_refused(error: &AccountsError) -> bool {
    matches!(error, AccountsError::WrongCredentials | AccountsError::Busy)
}

pub(crate) async fn logins_are_limited_by_user(world: World) {
    world.register("alice", 1).await.unwrap();
    for name in ["alice", "nobody"] {
        for _ in 0..3 {
            let refused = world.login(name, "wrong password").await.unwrap_err();
            assert_eq!(refused, AccountsError::WrongCredentials);
        }
        // The case of its letters makes it no other name, and the right password changes nothing.
        let refused = world
            .login(&name.to_uppercase(), PASSWORD)
            .await
            .unwrap_err();
        assert!(is_limit(&refused, 3), "{refused:?}");
    }
    world.register("bob", 2).await.unwrap();
    world.login("bob", PASSWORD).await.unwrap();
}

pub(crate) async fn logins_are_limited_by_address(world: World) {
    let logins = (0..60).map(|n| {
        let world = &world;
        async move {
            let login = world.login(&format!("nobody{n}"), PASSWORD).await;
            login.unwrap_err()
        }
    });
    for refused in join_all(logins).await {
        assert!(is_refused(&refused), "{refused:?}");
    }
    let refused = world.login("alice", PASSWORD).await.unwrap_err();
    assert!(is_limit(&refused, 60), "{refused:?}");
    let refused = world.register("alice", 1).await.unwrap_err();
    assert!(is_limit(&refused, 60), "{refused:?}");
    let elsewhere = "2001:db8::1".parse().unwrap();
    let refused = world
        .login_from(elsewhere, "alice", PASSWORD)
        .await
        .unwrap_err();
    assert_eq!(refused, AccountsError::WrongCredentials);
}

pub(crate) async fn many_logins_at_once_hold_up_nothing_else(world: World) {
    let logins = join_all((0..50).map(|n| {
        let world = &world;
        async move {
            world
                .login(&format!("nobody{n}"), PASSWORD)
                .await
                .unwrap_err()
        }
    }));
    let begun = Instant::now();
    let others = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let begun = Instant::now();
            world.watch(0).await.unwrap();
            slowest = slowest.max(begun.elapsed());
        }
        (slowest, begun.elapsed())
    };
    let (refused, (slowest, others)) = tokio::join!(logins, others);
    assert!(refused.iter().all(is_refused));
    // Behind the logins, each of them would have waited for all fifty.
    assert!(
        slowest < begun.elapsed() / 2,
        "{slowest:?} of {:?}",
        begun.elapsed()
    );
    assert!(
        others < begun.elapsed(),
        "{others:?} of {:?}",
        begun.elapsed()
    );
}
