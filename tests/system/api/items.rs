//! Items and their stock.

use serde_json::{Value, json};

use super::open;

#[tokio::test(flavor = "multi_thread")]
async fn an_item_is_created_shown_and_edited() {
    let (server, admin, visitor) = open().await;
    let body = json!({
        "title": "  Sneaker ", "description": "Two\nlines", "image_url": "/img/sneaker.svg",
        "price_minor": 9900, "stock": 7,
    });
    let created = admin.write("/api/v1/items", body).await;
    let path = created.header("location").to_owned();
    let item = created.expect(201);
    assert_eq!(path, format!("/api/v1/items/{}", item["id"]));
    assert_eq!(item["title"], "Sneaker");
    assert_eq!(item["currency"], "EUR");
    assert_eq!((&item["stock"], &item["available"], &item["promo"]), (&json!(7), &json!(7), &Value::Null));
    assert_eq!(visitor.get(&path).await, item);

    let edited = admin.edit(&path, json!({ "price_minor": 8900 })).await.expect(200);
    assert_eq!((&edited["price_minor"], &edited["title"]), (&json!(8900), &item["title"]));
    assert_eq!(visitor.get(&path).await, edited);
    admin.edit("/api/v1/items/99", json!({})).await.expect_problem(404, "not_found");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_is_added_and_taken_away_in_both_places() {
    let (server, admin, visitor) = open().await;
    let item = admin.create_item(5).await;
    let path = format!("/api/v1/items/{item}/stock");
    let restock = async |delta: i64| admin.write(&path, json!({ "delta": delta })).await;
    restock(3).await.expect(200);
    assert_eq!(visitor.item_stock(item).await, (8, 8));
    restock(-6).await.expect(200);
    assert_eq!(visitor.item_stock(item).await, (2, 2));
    restock(-3).await.expect_problem(409, "insufficient_stock");
    restock(100_000_000).await.expect_problem(422, "validation_failed");
    restock(100_000_001).await.expect_problem(422, "validation_failed");
    restock(0).await.expect(200);
    assert_eq!(visitor.item_stock(item).await, (2, 2));
    let nowhere = admin.write("/api/v1/items/99/stock", json!({ "delta": -1 })).await;
    nowhere.expect_problem(404, "not_found");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_comes_in_pages() {
    let (server, admin, visitor) = open().await;
    for _ in 0..5 {
        admin.create_item(1).await;
    }
    let ids = |page: &Value| -> Vec<i64> {
        page["data"].as_array().unwrap().iter().map(|item| item["id"].as_i64().unwrap()).collect()
    };
    let first = visitor.get("/api/v1/items?limit=2").await;
    assert_eq!((ids(&first), &first["next"]), (vec![1, 2], &json!(2)));
    let second = visitor.get("/api/v1/items?limit=3&after=2").await;
    assert_eq!((ids(&second), &second["next"]), (vec![3, 4, 5], &Value::Null));
    for query in ["limit=0", "limit=101", "limit=x", "after=x"] {
        let answer = visitor.read(&format!("/api/v1/items?{query}")).await;
        let problem = answer.expect_problem(422, "validation_failed");
        let field = query.split('=').next().unwrap();
        assert!(problem["errors"][field].is_string(), "{problem}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_are_kept() {
    let (server, admin, _) = open().await;
    let create = async |field: &str, value: Value| {
        let mut body = json!({ "title": "Sneaker", "price_minor": 9900, "stock": 7 });
        body[field] = value;
        let problem = admin.write("/api/v1/items", body).await.expect_problem(422, "validation_failed");
        assert!(problem["errors"][field].is_string(), "{problem}");
    };
    create("title", json!(" ")).await;
    create("title", json!("x".repeat(201))).await;
    create("title", json!(7)).await;
    create("title", Value::Null).await;
    create("description", json!("x".repeat(5001))).await;
    create("image_url", json!("javascript:alert(1)")).await;
    create("price_minor", json!(-1)).await;
    create("price_minor", json!(10_000_000_001_i64)).await;
    create("price_minor", json!(1.5)).await;
    create("stock", json!(-1)).await;
    create("stock", json!(100_000_001)).await;
    create("stock", json!("7")).await;
    server.stop().await;
}
