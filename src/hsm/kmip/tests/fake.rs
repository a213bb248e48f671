//! An HSM made of our own codec's server side, that can be told to lie.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::super::LOCKED_BYTES_PER_CONNECTION;
use crate::hsm::store::Store;
use crate::secret::{Arena, ArenaPlan, Mode};
use crate::wire::kmip::enums::operation;
use crate::wire::kmip::{
    Create, Decrypt, Encrypt, GetAttributes, Locate, ModifyAttribute, ObjectRef, ProtocolVersion,
    RequestItem, RngRetrieve, decode_request,
};
use crate::wire::ttlv::Reader;

mod server;

pub(super) use server::FakeHsm;

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) uid: String,
    pub(super) name: String,
    pub(super) state: u32,
    pub(super) activation: Option<i64>,
    pub(super) usage: i32,
    pub(super) algorithm: u32,
    /// Application Specific Information: namespace and data.
    pub(super) application: Option<(String, String)>,
}

pub(super) fn key(uid: &str, name: &str, state: u32) -> Key {
    Key {
        uid: uid.into(),
        name: name.into(),
        state,
        activation: None,
        usage: 12,
        algorithm: 3,
        application: None,
    }
}

/// One item of an answer.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) operation: Option<u32>,
    pub(super) id: Option<Vec<u8>>,
    pub(super) result: Result<Payload, (u32, String)>,
}

#[derive(Clone, Debug)]
pub(super) enum Payload {
    None,
    Query,
    Versions(Vec<ProtocolVersion>),
    Uids(Vec<String>),
    Attributes(Key),
    Created(String),
    /// Activated, revoked, destroyed, changed.
    Changed(String),
    Random(Vec<u8>),
    Encrypted {
        uid: String,
        data: Vec<u8>,
    },
    Decrypted {
        uid: String,
        data: Vec<u8>,
    },
}

/// What is done with an answer.
pub(super) enum Act {
    Send,
    /// These bytes instead.
    Bytes(Vec<u8>),
    /// These bytes, then the end of the stream.
    BytesThenEnd(Vec<u8>),
    /// Nothing, for ever.
    Hang,
    /// The end of the stream.
    End,
}

/// Changes an answer before it is sent. Given the answer and its honest bytes.
pub(super) type Lie = Box<dyn FnMut(&mut Vec<Said>, &[u8]) -> Act + Send>;

pub(super) struct World {
    /// `None`: no Discover Versions.
    pub(super) versions: Option<Vec<ProtocolVersion>>,
    pub(super) operations: Vec<u32>,
    /// Messages of more items are refused as a whole.
    pub(super) batch_max: usize,
    /// Reason of a wrong tag.
    pub(super) wrong_tag: u32,
    pub(super) keys: Vec<Key>,
    /// Locate finds nothing.
    pub(super) hides: bool,
    /// Application Specific Information is taken.
    pub(super) keeps_settings: bool,
    /// Locate answers in pages.
    pub(super) pages: bool,
    /// Reason with which Create is refused.
    pub(super) create_refused: Option<u32>,
    /// Another node's key, there by the time Create is refused.
    pub(super) rival: Option<Key>,
    /// Reason with which Activate is refused.
    pub(super) activate_refused: Option<u32>,
    pub(super) lie: Lie,
    /// Operations of every message seen.
    pub(super) seen: Vec<Vec<u32>>,
    pub(super) connections: usize,
    pub(super) password: Option<String>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            versions: Some(vec![ProtocolVersion::V2_0, ProtocolVersion::V1_4]),
            operations: vec![operation::ENCRYPT, operation::DECRYPT],
            batch_max: 1024,
            wrong_tag: 0x0A,
            keys: vec![key("uid-1", "demo", 2)],
            hides: false,
            keeps_settings: true,
            pages: true,
            create_refused: None,
            rival: None,
            activate_refused: None,
            lie: Box::new(|_, _| Act::Send),
            seen: Vec::new(),
            connections: 0,
            password: None,
        }
    }
}

