//! The server is held to its own OpenAPI document: every answer of a described operation has a described status and form.

use std::{collections::HashMap, sync::LazyLock};

use jsonschema::Validator;
use reqwest::{Method, header};
use serde_json::{Value, json};

use super::shop::Answer;

static DOCUMENT: LazyLock<Value> = LazyLock::new(panicbuy::api::openapi);

/// A validator for each schema of the document, by the reference to it.
static FORMS: LazyLock<HashMap<String, Validator>> = LazyLock::new(|| {
    let components = &DOCUMENT["components"];
    let names = components["schemas"].as_object().unwrap().keys();
    names
        .map(|name| {
            let reference = format!("#/components/schemas/{name}");
            let schema = json!({ "$ref": reference, "components": components });
            let options = jsonschema::draft202012::options().should_validate_formats(true);
            (reference, options.build(&schema).expect("a schema"))
        })
        .collect()
});

/// The described operation that answers this, if there is one.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let fits = |template: &str| {
        template.split('/').count() == path.split('/').count()
            && template.split('/').zip(path.split('/')).all(|(a, b)| a == b || a.starts_with('{'))
    };
    let found = paths.get(path).or_else(|| Some(paths.iter().find(|(template, _)| fits(template))?.1));
    found?.get(method.as_str().to_lowercase())
}

/// Checks an answer against the document; what is not described there may be anything.
pub fn check(method: &Method, path: &str, answer: &Answer) {
    let Some(operation) = operation(method, path) else { return };
    let what = format!("{method} {path}: {} {}", answer.status, answer.text);
    let response = &operation["responses"][answer.status.as_str()];
    assert!(response.is_object(), "this status is not described: {what}");
    for name in response["headers"].as_object().into_iter().flat_map(serde_json::Map::keys) {
        assert!(answer.headers.contains_key(name.as_str()), "{name} is described: {what}");
    }
    let content =
        response["content"].as_object().unwrap_or_else(|| panic!("no content is described: {what}"));
    let media_type = answer.headers[header::CONTENT_TYPE].to_str().unwrap();
    let form = content.get(media_type).unwrap_or_else(|| panic!("{media_type} is not described: {what}"));
    let reference = form["schema"]["$ref"].as_str().expect("every body has a schema of its own");
    if let Err(error) = FORMS[reference].validate(&answer.json()) {
        panic!("{error} at {}: {what}", error.instance_path());
    }
}
