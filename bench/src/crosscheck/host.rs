//! The machine as its host lets it be: other guests take CPU time, and a tool that has no check for that shows it as
//! its own tail.
//!
//! Must never be true: figures of such a run believed.

use std::time::{Duration, Instant};

use kms_loadgen::cpu;
use kms_loadgen::results::Machine;

use super::tools::{Run, Tool};

/// Share of the time of all cores that others may take during a run. kms-loadgen believes itself up to 5 %, but here
/// tails are compared.
const STOLEN_RATIO_MAX: f64 = 0.02;

/// See the module.
pub(super) struct Host {
    cores: u32,
    /// What others took since boot.
    stolen: fn() -> Duration,
}

impl Host {
    /// Where the kernel does not tell what others take, they take nothing.
    pub(super) fn of_this_machine() -> Self {
        Self {
            cores: Machine::here().cores_online.max(1),
            stolen: || cpu::stolen().unwrap_or_default(),
        }
    }

    /// Runs `tool`, and doubts the run if others took too much meanwhile.
    pub(super) fn run(&self, tool: &dyn Tool, seconds: u64) -> Result<Run, String> {
        let (begun, before) = (Instant::now(), (self.stolen)());
        let mut run = tool.run(seconds)?;
        let taken = (self.stolen)().saturating_sub(before);
        run.doubt = run.doubt.or_else(|| self.doubt(taken, begun.elapsed()));
        Ok(run)
    }

    fn doubt(&self, taken: Duration, elapsed: Duration) -> Option<String> {
        let all_s = elapsed.as_secs_f64() * f64::from(self.cores);
        let ratio = taken.as_secs_f64() / all_s;
        (ratio > STOLEN_RATIO_MAX).then(|| {
            let percent = ratio * 1e2;
            format!("other guests of the host took {percent:.1} % of the CPU time")
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::crosscheck::tools::Figures;

    impl Host {
        /// Nobody else is on it.
        pub(in crate::crosscheck) fn all_ours() -> Self {
            Self {
                cores: 2,
                stolen: Duration::default,
            }
        }
    }

    struct Quick;

    impl Tool for Quick {
        fn name(&self) -> &'static str {
            "quick"
        }

        fn run(&self, _: u64) -> Result<Run, String> {
            Ok(Run::from(Figures {
                rate: 1.0,
                p50_ms: 1.0,
                p90_ms: 1.0,
                p99_ms: 1.0,
            }))
        }
    }

    #[test]
    fn a_run_during_which_others_took_the_cpu_is_doubted() {
        static SECONDS: AtomicU64 = AtomicU64::new(0);
        let busy = Host {
            cores: 2,
            stolen: || Duration::from_secs(SECONDS.fetch_add(1, Ordering::Relaxed)),
        };
        let doubt = busy.run(&Quick, 1).unwrap().doubt;
        assert!(doubt.unwrap().contains("other guests"));
        assert_eq!(Host::all_ours().run(&Quick, 1).unwrap().doubt, None);
    }

    #[test]
    fn the_limit_is_a_share_of_all_cores() {
        let ms = Duration::from_millis;
        for (taken_ms, cores, is_doubted) in [
            (0, 2, false),
            (400, 2, false),
            (401, 2, true),
            (401, 4, false),
        ] {
            let host = Host {
                cores,
                ..Host::all_ours()
            };
            let doubt = host.doubt(ms(taken_ms), ms(10_000));
            assert_eq!(doubt.is_some(), is_doubted, "{taken_ms} ms of {cores}");
        }
    }
}