/// What this world takes for encryption: reversible, and with a tag that depends on everything.
pub(super) fn cipher(data: &[u8]) -> Vec<u8> {
    data.iter().map(|byte| byte ^ 0x5a).collect()
}

pub(super) fn tag(data: &[u8], iv: &[u8], aad: &[u8]) -> [u8; 16] {
    let all = [data, iv, aad].concat();
    let digest = ring::digest::digest(&ring::digest::SHA256, &all);
    digest.as_ref()[..16].try_into().unwrap()
}

type Answer = Result<Payload, (u32, String)>;

impl World {
    fn answer(&mut self, frame: &[u8]) -> (ProtocolVersion, Vec<Said>) {
        let request = decode_request(frame).expect("our own request");
        self.password = request
            .credential
            .and_then(|login| login.password.map(str::to_owned));
        let items: Vec<_> = request.items.map(Result::unwrap).collect();
        self.seen
            .push(items.iter().map(|item| item.operation).collect());
        let refusal = |reason: u32, text: &str| {
            vec![Said {
                operation: None,
                id: None,
                result: Err((reason, text.into())),
            }]
        };
        let known = match &self.versions {
            Some(versions) => versions.contains(&request.version),
            None => request.version == ProtocolVersion::V1_4,
        };
        let discovers = items[0].operation == operation::DISCOVER_VERSIONS;
        if !known && !discovers {
            return (ProtocolVersion::V1_0, refusal(4, "unsupported version"));
        }
        if items.len() > self.batch_max {
            return (request.version, refusal(8, "no batches"));
        }
        let said = items.iter().map(|item| Said {
            operation: Some(item.operation),
            id: item.unique_batch_item_id.map(<[u8]>::to_vec),
            result: self.item(item),
        });
        (request.version, said.collect())
    }

    fn item(&mut self, item: &RequestItem<'_>) -> Answer {
        let payload = item.payload.clone();
        match item.operation {
            operation::DISCOVER_VERSIONS => {
                let versions = self.versions.clone();
                versions
                    .map(Payload::Versions)
                    .ok_or((5, "not supported".into()))
            }
            operation::QUERY => Ok(Payload::Query),
            operation::LOCATE => Ok(self.locate(&Locate::decode(payload).unwrap())),
            operation::GET_ATTRIBUTES => {
                let (object, _) = GetAttributes::decode(payload).unwrap();
                Ok(Payload::Attributes(
                    self.key(object.unique_identifier)?.clone(),
                ))
            }
            operation::CREATE => self.create(payload),
            operation::ACTIVATE => self.activate(payload),
            operation::REVOKE => self.change(payload, 2, 3),
            operation::DESTROY => self.destroy(payload),
            operation::ADD_ATTRIBUTE | operation::MODIFY_ATTRIBUTE => self.modify(item),
            operation::RNG_RETRIEVE => {
                let bytes = RngRetrieve::decode(payload).unwrap().data_length;
                Ok(Payload::Random(vec![4; bytes.try_into().unwrap()]))
            }
            operation::ENCRYPT => {
                let asked = Encrypt::decode(payload).unwrap();
                let uid = self.usable(asked.unique_identifier)?;
                let nonce = asked.iv.map(<[u8]>::len);
                assert_eq!(nonce, Some(12), "an Encrypt without our nonce");
                let data = cipher(asked.data);
                Ok(Payload::Encrypted { uid, data })
            }
            operation::DECRYPT => {
                let asked = Decrypt::decode(payload).unwrap();
                let uid = self.usable(asked.unique_identifier)?;
                let want = tag(asked.data, asked.iv.unwrap(), asked.associated_data);
                if asked.tag != Some(&want[..]) {
                    return Err((self.wrong_tag, "bad tag".into()));
                }
                let data = cipher(asked.data);
                Ok(Payload::Decrypted { uid, data })
            }
            other => panic!("operation {other:#x}"),
        }
    }

