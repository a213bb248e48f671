//! The simulated HSM without any IO: a request's bytes and the time in, the answer's bytes out.
//!
//! Must never be true: a plaintext or key byte outside the answer; an answer to a version that was not
//! negotiable; a fault that the ground truth does not tell. Called by the event loop, and by whoever
//! simulates client, server and HSM in one thread.

use std::io;

use kms::wire::kmip::enums::{
    batch_error_continuation_option, cryptographic_algorithm, cryptographic_usage_mask,
    object_type, operation, result_reason,
};
use kms::wire::kmip::{
    KeyAttributes, ProtocolVersion, Reply, RequestMessage, ResponseHeader, decode_request,
    encode_response,
};
use ring::rand::SystemRandom;

use super::answer::{self, Done, Outcome, Refusal, Sources, Work};
use super::fault::{FaultKind, Faults};
use super::operations::Desk;
use super::plan::{HsmPlan, Moment, Session, Totals, VERSIONS, Verdict};
use super::spoil;
use super::store::Store;
use super::truth::{Line, Truth};

/// What it calls itself.
const VENDOR: &str = "kms-loadgen hsm-sim (a simulator, not an HSM)";
/// One simulated HSM.
pub struct Hsm {
    /// Its objects.
    pub store: Store,
    /// Its faults.
    pub faults: Faults,
    /// What it did.
    pub totals: Totals,
    truth: Option<Truth>,
    spoken: Vec<ProtocolVersion>,
    random: SystemRandom,
    work: Work,
}

impl Hsm {
    /// With its first keys. Fails when the log cannot be made or a key cannot.
    pub fn new(plan: &HsmPlan, now: Moment) -> io::Result<Self> {
        let range = plan.version_min..=plan.version_max;
        let mut store = Store::new(plan.seed, plan.duplicate_names);
        let usage = cryptographic_usage_mask::ENCRYPT | cryptographic_usage_mask::DECRYPT;
        for name in &plan.keys {
            let attributes = KeyAttributes {
                name: Some(name),
                cryptographic_algorithm: Some(cryptographic_algorithm::AES),
                cryptographic_usage_mask: Some(usage),
                ..KeyAttributes::default()
            };
            let now_unix_s = now.unix_us / 1_000_000;
            store
                .create(object_type::SYMMETRIC_KEY, &attributes, now_unix_s)
                .and_then(|at| store.activate(at, now_unix_s))
                .map_err(|error| io::Error::other(format!("key \"{name}\": {error:?}")))?;
        }
        Ok(Self {
            store,
            faults: Faults::new(plan.seed),
            totals: Totals::default(),
            truth: plan.truth.as_deref().map(Truth::create).transpose()?,
            spoken: VERSIONS
                .into_iter()
                .filter(|version| range.contains(version))
                .collect(),
            random: SystemRandom::new(),
            work: Work::default(),
        })
    }

    /// Appends the answer to one whole request message.
    pub fn answer(
        &mut self,
        session: &mut Session,
        frame: &[u8],
        now: Moment,
        verdict: Verdict,
        out: &mut Vec<u8>,
    ) {
        session.messages += 1;
        self.totals.messages += 1;
        let start = out.len();
        let refused = self.serve(session, frame, now, verdict, out);
        if let Err((version, refusal)) = refused {
            self.totals.refused += 1;
            out.truncate(start);
            refuse(out, version, now, refusal);
        }
        if self.faults.strikes(FaultKind::Garbage, now.ns)
            && let Some(root) = out.get_mut(start + 2)
        {
            // Still one whole item, but not a Response Message.
            *root ^= 1;
        }
    }

