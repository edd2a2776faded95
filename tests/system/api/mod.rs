//! The REST API, the web page and the operator's pages as a client meets them: over HTTP, from the running program.

mod after_the_end;
mod description;
mod items;
mod operator;
mod page;
mod problems;
mod promos;
mod users;

use crate::support::{Server, shop::Shop};

const HOUR_MS: i64 = 3_600_000;

/// A server, its administrator and somebody who has not logged in.
async fn open() -> (Server, Shop, Shop) {
    let server = Server::start().await;
    let admin = Shop::admin(server.address).await;
    let visitor = Shop::visitor(server.address);
    (server, admin, visitor)
}
