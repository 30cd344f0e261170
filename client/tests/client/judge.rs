//! What the judge must find, each planted once, and what it must not find in a correct bazaar.

use std::time::Duration;

use bazaar_client::{
    Acknowledged, Config, Doubled, Kind, Load, Probability, Rate, Report, Slo, run,
};
use tempfile::TempDir;

use crate::bazaar::{Bazaar, Fault};

/// A short load on `bazaar`, its log in `dir`.
fn config(bazaar: &Bazaar, dir: &TempDir) -> Config {
    Config {
        urls: vec![bazaar.url.clone()],
        connections: 4,
        requests: Some(400),
        seed: Some(1),
        trade_probability: Probability::new(0.5).unwrap(),
        log: Some(dir.path().join("orders.ndjson")),
        timeout: Duration::from_secs(5),
        retry_for: Duration::from_secs(5),
        exclusive: true,
        ..Config::default()
    }
}

/// What a short load on a bazaar with `fault` reports.
async fn report(fault: Fault) -> Report {
    let dir = tempfile::tempdir().unwrap();
    let bazaar = Bazaar::start(fault).await;
    let report = run(config(&bazaar, &dir)).await.unwrap();
    // Nothing but the fault is found.
    assert_eq!(
        report.failures().is_empty(),
        fault == Fault::None,
        "{report}"
    );
    report
}

#[tokio::test]
async fn all_orders_of_a_correct_bazaar_match() {
    let dir = tempfile::tempdir().unwrap();
    let bazaar = Bazaar::start(Fault::None).await;
    let config = Config {
        // So many that they take several pages to read back.
        requests: Some(5000),
        ..config(&bazaar, &dir)
    };
    let report = run(config).await.unwrap();
    assert_eq!(report.failures(), [""; 0], "{report}");
    let orders = report.totals.answered(Kind::Trade);
    assert!(orders > 1200, "{report}");
    assert_eq!(bazaar.orders(), orders);
    assert_eq!(report.judgement.acknowledged, orders);
    assert_eq!(
        report.judgement.read_back.as_ref().unwrap().matching,
        orders
    );
    assert_eq!(report.judgement.read_back.as_ref().unwrap().repeated, 4);
    assert_eq!(report.totals.answered.values().sum::<u64>(), 5000);
    assert_eq!(
        Acknowledged::read(&report.log).unwrap().count() as u64,
        orders
    );
    assert!(
        report
            .to_string()
            .contains(&format!("{orders} of {orders} acknowledged orders match"))
    );
    // One connection for each session, one to find the items by and one to look at the stock by.
    assert_eq!(bazaar.connections(), 6);

    let json = serde_json::to_string(&report).unwrap();
    let read: Report = serde_json::from_str(&json).unwrap();
    assert_eq!(read.totals, report.totals);
    assert_eq!(read.judgement, report.judgement);
}

#[tokio::test]
async fn a_lost_order_is_found() {
    let report = report(Fault::LoseOrder).await;
    let read_back = report.judgement.read_back.unwrap();
    assert_eq!((read_back.lost, read_back.wrong), (1, 0));
    assert_eq!(read_back.differences[0].found, None);
}

#[tokio::test]
async fn a_wrong_quantity_is_found() {
    let report = report(Fault::WrongQuantity).await;
    let read_back = report.judgement.read_back.unwrap();
    assert_eq!((read_back.lost, read_back.wrong), (0, 1));
    let difference = &read_back.differences[0];
    let found = difference.found.as_ref().unwrap();
    assert_eq!(
        found.quantity.units(),
        difference.acknowledged.quantity.units() + 1
    );
}

#[tokio::test]
async fn a_number_given_to_two_orders_is_found() {
    let report = report(Fault::SharedNumber).await;
    let doubled = &report.judgement.doubled_samples;
    assert!(
        doubled
            .iter()
            .any(|doubled| matches!(doubled, Doubled::SharedNumber { .. }))
    );
}

