//! Process hardening at start: no core dumps, not dumpable. Called once by `main` and `node`.
//!
//! Not dumpable also closes `/proc/PID/mem` and `ptrace` to other processes of the same user.

use std::fmt;
use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// Which protection the kernel refused.
#[derive(Debug)]
#[non_exhaustive]
pub enum HardenError {
    /// `prctl(PR_SET_DUMPABLE, 0)`.
    Dumpable(io::Error),
    /// `setrlimit(RLIMIT_CORE, 0)`.
    CoreLimit(io::Error),
}

impl fmt::Display for HardenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (call, error) = match self {
            Self::Dumpable(error) => ("prctl(PR_SET_DUMPABLE, 0)", error),
            Self::CoreLimit(error) => ("setrlimit(RLIMIT_CORE, 0)", error),
        };
        write!(
            f,
            "the kernel refused {call}: {error}; keys could end up in a core dump. \
             Allow prctl and setrlimit in the seccomp filter of the service or container"
        )
    }
}

impl std::error::Error for HardenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Dumpable(error) | Self::CoreLimit(error) => Some(error),
        }
    }
}

/// How exposed the process is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Exposure {
    /// Whether it may dump core and be traced by its own user.
    pub dumpable: bool,
    /// Soft `RLIMIT_CORE`; `None` is unlimited.
    pub core_limit_bytes: Option<u64>,
}

/// Turns core dumps and tracing off, for good: the hard core limit goes to zero too. Harmless when repeated.
pub fn harden_process() -> Result<(), HardenError> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|errno| HardenError::Dumpable(errno.into()))?;
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    rustix::process::setrlimit(Resource::Core, none)
        .map_err(|errno| HardenError::CoreLimit(errno.into()))
}

/// What is in force now.
pub fn exposure() -> io::Result<Exposure> {
    Ok(Exposure {
        dumpable: rustix::process::dumpable_behavior()? != DumpableBehavior::NotDumpable,
        core_limit_bytes: rustix::process::getrlimit(Resource::Core).current,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn hardening_holds_and_may_be_repeated() {
        for round in 0..2 {
            harden_process().unwrap();
            let want = Exposure {
                dumpable: false,
                core_limit_bytes: Some(0),
            };
            assert_eq!(exposure().unwrap(), want, "round {round}");
        }
    }

    #[test]
    fn errors_name_the_call_and_the_remedy() {
        for (error, call) in [
            (
                HardenError::Dumpable(io::ErrorKind::PermissionDenied.into()),
                "PR_SET_DUMPABLE",
            ),
            (
                HardenError::CoreLimit(io::ErrorKind::PermissionDenied.into()),
                "RLIMIT_CORE",
            ),
        ] {
            let text = error.to_string();
            assert!(text.contains(call) && text.contains("seccomp"), "{text}");
        }
    }
}
