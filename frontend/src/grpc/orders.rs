//! Trades, and what is recorded of them.

use std::sync::Arc;

use bazaar_rpc::orders::{MAX_PAGE, MAX_STATES};
use bazaar_rpc::{Change, ItemKey, ItemNumber, OrderNumber};
use tonic::{Request, Response, Status};

use super::caller::{caller, viewer};
use super::convert::{Page, item_name, malformed, request_id, side, units};
use super::proto::orders_server::Orders;
use super::proto::place_order_request::Product;
use super::proto::{
    BatchGetOrdersRequest, BatchGetOrdersResponse, CancelOrderRequest, CancelOrderResponse,
    GetOrderRequest, ListMyOrdersRequest, ListMyOrdersResponse, Order, PlaceOrderRequest,
    PlaceOrderResponse, UpdateOrderQuantityRequest, UpdateOrderQuantityResponse,
};
use crate::Error;
use crate::auth::Identity;
use crate::http::Frontend;
use crate::trades::Amended;

/// Serves `bazaar.v1.Orders`.
pub(super) struct Service(pub(super) Arc<Frontend>);

#[tonic::async_trait]
impl Orders for Service {
    async fn place(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<PlaceOrderResponse>, Status> {
        let identity = viewer(&self.0, request.metadata())?;
        let user = identity.map(|identity| identity.user);
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
        let request = request_id(user, &order.idempotency_key)?;
        let trades = &self.0.trades;
        let traded = trades.trade(request, item, side, quantity, user).await?;
        Ok(Response::new(PlaceOrderResponse {
            order: Some(traded.order.into()),
            replayed: traded.replayed,
        }))
    }

    async fn get(&self, request: Request<GetOrderRequest>) -> Result<Response<Order>, Status> {
        let identity = viewer(&self.0, request.metadata())?;
        let number = OrderNumber(request.into_inner().number);
        let order = self.orders(&[number], identity).await?.pop();
        Ok(Response::new(order.ok_or(Error::UnknownOrder(number))?))
    }

    async fn batch_get(
        &self,
        request: Request<BatchGetOrdersRequest>,
    ) -> Result<Response<BatchGetOrdersResponse>, Status> {
        let identity = viewer(&self.0, request.metadata())?;
        let numbers = request.into_inner().numbers;
        if numbers.is_empty() || numbers.len() > MAX_PAGE {
            let what = format!("{} numbers are not 1 to {MAX_PAGE}", numbers.len());
            return Err(malformed("numbers", what).into());
        }
        let numbers: Vec<_> = numbers.into_iter().map(OrderNumber).collect();
        let orders = self.orders(&numbers, identity).await?;
        Ok(Response::new(BatchGetOrdersResponse { orders }))
    }

    async fn cancel(
        &self,
        request: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        let identity = caller(&self.0, request.metadata())?;
        let CancelOrderRequest {
            number,
            idempotency_key,
        } = request.into_inner();
        let change = Change::Cancel;
        let amended = self.amend(identity, number, &idempotency_key, change).await;
        let Amended { state, replayed } = amended?;
        Ok(Response::new(CancelOrderResponse {
            order: Some(Order::from(&state)),
            replayed,
        }))
    }

    async fn update_quantity(
        &self,
        request: Request<UpdateOrderQuantityRequest>,
    ) -> Result<Response<UpdateOrderQuantityResponse>, Status> {
        let identity = caller(&self.0, request.metadata())?;
        let UpdateOrderQuantityRequest {
            number,
            quantity,
            idempotency_key,
        } = request.into_inner();
        let change = Change::Quantity(units(quantity)?);
        let amended = self.amend(identity, number, &idempotency_key, change).await;
        let Amended { state, replayed } = amended?;
        Ok(Response::new(UpdateOrderQuantityResponse {
            order: Some(Order::from(&state)),
            replayed,
        }))
    }

    async fn list_mine(
        &self,
        request: Request<ListMyOrdersRequest>,
    ) -> Result<Response<ListMyOrdersResponse>, Status> {
        let user = caller(&self.0, request.metadata())?.user;
        let request = request.into_inner();
        let page = Page::new(request.page_size, &request.page_token, MAX_STATES)?;
        let after = page.after.map(OrderNumber);
        let trades = &self.0.trades;
        let states = trades.orders_of_user(user, after, page.limit).await?;
        let last = states.last().map(|state| state.original.number.0);
        Ok(Response::new(ListMyOrdersResponse {
            next_page_token: page.next(states.len(), last),
            orders: states.iter().map(Order::from).collect(),
        }))
    }
}

impl Service {
    /// The orders of `numbers`, in that order, as far as `viewer` may see them: to whoever may not, an
    /// order is as if there were none.
    async fn orders(
        &self,
        numbers: &[OrderNumber],
        viewer: Option<Identity>,
    ) -> Result<Vec<Order>, Error> {
        let viewer = viewer.map(Identity::requester);
        let states = self.0.trades.states(numbers, viewer).await?;
        Ok(states.iter().map(Order::from).collect())
    }

    /// Changes the order `number` for `identity`, once under their key where it is not empty.
    async fn amend(
        &self,
        identity: Identity,
        number: u64,
        key: &str,
        change: Change,
    ) -> Result<Amended, Error> {
        let request = request_id(Some(identity.user), key)?;
        let (number, requester) = (OrderNumber(number), identity.requester());
        let trades = &self.0.trades;
        trades.amend(request, number, requester, change).await
    }
}
