//! `kms-tune`: capacity planning for a site. Not written yet: this program says so and ends.
//!
//! Must never be true: a plan printed that nothing computed.

use std::process::ExitCode;

#[allow(clippy::print_stderr)] // A command's answer.
fn main() -> ExitCode {
    eprintln!(
        "kms-tune: planning is not part of this version; sizes derived from a configuration: kms check"
    );
    ExitCode::from(2)
}
