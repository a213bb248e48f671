//! The back end against servers that answer whatever the test says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
