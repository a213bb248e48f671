//! Encrypts and decrypts: jobs of one key become one `batch_input`, its results are mapped back.
//!
//! A batch is answered 400 with a whole envelope when an item fails, and 500 in some cases; then each item
//! has its own error. Must never be true: more strings in a request than a Vault reads; results of another
//! number than the items.

use std::time::Instant;

use zeroize::{Zeroize, Zeroizing};

use super::super::super::pool::{ItemsMax, Served};
use super::super::super::{Answer, Done, HsmError, Job, Request};
use super::super::fault::{Fault, of_text, of_whole};
use super::super::http::CallError;
use super::super::json;
use super::object::{Object, parse};
use super::{Ask, Session};
use crate::secret::SecretKey;
use crate::wire::json::Text;
use crate::wire::transit::{AnswerItem, Verb, parse_answer, parse_ciphertext, put_ciphertext};
use crate::wire::{Out, base64, put_decimal};

/// Names and texts that a Vault reads in one request (its `max_request_json_strings`), less `batch_input`.
const STRINGS_MAX: usize = 999;
/// Bytes that a message of several items may have: what the locked buffers hold.
const BATCH_BYTES_MAX: usize = super::REQUEST_BYTES - 1024;
/// Bytes that an item takes beside its texts, about, in a request and in its answer.
const ITEM_BYTES: usize = 56;
/// Bytes that an item's error may have.
const ERROR_BYTES_MAX: usize = 512;

type Outcome = Result<Answer, HsmError>;

/// Jobs that one request can hold, save for its size.
pub(super) struct Group {
    verb: Verb,
    name: String,
    /// Transit wants a context in all items or in none.
    is_derived: bool,
    jobs: Vec<Job>,
}

/// What a job wants done with which object; `None`: neither encrypt nor decrypt.
fn operation(request: &Request) -> Option<(Verb, Option<Object<'_>>)> {
    match request {
        Request::Decrypt { object, .. } => Some((Verb::Decrypt, parse(object))),
        Request::Encrypt { object, .. } => Some((Verb::Encrypt, parse(object))),
        _ => None,
    }
}

/// Sorts jobs into groups, in order of their first job; and what is neither encrypt nor decrypt.
pub(super) fn gather(jobs: Vec<Job>) -> (Vec<Group>, Vec<Job>) {
    let (mut groups, mut others) = (Vec::<Group>::new(), Vec::new());
    for job in jobs {
        let Some((verb, object)) = operation(&job.request) else {
            others.push(job);
            continue;
        };
        let Some(object) = object else {
            // Found with another back end.
            (job.done)(Err(HsmError::ObjectNotFound));
            continue;
        };
        let is_derived = object.context.is_some();
        let fits = |group: &&mut Group| {
            (group.verb, group.is_derived, &*group.name) == (verb, is_derived, object.name)
        };
        if let Some(group) = groups.iter_mut().find(fits) {
            group.jobs.push(job);
        } else {
            groups.push(Group {
                verb,
                name: object.name.to_owned(),
                is_derived,
                jobs: vec![job],
            });
        }
    }
    (groups, others)
}

/// Strings and bytes that the job takes in a request.
fn weight(request: &Request) -> (usize, usize) {
    let (text, associated_data, version, context) = match request {
        Request::Decrypt {
            object,
            sealed,
            associated_data,
        } => (sealed.len(), associated_data.len(), 0, context_len(object)),
        Request::Encrypt {
            object,
            plaintext,
            associated_data,
        } => (
            plaintext.len(),
            associated_data.len(),
            1,
            context_len(object),
        ),
        _ => return (0, 0),
    };
    let optional = 2 * usize::from(associated_data > 0) + 2 * usize::from(context > 0);
    let bytes = base64::encoded_len(text) + base64::encoded_len(associated_data) + context;
    (2 + optional + version, bytes + ITEM_BYTES)
}

fn context_len(object: &super::super::super::ObjectId) -> usize {
    let context = parse(object).and_then(|object| object.context);
    context.map_or(0, str::len)
}

impl Group {
    /// The front of the group that one request can hold.
    fn split_message(&mut self) -> Vec<Job> {
        let (mut strings, mut bytes) = (0, 0);
        let fit = self.jobs.iter().take_while(|job| {
            let weight = weight(&job.request);
            strings += weight.0;
            bytes += weight.1;
            strings <= STRINGS_MAX && bytes <= BATCH_BYTES_MAX
        });
        let count = fit.count().max(1).min(self.jobs.len());
        let rest = self.jobs.split_off(count);
        std::mem::replace(&mut self.jobs, rest)
    }
}

