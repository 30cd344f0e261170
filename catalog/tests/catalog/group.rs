//! A catalog of three replicas.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bazaar_daemon::{App as _, Tasks};
use bazaar_nameserver as nameserver;
use bazaar_rpc::catalog::{CatalogError, Fence, TradeBatch};
use bazaar_rpc::connect::{client_config, client_transport, within};
use bazaar_rpc::edit::{Edit, EditOutcome};
use bazaar_rpc::net::Protocol;
use bazaar_rpc::replica::{ReplicaClient, ReplicaStatus};
use bazaar_rpc::{Item, Quantity, RequestId, ServiceKind, ServiceName, Side, Term, TradeSequence};
use futures::{StreamExt, stream};
use tempfile::TempDir;

use crate::running::{PATIENCE, Running, key, request};

struct Group {
    names: Tasks,
    _names_dir: TempDir,
    nameserver: SocketAddr,
    dirs: Vec<TempDir>,
    /// Those that run, at their id less one.
    members: Vec<Option<Running>>,
}

impl Group {
    async fn start() -> Self {
        let names = Tasks::new();
        let names_dir = tempfile::tempdir().unwrap();
        let config = nameserver::Config::new(
            "bazaar".parse().unwrap(),
            "127.0.0.1:0".parse().unwrap(),
            names_dir.path().into(),
        );
        let nameserver = nameserver::App::build(config, &names).await.unwrap();
        let dirs = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        let mut group = Self {
            names,
            _names_dir: names_dir,
            nameserver: nameserver.address(),
            dirs,
            members: vec![None, None, None],
        };
        for member in 0..3 {
            group.start_member(member).await;
        }
        group
    }

    async fn start_member(&mut self, member: usize) {
        let dir = self.dirs[member].path();
        let flags = [
            "--members",
            "3",
            "--lease",
            "50ms",
            "--snapshot-entries",
            "50",
        ];
        let running = Running::start_member(member as u64 + 1, self.nameserver, dir, &flags).await;
        self.members[member] = Some(running.unwrap());
    }

    async fn crash(&mut self, member: usize) {
        self.members[member].take().unwrap().crash().await;
    }

    fn running(&self) -> impl Iterator<Item = (usize, &Running)> {
        let members = self.members.iter().enumerate();
        members.filter_map(|(at, member)| Some((at, member.as_ref()?)))
    }

