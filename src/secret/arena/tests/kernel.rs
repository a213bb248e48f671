//! What the kernel says about the mapping: locked, out of dumps, guarded, refused beyond the limit.
//!
//! Tests that die or change limits run in a child: this test binary again, with one test and a variable set.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use rustix::process::{Resource, Rlimit};
use rustix::thread::CapabilitySet;

use super::*;

const CHILD: &str = "KMS_ARENA_TEST_CHILD";

/// The value of [`CHILD`] when this is a child.
fn role() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// Runs `test` of this file in a child that sees `role`.
fn child(test: &str, role: &str) -> Output {
    let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program)
        .args(["--exact", &name, "--nocapture"])
        .env(CHILD, role)
        .output()
        .unwrap();
    let ran = String::from_utf8_lossy(&output.stdout).contains("running 1 test");
    assert!(ran, "{name} is not the name of one test");
    output
}

/// A mapping of /proc/self/smaps: its range, rights, and the named line's value.
struct Vma {
    range: std::ops::Range<usize>,
    rights: String,
    fields: Vec<(String, String)>,
}

impl Vma {
    fn field(&self, name: &str) -> &str {
        self.fields
            .iter()
            .find(|(field, _)| field == name)
            .map_or("", |(_, value)| value)
    }
}

fn vmas() -> Vec<Vma> {
    let mut vmas: Vec<Vma> = Vec::new();
    for line in std::fs::read_to_string("/proc/self/smaps").unwrap().lines() {
        let mut words = line.split_ascii_whitespace();
        let first = words.next().unwrap();
        if let Some(name) = first.strip_suffix(':') {
            let value = line[first.len()..].trim().to_owned();
            vmas.last_mut()
                .unwrap()
                .fields
                .push((name.to_owned(), value));
        } else {
            let (start, end) = first.split_once('-').unwrap();
            let address = |text| usize::from_str_radix(text, 16).unwrap();
            let rights = words.next().unwrap().to_owned();
            vmas.push(Vma {
                range: address(start)..address(end),
                rights,
                fields: Vec::new(),
            });
        }
    }
    vmas
}

#[test]
fn every_region_is_locked_out_of_dumps_and_guarded() {
    let roomy = MODES.into_iter().filter_map(|mode| try_arena(&roomy(mode)));
    for arena in arenas().chain(roomy) {
        let vmas = vmas();
        for region in arena.regions() {
            let range = region.addresses();
            let at = vmas
                .iter()
                .position(|vma| vma.range == range)
                .expect("a mapping of its own");
            let flags: Vec<&str> = vmas[at].field("VmFlags").split(' ').collect();
            let fork = if arena.mode() == Mode::Mlock {
                "wf"
            } else {
                "dc"
            };
            for flag in ["lo", "dd", fork] {
                assert!(
                    flags.contains(&flag),
                    "{:?}: {flag} is not in {flags:?}",
                    arena.mode()
                );
            }
            assert_eq!(
                vmas[at].field("Rss"),
                vmas[at].field("Size"),
                "{:?}: all touched",
                arena.mode()
            );
            for (side, guard, border) in [
                ("before", at - 1, range.start),
                ("after", at + 1, range.end),
            ] {
                let guard = &vmas[guard];
                assert_eq!(guard.rights, "---p", "{side}");
                assert!(
                    guard.range.start == border || guard.range.end == border,
                    "{side}: no gap"
                );
            }
        }
    }
}

#[test]
fn guard_pages_kill() {
    const SIGSEGV: i32 = 11;
    if let Some(role) = role() {
        let arena = if role.starts_with("secret") {
            Mode::MemfdSecret
        } else {
            Mode::Mlock
        };
        let Some(arena) = try_arena(&plan(arena)) else {
            return;
        };
        let range = arena.slots.addresses();
        let at = match role.rsplit_once(' ').unwrap().1 {
            "inside" => range.end - 1,
            "before" => range.start - 1,
            _ => range.end,
        };
        // SAFETY: none: the point is that the hardware stops it (but for `inside`, the control).
        let byte = unsafe { std::ptr::with_exposed_provenance::<u8>(at).read_volatile() };
        assert_eq!(byte, 0);
        return;
    }
    for mode in ["secret", "locked"] {
        for (place, signal) in [
            ("inside", None),
            ("before", Some(SIGSEGV)),
            ("after", Some(SIGSEGV)),
        ] {
            let output = child("guard_pages_kill", &format!("{mode} {place}"));
            if String::from_utf8_lossy(&output.stderr).contains("SKIPPED") {
                eprintln!("SKIPPED: {mode}");
                continue;
            }
            assert_eq!(output.status.signal(), signal, "{mode} {place}");
            assert_eq!(output.status.success(), signal.is_none(), "{mode} {place}");
        }
    }
}

