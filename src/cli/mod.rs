//! cli

pub mod log;
