//! Signals: when to stop.

use std::io;

use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Waits for SIGTERM or SIGINT and returns its name. `on_hangup` runs on SIGHUP. A second SIGTERM
/// or SIGINT while the caller drains ends the process at once.
pub fn until_signalled(on_hangup: impl Fn()) -> io::Result<&'static str> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    for signal in &mut signals {
        let name = match signal {
            SIGHUP => {
                on_hangup();
                continue;
            }
            SIGTERM => "SIGTERM",
            _ => "SIGINT",
        };
        obey_the_impatient()?;
        return Ok(name);
    }
    Ok("end of signals")
}

/// From now on a second SIGTERM or SIGINT ends the process at once.
fn obey_the_impatient() -> io::Result<()> {
    for signal in [SIGTERM, SIGINT] {
        let always = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
        signal_hook::flag::register_conditional_default(signal, always)?;
    }
    Ok(())
}
