//! Whether this host's clock can be right: certificates, tokens, lives of cached keys and audit lines go by it.

use std::time::{Duration, UNIX_EPOCH};

use crate::node::Probed;
use crate::wire::calendar::timestamp_s;

use super::Report;

/// The first of January 2026: older than this program.
const WRITTEN_UNIX_S: i64 = 1_767_225_600;
/// Clocks may differ by so much: both are told in whole seconds, and an answer takes its time.
const AHEAD_MAX_S: i64 = 10;

/// First and last second of validity of each certificate that the server lives by.
type Validities = [(i64, i64)];

pub(super) fn examine(
    now_unix_s: i64,
    validities: &Validities,
    is_kept: Option<bool>,
    report: &mut Report,
) {
    let now = time(now_unix_s);
    report.host.push(format!("clock: {now}"));
    if is_kept == Some(false) {
        report.notes.push(
            "clock: as far as the kernel knows, nothing keeps it right; unless the machine underneath does, run \
             chrony or systemd-timesyncd: certificates, tokens and audit lines go by it"
                .to_owned(),
        );
    }
    if let Some(why) = implausible(now_unix_s, validities) {
        report.warnings.push(format!(
            "clock: it is {now}, which {why}: set it right (timedatectl, chrony), else certificates are refused or \
             taken wrongly"
        ));
    }
}

/// Why the time cannot be right.
fn implausible(now_unix_s: i64, validities: &Validities) -> Option<String> {
    if now_unix_s < WRITTEN_UNIX_S {
        return Some("is before this program was written".to_owned());
    }
    // One may be wrong by itself; all at once are not.
    let earliest = validities.iter().map(|(from, _)| *from).min()?;
    let latest = validities.iter().map(|(_, until)| *until).max()?;
    if now_unix_s < earliest {
        Some(format!(
            "is before every certificate here begins, the first of them on {}",
            day(earliest)
        ))
    } else if now_unix_s > latest && validities.len() > 1 {
        Some(format!(
            "is after every certificate here has ended, the last of them on {}",
            day(latest)
        ))
    } else {
        None
    }
}

/// Clocks of HSMs that differ from this host's.
pub(super) fn compare(probed: &[Probed], report: &mut Report) {
    for one in probed {
        let Some(ahead_s) = one.clock_ahead_s else {
            continue;
        };
        if ahead_s.abs() > AHEAD_MAX_S {
            let (by, way) = (
                ahead_s.unsigned_abs(),
                if ahead_s > 0 { "ahead of" } else { "behind" },
            );
            report.warnings.push(format!(
                "clock: that of {} is {by} s {way} this host's: one of them is wrong; check the time service of both",
                one.place
            ));
        }
    }
}

fn time(unix_s: i64) -> String {
    timestamp_s(u64::try_from(unix_s).unwrap_or(0))
}

fn day(unix_s: i64) -> String {
    let mut text = time(unix_s);
    text.truncate(10);
    text
}

/// Seconds since 1970 by this host's clock.
pub(super) fn now_unix_s() -> i64 {
    let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
    since
        .unwrap_or(Duration::ZERO)
        .as_secs()
        .try_into()
        .unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: i64 = 86_400;
    /// In 2027.
    const NOW: i64 = 1_800_000_000;

    #[test]
    fn a_time_that_cannot_be_is_told() {
        let around = (NOW - DAY_S, NOW + DAY_S);
        let (over, yet) = (
            (NOW - 9 * DAY_S, NOW - DAY_S),
            (NOW + DAY_S, NOW + 9 * DAY_S),
        );
        for (name, now, validities, want) in [
            ("well", NOW, vec![around, over], None),
            ("no certificate", NOW, vec![], None),
            ("1970", 0, vec![around], Some("before this program")),
            (
                "before all",
                NOW,
                vec![yet, yet],
                Some("before every certificate here begins"),
            ),
            ("before one", NOW, vec![yet, around], None),
            (
                "after all",
                NOW,
                vec![over, over],
                Some("after every certificate here has ended"),
            ),
            ("the only one is over", NOW, vec![over], None),
        ] {
            let mut report = Report::default();
            examine(now, &validities, Some(true), &mut report);
            match want {
                None => assert!(report.warnings.is_empty(), "{name}: {:?}", report.warnings),
                Some(part) => assert!(
                    report.warnings.len() == 1 && report.warnings[0].contains(part),
                    "{name}: {:?}",
                    report.warnings
                ),
            }
            assert!(report.notes.is_empty(), "{name}");
        }
        let mut report = Report::default();
        examine(NOW, &[], Some(false), &mut report);
        assert!(report.notes[0].contains("chrony") && report.warnings.is_empty());
    }

    #[test]
    fn clocks_that_differ_are_told() {
        for (ahead_s, want) in [
            (None, None),
            (Some(10), None),
            (Some(-10), None),
            (Some(3600), Some("hsm:5696 is 3600 s ahead of this host's")),
            (Some(-11), Some("hsm:5696 is 11 s behind this host's")),
        ] {
            let mut report = Report::default();
            let probed = Probed {
                place: "hsm:5696".to_owned(),
                up: true,
                detail: String::new(),
                clock_ahead_s: ahead_s,
            };
            compare(&[probed], &mut report);
            let told = report
                .warnings
                .first()
                .map(String::as_str)
                .unwrap_or_default();
            assert_eq!(
                report.warnings.len(),
                usize::from(want.is_some()),
                "{ahead_s:?}"
            );
            assert!(told.contains(want.unwrap_or_default()), "{told}");
        }
    }
}
