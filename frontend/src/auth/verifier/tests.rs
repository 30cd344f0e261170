//! Tokens of every kind, against the verifier.

use bazaar_rpc::accounts::{ACCESS_TOKEN_LIFETIME, Role, VoidBefore};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{EncodingKey, Header as JwtHeader, encode};
use serde_json::{Value, json};

use super::*;

/// When tokens are issued, in seconds.
const ISSUED: u64 = 2_000_000_000;

/// A key of the accounts service, or of somebody who would like to be it.
struct Signer {
    kid: &'static str,
    key: EncodingKey,
}

impl Signer {
    fn new(kid: &'static str, seed: u8) -> Self {
        // PKCS #8, as RFC 8410 has it.
        let prefix = [
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22,
            0x04, 0x20,
        ];
        let key = EncodingKey::from_ed_der(&[&prefix[..], &[seed; 32]].concat());
        Self { kid, key }
    }

    fn public(&self) -> PublicKey {
        let jwk = Jwk::from_encoding_key(&self.key, Algorithm::EdDSA).unwrap();
        let AlgorithmParameters::OctetKeyPair(pair) = jwk.algorithm else {
            panic!("an Ed25519 key");
        };
        PublicKey {
            kid: self.kid.into(),
            x: pair.x,
        }
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = JwtHeader::new(Algorithm::EdDSA);
        header.kid = Some(self.kid.into());
        encode(&header, claims, &self.key).unwrap()
    }
}

fn ours() -> Signer {
    Signer::new("ours", 1)
}

/// The claims of a token for user 7, of generation 2.
fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "7", "role": "customer", "gen": 2,
        "iat": ISSUED, "exp": ISSUED + ACCESS_TOKEN_LIFETIME.as_secs(), "jti": "one",
    })
}

/// The claims of a token, with `name` as `value`; without it where that is null.
fn claims_but(name: &str, value: Value) -> Value {
    let mut claims = claims();
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(name);
    } else {
        claims[name] = value;
    }
    claims
}

fn feed(void: &[(u64, u64)]) -> Feed {
    let void = void.iter().map(|(user, generation)| VoidBefore {
        user: UserId(*user),
        generation: Generation(*generation),
    });
    Feed {
        version: 1,
        keys: vec![ours().public()],
        void: void.collect(),
        not_before: Timestamp(0),
    }
}

/// A verifier that has heard `feed`, and the moment at which it asked.
fn informed(feed: Feed) -> (Verifier, Instant) {
    let (verifier, asked) = (Verifier::new(), Instant::now());
    verifier.learn(feed, asked);
    (verifier, asked)
}

/// What becomes of `token` a moment after it was issued.
fn verify(token: &str) -> Result<Identity, AuthError> {
    let (verifier, asked) = informed(feed(&[]));
    verifier.verify_at(token, asked, Timestamp(ISSUED * 1000))
}

/// `token` with its part `at` replaced by `part`.
fn with_part(token: &str, at: usize, part: &str) -> String {
    let mut parts: Vec<_> = token.split('.').collect();
    parts[at] = part;
    parts.join(".")
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[test]
fn a_valid_token_says_who_it_is() {
    let customer = Identity {
        user: UserId(7),
        role: Role::Customer,
    };
    assert_eq!(verify(&ours().sign(&claims())), Ok(customer));
    let admin = ours().sign(&claims_but("role", json!("admin")));
    assert_eq!(verify(&admin).map(|admin| admin.role), Ok(Role::Admin));
}

#[test]
fn what_is_no_token_is_malformed() {
    let token = ours().sign(&claims());
    let long = "x".repeat(MAX_TOKEN + 1);
    let array = with_part(&token, 0, &encoded(&json!([])));
    for bad in [
        "",
        "x",
        "..",
        "a.b.c",
        "a.b",
        &format!("{token}.x"),
        &long,
        &array,
        "é.é.é",
    ] {
        assert_eq!(verify(bad), Err(AuthError::Malformed), "{bad}");
    }
    let malformed = [
        ("sub", json!("me")),
        ("sub", Value::Null),
        ("role", json!("king")),
        ("gen", json!(-1)),
        ("gen", Value::Null),
        ("exp", json!("tomorrow")),
        ("exp", Value::Null),
        ("iat", Value::Null),
    ];
    for (name, value) in malformed {
        let bad = ours().sign(&claims_but(name, value.clone()));
        assert_eq!(verify(&bad), Err(AuthError::Malformed), "{name} {value}");
    }
    let critical = json!({"alg": "EdDSA", "kid": "ours", "crit": ["b64"], "b64": false});
    let critical = with_part(&token, 0, &encoded(&critical));
    assert_eq!(verify(&critical), Err(AuthError::Malformed));
}

#[test]
fn a_token_that_was_changed_is_not_what_was_signed() {
    let token = ours().sign(&claims());
    let promoted = with_part(&token, 1, &encoded(&claims_but("role", json!("admin"))));
    assert_eq!(verify(&promoted), Err(AuthError::BadSignature));
    let other = ours().sign(&claims_but("jti", json!("other")));
    let borrowed = with_part(&token, 2, other.split('.').next_back().unwrap());
    assert_eq!(verify(&borrowed), Err(AuthError::BadSignature));
    assert_eq!(
        verify(&with_part(&token, 2, "")),
        Err(AuthError::BadSignature)
    );
    for at in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        // The last character of base64 has bits that say nothing, and they must be zero.
        assert!(verify(&changed).is_err(), "character {at}");
    }
}

