//! Calls to the leader of a group, over real sockets and by the real name server. The replicas are
//! in memory and believe about the leadership what the test tells them.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bazaar_daemon::{Acceptor, App as _, GroupClient, GroupError, Leader, Routes, Tasks};
use bazaar_nameserver as nameserver;
use bazaar_rpc::connect::{Directory, client_config, client_transport, serve, within};
use bazaar_rpc::naming::Registration;
use bazaar_rpc::net::Protocol;
use bazaar_rpc::replica::{Leadership, RemoveError, Replica, ReplicaClient, ReplicaStatus, Role};
use bazaar_rpc::{ServiceKind, ServiceName, Term};
use tarpc::client::RpcError;
use tarpc::context::Context;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;

/// The deadline of calls that are to be answered, and by far not to need it.
const FAR: Duration = Duration::from_secs(600);

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(20);

/// The deadline of calls that are not answered.
const NEAR: Duration = Duration::from_millis(200);

/// Waits for `work`, but not for ever.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(LIMIT, work).await.expect("took too long")
}

/// Waits until `condition` holds of what `sender` sends.
async fn until<T>(sender: &watch::Sender<T>, condition: impl FnMut(&T) -> bool) {
    let mut receiver = sender.subscribe();
    soon(receiver.wait_for(condition)).await.unwrap();
}

/// One replica. Clones share it.
#[derive(Clone)]
struct Member {
    name: ServiceName,
    /// Who leads, as far as it knows.
    leadership: Arc<watch::Sender<Leadership>>,
    /// What its last caller knew of that.
    heard: Arc<watch::Sender<Leadership>>,
    /// Whether it answers calls.
    answers: Arc<watch::Sender<bool>>,
    /// How many calls have arrived.
    calls: Arc<watch::Sender<u64>>,
    /// Whenever it is told, all connections end.
    hang_up: Arc<watch::Sender<()>>,
}

impl Member {
    fn new(id: u64) -> Self {
        Self {
            name: ServiceName::new(ServiceKind::Order, id),
            leadership: Arc::default(),
            heard: Arc::default(),
            answers: Arc::new(watch::Sender::new(true)),
            calls: Arc::default(),
            hang_up: Arc::default(),
        }
    }

    /// Serves it, and enters it at the name server of `directory`.
    async fn start(&self, directory: &Directory, tasks: &Tasks) {
        let acceptor = Acceptor::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let registration = Registration {
            name: self.name.to_string(),
            address: acceptor.address(),
            metadata: BTreeSet::new(),
            lease: None,
        };
        let member = self.clone();
        let routes = Routes::new().with(Protocol::Replica, move |stream| {
            let mut hang_up = member.hang_up.subscribe();
            let serving = serve(stream, member.clone().serve());
            async move {
                tokio::select! {
                    () = serving => {}
                    _ = hang_up.changed() => {}
                }
            }
        });
        acceptor.serve(tasks, directory.cluster().clone(), self.name, routes);
        let naming = directory.naming().await.unwrap();
        let registered = naming.register(within(LIMIT), registration, false).await;
        registered.unwrap().unwrap();
    }

    /// Has it believe that `leader` leads in `term`.
    fn believe(&self, term: u64, leader: &Self) {
        self.leadership.send_replace(Leadership {
            term: Term(term),
            leader: Some(leader.name),
        });
    }

    /// Has it believe that it leads in `term`.
    fn lead(&self, term: u64) {
        self.believe(term, self);
    }

    /// Waits until its caller has taken in what it believes.
    async fn is_heard(&self) {
        let belief = *self.leadership.borrow();
        until(&self.heard, |heard| *heard == belief).await;
    }

    /// Waits until so many calls have arrived.
    async fn is_called(&self, times: u64) {
        until(&self.calls, |calls| *calls >= times).await;
    }
}

impl Replica for Member {
    async fn leadership(self, _: Context, known: Leadership, patience: Duration) -> Leadership {
        self.heard.send_replace(known);
        let mut leadership = self.leadership.subscribe();
        let news = leadership.wait_for(|leadership| *leadership != known);
        match timeout(patience, news).await {
            Ok(news) => *news.unwrap(),
            Err(_elapsed) => known,
        }
    }

    async fn status(self, _: Context) -> ReplicaStatus {
        self.calls.send_modify(|calls| *calls += 1);
        let mut answers = self.answers.subscribe();
        answers.wait_for(|answers| *answers).await.unwrap();
        ReplicaStatus {
            name: self.name,
            role: Role::Follower,
            leadership: *self.leadership.borrow(),
            last_log: None,
            last_applied: None,
            snapshot: None,
            purged: None,
            snapshots_installed: 0,
        }
    }

    async fn remove(self, _: Context, _: u64) -> Result<(), RemoveError> {
        unreachable!("nobody asks")
    }
}

/// A group of `N`, its caller, and the name server by which it is found.
struct World<const N: usize> {
    members: [Member; N],
    group: GroupClient<ReplicaClient>,
    nameserver: Tasks,
    tasks: Tasks,
    _dir: TempDir,
}

