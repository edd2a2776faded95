//! The demo's items and sales.

use crate::{
    app::Services,
    clock,
    domain::{Admission, ItemId, NewItem, NewPromo, Price, PromoId, Timestamp},
    random,
};

use super::Crowd;

/// Title, description, picture, list price in minor units.
const SHELF: [(&str, &str, &str, i64); 6] = [
    (
        "Aurora One sneaker",
        "A running shoe with a carbon plate and a recycled knit upper. One pair, all sizes.",
        "/img/sneaker.svg",
        18_900,
    ),
    (
        "Hush wireless headphones",
        "Forty hours of quiet. Adaptive noise cancelling, replaceable battery.",
        "/img/headphones.svg",
        24_900,
    ),
    (
        "Nova game console",
        "The one everybody wants this year, with one controller.",
        "/img/console.svg",
        49_900,
    ),
    ("Meridian watch", "Automatic movement, sapphire glass, 39 mm.", "/img/watch.svg", 32_500),
    ("Parallax camera", "Full frame in a coat pocket. With the 35 mm lens.", "/img/camera.svg", 129_900),
    ("Ember kettle", "Boils to the degree, keeps it warm for an hour.", "/img/kettle.svg", 8_900),
];

/// What the second sale waits after the first, so that who came late has something to wait for.
const SECOND_SALE_AFTER_MS: u64 = 180_000;

const SALE_LASTS_MS: u64 = 1_800_000;

/// Creates items and two sales; returns the sale the crowd comes for.
pub async fn stock_shelves(
    services: &Services,
    crowd: &Crowd,
    starts_at: Timestamp,
) -> anyhow::Result<PromoId> {
    let mut items = Vec::new();
    for (title, description, image_url, price) in SHELF {
        let item = NewItem {
            title: title.to_owned(),
            description: description.to_owned(),
            image_url: image_url.to_owned(),
            price: Price(price),
            stock: crowd.stock + 500,
        };
        items.push(services.items.create(item, clock::now()).await?.id);
    }
    let first = sale(items[2], "Nova launch night", Price(34_900), crowd.stock, starts_at);
    let later = starts_at.plus_millis(SECOND_SALE_AFTER_MS);
    let second = sale(items[0], "Aurora drop", Price(9_900), crowd.stock.div_ceil(2), later);
    let promo = publish(services, first).await?;
    publish(services, second).await?;
    Ok(promo)
}

fn sale(item_id: ItemId, title: &str, price: Price, stock: u32, starts_at: Timestamp) -> NewPromo {
    NewPromo {
        item_id,
        title: title.to_owned(),
        price,
        stock,
        per_user_limit: 1,
        starts_at,
        ends_at: starts_at.plus_millis(SALE_LASTS_MS),
        admission: Admission { rate_per_s: 4, max_active: 25, pass_ttl_ms: 60_000 },
        payment_window_ms: 60_000,
        seed: random::seed(),
    }
}

async fn publish(services: &Services, draft: NewPromo) -> anyhow::Result<PromoId> {
    let now = clock::now();
    let promo = services.promos.create(draft, now).await?;
    services.promos.publish(promo.id, now).await?;
    Ok(promo.id)
}
