//! What is being measured, for whoever waits: lines on standard error with the time since the first.

use std::io::{self, Write as _};
use std::sync::OnceLock;
use std::time::Instant;

static BEGUN: OnceLock<Instant> = OnceLock::new();

/// Says it.
pub fn say(what: &str) {
    let since = BEGUN.get_or_init(Instant::now).elapsed().as_secs();
    // Whoever does not read it does not miss it.
    let _ = writeln!(io::stderr(), "{since:>5} s  {what}");
}
