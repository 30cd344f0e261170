//! The stock bazaar's lookup.

use axum::Json;
use axum::extract::State;
use bazaar_rpc::http::{Data, Stock};
use bazaar_rpc::{ItemKey, ItemName};

use super::Shared;
use super::extract::{Freshness, Param};
use crate::Error;

/// `GET /stocks/{name}`
pub(super) async fn stock(
    State(frontend): Shared,
    Param(name): Param<ItemName>,
    freshness: Freshness,
) -> Result<Json<Data<Stock>>, Error> {
    let item = frontend.item(ItemKey::Name(name), freshness).await?;
    Ok(Json(Data {
        data: Stock::from(&*item),
    }))
}
