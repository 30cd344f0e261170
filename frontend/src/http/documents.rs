//! The contract, for programs and for people: the OpenAPI document, and Swagger UI over it. Both are
//! part of this program; nothing is loaded from elsewhere.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::Path;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use bazaar_rpc::ServiceKind;
use bytes::Bytes;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui as swagger;

use super::{Frontend, excerpt};
use crate::Error;

/// Where the document is served.
const DOCUMENT: &str = "/openapi.json";

/// How long a browser may keep a part of Swagger UI: an hour.
const KEPT: HeaderValue = HeaderValue::from_static("max-age=3600");

/// Serves `document`, in JSON, and the page that shows it.
pub(super) fn router(document: String) -> OpenApiRouter<Arc<Frontend>> {
    let document = Bytes::from(document);
    let page = Arc::new(swagger::Config::from(DOCUMENT));
    let file = move |Path(path): Path<String>| file(page.clone(), path);
    let index = file.clone();
    OpenApiRouter::new()
        .route(DOCUMENT, get(|| async move { json(document) }))
        .route("/docs", get(async || Redirect::permanent("/docs/")))
        .route("/docs/", get(move || index(Path(String::new()))))
        .route("/docs/{*file}", get(file))
}

fn json(document: Bytes) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, json)], document).into_response()
}

async fn file(page: Arc<swagger::Config<'static>>, path: String) -> Result<Response, Error> {
    let found = swagger::serve(&path, page).map_err(|error| Error::Contract {
        service: ServiceKind::Frontend,
        reason: error.to_string(),
    })?;
    let file = found.ok_or_else(|| Error::UnknownPath(excerpt(&format!("/docs/{path}"))))?;
    let bytes = match file.bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    };
    let content_type = HeaderValue::try_from(file.content_type)
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, KEPT)];
    Ok((headers, bytes).into_response())
}
