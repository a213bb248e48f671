//! The read-only side door: `/healthz`, `/readyz`, `/status`, `/metrics`.
//!
//! Must never be true: an answer here that changes anything, or that tells a key or a secret.
//! Called by `node`.

mod exposition;
mod listener;
mod readiness;
mod status;

pub use listener::{Door, Handle, listen};
pub use readiness::{Readiness, readiness};
pub use status::{Status, status};
