//! Sessions: logins, refresh tokens, and what ends them.

use std::time::Instant;

use bazaar_rpc::accounts::{AccountsError, Secret, UserChange};

use crate::world::{PASSWORD, World, caller, password, secret};

pub(crate) use crate::world::UNLIMITED as FLAGS;

pub(crate) async fn a_login_tells_nothing_about_who_exists(world: World) {
    let alice = world.register("alice", 1).await.unwrap();
    assert_eq!(world.login("Alice", PASSWORD).await.unwrap().user, alice.id);
    let mut costs = [Vec::new(), Vec::new()];
    for _ in 0..5 {
        for (name, costs) in ["alice", "nobody"].into_iter().zip(&mut costs) {
            let begun = Instant::now();
            let refused = world.login(name, "wrong password").await.unwrap_err();
            costs.push(begun.elapsed());
            assert_eq!(refused, AccountsError::WrongCredentials);
        }
    }
    // A machine that does other things too may hold up any of them, but not each of one kind.
    let [known, unknown] = costs.map(|costs| costs.into_iter().min().unwrap());
    assert!(
        known < 3 * unknown && unknown < 3 * known,
        "{known:?} {unknown:?}"
    );
    world.deactivate(caller(&alice), alice.id).await.unwrap();
    let refused = world.login("alice", PASSWORD).await.unwrap_err();
    assert_eq!(refused, AccountsError::WrongCredentials);
}

pub(crate) async fn a_refresh_token_is_spent_once(world: World) {
    world.register("alice", 1).await.unwrap();
    let first = world.login("alice", PASSWORD).await.unwrap();
    let second = world.refresh(&first.tokens.refresh).await.unwrap();
    assert_eq!(second.user, first.user);
    assert_ne!(second.tokens.access, first.tokens.access);
    let third = world.refresh(&second.tokens.refresh).await.unwrap();
    // Whoever comes with a spent token ends the session, whoever of the two it was.
    let invalid = AccountsError::InvalidRefreshToken;
    for token in [&first.tokens, &third.tokens, &second.tokens] {
        let refused = world.refresh(&token.refresh).await.unwrap_err();
        assert_eq!(refused, invalid);
    }
    for never_issued in ["x", first.tokens.access.expose()] {
        let refused = world.refresh(&secret(never_issued)).await.unwrap_err();
        assert_eq!(refused, invalid);
    }
}

pub(crate) async fn of_two_who_spend_a_token_at_once_one_gets_another(world: World) {
    world.register("alice", 1).await.unwrap();
    for _ in 0..5 {
        let session = world.login("alice", PASSWORD).await.unwrap();
        let token = &session.tokens.refresh;
        let (a, b) = tokio::join!(world.refresh(token), world.refresh(token));
        let renewed: Vec<_> = [a, b].into_iter().flatten().collect();
        assert_eq!(renewed.len(), 1);
        let after = world.refresh(&renewed[0].tokens.refresh).await.unwrap_err();
        assert_eq!(after, AccountsError::InvalidRefreshToken);
    }
}

pub(crate) async fn a_logout_ends_its_own_session_alone(world: World) {
    world.register("alice", 1).await.unwrap();
    let ended = world.login("alice", PASSWORD).await.unwrap();
    let other = world.login("alice", PASSWORD).await.unwrap();
    let logout = async |token: &Secret| {
        let token = token.clone();
        world
            .call(|it, context| async move { it.logout(context, token).await })
            .await
    };
    logout(&ended.tokens.refresh).await.unwrap();
    logout(&ended.tokens.refresh).await.unwrap();
    logout(&secret("never issued")).await.unwrap();
    world.refresh(&ended.tokens.refresh).await.unwrap_err();
    world.refresh(&other.tokens.refresh).await.unwrap();
}

pub(crate) async fn a_new_password_ends_every_session(world: World) {
    let alice = world.register("alice", 1).await.unwrap();
    let session = world.login("alice", PASSWORD).await.unwrap();
    let change = |current: Option<&str>| UserChange {
        password: Some(password("a new password")),
        current_password: current.map(secret),
        ..UserChange::default()
    };
    for wrong in [None, Some("wrong password")] {
        let refused = world.update(caller(&alice), alice.id, change(wrong)).await;
        assert_eq!(refused, Err(AccountsError::WrongCurrentPassword));
    }
    world.refresh(&session.tokens.refresh).await.unwrap();
    let session = world.login("alice", PASSWORD).await.unwrap();
    let changed = world.update(caller(&alice), alice.id, change(Some(PASSWORD)));
    changed.await.unwrap();
    world.refresh(&session.tokens.refresh).await.unwrap_err();
    world.login("alice", PASSWORD).await.unwrap_err();
    let session = world.login("alice", "a new password").await.unwrap();
    world.refresh(&session.tokens.refresh).await.unwrap();
}

pub(crate) async fn sessions_are_bounded(world: World) {
    world.register("alice", 1).await.unwrap();
    let first = world.login("alice", PASSWORD).await.unwrap();
    let second = world.login("alice", PASSWORD).await.unwrap();
    // One by one: on a busy disk, several would wait for each other's syncs too long.
    for _ in 0..50 {
        world.login("alice", PASSWORD).await.unwrap();
    }
    // Fifty of the fifty-two are left.
    for ended in [first, second] {
        world.refresh(&ended.tokens.refresh).await.unwrap_err();
    }
}
