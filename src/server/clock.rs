//! What a worker knows of the time: read once a wake, printed once a second.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Now, in the three forms that answers and deadlines need.
pub(super) struct Clock {
    pub now: Instant,
    pub unix_s: i64,
    pub date: [u8; 29],
}

impl Clock {
    pub(super) fn new() -> Self {
        let mut clock = Self {
            now: Instant::now(),
            unix_s: 0,
            date: *b"Thu, 01 Jan 1970 00:00:00 GMT",
        };
        clock.read();
        clock
    }

    /// Reads the clocks anew.
    pub(super) fn read(&mut self) {
        self.now = Instant::now();
        let wall = SystemTime::now();
        let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_s = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        if unix_s != self.unix_s {
            self.unix_s = unix_s;
            if let Ok(date) = <[u8; 29]>::try_from(httpdate::fmt_http_date(wall).as_bytes()) {
                self.date = date;
            }
        }
    }
}
