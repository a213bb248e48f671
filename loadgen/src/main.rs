//! `kms-loadgen`: see README.md of this folder.

use std::process::ExitCode;

fn main() -> ExitCode {
    kms_loadgen::cli::main()
}
