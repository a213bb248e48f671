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
fn information_is_added_once_and_modified_as_it_is() {
    let mut store = Store::new(1, false);
    let at = make(&mut store, "k").unwrap();
    let of = |data| ApplicationInformation {
        namespace: "n",
        data,
    };
    let modify = |store: &mut Store, current: Option<&'static str>, new| {
        store.modify_information(at, current.map(of), of(new))
    };
    let none = Err(StoreError::NoInformation);
    assert_eq!(modify(&mut store, None, "a"), none, "nothing there");
    store.add_information(at, of("a")).unwrap();
    let twice = store.add_information(at, of("b"));
    assert_eq!(twice, Err(StoreError::HasInformation));
    assert_eq!(modify(&mut store, Some("x"), "b"), none, "not that");
    modify(&mut store, Some("a"), "b").unwrap();
    modify(&mut store, None, "c").unwrap();
    let got = store.get(at).unwrap().attributes(|_| true);
    assert_eq!(got.application, Some(of("c")));
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
