//! Groups at work: order, failover, return, and catching up.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use bazaar_rpc::connect::within;
use bazaar_rpc::replica::{Leadership, Role};
use bazaar_rpc::{ServiceKind, ServiceName, Term};
use bytes::Bytes;

use super::cluster::{Cluster, LIMIT, soon, texts, until};
use super::machine::{State, number};
use crate::{MAX_COMMAND, ProposeError, found};

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_one_survives_being_killed_and_leads_in_a_new_term() {
    let mut cluster = Cluster::started([1]).await;
    assert_eq!(cluster.write(texts(0..10)).await, Vec::from_iter(0..10));
    let term = cluster.replicas[&1].group.barrier().await.unwrap();
    cluster.kill(1).await;
    cluster.start(1).await;
    cluster.leader().await;
    assert!(cluster.replicas[&1].group.barrier().await.unwrap() > term);
    cluster.agree_on_texts(10).await;
    assert_eq!(cluster.write(texts(10..11)).await, [10]);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_highest_id_founds_the_group_and_leads_it() {
    let cluster = Cluster::started([1, 2, 3]).await;
    assert_eq!(cluster.leader().await, 3);
    let status = cluster.replicas[&3].group.status();
    assert_eq!(status.role, Role::Leader);
    until("2 follows", || {
        cluster.replicas[&2].group.status().role == Role::Follower
    })
    .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proposals_keep_their_order_and_are_answered_in_it() {
    let cluster = Cluster::started([1, 2, 3]).await;
    let leader = &cluster.replicas[&cluster.leader().await];
    let mut receipts = Vec::new();
    for batch in 0..50 {
        let commands = texts(batch * 20..(batch + 1) * 20)
            .map(Bytes::from)
            .collect();
        receipts.push(leader.group.propose(commands).await.unwrap());
    }
    let mut expected = 0;
    for mut receipts in receipts {
        while let Some(answer) = soon(receipts.next()).await {
            assert_eq!(number(&answer.unwrap()), expected);
            expected += 1;
        }
    }
    cluster.agree_on_texts(1000).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_takes_no_proposals_and_names_the_leader() {
    let cluster = Cluster::started([1, 2, 3]).await;
    let leader = cluster.leader().await;
    let name = Some(ServiceName::new(ServiceKind::Order, leader));
    let follower = cluster
        .replicas
        .iter()
        .find(|(id, _)| **id != leader)
        .unwrap()
        .1;
    until("it knows the leader", || {
        follower.group.status().leadership.leader == name
    })
    .await;
    let refused = ProposeError::NotLeader { leader: name };
    assert_eq!(
        follower.propose(vec!["x".into()]).await.unwrap_err(),
        refused
    );
    assert_eq!(follower.group.barrier().await.unwrap_err(), refused);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_command_reaches_every_replica() {
    let cluster = Cluster::started([1, 2, 3]).await;
    let large = "x".repeat(MAX_COMMAND);
    assert_eq!(cluster.write([large]).await, [0]);
    cluster.agree(1).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_replaced_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::started([1, 2, 3]).await;
    let mut written = 0;
    for round in 0..6 {
        let leader = cluster.leader().await;
        let term = cluster.replicas[&leader].group.barrier().await.unwrap();
        let commands = texts(written..written + 20).collect();
        soon(cluster.replicas[&leader].propose(commands))
            .await
            .unwrap();
        written += 20;
        let begun = Instant::now();
        cluster.kill(leader).await;
        let killed = Instant::now();
        let successor = cluster.leader().await;
        let group = &cluster.replicas[&successor].group;
        assert!(group.barrier().await.unwrap() > term);
        // What the old leader acknowledged is there before the barrier lets anybody pass.
        assert!(cluster.replicas[&successor].commands().len() >= written);
        cluster.write(texts(written..written + 1)).await;
        written += 1;
        let (kill, election) = (killed - begun, killed.elapsed());
        println!("round {round}: {leader} died in {kill:?}, {successor} wrote {election:?} later");
        cluster.start(leader).await;
        cluster.agree(written).await;
    }
    cluster.agree_on_texts(written).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_far_from_each_other_elect_write_and_confirm() {
    let mut cluster = Cluster::new([1, 2, 3]).await;
    // A round trip takes longer than it is from one heartbeat to the next.
    cluster.delay = Duration::from_millis(25);
    for id in [1, 2, 3] {
        cluster.start(id).await;
    }
    cluster.write(texts(0..20)).await;
    let leader = cluster.leader().await;
    let term = cluster.replicas[&leader].group.barrier().await.unwrap();
    // An idle leader is not taken for a dead one, nor does it lose what confirms it.
    for _ in 0..10 {
        let group = &cluster.replicas[&leader].group;
        assert_eq!(soon(group.barrier()).await, Ok(term));
    }
    cluster.kill(leader).await;
    cluster.write(texts(20..40)).await;
    cluster.agree(40).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_highest_id_that_is_left_succeeds_a_killed_leader() {
    let mut cluster = Cluster::started([1, 2, 3]).await;
    assert_eq!(cluster.leader().await, 3);
    cluster.write(texts(0..1)).await;
    cluster.agree(1).await;
    for id in [1, 2] {
        let group = &cluster.replicas[&id].group;
        until("it follows", || group.status().leadership.leader.is_some()).await;
    }
    cluster.kill(3).await;
    assert_eq!(cluster.leader().await, 2);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proposals_that_die_with_their_leader_are_unknown() {
    let mut cluster = Cluster::started([1, 2, 3]).await;
    let leader = cluster.leader().await;
    let followers: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
    for id in followers {
        cluster.kill(id).await;
    }
    let group = cluster.replicas[&leader].group.clone();
    let commands = vec![Bytes::from("a"), Bytes::from("b")];
    let mut receipts = group.propose(commands).await.unwrap();
    let stopping = group.clone();
    let stop = async move { stopping.stop().await };
    let (first, ()) = tokio::join!(receipts.next(), stop);
    let second = soon(receipts.next()).await;
    for answer in [first, second] {
        let error = answer.unwrap().unwrap_err();
        assert!(
            matches!(
                error,
                ProposeError::Unknown | ProposeError::NotLeader { leader: None }
            ),
            "{error:?}"
        );
    }
    assert_eq!(receipts.next().await, None);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_nobody_passes_the_barrier() {
    let mut cluster = Cluster::started([1, 2, 3]).await;
    let leader = cluster.leader().await;
    for id in [1, 2, 3].into_iter().filter(|id| *id != leader) {
        cluster.kill(id).await;
    }
    let refused = soon(cluster.replicas[&leader].group.barrier()).await;
    assert!(
        matches!(refused, Err(ProposeError::NotLeader { .. })),
        "{refused:?}"
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn barriers_of_many_callers_all_pass() {
    let cluster = Cluster::started([1, 2, 3]).await;
    let group = &cluster.replicas[&cluster.leader().await].group;
    let barriers = (0..500).map(|_| group.barrier());
    let outcomes = soon(futures::future::join_all(barriers)).await;
    assert!(outcomes.into_iter().all(|outcome| outcome.is_ok()));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_returning_replica_catches_up_by_log() {
    let mut cluster = Cluster::started([1, 2, 3]).await;
    cluster.write(texts(0..10)).await;
    cluster.kill(1).await;
    cluster.write(texts(10..200)).await;
    cluster.start(1).await;
    cluster.agree(200).await;
    assert_eq!(cluster.replicas[&1].group.status().snapshots_installed, 0);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_returning_replica_catches_up_by_snapshot_while_writes_go_on() {
    let mut cluster = Cluster::started([1, 2, 3]).await;
    cluster.write(texts(0..10)).await;
    cluster.agree(10).await;
    cluster.kill(1).await;
    // More than is kept of the log, so that the persisted part of it goes.
    let mut written = 10;
    while written < 2_000 {
        cluster.write(texts(written..written + 1_000)).await;
        written += 1_000;
    }
    cluster.agree(written).await;
    for replica in cluster.replicas.values() {
        soon(replica.group.snapshot()).await.unwrap();
        let status = || replica.group.status();
        until("the log is purged", || status().purged > Some(100)).await;
        assert!(status().snapshot >= Some(2_000));
    }
    cluster.start(1).await;
    cluster.write(texts(written..written + 100)).await;
    cluster.agree(written + 100).await;
    let group = &cluster.replicas[&1].group;
    until("the snapshot is installed", || {
        group.status().snapshots_installed == 1
    })
    .await;
    let left = fs::read_dir(cluster.dir(1).join("raft")).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(left.into_iter().all(|name| !name.ends_with(".part")));
    // What was installed is durable: the log before it is gone.
    cluster.kill(1).await;
    cluster.start(1).await;
    cluster.agree(written + 100).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_is_persisted_after_so_many_entries() {
    let mut cluster = Cluster::new([1]).await;
    cluster.snapshot_entries = 100;
    cluster.start(1).await;
    cluster.write(texts(0..150)).await;
    let group = &cluster.replicas[&1].group;
    until("it is persisted", || group.status().snapshot >= Some(150)).await;
    cluster.kill(1).await;
    cluster.start(1).await;
    cluster.agree(150).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_the_state_machine_stops_the_process() {
    let mut cluster = Cluster::new([1]).await;
    cluster.try_start(1, true).await.unwrap();
    cluster.leader().await;
    let replica = &cluster.replicas[&1];
    assert_eq!(
        soon(replica.propose(vec!["x".into()])).await,
        Err(ProposeError::Unknown)
    );
    let failure = soon(replica.tasks.failed()).await;
    assert_eq!(failure.task, "state machine");
    assert!(failure.reason.contains("broken on purpose"), "{failure}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_group_fails_nothing_and_leads_nothing() {
    let cluster = Cluster::started([1]).await;
    cluster.leader().await;
    let replica = &cluster.replicas[&1];
    soon(replica.group.stop()).await;
    assert!(soon(replica.group.barrier()).await.is_err());
    until("it leads no more", || !replica.leads()).await;
    assert!(
        tokio::time::timeout(Duration::from_millis(50), replica.tasks.failed())
            .await
            .is_err()
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_hears_of_a_new_leader() {
    let mut cluster = Cluster::started([1, 2, 3]).await;
    let leader = cluster.leader().await;
    let follower = if leader == 1 { 2 } else { 1 };
    let name = ServiceName::new(ServiceKind::Order, follower);
    let client = cluster.client(follower).await;
    let ask = |known| {
        let client = client.clone();
        async move {
            client
                .leadership(within(LIMIT), known, LIMIT)
                .await
                .unwrap()
        }
    };
    let mut known = Leadership::default();
    while known.leader.map(|name| name.id) != Some(leader) {
        known = soon(ask(known)).await;
    }
    let next = tokio::spawn(ask(known));
    cluster.kill(leader).await;
    let next = soon(next).await.unwrap();
    assert_ne!(next, known);
    assert!(next.term >= known.term);
    let status = soon(client.status(within(LIMIT))).await.unwrap();
    assert_eq!(status.name, name);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_group_is_founded_anew_around_a_restored_state() {
    for members in [vec![1], vec![1, 2, 3]] {
        let mut cluster = Cluster::started(members.clone()).await;
        cluster.write(texts(0..5)).await;
        let leader = cluster.leader().await;
        let before = cluster.replicas[&leader].group.barrier().await.unwrap();
        let old = tempfile::tempdir().unwrap();
        for id in &members {
            cluster.kill(*id).await;
            fs::rename(cluster.dir(*id), old.path().join(id.to_string())).unwrap();
        }

        let dirs: BTreeMap<_, _> = members
            .iter()
            .map(|id| (*id, cluster.dir(*id).join("raft")))
            .collect();
        let replicas = dirs
            .iter()
            .map(|(id, dir)| (ServiceName::new(ServiceKind::Order, *id), dir.as_path()))
            .collect();
        let term = Term(1_000_000);
        let mark = found(&replicas, term).await.unwrap();
        assert!(found(&replicas, term).await.is_err(), "there is a group");
        let state = State {
            commands: texts(0..3).map(Bytes::from).collect(),
            mark: Some(mark),
        };
        for id in &members {
            let file = cluster.dir(*id).join("state");
            fs::write(file, postcard::to_stdvec(&state).unwrap()).unwrap();
        }

        // The threads of the former log, which in earnest end with their process, may still run.
        for id in &members {
            cluster.start(*id).await;
        }
        assert_eq!(cluster.write(texts(3..5)).await, [3, 4]);
        cluster.agree_on_texts(5).await;
        let leader = cluster.leader().await;
        let after = cluster.replicas[&leader].group.barrier().await.unwrap();
        assert!(after > term && term > before);

        // What is left of the old group cannot join in.
        if members.len() > 1 {
            cluster.kill(2).await;
            fs::remove_dir_all(cluster.dir(2)).unwrap();
            fs::rename(old.path().join("2"), cluster.dir(2)).unwrap();
            cluster.start(2).await;
            let refused = &cluster.replicas[&2].tasks;
            let failure = soon(refused.failed()).await;
            assert!(failure.to_string().contains("another order/2"), "{failure}");
        }
        cluster.end().await;
    }
}
