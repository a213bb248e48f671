//! When certificates and lists of revoked ones end: said in the log in time, and often enough to be seen.
//!
//! Must never be true: a certificate that ends without a word; the same word every hour. Called by housekeeping.

use std::collections::HashMap;

use crate::identity::Expiry;

const DAY_S: i64 = 86_400;
/// Days before the end at which a word is said, and the end itself.
const STAGES_DAYS: [i64; 4] = [30, 7, 1, 0];

/// What was said of each certificate.
#[derive(Debug, Default)]
pub(super) struct Reminder {
    /// Stage by alias, usage and end: a replaced certificate begins anew.
    said: HashMap<(String, &'static str, i64), usize>,
}

impl Reminder {
    /// What is to be said at `now_unix_s` that was not said yet.
    pub(super) fn due(&mut self, all: &[Expiry], now_unix_s: i64) -> Vec<String> {
        let key = |one: &Expiry| (one.alias.clone(), one.usage, one.not_after_unix_s);
        self.said
            .retain(|known, _| all.iter().any(|one| key(one) == *known));
        let mut words = Vec::new();
        for one in all {
            let left_s = one.not_after_unix_s.saturating_sub(now_unix_s);
            // Lists live for days or hours, so the first word is when they are due.
            let stages = STAGES_DAYS.map(|days| (days * DAY_S).min(one.early_s));
            // The last stage that has been reached.
            let Some(stage) = stages.iter().rposition(|early_s| left_s <= *early_s) else {
                continue;
            };
            let said = self.said.insert(key(one), stage);
            if said.is_none_or(|said| said < stage) {
                words.push(word(one, left_s));
            }
        }
        words
    }
}

fn word(one: &Expiry, left_s: i64) -> String {
    let Expiry { alias, usage, .. } = one;
    if left_s <= 0 && one.is_list() {
        return format!(
            "the list of revoked certificates of '{alias}' is out of date: new connections of its certificates are \
             refused; put the newest into kms.role.NAME.ca.crl.file"
        );
    }
    if left_s <= 0 {
        return format!("certificate '{alias}' ({usage}) has expired: replace it now");
    }
    let left = match left_s / DAY_S {
        0 => format!("{} hours", left_s / 3600),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    if one.is_list() {
        return format!(
            "the list of revoked certificates of '{alias}' is out of date in {left}: put the newest into \
             kms.role.NAME.ca.crl.file before"
        );
    }
    format!("certificate '{alias}' ({usage}) expires in {left}: replace it in the keystore before")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_is_told_once() {
        let end = 100 * DAY_S;
        let of = |end| vec![Expiry::of_certificate("cmxdevice", "client", end)];
        let mut reminder = Reminder::default();
        for (name, not_after, now, want) in [
            ("far away", end, end - 31 * DAY_S, None),
            ("a month", end, end - 30 * DAY_S, Some("in 30 days")),
            ("said", end, end - 29 * DAY_S, None),
            ("a week", end, end - 7 * DAY_S, Some("in 7 days")),
            ("a day", end, end - DAY_S, Some("in 1 day:")),
            ("said of the day", end, end - 3600, None),
            ("over", end, end, Some("has expired")),
            ("said of the end", end, end + DAY_S, None),
            (
                "replaced by one that ends soon",
                end + 3 * DAY_S,
                end,
                Some("in 3 days"),
            ),
            ("replaced", end + 400 * DAY_S, end, None),
        ] {
            let words = reminder.due(&of(not_after), now);
            match want {
                None => assert!(words.is_empty(), "{name}: {words:?}"),
                Some(part) => assert!(
                    words.len() == 1 && words.iter().all(|word| word.contains(part)),
                    "{name}: {words:?}"
                ),
            }
        }
        let mut late = Reminder::default();
        let words = late.due(&of(end), end - 3600 * 5);
        assert!(
            words.iter().all(|word| word.contains("in 5 hours")),
            "{words:?}"
        );
        assert_eq!(words.len(), 1, "one word, not one for each stage");
    }

    #[test]
    fn a_list_is_told_of_in_the_last_quarter_of_its_life() {
        const HOUR_S: i64 = 3600;
        for (name, life_s, want) in [
            (
                "a month",
                30 * DAY_S,
                &[
                    (8 * DAY_S, ""),
                    (7 * DAY_S, "in 7 days"),
                    (DAY_S, "in 1 day"),
                    (0, "is out of date: new"),
                ][..],
            ),
            (
                "a week",
                7 * DAY_S,
                &[
                    (2 * DAY_S, ""),
                    (DAY_S + HOUR_S, "in 1 day"),
                    (DAY_S, "in 1 day"),
                    (0, "is out of date: new"),
                ],
            ),
            (
                "a day",
                DAY_S,
                &[
                    (7 * HOUR_S, ""),
                    (6 * HOUR_S, "in 6 hours"),
                    (HOUR_S, ""),
                    (-5, "is out of date: new"),
                ],
            ),
        ] {
            let list = Expiry {
                alias: "deviceca".to_owned(),
                usage: "client-crl",
                not_after_unix_s: 100 * DAY_S,
                early_s: life_s / 4,
            };
            let mut reminder = Reminder::default();
            for (left_s, want) in want {
                let words = reminder.due(std::slice::from_ref(&list), 100 * DAY_S - left_s);
                let told = words.join("");
                assert_eq!(
                    told.is_empty(),
                    want.is_empty(),
                    "{name}, {left_s} s left: {told}"
                );
                assert!(told.contains(want), "{name}, {left_s} s left: {told}");
            }
        }
    }
}
