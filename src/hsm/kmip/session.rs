//! One KMIP conversation: negotiates, sends batches of Encrypt and Decrypt, reads their answers.
//!
//! Must never be true: a request written in two goes; a session used after [`LinkError`]; a plaintext
//! that leaves the locked buffers other than into the arena.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroize;

use super::super::batch::{Batch, Finished, Item, ItemIds, Outcome, Reply, clean};
use super::super::pool::{Served, Session as PoolSession};
use super::super::{Done, HsmError, Job, KeyState, ObjectId, Request};
use super::link::{Link, LinkError};
use super::{Login, Vault};
use crate::limits::{NONCE_BYTES, TAG_BYTES};
use crate::secret::{LockedBuf, SecretString};
use crate::wire::kmip::enums::operation;
use crate::wire::kmip::{
    Call, Credential, Decrypt, Decrypted, DiscoverVersions, Encrypt, Encrypted, GCM_PARAMETERS,
    KmipError, ProtocolVersion, QueryAnswer, RequestHeader, RequestPayload, ResponseItem,
    decode_response, encode_request,
};
use crate::wire::ttlv::{Fixed, Reader};

mod open;

/// Bytes of the buffer in which requests are made; a longer one borrows a buffer for itself.
pub const LOCKED_BYTES_PER_SESSION: usize = 32 * 1024;
/// Bytes of one item beside its data: tags, lengths, parameters, ids.
const ITEM_OVERHEAD_BYTES: usize = 400;
/// Bytes of a header beside the credential.
const HEADER_BYTES: usize = 512;
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
    pub(super) version: ProtocolVersion,
    login: Option<(String, SecretString)>,
    ids: ItemIds,
    random: SystemRandom,
    /// The HSM refuses more than one item a message.
    single: bool,
    out: LockedBuf,
    vault: Arc<Vault>,
    place: String,
    vendor: String,
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
                .vault
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
        let operation = payload.operation();
        self.send(
            [Call {
                id: Some(id),
                payload,
            }],
            4 * 1024,
            deadline,
        )?;
        let answer = self.link.receive(deadline)?;
        let items = decode_response(answer).map_err(broken)?.items;
        let mut items = items.collect::<Result<Vec<_>, _>>().map_err(broken)?;
        let (Some(item), true) = (items.pop(), items.is_empty()) else {
            return Err(protocol("the HSM answered one request with several items"));
        };
        if !item.is_success() {
            return Err(failed(&item));
        }
        if item.id() != Some(id) || item.operation != Some(operation) {
            return Err(protocol("the HSM's answer belongs to another request"));
        }
        let read = item.need_payload().and_then(read).map_err(broken)?;
        self.link.forget();
        Ok(read)
    }

    /// Exchanges one message of Encrypts and Decrypts.
    fn exchange(&mut self, batch: Batch, served: &mut Served) {
        let now = Instant::now();
        let Some(deadline) = batch.deadline().filter(|deadline| *deadline > now) else {
            return give(batch.fail(&HsmError::TimedOut));
        };
        if self.single && batch.items().len() > 1 {
            return self.exchange_singly(batch, served);
        }
        let bytes = batch.items().iter().map(|item| weight(&item.request)).sum();
        let sent = self.send(batch.items().iter().map(call_of), bytes, deadline);
        let answer = match sent.and_then(|()| self.link.receive(deadline)) {
            Ok(answer) => answer,
            Err(error) => return fail(batch, &error, &self.place, served),
        };
        let items = decode_response(answer)
            .and_then(|message| message.items.collect::<Result<Vec<ResponseItem<'_>>, _>>());
        let items = match items {
            Ok(items) => items,
            Err(error) => {
                served.broken = Some(format!("{}: {error}", self.place));
                let why = "the HSM's answer is no KMIP response";
                return give(batch.fail(&HsmError::Protocol(why)));
            }
        };
        if let [refusal] = items.as_slice()
            && refusal.is_message_level()
            && !refusal.is_success()
        {
            // One item may spoil a message for the others, or the HSM may not take the batch at all.
            if batch.items().len() > 1 {
                return self.exchange_singly(batch, served);
            }
            let (reason, text) = reason_of(refusal);
            return give(batch.fail(&HsmError::Refused {
                reason,
                text: clean(text),
            }));
        }
        let replies: Vec<Reply<'_>> = items.iter().map(reply_of).collect();
        let settled = batch.settle(&replies, |plain| self.vault.store(plain));
        self.link.forget();
        give(settled.finished);
        if let Some(why) = settled.broken {
            served.broken = Some(format!("{}: {why}", self.place));
        }
        self.resolve(settled.doubtful, served);
    }

    fn exchange_singly(&mut self, batch: Batch, served: &mut Served) {
        for single in batch.split(&mut self.ids) {
            if served.broken.is_some() {
                served.retry.extend(single.into_jobs());
            } else {
                self.exchange(single, served);
            }
        }
    }

    /// Asks once for the state of each key whose failure cannot be read without it.
    fn resolve(&mut self, doubtful: Vec<super::super::batch::Doubtful>, served: &mut Served) {
        let mut states: HashMap<ObjectId, Option<KeyState>> = HashMap::new();
        for doubt in doubtful {
            let mut state = None;
            if let Some(object) = doubt.object().cloned() {
                state = if let Some(known) = states.get(&object) {
                    *known
                } else {
                    let until = doubt.deadline().unwrap_or_else(Instant::now);
                    let asked = self.ask_state(&object, until, served);
                    states.insert(object, asked);
                    asked
                };
            }
            let mut finished = Finished::new();
            doubt.resolve(state, &mut finished);
            give(finished);
        }
    }

    fn ask_state(
        &mut self,
        object: &ObjectId,
        deadline: Instant,
        served: &mut Served,
    ) -> Option<KeyState> {
        if served.broken.is_some() {
            return None;
        }
        match self.attributes(object, deadline) {
            Ok(attributes) => attributes.state,
            Err(Fault::Failed { .. }) => None,
            Err(Fault::Link(error)) => {
                served.broken = Some(format!("{}: {error}", self.place));
                None
            }
        }
    }

    /// Runs a job of several messages. `retry` jobs died before anything was changed.
    fn serve_key(&mut self, job: Job, served: &mut Served) {
        let result = match &job.request {
            Request::Find { name } => self.find(name, job.deadline),
            Request::Create { name } => self.create(name, job.deadline),
            Request::Decrypt { .. } | Request::Encrypt { .. } => return,
        };
        let fault = match result {
            Ok(answer) => return (job.done)(answer),
            Err(fault) => fault,
        };
        served.broken = Some(format!("{}: {}", self.place, fault.error));
        if fault.repeatable
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

    fn serve(&mut self, jobs: Vec<Job>) -> Served {
        let mut served = Served::default();
        let mut rest = jobs.into_iter().peekable();
        while rest.peek().is_some() {
            let mut bytes = 0;
            let mut message = Vec::new();
            while let Some(job) = rest.next_if(|job| {
                message.is_empty() || bytes + weight(&job.request) <= BATCH_BYTES_MAX
            }) {
                bytes += weight(&job.request);
                message.push(job);
            }
            if served.broken.is_some() {
                served.retry.extend(message);
                continue;
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
            let (batch, others) = Batch::gather(message, &mut self.ids, next);
            if !batch.is_empty() {
                self.exchange(batch, &mut served);
            }
            for job in others {
                if served.broken.is_some() {
                    served.retry.push(job);
                } else {
                    self.serve_key(job, &mut served);
                }
            }
        }
        served
    }

    fn is_quiet(&mut self) -> bool {
        self.link.is_quiet()
    }

    fn probe(&mut self, deadline: Instant) -> Result<(), String> {
        match self.call(RequestPayload::Query(&[open::OPERATIONS]), deadline, |_| {
            Ok(())
        }) {
            Ok(()) | Err(Fault::Failed { .. }) => Ok(()),
            Err(Fault::Link(error)) => Err(format!("{}: {error}", self.place)),
        }
    }
}

impl Session {
    /// One nonce a job: an Encrypt never goes without.
    fn nonces(&self, count: usize) -> Option<Vec<[u8; NONCE_BYTES]>> {
        let mut all = vec![[0; NONCE_BYTES]; count];
        self.random.fill(all.as_flattened_mut()).ok()?;
        Some(all)
    }
}

/// Bytes that the item, or its answer, takes in a message.
fn weight(request: &Request) -> usize {
    ITEM_OVERHEAD_BYTES
        + match request {
            Request::Decrypt {
                object,
                sealed,
                associated_data,
            } => object.0.len() + sealed.len() + associated_data.len(),
            Request::Encrypt {
                object,
                plaintext,
                associated_data,
            } => object.0.len() + plaintext.expose().len() + associated_data.len(),
            Request::Find { .. } | Request::Create { .. } => 0,
        }
}

fn call_of(item: &Item) -> Call<'_> {
    let parameters = Some(GCM_PARAMETERS);
    let payload = match &item.request {
        Request::Decrypt {
            object,
            sealed,
            associated_data,
        } => {
            // The seam promises the length; without it the HSM is given nothing to open.
            let (iv, rest) = sealed.split_at_checked(NONCE_BYTES).unwrap_or_default();
            let cut = rest.len().saturating_sub(TAG_BYTES);
            let (data, tag) = rest.split_at_checked(cut).unwrap_or_default();
            RequestPayload::Decrypt(Decrypt {
                unique_identifier: Some(&object.0),
                parameters,
                data,
                iv: Some(iv),
                associated_data,
                tag: Some(tag),
            })
        }
        Request::Encrypt {
            object,
            plaintext,
            associated_data,
        } => RequestPayload::Encrypt(Encrypt {
            unique_identifier: Some(&object.0),
            parameters,
            data: plaintext.expose(),
            iv: Some(&item.nonce),
            associated_data,
        }),
        Request::Find { .. } | Request::Create { .. } => RequestPayload::Query(&[]),
    };
    Call {
        id: Some(item.id),
        payload,
    }
}

fn reply_of<'a>(item: &ResponseItem<'a>) -> Reply<'a> {
    let malformed = Outcome::Malformed("an item of the HSM's answer lacks what it must hold");
    let outcome = if item.is_success() {
        match (item.operation, item.need_payload()) {
            (Some(operation::DECRYPT), Ok(payload)) => {
                Decrypted::decode(payload).map_or(malformed, |answer| Outcome::Decrypted {
                    object: answer.unique_identifier,
                    data: answer.data,
                })
            }
            (Some(operation::ENCRYPT), Ok(payload)) => {
                Encrypted::decode(payload).map_or(malformed, |answer| Outcome::Encrypted {
                    object: answer.unique_identifier,
                    data: answer.data,
                    nonce: answer.iv,
                    tag: answer.tag,
                })
            }
            _ => malformed,
        }
    } else {
        let (reason, text) = reason_of(item);
        Outcome::Failed { reason, text }
    };
    Reply {
        id: item.unique_batch_item_id,
        outcome,
    }
}

fn reason_of<'a>(item: &ResponseItem<'a>) -> (u32, &'a str) {
    let text = item
        .message
        .and_then(|message| std::str::from_utf8(message.0).ok());
    (item.reason.unwrap_or(0), text.unwrap_or_default())
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

/// The message failed as a whole. Encrypts and Decrypts change nothing, so they may be asked again
/// when no byte of an answer had come.
fn fail(batch: Batch, error: &LinkError, place: &str, served: &mut Served) {
    served.broken = Some(format!("{place}: {error}"));
    match error {
        LinkError::Dead {
            answering: false, ..
        } => served.retry.extend(batch.into_jobs()),
        error => give(batch.fail(&blame(error, place))),
    }
}

fn give(finished: Finished) {
    for (done, result) in finished {
        let done: Done = done;
        done(result);
    }
}
