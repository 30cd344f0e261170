//! What the shops sell.

use std::sync::Arc;

use bazaar_rpc::catalog::{ListQuery, MAX_PAGE};
use bazaar_rpc::{Item, ItemKey, ItemNumber, ShopName, Text};
use tonic::{Request, Response, Status};

use super::convert::{Page, item_name, malformed};
use super::proto::get_product_request::Key;
use super::proto::products_server::Products;
use super::proto::{
    GetProductRequest, ListProductsRequest, ListProductsResponse, Product, SearchProductsRequest,
    SearchProductsResponse,
};
use crate::Error;
use crate::http::Frontend;

/// Serves `bazaar.v1.Products`.
pub(super) struct Service(pub(super) Arc<Frontend>);

#[tonic::async_trait]
impl Products for Service {
    async fn get(&self, request: Request<GetProductRequest>) -> Result<Response<Product>, Status> {
        let key = match request.into_inner().key {
            Some(Key::Number(number)) => ItemKey::Number(ItemNumber(number)),
            Some(Key::Name(name)) => ItemKey::Name(item_name("name", &name)?),
            None => return Err(malformed("key", "a number or a name is required").into()),
        };
        let item = self.0.items.lookup(key).await?;
        Ok(Response::new(Product::from(&*item)))
    }

    async fn list(
        &self,
        request: Request<ListProductsRequest>,
    ) -> Result<Response<ListProductsResponse>, Status> {
        let request = request.into_inner();
        let page = Page::new(request.page_size, &request.page_token, MAX_PAGE)?;
        let shop = match request.shop.as_str() {
            "" => None,
            shop => Some(ShopName::new(shop).map_err(|error| malformed("shop", error))?),
        };
        let category = match request.category.as_str() {
            "" => None,
            category => Some(topic("category", category)?),
        };
        let (products, next_page_token) = self.page(shop, category, page).await?;
        Ok(Response::new(ListProductsResponse {
            products,
            next_page_token,
        }))
    }

    async fn search(
        &self,
        request: Request<SearchProductsRequest>,
    ) -> Result<Response<SearchProductsResponse>, Status> {
        let request = request.into_inner();
        let page = Page::new(request.page_size, &request.page_token, MAX_PAGE)?;
        let topic = topic("topic", &request.topic)?;
        let (products, next_page_token) = self.page(None, Some(topic), page).await?;
        Ok(Response::new(SearchProductsResponse {
            products,
            next_page_token,
        }))
    }
}

impl Service {
    /// One page of products, and the token for the next one.
    async fn page(
        &self,
        shop: Option<ShopName>,
        category: Option<Text<200>>,
        page: Page,
    ) -> Result<(Vec<Product>, String), Error> {
        let query = ListQuery {
            shop,
            category,
            after: page.after.map(ItemNumber),
            limit: page.limit,
        };
        let items = self.0.items.list(&query).await?;
        let next = page.next(items.len(), items.last().map(|item: &Item| item.number.0));
        Ok((items.iter().map(Product::from).collect(), next))
    }
}

fn topic(field: &str, text: &str) -> Result<Text<200>, Error> {
    Text::new(text).map_err(|error| malformed(field, error))
}
