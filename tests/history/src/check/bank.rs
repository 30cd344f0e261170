//! For every item, at every index of every replica's log: initial + restocked − written off + sold −
//! bought = quantity, never negative, and versions rise by one. What a catalog replica holds is what
//! the trades and edits make of it that it has applied.
//!
//! Edits are in no order log: they show as versions that are missing between two trades. The newest
//! report says how many there were of each item and what they added and took away in all, so before
//! the first and after the last of them the quantity is known exactly, and in between at most.
//!
//! After Jepsen's bank test (<https://github.com/jepsen-io/jepsen>, `tests/bank`): units of stock for
//! money. It takes time in proportion to orders times replicas.

mod restocks;

use std::cmp::Ordering;
use std::collections::HashMap;

use bazaar_rpc::{ItemNumber, Side, TradeSequence, Version};

use crate::verdict::Findings;
use crate::{Operation, OrderLog, StockRecord, StockReport, TradeRecord, Verdict};

/// An item as it began, and what is known of its edits.
#[derive(Clone, Copy, Debug)]
struct Item<'a> {
    /// As the newest report has it.
    record: &'a StockRecord,
    /// That report has everything that happened to the item before this trade.
    reported: TradeSequence,
}

/// What the trades of an item so far come to.
#[derive(Clone, Copy, Debug)]
struct Account {
    /// The units that they added to the stock, less those that they took.
    traded: i128,
    volume: u128,
    trades: u64,
    /// The version that the last one made.
    version: Version,
    /// The versions that were missing before it.
    edits: u64,
}

impl Account {
    const OPENED: Self = Self {
        traded: 0,
        volume: 0,
        trades: 0,
        version: StockRecord::FIRST,
        edits: 0,
    };
}

impl Item<'_> {
    /// The most units that can have been in stock after the trades and edits of `account`; none
    /// where there were more edits than the report knows of.
    fn most(&self, account: &Account) -> Option<i128> {
        let added = match account.edits.cmp(&self.record.edits) {
            _ if account.edits == 0 => 0,
            Ordering::Less => i128::from(self.record.restocked),
            Ordering::Equal => edited(self.record),
            Ordering::Greater => return None,
        };
        Some(i128::from(self.record.initial.units()) + added + account.traded)
    }
}

/// The units that edits added to the stock, less those that they took.
fn edited(record: &StockRecord) -> i128 {
    i128::from(record.restocked) - i128::from(record.written_off)
}

type Items<'a> = HashMap<ItemNumber, Item<'a>>;

/// Checks `logs`, and what `stocks` make of them and of the restocks in `operations`. Where
/// `is_complete`, nobody else has restocked those items.
#[must_use]
pub fn check(
    operations: &[Operation],
    logs: &[OrderLog],
    stocks: &[StockReport],
    is_complete: bool,
) -> Verdict {
    let mut findings = Findings::default();
    let items = items(stocks, &mut findings);
    for log in logs {
        let trades = log.orders.iter().map(|order| &order.trade);
        replay(&log.source, trades, &items, &mut findings);
    }
    let longest = logs.iter().max_by_key(|log| log.orders.len());
    let longest = longest.map(|log| log.orders.as_slice()).unwrap_or_default();
    let recorded: HashMap<_, _> = longest
        .iter()
        .map(|order| (order.trade.sequence, &order.trade))
        .collect();
    for stock in stocks {
        check_stock(stock, &recorded, &items, &mut findings);
    }
    restocks::check(operations, stocks, is_complete, &mut findings);
    findings.verdict()
}

/// Every item, as the newest report has it. The reports must agree about how it began.
fn items<'a>(stocks: &'a [StockReport], findings: &mut Findings) -> Items<'a> {
    let mut items = Items::new();
    let mut newest_first: Vec<_> = stocks.iter().collect();
    newest_first.sort_by_key(|stock| std::cmp::Reverse((stock.applied, stock.edits)));
    for stock in newest_first {
        for record in &stock.items {
            let item = Item {
                record,
                reported: stock.applied,
            };
            let known = items.entry(record.number).or_insert(item).record;
            if known.initial != record.initial {
                let (source, name) = (&stock.source, &record.item);
                let what = || format!("{source}: {name} opened with another stock elsewhere");
                let both = [known.initial, record.initial];
                findings.add(what, both.map(|units| format!("{units} units")));
            }
        }
    }
    items
}

/// Makes `trades` of `items` as they began, and returns what they come to for each.
fn replay<'a>(
    source: &str,
    trades: impl IntoIterator<Item = &'a TradeRecord>,
    items: &Items<'_>,
    findings: &mut Findings,
) -> HashMap<ItemNumber, Account> {
    let mut accounts = HashMap::new();
    for trade in trades {
        let evidence = || [format!("{source}: {trade}")];
        let Some(item) = items.get(&trade.item_number) else {
            let what = || format!("{source}: a trade of an item that no catalog replica has");
            findings.add(what, evidence());
            continue;
        };
        let account = accounts.entry(trade.item_number).or_insert(Account::OPENED);
        let due = account.version.next();
        account.edits += trade.version.0.saturating_sub(due.0);
        let is_reported = trade.sequence < item.reported;
        if trade.version < due || account.edits > item.record.edits && is_reported {
            let what = || format!("{source}: version {due} is due, and the next one is another");
            findings.add(what, evidence());
        }
        let before = item.most(account);
        let units = i128::from(trade.quantity.units());
        account.version = trade.version;
        account.trades += 1;
        account.volume += u128::from(trade.quantity.units());
        account.traded += match trade.side {
            Side::Buy => -units,
            Side::Sell => units,
        };
        if let Some(before) = before.filter(|before| *before < units && trade.side == Side::Buy) {
            let what = || format!("{source}: oversold: {before} units were in stock");
            findings.add(what, evidence());
        }
    }
    accounts
}

