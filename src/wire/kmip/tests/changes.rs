//! What an object has several of, and what changes it, in both forms; random bytes.

use super::super::*;
use super::round_trips::{VERSIONS, answered, asked, request, response};
use super::unhex;

fn information<'a>(namespace: &'a str, data: &'a str) -> ApplicationInformation<'a> {
    ApplicationInformation { namespace, data }
}

fn modify(version: ProtocolVersion) -> ModifyAttribute<'static> {
    let typed = version.has_typed_attributes();
    ModifyAttribute {
        unique_identifier: "7",
        index: (!typed).then_some(3),
        current: typed.then_some(information("ns", "a=1")),
        new: information("ns", "a=2"),
    }
}

pub(super) fn modified(version: ProtocolVersion) -> Vec<u8> {
    request(version, RequestPayload::ModifyAttribute(modify(version)))
}

#[test]
fn changes_of_an_attribute() {
    for version in VERSIONS {
        let bytes = modified(version);
        let want = modify(version);
        assert_eq!(
            ModifyAttribute::decode(asked(&bytes).payload),
            Ok(want),
            "{version}"
        );

        let add = AddAttribute {
            unique_identifier: "7",
            new: information("ns", ""),
        };
        let bytes = request(version, RequestPayload::AddAttribute(add));
        assert_eq!(
            AddAttribute::decode(asked(&bytes).payload),
            Ok(add),
            "{version}"
        );

        let retrieve = RngRetrieve { data_length: 32 };
        let bytes = request(version, RequestPayload::RngRetrieve(retrieve));
        assert_eq!(RngRetrieve::decode(asked(&bytes).payload), Ok(retrieve));
        let random = RngRetrieved { data: b"hunter2" };
        let bytes = response(version, ReplyPayload::RngRetrieve(random));
        assert_eq!(RngRetrieved::decode(answered(&bytes)), Ok(random));
        assert_eq!(format!("{random:?}"), "RngRetrieved(7 bytes)");
        for payload in [
            ReplyPayload::AddAttribute("7"),
            ReplyPayload::ModifyAttribute("7"),
        ] {
            let bytes = response(version, payload);
            assert_eq!(ObjectRef::decode(answered(&bytes)).unwrap().need(), Ok("7"));
        }
    }
}

/// An answer's payload of hand-made fields.
fn payload(fields: &str) -> Vec<u8> {
    let fields = unhex(fields);
    let mut all = unhex("42007C01");
    all.extend(u32::try_from(fields.len()).unwrap().to_be_bytes());
    all.extend(fields);
    all
}

fn inside(payload: &[u8]) -> Reader<'_> {
    let mut whole = Reader::open(payload).unwrap();
    whole.next().unwrap().unwrap().structure().unwrap()
}

/// Namespace of one letter, data `d` of another.
fn typed(tag: &str, namespace: &str, data: &str) -> String {
    format!(
        "{tag}01 00000020 42000307 00000001 {namespace}00000000000000 42000207 00000001 {data}00000000000000"
    )
}

#[test]
fn of_several_the_one_of_our_namespace_is_found() {
    // Index 4 is given, then one without an index, as 1.x has them.
    let name = "42000A07 00000020 4170706C69636174696F6E20537065636966696320496E666F726D6174696F6E";
    let one = |index: &str, namespace: &str, data: &str| {
        let value = typed("42000B", namespace, data);
        let bytes = 40 + 40 + if index.is_empty() { 0 } else { 16 };
        format!("42000801 {bytes:08x} {name} {index} {value}")
    };
    let v1 = one("42000902 00000004 00000004 00000000", "61", "31") + &one("", "62", "32");
    let v2 = format!(
        "42012501 00000050 {} {}",
        typed("420004", "61", "31"),
        typed("420004", "62", "32")
    );
    for (form, fields, first, second) in [("1.x", v1, 4, 5), ("2.x", v2, 0, 1)] {
        let payload = payload(&fields);
        let find = |namespace| ApplicationInformation::find(inside(&payload), namespace);
        assert_eq!(
            find("a"),
            Ok(Some((first, information("a", "1")))),
            "{form}"
        );
        assert_eq!(
            find("b"),
            Ok(Some((second, information("b", "2")))),
            "{form}"
        );
        assert_eq!(find("c"), Ok(None), "{form}");
    }
}

#[test]
fn every_name_is_given() {
    let one = |letter: &str| {
        format!(
            "42005301 00000020 42005507 00000001 {letter}00000000000000 42005405 00000004 00000001 00000000"
        )
    };
    let fields = format!("42012501 00000050 {} {}", one("61"), one("62"));
    assert_eq!(names(inside(&payload(&fields))), Ok(vec!["a", "b"]));
    assert_eq!(names(inside(&payload(""))), Ok(vec![]));
}

#[test]
fn changes_that_are_refused() {
    let uid = "42009407 00000001 3700000000000000";
    let around = |tag: &str| format!("{tag}01 00000028 {}", typed("420004", "61", "31"));
    let (new, current) = (around("42013D"), around("42013C"));
    let other = "42013D01 00000010 42008D05 00000004 00000001 00000000".to_owned();
    let missing = |tag| Err(KmipError::Missing(tag));
    for (name, fields, want) in [
        ("good", format!("{uid}{current}{new}"), Ok(())),
        ("no object", new.clone(), missing(tags::UNIQUE_IDENTIFIER)),
        (
            "nothing new",
            format!("{uid}{current}"),
            missing(tags::NEW_ATTRIBUTE),
        ),
        (
            "another attribute",
            format!("{uid}{other}"),
            missing(tags::APPLICATION_SPECIFIC_INFORMATION),
        ),
        (
            "two of them",
            format!("{uid}{new}{new}"),
            Err(KmipError::Duplicate(tags::NEW_ATTRIBUTE)),
        ),
        (
            "no namespace",
            format!("{uid}42013D01 00000018 42000401 00000010 42000207 00000001 3100000000000000"),
            missing(tags::APPLICATION_NAMESPACE),
        ),
    ] {
        let payload = payload(&fields);
        let got = ModifyAttribute::decode(inside(&payload)).map(drop);
        assert_eq!(got, want, "{name}");
    }
    let none = payload("");
    assert_eq!(
        RngRetrieve::decode(inside(&none)),
        Err(KmipError::Missing(tags::DATA_LENGTH))
    );
    assert_eq!(
        RngRetrieved::decode(inside(&none)),
        Err(KmipError::Missing(tags::DATA))
    );
}
