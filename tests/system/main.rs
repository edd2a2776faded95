//! Tests of the whole system on real engines: one crate, so that it is linked once.

mod api;
mod asyncapi;
mod crash;
mod gateway;
mod hostile;
mod machines;
mod openapi;
mod repeats;
mod sale;
mod support;
mod trouble;