impl Session {
    pub(super) fn exchange(
        &mut self,
        mut group: Group,
        until: Option<Instant>,
        served: &mut Served,
    ) {
        while !group.jobs.is_empty() {
            let message = group.split_message();
            self.exchange_message(&group, message, until, served);
        }
    }

    fn exchange_message(
        &mut self,
        group: &Group,
        jobs: Vec<Job>,
        until: Option<Instant>,
        served: &mut Served,
    ) {
        if served.broken.is_some() {
            served.unsent.extend(jobs);
            return;
        }
        let now = Instant::now();
        let (jobs, late): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.deadline > now);
        fail(late, &HsmError::TimedOut);
        // Until its most patient waiter's deadline the message may fly.
        let Some(deadline) = jobs.iter().map(|job| job.deadline).max() else {
            return;
        };
        let deadline = until.map_or(deadline, |until| until.min(deadline));
        self.out.clear();
        put_batch(&mut self.out, &jobs);
        let verb = if group.verb == Verb::Encrypt {
            "encrypt"
        } else {
            "decrypt"
        };
        let path = self.path(&format!("{verb}/{}", group.name));
        let asked = self.ask(&Ask {
            method: "POST",
            path: &path,
            has_body: true,
            bytes_max: answer_bytes_max(&jobs),
            is_secret: group.verb == Verb::Decrypt,
            items: jobs.len(),
            deadline,
        });
        self.out.clear();
        match asked {
            Ok(status) => self.settle(group, status, jobs, until, served),
            Err(fault) => self.give_up(&fault, jobs, served),
        }
        self.client.forget();
    }

    /// Maps results back, or the refusal of the whole.
    fn settle(
        &mut self,
        group: &Group,
        status: u16,
        jobs: Vec<Job>,
        until: Option<Instant>,
        served: &mut Served,
    ) {
        let Ok(answer) = parse_answer(group.verb, self.client.body()) else {
            return self.give_up(&Fault::Protocol("its answer is no JSON"), jobs, served);
        };
        if answer.batch {
            if answer.items.len() != jobs.len() {
                let fault =
                    Fault::Protocol("it answered another number of items than it was asked");
                return self.give_up(&fault, jobs, served);
            }
            let outcomes: Vec<Outcome> = jobs
                .iter()
                .zip(&answer.items)
                .map(|(job, item)| outcome(&job.request, item, &self.store, &mut self.plain))
                .collect();
            self.client.forget();
            served.worked |= outcomes.iter().any(Result::is_ok);
            return give(jobs.into_iter().map(|job| job.done).zip(outcomes));
        }
        let said = json::errors(self.client.body())
            .unwrap_or_default()
            .join("; ");
        let is_too_much = status == 413 || said.contains("high complexity");
        if is_too_much && jobs.len() > 1 {
            return self.exchange_halves(group, (status, &said), jobs, until, served);
        }
        fail(jobs, &of_whole(status, &said));
    }

    /// The Vault takes fewer items a message than other Vaults do.
    fn exchange_halves(
        &mut self,
        group: &Group,
        (status, said): (u16, &str),
        mut jobs: Vec<Job>,
        until: Option<Instant>,
        served: &mut Served,
    ) {
        let items = jobs.len() / 2;
        served.learnt = Some(ItemsMax {
            items,
            why: super::clean(&format!("HTTP {status}: {said}")),
        });
        let rest = jobs.split_off(items);
        for half in [jobs, rest] {
            self.exchange_message(group, half, until, served);
        }
    }

    /// The message failed as a whole. Encrypts and decrypts change nothing, so they may be asked again
    /// when no byte of an answer had come, or when this server was given less time than they have.
    fn give_up(&mut self, fault: &Fault, jobs: Vec<Job>, served: &mut Served) {
        served.busy |= matches!(fault, Fault::Jobs(HsmError::Busy));
        if let Some(why) = fault.broken() {
            served.broken = Some(format!("{}: {why}", self.place));
        }
        if fault.is_repeatable() {
            served.retry.extend(jobs);
        } else if matches!(fault, Fault::Call(CallError::TimedOut)) {
            let now = Instant::now();
            let (in_time, late): (Vec<_>, Vec<_>) =
                jobs.into_iter().partition(|job| job.deadline > now);
            fail(late, &HsmError::TimedOut);
            served.retry.extend(in_time);
        } else {
            fail(jobs, &fault.blame(&self.place));
        }
    }
}

