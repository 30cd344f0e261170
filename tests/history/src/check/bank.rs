//! For every item, at every index of every replica's log: initial + sold − bought = quantity, never
//! negative, and versions rise by one. What a catalog replica holds is what the trades make of it
//! that it has applied.
//!
//! After Jepsen's bank test (<https://github.com/jepsen-io/jepsen>, `tests/bank`): units of stock for
//! money. It takes time in proportion to orders times replicas.

use std::collections::HashMap;

use bazaar_rpc::{ItemName, Side, TradeSequence, Version};

use crate::verdict::Findings;
use crate::{OrderLog, StockRecord, StockReport, TradeRecord, Verdict};

/// An item as the trades so far make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Account {
    quantity: i128,
    volume: u128,
    version: Version,
}

/// Checks `logs`, and what `stocks` make of them.
#[must_use]
pub fn check(logs: &[OrderLog], stocks: &[StockReport]) -> Verdict {
    let mut findings = Findings::default();
    let opened = opened(stocks, &mut findings);
    for log in logs {
        let trades = log.orders.iter().map(|order| &order.trade);
        replay(&log.source, trades, &opened, &mut findings);
    }
    let longest = logs.iter().max_by_key(|log| log.orders.len());
    let longest = longest.map(|log| log.orders.as_slice()).unwrap_or_default();
    let recorded: HashMap<_, _> = longest
        .iter()
        .map(|order| (order.trade.sequence, &order.trade))
        .collect();
    for stock in stocks {
        check_stock(stock, &recorded, &opened, &mut findings);
    }
    findings.verdict()
}

/// Every item as it was when its shop opened: the replicas must agree about that.
fn opened<'a>(
    stocks: &'a [StockReport],
    findings: &mut Findings,
) -> HashMap<&'a ItemName, Account> {
    let mut opened = HashMap::new();
    for stock in stocks {
        for item in &stock.items {
            let account = Account {
                quantity: item.initial.units().into(),
                volume: 0,
                version: StockRecord::FIRST,
            };
            let first = *opened.entry(&item.item).or_insert(account);
            if first != account {
                let (source, name) = (&stock.source, &item.item);
                let what = || format!("{source}: {name} opened with another stock elsewhere");
                let both = [first.quantity, account.quantity];
                findings.add(what, both.map(|units| format!("{units} units")));
            }
        }
    }
    opened
}

/// Makes `trades` from what was `opened`, and returns what they make of every item.
fn replay<'a>(
    source: &str,
    trades: impl IntoIterator<Item = &'a TradeRecord>,
    opened: &HashMap<&'a ItemName, Account>,
    findings: &mut Findings,
) -> HashMap<&'a ItemName, Account> {
    let mut accounts = opened.clone();
    for trade in trades {
        let evidence = || [format!("{source}: {trade}")];
        let Some(account) = accounts.get_mut(&trade.item) else {
            let what = || format!("{source}: a trade of an item that no catalog replica has");
            findings.add(what, evidence());
            continue;
        };
        let due = account.version.next();
        if trade.version != due {
            let what = || format!("{source}: version {due} is due, and the next one is another");
            findings.add(what, evidence());
        }
        account.version = trade.version;
        account.volume += u128::from(trade.quantity.units());
        let units = i128::from(trade.quantity.units());
        let before = account.quantity;
        account.quantity += match trade.side {
            Side::Buy => -units,
            Side::Sell => units,
        };
        if account.quantity < 0 && trade.side == Side::Buy {
            let what = || format!("{source}: oversold: {before} units were in stock");
            findings.add(what, evidence());
        }
    }
    accounts
}

