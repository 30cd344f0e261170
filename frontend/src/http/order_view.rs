//! An order as it is shown: what was placed, and what has become of it.

use bazaar_rpc::http::{OrderChange, OrderView};
use bazaar_rpc::{Order, OrderState, OrderStatus, ShopName, Sum, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use super::time::rfc3339;

/// An order as it stands.
#[derive(Serialize, ToSchema)]
pub(super) struct PlacedOrder {
    /// For how many units it is by now; the rest as it was placed.
    #[serde(flatten)]
    record: OrderView,
    /// The shop that sells the item.
    shop: ShopName,
    /// The unit price times the units.
    #[schema(value_type = f64, minimum = 0)]
    total: Sum,
    status: OrderStatus,
    /// Whose it is; missing where it was placed without an account.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    user: Option<UserId>,
    /// When a frontend received it (RFC 3339, in UTC).
    #[schema(format = DateTime)]
    placed_at: String,
    /// What has changed it since, in that order.
    history: Vec<OrderChange>,
}

impl From<&OrderState> for PlacedOrder {
    fn from(state: &OrderState) -> Self {
        let trade = &state.original.trade;
        Self {
            record: OrderView {
                quantity: state.quantity(),
                ..OrderView::from(&state.original)
            },
            shop: trade.shop.clone(),
            total: state.total(),
            status: state.status(),
            user: trade.request.user,
            placed_at: rfc3339(trade.request.received),
            history: state.history.iter().filter_map(change).collect(),
        }
    }
}

/// A compensating trade, as a change of the order that it amends.
fn change(order: &Order) -> Option<OrderChange> {
    let trade = &order.trade;
    let amendment = trade.request.amends?;
    Some(OrderChange {
        number: order.number,
        from: amendment.from,
        to: amendment.to,
        version: trade.version,
        made_at: rfc3339(trade.request.received),
    })
}
