//! One KMIP conversation: negotiates, sends batches of Encrypt and Decrypt, reads their answers. What else
//! is asked about keys is the business of `keys`.
//!
//! Must never be true: a request written in two goes; a session used after [`LinkError`]; a plaintext
//! that leaves the locked buffers other than into the arena.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroize;

use super::super::batch::{Batch, Finished, Form, ItemIds, clean};
use super::super::fleet::Ailment;
use super::super::pool::{Served, Session as PoolSession};
use super::super::store::Store;
use super::super::{Done, Envelope, HsmError, Job, Request};
use super::keys;
use super::link::{Link, LinkError};
use crate::limits::IV_BYTES;
use crate::metrics::Exchanged;
use crate::net::time::Time;
use crate::secret::{LockedBuf, SecretString};
use crate::wire::kmip::{
    Call, Credential, KmipError, ProtocolVersion, RequestHeader, RequestPayload, ResponseItem,
    decode_response, encode_request,
};
use crate::wire::ttlv::{Fixed, Reader};
use items::{reason_of, weight};

mod exchange;
pub(super) mod items;
mod open;
mod pipeline;
mod several;

pub(super) use several::Refusal;

/// Bytes of the buffer in which requests are made; a longer one borrows a buffer for itself.
pub const LOCKED_BYTES_PER_SESSION: usize = 32 * 1024;
/// Bytes of a header beside the credential.
const HEADER_BYTES: usize = 512;
/// Bytes that an answer may have beside what was asked.
const ANSWER_BYTES_MAX: usize = 96 * 1024;
/// Bytes that the items of one message may have together; one item may have more.
const BATCH_BYTES_MAX: usize = LOCKED_BYTES_PER_SESSION - 4 * 1024;

/// Why one operation failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The connection is finished.
    Link(LinkError),
    /// The HSM said no.
    Failed { reason: u32, text: Arc<str> },
}

impl From<LinkError> for Fault {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

/// One negotiated connection.
pub struct Session {
    pub(super) link: Box<dyn Link>,
    /// The link's.
    time: Time,
    pub(super) version: ProtocolVersion,
    login: Option<(String, SecretString)>,
    ids: ItemIds,
    random: SystemRandom,
    /// The HSM refuses more than one item a message.
    single: bool,
    /// What is sealed and opened.
    pub(super) envelope: Envelope,
    /// The HSM has MAC Verify.
    mac_verify: bool,
    /// The HSM has RNG Retrieve.
    pub(super) offers_random: bool,
    /// When a message that is not answered is given up, whatever time its jobs have.
    until: Option<Instant>,
    /// Single items that the HSM refused without looking into them.
    refused_whole: usize,
    /// Messages sent since the last look.
    messages: Vec<Exchanged>,
    /// Messages in a row whose answers came in another order than their questions.
    unordered: usize,
    out: LockedBuf,
    store: Arc<Store>,
    place: String,
    vendor: String,
    /// The HSM's clock when it was asked what it can do, seconds since 1970.
    pub(super) clock_unix_s: Option<i64>,
}

impl Session {
    fn header(
        version: ProtocolVersion,
        login: Option<&(String, SecretString)>,
    ) -> RequestHeader<'_> {
        let credential = login.map(|(username, password)| Credential {
            username,
            password: Some(password.expose()),
        });
        RequestHeader {
            credential,
            ..RequestHeader::new(version)
        }
    }

    /// Encodes `calls` into locked memory and writes them in one go.
    fn send<'a, I>(&mut self, calls: I, bytes: usize, deadline: Instant) -> Result<(), LinkError>
    where
        I: IntoIterator<Item = Call<'a>>,
        I::IntoIter: ExactSizeIterator,
    {
        self.link.forget();
        let login = self
            .login
            .as_ref()
            .map_or(0, |(name, pass)| name.len() + pass.expose().len());
        let room = HEADER_BYTES + login + bytes;
        let mut long = None;
        if room > self.out.len() {
            let buffer = self
                .store
                .arena()
                .buffer(room)
                .ok_or(LinkError::NoLockedMemory)?;
            long = Some(buffer);
        }
        let out: &mut [u8] = long.as_mut().unwrap_or(&mut self.out);
        let header = Self::header(self.version, self.login.as_ref());
        let written = encode_request(&mut Fixed::new(out), &header, calls).map_err(|error| {
            log::error!("a KMIP request could not be written: {error}");
            LinkError::Protocol("a KMIP request could not be written")
        })?;
        let sent = self
            .link
            .send(out.get(..written).unwrap_or_default(), deadline);
        out.get_mut(..written).unwrap_or_default().zeroize();
        sent
    }

