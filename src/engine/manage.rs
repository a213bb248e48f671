//! Keys as such: list, rotate, configure, delete.

use crate::api::Fault;
use crate::api::reply::Reply;
use crate::flight::Joined;
use crate::hsm::{HsmError, KeyChange, KeyRecord, Request};
use crate::identity::Operation;
use crate::wire::Out;
use crate::wire::transit::{self, ConfigBody, IgnoredBody, ListQuery};

use super::crypt::Key;
use super::fetch::{hold, item_waiter};
use super::gather::{Item, KeyAnswer, Wants};
use super::{Brought, Call, Engine, FlightKey, Flow, Gather, faults, key, sharing};

const VERSION_ZERO_WARNING: &str = "since Vault 0.3 (prior to the OpenBao fork), transit key numbering \
                                    starts at 1; forcing minimum to 1";

impl Engine {
    /// The names behind `after` that the role's globs cover.
    pub(super) fn list_keys<O: Out>(
        &self,
        call: &Call<'_>,
        query: &ListQuery<'_>,
        gather: &mut Gather,
        reply: &mut Reply<'_, O>,
    ) -> Result<Flow, Fault> {
        if gather.items.is_empty() {
            gather.items.push(Item::default());
        }
        if matches!(gather.items[0], Item::Untried) {
            self.fetch_names(call, gather);
        }
        match &gather.items[0] {
            Item::Waiting { .. } => Ok(Flow::Parked),
            Item::Failed(fault) => Err(fault.clone()),
            Item::Names(names) => {
                let after: &str = &query.after;
                let names: Vec<&str> = names
                    .iter()
                    .map(AsRef::as_ref)
                    .filter(|name| after.is_empty() || *name > after)
                    .filter(|name| call.role.allows(Operation::List, name))
                    .filter(|name| !sharing::is_reserved(name))
                    .take(query.limit.unwrap_or(usize::MAX))
                    .collect();
                if names.is_empty() {
                    return Err(Fault::absent());
                }
                let open = reply.open(200, None);
                transit::put_key_list(reply.out(), &names);
                reply.close(open, &query.warnings, true);
                Ok(Flow::Answered)
            }
            _ => Err(Fault::internal("a list ended without an answer")),
        }
    }

    fn fetch_names(&self, call: &Call<'_>, gather: &mut Gather) {
        if let Err(fault) = hold(call, gather) {
            gather.items[0] = Item::Failed(fault);
            return;
        }
        let waiter = item_waiter(call, 0);
        match self.flights.join(FlightKey::Names, waiter, || None::<()>) {
            Ok(Joined::Lead(lead)) => {
                gather.await_item(0, Wants::Names, 0, true);
                self.submit(call, Request::List, move |outcome| {
                    lead.finish(outcome.map(Brought::Hsm));
                });
            }
            Ok(Joined::Waiting | Joined::WaitingFirst) => {
                gather.await_item(0, Wants::Names, 0, false);
            }
            Ok(Joined::Full(_)) | Err(()) => {
                gather.items[0] = Item::Failed(faults::of(&HsmError::Overloaded));
            }
        }
    }

    pub(super) fn rotate_key<O: Out>(
        &self,
        call: &Call<'_>,
        name: &str,
        body: &IgnoredBody,
        gather: &mut Gather,
        reply: &mut Reply<'_, O>,
    ) -> Result<Flow, Fault> {
        if !gather.changed {
            return self.change_key(call, name, |name| Request::Rotate { name }, gather);
        }
        match changed(gather)? {
            Change::Waiting => Ok(Flow::Parked),
            Change::Absent => Err(Fault::new(400, "key not found")),
            Change::Is(record) => {
                key::encode(record, &body.warnings, reply);
                Ok(Flow::Answered)
            }
        }
    }

    pub(super) fn config_key<O: Out>(
        &self,
        call: &Call<'_>,
        name: &str,
        body: &ConfigBody,
        gather: &mut Gather,
        reply: &mut Reply<'_, O>,
    ) -> Result<Flow, Fault> {
        let absent = || Fault::new(400, format!("no existing key named {name} could be found"));
        if !gather.changed {
            let known = match self.key(call, name, gather)? {
                Key::Known(known) => known,
                Key::Absent => return Err(absent()),
                Key::Parked => return Ok(Flow::Parked),
            };
            let change = change_of(body, &known.record, self.is_transit())?;
            if change == KeyChange::default() {
                key::encode(&known.record, &config_warnings(body), reply);
                return Ok(Flow::Answered);
            }
            let request = |name| Request::Configure { name, change };
            return self.change_key(call, name, request, gather);
        }
        match changed(gather)? {
            Change::Waiting => Ok(Flow::Parked),
            Change::Absent => Err(absent()),
            Change::Is(record) => {
                key::encode(record, &config_warnings(body), reply);
                Ok(Flow::Answered)
            }
        }
    }

