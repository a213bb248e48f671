//! The doctor on hosts made of files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "doctor/host.rs"]
mod host;

use std::collections::BTreeMap;
use std::process::Command;

use host::{FAULTS, good, wants, write};
use kms_tune::doctor::{Finding, Host, Verdict, Wants, examine, worst};

fn diagnose(files: &BTreeMap<&'static str, String>, wants: &Wants) -> Vec<Finding> {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), files);
    examine(&Host::new(root.path(), Some(42)), wants)
}

fn of<'f>(findings: &'f [Finding], check: &str) -> &'f Finding {
    findings
        .iter()
        .find(|finding| finding.check.starts_with(check))
        .unwrap_or_else(|| panic!("no check {check}"))
}

#[test]
fn a_good_host_has_nothing_to_mend() {
    let findings = diagnose(&good(), &wants());
    for finding in &findings {
        assert!(finding.verdict <= Verdict::Ok, "{finding:?}");
        assert!(
            finding.fix.is_empty() && !finding.why.is_empty(),
            "{finding:?}"
        );
    }
    assert!(findings.len() > 20);
}

#[test]
fn what_a_kernel_lacks_is_not_applicable() {
    let findings = diagnose(&BTreeMap::new(), &wants());
    assert_eq!(worst(&findings), Verdict::NotApplicable, "{findings:?}");
}

#[test]
fn each_fault_is_found_with_its_remedy() {
    for (check, path, text, verdict, fix) in FAULTS {
        let mut files = good();
        files.insert(path, text.to_owned());
        let findings = diagnose(&files, &wants());
        let finding = of(&findings, check);
        assert_eq!(finding.verdict, verdict, "{path} {text}: {finding:?}");
        assert!(finding.fix.contains(fix), "{path}: {finding:?}");
        assert!(
            !finding.found.is_empty() && !finding.wanted.is_empty(),
            "{finding:?}"
        );
        let others = findings
            .iter()
            .filter(|other| other.verdict > Verdict::Ok && other.check != finding.check);
        assert_eq!(
            others.map(|other| other.check).collect::<Vec<_>>(),
            Vec::<&str>::new(),
            "{path}"
        );
    }
}

#[test]
fn what_is_safe_all_the_same_passes() {
    for (check, files) in [
        (
            "swap",
            &[(
                "proc/swaps",
                "Filename Type\n/dev/zram0 partition 1 0 100\n",
            )][..],
        ),
        (
            "swap",
            &[
                ("proc/swaps", "F T\n/dev/dm-1 partition 1 0 -2\n"),
                ("sys/block/dm-1/dm/uuid", "CRYPT-PLAIN-swap"),
            ],
        ),
        (
            "swap",
            &[
                ("proc/swaps", "F T\n/dev/mapper/swap partition 1 0 -2\n"),
                ("sys/block/dm-0/dm/uuid", "LVM-x"),
                ("sys/block/dm-0/dm/name", "root"),
                ("sys/block/dm-1/dm/uuid", "CRYPT-LUKS2-x"),
                ("sys/block/dm-1/dm/name", "swap"),
            ],
        ),
        (
            "locked memory",
            &[
                ("proc/42/limits", "Max locked memory 8192 8192 bytes\n"),
                ("proc/42/status", "CapEff:\t0000000000004000\n"),
            ],
        ),
        (
            "locked memory",
            &[(
                "proc/42/limits",
                "Max locked memory unlimited unlimited bytes\n",
            )],
        ),
        (
            "memfd_secret",
            &[
                ("proc/sys/kernel/osrelease", "5.15.0"),
                ("proc/cmdline", "quiet secretmem.enable=1"),
            ],
        ),
    ] {
        let mut host = good();
        host.extend(files.iter().map(|(path, text)| (*path, (*text).to_owned())));
        let findings = diagnose(&host, &wants());
        assert_eq!(
            of(&findings, check).verdict,
            Verdict::Ok,
            "{files:?}: {:?}",
            of(&findings, check)
        );
    }
}

#[test]
fn one_queue_and_tight_objectives_matter_on_large_machines_only() {
    let mut files = good();
    files.remove("sys/class/net/eth0/queues/rx-1/rps_cpus");
    let large = Wants {
        threads: 16.0,
        tightest_ms: Some(0.05),
        ..wants()
    };
    let findings = diagnose(&files, &large);
    assert_eq!(of(&findings, "network queues").verdict, Verdict::Warning);
    assert_eq!(
        of(&findings, "net.core.busy_poll").verdict,
        Verdict::Warning
    );
    files.insert("sys/class/net/eth0/queues/rx-0/rps_cpus", "ff".into());
    assert_eq!(
        of(&diagnose(&files, &large), "network queues").verdict,
        Verdict::Ok
    );
    assert_eq!(
        of(&diagnose(&files, &wants()), "net.core.busy_poll").verdict,
        Verdict::NotApplicable
    );
}

#[test]
fn the_program_tells_by_its_exit_code() {
    let run = |files: &BTreeMap<&'static str, String>| {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), files);
        let mut command = Command::new(env!("CARGO_BIN_EXE_kms-tune"));
        command
            .args(["doctor", "--json", "--pid", "42", "--root"])
            .arg(root.path());
        let output = command.output().unwrap();
        let findings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(findings.as_array().unwrap().len() > 20);
        output.status.code()
    };
    let mut files = good();
    assert_eq!(run(&files), Some(0));
    files.insert("proc/sys/kernel/numa_balancing", "1".into());
    assert_eq!(run(&files), Some(1));
    files.insert("proc/swaps", "F T\n/swapfile file 1 0 -2\n".into());
    assert_eq!(run(&files), Some(2));
}
