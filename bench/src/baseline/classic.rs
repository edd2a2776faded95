//! What is usual today: one transaction for each order, under the lock of the one row that everybody wants.
//!
//! As a competent team would do it: on the same server and the same tables as the shop, prepared statements, primary keys,
//! READ COMMITTED, durable commits, the order id made by the program and growing with time. Two shapes of it are measured:
//! the textbook's, which locks first, and one that holds the lock as shortly as one can.

mod order;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use anyhow::Context;
use clap::Args;
use sqlx::MySqlConnection;

use self::order::Shape;
use super::{
    closed_loop::{self, Worker},
    database::{OwnDatabase, shopper},
    timing::{Pace, Repeats},
};
use crate::found::Found;

/// Settings of `classic`.
#[derive(Clone, Debug, Args)]
pub struct ClassicSettings {
    /// `mysql://user:password@host/database`; the user may create databases.
    #[arg(long, env = "PANICBUY_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: String,
    /// Numbers of connections to try.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16, 32])]
    pub connections: Vec<u32>,
    /// Shapes of the transaction to try.
    #[arg(long, value_enum, value_name = "SHAPE,…", value_delimiter = ',', default_values_t = [Shape::Textbook, Shape::ShortLock])]
    pub shapes: Vec<Shape>,
    #[command(flatten)]
    pub pace: Pace,
}

/// Measures each shape at each number of connections. The numbers without a suffix are the best of all.
pub async fn run(settings: ClassicSettings) -> anyhow::Result<Found> {
    let mut found = Found::new("classic");
    found.set("connections", settings.connections.clone());
    settings.pace.describe(&mut found);
    let database = OwnDatabase::create(&settings.database_url).await?;
    let measured = measure(&database, &settings, &mut found).await;
    database.drop_it(measured).await?;
    Ok(found)
}

async fn measure(
    database: &OwnDatabase,
    settings: &ClassicSettings,
    found: &mut Found,
) -> anyhow::Result<()> {
    database.describe(found).await?;
    let mut best: Option<(Shape, u32, Repeats)> = None;
    for &shape in &settings.shapes {
        let mut points = Vec::new();
        for &connections in &settings.connections {
            let repeats = repeat(database, shape, connections, settings.pace, found).await?;
            let name = format!("{}_orders_per_s_at_{connections}_connections", shape.name());
            repeats.note(found, &name);
            eprintln!("{name}: {:.0}", repeats.median());
            found.latencies.insert(
                format!("{}_order_at_{connections}_connections", shape.name()),
                repeats.percentiles(),
            );
            points.push((f64::from(connections), repeats.median()));
            if best.as_ref().is_none_or(|(_, _, best)| repeats.median() > best.median()) {
                best = Some((shape, connections, repeats));
            }
        }
        found.note(
            &format!("{}_orders_per_s", shape.name()),
            points.iter().map(|(_, per_s)| *per_s).fold(0.0, f64::max),
        );
        found.series.insert(format!("{}_orders_per_s_over_connections", shape.name()), points);
    }
    let (shape, connections, repeats) = best.context("--connections and --shapes must not be empty")?;
    repeats.note(found, "orders_per_s");
    found.note("best_connections", f64::from(connections));
    found.set("best_shape", shape.name());
    found.latencies.insert("order".to_owned(), repeats.percentiles());
    Ok(())
}

async fn repeat(
    database: &OwnDatabase,
    shape: Shape,
    connections: u32,
    pace: Pace,
    found: &mut Found,
) -> anyhow::Result<Repeats> {
    let mut repeats = Repeats::default();
    for _ in 0..pace.repeats {
        database.restock().await?;
        let next_user = Arc::new(AtomicI64::new(1));
        let mut tills = Vec::new();
        for _ in 0..connections {
            tills.push(Till {
                connection: database.connect().await?,
                next_user: Arc::clone(&next_user),
                shape,
            });
        }
        let measured = closed_loop::run(tills, pace).await?;
        *found.faults.entry("orders_not_counted".to_owned()).or_default() += database.discrepancy().await?;
        repeats.push(measured.per_s, &measured.latencies);
    }
    Ok(repeats)
}

/// One connection, at which shoppers order one after the other.
struct Till {
    connection: MySqlConnection,
    /// Everybody orders once.
    next_user: Arc<AtomicI64>,
    shape: Shape,
}

impl Worker for Till {
    async fn work(&mut self) -> anyhow::Result<u64> {
        let user = shopper(self.next_user.fetch_add(1, Ordering::Relaxed));
        order::place(&mut self.connection, self.shape, user).await?;
        Ok(1)
    }
}
