//! The shop's services: what users, items and promos may do, in the domain's words.
//!
//! Knows the domain, the store and the engines, each behind its port. Knows nothing of HTTP, sockets or JSON: the
//! controllers in [`crate::api`] and the gateway translate.

pub mod audit;
pub mod catalog;
pub mod hot;
pub mod item;
pub mod order;
pub mod password;
pub mod promo;
pub mod queue;
pub mod shelf;
pub mod token;
pub mod unsold;
pub mod user;

/// Runs `work` to its end even if nobody waits for it any more: a client that hangs up, or a request that takes too
/// long, must not leave units between two pools.
async fn to_the_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}
