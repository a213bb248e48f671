//! The objects of the simulated HSM: AES-256 keys with a name, a state and dates.
//!
//! Must never be true: two living objects of one name (unless that was asked for); key material of a
//! destroyed object; an identifier that differs between two simulators of one seed and one history.

use std::collections::HashMap;
use std::fmt::Write as _;

use kms::wire::kmip::enums::{cryptographic_algorithm, object_type, revocation_reason_code, state};
use kms::wire::kmip::{KeyAttributes, tags};
use kms::wire::ttlv::Tag;

use super::crypt::{Cipher, derive};

/// Objects that one simulator holds, destroyed ones included.
pub const OBJECTS_MAX: usize = 100_000;
/// The only length of keys.
const KEY_BITS: i32 = 256;

/// Why something cannot be done with an object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StoreError {
    /// No such object.
    NotFound,
    /// Its state forbids it.
    State,
    /// Its usage mask forbids it.
    Usage,
    /// Its material is gone.
    Destroyed,
    /// Another has the name.
    NameTaken,
    /// No symmetric AES key of 256 bits.
    Kind,
    /// [`OBJECTS_MAX`].
    Full,
}

/// One key.
pub struct Object {
    /// Unique Identifier.
    pub uid: Box<str>,
    /// Name, if it has one.
    pub name: Option<Box<str>>,
    usage: i32,
    state: u32,
    initial_date_unix_s: i64,
    activation_date_unix_s: Option<i64>,
    cipher: Option<Cipher>,
}

/// All of them, in the order in which they were made.
pub struct Store {
    objects: Vec<Object>,
    by_uid: HashMap<Box<str>, usize>,
    seed: u64,
    duplicate_names: bool,
}

impl Store {
    /// Empty. Equal seeds give equal identifiers and keys to equal names.
    pub fn new(seed: u64, duplicate_names: bool) -> Self {
        Self {
            objects: Vec::new(),
            by_uid: HashMap::new(),
            seed,
            duplicate_names,
        }
    }

    /// How many there are, destroyed ones included.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The object at a place that this store gave out.
    pub fn get(&self, at: usize) -> Option<&Object> {
        self.objects.get(at)
    }

    /// Where the object of this identifier is.
    pub fn find(&self, uid: &str) -> Result<usize, StoreError> {
        self.by_uid.get(uid).copied().ok_or(StoreError::NotFound)
    }

    /// Makes a key, Pre-Active.
    pub fn create(
        &mut self,
        object_kind: u32,
        wanted: &KeyAttributes<'_>,
        now_unix_s: i64,
    ) -> Result<usize, StoreError> {
        let aes = wanted.cryptographic_algorithm == Some(cryptographic_algorithm::AES)
            && wanted
                .cryptographic_length
                .is_none_or(|bits| bits == KEY_BITS);
        if object_kind != object_type::SYMMETRIC_KEY || !aes {
            return Err(StoreError::Kind);
        }
        if self.objects.len() >= OBJECTS_MAX {
            return Err(StoreError::Full);
        }
        let same_name = |object: &&Object| object.name.as_deref() == wanted.name;
        let alike = self.objects.iter().filter(same_name);
        let (mut earlier, mut living) = (0, false);
        for object in alike {
            earlier += 1;
            living |= object.cipher.is_some();
        }
        if wanted.name.is_some() && living && !self.duplicate_names {
            return Err(StoreError::NameTaken);
        }
        let uid = self.identifier(wanted.name.unwrap_or_default(), earlier);
        let cipher = Cipher::derive(self.seed, &uid);
        let at = self.objects.len();
        self.by_uid.insert(uid.clone(), at);
        self.objects.push(Object {
            uid,
            name: wanted.name.map(Into::into),
            usage: wanted.cryptographic_usage_mask.unwrap_or(0),
            state: state::PRE_ACTIVE,
            initial_date_unix_s: now_unix_s,
            activation_date_unix_s: wanted.activation_date_unix_s,
            cipher,
        });
        Ok(at)
    }

