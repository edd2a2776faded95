//! The promises of the whole system on the cluster engines: MySQL, Redis and Kafka, one process or many.
//!
//! What any set of engines promises is tested by the very modules that test the embedded set; what only many processes and
//! failing servers can show is in `cluster/`.

mod api;
mod cluster {
    mod crowd;
    mod faults;
    mod fleet;
    mod lag;
    mod nodes;
    mod outages;
    mod poison;
    mod rolling;
}
mod crash;
mod gateway;
mod hostile;
mod repeats;
mod sale;
#[expect(dead_code, reason = "some of it is for the embedded engines alone")]
mod support;
