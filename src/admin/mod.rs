//! The read-only side door: `/healthz`, `/readyz`, `/status`, `/metrics`; and the control socket for orders.
//!
//! Must never be true: a request at the side door that changes anything; an answer that tells a key or a secret.
//! Called by `node`.

mod control;
mod exposition;
mod listener;
mod readiness;
mod status;

pub use control::{Carry, Control, ControlHandle, Order, ask};
pub use listener::{Door, Handle, listen};
pub use readiness::{Readiness, readiness};
pub use status::{Status, status};
