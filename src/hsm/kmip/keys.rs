//! Keys by name: each a family of HSM objects.
//!
//! Version N of key `k` is the object whose Name is `k:v<N>` (a colon is not legal in a key's name, so no
//! two keys share an object). A bare `k` counts as version 1, so that a site's existing master key is used
//! as it is; `k` and `k:v1` together are an error, for the operator decides which one it is. Versions may
//! be missing where the HSM has destroyed them. `family` finds them, `claim` makes them, `settings` keeps
//! what clients may change about a key, at the HSM, where all nodes see it.
//!
//! After a broken connection the whole job is asked again only where that is the same as asking once:
//! what only looks, and Create, which looks first and takes up what it finds. A Rotate that has changed
//! something would rotate twice, a Configure might undo another's, a Delete would miss its key: these are
//! answered with the failure.
//!
//! Must never be true: a key chosen among several of one name; an object used whose Name is not the one
//! that was asked for; settings that only one node knows.

use std::sync::Arc;
use std::time::Instant;

use super::super::{Answer, HsmError, KeyRecord, ObjectId, Request};
use super::link::LinkError;
use super::session::{Fault, Refusal, Session};
use crate::wire::kmip::enums::result_reason as reason;
use crate::wire::kmip::enums::{cryptographic_algorithm, cryptographic_usage_mask, operation};
use crate::wire::kmip::{Create, KmipError, ObjectRef, RequestPayload};
use crate::wire::ttlv::Reader;
use claim::{Claim, Event, Seen, Step, Trouble};
use settings::Settings;

mod attributes;
mod claim;
mod delete;
mod family;
mod list;
mod mac;
mod random;
mod settings;

const KEY_BITS: i32 = 256;

/// The connection failed in the middle of a key's business.
pub(super) struct Broken {
    pub(super) error: LinkError,
    /// The whole may be asked again.
    pub(super) is_repeatable: bool,
}

pub(super) type Outcome = Result<Result<Answer, HsmError>, Broken>;

/// The HSM's no, or the end of the connection.
#[derive(Debug)]
enum Stop {
    No(HsmError),
    Link(LinkError),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Link(error) => Self::Link(error),
            Fault::Failed { reason, text } => Self::No(refused((reason, text))),
        }
    }
}

impl From<HsmError> for Stop {
    fn from(error: HsmError) -> Self {
        Self::No(error)
    }
}

impl From<LinkError> for Stop {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

/// What KMIP has no place for.
const NO_OPTIONS: &str = "options of a key other than the usual ones";

/// Serves whatever is no Encrypt or Decrypt.
pub(super) fn serve(session: &mut Session, request: &Request, deadline: Instant) -> Outcome {
    let mut work = Work {
        session,
        deadline,
        has_changed: false,
    };
    let answer = match request {
        Request::Find { name } => work.find(name).map(Answer::Key),
        Request::Create { name } => work.create(name).map(Answer::Key),
        Request::Rotate { name } => work.rotate(name).map(Answer::Key),
        Request::Configure { name, change } => work.configure(name, change).map(Answer::Key),
        Request::Delete { name } => work.delete(name).map(|()| Answer::Key(None)),
        Request::List => work.list().map(Answer::Names),
        Request::Random { bytes } => work.random(*bytes).map(Answer::Plaintext),
        Request::CreateAs { .. } => Err(HsmError::Unsupported(NO_OPTIONS).into()),
        Request::Encrypt { .. } | Request::Decrypt { .. } => {
            Err(HsmError::Protocol("not an operation of one message").into())
        }
    };
    match answer {
        Ok(answer) => Ok(Ok(answer)),
        Err(Stop::No(error)) => Ok(Err(error)),
        Err(Stop::Link(error)) => Err(Broken {
            error,
            is_repeatable: !work.has_changed || matches!(request, Request::Create { .. }),
        }),
    }
}

/// One job on one connection.
struct Work<'s> {
    session: &'s mut Session,
    deadline: Instant,
    /// Something was sent that changes what the HSM holds.
    has_changed: bool,
}

