//! When certificates end: said in the log in time, and often enough to be seen.
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
            // The last stage that has been reached.
            let Some(stage) = STAGES_DAYS.iter().rposition(|days| left_s <= days * DAY_S) else {
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
    if left_s <= 0 {
        return format!("certificate '{alias}' ({usage}) has expired: replace it now");
    }
    let left = match left_s / DAY_S {
        0 => format!("{} hours", left_s / 3600),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    format!("certificate '{alias}' ({usage}) expires in {left}: replace it in the keystore before")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_is_told_once() {
        let end = 100 * DAY_S;
        let of = |not_after_unix_s| {
            vec![Expiry {
                alias: "cmxdevice".to_owned(),
                usage: "client",
                not_after_unix_s,
            }]
        };
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
}
