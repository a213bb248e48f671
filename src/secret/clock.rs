//! Whether something keeps the kernel's clock right: asked of the kernel, for rustix does not have the call.
//!
//! It is in this room for its `unsafe` alone. Changes nothing. Called by `kms check`.

/// Whether a time service keeps the clock synchronised, as far as the kernel knows; `None`: it does not tell.
pub fn clock_is_kept() -> Option<bool> {
    // SAFETY: every field of `timex` is an integer, for which zero is a value; `modes` of zero asks only.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes into `state`, which is whole, ours and outlives the call.
    let answer = unsafe { libc::adjtimex(&raw mut state) };
    (answer >= 0).then_some(state.status & libc::STA_UNSYNC == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_changes_nothing() {
        // What a sandbox forbids is not told; what is told, is told twice alike.
        assert_eq!(clock_is_kept(), clock_is_kept());
    }
}
