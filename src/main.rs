//! `kms`: arguments to command to exit code.

use std::process::ExitCode;

/// Freed memory is wiped, whoever allocated it.
#[global_allocator]
static ALLOCATOR: kms::secret::WipeOnFree = kms::secret::WipeOnFree;

fn main() -> ExitCode {
    kms::cli::run()
}
