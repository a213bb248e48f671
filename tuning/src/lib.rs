//! Capacity planning: from a site's load to nodes, threads, memory and HSM connections, with every number's
//! formula, source and error at hand.
//!
//! [`trace`] is what a number is here; [`model`] has the formulas, one file a group, and knows no input
//! file; [`input`] reads a site's description; [`plan`] puts the formulas together and searches; [`output`]
//! writes what comes of it; [`validate`] plays it and compares. Must never be true: a number in an output that [`trace`] cannot explain.

// Counts become figures for people here; none comes near 2^52.
#![allow(clippy::cast_precision_loss)]

pub mod calibrate;
pub mod cli;
pub mod doctor;
pub mod input;
pub mod live;
pub mod model;
pub mod output;
pub mod plan;
pub mod trace;
pub mod validate;
