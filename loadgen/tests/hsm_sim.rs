//! The simulated HSM when nothing is wrong: our own pool and a bare KMIP client use it, in every version,
//! and it takes the time that it says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod sim_support;

use kms::hsm::{Answer, Hsm as _, HsmError, KeyState, ObjectId, Request};
use kms::wire::kmip::enums::{operation, result_reason, revocation_reason_code, state};
use kms::wire::kmip::{
    Create, Decrypt, Decrypted, DiscoverVersions, Encrypt, Encrypted, GCM_PARAMETERS,
    GetAttributes, KeyAttributes, Locate, Located, ObjectRef, ProtocolVersion, QueryAnswer,
    RequestPayload, Revoke, decode_response,
};
use kms::wire::ttlv::Reader;
use kms_loadgen::sim::{HsmPlan, Model, Preset};
use sim_support::{
    Bare, PATIENCE, ask, ask_all, decrypt, encrypt, find, object, plain, quick, sealed, sim,
    wrapped,
};

#[test]
fn our_pool_creates_finds_wraps_and_unwraps() {
    let bench = quick();
    let hsm = bench.pool(1);
    let made = ask(&hsm, Request::Create { name: "k".into() });
    let Ok(Answer::Key(Some(record))) = made else {
        panic!("{made:?}")
    };
    assert_eq!(record.versions[0].state, KeyState::Active);
    let Ok(Answer::Key(found)) = ask(&hsm, find("k")) else {
        panic!("find after create")
    };
    assert_eq!(found, Some(std::sync::Arc::clone(&record)));
    assert!(matches!(ask(&hsm, find("none")), Ok(Answer::Key(None))));

    let key = record.versions[0].object.clone();
    let pairs = wrapped(&hsm, &key, 64);
    let mut unwraps: Vec<_> = pairs
        .iter()
        .map(|(_, sealed)| decrypt(&key, sealed))
        .collect();
    let mut bad = pairs[2].1.clone();
    *bad.last_mut().unwrap() ^= 1;
    unwraps[2] = decrypt(&key, &bad);
    unwraps[5] = decrypt(&ObjectId("nobody".into()), &pairs[5].1);
    for (at, outcome) in ask_all(&hsm, unwraps, PATIENCE).into_iter().enumerate() {
        match at {
            2 => assert_eq!(plain(outcome), Err(HsmError::AuthenticationFailed)),
            5 => assert_eq!(plain(outcome), Err(HsmError::ObjectNotFound)),
            _ => assert_eq!(plain(outcome).as_ref(), Ok(&pairs[at].0), "{at}"),
        }
    }
    let totals = bench.status()["totals"].clone();
    let [messages, items] = ["messages", "items"].map(|name| totals[name].as_u64().unwrap());
    assert!(items > messages + 60, "requests are batched: {totals}");
    assert!(hsm.health().up);
}

/// The answer to one payload: its payload's bytes as read by `read`, or the Result Reason.
fn one<T>(
    bare: &mut Bare,
    version: ProtocolVersion,
    payload: RequestPayload<'_>,
    read: impl FnOnce(Reader<'_>) -> T,
) -> Result<T, u32> {
    let answer = bare.exchange(version, &[payload]).unwrap();
    let message = decode_response(&answer).unwrap();
    let item = message.items.clone().next().unwrap().unwrap();
    if item.is_success() {
        assert_eq!(message.version, version);
        Ok(read(item.need_payload().unwrap()))
    } else {
        Err(item.reason.unwrap())
    }
}

fn uid(reader: Reader<'_>) -> String {
    let object = ObjectRef::decode(reader).unwrap();
    object.need().unwrap().to_owned()
}

#[test]
fn every_version_lives_a_key_from_create_to_destroy() {
    let bench = quick();
    let mut bare = bench.bare();
    for (major, minor) in [(1, 0), (1, 1), (1, 2), (1, 3), (1, 4), (2, 0), (2, 1)] {
        let version = ProtocolVersion { major, minor };
        let name = format!("key of {version}");
        let create = RequestPayload::Create(Create::symmetric_key(&name, 3, 256, 12));
        let made = one(&mut bare, version, create, uid).unwrap();
        let object = ObjectRef {
            unique_identifier: Some(&made),
        };
        let locate = RequestPayload::Locate(Locate::by_name(&name));
        let get = RequestPayload::GetAttributes(GetAttributes {
            unique_identifier: Some(&made),
            attributes: &[],
        });
        let revoke = RequestPayload::Revoke(Revoke {
            unique_identifier: Some(&made),
            reason_code: revocation_reason_code::CESSATION_OF_OPERATION,
        });
        let destroy = RequestPayload::Destroy(object);
        for (step, payload, succeeds, then, found) in [
            ("the name is taken", create, false, state::PRE_ACTIVE, 1),
            (
                "activate",
                RequestPayload::Activate(object),
                true,
                state::ACTIVE,
                1,
            ),
            ("destroy while active", destroy, false, state::ACTIVE, 1),
            ("revoke", revoke, true, state::DEACTIVATED, 1),
            ("destroy", destroy, true, state::DESTROYED, 0),
        ] {
            let told = format!("KMIP {version}: {step}");
            let done = one(&mut bare, version, payload, |_| ());
            assert_eq!(done.is_ok(), succeeds, "{told}: {done:?}");
            let is = one(&mut bare, version, get, |reader: Reader<'_>| {
                let got = KeyAttributes::decode(reader).unwrap();
                assert_eq!(got.name, Some(name.as_str()), "{told}");
                got.state
            });
            assert_eq!(is, Ok(Some(then)), "{told}");
            let located = |reader: Reader<'_>| Located::decode(reader).unwrap().count;
            assert_eq!(
                one(&mut bare, version, locate, located),
                Ok(found),
                "{told}"
            );
        }
        let query = RequestPayload::Query(&[1]);
        let crypts = one(&mut bare, version, query, |reader: Reader<'_>| {
            let answer = QueryAnswer::decode(reader).unwrap();
            answer.supports(operation::ENCRYPT)
        });
        assert_eq!(crypts, Ok(version >= ProtocolVersion::V1_2), "{version}");
    }
}