fn check_stock(
    stock: &StockReport,
    recorded: &HashMap<TradeSequence, &TradeRecord>,
    items: &Items<'_>,
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
    let accounts = replay(source, trades, items, &mut Findings::default());
    for item in &stock.items {
        let account = accounts.get(&item.number).unwrap_or(&Account::OPENED);
        let made = (
            i128::from(item.initial.units()) + edited(item) + account.traded,
            account.volume,
            StockRecord::FIRST.0 + account.trades + item.edits,
        );
        let actual = (
            i128::from(item.quantity.units()),
            u128::from(item.volume),
            item.version.0,
        );
        if actual != made || item.version < account.version {
            let (name, applied) = (&item.item, stock.applied);
            let what = || format!("{source}: the trades before {applied} do not make its {name}");
            let show = |(quantity, volume, version): (i128, u128, u64)| {
                format!("{quantity} units, volume {volume}, version {version}")
            };
            let edits = item.edits;
            let trades = format!("the trades and {edits} edits make it {}", show(made));
            findings.add(what, [format!("{source} has {}", show(actual)), trades]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{finding, log, order, stock, units};

    fn check(logs: &[OrderLog], stocks: &[StockReport]) -> Verdict {
        super::check(&[], logs, stocks, false)
    }

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
        let found = finding(check(&[log(1, orders)], &[stock(1, 3)]));
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

    /// A replica of which so many of 100 units were bought, one by one, and whose item was edited in
    /// between.
    fn edited_stock(bought: u64, edits: u64, restocked: u64, written_off: u64) -> StockReport {
        let mut edited = stock(1, bought);
        let item = &mut edited.items[0];
        (item.edits, item.restocked, item.written_off) = (edits, restocked, written_off);
        item.quantity = units(100 + restocked - written_off - bought);
        item.version = Version(item.version.0 + edits);
        edited.edits += edits;
        edited
    }

    /// Purchases of so many units each, which made these versions.
    fn purchases(purchases: &[(u64, u64)]) -> OrderLog {
        let mut orders = Vec::new();
        for (number, (quantity, version)) in (0..).zip(purchases) {
            let mut order = order(number);
            order.trade.quantity = units(*quantity);
            order.trade.version = Version(*version);
            orders.push(order);
        }
        log(1, orders)
    }

    #[test]
    fn edits_take_versions_and_change_the_stock() {
        // Edits made versions 3, 5 and 6, and the last one, 8, after all trades.
        let logs = [purchases(&[(1, 2), (1, 4), (1, 7)])];
        let stocks = [edited_stock(3, 4, 50, 20), edited_stock(2, 2, 5, 0)];
        assert_eq!(check(&logs, &stocks), Verdict::Ok);
        let changes: [fn(&mut StockRecord); 3] = [
            |item| item.restocked += 1,
            |item| item.edits -= 1,
            |item| item.version = Version(7),
        ];
        for change in changes {
            let mut wrong = edited_stock(3, 4, 50, 20);
            change(&mut wrong.items[0]);
            let found = finding(check(&logs, &[wrong]));
            assert!(found.contains("do not make its GameStart"), "{found}");
        }
    }

    #[test]
    fn more_versions_are_missing_than_there_were_edits() {
        let logs = [purchases(&[(1, 2), (1, 5)])];
        let mut stock = edited_stock(2, 1, 50, 0);
        let found = finding(check(&logs, std::slice::from_ref(&stock)));
        assert!(found.contains("version 3 is due"), "{found}");
        // Of what came later than the report, it does not tell.
        stock = edited_stock(1, 0, 0, 0);
        assert_eq!(check(&logs, &[stock]), Verdict::Ok);
    }

    #[test]
    fn an_item_is_oversold_that_was_restocked_too_late_or_too_little() {
        let oversold = |purchases_made: &[(u64, u64)], stock: StockReport| {
            let mut stock = stock;
            let bought: u64 = purchases_made.iter().map(|(units, _)| units).sum();
            stock.items[0].volume = bought;
            stock.applied = TradeSequence(purchases_made.len() as u64);
            finding(check(&[purchases(purchases_made)], &[stock]))
        };
        // Restocked after both: version 4.
        let found = oversold(&[(60, 2), (60, 3)], edited_stock(0, 1, 20, 0));
        assert!(found.contains("oversold: 40 units"), "{found}");
        // Between, by 10.
        let found = oversold(&[(60, 2), (60, 4)], edited_stock(0, 1, 10, 0));
        assert!(found.contains("oversold: 50 units"), "{found}");
        // By 10 and 10, one of them later.
        let found = oversold(&[(60, 2), (65, 4)], edited_stock(0, 2, 20, 0));
        assert!(found.contains("oversold: 60 units"), "{found}");
    }
}
