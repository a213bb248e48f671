//! A global allocator that wipes what it frees.

/// `#[global_allocator]` of the program and of the tests that scan memory.
pub struct WipeOnFree;