    fn locate(&self, asked: &Locate<'_>) -> Payload {
        let named = self
            .keys
            .iter()
            .filter(|key| asked.attributes.name.is_none_or(|name| key.name == name));
        let count = |number: Option<i32>| number.map(|number| usize::try_from(number).unwrap());
        let (most, offset) = if self.pages {
            (count(asked.maximum_items), count(asked.offset_items))
        } else {
            (count(asked.maximum_items), None)
        };
        let shown = named
            .filter(|_| !self.hides)
            .skip(offset.unwrap_or(0))
            .take(most.unwrap_or(usize::MAX));
        Payload::Uids(shown.map(|key| key.uid.clone()).collect())
    }

    fn create(&mut self, payload: Reader<'_>) -> Answer {
        if let Some(reason) = self.create_refused {
            self.keys.extend(self.rival.take());
            return Err((reason, "refused".into()));
        }
        let asked = Create::decode(payload).unwrap().attributes;
        if asked.application.is_some() && !self.keeps_settings {
            return Err((0x0F, "no application namespaces".into()));
        }
        let uid = format!("made-{}", self.keys.len());
        let mut made = key(&uid, asked.name.unwrap(), 1);
        made.application = asked
            .application
            .map(|information| (information.namespace.into(), information.data.into()));
        self.keys.push(made);
        Ok(Payload::Created(uid))
    }

    fn activate(&mut self, payload: Reader<'_>) -> Answer {
        if let Some(reason) = self.activate_refused {
            return Err((reason, "not yours".into()));
        }
        self.change(payload, 1, 2)
    }

    /// From one state to another.
    fn change(&mut self, payload: Reader<'_>, from: u32, to: u32) -> Answer {
        let uid = ObjectRef::decode(payload).unwrap().unique_identifier;
        let key = self.key(uid)?;
        if key.state != from {
            return Err((0x0C, "not in that state".into()));
        }
        key.state = to;
        key.activation = Some(1);
        Ok(Payload::Changed(key.uid.clone()))
    }

    /// What is destroyed stays known.
    fn destroy(&mut self, payload: Reader<'_>) -> Answer {
        let uid = ObjectRef::decode(payload).unwrap().unique_identifier;
        let key = self.key(uid)?;
        if key.state == 2 || key.state == 5 {
            return Err((0x0C, "active, or destroyed already".into()));
        }
        key.state = 5;
        Ok(Payload::Changed(key.uid.clone()))
    }

    fn modify(&mut self, item: &RequestItem<'_>) -> Answer {
        if !self.keeps_settings {
            return Err((5, "not supported".into()));
        }
        let change = ModifyAttribute::decode(item.payload.clone()).unwrap();
        let adds = item.operation == operation::ADD_ATTRIBUTE;
        let key = self.key(Some(change.unique_identifier))?;
        let current = key.application.as_ref().map(|kept| kept.1.as_str());
        if adds == current.is_some() {
            return Err((0x0B, "there already, or not there".into()));
        }
        if change
            .current
            .is_some_and(|asked| Some(asked.data) != current)
        {
            return Err((0x0B, "changed meanwhile".into()));
        }
        key.application = Some((change.new.namespace.into(), change.new.data.into()));
        Ok(Payload::Changed(key.uid.clone()))
    }

    fn key(&mut self, uid: Option<&str>) -> Result<&mut Key, (u32, String)> {
        let mut keys = self.keys.iter_mut();
        keys.find(|key| Some(key.uid.as_str()) == uid)
            .ok_or((1, "no such object".into()))
    }

    fn usable(&mut self, uid: Option<&str>) -> Result<String, (u32, String)> {
        let key = self.key(uid)?;
        if key.state == 2 {
            Ok(key.uid.clone())
        } else {
            Err((0x0C, "not active".into()))
        }
    }
}

pub(super) fn store() -> Arc<Store> {
    static ARENA: OnceLock<&'static Arena> = OnceLock::new();
    let arena = ARENA.get_or_init(|| {
        Arena::reserve(&ArenaPlan {
            key_bytes: 64 * 1024,
            large_count: 2,
            large_bytes: 256 * 1024,
            buffer_bytes: 12 * LOCKED_BYTES_PER_CONNECTION,
            mode: Some(Mode::Mlock),
        })
        .expect("an arena")
    });
    Arc::new(Store::new(arena, None))
}

pub(super) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}
