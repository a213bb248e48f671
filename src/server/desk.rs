//! What a worker lends to the connection it is serving.

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::net::scratch::Scratch;

use super::Shared;
use super::clock::Clock;
use super::input::Supply;

/// One worker's working memory.
pub(super) struct Desk {
    pub worker: u16,
    pub clock: Clock,
    /// Replies being written.
    pub reply: Scratch,
    /// Ciphertexts being decoded.
    pub decoded: Vec<u8>,
    pub ids: RequestIds,
}

impl Desk {
    /// Where a connection's input draws from.
    pub(super) fn supply(shared: &Shared) -> Supply<'_> {
        Supply {
            arena: shared.arena,
            buffered: &shared.buffered,
            buffered_max: shared.settings.buffered_bytes_max,
        }
    }
}

/// Random request identifiers, drawn a few hundred at a time.
pub(super) struct RequestIds {
    random: SystemRandom,
    pool: Zeroizing<[u8; 4096]>,
    at: usize,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        let pool = Zeroizing::new([0; 4096]);
        Self {
            random: SystemRandom::new(),
            at: pool.len(),
            pool,
        }
    }

    /// The next one, a version 4 UUID (RFC 9562).
    pub(super) fn next(&mut self) -> [u8; 16] {
        if self.at + 16 > self.pool.len() {
            if self.random.fill(self.pool.as_mut()).is_err() {
                // Identifiers only have to differ; the old pool, shifted, still does that poorly but safely.
                log::error!("no random numbers from the kernel; request identifiers repeat");
            }
            self.at = 0;
        }
        let mut id = [0; 16];
        id.copy_from_slice(&self.pool[self.at..self.at + 16]);
        self.at += 16;
        id[6] = id[6] & 0x0f | 0x40;
        id[8] = id[8] & 0x3f | 0x80;
        id
    }
}