    /// One operation in a message of its own; `read` takes what is needed out of the payload.
    pub(super) fn call<T>(
        &mut self,
        payload: RequestPayload<'_>,
        deadline: Instant,
        read: impl FnOnce(Reader<'_>) -> Result<T, KmipError>,
    ) -> Result<T, Fault> {
        let id = self.ids.next_id();
        let sent = self.time.now();
        let operation = payload.operation();
        self.send(
            [Call {
                id: Some(id),
                payload,
            }],
            4 * 1024,
            deadline,
        )?;
        let answer = self.link.receive(ANSWER_BYTES_MAX, deadline);
        note(&mut self.messages, 0, sent, self.time.now(), &answer);
        let items = decode_response(answer?).map_err(broken)?.items;
        let mut items = items.collect::<Result<Vec<_>, _>>().map_err(broken)?;
        let (Some(item), true) = (items.pop(), items.is_empty()) else {
            return Err(protocol("the HSM answered one request with several items"));
        };
        // A refusal of the whole message bears neither.
        let refusal = item.is_message_level() && !item.is_success();
        let stray = item.id() != Some(id) || item.operation != Some(operation);
        if stray && !(refusal && item.unique_batch_item_id.is_none()) {
            return Err(protocol("the HSM's answer belongs to another request"));
        }
        if !item.is_success() {
            return Err(failed(&item));
        }
        let read = item.need_payload().and_then(read).map_err(broken)?;
        self.link.forget();
        Ok(read)
    }

    /// Runs a job of several messages. It may be tried again if it died before anything was changed.
    fn serve_key(&mut self, job: Job, served: &mut Served) {
        if job.deadline <= self.time.now() {
            return (job.done)(Err(HsmError::TimedOut));
        }
        let fault = match keys::serve(self, &job.request, job.deadline) {
            Ok(answer) => {
                served.worked |= answer.is_ok();
                return (job.done)(answer);
            }
            Err(fault) => fault,
        };
        served.broken = Some(format!("{}: {}", self.place, fault.error));
        if fault.is_repeatable
            && matches!(
                fault.error,
                LinkError::Dead {
                    answering: false,
                    ..
                }
            )
        {
            served.retry.push(job);
        } else {
            let error = blame(&fault.error, &self.place);
            (job.done)(Err(error));
        }
    }
}

impl PoolSession for Session {
    fn describe(&self) -> String {
        format!("{} (KMIP {}, {})", self.place, self.version, self.vendor)
    }

    fn serve(&mut self, jobs: Vec<Job>, until: Option<Instant>) -> Served {
        self.serve_pipelined(vec![jobs], until)
    }

    fn serve_pipelined(&mut self, messages: Vec<Vec<Job>>, until: Option<Instant>) -> Served {
        self.until = until;
        self.messages.clear();
        let flying_max = messages.len();
        let (mut batches, mut others) = (VecDeque::new(), Vec::new());
        for jobs in messages {
            self.gather(jobs, &mut batches, &mut others);
        }
        let mut served = Served::default();
        self.exchange_all(batches, flying_max, &mut served);
        for job in others {
            if served.broken.is_some() {
                served.unsent.push(job);
            } else {
                self.serve_key(job, &mut served);
            }
        }
        served.messages = std::mem::take(&mut self.messages);
        served
    }

    fn is_quiet(&mut self) -> bool {
        self.link.is_quiet()
    }

    fn offers_random(&self) -> bool {
        self.offers_random
    }

