//! Access tokens, and what frontends verify them with.

use std::time::{Duration, Instant};

use bazaar_accounts::RotateKey;
use bazaar_rpc::accounts::{
    ACCESS_TOKEN_LIFETIME, AUDIENCE, Claims, Feed, Generation, ISSUER, MAX_WATCH, Role, Session,
    VoidBefore,
};
use clap::Parser;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};

use crate::world::{PASSWORD, PATIENCE, World, caller};

pub(crate) use crate::world::UNLIMITED as FLAGS;

/// The claims of a session's access token, verified with the key that it names.
fn verified(session: &Session, feed: &Feed) -> Claims {
    let token = session.tokens.access.expose();
    let kid = decode_header(token).unwrap().kid.unwrap();
    let key = feed.keys.iter().find(|key| key.kid == kid).unwrap();
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    let key = DecodingKey::from_ed_components(&key.x).unwrap();
    decode(token, &key, &validation).unwrap().claims
}

pub(crate) async fn an_access_token_says_who_and_is_signed(world: World) {
    let alice = world.register("alice", 1).await.unwrap();
    let session = world.login("alice", PASSWORD).await.unwrap();
    let feed = world.watch(0).await.unwrap();
    let claims = verified(&session, &feed);
    assert_eq!(claims.sub, alice.id.to_string());
    assert_eq!(
        (claims.role, claims.generation),
        (Role::Customer, Generation(0))
    );
    assert_eq!(claims.exp - claims.iat, ACCESS_TOKEN_LIFETIME.as_secs());
    assert_eq!(session.tokens.expires_in, ACCESS_TOKEN_LIFETIME);
    let another = world.refresh(&session.tokens.refresh).await.unwrap();
    assert_ne!(verified(&another, &feed).jti, claims.jti);
    world.admin("root", 100).await;
    let session = world.login("root", PASSWORD).await.unwrap();
    assert_eq!(verified(&session, &feed).role, Role::Admin);
}

pub(crate) async fn a_deactivation_is_told_at_once_and_outlives_a_restart(mut world: World) {
    let alice = world.register("alice", 1).await.unwrap();
    let quiet = world.watch(0).await.unwrap();
    assert_eq!(quiet.void, []);
    let begun = Instant::now();
    assert_eq!(world.watch(quiet.version).await, None);
    assert!(begun.elapsed() >= MAX_WATCH);

    world.deactivate(caller(&alice), alice.id).await.unwrap();
    // Whoever asks after that hears of it: there is nothing to wait for.
    let feed = world.watch(quiet.version).await.unwrap();
    let void = [VoidBefore {
        user: alice.id,
        generation: Generation(1),
    }];
    assert_eq!(feed.void, void);
    world.restart().await;
    let after = world.watch(0).await.unwrap();
    assert_eq!((&after.void[..], &after.keys), (&void[..], &feed.keys));
    assert_ne!(after.version, feed.version);

    let admin = world.admin("root", 100).await;
    world.reactivate(admin, alice.id).await.unwrap();
    let session = world.login("alice", PASSWORD).await.unwrap();
    assert_eq!(verified(&session, &after).generation, Generation(1));
}

#[derive(Parser)]
struct Rotate {
    #[command(flatten)]
    command: RotateKey,
}

pub(crate) async fn a_new_key_is_published_before_it_signs(world: World) {
    world.register("alice", 1).await.unwrap();
    let before = world.watch(0).await.unwrap();
    let data_dir = world.data_dir().display().to_string();
    let rotate = Rotate::parse_from(["rotate-key", "--data-dir", &data_dir]).command;
    let kid = rotate.execute().unwrap();

    let deadline = Instant::now() + PATIENCE;
    let feed = loop {
        assert!(Instant::now() < deadline, "the key is not published");
        if let Some(feed) = world.watch(before.version).await {
            break feed;
        }
    };
    assert_eq!(feed.keys.len(), 2);
    assert!(feed.keys.iter().any(|key| key.kid == kid));
    let kid_now = async || {
        let session = world.login("alice", PASSWORD).await.unwrap();
        verified(&session, &feed);
        decode_header(session.tokens.access.expose()).unwrap().kid
    };
    assert_eq!(kid_now().await.as_ref(), Some(&before.keys[0].kid));
    while kid_now().await.as_ref() != Some(&kid) {
        assert!(Instant::now() < deadline, "the key does not sign");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
