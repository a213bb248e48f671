//! Whether one server is known to work, and when that is to be found out.
//!
//! Whatever a client had done there counts. Without that, a check is due every [`CHECK_EVERY`]; while the last one
//! failed, every [`CHECK_AGAIN`], so that a server that works again is seen to within a second. Must never be true:
//! two checks at one server at a time; a failed check forgotten before something real has succeeded.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// For how long a success counts.
pub const CHECK_EVERY: Duration = Duration::from_secs(10);
/// How soon a server is checked again that failed.
pub const CHECK_AGAIN: Duration = Duration::from_millis(500);
/// A check that has no end by then has none.
const CHECK_MAX: Duration = Duration::from_mins(1);

/// What is wrong with a server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ailment {
    /// It did not answer, or not so that the connection could be used any more.
    Broken(String),
    /// It answers, and does not do what it is asked.
    Refuses(Arc<str>),
}

impl Ailment {
    /// Why, for people.
    pub fn why(&self) -> &str {
        match self {
            Self::Broken(why) => why,
            Self::Refuses(why) => why,
        }
    }
}

/// What is known of one server.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// When something real succeeded last.
    worked: Option<Instant>,
    /// When a check was begun last.
    begun: Option<Instant>,
    is_going: bool,
    /// What the last check came to, if nothing has succeeded since.
    ailment: Option<Ailment>,
    /// How long the last check took that succeeded.
    took: Option<Duration>,
}

impl Watch {
    pub(super) fn ailment(&self) -> Option<&Ailment> {
        self.ailment.as_ref()
    }

    pub(super) fn took(&self) -> Option<Duration> {
        self.took
    }

    /// Whether something real has ever succeeded.
    pub(super) fn has_worked(&self) -> bool {
        self.worked.is_some()
    }

    /// It let somebody in, which is no proof where operations failed.
    pub(super) fn let_in(&mut self, now: Instant) {
        self.worked = Some(now);
    }

    /// An operation succeeded. True: that is news.
    pub(super) fn works(&mut self, now: Instant) -> bool {
        self.worked = Some(now);
        self.ailment.take().is_some()
    }

    /// Begins a check if one is due.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let since = |then: Option<Instant>| then.map(|then| now.saturating_duration_since(then));
        let (worked, begun) = (since(self.worked), since(self.begun));
        if self.is_going && begun.is_some_and(|begun| begun < CHECK_MAX) {
            return false;
        }
        let is_long_ago = |since: Option<Duration>, every| since.is_none_or(|since| since >= every);
        let is_due = match &self.ailment {
            Some(_) => is_long_ago(begun, CHECK_AGAIN),
            None => is_long_ago(worked, CHECK_EVERY) && is_long_ago(begun, CHECK_EVERY),
        };
        if is_due {
            self.begun = Some(now);
            self.is_going = true;
        }
        is_due
    }

    /// A check that began ends. True: what it came to is news.
    pub(super) fn end(&mut self, now: Instant, outcome: Result<(), Ailment>) -> bool {
        self.is_going = false;
        match outcome {
            Ok(()) => {
                self.took = self.begun.map(|begun| now.saturating_duration_since(begun));
                self.works(now)
            }
            Err(ailment) => {
                let before = self.ailment.replace(ailment);
                before.map(|before| std::mem::discriminant(&before))
                    != self.ailment.as_ref().map(std::mem::discriminant)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken() -> Result<(), Ailment> {
        Err(Ailment::Broken("hung".to_owned()))
    }

    #[test]
    fn a_check_is_due_only_when_nothing_has_worked_of_late() {
        let start = Instant::now();
        let s = |s| start + Duration::from_secs(s);
        let mut watch = Watch::default();
        watch.let_in(start);
        assert!(!watch.begin(s(9)), "let in a moment ago");
        watch.works(s(5));
        assert!(!watch.begin(s(14)), "a client's operation counts");
        assert!(watch.begin(s(15)));
        assert!(!watch.begin(s(40)), "one at a time");
        assert!(watch.begin(s(75)), "it was lost");
        assert!(!watch.end(s(76), Ok(())), "nothing new");
        assert_eq!(watch.took(), Some(Duration::from_secs(1)));
        assert!(!watch.begin(s(85)));
        assert!(watch.begin(s(86)));
    }

    #[test]
    fn a_failed_check_is_soon_done_again_and_forgotten_only_for_a_success() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let mut watch = Watch::default();
        assert!(watch.begin(ms(0)));
        assert!(watch.end(ms(100), broken()), "news");
        assert!(!watch.begin(ms(499)));
        watch.let_in(ms(400));
        assert_eq!(watch.ailment().map(Ailment::why), Some("hung"));
        assert!(watch.begin(ms(500)));
        assert!(!watch.end(ms(600), broken()), "told already");
        assert!(watch.begin(ms(1000)));
        let refuses = Err(Ailment::Refuses("no".into()));
        assert!(watch.end(ms(1001), refuses), "another trouble");
        assert!(watch.works(ms(1002)), "a client's operation");
        assert_eq!(watch.ailment(), None);
        assert!(!watch.begin(ms(9000)));
    }
}
