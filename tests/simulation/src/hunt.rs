//! Plants bugs, one at a time, and looks how long they stay unnoticed.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bazaar_daemon::planted::Bug;
use serde::Serialize;

use crate::children::{Run, each};
use crate::cli::Planted;
use crate::clock;
use crate::faults::Profile;
use crate::runner::{print, table};

/// How a bug was caught.
#[derive(Clone, Debug, Serialize)]
struct Hunt {
    bug: String,
    story: String,
    profile: String,
    /// None where it was not caught.
    catch: Option<Catch>,
    /// The seeds that were tried.
    seeds: u64,
    /// The time that was simulated, and the time that it took.
    simulated: Duration,
    wall: Duration,
    /// What the same seeds say without the bug, where they do not say that all is well.
    without: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Catch {
    seed: u64,
    checks: Vec<String>,
    evidence: String,
    replay: String,
}

/// The faults under which a bug shows.
fn profile(bug: Bug) -> Profile {
    match bug {
        Bug::AcknowledgeBeforeFsync | Bug::SnapshotRenamedWithoutFsync => Profile::Power,
        Bug::NoRequestCheck
        | Bug::EditsForgotten
        | Bug::OutboxForgottenTooEarly
        | Bug::OutboxNotRecovered => Profile::Kill,
        Bug::SnapshotWithoutRequestIds => Profile::CatchUp,
        Bug::FillAfterInvalidation
        | Bug::LeaseCountedFromReceipt
        | Bug::LookupOfUnsettled
        | Bug::AmendmentsAtOnce
        | Bug::AcknowledgeBeforeInvalidation => Profile::Slow,
        Bug::ReadByDeposedLeader | Bug::LeaseByDeposedLeader | Bug::NoWaitForUnknownLeases => {
            Profile::Lease
        }
        Bug::WallClockLease => Profile::Clock,
        Bug::NoFencing => Profile::Depose,
        Bug::CacheOutlivesLease => Profile::Partition,
        Bug::UnknownToldAsRefused => Profile::Outage,
        Bug::EmptyDiskKeepsItsVote => Profile::Replace,
    }
}

/// Hunts the bugs, and prints what caught which.
///
/// # Errors
/// When one was not caught, or when something was caught where nothing is planted.
pub(crate) fn run(planted: &Planted) -> anyhow::Result<()> {
    let bugs = match planted.bug {
        Some(bug) => vec![bug],
        None => Bug::all().to_vec(),
    };
    let mut hunts = Vec::new();
    each(
        bugs,
        planted.jobs,
        |bug| hunt(bug, planted),
        |hunt| {
            let outcome = match &hunt.catch {
                Some(catch) => format!("caught by {}", catch.checks.join(", ")),
                None => "NOT CAUGHT".into(),
            };
            eprintln!("{}: {outcome} after {} seeds", hunt.bug, hunt.seeds);
            hunts.push(hunt);
        },
    );
    let place = |hunt: &Hunt| {
        Bug::all()
            .iter()
            .position(|bug| bug.to_string() == hunt.bug)
    };
    hunts.sort_by_key(place);
    if let Some(path) = &planted.json {
        let json = serde_json::to_vec_pretty(&hunts).context("hunts are plain data")?;
        fs::write(path, json).with_context(|| path.display().to_string())?;
    }
    print(&render(&hunts));
    let missed: Vec<_> = hunts.iter().filter(|hunt| hunt.catch.is_none()).collect();
    let missed: Vec<_> = missed.iter().map(|hunt| hunt.bug.as_str()).collect();
    ensure!(missed.is_empty(), "not caught: {}", missed.join(", "));
    let suspect: Vec<_> = hunts
        .iter()
        .flat_map(|hunt| &hunt.without)
        .cloned()
        .collect();
    ensure!(suspect.is_empty(), "without a bug: {}", suspect.join("; "));
    Ok(())
}

fn hunt(bug: Bug, planted: &Planted) -> Hunt {
    let begun = clock::wall();
    let mut hunt = Hunt {
        bug: bug.to_string(),
        story: bug.story(),
        profile: profile(bug).to_string(),
        catch: None,
        seeds: 0,
        simulated: Duration::ZERO,
        wall: Duration::ZERO,
        without: Vec::new(),
    };
    for seed in 0..planted.seeds {
        let run = Run {
            seed,
            profile: profile(bug),
            bug: Some(bug),
            duration: planted.duration,
        };
        let report = run.perform();
        hunt.seeds += 1;
        hunt.simulated += report.simulated;
        let checks: Vec<_> = report.violations().map(String::from).collect();
        if let Some(first) = checks.first() {
            let evidence = format!("{:?}", report.checks[first]);
            hunt.catch = Some(Catch {
                seed,
                checks,
                evidence,
                replay: run.command(),
            });
            break;
        }
    }
    hunt.wall = clock::wall() - begun;
    // The check speaks of the bug only if it has nothing to say without it.
    let run = Run {
        seed: hunt.catch.as_ref().map_or(0, |catch| catch.seed),
        profile: profile(bug),
        bug: None,
        duration: planted.duration,
    };
    let report = run.perform();
    let suspects = report.violations().chain(report.unknown());
    hunt.without = suspects
        .map(|check| format!("{check} ({})", run.command()))
        .collect();
    hunt
}

fn render(hunts: &[Hunt]) -> String {
    let mut rows = table(&[
        "bug",
        "story",
        "caught by",
        "faults",
        "seed",
        "seeds tried",
        "simulated",
        "wall",
        "the same seed without it",
    ]);
    for hunt in hunts {
        let (caught, seed) = match &hunt.catch {
            Some(catch) => (catch.checks.join(", "), catch.seed.to_string()),
            None => ("NOT CAUGHT".into(), String::new()),
        };
        let without = if hunt.without.is_empty() {
            "clean".into()
        } else {
            hunt.without.join(", ")
        };
        rows.add_row([
            hunt.bug.clone(),
            hunt.story.clone(),
            caught,
            hunt.profile.clone(),
            seed,
            hunt.seeds.to_string(),
            format!("{:.0} s", hunt.simulated.as_secs_f64()),
            format!("{:.1} s", hunt.wall.as_secs_f64()),
            without,
        ]);
    }
    rows.to_string()
}
