//! Rewrap: an unwrap, then a wrap, each by the HSM. The cache is asked and not filled.

use crate::api::Fault;
use crate::api::reply::Reply;
use crate::hsm::HsmError;
use crate::keys::Known;
use crate::secret::SecretBytes;
use crate::wire::Out;
use crate::wire::transit::{CryptBody, Item as Asked};

use super::crypt::{self, Key, Unmet};
use super::fetch::Purpose;
use super::gather::Item;
use super::{Call, Engine, Flow, Gather, encrypt, faults};

impl Engine {
    pub(super) fn rewrap<O: Out>(
        &self,
        call: &mut Call<'_>,
        key: &str,
        body: &CryptBody<'_>,
        gather: &mut Gather,
        reply: &mut Reply<'_, O>,
    ) -> Result<Flow, Fault> {
        let known = match self.key(call, key, gather)? {
            Key::Known(known) => known,
            Key::Absent => return Err(Fault::key_not_found()),
            Key::Parked => return Ok(Flow::Parked),
        };
        if gather.items.is_empty() {
            gather.items.resize_with(body.len(), Item::default);
        }
        for (index, asked) in body.items().enumerate() {
            if matches!(gather.items[index], Item::Untried) {
                self.decrypt_item(call, (key, &known), index, asked, Purpose::Rewrap, gather);
            }
            // What the cache had, or the HSM has sent, goes on at once.
            if matches!(gather.items[index], Item::Plaintext(_)) {
                self.wrap_again(call, (key, &known), index, asked, gather);
            }
        }
        if gather.is_waiting() {
            return Ok(Flow::Parked);
        }
        if let Some(fault) = crypt::over_a_limit(&gather.items) {
            reply.fault(fault);
        } else if body.batch {
            // Transit answers a batch of rewraps with 200 whatever became of its items.
            let open = reply.open(200, None);
            crypt::put_items(body, &gather.items, reply.out(), encrypt::put_item);
            reply.close(open, &body.warnings, true);
        } else {
            encrypt::encode_single(body, &gather.items[0], reply);
        }
        Ok(Flow::Answered)
    }

    fn wrap_again(
        &self,
        call: &mut Call<'_>,
        (name, known): (&str, &Known),
        index: usize,
        asked: &Asked<'_>,
        gather: &mut Gather,
    ) {
        let Item::Plaintext(plaintext) = &gather.items[index] else {
            return;
        };
        if gather.is_over() {
            gather.items[index] = Item::Failed(faults::of(&HsmError::TimedOut));
            return;
        }
        match crypt::version_to_wrap(known, asked.key_version) {
            Err(Unmet::Fault(fault)) => gather.items[index] = Item::Failed(fault),
            Err(Unmet::TooNew(refusal)) => {
                if let Some(fault) = self.seek_newer(call, name, refusal, gather) {
                    gather.items[index] = Item::Failed(fault);
                }
            }
            Ok(version) => {
                let context = asked.context.as_ref();
                let sealer = crypt::sealer(call.decoded, known, version, context);
                let data = asked.associated_data.as_ref();
                match sealer
                    .and_then(|sealer| Ok((sealer, crypt::associated_data(call.decoded, data)?)))
                {
                    Err(fault) => gather.items[index] = Item::Failed(fault),
                    Ok((sealer, associated_data)) => {
                        let plaintext = plaintext.expose(SecretBytes::from_slice);
                        self.fetch_sealed(call, index, sealer, plaintext, associated_data, gather);
                    }
                }
            }
        }
    }
}
