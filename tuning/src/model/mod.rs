//! The formulas: numbers in, numbers out. One file a group, each with its source, its error and where that holds.
//!
//! Nothing here knows an input file or a quantity, only how a formula is described; `plan` gives them their
//! names and traces, and
//! `tuning/tests` hold each against a discrete-event simulation within the error it states. Must never be
//! true: a formula without a stated error, or one that no test holds.

pub mod balance;
pub mod bounded;
pub mod cpu;
pub mod distribution;
pub mod lives;
pub mod pool;
pub mod popularity;
pub mod shared;
pub mod stream;
pub mod transient;
