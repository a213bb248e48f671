//! The objects of the simulated HSM: AES-256 and HMAC-SHA256 keys with a name, a state and dates.
//!
//! Must never be true: two living objects of one name (unless that was asked for); key material of a
//! destroyed object; an identifier that differs between two simulators of one seed and one history.

use std::collections::HashMap;
use std::fmt::Write as _;

use kms::wire::kmip::enums::{cryptographic_algorithm, object_type, revocation_reason_code, state};
use kms::wire::kmip::{ApplicationInformation, KeyAttributes, tags};
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
    /// No symmetric key of 256 bits for AES or HMAC-SHA256.
    Kind,
    /// [`OBJECTS_MAX`].
    Full,
    /// It has Application Specific Information already; one is all that an object here can have.
    HasInformation,
    /// It has no such Application Specific Information.
    NoInformation,
}

/// One key.
pub struct Object {
    /// Unique Identifier.
    pub uid: Box<str>,
    /// Name, if it has one.
    pub name: Option<Box<str>>,
    algorithm: u32,
    usage: i32,
    state: u32,
    initial_date_unix_s: i64,
    activation_date_unix_s: Option<i64>,
    /// Application Specific Information: namespace and data.
    application: Option<(Box<str>, Box<str>)>,
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
        let known = [
            cryptographic_algorithm::AES,
            cryptographic_algorithm::HMAC_SHA256,
        ];
        let algorithm = wanted
            .cryptographic_algorithm
            .filter(|algorithm| known.contains(algorithm))
            .ok_or(StoreError::Kind)?;
        let fits = wanted
            .cryptographic_length
            .is_none_or(|bits| bits == KEY_BITS);
        if object_kind != object_type::SYMMETRIC_KEY || !fits {
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
            algorithm,
            usage: wanted.cryptographic_usage_mask.unwrap_or(0),
            state: state::PRE_ACTIVE,
            initial_date_unix_s: now_unix_s,
            activation_date_unix_s: wanted.activation_date_unix_s,
            application: wanted.application.map(owned),
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

    /// Gives a key its first Application Specific Information.
    pub fn add_information(
        &mut self,
        at: usize,
        new: ApplicationInformation<'_>,
    ) -> Result<(), StoreError> {
        let object = self.objects.get_mut(at).ok_or(StoreError::NotFound)?;
        if object.application.is_some() {
            return Err(StoreError::HasInformation);
        }
        object.application = Some(owned(new));
        Ok(())
    }

    /// Replaces it, if it is `current`, or whatever it is.
    pub fn modify_information(
        &mut self,
        at: usize,
        current: Option<ApplicationInformation<'_>>,
        new: ApplicationInformation<'_>,
    ) -> Result<(), StoreError> {
        let object = self.objects.get_mut(at).ok_or(StoreError::NotFound)?;
        let has = object.information().ok_or(StoreError::NoInformation)?;
        if current.is_some_and(|current| current != has) {
            return Err(StoreError::NoInformation);
        }
        object.application = Some(owned(new));
        Ok(())
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
            && fits(wanted.application, has.application)
    }

    fn information(&self) -> Option<ApplicationInformation<'_>> {
        let (namespace, data) = self.application.as_ref()?;
        Some(ApplicationInformation { namespace, data })
    }

    /// The attributes that `wants` names, as the answer to a Get Attributes.
    pub fn attributes(&self, wants: impl Fn(Tag) -> bool) -> KeyAttributes<'_> {
        fn only<T>(wanted: bool, value: T) -> Option<T> {
            wanted.then_some(value)
        }
        KeyAttributes {
            unique_identifier: Some(&self.uid),
            object_type: only(wants(tags::OBJECT_TYPE), object_type::SYMMETRIC_KEY),
            cryptographic_algorithm: only(wants(tags::CRYPTOGRAPHIC_ALGORITHM), self.algorithm),
            cryptographic_length: only(wants(tags::CRYPTOGRAPHIC_LENGTH), KEY_BITS),
            cryptographic_usage_mask: only(wants(tags::CRYPTOGRAPHIC_USAGE_MASK), self.usage),
            name: self.name.as_deref().filter(|_| wants(tags::NAME)),
            state: only(wants(tags::STATE), self.state),
            initial_date_unix_s: only(wants(tags::INITIAL_DATE), self.initial_date_unix_s),
            activation_date_unix_s: self
                .activation_date_unix_s
                .filter(|_| wants(tags::ACTIVATION_DATE)),
            application: self
                .information()
                .filter(|_| wants(tags::APPLICATION_SPECIFIC_INFORMATION)),
        }
    }
}

fn owned(information: ApplicationInformation<'_>) -> (Box<str>, Box<str>) {
    (information.namespace.into(), information.data.into())
}

#[cfg(test)]
mod tests;
