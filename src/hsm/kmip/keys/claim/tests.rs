//! Every interleaving of a few nodes over an HSM in memory, and many random ones of more.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::HashSet;

use super::*;

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Life {
    Candidate,
    Active,
    Gone,
}

/// An HSM that lets names repeat; object n bears `uids[n]`.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
struct Device {
    objects: Vec<(&'static str, Life)>,
    unique_names: bool,
    ever_active: usize,
}

/// As handed out, so that later ones may be smaller or greater.
const UIDS: [&str; 9] = ["5", "3", "10", "9", "1", "8", "2", "7", "4"];

impl Device {
    fn serve(&mut self, step: &Step) -> Event<()> {
        match step {
            Step::Look => Event::Seen(self.look()),
            Step::Create => {
                if self.unique_names && self.objects.iter().any(|o| o.1 != Life::Gone) {
                    return Event::Taken;
                }
                let uid = UIDS[self.objects.len()];
                self.objects.push((uid, Life::Candidate));
                Event::Done
            }
            Step::Destroy(uid) => match self.life(uid) {
                Life::Active => Event::Refused(()),
                life => {
                    *life = Life::Gone;
                    Event::Done
                }
            },
            Step::Activate(uid) => match self.life(uid) {
                Life::Active => Event::Refused(()),
                Life::Gone => Event::Done,
                life @ Life::Candidate => {
                    *life = Life::Active;
                    self.ever_active += 1;
                    Event::Done
                }
            },
            Step::Finished(_) => panic!("the end was asked for"),
        }
    }

    fn look(&self) -> Vec<Seen> {
        let live = self.objects.iter().filter(|o| o.1 != Life::Gone);
        live.map(|(uid, life)| Seen {
            object: ObjectId((*uid).into()),
            is_settled: *life == Life::Active,
        })
        .collect()
    }

    fn life(&mut self, uid: &ObjectId) -> &mut Life {
        let mut objects = self.objects.iter_mut();
        &mut objects.find(|o| o.0 == &*uid.0).unwrap().1
    }
}

type Nodes = Vec<Claim<()>>;

fn is_finished(node: &Claim<()>) -> bool {
    matches!(node.step(), Step::Finished(_))
}

fn advance(device: &mut Device, node: &mut Claim<()>) {
    let event = device.serve(node.step());
    node.happened(event);
    assert!(device.ever_active <= 1, "two were active: {device:?}");
}

fn check_end(device: &Device, nodes: &Nodes, crashes: bool) {
    for node in nodes.iter().filter(|node| is_finished(node)) {
        assert_eq!(node.step(), &Step::Finished(Ok(())), "{device:?}");
        assert_eq!(device.ever_active, 1);
    }
    if !crashes {
        assert_eq!(device.look().len(), 1, "leftovers: {device:?}");
    }
}

/// Depth first over who goes next, each state once.
fn explore(device: &Device, nodes: &Nodes, known: &mut HashSet<String>) {
    if !known.insert(format!("{device:?}{nodes:?}")) {
        return;
    }
    let mut at_end = true;
    for at in 0..nodes.len() {
        if is_finished(&nodes[at]) {
            continue;
        }
        at_end = false;
        let (mut device, mut nodes) = (device.clone(), nodes.clone());
        advance(&mut device, &mut nodes[at]);
        explore(&device, &nodes, known);
    }
    if at_end {
        check_end(device, nodes, false);
    }
}

fn started(unique_names: bool, left_behind: usize) -> Device {
    let left = UIDS.iter().take(left_behind);
    Device {
        objects: left.map(|uid| (*uid, Life::Candidate)).collect(),
        unique_names,
        ever_active: 0,
    }
}

#[test]
fn every_interleaving_of_two_and_three_nodes_ends_with_one_active() {
    for (nodes, unique, left_behind) in [
        (2, false, 0),
        (2, false, 2),
        (2, true, 0),
        (3, true, 0),
        (3, false, 0),
    ] {
        let mut known = HashSet::new();
        let start = vec![Claim::new(); nodes];
        explore(&started(unique, left_behind), &start, &mut known);
        assert!(known.len() > 20, "{nodes} nodes: {} states", known.len());
    }
}

#[test]
fn eight_nodes_some_of_which_crash_still_agree() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 33).unwrap() % below
    };
    for round in 0..3000 {
        let mut device = started(round % 5 == 0, 0);
        let mut nodes: Nodes = vec![Claim::new(); 8];
        let crashes = round % 3 == 0;
        while !nodes.iter().all(is_finished) {
            let at = next(nodes.len());
            if crashes && nodes.len() > 1 && next(12) == 0 {
                nodes.swap_remove(at);
            } else if !is_finished(&nodes[at]) {
                advance(&mut device, &mut nodes[at]);
            }
        }
        check_end(&device, &nodes, crashes);
        // Whoever comes later finds the same one, and clears away what the crashed ones left.
        let mut late = Claim::new();
        while !is_finished(&late) {
            advance(&mut device, &mut late);
        }
        assert_eq!(late.step(), &Step::Finished(Ok(())));
        assert_eq!(device.look().len(), 1, "round {round}");
    }
}

fn seen(uid: &str, is_settled: bool) -> Seen {
    Seen {
        object: ObjectId(uid.into()),
        is_settled,
    }
}

/// Feeds events and gives the steps asked for.
fn steps(events: Vec<Event<u32>>) -> (Vec<Step>, Option<u32>) {
    let mut claim = Claim::new();
    let mut steps = vec![claim.step().clone()];
    for event in events {
        claim.happened(event);
        steps.push(claim.step().clone());
    }
    (steps, claim.refusal)
}

#[test]
fn a_claim_ends_with_the_reason() {
    let end = |trouble| Some(Step::Finished(Err(trouble)));
    let nothing = || Event::Seen(vec![]);
    let one = || Event::Seen(vec![seen("a", false)]);
    for (name, events, want) in [
        (
            "two settled",
            vec![Event::Seen(vec![seen("a", true), seen("b", true)])],
            end(Trouble::Ambiguous(2)),
        ),
        (
            "taken, and not to be seen",
            vec![nothing(), Event::Taken, nothing()],
            end(Trouble::Hidden),
        ),
        (
            "create refused",
            vec![nothing(), Event::Refused(7)],
            end(Trouble::Refused),
        ),
        (
            "deleted meanwhile: it does not come back",
            vec![nothing(), Event::Done, one(), Event::Done, nothing()],
            end(Trouble::Contended),
        ),
        (
            "activate refused again and again",
            vec![
                one(),
                Event::Refused(7),
                one(),
                Event::Refused(7),
                one(),
                Event::Refused(7),
            ],
            end(Trouble::Refused),
        ),
    ] {
        let (steps, refusal) = steps(events);
        assert_eq!(steps.last(), want.as_ref(), "{name}");
        if want == end(Trouble::Refused) {
            assert_eq!(refusal, Some(7), "{name}");
        }
    }
}

#[test]
fn a_refused_destroy_is_never_followed_by_an_activate() {
    let two = Event::Seen(vec![seen("b", false), seen("a", false)]);
    let (steps, _) = steps(vec![two, Event::Refused(1)]);
    let b = ObjectId("b".into());
    assert_eq!(steps, [Step::Look, Step::Destroy(b), Step::Look]);
}