#[test]
fn reasons_are_those_of_the_version() {
    use result_reason as r;
    let bench = quick();
    let mut bare = bench.bare();
    let demo = RequestPayload::Create(Create::symmetric_key("demo", 3, 256, 12));
    let nobody = ObjectRef {
        unique_identifier: Some("nobody"),
    };
    let nobody = RequestPayload::Activate(nobody);
    let rsa = RequestPayload::Create(Create::symmetric_key("rsa", 4, 2048, 12));
    for (name, payload, in_1, in_2) in [
        (
            "name taken",
            demo,
            r::ILLEGAL_OPERATION,
            r::NON_UNIQUE_NAME_ATTRIBUTE,
        ),
        ("no object", nobody, r::ITEM_NOT_FOUND, r::OBJECT_NOT_FOUND),
        ("no AES", rsa, r::INVALID_FIELD, r::INVALID_FIELD),
    ] {
        for (version, want) in [(ProtocolVersion::V1_4, in_1), (ProtocolVersion::V2_1, in_2)] {
            let got = one(&mut bare, version, payload, |_| ());
            assert_eq!(got, Err(want), "{name} in {version}");
        }
    }
}

#[test]
fn the_tag_is_lost_below_1_4_as_on_real_servers() {
    let bench = quick();
    let mut bare = bench.bare();
    let v1_4 = ProtocolVersion::V1_4;
    let locate = RequestPayload::Locate(Locate::by_name("demo"));
    let uid = one(&mut bare, v1_4, locate, |reader: Reader<'_>| {
        Located::decode(reader)
            .unwrap()
            .unique_identifiers()
            .next()
            .unwrap()
            .to_owned()
    });
    let uid = uid.unwrap();
    let ask_for = |associated_data| {
        RequestPayload::Encrypt(Encrypt {
            unique_identifier: Some(&uid),
            parameters: Some(GCM_PARAMETERS),
            data: b"secret",
            iv: None,
            associated_data,
        })
    };
    let read = |reader: Reader<'_>| {
        let answer = Encrypted::decode(reader).unwrap();
        let bytes = |field: Option<&[u8]>| field.map(<[u8]>::to_vec);
        (
            answer.data.to_vec(),
            bytes(answer.iv).unwrap(),
            bytes(answer.tag),
        )
    };
    let (data, iv, tag) = one(&mut bare, v1_4, ask_for(b"aad"), read).unwrap();
    assert_eq!((iv.len(), tag.as_ref().map(Vec::len)), (12, Some(16)));
    let decrypt = RequestPayload::Decrypt(Decrypt {
        unique_identifier: Some(&uid),
        parameters: Some(GCM_PARAMETERS),
        data: &data,
        iv: Some(&iv),
        associated_data: b"aad",
        tag: tag.as_deref(),
    });
    let opened = one(&mut bare, v1_4, decrypt, |reader: Reader<'_>| {
        Decrypted::decode(reader).unwrap().data.to_vec()
    });
    assert_eq!(opened, Ok(b"secret".to_vec()));
    let (_, _, tag) = one(&mut bare, ProtocolVersion::V1_2, ask_for(b""), read).unwrap();
    assert_eq!(tag, None);
    let refused = one(&mut bare, ProtocolVersion::V1_2, ask_for(b"aad"), read);
    assert_eq!(refused.unwrap_err(), result_reason::INVALID_MESSAGE);
}

