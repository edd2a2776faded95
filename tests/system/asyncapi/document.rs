//! `docs/asyncapi.yaml` as the tests see it.

use std::collections::BTreeSet;

use jsonschema::Validator;
use serde_json::{Value, json};

pub struct Document(Value);

impl Document {
    pub fn read() -> Self {
        let text = include_str!("../../../docs/asyncapi.yaml");
        Self(serde_saphyr::from_str(text).expect("the document is YAML"))
    }

    pub fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or_else(|| panic!("the document has no {pointer}"))
    }

    /// The names of all messages.
    pub fn messages(&self) -> Vec<String> {
        self.at("/components/messages").as_object().unwrap().keys().cloned().collect()
    }

    /// The payloads of a message's examples.
    pub fn examples(&self, message: &str) -> Vec<Value> {
        let examples = self.at(&format!("/components/messages/{message}/examples")).as_array().unwrap();
        examples.iter().map(|example| example["payload"].clone()).collect()
    }

    /// Checks a message's payload, formats included. AsyncAPI's schemas are JSON Schema draft 7.
    pub fn validator(&self, message: &str) -> Validator {
        let schema = json!({
            "allOf": [{ "$ref": format!("#/components/messages/{message}/payload") }],
            "components": self.at("/components"),
        });
        jsonschema::draft7::options().should_validate_formats(true).build(&schema).expect("a schema")
    }

    /// Every field that a message's schema names.
    pub fn fields(&self, message: &str) -> BTreeSet<String> {
        self.fields_of(self.at(&format!("/components/messages/{message}/payload")))
    }

    fn fields_of(&self, schema: &Value) -> BTreeSet<String> {
        if let Some(reference) = schema.get("$ref") {
            return self.fields_of(self.at(reference.as_str().unwrap().strip_prefix('#').unwrap()));
        }
        let own = schema["properties"].as_object().into_iter().flat_map(|fields| fields.keys().cloned());
        let inherited = schema.get("allOf").and_then(Value::as_array).into_iter().flatten();
        own.chain(inherited.flat_map(|schema| self.fields_of(schema))).collect()
    }

    /// The values an enumeration lists, in its order.
    pub fn enumeration(&self, schema: &str) -> Vec<String> {
        let values = self.at(&format!("/components/schemas/{schema}/enum")).as_array().unwrap();
        values.iter().map(|value| value.as_str().unwrap().to_owned()).collect()
    }

    /// The messages of all operations with this action, or of their replies.
    pub fn messages_of_operations(&self, action: &str, replies: bool) -> BTreeSet<String> {
        let operations = self.at("/operations").as_object().unwrap().values();
        let lists =
            operations.filter(|operation| operation["action"] == json!(action)).filter_map(|operation| {
                if replies { operation.pointer("/reply/messages") } else { operation.get("messages") }
            });
        let references = lists.flat_map(|list| list.as_array().unwrap());
        references
            .map(|reference| {
                let pointer = reference["$ref"].as_str().unwrap();
                pointer.strip_prefix("#/channels/ws/messages/").unwrap().to_owned()
            })
            .collect()
    }

    /// The prose must have this line.
    pub fn assert_says(&self, line: &str) {
        let prose = self.at("/info/description").as_str().unwrap();
        assert!(prose.lines().any(|other| other == line), "the prose does not say: {line}");
    }
}
