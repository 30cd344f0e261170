//! Replicas that have lost their disks, or a part of them: refused, and replaced.

use std::fs;

use bazaar_rpc::connect::within;
use bazaar_rpc::replica::{RemoveError, Role};
use bazaar_rpc::{ServiceKind, ServiceName};

use super::cluster::{Cluster, LIMIT, soon, texts, until};
use crate::OpenError;

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_whose_disk_was_wiped_refuses_to_start() {
    let mut cluster = Cluster::started([1, 2, 3]).await;
    cluster.write(texts(0..5)).await;
    cluster.agree(5).await;
    cluster.kill(3).await;
    fs::remove_dir_all(cluster.dir(3)).unwrap();
    cluster.start(3).await;
    let failure = soon(cluster.replicas[&3].tasks.failed()).await;
    let dir = cluster.dir(3).join("raft").display().to_string();
    assert!(
        failure.reason.contains("order/3") && failure.reason.contains(&dir),
        "{failure}"
    );
    assert!(cluster.replicas[&3].commands().is_empty());
    // The others go on.
    cluster.kill(3).await;
    cluster.write(texts(5..6)).await;
    cluster.agree(6).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_has_lost_a_part_of_its_directory_refuses_to_start() {
    for part in ["raft/log", "raft/identity.json", "raft"] {
        let mut cluster = Cluster::started([1]).await;
        cluster.write(texts(0..5)).await;
        soon(cluster.replicas[&1].group.snapshot()).await.unwrap();
        cluster.kill(1).await;
        let path = cluster.dir(1).join(part);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
        let refused = cluster.try_start(1, false).await;
        assert!(
            matches!(refused, Err(OpenError::Damaged { .. })),
            "{part}: {refused:?}"
        );
        cluster.end().await;
    }
}

/// Asks the replica `at` to remove the replica `id` from the group.
async fn remove(cluster: &Cluster, at: u64, id: u64) -> Result<(), RemoveError> {
    let client = cluster.client(at).await;
    soon(client.remove(within(LIMIT), id)).await.unwrap()
}

/// Has the group remove the replica `id`.
async fn removed(cluster: &Cluster, id: u64) {
    let directory = cluster.directory();
    let name = |id| ServiceName::new(ServiceKind::Order, id);
    let others: Vec<_> = cluster.replicas.keys().map(|id| name(*id)).collect();
    let removed = soon(crate::remove(&directory, name(id), &others)).await;
    assert_eq!(removed, Ok(()));
}

/// Waits until the replica `id` has a vote.
async fn has_a_vote(cluster: &Cluster, id: u64) {
    until("it has a vote", || {
        let role = cluster.replicas[&id].group.status().role;
        matches!(role, Role::Follower | Role::Leader)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_whose_disk_was_wiped_is_replaced_and_its_disk_never_returns() {
    for is_purged in [false, true] {
        let mut cluster = Cluster::started([1, 2, 3]).await;
        let mut written = 20;
        cluster.write(texts(0..written)).await;
        // The leader, so that the votes it gave and got are lost as well.
        let victim = cluster.leader().await;
        cluster.kill(victim).await;
        let leader = cluster.leader().await;
        if is_purged {
            cluster.write(texts(written..written + 1500)).await;
            written += 1500;
            soon(cluster.replicas[&leader].group.snapshot())
                .await
                .unwrap();
            until("the beginning of the log is gone", || {
                cluster.replicas[&leader].group.status().purged > Some(20)
            })
            .await;
        }
        let old = tempfile::tempdir().unwrap();
        fs::rename(cluster.dir(victim), old.path().join("old")).unwrap();
        let other = 6 - victim - leader;

        // Nobody is removed that leads, and nobody by one that does not.
        let name = ServiceName::new(ServiceKind::Order, leader);
        assert_eq!(
            remove(&cluster, leader, leader).await,
            Err(RemoveError::Leads(name))
        );
        assert!(matches!(
            remove(&cluster, other, victim).await,
            Err(RemoveError::NotLeader { .. })
        ));
        for _ in 0..2 {
            removed(&cluster, victim).await;
        }
        cluster.write(texts(written..written + 5)).await;
        written += 5;

        cluster.start(victim).await;
        has_a_vote(&cluster, victim).await;
        cluster.agree(written).await;
        // Its vote counts: one of the others may go.
        cluster.kill(other).await;
        cluster.write(texts(written..written + 5)).await;
        written += 5;
        cluster.start(other).await;
        cluster.agree_on_texts(written).await;
        // It is a member like any other, also when it starts again.
        cluster.kill(victim).await;
        cluster.start(victim).await;
        has_a_vote(&cluster, victim).await;
        cluster.kill(leader).await;
        cluster.write(texts(written..written + 5)).await;
        written += 5;
        cluster.start(leader).await;
        cluster.agree(written).await;

        cluster.kill(victim).await;
        fs::remove_dir_all(cluster.dir(victim)).unwrap();
        fs::rename(old.path().join("old"), cluster.dir(victim)).unwrap();
        cluster.start(victim).await;
        let failure = soon(cluster.replicas[&victim].tasks.failed()).await;
        let another = format!("another order/{victim}");
        assert!(failure.to_string().contains(&another), "{failure}");
        cluster.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_is_replaced_in_turn_while_leaders_die() {
    let mut cluster = Cluster::started([1, 2, 3]).await;
    let mut written = 0;
    for victim in [1, 3, 2, 3] {
        cluster.write(texts(written..written + 20)).await;
        written += 20;
        cluster.kill(victim).await;
        fs::remove_dir_all(cluster.dir(victim)).unwrap();
        removed(&cluster, victim).await;
        let leader = cluster.leader().await;
        cluster.start(victim).await;
        // Whatever step its admission is at: the next leader goes on with it.
        cluster.kill(leader).await;
        cluster.start(leader).await;
        cluster.write(texts(written..written + 20)).await;
        written += 20;
        has_a_vote(&cluster, victim).await;
        cluster.agree(written).await;
    }
    cluster.agree_on_texts(written).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_removed_while_it_runs_comes_back_by_itself() {
    let cluster = Cluster::started([1, 2, 3]).await;
    cluster.write(texts(0..5)).await;
    let leader = cluster.leader().await;
    let removed = if leader == 1 { 2 } else { 1 };
    assert_eq!(remove(&cluster, leader, removed).await, Ok(()));
    cluster.write(texts(5..10)).await;
    cluster.agree(10).await;
    has_a_vote(&cluster, removed).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_nobody_is_removed() {
    let mut cluster = Cluster::started([1, 2, 3]).await;
    cluster.write(texts(0..5)).await;
    cluster.agree(5).await;
    let leader = cluster.leader().await;
    let others: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    for id in &others {
        cluster.kill(*id).await;
    }
    let refused = remove(&cluster, leader, others[0]).await;
    assert!(
        matches!(refused, Err(RemoveError::NotLeader { .. })),
        "{refused:?}"
    );
    // It is still one of the three.
    cluster.start(others[0]).await;
    cluster.write(texts(5..10)).await;
    cluster.start(others[1]).await;
    cluster.agree(10).await;
    cluster.end().await;
}
