//! What a worker lends to the connection it is serving.

use ring::rand::{SecureRandom, SystemRandom};

use crate::audit::Chain;
use crate::net::scratch::Scratch;

use super::Shared;
use super::clock::Clock;
use super::input::Supply;
use super::tally::Tally;

/// One worker's working memory.
pub(super) struct Desk {
    pub worker: u16,
    pub clock: Clock,
    /// Replies being written.
    pub reply: Scratch,
    /// Ciphertexts being decoded.
    pub decoded: Vec<u8>,
    pub ids: RequestIds,
    /// How long its requests took.
    pub tally: Tally,
    /// The worker's chain of the audit log, if there is one.
    pub audit: Option<Chain>,
    /// Lines could not be written since this was last looked at: what they tell of must not be sent.
    pub is_cut: bool,
}

impl Desk {
    /// Whether lines wait to be written.
    pub(super) fn has_lines(&self) -> bool {
        self.audit.as_ref().is_some_and(Chain::is_pending)
    }

    /// Writes the lines that wait. False: what they tell of must not be sent.
    pub(super) fn commit(&mut self) -> bool {
        let Some(audit) = &mut self.audit else {
            return true;
        };
        let is_written = audit.commit(self.clock.now);
        self.is_cut |= !is_written;
        is_written
    }

    /// Where a connection's input draws from.
    pub(super) fn supply(shared: &Shared) -> Supply<'_> {
        Supply {
            arena: shared.arena,
            buffered: &shared.buffered,
            buffered_max: shared.settings.buffered_bytes_max,
        }
    }
}

/// Request identifiers: version 4 UUIDs (RFC 9562) that differ from each other and between nodes.
///
/// They name requests in answers and logs and grant nothing, so a seeded mixer (`SplitMix64`) makes
/// them: the kernel's generator would cost a request more than its JSON does.
pub(super) struct RequestIds(u64);

impl RequestIds {
    pub(super) fn new() -> Result<Self, ring::error::Unspecified> {
        let mut seed = [0; 8];
        SystemRandom::new().fill(&mut seed)?;
        Ok(Self(u64::from_ne_bytes(seed)))
    }

    /// The next one.
    #[inline]
    pub(super) fn next(&mut self) -> [u8; 16] {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.mix().to_ne_bytes());
        id[8..].copy_from_slice(&self.mix().to_ne_bytes());
        id[6] = id[6] & 0x0f | 0x40;
        id[8] = id[8] & 0x3f | 0x80;
        id
    }

    #[inline]
    fn mix(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