impl<const N: usize> World<N> {
    /// Starts it; nobody leads.
    async fn start() -> Self {
        let (tasks, nameserver) = (Tasks::new(), Tasks::new());
        let dir = tempfile::tempdir().unwrap();
        let config = nameserver::Config::new(
            "test".parse().unwrap(),
            "127.0.0.1:0".parse().unwrap(),
            dir.path().into(),
        );
        let names = nameserver::App::build(config, &nameserver).await.unwrap();
        let directory = Directory::new("test".parse().unwrap(), names.address());
        let members = std::array::from_fn(|at| Member::new(at as u64 + 1));
        for member in &members {
            member.start(&directory, &tasks).await;
        }
        let group = GroupClient::spawn(
            &tasks,
            directory,
            ServiceKind::Order,
            Protocol::Replica,
            |stream| ReplicaClient::new(client_config(), client_transport(stream)),
        );
        Self {
            members,
            group,
            nameserver,
            tasks,
            _dir: dir,
        }
    }

    /// Waits until calls go to `member`.
    async fn is_led_by(&self, member: &Member) {
        let mut leader = self.group.leader();
        let is_it = |leader: &Option<Leader<_>>| {
            leader
                .as_ref()
                .is_some_and(|leader| leader.name == member.name)
        };
        soon(leader.wait_for(is_it)).await.unwrap();
    }

    /// Calls the leader, with that long to answer; returns who did.
    async fn call(&self, limit: Duration) -> Result<ServiceName, GroupError<Refusal>> {
        let deadline = Instant::now() + limit;
        let call = async |leader: Leader<ReplicaClient>| {
            let status = status(leader).await?;
            Ok(Ok(status.name))
        };
        soon(self.group.call(deadline, Refusal::is_retryable, call)).await
    }

    async fn stop(self) {
        self.tasks.stop(LIMIT).await;
        self.nameserver.stop(LIMIT).await;
    }
}

async fn status(leader: Leader<ReplicaClient>) -> Result<ReplicaStatus, RpcError> {
    leader.client.status(within(FAR)).await
}

#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
enum Refusal {
    #[error("not now")]
    Passing,
    #[error("never")]
    Final,
}

impl Refusal {
    fn is_retryable(&self) -> bool {
        *self == Self::Passing
    }
}

#[tokio::test]
async fn the_leader_of_the_highest_term_is_called() {
    let world = World::<3>::start().await;
    let [first, second, third] = &world.members;
    second.lead(5);
    world.is_led_by(second).await;
    // A leader that was deposed and does not know it, and one who has been told as much.
    first.lead(4);
    third.believe(4, first);
    first.is_heard().await;
    third.is_heard().await;
    for _ in 0..100 {
        assert_eq!(world.call(FAR).await, Ok(second.name));
    }
    third.lead(6);
    world.is_led_by(third).await;
    assert_eq!(world.call(FAR).await, Ok(third.name));
    world.stop().await;
}

#[tokio::test]
async fn a_call_under_way_is_made_again_at_once_with_a_new_leader() {
    let world = World::<2>::start().await;
    let [first, second] = &world.members;
    first.answers.send_replace(false);
    first.lead(1);
    let change = async {
        first.is_called(1).await;
        second.lead(2);
    };
    let (answer, ()) = tokio::join!(world.call(FAR), change);
    assert_eq!(answer, Ok(second.name));
    assert_eq!(*first.calls.borrow(), 1);
    assert_eq!(*second.calls.borrow(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_call_under_way_is_made_again_when_its_connection_ends() {
    let world = World::<1>::start().await;
    let [only] = &world.members;
    only.answers.send_replace(false);
    only.lead(1);
    let end = async {
        only.is_called(1).await;
        only.hang_up.send_replace(());
        only.is_called(2).await;
        only.answers.send_replace(true);
    };
    let (answer, ()) = tokio::join!(world.call(FAR), end);
    assert_eq!(answer, Ok(only.name));
    world.stop().await;
}

#[tokio::test]
async fn a_call_that_was_never_sent_is_told_from_one_without_an_answer() {
    let world = World::<1>::start().await;
    let [only] = &world.members;
    assert_eq!(world.call(NEAR).await, Err(GroupError::NoLeader));
    only.answers.send_replace(false);
    only.lead(1);
    world.is_led_by(only).await;
    assert_eq!(world.call(NEAR).await, Err(GroupError::NoAnswer));
    world.stop().await;
}

#[tokio::test]
async fn a_refusal_is_the_answer_unless_it_may_pass() {
    let world = World::<1>::start().await;
    let [only] = &world.members;
    only.lead(1);
    let attempts = AtomicU32::new(0);
    let refused = async |leader| {
        status(leader).await?;
        Ok(Err::<(), _>(
            match attempts.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => Refusal::Passing,
                _ => Refusal::Final,
            },
        ))
    };
    let deadline = Instant::now() + FAR;
    let answer = world.group.call(deadline, Refusal::is_retryable, refused);
    assert_eq!(soon(answer).await, Err(GroupError::Answer(Refusal::Final)));
    assert_eq!(*only.calls.borrow(), 3);
    world.stop().await;
}

#[tokio::test]
async fn the_death_of_the_name_server_stops_no_call() {
    let world = World::<2>::start().await;
    let [first, second] = &world.members;
    first.lead(1);
    second.believe(1, first);
    world.is_led_by(first).await;
    second.is_heard().await;
    world.nameserver.stop(LIMIT).await;

    assert_eq!(world.call(FAR).await, Ok(first.name));
    first.hang_up.send_replace(());
    assert_eq!(world.call(FAR).await, Ok(first.name));
    second.lead(2);
    world.is_led_by(second).await;
    assert_eq!(world.call(FAR).await, Ok(second.name));
    world.stop().await;
}
