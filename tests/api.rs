//! The REST API as a client meets it: requests in, answers out, on a real store and real engines, without a socket.

#[path = "api/items.rs"]
mod items;
#[path = "api/page.rs"]
mod page;
#[path = "api/problems.rs"]
mod problems;
#[path = "api/promos.rs"]
mod promos;
#[path = "api/shop.rs"]
mod shop;
#[path = "api/users.rs"]
mod users;
