//! A simulated HSM: a real KMIP server over mutual TLS that does real AES-GCM, with the latencies, limits
//! and faults of the real ones.
//!
//! [`hsm`] answers messages and knows no IO; [`station`] says when an answer is due; [`server`] is the
//! event loop around both. Must never be true: that anyone takes it for an HSM. Its keys come from a seed
//! and rest in ordinary memory. Called by `kms-loadgen hsm-sim`, and by tests inside their own process.

pub mod cli;
pub mod control;
pub mod crypt;
pub mod fault;
pub mod hsm;
pub mod plan;
pub mod preset;
pub mod server;
pub mod site;
pub mod station;
pub mod store;
pub mod tls;
pub mod truth;

mod answer;
mod conn;
mod operations;
mod orders;
mod serve;
mod spoil;
mod timers;

pub use plan::{HsmPlan, version_of};
pub use preset::{Model, Preset};
pub use server::{Running, Sim, SimPlan};