    /// Answers, or says in which version to refuse the message as a whole, and why.
    fn serve(
        &mut self,
        session: &mut Session,
        frame: &[u8],
        now: Moment,
        verdict: Verdict,
        out: &mut Vec<u8>,
    ) -> Result<(), (ProtocolVersion, Refusal)> {
        let invalid = |text| {
            (
                ProtocolVersion::V1_0,
                (result_reason::INVALID_MESSAGE, text),
            )
        };
        let message = decode_request(frame).map_err(|error| {
            log::debug!("a request is refused: {error}");
            invalid("the request cannot be read")
        })?;
        let version = self
            .version_for(&message)
            .ok_or_else(|| invalid("this version of KMIP is not spoken"))?;
        self.admit(&message, verdict, now)
            .map_err(|refusal| (version, refusal))?;
        let maximum = message.maximum_response_size;
        let mut answers = self
            .perform(message, version, verdict, now)
            .map_err(|refusal| (version, refusal))?;
        let due = session.late.take();
        let Self {
            faults,
            work,
            store,
            ..
        } = self;
        spoil::spoil(&mut answers, &mut session.late, faults, work, store, now.ns);
        self.log(session, &answers, now);
        answers.retain(|done| !done.is_left_out);
        answers.extend(due);
        self.encode(&answers, maximum, header(version, now), out)
            .map_err(|refusal| (version, refusal))
    }

