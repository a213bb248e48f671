//! Measurements of this program against its peers; the program `compare` prints them as one table.
//!
//! Must never be true: a peer that is skipped without a word; an absolute time as a target; a row
//! judged from runs with a wrong answer in them.

// Counts and bytes become figures for people here; none comes near 2^52.
#![allow(clippy::cast_precision_loss)]

pub mod cluster;
pub mod credentials;
pub mod crosscheck;
pub mod echo;
pub mod environment;
pub mod handshakes;
pub mod hsm;
pub mod line;
pub mod markdown;
pub mod peers;
pub mod pipeline;
pub mod place;
pub mod program;
pub mod progress;
pub mod readme;
pub mod rounds;
pub mod rows;
pub mod server;
pub mod simulator;
pub mod table;
pub mod ttlv;
pub mod way;