    fn probe(&mut self, deadline: Instant) -> Result<(), Ailment> {
        match self.call(RequestPayload::Query(&[open::OPERATIONS]), deadline, |_| {
            Ok(())
        }) {
            Ok(()) | Err(Fault::Failed { .. }) => Ok(()),
            Err(Fault::Link(error)) => Err(Ailment::Broken(format!("{}: {error}", self.place))),
        }
    }
}

impl Session {
    pub(super) fn store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    /// Jobs of one message as batches, of which it takes several when they are long; and its jobs that
    /// are neither Encrypt nor Decrypt.
    fn gather(&mut self, jobs: Vec<Job>, batches: &mut VecDeque<Batch>, others: &mut Vec<Job>) {
        let envelope = self.envelope;
        let fit = jobs
            .into_iter()
            .filter_map(|job| refuse_unfit(job, envelope));
        let mut rest = fit.peekable();
        while rest.peek().is_some() {
            let mut bytes = 0;
            let mut message = Vec::new();
            while let Some(job) = rest.next_if(|job| {
                message.is_empty() || bytes + self.weight(&job.request) <= BATCH_BYTES_MAX
            }) {
                bytes += self.weight(&job.request);
                message.push(job);
            }
            let Some(nonces) = self.nonces(message.len()) else {
                for job in message {
                    let why = "the system gives no random numbers";
                    (job.done)(Err(HsmError::Unavailable(why.into())));
                }
                continue;
            };
            let mut nonces = nonces.into_iter();
            let next = || nonces.next().unwrap_or_default();
            let (batch, rest) = Batch::gather(self.form(), message, &mut self.ids, next);
            others.extend(rest);
            if !batch.is_empty() {
                batches.push_back(batch);
            }
        }
    }

    fn form(&self) -> Form {
        Form {
            envelope: self.envelope,
            mac_verify: self.mac_verify,
            single: self.single,
        }
    }

    /// Bytes that the job, or its answer, takes in a message.
    fn weight(&self, request: &Request) -> usize {
        match self.envelope {
            Envelope::AesGcm | Envelope::Transit => weight(request),
            // The MAC is over nearly the same again.
            Envelope::AesCbcHmac => 2 * weight(request),
        }
    }

    /// One nonce a job: an Encrypt never goes without.
    fn nonces(&self, count: usize) -> Option<Vec<[u8; IV_BYTES]>> {
        let mut all = vec![[0; IV_BYTES]; count];
        self.random.fill(all.as_flattened_mut()).ok()?;
        Some(all)
    }
}

/// Notes a message that was answered, or was not in time; one whose connection died tells nothing of the HSM.
fn note(
    messages: &mut Vec<Exchanged>,
    items: usize,
    sent: Instant,
    now: Instant,
    answer: &Result<&[u8], LinkError>,
) {
    if matches!(answer, Ok(_) | Err(LinkError::TimedOut)) {
        let took = now.saturating_duration_since(sent);
        messages.push(Exchanged { items, took });
    }
}

/// Answers a Decrypt whose bytes cannot even hold nonce and tag (the HSM might take a shortened tag), and
/// a job of a key that was found for another envelope.
fn refuse_unfit(job: Job, envelope: Envelope) -> Option<Job> {
    let refusal = match &job.request {
        Request::Decrypt { sealed, .. } if !envelope.fits(sealed.len()) => {
            HsmError::AuthenticationFailed
        }
        Request::Decrypt { object, .. } | Request::Encrypt { object, .. }
            if envelope == Envelope::AesCbcHmac && object.parts().is_none() =>
        {
            HsmError::ObjectNotFound
        }
        _ => return Some(job),
    };
    (job.done)(Err(refusal));
    None
}

fn failed(item: &ResponseItem<'_>) -> Fault {
    let (reason, text) = reason_of(item);
    Fault::Failed {
        reason,
        text: clean(text),
    }
}

fn protocol(why: &'static str) -> Fault {
    Fault::Link(LinkError::Protocol(why))
}

fn broken(error: KmipError) -> Fault {
    log::debug!("the HSM's answer is refused: {error}");
    protocol("the HSM's answer is no proper KMIP response")
}

/// Our error for a job whose connection failed.
fn blame(error: &LinkError, place: &str) -> HsmError {
    match error {
        LinkError::Dead { why, .. } => HsmError::Unavailable(format!("{place}: {why}").into()),
        LinkError::TimedOut => HsmError::TimedOut,
        LinkError::Protocol(why) => HsmError::Protocol(why),
        LinkError::NoLockedMemory => HsmError::NoLockedMemory,
    }
}

fn give(finished: Finished) {
    for (done, result) in finished {
        let done: Done = done;
        done(result);
    }
}