    /// Counts and appends the answers.
    fn encode(
        &mut self,
        answers: &[Done<'_>],
        maximum: Option<i32>,
        header: ResponseHeader,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        self.totals.items += answers.len() as u64;
        let is_failed = |done: &&Done<'_>| matches!(done.outcome, Outcome::Failed(_));
        self.totals.failed += answers.iter().filter(is_failed).count() as u64;
        let start = out.len();
        let uid = |at: &usize| self.store.get(*at).map_or("", |object| &*object.uid);
        let uids: Vec<&str> = self.work.located.iter().map(uid).collect();
        let sources = Sources {
            store: &self.store,
            work: &self.work,
            uids: &uids,
            vendor: VENDOR,
        };
        let encoded = answer::encode(out, header, answers, &sources);
        let fits = maximum
            .and_then(|bytes| usize::try_from(bytes).ok())
            .is_none_or(|bytes| out.len() - start <= bytes);
        if encoded.is_err() || !fits {
            let reason = result_reason::RESPONSE_TOO_LARGE;
            return Err((reason, "the response is too large"));
        }
        Ok(())
    }

    /// The version to answer in. Discover Versions is answered in whatever version it was asked.
    fn version_for(&self, message: &RequestMessage<'_>) -> Option<ProtocolVersion> {
        if self.spoken.contains(&message.version) {
            return Some(message.version);
        }
        let mut items = message.items.clone();
        let first = items.next()?.ok()?;
        let asks = items.is_empty() && first.operation == operation::DISCOVER_VERSIONS;
        self.spoken.first().copied().filter(|_| asks)
    }

    /// Whether the message may be served as a whole.
    fn admit(
        &mut self,
        message: &RequestMessage<'_>,
        verdict: Verdict,
        now: Moment,
    ) -> Result<(), Refusal> {
        use result_reason as r;
        let count = message.items.len();
        if let Verdict::TooMany(_) = verdict {
            return Err((
                r::INVALID_MESSAGE,
                "the message has more items than this server takes",
            ));
        }
        if count < 2 {
            return Ok(());
        }
        if message.continuation == Some(batch_error_continuation_option::UNDO) {
            return Err((r::FEATURE_NOT_SUPPORTED, "Undo is not supported"));
        }
        let named = |item: &Result<_, _>| {
            matches!(
                item,
                Ok(kms::wire::kmip::RequestItem {
                    unique_batch_item_id: Some(_),
                    ..
                })
            )
        };
        if !message.items.clone().all(|item| named(&item)) {
            return Err((r::INVALID_MESSAGE, "an item has no Unique Batch Item ID"));
        }
        if self.faults.strikes(FaultKind::RefuseBatch, now.ns) {
            return Err((r::FEATURE_NOT_SUPPORTED, "batches are refused (simulated)"));
        }
        Ok(())
    }

    fn perform<'f>(
        &mut self,
        message: RequestMessage<'f>,
        version: ProtocolVersion,
        verdict: Verdict,
        now: Moment,
    ) -> Result<Vec<Done<'f>>, Refusal> {
        let busy = self.busy(version, verdict, now);
        let general = by_version(
            version,
            result_reason::GENERAL_FAILURE,
            result_reason::INTERNAL_SERVER_ERROR,
        );
        let goes_on = message.continuation == Some(batch_error_continuation_option::CONTINUE);
        self.work.clear();
        let Self {
            store,
            faults,
            work,
            ..
        } = self;
        let mut desk = Desk {
            store,
            work,
            random: &self.random,
            spoken: &self.spoken,
            version,
            now_unix_s: now.unix_us / 1_000_000,
            logs: self.truth.is_some(),
            placeholder: None,
        };
        let mut answers = Vec::with_capacity(message.items.len() + 1);
        for (nth, item) in message.items.enumerate() {
            let unreadable = (result_reason::INVALID_MESSAGE, "an item cannot be read");
            let item = item.map_err(|_| unreadable)?;
            let spoilt = match busy {
                Some(refusal) => Some((refusal, FaultKind::Busy)),
                None => spoil::partial(faults, nth, item.operation, general, now.ns)
                    .map(|reason| ((reason, "this item fails (simulated)"), FaultKind::Partial)),
            };
            let done = match spoilt {
                None => desk.perform(&item),
                Some((refusal, kind)) => {
                    let mut done = Done::new(item.operation, item.unique_batch_item_id);
                    done.outcome = Outcome::Failed(refusal);
                    done.fault = Some(kind.name());
                    done
                }
            };
            let failed = matches!(done.outcome, Outcome::Failed(_));
            answers.push(done);
            if failed && !goes_on {
                break;
            }
        }
        Ok(answers)
    }

    /// The refusal of every item, if the HSM is busy.
    fn busy(&mut self, version: ProtocolVersion, verdict: Verdict, now: Moment) -> Option<Refusal> {
        let ordered = self
            .faults
            .get(FaultKind::Busy)
            .and_then(|order| order.reason);
        let struck = self.faults.strikes(FaultKind::Busy, now.ns);
        let usual = by_version(
            version,
            result_reason::GENERAL_FAILURE,
            result_reason::SERVER_LIMIT_EXCEEDED,
        );
        let reason = ordered.filter(|_| struck).unwrap_or(usual);
        (struck || verdict == Verdict::Busy)
            .then_some((reason, "the server is busy, try again later"))
    }

    fn log(&mut self, session: &Session, answers: &[Done<'_>], now: Moment) {
        let Some(truth) = &mut self.truth else {
            return;
        };
        for done in answers {
            let Some(digests) = done.digests else {
                continue;
            };
            let key = done.object.and_then(|at| self.store.get(at));
            truth.add(&Line {
                unix_us: now.unix_us,
                connection: session.number,
                message: session.messages,
                item: done.asked_id.unwrap_or_default(),
                operation: if done.operation == operation::ENCRYPT {
                    "encrypt"
                } else {
                    "decrypt"
                },
                key: key.map(|key| (&*key.uid, key.name.as_deref())),
                digests,
                reason: match &done.outcome {
                    Outcome::Failed((reason, _)) => Some(*reason),
                    _ => None,
                },
                fault: done.fault,
            });
        }
    }

    /// Writes the log lines so far.
    pub fn flush_truth(&mut self) -> io::Result<()> {
        self.truth.as_mut().map_or(Ok(()), Truth::flush)
    }
}

fn by_version(version: ProtocolVersion, in_1: u32, in_2: u32) -> u32 {
    if version.major >= 2 { in_2 } else { in_1 }
}

fn header(version: ProtocolVersion, now: Moment) -> ResponseHeader {
    ResponseHeader {
        version,
        time_stamp_unix_s: now.unix_us / 1_000_000,
    }
}

fn refuse(out: &mut Vec<u8>, version: ProtocolVersion, now: Moment, refusal: Refusal) {
    let reply = Reply {
        operation: None,
        unique_batch_item_id: None,
        result: Err(refusal),
    };
    if let Err(error) = encode_response(out, header(version, now), [reply]) {
        log::error!("a refusal could not be written: {error}");
    }
}
