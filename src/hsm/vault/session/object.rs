//! How a version of a Vault's key is named behind the seam.
//!
//! By key, number and time of creation, so that a key made anew under its old name is another object. What a
//! derived key is for one context, [`ObjectId::derived`] appends. Called by `record` and `session`.

use super::super::super::ObjectId;
use super::super::super::envelope::SEPARATOR;

/// What an [`ObjectId`] says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Object<'a> {
    pub(super) name: &'a str,
    pub(super) version: u32,
    /// In base64.
    pub(super) context: Option<&'a str>,
}

/// Names a version; `created` is as the Vault writes it.
pub(in super::super) fn object_id(name: &str, version: u32, created: &str) -> ObjectId {
    let created = created.replace(SEPARATOR, "");
    ObjectId(format!("{name}{SEPARATOR}{version}{SEPARATOR}{created}").into())
}

/// Reads a name that [`object_id`] made; `None` if it did not.
pub(super) fn parse(object: &ObjectId) -> Option<Object<'_>> {
    let mut parts = object.0.split(SEPARATOR);
    let (name, version, _) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Object {
        name,
        version: version.parse().ok()?,
        context: parts.next(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_read() {
        let plain = object_id("k", 3, "1795458514");
        let derived = plain.derived(b"ctx");
        let want = Object {
            name: "k",
            version: 3,
            context: None,
        };
        assert_eq!(parse(&plain), Some(want));
        let context = Some("Y3R4");
        assert_eq!(parse(&derived), Some(Object { context, ..want }));
        assert_ne!(derived, plain.derived(b"cty"));
        assert_ne!(plain, object_id("k", 3, "1795458515"), "made anew");
        assert_eq!(parse(&ObjectId("k".into())), None);
    }
}
