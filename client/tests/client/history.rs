//! The history of a run tells the checkers what happened in it.

use std::time::Duration;

use bazaar_client::{Config, Probability, run};
use bazaar_history::suite::{self, Options};
use bazaar_history::{Call, Evidence, Outcome, Verdict};

use crate::bazaar::{Bazaar, Fault};

/// What a short load on a bazaar with `fault` records.
async fn history(fault: Fault) -> Evidence {
    let dir = tempfile::tempdir().unwrap();
    let bazaar = Bazaar::start(fault).await;
    let history = dir.path().join("history.ndjson");
    run(Config {
        urls: vec![bazaar.url.clone()],
        connections: 4,
        requests: Some(400),
        seed: Some(1),
        trade_probability: Probability::new(0.5).unwrap(),
        query_probability: Probability::new(0.5).unwrap(),
        log: Some(dir.path().join("orders.ndjson")),
        history: Some(history.clone()),
        timeout: Duration::from_secs(5),
        retry_for: Duration::from_secs(5),
        ..Config::default()
    })
    .await
    .unwrap();
    Evidence::read(&[history]).unwrap()
}

/// The checkers that say that something is wrong.
fn complaints(evidence: &Evidence) -> Vec<&'static str> {
    let report = suite::check(evidence, &Options::default());
    let verdicts = report.verdicts().filter(|(_, verdict)| !verdict.is_ok());
    let complaints = verdicts.map(|(check, verdict)| {
        assert!(matches!(verdict, Verdict::Violation(_)), "{verdict:?}");
        check
    });
    complaints.collect()
}

#[tokio::test]
async fn every_request_to_a_correct_bazaar_is_recorded_and_nothing_is_found() {
    let evidence = history(Fault::None).await;
    assert_eq!(complaints(&evidence), [""; 0]);
    let of = |sort: fn(&Call) -> bool| {
        let operations = evidence.operations.iter();
        operations.filter(|operation| sort(&operation.call)).count()
    };
    let trades = of(|call| matches!(call, Call::Trade { .. }));
    let queries = of(|call| matches!(call, Call::Query { .. }));
    let lookups = of(|call| matches!(call, Call::Lookup { .. }));
    // Beside the 400 requests of the load: the first lookups, and the trades that are sent again.
    assert!(
        trades + queries + lookups > 400 && trades > 50 && queries > 20,
        "{trades} {queries}"
    );
    let known = |outcome: &Outcome| matches!(outcome, Outcome::Ok { .. } | Outcome::Refused { .. });
    assert!(
        evidence
            .operations
            .iter()
            .all(|operation| known(&operation.outcome))
    );
}

#[tokio::test]
async fn lookups_of_the_past_are_found() {
    let evidence = history(Fault::OldLookups).await;
    assert_eq!(complaints(&evidence), ["freshness", "linearizability"]);
}

#[tokio::test]
async fn a_number_that_is_given_twice_is_found() {
    let evidence = history(Fault::SharedNumber).await;
    assert!(complaints(&evidence).contains(&"idempotency"));
}

#[tokio::test]
async fn a_unit_that_is_lost_is_found() {
    let evidence = history(Fault::Leak).await;
    assert_eq!(complaints(&evidence), ["linearizability"]);
}

#[tokio::test]
async fn a_trade_without_an_answer_is_one_operation_with_its_repetition() {
    let evidence = history(Fault::ResetAfterTrade).await;
    assert_eq!(complaints(&evidence), [""; 0]);
}

#[tokio::test]
async fn a_history_that_is_there_already_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let bazaar = Bazaar::start(Fault::None).await;
    let history = dir.path().join("history.ndjson");
    std::fs::write(&history, "precious").unwrap();
    let config = Config {
        urls: vec![bazaar.url.clone()],
        history: Some(history.clone()),
        ..Config::default()
    };
    let error = format!("{:#}", run(config).await.unwrap_err());
    assert!(error.starts_with("cannot create the history"), "{error}");
    assert_eq!(std::fs::read_to_string(&history).unwrap(), "precious");
}
