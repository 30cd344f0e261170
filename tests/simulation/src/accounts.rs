//! The accounts service of a simulated cluster, as far as frontends need one to serve whoever has a
//! token: it says which key verifies tokens. What it does besides takes a database, which has files and
//! threads of its own and cannot be simulated.

use std::net::IpAddr;

use anyhow::Context as _;
use bazaar_daemon::{Acceptor, Flags, Presence, Routes, Tasks};
use bazaar_history::Call;
use bazaar_rpc::accounts::{
    AUDIENCE, Accounts, AccountsError, Caller, Claims, Feed, Generation, ISSUER, Login, MAX_WATCH,
    NewUser, PublicKey, Role, Secret, Session, User, UserChange,
};
use bazaar_rpc::connect::serve;
use bazaar_rpc::net::Protocol;
use bazaar_rpc::{ServiceKind, ServiceName, Timestamp, UserId};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use tarpc::context::Context;
use tokio::time::sleep;

/// The user whose orders are placed with an account.
pub(crate) const USER: UserId = UserId(1);

/// The key of RFC 8037, appendix A, as a document of PKCS #8: nobody's secret.
const SECRET: [u8; 48] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
    0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];

/// Its public half, and the thumbprint that is its id.
const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const KEY_ID: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

/// The only version of the feed there ever is.
const VERSION: u64 = 1;

/// The tokens of [`USER`]. They do not expire, whatever a machine's clock shows.
pub(crate) struct Tokens {
    customer: String,
    admin: String,
}

impl Tokens {
    pub(crate) fn new() -> Self {
        Self {
            customer: token(Role::Customer),
            admin: token(Role::Admin),
        }
    }

    /// The one that `call` is made with, where it takes one.
    pub(crate) fn of(&self, call: &Call) -> &str {
        match call {
            Call::Restock { .. } => &self.admin,
            _ => &self.customer,
        }
    }
}

fn token(role: Role) -> String {
    let claims = Claims {
        iss: ISSUER.into(),
        aud: AUDIENCE.into(),
        sub: USER.to_string(),
        role,
        generation: Generation::default(),
        iat: 0,
        exp: u64::MAX,
        jti: "simulated".into(),
    };
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(KEY_ID.into());
    encode(&header, &claims, &EncodingKey::from_ed_der(&SECRET)).expect("the key signs")
}

/// What it is started with.
pub(crate) struct Config {
    pub(crate) flags: Flags,
}

impl AsRef<Flags> for Config {
    fn as_ref(&self) -> &Flags {
        &self.flags
    }
}

/// The service.
pub(crate) struct App {
    presence: Presence,
}

impl bazaar_daemon::App for App {
    type Config = Config;

    async fn build(Config { flags }: Config, tasks: &Tasks) -> anyhow::Result<Self> {
        let me = ServiceName::new(ServiceKind::Accounts, flags.id);
        let directory = flags.directory();
        let acceptor = Acceptor::bind(flags.listen).await.context("--listen")?;
        let address = acceptor.address();
        let accounts = |stream| serve(stream, Issuer.serve());
        let routes = Routes::new().with(Protocol::Accounts, accounts);
        acceptor.serve(tasks, flags.cluster, me, routes);
        let metadata = [format!("kind:{}", me.kind)].into();
        let presence = Presence::spawn(tasks, directory, me, address, metadata);
        Ok(Self { presence })
    }

    async fn drain(self) {
        self.presence.withdraw().await;
    }
}

/// Serves [`Accounts`] without a database.
#[derive(Clone)]
struct Issuer;

impl Accounts for Issuer {
    async fn watch(self, _: Context, known: u64) -> Result<Option<Feed>, AccountsError> {
        if known == VERSION {
            sleep(MAX_WATCH).await;
            return Ok(None);
        }
        Ok(Some(Feed {
            version: VERSION,
            keys: vec![PublicKey {
                kid: KEY_ID.into(),
                x: PUBLIC.into(),
            }],
            void: Vec::new(),
            not_before: Timestamp::default(),
        }))
    }

    async fn register(self, _: Context, _: NewUser, _: IpAddr) -> Result<User, AccountsError> {
        Err(AccountsError::Unavailable)
    }

    async fn login(self, _: Context, _: Login, _: IpAddr) -> Result<Session, AccountsError> {
        Err(AccountsError::Unavailable)
    }

    async fn refresh(self, _: Context, _: Secret) -> Result<Session, AccountsError> {
        Err(AccountsError::Unavailable)
    }

    async fn logout(self, _: Context, _: Secret) -> Result<(), AccountsError> {
        Err(AccountsError::Unavailable)
    }

    async fn get(self, _: Context, _: Caller, _: UserId) -> Result<User, AccountsError> {
        Err(AccountsError::Unavailable)
    }

    async fn update(
        self,
        _: Context,
        _: Caller,
        _: UserId,
        _: UserChange,
    ) -> Result<User, AccountsError> {
        Err(AccountsError::Unavailable)
    }

    async fn deactivate(self, _: Context, _: Caller, _: UserId) -> Result<(), AccountsError> {
        Err(AccountsError::Unavailable)
    }

    async fn reactivate(self, _: Context, _: Caller, _: UserId) -> Result<User, AccountsError> {
        Err(AccountsError::Unavailable)
    }

    async fn list(
        self,
        _: Context,
        _: Caller,
        _: Option<UserId>,
        _: u32,
    ) -> Result<Vec<User>, AccountsError> {
        Err(AccountsError::Unavailable)
    }
}
