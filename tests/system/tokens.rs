//! Tokens that nobody was given open nothing, whoever made them.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::Method;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::http::get;
use crate::users::{login, register, with};

/// What precedes an Ed25519 key in PKCS #8 (RFC 8410).
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// A private key, and the id that it goes by.
struct Signer {
    id: String,
    key: EncodingKey,
}

impl Signer {
    fn new(id: &str, secret: &[u8]) -> Self {
        let key = EncodingKey::from_ed_der(&[&PKCS8[..], secret].concat());
        Self { id: id.into(), key }
    }

    /// The key of the cluster's accounts service.
    fn of(cluster: &Cluster) -> Self {
        let keys = cluster.data_of("accounts/1").join("keys");
        let file = fs::read_dir(keys).unwrap().next().unwrap().unwrap();
        let saved: Value = serde_json::from_slice(&fs::read(file.path()).unwrap()).unwrap();
        let field = |name: &str| saved["key"][name].as_str().unwrap();
        Self::new(field("kid"), &URL_SAFE_NO_PAD.decode(field("d")).unwrap())
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.id.clone());
        encode(&header, claims, &self.key).unwrap()
    }
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_not_given_out_opens_nothing() {
    let cluster = Cluster::start(&[]);
    let at = cluster.frontend();
    register(at, "alice", 1).await;
    let session = login(at, "alice").await;
    let token = session["access_token"].as_str().unwrap();
    let parts: Vec<_> = token.split('.').collect();
    let claims = URL_SAFE_NO_PAD.decode(parts[1]).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let but = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };

    let order = json!({"product_id": 201, "quantity": 1});
    let place = async |token: &str| {
        let session = json!({"access_token": token});
        with(&session, at, Method::POST, "/orders", &order).await
    };
    let real = Signer::of(&cluster);
    let placed = place(&real.sign(&claims)).await;
    assert_eq!(
        placed.status, 200,
        "what is signed here is signed as there: {placed:?}"
    );

    let (foreign, pretender) = (
        Signer::new("mine", &[7; 32]),
        Signer::new(&real.id, &[7; 32]),
    );
    let promoted = part(&but("role", json!("admin")));
    for (token, why) in [
        (real.sign(&but("exp", json!(1_000_000_000))), "has expired"),
        (
            real.sign(&but("aud", json!("somebody"))),
            "for another audience",
        ),
        (
            real.sign(&but("iss", json!("somebody"))),
            "of another issuer",
        ),
        (foreign.sign(&claims), "an unknown key"),
        (pretender.sign(&claims), "signature is wrong"),
        (
            format!("{}.{promoted}.{}", parts[0], parts[2]),
            "signature is wrong",
        ),
        (
            format!(
                "{}.{}.",
                part(&json!({"alg": "none", "typ": "JWT"})),
                parts[1]
            ),
            "not signed with EdDSA",
        ),
        (
            format!(
                "{}.{}.{}",
                part(&json!({"alg": "HS256"})),
                parts[1],
                parts[2]
            ),
            "not signed with EdDSA",
        ),
        (format!("{token}x"), "malformed"),
    ] {
        let refused = place(&token).await;
        let detail = refused.problem(401);
        assert!(detail.contains(why), "{why}: {detail}");
        let challenge = refused.header("www-authenticate");
        assert!(challenge.starts_with("Bearer realm="), "{challenge}");
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        assert!(challenge.contains(why), "{challenge}");
    }
    let hoodies = get(at, "/products/201").await.json();
    assert_eq!(hoodies["quantity"], 499);
}
