//! cli

pub mod pki;
