//! What PanicBuying is measured against, on the same servers: the usual design, and what the servers alone can do.

pub mod ceiling;
pub mod classic;
mod closed_loop;
mod database;
mod timing;
