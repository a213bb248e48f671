//! Transport: TLS configurations, TLS over any Read+Write, bounded inboxes, bounded lanes, the time.
//!
//! Must never be true: a queue without a bound, a wait without a deadline, plaintext that waits for a socket.

pub mod inbox;
pub mod lane;
pub mod pipe;
pub mod scratch;
pub mod time;
pub mod tls;
