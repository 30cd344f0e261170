//! The stock bazaar's lookup.

use axum::extract::State;
use axum::response::Response;
use bazaar_rpc::http::{Data, Stock};
use bazaar_rpc::{ItemKey, ItemName};

use super::Shared;
use super::conditional::Conditions;
use super::contract::{self, ItemProblems};
use super::extract::Param;
use crate::Error;

/// Look a stock up.
///
/// Any shop's item is found by its name.
#[utoipa::path(
    get,
    path = "/stocks/{name}",
    operation_id = "getStock",
    tag = contract::STOCKS,
    params(("name" = ItemName, Path, description = "The item's name."), Conditions),
    responses(
        (
            status = 200,
            description = "The item as it is.",
            body = Data<Stock>,
            example = json!({"data": {"name": "GameStart", "price": 15.99, "quantity": 100, "version": 1}}),
        ),
        ItemProblems,
    )
)]
pub(super) async fn stock(
    State(frontend): Shared,
    Param(name): Param<ItemName>,
    conditions: Conditions,
) -> Result<Response, Error> {
    let item = frontend
        .item(ItemKey::Name(name), conditions.freshness)
        .await?;
    let data = Stock::from(&*item);
    conditions.answer(item.version, &Data { data })
}
