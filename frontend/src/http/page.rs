//! Lists, page by page.
//!
//! A list's body is an array and nothing else; the next page is named in a header:
//! `Link: </products?limit=100&after=203>; rel="next"` (RFC 8288). An item that is added or removed
//! meanwhile moves no other one to another page, since a page begins after an item's number.

use axum::Json;
use axum::http::HeaderValue;
use axum::http::header::LINK;
use axum::response::{IntoResponse, Response};
use bazaar_rpc::ItemNumber;
use bazaar_rpc::catalog::{ListQuery, MAX_PAGE};
use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::IntoParams;

use super::extract::Segment;
use crate::Error;

/// The entries on one page where the client does not say.
const DEFAULT_PAGE: u32 = 100;

/// Which part of a list.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Page {
    /// Only items with higher numbers than this one: the number of the last item seen.
    #[serde(deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    #[param(nullable = false)]
    pub(super) after: Option<ItemNumber>,
    /// The most items to list; 100 where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000, nullable = false)]
    pub(super) limit: Option<u32>,
}

/// Reads digits alone, as paths have them.
pub(super) fn number<'de, D: Deserializer<'de>, N: Segment>(
    deserializer: D,
) -> Result<Option<N>, D::Error> {
    let text = String::deserialize(deserializer)?;
    N::parse(&text).map(Some).map_err(de::Error::custom)
}

/// The most entries of a page for which `limit` was asked, and which has at most `max`.
///
/// # Errors
/// When the limit is out of bounds.
pub(super) fn limit(limit: Option<u32>, max: usize) -> Result<u32, Error> {
    let limit = limit.unwrap_or(DEFAULT_PAGE);
    if limit == 0 || limit as usize > max {
        return Err(Error::Malformed(format!(
            "limit: {limit} is not from 1 to {max}"
        )));
    }
    Ok(limit)
}

impl Page {
    /// The page of a list of everything.
    ///
    /// # Errors
    /// When the limit is out of bounds.
    pub(super) fn query(self) -> Result<ListQuery, Error> {
        Ok(ListQuery {
            after: self.after,
            limit: limit(self.limit, MAX_PAGE)?,
            ..ListQuery::default()
        })
    }
}

/// One page of a list, with a link to the next one.
pub(super) struct Paged<T> {
    entries: Vec<T>,
    next: Option<HeaderValue>,
}

impl<T> Paged<T> {
    /// The page that shows each of what was `found` with this `limit`.
    ///
    /// A page as long as its limit has a next one, which may turn out to be empty. That one is under
    /// `path`, with the parameters that `next` gives for the last of what was found.
    ///
    /// # Errors
    /// When the parameters have no form as a query.
    pub(super) fn new<E, P: Serialize>(
        found: Vec<E>,
        limit: u32,
        path: &str,
        next: impl FnOnce(&E) -> P,
        show: impl Fn(E) -> T,
    ) -> Result<Self, Error> {
        let is_full = found.len() >= limit as usize;
        let next = match found.last() {
            Some(last) if is_full => Some(link(path, &next(last))?),
            _ => None,
        };
        Ok(Self {
            entries: found.into_iter().map(show).collect(),
            next,
        })
    }
}

/// The value of `Link` for the next page: under `path`, with `parameters`.
///
/// # Errors
/// When the parameters have no form as a query.
pub(super) fn link(path: &str, parameters: &impl Serialize) -> Result<HeaderValue, Error> {
    let malformed =
        |reason: String| Error::Malformed(format!("the link to the next page: {reason}"));
    let query = serde_urlencoded::to_string(parameters).map_err(|e| malformed(e.to_string()))?;
    let link = HeaderValue::try_from(format!("<{path}?{query}>; rel=\"next\""));
    link.map_err(|error| malformed(error.to_string()))
}

impl<T: Serialize> IntoResponse for Paged<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.entries).into_response();
        if let Some(next) = self.next {
            response.headers_mut().insert(LINK, next);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_page_leads_to_the_next_one() {
        let page = |found: &[u64]| {
            let next = |last: &u64| Page {
                after: Some(ItemNumber(*last)),
                limit: Some(2),
            };
            let page = Paged::new(found.to_vec(), 2, "/items", next, |entry| entry);
            page.unwrap().into_response()
        };
        assert_eq!(
            page(&[3, 5]).headers()[LINK],
            "</items?after=5&limit=2>; rel=\"next\""
        );
        for last in [&[][..], &[3]] {
            assert!(!page(last).headers().contains_key(LINK));
        }
    }
}
