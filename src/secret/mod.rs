//! Where key bytes may rest, and the only room with `unsafe`.
//!
//! Must never be true: a secret in a type that prints it, in memory that may be swapped or dumped,
//! or in freed memory.
#![allow(unsafe_code)]

mod arena;
mod bytes;
pub mod cipher;
mod clock;
pub mod harden;
mod wipe;
mod wipe_alloc;

pub use arena::{
    Arena, ArenaError, ArenaPlan, KeyHandle, LockedBuf, Mode, SecretKey, StoreError, Usage,
    memlock_limit,
};
pub use bytes::{NotUtf8, SecretBytes, SecretString};
pub use clock::clock_is_kept;
pub use wipe_alloc::WipeOnFree;

/// Zeroes `bytes` in a way the compiler may not leave out.
pub fn wipe_slice(bytes: &mut [u8]) {
    bytes.fill(0);
    std::hint::black_box(bytes);
}
