//! Trades, and what is recorded of them.

use std::sync::Arc;

use bazaar_rpc::orders::MAX_PAGE;
use bazaar_rpc::{ItemKey, ItemNumber, OrderNumber};
use tonic::{Request, Response, Status};

use super::convert::{item_name, malformed, request_id, side, units};
use super::proto::orders_server::Orders;
use super::proto::place_order_request::Product;
use super::proto::{
    BatchGetOrdersRequest, BatchGetOrdersResponse, CancelOrderRequest, CancelOrderResponse,
    GetOrderRequest, ListMyOrdersRequest, ListMyOrdersResponse, Order, PlaceOrderRequest,
    PlaceOrderResponse, UpdateOrderQuantityRequest, UpdateOrderQuantityResponse,
};
use super::status::token_required;
use crate::Error;
use crate::http::Frontend;

/// Serves `bazaar.v1.Orders`.
pub(super) struct Service(pub(super) Arc<Frontend>);

#[tonic::async_trait]
impl Orders for Service {
    async fn place(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<PlaceOrderResponse>, Status> {
        let order = request.into_inner();
        let item = match &order.product {
            Some(Product::ProductNumber(number)) => ItemKey::Number(ItemNumber(*number)),
            Some(Product::ProductName(name)) => ItemKey::Name(item_name("product_name", name)?),
            None => {
                let what = "a product_number or a product_name is required";
                return Err(malformed("product", what).into());
            }
        };
        let (side, quantity) = (side(order.side())?, units(order.quantity)?);
        let request = request_id(&order.idempotency_key)?;
        let traded = self
            .0
            .trades
            .trade(request, item, side, quantity, None)
            .await?;
        Ok(Response::new(PlaceOrderResponse {
            order: Some(traded.order.into()),
            replayed: traded.replayed,
        }))
    }

    async fn get(&self, request: Request<GetOrderRequest>) -> Result<Response<Order>, Status> {
        let number = OrderNumber(request.into_inner().number);
        let order = self.orders(&[number]).await?.pop();
        Ok(Response::new(order.ok_or(Error::UnknownOrder(number))?))
    }

    async fn batch_get(
        &self,
        request: Request<BatchGetOrdersRequest>,
    ) -> Result<Response<BatchGetOrdersResponse>, Status> {
        let numbers = request.into_inner().numbers;
        if numbers.is_empty() || numbers.len() > MAX_PAGE {
            let what = format!("{} numbers are not 1 to {MAX_PAGE}", numbers.len());
            return Err(malformed("numbers", what).into());
        }
        let numbers: Vec<_> = numbers.into_iter().map(OrderNumber).collect();
        let orders = self.orders(&numbers).await?;
        Ok(Response::new(BatchGetOrdersResponse { orders }))
    }

    async fn cancel(
        &self,
        _: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        Err(token_required())
    }

    async fn update_quantity(
        &self,
        _: Request<UpdateOrderQuantityRequest>,
    ) -> Result<Response<UpdateOrderQuantityResponse>, Status> {
        Err(token_required())
    }

    async fn list_mine(
        &self,
        _: Request<ListMyOrdersRequest>,
    ) -> Result<Response<ListMyOrdersResponse>, Status> {
        Err(token_required())
    }
}

impl Service {
    /// The orders of `numbers`, in that order. To a caller without a token, a user's order is as if
    /// there were none.
    async fn orders(&self, numbers: &[OrderNumber]) -> Result<Vec<Order>, Error> {
        let states = self.0.trades.states(numbers, None).await?;
        Ok(states.iter().map(Order::from).collect())
    }
}