#[test]
fn a_limit_too_low_is_refused_and_explained() {
    let Some(role) = role() else {
        for mode in ["secret", "locked", "either"] {
            let output = child("a_limit_too_low_is_refused_and_explained", mode);
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{mode}: {text}");
        }
        return;
    };
    let mode = match role.as_str() {
        "secret" => Some(Mode::MemfdSecret),
        "locked" => Some(Mode::Mlock),
        _ => None,
    };
    let mut sets = rustix::thread::capabilities(None).unwrap();
    sets.effective.remove(CapabilitySet::IPC_LOCK);
    rustix::thread::set_capabilities(None, sets).unwrap();
    let limit = 64 << 10;
    let before = rustix::process::getrlimit(Resource::Memlock);
    rustix::process::setrlimit(
        Resource::Memlock,
        Rlimit {
            current: Some(limit),
            ..before
        },
    )
    .unwrap();
    assert_eq!(memlock_limit(), Some(limit));

    let fits = ArenaPlan {
        key_bytes: 4 << 10,
        large_count: 1,
        large_bytes: 4_096,
        buffer_bytes: 4 << 10,
        mode,
    };
    if try_arena(&fits).is_none() {
        return;
    }
    // The second region of three is the one that no longer fits.
    let plan = ArenaPlan {
        buffer_bytes: 100_000,
        ..fits
    };
    let mapped = vmas().len();
    let error = Arena::reserve(&plan).err().expect("refused");
    assert_eq!(vmas().len(), mapped, "nothing of it stays mapped");
    assert!(
        matches!(
            error,
            ArenaError::Lock {
                needed_bytes: 110_592,
                limit_bytes: Some(65_536)
            }
        ),
        "{error:?}"
    );
    assert_eq!(plan.locked_bytes(), 110_592);
    names_the_remedy(&error.to_string());
}

fn names_the_remedy(text: &str) {
    for part in [
        "RLIMIT_MEMLOCK is 65536 bytes",
        "LimitMEMLOCK=110592",
        "ulimit -l 108`",
        "CAP_IPC_LOCK",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[test]
fn memfd_secret_comes_first() {
    let expected = try_arena(&plan(Mode::MemfdSecret)).map_or(Mode::Mlock, Arena::mode);
    let arena = Arena::reserve(&ArenaPlan {
        mode: None,
        ..plan(Mode::Mlock)
    })
    .unwrap();
    assert_eq!(arena.mode(), expected);
}

#[test]
fn plans_beyond_the_address_are_refused() {
    for (name, plan) in [
        (
            "key_bytes",
            ArenaPlan {
                key_bytes: usize::MAX,
                ..plan(Mode::Mlock)
            },
        ),
        (
            "large_count",
            ArenaPlan {
                large_count: 1 << 17,
                ..plan(Mode::Mlock)
            },
        ),
        (
            "large_bytes",
            ArenaPlan {
                large_bytes: 1 << 26,
                ..plan(Mode::Mlock)
            },
        ),
        (
            "buffer_bytes",
            ArenaPlan {
                buffer_bytes: usize::MAX,
                ..plan(Mode::Mlock)
            },
        ),
    ] {
        let error = Arena::reserve(&plan).err().expect(name);
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn an_empty_plan_is_an_empty_arena() {
    for mode in MODES {
        let nothing = ArenaPlan {
            key_bytes: 0,
            large_count: 0,
            large_bytes: 0,
            buffer_bytes: 0,
            mode: Some(mode),
        };
        let Some(arena) = try_arena(&nothing) else {
            continue;
        };
        assert_eq!(arena.store(b"").unwrap_err(), StoreError::Full);
        assert!(arena.buffer(1).is_none() && arena.buffer(0).is_some());
    }
}
