//! Tests of the whole system on real engines: one crate, so that it is linked once.

mod api;
mod asyncapi;
mod crash;
mod embedded;
mod gateway;
mod hostile;
mod machines;
mod model;
mod openapi;
mod repeats;
mod sale;
mod support;
mod trouble;
