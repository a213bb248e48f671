//! The load generator, the simulated HSM, and what both are tried with.
//!
//! [`load`] plans, sends and judges; [`results`] is what it gives, [`report`] how that is drawn; [`sim`] is the HSM;
//! [`scenario`] plays both against a server; [`cli`] are the commands. [`Driver`] is a plain closed loop that `bench`
//! calls. One thread drives all connections; a request costs one read and one write, and no allocation, so that
//! one core outruns the server on another.
//!
//! Must never be true: an answer that is counted without being compared with what was expected.

// Counts and nanoseconds become figures for people here; none comes near 2^52.
#![allow(clippy::cast_precision_loss)]

pub mod cli;
pub mod client;
pub mod cpu;
pub mod driver;
pub mod exchange;
pub mod load;
pub mod report;
pub mod results;
pub mod scenario;
pub mod sim;
pub mod stream;
pub mod target;
pub mod transit;

mod alarm;
mod connection;
mod tickets;

pub use driver::{DriveError, Driver, Plan, Until};
pub use exchange::Exchanges;
pub use report::Outcome;
pub use target::{Target, TargetError};
