//! The worker processes as the commander sees them: all are told the same, and all answer.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command as Program},
    time::timeout,
};

use super::{
    command::{Answer, Command, Tally},
    worker::MAX_SHOPPERS,
};
use crate::process;

/// How much longer than a command may take its answer is waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// All workers. They end when this is dropped.
pub struct Workers(Vec<Worker>);

struct Worker {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    shoppers: u32,
}

/// What all workers together have answered.
#[derive(Debug, Default)]
pub struct Answers {
    pub moments_us: Vec<u64>,
    pub missing: u32,
    pub tally: Tally,
}

impl Workers {
    /// Starts as many processes as so many shoppers need, and tells each of them who it is.
    pub async fn start(
        tokens: Vec<String>,
        per_worker: usize,
        promo: i64,
        targets: &[SocketAddr],
    ) -> anyhow::Result<Self> {
        ensure!((1..=MAX_SHOPPERS).contains(&per_worker), "a worker has 1 to {MAX_SHOPPERS} shoppers");
        let (mut workers, mut first) = (Vec::new(), 0);
        for tokens in tokens.chunks(per_worker) {
            let mut worker = Worker::start(u32::try_from(tokens.len())?)?;
            let be = Command::Be { first, promo, targets: targets.to_vec(), tokens: tokens.to_vec() };
            worker.ask(&be, Duration::ZERO).await?;
            first += worker.shoppers;
            workers.push(worker);
        }
        Ok(Self(workers))
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// Tells all the same at once, and waits for all answers. `within`: how long the command itself may take.
    pub async fn ask(&mut self, command: &Command, within: Duration) -> anyhow::Result<Answers> {
        self.ask_each(|_| command.clone(), within).await
    }

    /// Tells each the command for its share of all shoppers, and waits for all answers.
    pub async fn ask_each(
        &mut self,
        command: impl Fn(f64) -> Command,
        within: Duration,
    ) -> anyhow::Result<Answers> {
        let all: u32 = self.0.iter().map(|worker| worker.shoppers).sum();
        let command = |worker: &Worker| command(f64::from(worker.shoppers) / f64::from(all));
        let commands: Vec<Command> = self.0.iter().map(command).collect();
        let asked = self.0.iter_mut().zip(&commands).map(|(worker, command)| worker.ask(command, within));
        let mut all = Answers::default();
        for answer in try_join_all(asked).await? {
            all.moments_us.extend(answer.moments_us);
            all.missing += answer.missing;
            all.tally.add(&answer.tally);
        }
        Ok(all)
    }

    /// Resident memory of all of them.
    pub fn rss_bytes(&self) -> anyhow::Result<u64> {
        let rss =
            |worker: &Worker| Ok(process::usage(worker.child.id().context("a worker has ended")?)?.rss_bytes);
        self.0.iter().map(rss).sum()
    }
}

impl Worker {
    fn start(shoppers: u32) -> anyhow::Result<Self> {
        let mut child = Program::new(std::env::current_exe()?)
            .args(["--threads", "1", "crowd-worker"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("a worker cannot be started")?;
        let input = child.stdin.take().context("no standard input")?;
        let output = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        Ok(Self { child, input, output, shoppers })
    }

    async fn ask(&mut self, command: &Command, within: Duration) -> anyhow::Result<Answer> {
        let mut line = serde_json::to_vec(command)?;
        line.push(b'\n');
        let asking = async {
            self.input.write_all(&line).await?;
            self.output.next_line().await
        };
        let answer = timeout(within + ANSWER_WITHIN, asking).await.context("a worker does not answer")??;
        let answer = answer.context("a worker has ended: its error is above")?;
        serde_json::from_str(&answer).context("a worker answered something else")
    }
}
