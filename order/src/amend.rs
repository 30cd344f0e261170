//! What an amendment comes to, given what its order is: a pure decision.

use bazaar_rpc::orders::{OrderError, Unchangeable};
use bazaar_rpc::{
    AmendRequest, Amendment, Change, ItemKey, MAX_UPDATES, Order, OrderState, Quantity, Trade,
    TradeRequest,
};

/// What is to be done for an amendment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// The difference is to be traded.
    Trade(TradeRequest),
    /// Nothing: the order is as is asked.
    Nothing {
        /// The record that left it so.
        last: Order,
    },
}

/// Plans `request`, whose order is in `state`, if there is such an order.
///
/// # Errors
/// Why nothing is to be done for it.
pub(crate) fn plan(request: &AmendRequest, state: Option<OrderState>) -> Result<Plan, OrderError> {
    let unchangeable = |reason| Err(OrderError::Unchangeable(reason));
    let nothing = Quantity::default();
    let state = state
        .filter(|state| request.requester.sees(&state.original))
        .ok_or(OrderError::UnknownOrder(request.order))?;
    let original = &state.original.trade;
    let (from, to) = (state.quantity(), request.change.to());
    if original.request.user.is_none() {
        unchangeable(Unchangeable::NoAccount)
    } else if from == nothing && request.change != Change::Cancel {
        unchangeable(Unchangeable::Cancelled)
    } else if request.change == Change::Quantity(nothing) {
        // No shop takes an order for nothing: the catalog refuses it, and tells the shop's bounds.
        Ok(Plan::Trade(TradeRequest {
            quantity: nothing,
            ..trade(request, original, None)
        }))
    } else if from == to {
        let last = state.last().clone();
        Ok(Plan::Nothing { last })
    } else if to != nothing && state.history.len() >= MAX_UPDATES {
        unchangeable(Unchangeable::TooOften)
    } else {
        let amendment = Amendment {
            order: request.order,
            price: original.price,
            from,
            to,
        };
        Ok(Plan::Trade(TradeRequest {
            side: amendment.side(original.request.side),
            quantity: amendment.difference(),
            ..trade(request, original, Some(amendment))
        }))
    }
}

/// A trade for `request`, which is about the order that `original` was made for.
fn trade(request: &AmendRequest, original: &Trade, amends: Option<Amendment>) -> TradeRequest {
    TradeRequest {
        request: request.request,
        invocation: request.invocation,
        item: ItemKey::Number(original.item),
        received: request.received,
        amends,
        ..original.request.clone()
    }
}

#[cfg(test)]
mod tests;
