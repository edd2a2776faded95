//! Holds `docs/asyncapi.yaml` against the code's own types, in both directions.

mod document;

mod frames;

use std::collections::BTreeSet;

use document::Document;
use frames::{
    BYE_REASONS, ERROR_CODES, GONE, ORDER_STATUSES, PHASES, PROMO_STATUSES, REASONS, client_frames,
    server_frames, word,
};
use panicbuy::{
    domain::Reason,
    gateway::{
        close,
        protocol::{ClientFrame, ErrorCode, ServerFrame},
    },
};
use serde::Serialize;
use serde_json::{Value, json};

/// A frame's value read by the code and written again.
fn read_and_written(frame: &Value, from_client: bool) -> Value {
    let text = frame.to_string();
    let again = if from_client {
        serde_json::to_value(serde_json::from_str::<ClientFrame>(&text).expect(&text))
    } else {
        serde_json::to_value(serde_json::from_str::<ServerFrame>(&text).expect(&text))
    };
    again.expect("a frame is JSON")
}

fn types(frames: &[Value]) -> BTreeSet<String> {
    frames.iter().map(|frame| frame["type"].as_str().expect("a frame has a type").to_owned()).collect()
}

fn all_frames() -> Vec<Value> {
    let client = client_frames().into_iter().map(|frame| serde_json::to_value(frame).unwrap());
    let server = server_frames().into_iter().map(|frame| serde_json::to_value(frame).unwrap());
    client.chain(server).collect()
}

#[test]
fn messages_are_the_frames_of_the_code() {
    let document = Document::read();
    let documented: BTreeSet<String> = document.messages().into_iter().collect();
    assert_eq!(documented, types(&all_frames()));
    let channel = document.at("/channels/ws/messages").as_object().unwrap();
    assert_eq!(channel.keys().cloned().collect::<BTreeSet<_>>(), documented, "messages of the channel");
    for name in documented {
        assert_eq!(document.at(&format!("/components/messages/{name}/name")), &json!(name));
    }
}

#[test]
fn operations_receive_the_clients_frames_and_send_the_servers() {
    let document = Document::read();
    let of = |action, replies| document.messages_of_operations(action, replies);
    let client: Vec<Value> = client_frames().iter().map(|frame| json!(frame)).collect();
    let server: Vec<Value> = server_frames().iter().map(|frame| json!(frame)).collect();
    assert_eq!(of("receive", false), types(&client));
    let sent: BTreeSet<String> = of("send", false).union(&of("receive", true)).cloned().collect();
    assert_eq!(sent, types(&server));
}

#[test]
fn the_code_reads_every_example_and_writes_the_same() {
    let document = Document::read();
    let client = types(&client_frames().iter().map(|frame| json!(frame)).collect::<Vec<_>>());
    for name in document.messages() {
        let examples = document.examples(&name);
        assert!(examples.len() >= 2, "{name} has {} examples", examples.len());
        for example in examples {
            assert_eq!(example["type"], json!(name), "{example}");
            assert_eq!(read_and_written(&example, client.contains(&name)), example);
        }
    }
}

#[test]
fn every_example_is_valid_under_its_schema() {
    let document = Document::read();
    for name in document.messages() {
        let schema = document.validator(&name);
        for example in document.examples(&name) {
            let errors: Vec<String> = schema.iter_errors(&example).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{example}: {errors:?}");
        }
    }
}

#[test]
fn every_frame_of_the_code_is_valid_and_all_its_fields_are_documented() {
    let document = Document::read();
    for frame in all_frames() {
        let name = frame["type"].as_str().unwrap();
        let errors: Vec<String> =
            document.validator(name).iter_errors(&frame).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{frame}: {errors:?}");
        let documented = document.fields(name);
        for field in frame.as_object().unwrap().keys() {
            assert!(documented.contains(field), "{name} has a field {field} that is not documented");
        }
    }
}

#[test]
fn every_documented_field_is_one_of_the_code_and_is_shown() {
    let document = Document::read();
    let of_code = all_frames();
    for name in document.messages() {
        let examples = document.examples(&name);
        for field in document.fields(&name) {
            let has = |frame: &Value| frame["type"] == json!(name) && frame.get(&field).is_some();
            assert!(of_code.iter().any(has), "the code's {name} has no {field}");
            assert!(examples.iter().any(has), "no example of {name} shows {field}");
        }
    }
}