fn fail(jobs: Vec<Job>, error: &HsmError) {
    give(jobs.into_iter().map(|job| (job.done, Err(error.clone()))));
}

fn give(outcomes: impl Iterator<Item = (Done, Outcome)>) {
    for (done, outcome) in outcomes {
        done(outcome);
    }
}

/// Longest answer that can be one to these jobs.
fn answer_bytes_max(jobs: &[Job]) -> usize {
    let item = |job: &Job| weight(&job.request).1 + ITEM_BYTES + ERROR_BYTES_MAX;
    jobs.iter().map(item).sum::<usize>() + super::SMALL_BYTES_MAX
}

fn put_batch<O: Out>(out: &mut O, jobs: &[Job]) {
    let mut before: &[u8] = b"{\"batch_input\":[{";
    for job in jobs {
        out.put(before);
        put_item(out, &job.request);
        before = b"},{";
    }
    out.put(b"}]}");
}

fn put_item<O: Out>(out: &mut O, request: &Request) {
    let (object, associated_data) = match request {
        Request::Decrypt {
            object,
            sealed,
            associated_data,
        } => {
            out.put(b"\"ciphertext\":\"");
            let version = parse(object).map_or(0, |object| object.version);
            put_ciphertext(out, version, sealed);
            out.put(b"\"");
            (object, associated_data)
        }
        Request::Encrypt {
            object,
            plaintext,
            associated_data,
        } => {
            out.put(b"\"plaintext\":\"");
            base64::put(out, plaintext.expose());
            out.put(b"\",\"key_version\":");
            put_decimal(out, parse(object).map_or(0, |object| object.version).into());
            (object, associated_data)
        }
        _ => return,
    };
    if !associated_data.is_empty() {
        out.put(b",\"associated_data\":\"");
        base64::put(out, associated_data);
        out.put(b"\"");
    }
    if let Some(context) = parse(object).and_then(|object| object.context) {
        out.put(b",\"context\":\"");
        out.put(context.as_bytes());
        out.put(b"\"");
    }
}

/// What one item's result is.
fn outcome(
    request: &Request,
    item: &AnswerItem<'_>,
    store: &super::Store,
    plain: &mut [u8],
) -> Outcome {
    let error = item.error.as_ref().map(Text::as_str);
    if let Some(text) = error.filter(|text| !text.is_empty()) {
        return Err(of_text(text));
    }
    let Some(text) = &item.text else {
        return Err(HsmError::Protocol("an item of its answer is empty"));
    };
    match request {
        Request::Encrypt { object, .. } => {
            let version = parse(object).map_or(0, |object| object.version);
            sealed(text.as_str(), version).map(Answer::Sealed)
        }
        _ => plaintext(text.as_str(), store, plain).map(Answer::Plaintext),
    }
}

fn sealed(text: &str, version: u32) -> Result<Vec<u8>, HsmError> {
    let bad = HsmError::Protocol("its ciphertext is none of the version that was asked for");
    let (told, encoded) = parse_ciphertext(text).map_err(|_| bad.clone())?;
    let mut bytes = vec![0; base64::decoded_len_max(encoded.len())];
    match base64::decode(encoded.as_bytes(), &mut bytes) {
        Ok(len) if told == version && len > 0 => {
            bytes.truncate(len);
            Ok(bytes)
        }
        _ => Err(bad),
    }
}

fn plaintext(text: &str, store: &super::Store, usual: &mut [u8]) -> Result<SecretKey, HsmError> {
    let room = base64::decoded_len_max(text.len());
    let (mut locked, mut heap) = (None, Zeroizing::new(Vec::new()));
    let plain: &mut [u8] = if room <= usual.len() {
        usual
    } else if let Some(buffer) = store.arena().buffer(room) {
        locked.insert(buffer)
    } else {
        heap.resize(room, 0);
        &mut heap
    };
    let stored = match base64::decode(text.as_bytes(), plain) {
        Ok(len) => store
            .put(plain.get(..len).unwrap_or_default())
            .map_err(|_| HsmError::NoLockedMemory),
        Err(_) => Err(HsmError::Protocol("its plaintext is no base64")),
    };
    plain.get_mut(..room).unwrap_or_default().zeroize();
    stored
}