    /// Of the name and how many bore it before: a second simulator of the seed gives the same.
    fn identifier(&self, name: &str, earlier: u32) -> Box<str> {
        let derived = derive(self.seed, "identifier", &format!("{earlier}/{name}"));
        let mut text = String::with_capacity(32);
        for byte in derived.as_ref().iter().take(16) {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text.into()
    }

    /// Makes a key usable.
    pub fn activate(&mut self, at: usize, now_unix_s: i64) -> Result<(), StoreError> {
        let object = self.objects.get_mut(at).ok_or(StoreError::NotFound)?;
        if object.state != state::PRE_ACTIVE {
            return Err(StoreError::State);
        }
        object.state = state::ACTIVE;
        object.activation_date_unix_s = Some(now_unix_s);
        Ok(())
    }

    /// Ends a key's use.
    pub fn revoke(&mut self, at: usize, reason_code: u32) -> Result<(), StoreError> {
        let object = self.objects.get_mut(at).ok_or(StoreError::NotFound)?;
        let compromise = matches!(
            reason_code,
            revocation_reason_code::KEY_COMPROMISE | revocation_reason_code::CA_COMPROMISE
        );
        object.state = match (object.state, compromise) {
            (state::PRE_ACTIVE | state::ACTIVE | state::DEACTIVATED, true) => state::COMPROMISED,
            (state::DESTROYED, true) => state::DESTROYED_COMPROMISED,
            (state::ACTIVE, false) => state::DEACTIVATED,
            _ => return Err(StoreError::State),
        };
        Ok(())
    }

    /// Destroys a key's material, unless it is in use.
    pub fn destroy(&mut self, at: usize) -> Result<(), StoreError> {
        let object = self.objects.get_mut(at).ok_or(StoreError::NotFound)?;
        object.state = match object.state {
            state::PRE_ACTIVE | state::DEACTIVATED => state::DESTROYED,
            state::COMPROMISED => state::DESTROYED_COMPROMISED,
            state::ACTIVE => return Err(StoreError::State),
            _ => return Err(StoreError::Destroyed),
        };
        object.cipher = None;
        Ok(())
    }

    /// The key, if it may be used so: the usage bit, and a state that allows it (a deactivated key
    /// still decrypts).
    pub fn cipher(&self, at: usize, usage: i32, active_only: bool) -> Result<&Cipher, StoreError> {
        let object = self.objects.get(at).ok_or(StoreError::NotFound)?;
        let cipher = object.cipher.as_ref().ok_or(StoreError::Destroyed)?;
        let allowed = match object.state {
            state::ACTIVE => true,
            state::DEACTIVATED | state::COMPROMISED => !active_only,
            _ => false,
        };
        if !allowed {
            return Err(StoreError::State);
        }
        if object.usage & usage == 0 {
            return Err(StoreError::Usage);
        }
        Ok(cipher)
    }

    /// Places of the living objects that have all these attributes, newest first.
    pub fn locate(&self, wanted: &KeyAttributes<'_>) -> impl Iterator<Item = usize> {
        let all = self.objects.iter().enumerate().rev();
        all.filter(move |(_, object)| object.cipher.is_some() && object.matches(wanted))
            .map(|(at, _)| at)
    }
}

impl Object {
    fn matches(&self, wanted: &KeyAttributes<'_>) -> bool {
        fn fits<T: PartialEq + Copy>(wanted: Option<T>, has: Option<T>) -> bool {
            wanted.is_none() || wanted == has
        }
        let has = self.attributes(|_| true);
        fits(wanted.unique_identifier, Some(&*self.uid))
            && fits(wanted.object_type, has.object_type)
            && fits(wanted.cryptographic_algorithm, has.cryptographic_algorithm)
            && fits(wanted.cryptographic_length, has.cryptographic_length)
            && fits(
                wanted.cryptographic_usage_mask,
                has.cryptographic_usage_mask,
            )
            && fits(wanted.name, has.name)
            && fits(wanted.state, has.state)
            && fits(wanted.initial_date_unix_s, has.initial_date_unix_s)
            && fits(wanted.activation_date_unix_s, has.activation_date_unix_s)
    }