#[tokio::test]
async fn an_order_made_again_when_it_is_sent_again_is_found() {
    let report = report(Fault::ForgetKeys).await;
    let doubled = &report.judgement.doubled_samples;
    assert!(
        doubled
            .iter()
            .any(|doubled| matches!(doubled, Doubled::TwoNumbers { .. }))
    );
}

#[tokio::test]
async fn an_order_that_nobody_asked_for_is_found() {
    let report = report(Fault::StrayOrder).await;
    assert!(
        matches!(
            report.judgement.doubled_samples[..],
            [Doubled::Stray { .. }]
        ),
        "{report}"
    );
}

#[tokio::test]
async fn a_number_left_out_is_found() {
    let report = report(Fault::Hole).await;
    assert_eq!(report.judgement.read_back.unwrap().holes, 1);
}

#[tokio::test]
async fn stock_that_its_orders_do_not_explain_is_found() {
    let report = report(Fault::Leak).await;
    let unbalanced = report.judgement.read_back.unwrap().unbalanced;
    assert_eq!(unbalanced.len(), 1);
    assert_eq!(unbalanced[0].expected, i128::from(unbalanced[0].found) + 1);
}

#[tokio::test]
async fn a_lookup_that_shows_the_past_is_found() {
    let report = report(Fault::OldLookups).await;
    assert!(report.judgement.stale > 0);
    let stale = &report.judgement.stale_samples[0];
    assert_eq!(stale.kind, Kind::Lookup);
    assert!(stale.shown < stale.seen);
}

#[tokio::test]
async fn an_acknowledgement_without_the_version_is_found() {
    let report = report(Fault::NoVersion).await;
    assert_eq!(
        report.judgement.unversioned,
        report.totals.answered(Kind::Trade)
    );
}

#[tokio::test]
async fn a_trade_whose_connection_is_reset_is_sent_again_under_its_key_and_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let bazaar = Bazaar::start(Fault::ResetAfterTrade).await;
    let report = run(config(&bazaar, &dir)).await.unwrap();
    assert_eq!(report.failures(), [""; 0], "{report}");
    assert_eq!(report.totals.retries, 1);
    assert_eq!(report.totals.replayed, 1);
    assert_eq!(bazaar.orders(), report.judgement.acknowledged);
}

#[tokio::test]
async fn a_refusal_after_an_attempt_that_may_have_been_made_is_not_taken_for_the_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let bazaar = Bazaar::start(Fault::RefuseAfterTrade).await;
    let report = run(config(&bazaar, &dir)).await.unwrap();
    assert_eq!(report.failures(), [""; 0], "{report}");
    assert_eq!(report.totals.undecided, 1);
    assert_eq!(report.judgement.undecided.recorded, 1);
    assert_eq!(bazaar.orders(), report.judgement.acknowledged);
}

#[tokio::test]
async fn a_refused_trade_is_neither_an_order_nor_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let bazaar = Bazaar::with_stock(Fault::None, 0).await;
    let report = run(config(&bazaar, &dir)).await.unwrap();
    assert_eq!(report.failures(), [""; 0], "{report}");
    assert!(report.totals.answered(Kind::Refusal) > 0);
    assert_eq!(report.totals.failed(), 0);
    assert_eq!(bazaar.orders(), report.totals.answered(Kind::Trade));
}

#[tokio::test]
async fn a_missed_service_level_is_a_failure_and_a_met_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let bazaar = Bazaar::start(Fault::None).await;
    let slo = |text: &str| text.parse::<Slo>().unwrap();
    let config = Config {
        slo: vec![
            slo("p99<60s"),
            slo("errors<=0%"),
            slo("trade.p50<1us"),
            slo("order_query.max<1s"),
        ],
        ..config(&bazaar, &dir)
    };
    let report = run(config).await.unwrap();
    let met: Vec<_> = report.slo.iter().map(|result| result.met).collect();
    assert_eq!(met, [true, true, false, false]);
    assert_eq!(report.slo[3].measured, None);
    assert_eq!(report.failures().len(), 2, "{report}");
}