    pub(super) fn delete_key<O: Out>(
        &self,
        call: &Call<'_>,
        name: &str,
        gather: &mut Gather,
        reply: &mut Reply<'_, O>,
    ) -> Result<Flow, Fault> {
        if !gather.changed {
            return self.change_key(call, name, |name| Request::Delete { name }, gather);
        }
        let refuse = |why: &str| Fault::new(400, format!("error deleting policy {name}: {why}"));
        match &gather.key {
            KeyAnswer::Waiting { .. } => Ok(Flow::Parked),
            KeyAnswer::Is(None) => {
                reply.no_content();
                Ok(Flow::Answered)
            }
            KeyAnswer::Failed(HsmError::ObjectNotFound) => {
                Err(refuse("could not delete key; not found"))
            }
            KeyAnswer::Failed(HsmError::Rejected(why)) => Err(refuse(why)),
            KeyAnswer::Failed(error) => Err(faults::of(error)),
            KeyAnswer::Is(Some(_)) | KeyAnswer::Untried => {
                Err(Fault::internal("a delete ended without an answer"))
            }
        }
    }
}

/// What has become of a change of a key.
enum Change<'a> {
    Waiting,
    Absent,
    Is(&'a KeyRecord),
}

fn changed(gather: &Gather) -> Result<Change<'_>, Fault> {
    match &gather.key {
        KeyAnswer::Waiting { .. } => Ok(Change::Waiting),
        KeyAnswer::Is(Some(record)) => Ok(Change::Is(record)),
        KeyAnswer::Is(None) => Ok(Change::Absent),
        KeyAnswer::Failed(error) => Err(faults::of(error)),
        KeyAnswer::Untried => Err(Fault::internal("a change ended without an answer")),
    }
}

/// The change that `body` asks for, checked as far as it can be without the key's present state.
/// In Transit's order: what is wrong with the first field is told first.
fn change_of(body: &ConfigBody, record: &KeyRecord, is_transit: bool) -> Result<KeyChange, Fault> {
    let minimum = |what, asked| minimum(what, asked, record);
    let decryption = body
        .min_decryption_version
        .map(|asked| minimum("decryption", asked));
    let decryption = decryption.transpose()?.map(|version| version.max(1));
    let encryption = body
        .min_encryption_version
        .map(|asked| minimum("encryption", asked));
    let encryption = encryption.transpose()?;
    key::check_rotation_period(body.auto_rotate_period_s)?;
    for (field, asked) in [
        ("exportable", body.exportable == Some(true)),
        (
            "allow_plaintext_backup",
            body.allow_plaintext_backup == Some(true),
        ),
        ("auto_rotate_period", body.auto_rotate_period_s > Some(0)),
    ] {
        if asked && !is_transit {
            let text = format!("{field} is not supported by this back end");
            return Err(Fault::new(400, text));
        }
    }
    let others = KeyChange {
        exportable: body.exportable,
        allow_plaintext_backup: body.allow_plaintext_backup,
        auto_rotate_period_s: body.auto_rotate_period_s,
        ..KeyChange::NONE
    };
    Ok(KeyChange {
        min_decryption_version: decryption,
        min_encryption_version: encryption,
        deletion_allowed: body.deletion_allowed,
        // Elsewhere they are what they were asked to be: not so.
        ..if is_transit { others } else { KeyChange::NONE }
    })
}

/// Whether a number is above the latest version is for the back end to say: this node may not know
/// the latest. A number that no version can have is refused here.
fn minimum(what: &str, asked: i64, record: &KeyRecord) -> Result<u32, Fault> {
    if asked < 0 {
        let text = format!("min {what} version cannot be negative");
        return Err(Fault::new(400, text));
    }
    u32::try_from(asked).map_err(|_| {
        let latest = record.latest();
        let text =
            format!("cannot set min {what} version of {asked}, latest key version is {latest}");
        Fault::new(400, text)
    })
}

fn config_warnings(body: &ConfigBody) -> Vec<&str> {
    let zero = (body.min_decryption_version == Some(0)).then_some(VERSION_ZERO_WARNING);
    zero.into_iter()
        .chain(body.warnings.iter().map(String::as_str))
        .collect()
}
