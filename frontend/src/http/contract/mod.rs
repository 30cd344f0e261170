//! The published contract: an OpenAPI 3.1 document, generated from the handlers.
//!
//! A handler says in `#[utoipa::path]` what it takes and what it answers when all is well, and names
//! the [`problems`] that it can answer instead. What follows from that, and what every request and
//! answer has because of [`super::edge`], is added in [`common`]: so no handler has to repeat it.

mod common;
mod problems;

use utoipa::OpenApi as _;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi, RefOr};

pub(super) use self::common::header_parameter;
pub(super) use self::problems::{
    AmendProblems, ChangeProblems, CreateProblems, DeactivateProblems, ItemProblems, KeyProblems,
    ListProblems, LoginProblems, LogoutProblems, OrderListProblems, OrderProblems,
    PurchaseProblems, ReactivateProblems, ReadyProblems, RefreshProblems, RegisterProblems,
    RemoveProblems, RestockProblems, TradeProblems, UserChangeProblems, UserListProblems,
    UserProblems,
};

// The groups of operations.
pub(super) const STOCKS: &str = "stocks";
pub(super) const BOOKS: &str = "books";
pub(super) const PRODUCTS: &str = "products";
pub(super) const ORDERS: &str = "orders";
pub(super) const USERS: &str = "users";
pub(super) const OPERATORS: &str = "operators";

/// What the document says of the whole interface.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Bazaar",
        description = "Three shops: a stock bazaar, a book store and a merch store. An order is \
            never lost, never doubled, and never for more than there is.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "The frontend that serves this document.")),
    tags(
        (name = STOCKS, description = "The stock bazaar."),
        (name = BOOKS, description = "The book store."),
        (name = PRODUCTS, description = "The items of all shops."),
        (name = ORDERS, description = "The orders of all shops."),
        (name = USERS, description = "Accounts, and the tokens that requests come from them with."),
        (name = OPERATORS, description = "For those who run it."),
    ),
    components(schemas(bazaar_rpc::http::Problem))
)]
struct Interface;

/// The document without an operation.
pub(super) fn base() -> OpenApi {
    let mut document = Interface::openapi();
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("The token that a login returned."));
    let scheme = SecurityScheme::Http(bearer.build());
    components
        .security_schemes
        .insert("bearerAuth".into(), RefOr::T(scheme));
    document
}

/// Describes `path`, which the same handler serves as the path `of`, as an operation of its own.
pub(super) fn alias(document: &mut OpenApi, path: &str, of: &str, operation_id: &str) {
    let paths = &mut document.paths.paths;
    let mut item = paths
        .get(of)
        .expect("it is a path of this document")
        .clone();
    for operation in common::operations(&mut item) {
        operation.operation_id = Some(operation_id.into());
        let description = format!("The same as `{of}`, by another original's name for it.");
        operation.description = Some(description);
    }
    paths.insert(path.into(), item);
}

/// Adds what the operations have in common.
pub(super) fn complete(mut document: OpenApi) -> OpenApi {
    common::complete(&mut document);
    document
}

/// The document as JSON, as it is served and kept in the repository.
pub(super) fn json(document: &OpenApi) -> serde_json::Result<String> {
    document.to_pretty_json().map(|json| json + "\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    #[test]
    fn the_document_in_the_repository_is_the_one_that_is_served() {
        let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
        let kept = std::fs::read_to_string(kept).unwrap();
        let served = crate::openapi().unwrap();
        assert!(
            kept == served,
            "the interface has changed; renew its contract, and look at what has changed in it: \
             cargo run -- openapi > docs/openapi.json"
        );
    }

    #[test]
    fn the_document_refers_to_what_it_has_and_names_each_operation_once() {
        let document: Value = serde_json::from_str(&crate::openapi().unwrap()).unwrap();
        let mut references = BTreeSet::new();
        collect(&document, &mut references);
        assert!(references.len() > 10);
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        let mut ids = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let id = operation["operationId"].as_str().unwrap();
                assert!(ids.insert(id), "{method} {path}: {id} is there already");
                assert!(operation["tags"][0].is_string(), "{method} {path}");
                assert!(operation["summary"].is_string(), "{method} {path}");
            }
        }
    }

    #[test]
    fn no_answer_has_a_password() {
        let document: Value = serde_json::from_str(&crate::openapi().unwrap()).unwrap();
        let (mut answers, mut bodies) = (BTreeSet::new(), BTreeSet::new());
        for item in document["paths"].as_object().unwrap().values() {
            for operation in item.as_object().unwrap().values() {
                reach(&document, &operation["responses"], &mut answers);
                reach(&document, &operation["requestBody"], &mut bodies);
            }
        }
        let secret = |reference: &&str| {
            let schema = document.pointer(reference.trim_start_matches('#')).unwrap();
            schema["format"] == "password" && schema["writeOnly"] == true
        };
        assert_eq!(bodies.iter().copied().filter(|it| secret(it)).count(), 2);
        let shown: Vec<_> = answers.iter().copied().filter(|it| secret(it)).collect();
        assert!(shown.is_empty(), "{shown:?}");
        assert!(answers.contains("#/components/schemas/User"));
    }

    /// Adds whatever `value` refers to, directly or not.
    fn reach<'a>(document: &'a Value, value: &'a Value, reached: &mut BTreeSet<&'a str>) {
        let mut found = BTreeSet::new();
        collect(value, &mut found);
        for reference in found {
            if reached.insert(reference) {
                let pointer = reference.strip_prefix('#').unwrap();
                reach(document, document.pointer(pointer).unwrap(), reached);
            }
        }
    }

    #[test]
    fn each_problem_of_a_status_is_an_example_of_its_own() {
        let document: Value = serde_json::from_str(&crate::openapi().unwrap()).unwrap();
        let taken = "/paths/~1users~1register/post/responses/409/content/application~1problem+json";
        let examples = document.pointer(taken).unwrap()["examples"].as_object();
        let details: Vec<_> = examples
            .unwrap()
            .values()
            .map(|example| example["value"]["detail"].as_str().unwrap())
            .collect();
        for field in ["student_id", "user_name", "email"] {
            let names = |detail: &&str| detail.starts_with(field);
            assert_eq!(details.iter().copied().filter(|it| names(it)).count(), 1);
        }
    }

    fn collect<'a>(value: &'a Value, references: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(members) => {
                references.extend(members.get("$ref").and_then(Value::as_str));
                members
                    .values()
                    .for_each(|member| collect(member, references));
            }
            Value::Array(elements) => {
                elements
                    .iter()
                    .for_each(|element| collect(element, references));
            }
            _ => {}
        }
    }
}