#[tokio::test]
async fn in_an_open_loop_a_stall_counts_against_every_request_that_it_held_up() {
    const STALL: Duration = Duration::from_millis(400);
    let p90 = async |rate: Option<Rate>| {
        let dir = tempfile::tempdir().unwrap();
        let bazaar = Bazaar::start(Fault::Stall(STALL)).await;
        let config = Config {
            rate,
            requests: Some(500),
            ..config(&bazaar, &dir)
        };
        let report = run(config).await.unwrap();
        assert_eq!(report.failures(), [""; 0], "{report}");
        Duration::from_micros(report.latency[&Kind::Lookup].p90_us)
    };
    // 400 of the 500 requests fall due while nothing is answered. A closed loop sends four.
    assert!(p90(Some(Rate::new(1000.0).unwrap())).await > STALL / 2);
    assert!(p90(None).await < STALL / 2);
}

#[tokio::test]
async fn sessions_move_on_when_their_frontend_is_down() {
    let dir = tempfile::tempdir().unwrap();
    let bazaar = Bazaar::start(Fault::None).await;
    let gone = Bazaar::start(Fault::None).await.url.clone();
    let config = Config {
        urls: vec![gone, bazaar.url.clone()],
        ..config(&bazaar, &dir)
    };
    let report = run(config).await.unwrap();
    assert_eq!(report.failures(), [""; 0], "{report}");
    assert_eq!(report.totals.failed(), 0);
    // Never sent is not unknown.
    assert_eq!(report.totals.undecided, 0);
}

#[tokio::test]
async fn a_bazaar_that_is_down_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let bazaar = Bazaar::start(Fault::None).await;
    let mut config = config(&bazaar, &dir);
    config.retry_for = Duration::from_millis(50);
    drop(bazaar);
    let error = format!("{:#}", run(config).await.unwrap_err());
    assert!(
        error.contains("cannot connect to http://127.0.0.1:"),
        "{error}"
    );
}

#[tokio::test]
async fn a_load_is_watched_and_stopped_by_its_handle() {
    let dir = tempfile::tempdir().unwrap();
    let bazaar = Bazaar::start(Fault::None).await;
    let config = Config {
        requests: None,
        duration: Duration::from_secs(3600),
        query_probability: Probability::new(1.0).unwrap(),
        ..config(&bazaar, &dir)
    };
    let load = Load::start(config).await.unwrap();
    let handle = load.handle();
    let within = Duration::from_secs(20);
    let enough = handle.until(
        |progress| progress.totals.answered(Kind::Trade) >= 30,
        within,
    );
    let progress = enough.await.unwrap();
    handle.stop();
    let report = load.ended().await.unwrap().judge().await.unwrap();
    assert_eq!(report.failures(), [""; 0], "{report}");
    assert!(report.judgement.acknowledged >= progress.totals.answered(Kind::Trade));
    assert!(report.totals.answered(Kind::OrderQuery) > 0);
    assert!(report.longest_gap.is_some());
}

#[tokio::test]
async fn an_unverified_run_reads_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let bazaar = Bazaar::start(Fault::LoseOrder).await;
    let config = Config {
        no_verify: true,
        exclusive: false,
        ..config(&bazaar, &dir)
    };
    let report = run(config).await.unwrap();
    assert_eq!(report.judgement.read_back, None);
    assert_eq!(report.failures(), [""; 0], "{report}");
}

#[tokio::test]
async fn a_sweep_draws_ten_points_of_each_figure() {
    let dir = tempfile::tempdir().unwrap();
    let bazaar = Bazaar::start(Fault::None).await;
    let config = Config {
        requests: Some(100),
        ..config(&bazaar, &dir)
    };
    let sweep = bazaar_client::sweep(&config, config.urls.clone(), vec![])
        .await
        .unwrap();
    assert_eq!(sweep.failures, [""; 0], "{sweep}");
    assert_eq!(sweep.points.len(), 10);
    // Trades at four of five probabilities, lookups at all, twice, as mean and as percentile.
    assert_eq!(sweep.svg().matches("<circle").count(), 2 * 2 * (4 + 5));
}
