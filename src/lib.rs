//! Connected KMS: unwraps data keys over mutual TLS with an HSM, and caches them in locked memory.
//!
//! The rooms of this house and who may import whom are listed in README.md ("Code map") and held by
//! `tests/tidy.rs`. The way of a request: [`server`] (TLS, HTTP) -> [`api`] (Transit JSON to a
//! closed [`api::Command`], authorisation) -> [`engine`] -> [`cache`] or [`flight`] -> [`hsm`].

pub mod limits;
pub mod metrics;
pub mod secret;

pub mod audit;
pub mod config;
pub mod keystore;
pub mod wire;

pub mod identity;

pub mod cache;
pub mod flight;
pub mod net;
pub mod quota;

pub mod api;
pub mod cluster;
pub mod hsm;

pub mod keys;

pub mod engine;

pub mod admin;
pub mod server;

pub mod node;

pub mod cli;