#[test]
fn a_foreign_key_opens_nothing() {
    let unknown = Signer::new("theirs", 2).sign(&claims());
    assert_eq!(verify(&unknown), Err(AuthError::UnknownKey));
    let disguised = Signer::new("ours", 2).sign(&claims());
    assert_eq!(verify(&disguised), Err(AuthError::BadSignature));
    let nameless = json!({"alg": "EdDSA"});
    let nameless = with_part(&ours().sign(&claims()), 0, &encoded(&nameless));
    assert_eq!(verify(&nameless), Err(AuthError::UnknownKey));
}

#[test]
fn no_algorithm_but_eddsa_is_taken_and_least_of_all_none() {
    for alg in [
        "none", "None", "NONE", "HS256", "RS256", "ES256", "eddsa", "",
    ] {
        let header = encoded(&json!({"alg": alg, "kid": "ours"}));
        for signature in ["", "AAAA"] {
            let token = format!("{header}.{}.{signature}", encoded(&claims()));
            assert_eq!(verify(&token), Err(AuthError::WrongAlgorithm), "{alg}");
        }
    }
    // The public key as the secret of a message authentication code: the classic confusion.
    let secret = URL_SAFE_NO_PAD.decode(ours().public().x).unwrap();
    let mut header = JwtHeader::new(Algorithm::HS256);
    header.kid = Some("ours".into());
    let confused = encode(&header, &claims(), &EncodingKey::from_secret(&secret)).unwrap();
    assert_eq!(verify(&confused), Err(AuthError::WrongAlgorithm));
}

#[test]
fn a_token_of_or_for_somebody_else_is_refused() {
    for issuer in [json!("somebody"), Value::Null, json!(7)] {
        let token = ours().sign(&claims_but("iss", issuer.clone()));
        let refused = verify(&token).unwrap_err();
        // What is not even a text is no claim of ours.
        assert!(
            refused == AuthError::WrongIssuer
                || !issuer.is_string() && refused == AuthError::Malformed,
            "{issuer}: {refused}"
        );
    }
    let token = ours().sign(&claims_but("aud", json!("elsewhere")));
    assert_eq!(verify(&token), Err(AuthError::WrongAudience));
    verify(&ours().sign(&claims_but("aud", Value::Null))).unwrap_err();
}

#[test]
fn a_token_expires() {
    let (verifier, asked) = informed(feed(&[]));
    let token = ours().sign(&claims());
    let expires = (ISSUED + ACCESS_TOKEN_LIFETIME.as_secs()) * 1000;
    let skew = u64::try_from(CLOCK_SKEW.as_millis()).unwrap();
    let at = |time| verifier.verify_at(&token, asked, Timestamp(time));
    at(expires + skew - 1).unwrap();
    assert_eq!(at(expires + skew), Err(AuthError::Expired));
}

#[test]
fn a_token_of_an_earlier_generation_is_void() {
    let outcome = |feed| {
        let (verifier, asked) = informed(feed);
        let token = ours().sign(&claims());
        verifier.verify_at(&token, asked, Timestamp(ISSUED * 1000))
    };
    outcome(feed(&[(7, 2), (8, 9)])).unwrap();
    assert_eq!(outcome(feed(&[(7, 3)])), Err(AuthError::Void));
    let not_before = |time| Feed {
        not_before: Timestamp(time),
        ..feed(&[])
    };
    outcome(not_before(ISSUED * 1000)).unwrap();
    assert_eq!(outcome(not_before(ISSUED * 1000 + 1)), Err(AuthError::Void));
}

#[test]
fn without_news_for_a_second_no_token_is_taken() {
    let (token, time) = (ours().sign(&claims()), Timestamp(ISSUED * 1000));
    let uninformed = Verifier::new();
    let stale = Err(AuthError::Stale);
    assert_eq!(uninformed.verify_at(&token, Instant::now(), time), stale);
    // It is no secret that something is no token.
    assert_eq!(uninformed.verify("x"), Err(AuthError::Malformed));

    let (verifier, asked) = informed(feed(&[]));
    let just_before = asked + MAX_AGE - Duration::from_millis(1);
    verifier.verify_at(&token, just_before, time).unwrap();
    assert_eq!(verifier.verify_at(&token, asked + MAX_AGE, time), stale);
    // An answer counts from when it was asked for, and an older one takes nothing back.
    verifier.confirm(just_before);
    verifier.confirm(asked);
    verifier.verify_at(&token, asked + MAX_AGE, time).unwrap();
    assert_eq!(
        verifier.verify_at(&token, just_before + MAX_AGE, time),
        stale
    );
}

/// `cargo test --release -p bazaar-frontend --lib -- --ignored --nocapture verification`
#[test]
#[ignore = "a measurement, of an optimised build"]
fn a_verification_takes_less_than_a_tenth_of_a_millisecond() {
    const TIMES: u32 = 20_000;
    let (verifier, asked) = informed(feed(&[(8, 9)]));
    let token = ours().sign(&claims());
    let begun = Instant::now();
    for _ in 0..TIMES {
        let verified = verifier.verify_at(&token, asked, Timestamp(ISSUED * 1000));
        std::hint::black_box(verified).unwrap();
    }
    let each = begun.elapsed() / TIMES;
    println!("one verification takes {each:?}");
    assert!(each < Duration::from_micros(100), "{each:?}");
}
