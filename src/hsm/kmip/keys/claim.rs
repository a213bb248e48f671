//! How nodes that make one key at the same moment agree on one object: a machine without IO.
//!
//! Servers need not enforce unique names, so a Create only makes a *candidate*: an object of the name,
//! Pre-Active, without an Activation Date. Any other object of the name is *settled*: it is the key. All
//! nodes, and the same node after a crash, go by these rules:
//!
//! 1. Look first, and create a candidate only if there is nothing. Then look again.
//! 2. If one is settled, it is the key: destroy the candidates that are left, and be done.
//! 3. Else help the candidate with the smallest identifier (in byte order), whoever made it: destroy all
//!    others seen in *this* look, then activate it, then look again.
//! 4. A refused Destroy or Activate proves nothing: look again before anything else.
//!
//! At most one is ever Active. Suppose x and y were both activated, x created first. Whoever activated y
//! did so after a look that showed y, hence after x was created. That look showed x settled (then rule 2
//! forbade it), or as a candidate (then rule 3 destroyed x before y was activated: KMIP refuses to destroy
//! an Active object, and rule 4 stops at a refusal), or not at all (then x was destroyed before it was
//! Active, or was deleted as a key). Nothing here revokes, and only candidates are destroyed, with which
//! nothing was ever encrypted: no data can be lost, and the worst outcome is an error.
//!
//! One is Active in the end: a candidate is destroyed only in favour of a smaller one or of a settled one.
//!
//! What it needs of the server: Locate shows what was created before, and Destroy refuses an Active
//! object. Servers of a cluster that copy objects to each other late do not give the first: nodes that race
//! over different ones may then make two Active objects, which every look answers with `AmbiguousName`, never a
//! choice. Must never be true: an Activate after a refused Destroy without a look between; a second
//! Create in one claim (a key that was deleted meanwhile would come back).

use std::collections::VecDeque;

use super::super::super::ObjectId;

/// Looks of one claim; each but the last two is owed to another node's progress.
const LOOKS_MAX: u32 = 64;
/// Refusals of one claim that changed nothing.
const REFUSALS_MAX: u32 = 3;

/// One object that bears the name and is not destroyed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Seen {
    pub(super) object: ObjectId,
    /// Else a candidate.
    pub(super) is_settled: bool,
}

/// What is to be done next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Find all objects of the name.
    Look,
    /// Create a candidate.
    Create,
    /// Destroy this one.
    Destroy(ObjectId),
    /// Activate this one.
    Activate(ObjectId),
    /// The end: one is settled, or why not.
    Finished(Result<(), Trouble>),
}

/// What came of a step.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Event<R> {
    /// Of a look.
    Seen(Vec<Seen>),
    /// Created, destroyed, activated; or there was nothing any more to destroy or activate.
    Done,
    /// The name is taken: the Create was refused for that.
    Taken,
    /// Refused for another reason.
    Refused(R),
}

/// Why there is no key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Trouble {
    /// The HSM refused; the last refusal tells.
    Refused,
    /// Several are settled.
    Ambiguous(usize),
    /// The name is taken by an object that this client does not see.
    Hidden,
    /// Others changed the key all the time.
    Contended,
}

/// One node's claim to one name. `R` is what a refusal carries.
#[derive(Clone, Debug)]
pub(super) struct Claim<R> {
    plan: VecDeque<Step>,
    current: Step,
    /// The plan ends with this, and not with another look.
    verdict: Option<Result<(), Trouble>>,
    has_created: bool,
    is_taken: bool,
    looks: u32,
    refusals: u32,
    /// The last refusal.
    pub(super) refusal: Option<R>,
}

impl<R> Claim<R> {
    /// Begins with a look.
    pub(super) fn new() -> Self {
        Self {
            plan: VecDeque::new(),
            current: Step::Look,
            verdict: None,
            has_created: false,
            is_taken: false,
            looks: 0,
            refusals: 0,
            refusal: None,
        }
    }

    /// What is to be done now.
    pub(super) fn step(&self) -> &Step {
        &self.current
    }

    /// Takes the outcome of the current step in.
    pub(super) fn happened(&mut self, event: Event<R>) {
        match event {
            Event::Seen(seen) => self.decide(seen),
            Event::Done => {}
            Event::Taken => self.is_taken = true,
            Event::Refused(refusal) => self.refused(refusal),
        }
        self.current = match (self.plan.pop_front(), self.verdict) {
            (Some(step), _) => step,
            (None, Some(verdict)) => Step::Finished(verdict),
            (None, None) => Step::Look,
        };
    }

    fn refused(&mut self, refusal: R) {
        self.refusal = Some(refusal);
        self.refusals += 1;
        // What is left over beside a settled one harms nobody.
        if self.verdict.is_some() {
            return;
        }
        self.plan.clear();
        if self.current == Step::Create || self.refusals >= REFUSALS_MAX {
            self.verdict = Some(Err(Trouble::Refused));
        }
    }

    fn decide(&mut self, seen: Vec<Seen>) {
        self.looks += 1;
        let (settled, candidates): (Vec<_>, Vec<_>) =
            seen.into_iter().partition(|seen| seen.is_settled);
        let mut candidates: Vec<ObjectId> =
            candidates.into_iter().map(|seen| seen.object).collect();
        candidates.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
        match settled.len() {
            0 if self.looks > LOOKS_MAX => self.verdict = Some(Err(Trouble::Contended)),
            0 => self.advance(candidates),
            1 => {
                self.plan.extend(candidates.into_iter().map(Step::Destroy));
                self.verdict = Some(Ok(()));
            }
            count => self.verdict = Some(Err(Trouble::Ambiguous(count))),
        }
    }

    fn advance(&mut self, candidates: Vec<ObjectId>) {
        let mut candidates = candidates.into_iter();
        if let Some(smallest) = candidates.next() {
            self.plan.extend(candidates.map(Step::Destroy));
            self.plan.push_back(Step::Activate(smallest));
        } else if self.is_taken {
            self.verdict = Some(Err(Trouble::Hidden));
        } else if self.has_created {
            self.verdict = Some(Err(Trouble::Contended));
        } else {
            self.has_created = true;
            self.plan.push_back(Step::Create);
        }
    }
}

#[cfg(test)]
mod tests;
