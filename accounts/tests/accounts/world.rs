//! An accounts service and a name server, in this process and on real sockets.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bazaar_accounts::{App, Config, CreateAdmin};
use bazaar_daemon::{App as _, Tasks};
use bazaar_nameserver as nameserver;
use bazaar_rpc::accounts::{
    AccountsClient, AccountsError, Caller, Feed, Login, NewUser, Password, Role, Secret, Session,
    User, UserName,
};
use bazaar_rpc::connect::{Directory, client_config, client_transport, spawned, within};
use bazaar_rpc::net::Protocol;
use bazaar_rpc::{ServiceKind, ServiceName};
use clap::Parser;
use tarpc::client::RpcError;
use tarpc::context::Context;
use tempfile::TempDir;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// From where everybody calls.
pub(crate) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The password of everybody.
pub(crate) const PASSWORD: &str = "open sesame";

/// The flags where nothing is limited.
pub(crate) const UNLIMITED: &[&str] = &[
    "--logins-per-user",
    "10000/1m",
    "--logins-per-address",
    "10000/1m",
];

/// An accounts service; it ends when this is dropped.
pub(crate) struct World {
    pub(crate) client: AccountsClient,
    dir: TempDir,
    flags: Vec<String>,
    directory: Directory,
    service: Option<(App, Tasks)>,
    nameserver: Tasks,
}

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

impl World {
    /// A service whose accounts are in a file.
    pub(crate) async fn sqlite(flags: &[&str]) -> Self {
        Self::start(flags).await
    }

    /// A service whose accounts are in a PostgreSQL server.
    pub(crate) async fn postgres(url: &str, flags: &[&str]) -> Self {
        Self::start(&[flags, &["--database", url]].concat()).await
    }

    async fn start(flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let nameserver = Tasks::new();
        let config = nameserver::Config::new(
            "bazaar".parse().unwrap(),
            "127.0.0.1:0".parse().unwrap(),
            dir.path().join("nameserver"),
        );
        let app = nameserver::App::build(config, &nameserver).await.unwrap();
        let address = app.address();
        let directory = Directory::new("bazaar".parse().unwrap(), address);
        let data_dir = dir.path().join("accounts").display().to_string();
        let fixed = [
            "--nameserver",
            &address.to_string(),
            "--data-dir",
            &data_dir,
        ]
        .map(str::to_owned)
        .into_iter();
        let flags: Vec<_> = fixed
            .chain(flags.iter().map(|flag| (*flag).to_owned()))
            .collect();
        let service = start_service(&flags).await;
        let client = connect(&directory).await;
        Self {
            client,
            dir,
            flags,
            directory,
            service: Some(service),
            nameserver,
        }
    }

    /// Where the service keeps what it writes.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("accounts")
    }

    /// A directory for whatever else a test writes.
    pub(crate) fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// Stops the service in good order and starts it again.
    pub(crate) async fn restart(&mut self) {
        let (app, tasks) = self.service.take().unwrap();
        app.drain().await;
        tasks.stop(Duration::from_secs(5)).await;
        self.service = Some(start_service(&self.flags).await);
        self.client = connect(&self.directory).await;
    }

    /// Calls the service; it must answer.
    pub(crate) async fn call<T, Answer>(
        &self,
        call: impl FnOnce(AccountsClient, Context) -> Answer,
    ) -> Result<T, AccountsError>
    where
        Answer: Future<Output = Result<Result<T, AccountsError>, RpcError>>,
    {
        call(self.client.clone(), within(PATIENCE)).await.unwrap()
    }

    /// Enters the user `name`.
    pub(crate) async fn register(&self, name: &str, student: u64) -> Result<User, AccountsError> {
        let user = new_user(name, student);
        self.call(|it, context| async move { it.register(context, user, HERE).await })
            .await
    }

    pub(crate) async fn login(&self, name: &str, password: &str) -> Result<Session, AccountsError> {
        self.login_from(HERE, name, password).await
    }

    pub(crate) async fn login_from(
        &self,
        address: IpAddr,
        name: &str,
        password: &str,
    ) -> Result<Session, AccountsError> {
        let login = Login {
            user_name: user_name(name),
            password: secret(password),
        };
        self.call(|it, context| async move { it.login(context, login, address).await })
            .await
    }

    pub(crate) async fn refresh(&self, token: &Secret) -> Result<Session, AccountsError> {
        let token = token.clone();
        self.call(|it, context| async move { it.refresh(context, token).await })
            .await
    }

    pub(crate) async fn watch(&self, known: u64) -> Option<Feed> {
        self.call(|it, context| async move { it.watch(context, known).await })
            .await
            .unwrap()
    }

    /// Makes the admin `name`, and returns who that is.
    pub(crate) async fn admin(&self, name: &str, student: u64) -> Caller {
        let command = self.create_admin(name, student);
        let made = tokio::task::spawn_blocking(move || command.execute());
        caller(&made.await.unwrap().unwrap())
    }

    /// The command that makes the admin `name`.
    pub(crate) fn create_admin(&self, name: &str, student: u64) -> CreateAdmin {
        let file = self.scratch().join("password");
        std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
        let flag = |name: &str| self.flags.iter().position(|flag| flag == name);
        let url = flag("--database").map(|at| self.flags[at + 1].clone());
        let data_dir = self.data_dir().display().to_string();
        let (student, file) = (student.to_string(), file.display().to_string());
        let email = format!("{name}@example.org");
        let mut line = vec![
            "create-admin",
            "--user-name",
            name,
            "--email",
            &email,
            "--student-id",
            &student,
            "--password-file",
            &file,
            "--data-dir",
            &data_dir,
        ];
        line.extend(url.iter().flat_map(|url| ["--database", url]));
        Admin::parse_from(line).command
    }
}

#[derive(Parser)]
struct Admin {
    #[command(flatten)]
    command: CreateAdmin,
}

impl Drop for World {
    fn drop(&mut self) {
        self.nameserver.stopping().cancel();
        if let Some((_, tasks)) = &self.service {
            tasks.stopping().cancel();
        }
    }
}

async fn start_service(flags: &[String]) -> (App, Tasks) {
    let line = std::iter::once("accounts").chain(flags.iter().map(String::as_str));
    let config = Arguments::parse_from(line).config;
    let tasks = Tasks::new();
    let app = App::build(config, &tasks).await.unwrap();
    (app, tasks)
}

async fn connect(directory: &Directory) -> AccountsClient {
    let name = ServiceName::new(ServiceKind::Accounts, 1);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match directory.connect(name, Protocol::Accounts).await {
            Ok(stream) => {
                let transport = client_transport(stream);
                return spawned(AccountsClient::new(client_config(), transport));
            }
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn new_user(name: &str, student: u64) -> NewUser {
    NewUser {
        student_id: student.to_string().parse().unwrap(),
        user_name: user_name(name),
        email: format!("{name}@example.org").parse().unwrap(),
        password: password(PASSWORD),
    }
}

pub(crate) fn user_name(name: &str) -> UserName {
    name.parse().unwrap()
}

pub(crate) fn secret(text: &str) -> Secret {
    Secret::new(text.into()).unwrap()
}

pub(crate) fn password(text: &str) -> Password {
    Password::try_from(text.to_owned()).unwrap()
}

/// `user` calls.
pub(crate) fn caller(user: &User) -> Caller {
    Caller {
        user: user.id,
        role: user.role,
    }
}

/// Somebody who calls as a customer.
pub(crate) fn customer(user: u64) -> Caller {
    Caller {
        user: bazaar_rpc::UserId(user),
        role: Role::Customer,
    }
}