#[test]
fn versions_can_be_capped() {
    let capped = |_: &_| HsmPlan {
        version_max: ProtocolVersion::V1_2,
        ..HsmPlan::default()
    };
    let bench = sim(Preset::Null.model(), capped);
    let mut bare = bench.bare();
    let newer = one(
        &mut bare,
        ProtocolVersion::V1_4,
        RequestPayload::Query(&[1]),
        |_| (),
    );
    assert_eq!(newer, Err(result_reason::INVALID_MESSAGE));
    let answer = bare.exchange(
        ProtocolVersion::V1_4,
        &[RequestPayload::DiscoverVersions(&[])],
    );
    let answer = answer.unwrap();
    let item = decode_response(&answer)
        .unwrap()
        .items
        .next()
        .unwrap()
        .unwrap();
    let spoken: Vec<_> = DiscoverVersions::decode(item.need_payload().unwrap())
        .map(Result::unwrap)
        .collect();
    assert_eq!((spoken.len(), spoken[0]), (3, ProtocolVersion::V1_2));
    let hsm = bench.pool(1);
    let failed = ask_all(&hsm, vec![find("demo")], std::time::Duration::from_secs(2));
    assert!(failed[0].is_err(), "AES-GCM needs 1.4");
}

#[test]
fn batches_stop_at_an_error_unless_told_to_go_on() {
    let bench = quick();
    let mut bare = bench.bare();
    let missing = RequestPayload::Activate(ObjectRef {
        unique_identifier: Some("nobody"),
    });
    let all = [
        RequestPayload::Query(&[1]),
        missing,
        RequestPayload::Query(&[1]),
    ];
    // Our encoder always asks to continue.
    let answer = bare.exchange(ProtocolVersion::V2_1, &all).unwrap();
    let results: Vec<bool> = decode_response(&answer)
        .unwrap()
        .items
        .map(|item| item.unwrap().is_success())
        .collect();
    assert_eq!(results, [true, false, true]);
    // The ID Placeholder: an object that was located is the one that is asked about.
    let locate = RequestPayload::Locate(Locate::by_name("demo"));
    let get = RequestPayload::GetAttributes(GetAttributes::default());
    let answer = bare
        .exchange(ProtocolVersion::V1_4, &[locate, get])
        .unwrap();
    let items: Vec<_> = decode_response(&answer)
        .unwrap()
        .items
        .map(Result::unwrap)
        .collect();
    let got = KeyAttributes::decode(items[1].need_payload().unwrap()).unwrap();
    assert_eq!((got.name, got.state), (Some("demo"), Some(state::ACTIVE)));
    bench.order("set batch-max 2");
    let answer = bare.exchange(ProtocolVersion::V1_4, &all).unwrap();
    let items: Vec<_> = decode_response(&answer)
        .unwrap()
        .items
        .map(Result::unwrap)
        .collect();
    assert!(items.len() == 1 && items[0].is_message_level());
}

/// Medians of 200 lone Decrypts, milliseconds: as the model had it, and as it was by the simulator's clock.
fn medians_ms(model: Model) -> [f64; 2] {
    let bench = sim(model, |_| HsmPlan::default());
    let hsm = bench.pool(1);
    let key = object(&hsm, "demo");
    let sealed = sealed(ask(&hsm, encrypt(&key, &[7; 32])));
    bench.order("reset");
    for _ in 0..200 {
        plain(ask(&hsm, decrypt(&key, &sealed))).unwrap();
    }
    let status = bench.status();
    ["modelled_us", "service_us"].map(|name| status[name]["p50"].as_f64().unwrap() / 1000.0)
}

#[test]
fn presets_keep_their_latency() {
    for preset in [
        Preset::Null,
        Preset::SoftKmip,
        Preset::LanHsm,
        Preset::CloudHsm,
    ] {
        let model = preset.model();
        let want = model.message_ms + model.item_ms;
        let [modelled, real] = medians_ms(model);
        let all = format!(
            "{}: modelled {modelled}, real {real}, wanted {want} ms",
            preset.name()
        );
        assert!((modelled - want).abs() <= 0.1 * want, "{all}");
        // Never early; how late is the machine's doing, so only nonsense is refused.
        assert!(real >= modelled && real < modelled + 50.0, "{all}");
    }
}

#[test]
fn two_simulators_of_one_seed_are_one_hsm() {
    let (one, other) = (quick(), quick());
    let (first, second) = (one.pool(1), other.pool(1));
    let key = object(&first, "demo");
    assert_eq!(key, object(&second, "demo"));
    let sealed = sealed(ask(&first, encrypt(&key, b"moves")));
    assert_eq!(
        plain(ask(&second, decrypt(&key, &sealed))),
        Ok(b"moves".to_vec())
    );
}