impl Work<'_> {
    fn call<T>(
        &mut self,
        payload: RequestPayload<'_>,
        read: impl FnOnce(Reader<'_>) -> Result<T, KmipError>,
    ) -> Result<T, Fault> {
        self.has_changed |= payload.operation() != operation::RNG_RETRIEVE;
        self.session.call(payload, self.deadline, read)
    }

    fn ask<T>(
        &mut self,
        payloads: &[RequestPayload<'_>],
        read: impl FnMut(usize, Reader<'_>) -> Result<T, KmipError>,
    ) -> Result<Vec<Result<T, Refusal>>, LinkError> {
        self.session.ask(payloads, self.deadline, read)
    }

    fn find(&mut self, name: &Arc<str>) -> Result<Option<Arc<KeyRecord>>, Stop> {
        Ok(self.look(name)?.record()?.map(Arc::new))
    }

    /// A key left Pre-Active by a crash between Create and Activate is finished here. One that bears an
    /// Activation Date was made so on purpose, and stays as it is.
    fn create(&mut self, name: &Arc<str>) -> Result<Option<Arc<KeyRecord>>, Stop> {
        let family = self.look_to_create(name)?;
        let record = family.bare_record()?;
        let mut until = 1;
        match family.left_behind() {
            Some(object) if family.is_bare(object) => self.wake(name, &object.clone())?,
            None if let Some(record) = record => {
                if !family.lacks_mac()? {
                    return Ok(family.record()?.map(Arc::new));
                }
                until = record.latest();
            }
            _ => {
                let seen = family.seen(1);
                let made = Made::Version(Settings::default());
                self.claim(&family::object_name(name, 1), made, seen)?;
            }
        }
        match self.look_completed(name, until)?.record()? {
            None => Err(hidden(name).into()),
            found => Ok(found.map(Arc::new)),
        }
    }

    /// Activates a site's own object. Another node may have done so meanwhile: what it is now decides.
    fn wake(&mut self, name: &Arc<str>, object: &ObjectId) -> Result<(), Stop> {
        let unique_identifier = Some(&*object.0);
        let activate = RequestPayload::Activate(ObjectRef { unique_identifier });
        if let Event::Refused((reason, text)) = self.attempt(activate)?
            && self.look(name)?.left_behind() == Some(object)
        {
            return Err(refused((reason, text)).into());
        }
        Ok(())
    }

    /// Nodes that rotate at the same moment claim the same number, and so share the one new version.
    fn rotate(&mut self, name: &Arc<str>) -> Result<Option<Arc<KeyRecord>>, Stop> {
        let mut family = self.look(name)?;
        let Some(record) = family.bare_record()? else {
            return Ok(None);
        };
        if family.lacks_mac()? && family.unfinished()?.is_none() {
            let highest = family.highest;
            family = self.look_completed(name, record.latest())?;
            family.highest = family.highest.max(highest);
        }
        let last = match family.unfinished()? {
            Some(number) if number >= family.highest => number - 1,
            _ => family.highest.max(record.latest()),
        };
        let next = last
            .checked_add(1)
            .ok_or(HsmError::Unsupported("more versions than can be counted"))?;
        let copy = Settings::of(&record).copy_for_new_version();
        let seen = family.seen(next);
        let made = Made::Version(copy);
        self.claim(&family::object_name(name, next), made, seen)?;
        let found = self.look_completed(name, next)?.record()?;
        match &found {
            Some(record) if record.latest() == next => Ok(found.map(Arc::new)),
            // Deleted in the same moment.
            None => Ok(None),
            Some(_) => Err(hidden(&family::object_name(name, next)).into()),
        }
    }

    /// Makes an object of this name, together with whoever else does; `seen` is what a look has shown.
    fn claim(&mut self, name: &str, made: Made, seen: Vec<Seen>) -> Result<(), Stop> {
        let mut claim = Claim::new();
        claim.happened(Event::Seen(seen));
        loop {
            let event = match claim.step().clone() {
                Step::Look => Event::Seen(self.look_exactly(name)?),
                Step::Create => match made {
                    Made::Version(settings) => self.make(name, settings)?,
                    Made::Mac => self.make_mac(name)?,
                },
                Step::Destroy(object) => {
                    let unique_identifier = Some(&*object.0);
                    self.attempt(RequestPayload::Destroy(ObjectRef { unique_identifier }))?
                }
                Step::Activate(object) => {
                    let unique_identifier = Some(&*object.0);
                    self.attempt(RequestPayload::Activate(ObjectRef { unique_identifier }))?
                }
                Step::Finished(Ok(())) => return Ok(()),
                Step::Finished(Err(trouble)) => {
                    return Err(error_of(trouble, name, claim.refusal.take()).into());
                }
            };
            claim.happened(event);
        }
    }

    /// Asks for a change of one object; one that is gone needs none.
    fn attempt(&mut self, payload: RequestPayload<'_>) -> Result<Event<Refusal>, Stop> {
        match self.call(payload, |_| Ok(())) {
            Ok(()) => Ok(Event::Done),
            Err(Fault::Failed { reason, .. }) if is_gone(reason) => Ok(Event::Done),
            Err(Fault::Failed { reason, text }) => Ok(Event::Refused((reason, text))),
            Err(Fault::Link(error)) => Err(error.into()),
        }
    }

    /// An HSM that will not keep our settings makes the key without them.
    fn make(&mut self, name: &str, settings: Settings) -> Result<Event<Refusal>, Stop> {
        let usage = cryptographic_usage_mask::ENCRYPT | cryptographic_usage_mask::DECRYPT;
        let algorithm = cryptographic_algorithm::AES;
        let plain = Create::symmetric_key(name, algorithm, KEY_BITS, usage);
        let data = settings.to_string();
        let mut create = plain;
        create.attributes.application = Some(settings::information(&data));
        let mut made = self.attempt(RequestPayload::Create(create))?;
        if matches!(made, Event::Refused((reason, _)) if settings::is_unsupported(reason)) {
            made = self.attempt(RequestPayload::Create(plain))?;
        }
        Ok(or_taken(made))
    }
}

/// What a claim is for.
#[derive(Clone, Copy)]
enum Made {
    /// A version's own object, with the key's settings.
    Version(Settings),
    /// Its MAC key.
    Mac,
}

/// The specification has Illegal Operation for a taken name up to 1.4, and a reason of its own since.
fn or_taken(made: Event<Refusal>) -> Event<Refusal> {
    match made {
        Event::Refused((
            reason::OBJECT_ALREADY_EXISTS
            | reason::NON_UNIQUE_NAME_ATTRIBUTE
            | reason::ILLEGAL_OPERATION,
            _,
        )) => Event::Taken,
        made => made,
    }
}

/// Whether a refusal says that there is no such object any more.
fn is_gone(reason: u32) -> bool {
    matches!(
        reason,
        reason::ITEM_NOT_FOUND | reason::OBJECT_NOT_FOUND | reason::OBJECT_DESTROYED
    )
}

fn error_of(trouble: Trouble, name: &str, refusal: Option<Refusal>) -> HsmError {
    match (trouble, refusal) {
        (Trouble::Refused, Some(refusal)) => refused(refusal),
        (Trouble::Ambiguous(count), _) => HsmError::AmbiguousName { count },
        (Trouble::Hidden, _) => hidden(name),
        (Trouble::Contended | Trouble::Refused, _) => contended(name),
    }
}

/// The HSM's no as our error.
fn refused((reason, text): Refusal) -> HsmError {
    if reason == reason::SERVER_LIMIT_EXCEEDED {
        return HsmError::Busy;
    }
    HsmError::Refused { reason, text }
}

/// A key that is there for the HSM but not for us.
fn hidden(name: &str) -> HsmError {
    let text = format!(
        "the HSM has a key \"{name}\" but does not show it to this client: make this client its owner"
    );
    HsmError::Refused {
        reason: reason::PERMISSION_DENIED,
        text: text.into(),
    }
}

/// Others were faster every time.
fn contended(name: &str) -> HsmError {
    let text = format!("key \"{name}\" is being changed or deleted by others: try again");
    HsmError::Refused {
        reason: reason::GENERAL_FAILURE,
        text: text.into(),
    }
}
