//! Holds `docs/openapi.json` against the code that it was generated from.

use serde_json::Value;

#[test]
fn the_committed_description_is_the_one_that_is_served() {
    let committed: Value = serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap();
    assert!(
        committed == panicbuy::api::openapi(),
        "docs/openapi.json is out of date: cargo run -- openapi > docs/openapi.json"
    );
}
