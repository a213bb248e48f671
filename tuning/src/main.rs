//! `kms-tune`: arguments to command to exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    kms_tune::cli::run()
}
