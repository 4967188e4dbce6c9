//! `/v1/openapi.json`: what can be asked, for programs that want to know (OpenAPI 3.1), made of the table of routes.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::query::Parameter;
use super::routes::{Content, ROUTES, Route};
use crate::views::ErrorView;

/// The document.
pub(super) fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let mut paths = json!({});
    for route in &ROUTES {
        paths[route.path][route.method.as_str().to_lowercase()] = operation(route, &mut schemas);
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "rigswitch", "version": env!("CARGO_PKG_VERSION") },
        "servers": [{ "url": "http://rig", "description": "over the Unix socket" }],
        "paths": paths,
        "components": { "schemas": schemas.take_definitions(true) },
    })
}

fn operation(route: &Route, schemas: &mut SchemaGenerator) -> Value {
    let content = content(route.answer, schemas);
    let error = json!({ "application/json": { "schema": schemas.subschema_for::<ErrorView>() } });
    let mut responses = json!({ "200": { "description": "done", "content": content } });
    for (status, description) in refusals(route) {
        responses[status] = json!({ "description": description, "content": error });
    }
    let mut operation = json!({ "summary": route.summary, "responses": responses });
    if !route.query.is_empty() {
        let parameter = |&Parameter { name, about, is_required, schema }: &Parameter| json!({ "name": name, "in": "query", "description": about, "required": is_required, "schema": schema() });
        operation["parameters"] = route.query.iter().map(parameter).collect();
    }
    if let Some(body) = route.body {
        operation["requestBody"] = json!({ "required": true, "content": self::content(body, schemas) });
    }
    operation
}

fn content(content: Content, schemas: &mut SchemaGenerator) -> Value {
    match content {
        Content::Json(schema) => json!({ "application/json": { "schema": schema(schemas) } }),
        Content::Lines(schema) => json!({ "application/x-ndjson": { "schema": schema(schemas) } }),
        Content::Capture => {
            json!({ "application/x-pcapng": { "schema": { "type": "string", "format": "binary" } } })
        }
        Content::Text => json!({ "text/plain": { "schema": { "type": "string" } } }),
    }
}

/// How a request that the table has may be refused.
fn refusals(route: &Route) -> &'static [(&'static str, &'static str)] {
    match (route.body, route.answer) {
        (Some(_), _) => &[
            ("400", "the body is not what it should be"),
            ("403", "changes are for root and the user that the switch runs as"),
            ("408", "the body did not come in time"),
            ("409", "the switch refuses, and says why"),
            ("413", "the body is too long"),
        ],
        (None, Content::Capture) => &[
            ("400", "the query is not what it should be"),
            ("403", "frames are for root and the user that the switch runs as"),
            ("409", "there is no such port"),
            ("503", "as many capture as may"),
        ],
        (None, _) if !route.query.is_empty() => &[
            ("400", "the query is not what it should be"),
            ("403", "frames are for root and the user that the switch runs as"),
            ("409", "there is no such capture"),
        ],
        (None, Content::Lines(_)) => &[("503", "as many listen as may")],
        (None, _) => &[],
    }
}
