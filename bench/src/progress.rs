//! What a person who waits is told, on standard error: the result alone goes to standard output.

use std::{fmt::Display, sync::OnceLock, time::Instant};

/// Tells what is going on, with the seconds since the first time something was told.
pub fn tell(what: impl Display) {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    let seconds = BEGAN.get_or_init(Instant::now).elapsed().as_secs_f64();
    eprintln!("{seconds:7.1} s  {what}");
}
