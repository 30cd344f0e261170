//! An audit of an order log: that it has no gap, books nothing twice, and never sells what is not
//! there.

use std::collections::{BTreeMap, HashSet};

use bazaar_rpc::{Item, ItemNumber, Order, OrderNumber, RequestId, Side};

/// An audit under way.
#[derive(Debug)]
pub(crate) struct Audit {
    /// The units of each item in stock after the orders read so far.
    stock: BTreeMap<ItemNumber, i128>,
    requests: HashSet<RequestId>,
    next: OrderNumber,
    findings: Findings,
}

/// What an audit found. All but the number of orders should be zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// The orders in the log.
    pub(crate) orders: u64,
    /// Orders without the number that follows the one before.
    pub(crate) misnumbered: u64,
    /// Orders of a request that had an order before.
    pub(crate) doubled: u64,
    /// Orders for more than was in stock.
    pub(crate) oversold: u64,
    /// Items whose stock at the end is not what the orders made of their stock at the beginning.
    pub(crate) unbalanced: u64,
}

impl Audit {
    /// Begins with the stock of `items`.
    pub(crate) fn new(items: &[Item]) -> Self {
        Self {
            stock: items.iter().map(units).collect(),
            requests: HashSet::new(),
            next: OrderNumber(0),
            findings: Findings::default(),
        }
    }

    /// Reads on, in the log's order.
    pub(crate) fn read(&mut self, order: &Order) {
        let findings = &mut self.findings;
        findings.orders += 1;
        findings.misnumbered += u64::from(order.number != self.next);
        self.next = order.number.next();
        let request = &order.trade.request;
        findings.doubled += u64::from(!self.requests.insert(request.request));
        let quantity = i128::from(request.quantity.units());
        let stock = self.stock.entry(order.trade.item).or_default();
        match request.side {
            Side::Buy => *stock -= quantity,
            Side::Sell => *stock += quantity,
        }
        findings.oversold += u64::from(request.side == Side::Buy && *stock < 0);
    }

    /// Ends with the stock of `items`.
    pub(crate) fn finish(self, items: &[Item]) -> Findings {
        let actual: BTreeMap<_, _> = items.iter().map(units).collect();
        let unbalanced = self
            .stock
            .iter()
            .filter(|(item, units)| actual.get(item) != Some(units));
        Findings {
            unbalanced: unbalanced.count() as u64,
            ..self.findings
        }
    }
}

fn units(item: &Item) -> (ItemNumber, i128) {
    (item.number, item.quantity.units().into())
}

#[cfg(test)]
mod tests {
    use bazaar_rpc::{
        InvocationId, ItemKey, ItemName, Money, Quantity, ShopName, Timestamp, Trade, TradeRequest,
        TradeSequence, Version,
    };

    use super::*;

    fn item(quantity: u64) -> Item {
        Item {
            number: ItemNumber(7),
            name: ItemName::new("GameStart").unwrap(),
            shop: ShopName::new("stocks").unwrap(),
            category: None,
            price: Money::from_cents(1599).unwrap(),
            quantity: Quantity::new(quantity).unwrap(),
            volume: 0,
            description: None,
            slogan: None,
            version: Version(1),
        }
    }

    fn order(number: u64, key: &str, side: Side, units: u64) -> Order {
        let item = item(0);
        let request = TradeRequest {
            request: RequestId::from_key(None, key),
            invocation: InvocationId::fresh(),
            item: ItemKey::Number(item.number),
            side,
            quantity: Quantity::new(units).unwrap(),
            user: None,
            received: Timestamp(0),
            amends: None,
        };
        Order {
            number: OrderNumber(number),
            trade: Trade {
                sequence: TradeSequence(number),
                request,
                item: item.number,
                name: item.name,
                shop: item.shop,
                price: item.price,
                version: item.version,
            },
        }
    }

    fn audit(orders: &[Order], ends_with: u64) -> Findings {
        let mut audit = Audit::new(&[item(10)]);
        orders.iter().for_each(|order| audit.read(order));
        audit.finish(&[item(ends_with)])
    }

    #[test]
    fn a_sound_log_has_no_findings() {
        let orders = [order(0, "a", Side::Buy, 10), order(1, "b", Side::Sell, 3)];
        assert_eq!(
            audit(&orders, 3),
            Findings {
                orders: 2,
                ..Findings::default()
            }
        );
    }

    #[test]
    fn every_planted_fault_is_found() {
        let first = || order(0, "a", Side::Buy, 4);
        let gap = audit(&[first(), order(2, "b", Side::Buy, 1)], 5);
        assert_eq!(
            gap,
            Findings {
                orders: 2,
                misnumbered: 1,
                ..Findings::default()
            }
        );
        let late_start = audit(&[order(1, "a", Side::Buy, 4)], 6);
        assert_eq!(
            late_start,
            Findings {
                orders: 1,
                misnumbered: 1,
                ..Findings::default()
            }
        );
        let doubled = audit(&[first(), order(1, "a", Side::Buy, 4)], 2);
        assert_eq!(
            doubled,
            Findings {
                orders: 2,
                doubled: 1,
                ..Findings::default()
            }
        );
        let oversold = audit(
            &[
                first(),
                order(1, "b", Side::Buy, 7),
                order(2, "c", Side::Sell, 1),
            ],
            0,
        );
        assert_eq!(
            oversold,
            Findings {
                orders: 3,
                oversold: 1,
                ..Findings::default()
            }
        );
        let unbalanced = audit(&[first()], 7);
        assert_eq!(
            unbalanced,
            Findings {
                orders: 1,
                unbalanced: 1,
                ..Findings::default()
            }
        );
    }
}