#[test]
fn schemas_require_what_the_code_requires() {
    let document = Document::read();
    for frame in all_frames() {
        let name = frame["type"].as_str().unwrap().to_owned();
        let from_client = client_frames().iter().any(|client| json!(client)["type"] == json!(name));
        for field in frame.as_object().unwrap().keys().filter(|field| *field != "type") {
            let mut without = frame.clone();
            without.as_object_mut().unwrap().remove(field);
            let text = without.to_string();
            let readable = if from_client {
                // An order for neither a promo nor an item can be read, and is refused.
                let for_nothing = name == "order" && ["promo_id", "item_id"].contains(&&**field);
                serde_json::from_str::<ClientFrame>(&text).is_ok() && !for_nothing
            } else {
                // Read as `null` when absent, but always written.
                let always_written = ["user_id", "nonce"].contains(&&**field);
                serde_json::from_str::<ServerFrame>(&text).is_ok() && !always_written
            };
            assert_eq!(document.validator(&name).is_valid(&without), readable, "{text}");
        }
    }
}

#[test]
fn enumerations_list_exactly_the_values_of_the_code() {
    fn same<T: Serialize>(document: &Document, schema: &str, values: &[T]) {
        let words: Vec<String> = values.iter().map(word).collect();
        assert_eq!(document.enumeration(schema), words, "{schema}");
    }
    let document = Document::read();
    same(&document, "Phase", &PHASES);
    same(&document, "OrderStatus", &ORDER_STATUSES);
    same(&document, "PromoStatus", &PROMO_STATUSES);
    same(&document, "Reason", &REASONS);
    assert_eq!(REASONS, Reason::ALL);
    same(&document, "Gone", &GONE);
    same(&document, "ErrorCode", &ERROR_CODES);
    same(&document, "ByeReason", &BYE_REASONS);
}

#[test]
fn examples_show_every_value() {
    let document = Document::read();
    let shown = |message: &str, field: &str| -> BTreeSet<String> {
        let examples = document.examples(message);
        examples.iter().filter_map(|example| Some(example.get(field)?.as_str()?.to_owned())).collect()
    };
    let all = |schema: &str| document.enumeration(schema).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(shown("state", "phase"), all("Phase"));
    assert_eq!(shown("state", "status"), all("OrderStatus"));
    assert!(shown("state", "reason").is_superset(&all("Gone")));
    assert_eq!(shown("refused", "reason"), all("Reason"));
    assert_eq!(shown("error", "code"), all("ErrorCode"));
    assert_eq!(shown("bye", "reason"), all("ByeReason"));
    let mut sent = all("PromoStatus");
    assert!(sent.remove("draft"), "nobody may watch a draft");
    assert_eq!(shown("queue", "status"), sent);
}

#[test]
fn close_codes_are_those_of_the_code() {
    let document = Document::read();
    let listed = document.at("/x-close-codes").as_array().unwrap();
    let documented: Vec<Value> = listed.iter().map(|row| json!([row["code"], row["reason"]])).collect();
    let of_code: Vec<Value> = close::ALL.iter().map(|close| json!([close.code, close.reason])).collect();
    assert_eq!(documented, of_code);
    for row in listed {
        let code = row["code"].as_u64().unwrap();
        assert_eq!(row["reconnect"], json!(code == 1001 || (4000..=4499).contains(&code)), "{row}");
        let yes_no = if row["reconnect"] == json!(true) { "yes" } else { "no" };
        let (reason, meaning) = (row["reason"].as_str().unwrap(), row["meaning"].as_str().unwrap());
        document.assert_says(&format!("| {code} | `{reason}` | {yes_no} | {meaning} |"));
    }
}

#[test]
fn reasons_and_error_codes_are_told_in_order_and_with_what_a_client_may_do() {
    fn check<T: Serialize + Copy>(list: &str, key: &str, values: &[T], is_temporary: impl Fn(T) -> bool) {
        let document = Document::read();
        let rows = document.at(list).as_array().unwrap();
        let documented: Vec<Value> = rows.iter().map(|row| json!([row[key], row["temporary"]])).collect();
        let of_code: Vec<Value> = values.iter().map(|value| json!([value, is_temporary(*value)])).collect();
        assert_eq!(documented, of_code, "{list}");
        for row in rows {
            let yes_no = if row["temporary"] == json!(true) { "yes" } else { "no" };
            let (value, meaning) = (row[key].as_str().unwrap(), row["meaning"].as_str().unwrap());
            document.assert_says(&format!("| `{value}` | {yes_no} | {meaning} |"));
        }
    }
    check("/x-reasons", "reason", &Reason::ALL, Reason::is_temporary);
    check("/x-error-codes", "code", &ERROR_CODES, ErrorCode::is_temporary);
}

#[test]
fn the_code_reads_back_every_frame_it_writes() {
    let client = types(&client_frames().iter().map(|frame| json!(frame)).collect::<Vec<_>>());
    for frame in all_frames() {
        let from_client = client.contains(frame["type"].as_str().unwrap());
        assert_eq!(read_and_written(&frame, from_client), frame);
    }
}
