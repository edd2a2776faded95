//! Hot reads: answers of the database that many nodes share, between each node's own memory and the database.
//!
//! Knows questions and answers as text. Must not know what they mean, nor ask the database: that is the catalogue's. Whatever goes
//! wrong here costs only the sharing: the answer is then "ask the database".

pub mod redis;

use async_trait::async_trait;

/// What is known of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// The answer.
    Found(String),
    /// Nobody knows: ask the database, and [`HotReads::keep`] the answer.
    Load(Ticket),
    /// Ask the database, and keep the answer to yourself.
    Skip,
}

/// The right to keep an answer: for as long as nothing has changed since it was given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub question: String,
    pub generation: String,
}

/// Answers shared by all nodes.
#[async_trait]
pub trait HotReads: Send + Sync {
    /// Looks a question up. If another node is asking the database right now, waits for its answer, but not for long.
    async fn look(&self, question: &str) -> Look;

    /// Shares an answer, unless something has changed since the ticket was given out: the answer may be from before.
    /// `None`: there is nothing worth sharing; whoever waits for it asks the database too.
    async fn keep(&self, ticket: Ticket, answer: Option<String>);

    /// Makes all nodes forget every answer. Begins at once, goes on in the background until it has succeeded, and until then
    /// this node neither takes nor gives shared answers.
    fn forget_all(&self);

    /// How many times another node was heard to make everybody forget. Only grows; may count a time more than once.
    fn heard(&self) -> u64;
}