    /// The attributes that `wants` names, as the answer to a Get Attributes.
    pub fn attributes(&self, wants: impl Fn(Tag) -> bool) -> KeyAttributes<'_> {
        fn only<T>(wanted: bool, value: T) -> Option<T> {
            wanted.then_some(value)
        }
        KeyAttributes {
            unique_identifier: Some(&self.uid),
            object_type: only(wants(tags::OBJECT_TYPE), object_type::SYMMETRIC_KEY),
            cryptographic_algorithm: only(
                wants(tags::CRYPTOGRAPHIC_ALGORITHM),
                cryptographic_algorithm::AES,
            ),
            cryptographic_length: only(wants(tags::CRYPTOGRAPHIC_LENGTH), KEY_BITS),
            cryptographic_usage_mask: only(wants(tags::CRYPTOGRAPHIC_USAGE_MASK), self.usage),
            name: self.name.as_deref().filter(|_| wants(tags::NAME)),
            state: only(wants(tags::STATE), self.state),
            initial_date_unix_s: only(wants(tags::INITIAL_DATE), self.initial_date_unix_s),
            activation_date_unix_s: self
                .activation_date_unix_s
                .filter(|_| wants(tags::ACTIVATION_DATE)),
            // The simulator keeps nothing for applications yet: it refuses Add and Modify Attribute.
            application: None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn wanted(name: &str) -> KeyAttributes<'_> {
        KeyAttributes {
            name: Some(name),
            cryptographic_algorithm: Some(cryptographic_algorithm::AES),
            cryptographic_length: Some(KEY_BITS),
            cryptographic_usage_mask: Some(12),
            ..KeyAttributes::default()
        }
    }

    fn make(store: &mut Store, name: &str) -> Result<usize, StoreError> {
        store.create(object_type::SYMMETRIC_KEY, &wanted(name), 5)
    }

    #[test]
    fn a_life_from_create_to_destroy() {
        let mut store = Store::new(1, false);
        let at = make(&mut store, "k").unwrap();
        assert_eq!(make(&mut store, "k"), Err(StoreError::NameTaken));
        assert_eq!(store.cipher(at, 4, false).err(), Some(StoreError::State));
        store.activate(at, 6).unwrap();
        assert_eq!(store.activate(at, 6), Err(StoreError::State));
        assert!(store.cipher(at, 4, true).is_ok());
        assert_eq!(store.cipher(at, 0x80, true).err(), Some(StoreError::Usage));
        assert_eq!(store.destroy(at), Err(StoreError::State), "while active");
        store
            .revoke(at, revocation_reason_code::SUPERSEDED)
            .unwrap();
        assert!(store.cipher(at, 8, false).is_ok(), "still decrypts");
        assert_eq!(store.cipher(at, 4, true).err(), Some(StoreError::State));
        store.destroy(at).unwrap();
        assert_eq!(
            store.cipher(at, 8, false).err(),
            Some(StoreError::Destroyed)
        );
        assert_eq!(store.locate(&KeyAttributes::default()).count(), 0);
        let next = make(&mut store, "k").unwrap();
        assert_ne!(store.get(at).unwrap().uid, store.get(next).unwrap().uid);
    }

    #[test]
    fn attributes_select_and_are_selected() {
        let mut store = Store::new(1, true);
        for name in ["a", "b", "b"] {
            make(&mut store, name).unwrap();
        }
        let by = |name| KeyAttributes {
            name: Some(name),
            ..KeyAttributes::default()
        };
        assert_eq!(store.locate(&by("a")).collect::<Vec<_>>(), [0]);
        assert_eq!(store.locate(&by("b")).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(store.locate(&by("c")).count(), 0);
        let got = store.get(0).unwrap().attributes(|tag| tag == tags::STATE);
        assert_eq!((got.state, got.name), (Some(state::PRE_ACTIVE), None));
    }

    #[test]
    fn equal_seeds_give_equal_identifiers() {
        let uid = |seed| {
            let mut store = Store::new(seed, false);
            let at = make(&mut store, "k").unwrap();
            store.get(at).unwrap().uid.clone()
        };
        assert_eq!(uid(1), uid(1));
        assert_ne!(uid(1), uid(2));
    }

    #[test]
    fn other_kinds_of_object_are_refused() {
        let mut store = Store::new(1, false);
        let rsa = KeyAttributes {
            cryptographic_algorithm: Some(cryptographic_algorithm::RSA),
            ..wanted("k")
        };
        let short = KeyAttributes {
            cryptographic_length: Some(128),
            ..wanted("k")
        };
        for (name, kind, wanted) in [
            ("RSA", object_type::SYMMETRIC_KEY, rsa),
            ("AES-128", object_type::SYMMETRIC_KEY, short),
            ("certificate", object_type::CERTIFICATE, wanted("k")),
        ] {
            assert_eq!(
                store.create(kind, &wanted, 5),
                Err(StoreError::Kind),
                "{name}"
            );
        }
    }
}
