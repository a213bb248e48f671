//! Several questions in one message, for what changes nothing: an HSM that refuses the message as a whole
//! is asked again one by one.

use std::sync::Arc;
use std::time::Instant;

use super::super::link::LinkError;
use super::{ANSWER_BYTES_MAX, Fault, Session, broken, failed, note};
use crate::wire::kmip::{Call, KmipError, RequestPayload, ResponseItem, decode_response};
use crate::wire::ttlv::Reader;

/// Items of one message; their requests fit the session's buffer.
const ITEMS_MAX: usize = 16;
/// Bytes of one question with its longest name.
const ITEM_BYTES_MAX: usize = 1536;

/// The HSM's no to one item: Result Reason, and its text.
pub(in super::super) type Refusal = (u32, Arc<str>);

impl Session {
    /// Asks all of `payloads`, none of which may change anything, and gives the answers in their order.
    /// `read` takes what is needed out of a payload, given the question's place.
    pub(in super::super) fn ask<T>(
        &mut self,
        payloads: &[RequestPayload<'_>],
        deadline: Instant,
        mut read: impl FnMut(usize, Reader<'_>) -> Result<T, KmipError>,
    ) -> Result<Vec<Result<T, Refusal>>, LinkError> {
        let mut answers = Vec::with_capacity(payloads.len());
        for part in payloads.chunks(ITEMS_MAX) {
            let first = answers.len();
            let mut read_part = |at: usize, payload: Reader<'_>| read(first + at, payload);
            let together = if self.single || part.len() == 1 {
                None
            } else {
                self.ask_together(part, deadline, &mut read_part)?
            };
            match together {
                Some(part) => answers.extend(part),
                None => {
                    for (at, payload) in part.iter().enumerate() {
                        let read = |payload: Reader<'_>| read_part(at, payload);
                        answers.push(match self.call(*payload, deadline, read) {
                            Ok(answer) => Ok(answer),
                            Err(Fault::Failed { reason, text }) => Err((reason, text)),
                            Err(Fault::Link(error)) => return Err(error),
                        });
                    }
                }
            }
        }
        Ok(answers)
    }

    /// `None`: the HSM refused the message as a whole, or answered in another order than it was asked, so
    /// that one answer may stand under another's id.
    fn ask_together<T>(
        &mut self,
        payloads: &[RequestPayload<'_>],
        deadline: Instant,
        read: &mut impl FnMut(usize, Reader<'_>) -> Result<T, KmipError>,
    ) -> Result<Option<Vec<Result<T, Refusal>>>, LinkError> {
        let ids: Vec<u64> = payloads.iter().map(|_| self.ids.next_id()).collect();
        let calls = ids.iter().zip(payloads).map(|(id, payload)| Call {
            id: Some(*id),
            payload: *payload,
        });
        let sent = self.time.now();
        self.send(calls, payloads.len() * ITEM_BYTES_MAX, deadline)?;
        let answer = self.link.receive(ANSWER_BYTES_MAX, deadline);
        note(&mut self.messages, 0, sent, self.time.now(), &answer);
        let items = decode_response(answer?)
            .and_then(|message| message.items.collect::<Result<Vec<_>, _>>())
            .map_err(refuse)?;
        if let [refusal] = items.as_slice()
            && refusal.is_message_level()
            && !refusal.is_success()
        {
            return Ok(None);
        }
        if items.len() != payloads.len() {
            return Err(LinkError::Protocol("an item of the batch was not answered"));
        }
        let mut answers = Vec::with_capacity(ids.len());
        for (at, (id, payload)) in ids.iter().zip(payloads).enumerate() {
            // As many answers as questions, and one for each: so none is there twice.
            let item = items.iter().find(|item| item.id() == Some(*id));
            let item = item.filter(|item| item.operation == Some(payload.operation()));
            let Some(item) = item else {
                let why = "the HSM's answer belongs to another request";
                return Err(LinkError::Protocol(why));
            };
            answers.push(read_item(item, |payload| read(at, payload))?);
        }
        let asked = ids.iter().copied().map(Some);
        let is_ordered = items.iter().map(ResponseItem::id).eq(asked);
        self.link.forget();
        Ok(is_ordered.then_some(answers))
    }
}

fn read_item<T>(
    item: &ResponseItem<'_>,
    read: impl FnOnce(Reader<'_>) -> Result<T, KmipError>,
) -> Result<Result<T, Refusal>, LinkError> {
    if item.is_success() {
        let payload = item.need_payload().map_err(refuse)?;
        return read(payload).map(Ok).map_err(refuse);
    }
    match failed(item) {
        Fault::Failed { reason, text } => Ok(Err((reason, text))),
        Fault::Link(error) => Err(error),
    }
}

fn refuse(error: KmipError) -> LinkError {
    match broken(error) {
        Fault::Link(error) => error,
        Fault::Failed { .. } => LinkError::Protocol("the HSM's answer is no proper KMIP response"),
    }
}
