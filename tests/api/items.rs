//! Items and their stock.

use axum::http::header;
use serde_json::{Value, json};

use crate::shop::Shop;

#[tokio::test]
async fn an_item_is_created_shown_and_edited() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let body = json!({
        "title": "  Sneaker ", "description": "Two\nlines", "image_url": "/img/sneaker.svg",
        "price_minor": 9900, "stock": 7,
    });
    let created = shop.post("/items", Some(&admin), body).await;
    let location = created.headers[header::LOCATION].to_str().unwrap().to_owned();
    let item = created.expect(201);
    assert_eq!(location, format!("/api/v1/items/{}", item["id"]));
    assert_eq!(item["title"], "Sneaker");
    assert_eq!(item["currency"], "EUR");
    assert_eq!((&item["stock"], &item["available"], &item["promo"]), (&json!(7), &json!(7), &Value::Null));
    assert_eq!(shop.get(&format!("/{location}"), None).await.expect(200), item);

    let path = format!("/items/{}", item["id"]);
    let edited = shop.call("PATCH", &path, Some(&admin), json!({ "price_minor": 8900 })).await.expect(200);
    assert_eq!((&edited["price_minor"], &edited["title"]), (&json!(8900), &item["title"]));
    assert_eq!(shop.get(&path, None).await.expect(200), edited);
    shop.call("PATCH", "/items/99", Some(&admin), json!({})).await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn stock_is_added_and_taken_away_in_both_places() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let id = shop.item(&admin, 5).await;
    let restock = async |delta: i64| {
        shop.post(&format!("/items/{id}/stock"), Some(&admin), json!({ "delta": delta })).await
    };
    restock(3).await.expect(200);
    assert_eq!(shop.item_stock(id).await, (8, 8));
    restock(-6).await.expect(200);
    assert_eq!(shop.item_stock(id).await, (2, 2));
    restock(-3).await.expect_problem(409, "insufficient_stock");
    restock(100_000_000).await.expect_problem(422, "validation_failed");
    restock(100_000_001).await.expect_problem(422, "validation_failed");
    restock(0).await.expect(200);
    assert_eq!(shop.item_stock(id).await, (2, 2));
    let nowhere = shop.post("/items/99/stock", Some(&admin), json!({ "delta": -1 })).await;
    nowhere.expect_problem(404, "not_found");
}

#[tokio::test]
async fn a_list_comes_in_pages() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    for _ in 0..5 {
        shop.item(&admin, 1).await;
    }
    let ids = |page: &Value| -> Vec<i64> {
        page["data"].as_array().unwrap().iter().map(|item| item["id"].as_i64().unwrap()).collect()
    };
    let first = shop.get("/items?limit=2", None).await.expect(200);
    assert_eq!((ids(&first), &first["next"]), (vec![1, 2], &json!(2)));
    let second = shop.get("/items?limit=3&after=2", None).await.expect(200);
    assert_eq!((ids(&second), &second["next"]), (vec![3, 4, 5], &Value::Null));
    for query in ["limit=0", "limit=101", "limit=x", "after=x"] {
        let problem =
            shop.get(&format!("/items?{query}"), None).await.expect_problem(422, "validation_failed");
        let field = query.split('=').next().unwrap();
        assert!(problem["errors"][field].is_string(), "{problem}");
    }
}

#[tokio::test]
async fn bounds_are_kept() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let create = async |field: &str, value: Value| {
        let mut body = json!({ "title": "Sneaker", "price_minor": 9900, "stock": 7 });
        body[field] = value;
        let problem = shop.post("/items", Some(&admin), body).await.expect_problem(422, "validation_failed");
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
}
