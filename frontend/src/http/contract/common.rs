//! What operations have in common, and what follows from their parameters.

use utoipa::PartialSchema as _;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{Object, ObjectBuilder, Schema, Type};
use utoipa::openapi::{Components, OpenApi, Ref, RefOr, Required};

use super::{self as contract, problems};
use crate::Error;
use crate::http::extract::IDEMPOTENCY_KEY;
use crate::request::MAX_ID;

/// Adds to `document` what all operations of it share.
pub(super) fn complete(document: &mut OpenApi) {
    share(document.components.get_or_insert_default());
    for item in document.paths.paths.values_mut() {
        for operation in operations(item) {
            forbid_null(operation);
            add_answers(operation);
            add_edge(operation);
        }
    }
}

/// The operations of a path.
pub(super) fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.post,
        &mut item.put,
        &mut item.patch,
        &mut item.delete,
    ]
    .into_iter()
    .flatten()
}

/// The parts that operations refer to.
fn share(components: &mut Components) {
    let text = || ObjectBuilder::new().schema_type(Type::String).build();
    let seconds = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1_u64))
        .build();
    let of = |schema: Object, description: &str| {
        HeaderBuilder::new()
            .schema(Some(schema))
            .description(Some(description))
            .build()
    };
    let flag = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(["true"]))
        .build();
    let version = HeaderBuilder::new()
        .schema(Some(bazaar_rpc::Version::schema()))
        .description(Some("The item's version right after the trade."))
        .build();
    let headers = [
        (
            "RequestId",
            of(text(), "The request's id, as the logs have it."),
        ),
        (
            "TraceParent",
            of(
                text(),
                "Where the request is in the trace that it came with.",
            ),
        ),
        (
            "RateLimitPolicy",
            of(
                text(),
                "What an address may ask, or how often one may try to log in (draft-ietf-httpapi-ratelimit-headers-10), where there is a limit.",
            ),
        ),
        ("RateLimit", of(text(), "What is left of it.")),
        ("RetryAfter", of(seconds, "When to try again, in seconds.")),
        (
            "ETag",
            of(
                text(),
                "Names this representation of this version of the item.",
            ),
        ),
        ("ItemVersion", version),
        (
            "IdempotentReplayed",
            of(
                flag,
                "Where this is the answer to an earlier request under the same key.",
            ),
        ),
    ];
    for (name, header) in headers {
        components.headers.insert(name.into(), RefOr::T(header));
    }
    let id = ObjectBuilder::new().schema_type(Type::String);
    let description = format!(
        "An id for the request, for its answer and the logs: 1 to {MAX_ID} letters, digits and \
         `-_.:/+=@`. Any other is replaced."
    );
    components.parameters.insert(
        "RequestId".into(),
        RefOr::T(header_parameter("X-Request-Id", &description, id.build())),
    );
    components.parameters.insert(
        "TraceParent".into(),
        RefOr::T(header_parameter(
            "traceparent",
            "The trace that the request is part of (W3C Trace Context).",
            text(),
        )),
    );
    let limited = problems::responses(vec![Error::TooManyRequests { retry_after: 1 }]);
    for response in limited.into_values() {
        components
            .responses
            .insert("TooManyRequests".into(), response);
    }
    let failed = problems::responses(vec![Error::Contract {
        service: bazaar_rpc::ServiceKind::Catalog,
        reason: "it was not to be expected".into(),
    }]);
    for response in failed.into_values() {
        components
            .responses
            .insert("InternalError".into(), response);
    }
    for response in components.responses.values_mut() {
        if let RefOr::T(response) = response {
            add_edge_headers(response);
        }
    }
}

/// A body that may be missing is an object where it is there: `Option` says that it may be `null` too.
fn forbid_null(operation: &mut Operation) {
    let Some(RefOr::T(body)) = &mut operation.request_body else {
        return;
    };
    for content in body.content.values_mut() {
        if let RefOr::T(content) = content
            && let Some(RefOr::T(Schema::OneOf(one_of))) = &mut content.schema
        {
            one_of.items.retain(|item| *item != null());
            if let [only] = one_of.items.as_slice() {
                content.schema = Some(only.clone());
            }
        }
    }
}

fn null() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::Null).into()
}

/// A lookup on conditions can be answered that nothing has changed; an edit tells the product's tag, a
/// trade the item's version, and whether it was made before.
fn add_answers(operation: &mut Operation) {
    let responses = &mut operation.responses.responses;
    let parameters = operation.parameters.iter().flatten();
    let names: Vec<_> = parameters
        .filter_map(|parameter| match parameter {
            RefOr::T(parameter) => Some(parameter.name.as_str()),
            RefOr::Ref(_) => None,
        })
        .collect();
    let mut done = Vec::new();
    if names.contains(&"If-None-Match") {
        let unchanged = ResponseBuilder::new().description("The client has it already.");
        let unchanged = RefOr::T(unchanged.build());
        responses.insert("304".into(), unchanged);
        done.push(("ETag", "ETag"));
    }
    let is_of = |group: &str| operation.tags.iter().flatten().any(|tag| tag == group);
    if names.contains(&IDEMPOTENCY_KEY) && is_of(contract::PRODUCTS) {
        done.push(("ETag", "ETag"));
    } else if names.contains(&IDEMPOTENCY_KEY) {
        done.push(("Item-Version", "ItemVersion"));
        done.push(("Idempotent-Replayed", "IdempotentReplayed"));
    }
    for (status, response) in responses {
        if let RefOr::T(response) = response
            && matches!(status.as_str(), "200" | "201" | "304")
        {
            for (name, component) in &done {
                refer(response, name, component);
            }
        }
    }
}

/// What every operation has because of what its requests and answers pass.
fn add_edge(operation: &mut Operation) {
    let parameters = operation.parameters.get_or_insert_default();
    for component in ["RequestId", "TraceParent"] {
        let reference = Ref::new(format!("#/components/parameters/{component}"));
        parameters.push(RefOr::Ref(reference));
    }
    let responses = &mut operation.responses.responses;
    for response in responses.values_mut() {
        if let RefOr::T(response) = response {
            add_edge_headers(response);
        }
    }
    for (status, component) in [("429", "TooManyRequests"), ("500", "InternalError")] {
        let reference = Ref::from_response_name(component);
        responses
            .entry(status.into())
            .or_insert(RefOr::Ref(reference));
    }
}

fn add_edge_headers(response: &mut Response) {
    for (name, component) in [
        ("X-Request-Id", "RequestId"),
        ("traceparent", "TraceParent"),
        ("RateLimit-Policy", "RateLimitPolicy"),
        ("RateLimit", "RateLimit"),
    ] {
        refer(response, name, component);
    }
}

fn refer(response: &mut Response, name: &str, component: &str) {
    let reference = Ref::new(format!("#/components/headers/{component}"));
    response.headers.insert(name.into(), RefOr::Ref(reference));
}

/// A header that a request may have.
pub(in crate::http) fn header_parameter(
    name: &str,
    description: &str,
    schema: Object,
) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

/// A header that is a text.
pub(super) fn header(description: &str) -> Header {
    HeaderBuilder::new()
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .description(Some(description))
        .build()
}