fn check_stock(
    stock: &StockReport,
    recorded: &HashMap<TradeSequence, &TradeRecord>,
    opened: &HashMap<&ItemName, Account>,
    findings: &mut Findings,
) {
    let source = &stock.source;
    let outbox: HashMap<_, _> = stock
        .outbox
        .iter()
        .map(|trade| (trade.sequence, trade))
        .collect();
    let mut trades = Vec::new();
    for sequence in (0..stock.applied.0).map(TradeSequence) {
        match (outbox.get(&sequence), recorded.get(&sequence)) {
            (Some(made), Some(recorded)) if made != recorded => {
                let what = || format!("{source} made a trade that is recorded as another");
                findings.add(
                    what,
                    [format!("made: {made}"), format!("recorded: {recorded}")],
                );
                return;
            }
            (_, Some(trade)) | (Some(trade), None) => trades.push(*trade),
            (None, None) => {
                let what = || {
                    format!(
                        "{source} made trade {sequence}, no longer has it in its outbox, and no log \
                         has it"
                    )
                };
                findings.add(what, [format!("{source} applied up to {}", stock.applied)]);
                return;
            }
        }
    }
    // What is wrong with the trades themselves is found in the logs.
    let accounts = replay(source, trades, opened, &mut Findings::default());
    for item in &stock.items {
        let account = accounts[&item.item];
        let actual = Account {
            quantity: item.quantity.units().into(),
            volume: item.volume.into(),
            version: item.version,
        };
        if actual != account {
            let (name, applied) = (&item.item, stock.applied);
            let what = || format!("{source}: the trades before {applied} do not make its {name}");
            let show = |account: Account| {
                let Account {
                    quantity,
                    volume,
                    version,
                } = account;
                format!("{quantity} units, volume {volume}, version {version}")
            };
            let trades = format!("the trades make it {}", show(account));
            findings.add(what, [format!("{source} has {}", show(actual)), trades]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{finding, log, order, stock, units};

    #[test]
    fn replicas_at_several_positions_of_one_log_are_as_it_should_be() {
        let logs = [log(1, (0..5).map(order)), log(2, (0..5).map(order))];
        let mut ahead = stock(3, 6);
        ahead.outbox = vec![order(4).trade, order(5).trade];
        assert_eq!(
            check(&logs, &[stock(1, 5), stock(2, 2), ahead]),
            Verdict::Ok
        );
    }

    #[test]
    fn an_oversold_item_is_found_where_it_is_oversold() {
        let mut orders: Vec<_> = (0..3).map(order).collect();
        orders[1].trade.quantity = units(100);
        let found = finding(check(&[log(2, orders)], &[stock(1, 0)]));
        assert!(
            found.contains("order/2: oversold: 99 units were in stock"),
            "{found}"
        );
        assert!(found.contains("trade 1:"), "{found}");
    }

    #[test]
    fn a_version_that_does_not_follow_is_found() {
        let mut orders: Vec<_> = (0..3).map(order).collect();
        orders[1].trade.version = Version(7);
        let found = finding(check(&[log(1, orders)], &[stock(1, 0)]));
        assert!(found.contains("version 3 is due"), "{found}");
    }

    #[test]
    fn a_stock_that_its_trades_do_not_make_is_found() {
        let logs = [log(1, (0..5).map(order))];
        let changes: [fn(&mut StockRecord); 3] = [
            |item| item.quantity = units(96),
            |item| item.volume = 6,
            |item| item.version = Version(7),
        ];
        for change in changes {
            let mut wrong = stock(1, 5);
            change(&mut wrong.items[0]);
            let found = finding(check(&logs, &[wrong]));
            assert!(found.contains("do not make its GameStart"), "{found}");
        }
    }

    #[test]
    fn a_trade_that_the_catalog_made_and_nobody_has_is_found() {
        let logs = [log(1, (0..5).map(order))];
        let found = finding(check(&logs, &[stock(1, 6)]));
        assert!(found.contains("made trade 5"), "{found}");
    }

    #[test]
    fn a_trade_that_is_recorded_as_another_is_found() {
        let mut ahead = stock(1, 5);
        let mut other = order(4).trade;
        other.quantity = units(2);
        ahead.outbox = vec![other];
        let found = finding(check(&[log(1, (0..5).map(order))], &[ahead]));
        assert!(found.contains("recorded as another"), "{found}");
    }

    #[test]
    fn replicas_that_opened_with_other_stock_are_found() {
        let mut other = stock(2, 0);
        other.items[0].initial = units(99);
        other.items[0].quantity = units(99);
        let found = finding(check(&[], &[stock(1, 0), other]));
        assert!(found.contains("opened with another stock"), "{found}");
    }
}
