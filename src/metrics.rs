//! Counters that every room may bump: plain atomics, no labels made at run time, never a secret.
