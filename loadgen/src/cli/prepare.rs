//! `kms-loadgen prepare`.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use super::reach::ReachArgs;
use super::{print, say};
use crate::load::prepared::{KEYS_MAX, PLAINTEXT_BYTES_MAX};
use crate::load::session::Door;
use crate::target::TlsPlan;

/// Wraps data keys and keeps the ciphertexts in a file for later runs.
///
/// The data keys are made from the seed, so the file holds none of them and every plaintext that comes back can be
/// checked; whoever reads the file can make them. It is good for this server's master key only: a run finds out before it begins.
#[derive(Args)]
pub(super) struct Prepare {
    /// File to make.
    #[arg(value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    reach: ReachArgs,
    /// How many data keys.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=i64::from(KEYS_MAX)))]
    keys: u32,
    /// Bytes of each.
    #[arg(long, value_name = "BYTES", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=i64::from(PLAINTEXT_BYTES_MAX)))]
    bytes: u16,
    /// Of the data keys.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// No progress on standard error.
    #[arg(long)]
    quiet: bool,
}

impl Prepare {
    /// Makes the file.
    pub fn execute(&self) -> Result<u8, String> {
        let failed = |error: &dyn std::fmt::Display| error.to_string();
        let plan = TlsPlan {
            versions: self.reach.tls.parse()?,
            is_resuming: false,
        };
        let door = Door::open(&self.reach.reach(), plan, self.reach.token())
            .map_err(|error| failed(&error))?;
        let mut desk = door.desk().map_err(|error| failed(&error))?;
        let begun = Instant::now();
        let mut told = 0;
        let prepared = desk.wrap(self.seed, self.keys, self.bytes, |done| {
            // Every tenth of a long way.
            if !self.quiet && self.keys > 10_000 && done / (self.keys / 10) > told {
                told = done / (self.keys / 10);
                say(&format!("{done} of {} data keys wrapped", self.keys));
            }
        });
        let prepared = prepared.map_err(|error| failed(&error))?;
        prepared.write(&self.out).map_err(|error| failed(&error))?;
        print(&format!(
            "{}: {} data keys wrapped by key `{}` of {} in {:.1} s\n",
            self.out.display(),
            prepared.len(),
            prepared.origin().transit_key,
            prepared.origin().server,
            begun.elapsed().as_secs_f64()
        ))?;
        Ok(0)
    }
}
