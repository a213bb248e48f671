//! The arena's promises, each in both modes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod kernel;
mod keys;
mod model;

use super::*;

const MODES: [Mode; 2] = [Mode::MemfdSecret, Mode::Mlock];

/// Small enough that all tests of one process together stay below 8 MiB.
fn plan(mode: Mode) -> ArenaPlan {
    ArenaPlan {
        key_bytes: 16 << 10,
        large_count: 2,
        large_bytes: 5_000,
        buffer_bytes: 8 << 10,
        mode: Some(mode),
    }
}

/// With medium places: they come with large regions that are far larger.
fn roomy(mode: Mode) -> ArenaPlan {
    ArenaPlan {
        large_bytes: 16 << 10,
        ..plan(mode)
    }
}

/// `None`, said aloud, where the kernel has no `memfd_secret`.
fn try_arena(plan: &ArenaPlan) -> Option<&'static Arena> {
    match Arena::reserve(plan) {
        Err(ArenaError::NoMemfdSecret(error)) => {
            eprintln!("SKIPPED for memfd_secret: {error}");
            None
        }
        other => Some(other.unwrap()),
    }
}

/// An arena in each mode that this kernel has.
fn arenas() -> impl Iterator<Item = &'static Arena> {
    MODES.into_iter().filter_map(|mode| try_arena(&plan(mode)))
}

impl Arena {
    /// The bytes at `place`, whether anybody holds them or not.
    fn raw(&self, place: Place) -> Vec<u8> {
        let (region, at, len) = self.region(place);
        // SAFETY: within the region; the tests that call this have no writer running.
        unsafe { region.read(at, len) }.to_vec()
    }

    /// Every region: keys, buffers, large and medium ones.
    fn regions(&self) -> impl Iterator<Item = &Region> {
        [&self.slots, self.buffers.region()]
            .into_iter()
            .chain(self.large.regions())
            .filter(|region| region.bytes() > 0)
    }

    /// Whether nothing but zeros is left anywhere.
    fn is_blank(&self) -> bool {
        // SAFETY: within the regions; the tests that call this have no writer running.
        self.regions().all(|region| {
            unsafe { region.read(0, region.bytes()) }
                .iter()
                .all(|byte| *byte == 0)
        })
    }
}