    /// The member that leads, once one does, with the fence that it has given out. On a machine that
    /// is busy with other things, leadership may change at any time, so nothing here relies on it.
    async fn fence(&self) -> (usize, Fence) {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            for (at, member) in self.running() {
                let attempt = within(Duration::from_secs(1));
                if let Ok(Ok(fence)) = member
                    .client
                    .fence(attempt, Term(1), TradeSequence(0))
                    .await
                {
                    return (at, fence);
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("nobody leads");
    }

    /// The item, from whoever leads.
    async fn item(&self, name: &str) -> Item {
        loop {
            let (leader, _) = self.fence().await;
            let client = &self.members[leader].as_ref().unwrap().client;
            if let Ok(Ok(item)) = client.lookup(within(PATIENCE), key(name)).await {
                return item.unwrap();
            }
        }
    }

    /// Buys and returns one unit `times` times, each time in a batch of its own.
    async fn trade(&self, round: &str, times: usize) {
        let request = |n: usize, side: Side| {
            request(&format!("{round}.{n}.{}", side.as_str()), "FishCo", side, 1)
        };
        let mut left: Vec<_> = (0..times).collect();
        while !left.is_empty() {
            let (leader, fence) = self.fence().await;
            let client = &self.members[leader].as_ref().unwrap().client;
            let trade = async |n: usize| {
                let trades = vec![request(n, Side::Buy), request(n, Side::Sell)];
                let batch = TradeBatch {
                    token: fence.token,
                    recorded: fence.forgotten,
                    trades,
                };
                match client.decide(within(PATIENCE), batch).await {
                    Ok(Ok(decided)) => {
                        assert!(decided.iter().all(Result::is_ok), "{decided:?}");
                        None
                    }
                    _ => Some(n),
                }
            };
            let trades = stream::iter(left).map(trade).buffer_unordered(64);
            left = trades.filter_map(async |failed| failed).collect().await;
        }
    }

    /// Has `edit` made under the request id of `id`, by whoever leads, however often that takes.
    async fn edit(&self, id: &str, edit: &Edit) -> EditOutcome {
        let request = RequestId::from_key(None, id);
        loop {
            let (leader, _) = self.fence().await;
            let client = &self.members[leader].as_ref().unwrap().client;
            let answer = client.edit(within(PATIENCE), request, edit.clone()).await;
            if let Ok(Ok(outcome)) = answer {
                return outcome;
            }
        }
    }

    /// Waits until `member` is as far as `is_there` wants it.
    async fn wait_for(&self, member: usize, is_there: impl Fn(&ReplicaStatus) -> bool) {
        let member = self.members[member].as_ref().unwrap();
        let Running {
            app,
            directory,
            name,
            ..
        } = member;
        let stream = directory
            .connect_at(app.address(), *name, Protocol::Replica)
            .await
            .unwrap();
        let replica = ReplicaClient::new(client_config(), client_transport(stream)).spawn();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = replica.status(within(PATIENCE)).await.unwrap();
            if is_there(&status) {
                return;
            }
            assert!(Instant::now() < deadline, "{status:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn stop(mut self) {
        for member in self.members.drain(..).flatten() {
            member.stop().await;
        }
        self.names.stop(PATIENCE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_goes_on_with_every_trade_of_the_one_that_died() {
    let mut group = Group::start().await;
    let mut made = 0;
    for round in ["first", "second", "third"] {
        group.trade(round, 10).await;
        made += 20;
        let item = group.item("FishCo").await;
        assert_eq!((item.quantity.units(), item.volume), (100, made));
        let (leader, _) = group.fence().await;
        group.crash(leader).await;
        let (_, fence) = group.fence().await;
        assert_eq!((fence.next.0, fence.forgotten.0), (made, 0));
        assert_eq!(group.item("FishCo").await, item);
        group.start_member(leader).await;
    }
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_whose_leader_dies_is_made_once_however_often_it_is_sent() {
    let mut group = Group::start().await;
    let item = group.item("FishCo").await.number;
    let restock = Edit::Restock {
        item,
        expected: None,
        units: Quantity::new(5).unwrap(),
    };
    for round in 1..=4_u64 {
        let (leader, _) = group.fence().await;
        let client = group.members[leader].as_ref().unwrap().client.clone();
        let request = RequestId::from_key(None, &round.to_string());
        let first = client.edit(within(PATIENCE), request, restock.clone());
        // In some rounds the leader dies before it answers, and in others after.
        let patience = Duration::from_millis(round - 1);
        let _may_be_lost = tokio::time::timeout(patience, first).await;
        group.crash(leader).await;
        let outcome = group.edit(&round.to_string(), &restock).await.unwrap();
        assert_eq!(outcome.quantity.units(), 100 + 5 * round);
        assert_eq!(group.item("FishCo").await, outcome);
        group.start_member(leader).await;
    }
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_lead_says_who_does() {
    let group = Group::start().await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (leader, _) = group.fence().await;
        let mut said = Vec::new();
        for (_, member) in group.running().filter(|(at, _)| *at != leader) {
            said.push(
                member
                    .client
                    .lookup(within(PATIENCE), key("FishCo"))
                    .await
                    .unwrap(),
            );
        }
        let leader = Some(ServiceName::new(ServiceKind::Catalog, leader as u64 + 1));
        if said
            == [
                Err(CatalogError::NotLeader { leader }),
                Err(CatalogError::NotLeader { leader }),
            ]
        {
            break;
        }
        assert!(Instant::now() < deadline, "{said:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_away_for_long_gets_the_state_and_can_lead() {
    let mut group = Group::start().await;
    let (leader, _) = group.fence().await;
    let away = (leader + 1) % 3;
    group.crash(away).await;
    // More than the log keeps once there is a snapshot of it.
    group.trade("away", 6000).await;
    let others: Vec<_> = (0..3).filter(|at| *at != away).collect();
    for other in others {
        // Everything before entry 900 is gone when the log's last 5000 entries are what is kept.
        group
            .wait_for(other, |status| {
                status.purged.is_some_and(|purged| purged > 900)
            })
            .await;
    }
    group.start_member(away).await;
    group
        .wait_for(away, |status| status.snapshots_installed > 0)
        .await;
    // With one of the others gone, nothing can be confirmed without it.
    let (leader, fence) = group.fence().await;
    assert_eq!(fence.next.0, 12_000);
    group
        .crash(if leader == away {
            (away + 1) % 3
        } else {
            leader
        })
        .await;
    group.trade("back", 5).await;
    assert_eq!(group.item("FishCo").await.volume, 12_010);
    group.stop().await;
}
