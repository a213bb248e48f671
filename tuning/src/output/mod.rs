//! What comes of a plan: for people, for machines, for the server.
//!
//! Must never be true: a configuration that the server's own parser refuses; a page that needs the network.

pub mod chart;
pub mod files;
pub mod html;
pub mod json;
pub mod properties;
pub mod table;
pub mod verify;
