//! The worker's standard input and output: commands come in and answers go out, one line of JSON each.

use std::{
    io::{self, BufRead, Write},
    sync::mpsc::SyncSender,
};

use anyhow::Context;
use mio::Waker;

use crate::scenario::crowd::command::{Answer, Command};

/// Hands over each line. Takes the channel, so that it closes when there are no more.
#[expect(clippy::needless_pass_by_value, reason = "the channel must close when the input ends")]
pub fn listen(commands: SyncSender<anyhow::Result<Command>>, bell: &Waker) {
    for line in io::stdin().lock().lines() {
        let command =
            line.map_err(Into::into).and_then(|line| serde_json::from_str(&line).context("not a command"));
        // A worker that is gone needs no commands.
        if commands.send(command).is_err() || bell.wake().is_err() {
            return;
        }
    }
}

/// Tells the commander.
pub fn tell(answer: &Answer) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    serde_json::to_writer(&mut output, answer)?;
    output.write_all(b"\n")?;
    output.flush()?;
    Ok(())
}
