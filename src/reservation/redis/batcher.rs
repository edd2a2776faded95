//! Natural batching: what arrives for a pool while calls are under way, or right after one, shares the next one.
//!
//! Knows queues and bounds. Must not know what a job is: that is the [`Batch`]'s.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dashmap::DashMap;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::{Instant, sleep_until},
};

use super::super::port::EngineError;
use crate::domain::PoolId;

/// Calls of one pool begin no closer to each other, so that a busy pool does not spend its servers' time on calls of one
/// job each. Nobody waits on a quiet one.
const CALL_EVERY: Duration = Duration::from_millis(2);
/// Calls of one pool under way at once.
const MAX_CALLS: usize = 2;

/// How many jobs become one call.
#[async_trait]
pub(super) trait Batch: Send + Sync + 'static {
    type Job: Send + Sync + 'static;
    type Answer: Send + 'static;

    /// Jobs in one call, at most: what keeps a call short.
    const MAX_JOBS: usize = 128;

    /// How long the first job waits for others, where nobody waits for the answer.
    const LINGER: Duration = Duration::ZERO;

    /// Does the jobs in one call, in order; one answer for each.
    async fn run(&self, pool: PoolId, jobs: &[Self::Job]) -> Result<Vec<Self::Answer>, EngineError>;
}

type Reply<A> = oneshot::Sender<Result<A, EngineError>>;
type Queue<B> = mpsc::Sender<(<B as Batch>::Job, Reply<<B as Batch>::Answer>)>;

/// The queues of all pools.
pub(super) struct Batcher<B: Batch> {
    batch: Arc<B>,
    max_waiting: usize,
    queues: DashMap<PoolId, Queue<B>>,
}

impl<B: Batch> Batcher<B> {
    /// `max_waiting`: jobs of one pool that wait for a call; more are refused at once.
    pub(super) fn new(batch: B, max_waiting: usize) -> Self {
        Self { batch: Arc::new(batch), max_waiting, queues: DashMap::new() }
    }

    /// Does these jobs in one call of their own, at once.
    pub(super) async fn run(&self, pool: PoolId, jobs: &[B::Job]) -> Result<Vec<B::Answer>, EngineError> {
        self.batch.run(pool, jobs).await
    }

    /// Does the job together with others. It is done even if the caller stops waiting.
    pub(super) async fn ask(&self, pool: PoolId, job: B::Job) -> Result<B::Answer, EngineError> {
        let died = |_| EngineError::Unsure("a batch died".to_owned());
        self.put(pool, job)?.await.map_err(died)?
    }

    /// Leaves the job to the next call.
    pub(super) fn put(
        &self,
        pool: PoolId,
        job: B::Job,
    ) -> Result<oneshot::Receiver<Result<B::Answer, EngineError>>, EngineError> {
        let queue = self.queues.entry(pool).or_insert_with(|| self.worker(pool)).clone();
        let (reply, answer) = oneshot::channel();
        let full = |_| EngineError::Unavailable(format!("too many calls wait for the pool {pool}"));
        queue.try_send((job, reply)).map_err(full)?;
        Ok(answer)
    }

    /// Lives until the batcher is dropped.
    fn worker(&self, pool: PoolId) -> Queue<B> {
        let (queue, waiting) = mpsc::channel(self.max_waiting);
        tokio::spawn(work(Arc::clone(&self.batch), pool, waiting));
        queue
    }
}

async fn work<B: Batch>(
    batch: Arc<B>,
    pool: PoolId,
    mut waiting: mpsc::Receiver<(B::Job, Reply<B::Answer>)>,
) {
    let calls = Arc::new(Semaphore::new(MAX_CALLS));
    let mut began = Instant::now();
    // The permit first: what arrives until then shares the call.
    while let Ok(call) = Arc::clone(&calls).acquire_owned().await {
        let mut taken = Vec::new();
        if waiting.recv_many(&mut taken, B::MAX_JOBS).await == 0 {
            break;
        }
        let next = (began + CALL_EVERY).max(Instant::now() + B::LINGER);
        if taken.len() < B::MAX_JOBS && next > Instant::now() {
            sleep_until(next).await;
            while taken.len() < B::MAX_JOBS
                && let Ok(job) = waiting.try_recv()
            {
                taken.push(job);
            }
        }
        began = Instant::now();
        let batch = Arc::clone(&batch);
        tokio::spawn(async move {
            let (jobs, replies): (Vec<_>, Vec<_>) = taken.into_iter().unzip();
            let answers = batch.run(pool, &jobs).await;
            drop(call);
            tell(answers, replies);
        });
    }
}

fn tell<A>(answers: Result<Vec<A>, EngineError>, replies: Vec<Reply<A>>) {
    // Who does not listen any more does not want to know.
    match answers {
        Ok(answers) => {
            for (reply, answer) in replies.into_iter().zip(answers) {
                let _ = reply.send(Ok(answer));
            }
        }
        Err(error) => {
            for reply in replies {
                let _ = reply.send(Err(error.clone()));
            }
        }
    }
}
