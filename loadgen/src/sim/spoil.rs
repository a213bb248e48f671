//! Faults of answers: what a message's items suffer between being true and being sent.
//!
//! Must never be true: a fault that is counted without an item to strike. Called by [`super::hsm`].

use std::borrow::Cow;

use kms::wire::kmip::enums::{operation, result_reason};

use super::answer::{Done, Outcome, Work};
use super::fault::{FaultKind, Faults};
use super::store::Store;

/// Ids that no client sends.
const STRANGE_ID: [u8; 8] = [0xff; 8];

/// Applies the faults that strike now. What is to come late is put into `late`.
pub(super) fn spoil(
    answers: &mut [Done<'_>],
    late: &mut Option<Done<'static>>,
    faults: &mut Faults,
    work: &mut Work,
    store: &Store,
    now_ns: u64,
) {
    if faults.is_empty() {
        return;
    }
    spoil_contents(answers, faults, work, now_ns);
    spoil_ids(answers, faults, now_ns);
    // A message without any item is no KMIP.
    for kind in [FaultKind::MissingItem, FaultKind::LateItem] {
        if answers.iter().filter(|done| !done.is_left_out).count() < 2 {
            return;
        }
        let Some(at) = victim(answers, faults, kind, now_ns) else {
            continue;
        };
        if let Some(done) = answers.get_mut(at) {
            done.is_left_out = true;
            done.fault = Some(kind.name());
            if kind == FaultKind::LateItem {
                *late = done.keep(work, store);
            }
        }
    }
}

/// The place of a random Encrypt or Decrypt that succeeded, if the fault strikes and there is one.
fn victim(
    answers: &[Done<'_>],
    faults: &mut Faults,
    kind: FaultKind,
    now_ns: u64,
) -> Option<usize> {
    let eligible = answers.iter().filter(|done| done.is_hit()).count();
    if eligible == 0 || !faults.strikes(kind, now_ns) {
        return None;
    }
    let chosen = faults.pick(eligible);
    let mut places = answers.iter().enumerate().filter(|(_, done)| done.is_hit());
    places.nth(chosen).map(|(at, _)| at)
}

fn spoil_contents(answers: &mut [Done<'_>], faults: &mut Faults, work: &mut Work, now_ns: u64) {
    if let Some(at) = victim(answers, faults, FaultKind::WrongUid, now_ns)
        && let Some(done) = answers.get_mut(at)
    {
        done.is_misattributed = true;
        done.fault = Some(FaultKind::WrongUid.name());
    }
    let Some(at) = victim(answers, faults, FaultKind::WrongTag, now_ns) else {
        return;
    };
    let Some(done) = answers.get_mut(at) else {
        return;
    };
    done.fault = Some(FaultKind::WrongTag.name());
    match &done.outcome {
        Outcome::Encrypted { tag: Some(tag), .. } => {
            if let Some(byte) = work.bytes.get_mut(tag.start) {
                *byte ^= 1;
            }
        }
        _ => {
            done.outcome = Outcome::Failed((
                result_reason::CRYPTOGRAPHIC_FAILURE,
                "the authentication tag does not fit (simulated)",
            ));
        }
    }
}

fn spoil_ids(answers: &mut [Done<'_>], faults: &mut Faults, now_ns: u64) {
    if let Some(at) = victim(answers, faults, FaultKind::WrongId, now_ns)
        && let Some(done) = answers.get_mut(at)
    {
        done.id = Some(Cow::Borrowed(&STRANGE_ID));
        done.fault = Some(FaultKind::WrongId.name());
    }
    if answers.len() < 2 {
        return;
    }
    if let Some(one) = victim(answers, faults, FaultKind::SwapIds, now_ns) {
        let other = (one + 1) % answers.len();
        let name = Some(FaultKind::SwapIds.name());
        let moved = answers.get_mut(one).map(|done| {
            done.fault = name;
            done.id.take()
        });
        let swapped = answers.get_mut(other).map(|done| {
            done.fault = name;
            std::mem::replace(&mut done.id, moved.flatten())
        });
        if let Some(done) = answers.get_mut(one) {
            done.id = swapped.flatten();
        }
    }
    if let Some(one) = victim(answers, faults, FaultKind::DuplicateId, now_ns) {
        let other = (one + 1) % answers.len();
        let id = answers.get(other).and_then(|done| done.id.clone());
        if let Some(done) = answers.get_mut(one) {
            done.id = id;
            done.fault = Some(FaultKind::DuplicateId.name());
        }
    }
}

/// The Result Reason with which this item fails on purpose, if it does; `usual` unless one was ordered.
pub(super) fn partial(
    faults: &mut Faults,
    nth: usize,
    asked: u32,
    usual: u32,
    now_ns: u64,
) -> Option<u32> {
    let order = faults.get(FaultKind::Partial)?;
    let (every, reason) = (order.every, order.reason);
    let is_crypt = matches!(asked, operation::ENCRYPT | operation::DECRYPT);
    if !is_crypt || !(nth + 1).is_multiple_of(every) {
        return None;
    }
    let struck = faults.strikes(FaultKind::Partial, now_ns);
    struck.then(|| reason.unwrap_or(usual))
}
