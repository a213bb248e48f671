//! The other nodes of the cluster, as far as they were heard of. The time is an argument.
//!
//! Must never be true: more than [`PEERS_MAX`] remembered; one that was there, and vanished without a word, left out
//! when it is asked who obeyed an order, unless so many came after it that it was the longest silent of all.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::bulletin::Token;

/// A node not heard of for so long is not there.
const PEER_LIFE: Duration = Duration::from_secs(15);
/// One that did not say that it leaves is missed for so long when an order is given.
const PEER_MISSED: Duration = Duration::from_mins(10);
const PEERS_MAX: usize = 256;

/// The node's name and what tells it from another of that name, or from itself before a restart.
pub(super) fn instance(name: &str) -> String {
    let token = Token::first().map_or_else(String::new, |token| token.text());
    format!("{name}#{}", token.get(..8).unwrap_or("0"))
}

fn name_of(instance: &str) -> &str {
    instance.split('#').next().unwrap_or_default()
}

pub(super) fn names_of(instances: &[String]) -> Vec<String> {
    let mut names: Vec<String> = instances
        .iter()
        .map(|one| name_of(one).to_owned())
        .collect();
    names.sort();
    names
}

/// Instances and when they were heard of last.
#[derive(Debug, Default)]
pub(super) struct Peers(HashMap<String, Instant>);

impl Peers {
    /// Names of those that are there.
    pub(super) fn present(&self, now: Instant) -> Vec<String> {
        names_of(&self.heard_within(PEER_LIFE, now))
    }

    /// Those that are there, or were and did not say that they leave; not one that was started anew since.
    pub(super) fn expected(&self, now: Instant) -> Vec<String> {
        let present = self.heard_within(PEER_LIFE, now);
        let is_back = |gone: &String| present.iter().any(|one| name_of(one) == name_of(gone));
        let mut expected = self.heard_within(PEER_MISSED, now);
        expected.retain(|one| present.contains(one) || !is_back(one));
        expected
    }

    fn heard_within(&self, life: Duration, now: Instant) -> Vec<String> {
        let young = |at: Instant| now.saturating_duration_since(at) < life;
        let young = self.0.iter().filter(|(_, at)| young(**at));
        young.map(|(instance, _)| instance.clone()).collect()
    }

    /// It has said something.
    pub(super) fn met(&mut self, node: &str, now: Instant) {
        if self.0.len() >= PEERS_MAX && !self.0.contains_key(node) {
            let since = |at: Instant| now.saturating_duration_since(at);
            self.0.retain(|_, at| since(*at) < PEER_MISSED);
            self.forget_the_longest_silent();
        }
        self.0.insert(node.to_owned(), now);
    }

    /// Until there is room for one. A node that starts again and again is a new instance each time.
    fn forget_the_longest_silent(&mut self) {
        while self.0.len() >= PEERS_MAX {
            let oldest = self.0.iter().min_by_key(|(_, at)| **at);
            let Some(oldest) = oldest.map(|(instance, _)| instance.clone()) else {
                return;
            };
            self.0.remove(&oldest);
        }
    }

    /// It has said that it leaves.
    pub(super) fn left(&mut self, node: &str) {
        self.0.remove(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_vanished_is_missed_and_who_left_or_came_back_is_not() {
        let start = Instant::now();
        let after = |s| start + Duration::from_secs(s);
        let mut peers = Peers::default();
        for node in ["a#1", "b#1", "c#1"] {
            peers.met(node, start);
        }
        peers.met("a#1", after(14));
        peers.left("c#1");
        let expected = |peers: &Peers, now| names_of(&peers.expected(now));
        assert_eq!(peers.present(after(20)), ["a"]);
        assert_eq!(expected(&peers, after(20)), ["a", "b"], "b has vanished");
        peers.left("a#1");
        peers.met("b#2", after(30));
        assert_eq!(
            peers.expected(after(30)),
            ["b#2"],
            "b is back, started anew"
        );
        assert_eq!(expected(&peers, after(30 + 600)), Vec::<String>::new());
    }

    #[test]
    fn two_nodes_of_one_name_are_two_and_no_more_are_remembered_than_may_be() {
        let start = Instant::now();
        let mut peers = Peers::default();
        peers.met("a#1", start);
        peers.met("a#2", start + Duration::from_secs(1));
        assert_eq!(peers.present(start + Duration::from_secs(2)), ["a", "a"]);
        for number in 0..1000 {
            peers.met(&format!("n{number}#1"), start + Duration::from_secs(2));
        }
        let now = start + Duration::from_secs(3);
        assert_eq!(peers.expected(now).len(), PEERS_MAX);
        peers.met("new#1", now);
        assert!(
            peers.present(now).contains(&"new".to_owned()),
            "who speaks last is known"
        );
        assert_eq!(peers.expected(now).len(), PEERS_MAX);
    }
}
