//! The load engine: what is asked when, over which connections, and what came of it.
//!
//! [`job`] is what is asked for; [`session`] makes a server ready for it; [`run`] runs it and gives a
//! [`crate::results::RunResult`]. Inside, [`source`] says what is due next (from [`schedule`], [`keys`], [`mix`] and
//! [`trace`], none of which knows a socket or a clock), [`engine`] sends it, [`request`] checks what comes back,
//! [`tally`] counts, [`observer`] watches beside it, and [`verdict`] says whether the figures may be believed.

// Seconds and rates become nanoseconds and counts. Such casts saturate, and what people give is checked before.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

pub mod clock;
pub mod engine;
pub mod job;
pub mod keys;
pub mod knee;
pub mod mix;
pub mod observer;
mod outcome;
pub mod prepared;
pub mod proxy;
pub mod request;
pub mod run;
pub mod schedule;
pub mod scrape;
pub mod session;
pub mod source;
pub mod tally;
pub mod trace;
pub mod verdict;
pub mod wrap;
