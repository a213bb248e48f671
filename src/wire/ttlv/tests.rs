//! The standard's own examples both ways, hostile bytes, and round trips.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const TAG: Tag = Tag(0x42_0020);

fn written(write: impl Fn(&mut Writer<'_, Vec<u8>>)) -> Vec<u8> {
    let mut out = Vec::new();
    let mut w = Writer::new(&mut out);
    write(&mut w);
    assert_eq!(w.finish(), Ok(out.len()));
    out
}

fn only(bytes: &[u8]) -> Result<Item<'_>, TtlvError> {
    Reader::open(bytes)?.next().unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|two| u8::try_from(two[0] * 16 + two[1]).unwrap())
        .collect()
}

/// KMIP 1.4, section 9.1.2.
#[test]
fn the_examples_of_the_standard() {
    type Write = fn(&mut Writer<'_, Vec<u8>>);
    type Read = fn(Item<'_>) -> bool;
    #[rustfmt::skip]
    let rows: [(&str, &str, Write, Read); 10] = [
        ("integer 8", "42002002 00000004 00000008 00000000", |w| w.integer(TAG, 8), |i| i.integer() == Ok(8)),
        ("long integer 123456789000000000", "42002003 00000008 01B69B4B A5749200", |w| w.long_integer(TAG, 123_456_789_000_000_000), |i| i.long_integer() == Ok(123_456_789_000_000_000)),
        ("big integer 1234567890000000000000000000", "42002004 00000010 00000000 03FD35EB 6BC2DF46 18080000", |w| w.big_integer(TAG, &unhex("03FD35EB6BC2DF4618080000")), |i| i.big_integer() == Ok(&unhex("0000000003FD35EB6BC2DF4618080000"))),
        ("enumeration 255", "42002005 00000004 000000FF 00000000", |w| w.enumeration(TAG, 255), |i| i.enumeration() == Ok(255)),
        ("boolean true", "42002006 00000008 00000000 00000001", |w| w.boolean(TAG, true), |i| i.boolean() == Ok(true)),
        ("text Hello World", "42002007 0000000B 48656C6C 6F20576F 726C6400 00000000", |w| w.text(TAG, "Hello World"), |i| i.text() == Ok("Hello World")),
        ("bytes 1 2 3", "42002008 00000003 01020300 00000000", |w| w.bytes(TAG, &[1, 2, 3]), |i| i.bytes() == Ok(&[1, 2, 3])),
        ("date time 14 March 2008 11:56:40", "42002009 00000008 00000000 47DA67F8", |w| w.date_time(TAG, 0x47DA_67F8), |i| i.date_time() == Ok(0x47DA_67F8)),
        ("interval of ten days", "4200200A 00000004 000D2F00 00000000", |w| w.interval(TAG, 864_000), |i| i.interval() == Ok(864_000)),
        ("structure of enumeration 254 and integer 255", "42002001 00000020 42000405 00000004 000000FE 00000000 42000502 00000004 000000FF 00000000", |w| { w.structure(TAG, |w| { w.enumeration(Tag(0x42_0004), 254); w.integer(Tag(0x42_0005), 255); }); }, |i| { let mut inner = i.structure().unwrap(); inner.next().unwrap().unwrap().enumeration() == Ok(254) && inner.next().unwrap().unwrap().integer() == Ok(255) && inner.next().is_none() }),
    ];
    for (name, hex, write, read) in rows {
        let bytes = unhex(hex);
        assert_eq!(written(write), bytes, "{name}");
        assert!(read(only(&bytes).unwrap()), "{name}");
        assert_eq!(check(&bytes), Ok(()), "{name}");
    }
}

#[test]
fn what_the_examples_leave_out() {
    let bytes = written(|w| w.date_time_extended(TAG, -1));
    assert_eq!(bytes[3], 0x0b);
    assert_eq!(only(&bytes).unwrap().date_time_extended(), Ok(-1));
    for (value, want) in [
        (&[][..], [0; 8]),
        (&[0x7f], [0, 0, 0, 0, 0, 0, 0, 0x7f]),
        (&[0x80], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x80]),
        (&[1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 5, 6, 7, 8]),
    ] {
        let bytes = written(|w| w.big_integer(TAG, value));
        assert_eq!(
            only(&bytes).unwrap().big_integer(),
            Ok(&want[..]),
            "{value:?}"
        );
    }
}

#[test]
fn any_prefix_asks_for_what_is_missing() {
    let whole = written(|w| w.bytes(TAG, b"thirteen byte"));
    for seen in 0..whole.len() {
        let goal = if seen < 8 { 8 } else { whole.len() };
        assert_eq!(
            frame(&whole[..seen]),
            Ok(Step::Need(goal - seen)),
            "{seen} bytes"
        );
        assert!(Reader::open(&whole[..seen]).is_err(), "{seen} bytes");
    }
    let mut two = whole.clone();
    two.extend_from_slice(&whole);
    assert_eq!(frame(&two), Ok(Step::Item(&whole[..], whole.len())));
    assert_eq!(Reader::open(&two).err(), Some(TtlvError::TrailingBytes));
}

#[test]
fn hostile_bytes_are_refused() {
    let length = |kind, declared| TtlvError::WrongLength {
        tag: TAG,
        kind,
        declared,
    };
    #[rustfmt::skip]
    let rows = [
        ("type below the table", "42002000 00000008 0000000000000000", TtlvError::UnknownType(0)),
        ("type above the table", "4200200C 00000008 0000000000000000", TtlvError::UnknownType(12)),
        ("short integer", "42002002 00000003 0000000000000000", length(Kind::Integer, 3)),
        ("long enumeration", "42002005 00000008 0000000000000000", length(Kind::Enumeration, 8)),
        ("short boolean", "42002006 00000004 0000000000000000", length(Kind::Boolean, 4)),
        ("odd structure", "42002001 00000004 0000000000000000", length(Kind::Structure, 4)),
        ("empty big integer", "42002004 00000000", length(Kind::BigInteger, 0)),
        ("odd big integer", "42002004 00000007 0000000000000000", length(Kind::BigInteger, 7)),
        ("boolean 2", "42002006 00000008 0000000000000002", TtlvError::Boolean(TAG)),
        ("padding of an integer", "42002002 00000004 0000000000000001", TtlvError::Padding(TAG)),
        ("padding of bytes", "42002008 00000001 0000010000000000", TtlvError::Padding(TAG)),
        ("broken UTF-8", "42002007 00000001 FF00000000000000", TtlvError::Text(TAG)),
        ("NUL in a text", "42002007 00000002 4100000000000000", TtlvError::Text(TAG)),
        ("value over the end", "42002008 00000009 0000000000000000", TtlvError::Truncated),
        ("item over its structure", "42002001 00000008 42002008 00000001", TtlvError::Truncated),
        ("length of 4 GiB", "42002008 FFFFFFFF", TtlvError::Truncated),
    ];
    for (name, hex, want) in rows {
        assert_eq!(check(&unhex(hex)), Err(want), "{name}");
        assert!(!want.to_string().is_empty());
    }
    let header = unhex("42002001 FFFFFFF8");
    assert_eq!(
        frame(&header),
        Err(TtlvError::FrameTooLong {
            declared: 0xffff_fff8
        })
    );
    let http = frame(b"HTTP/1.1 400 Bad Request").unwrap_err();
    assert!(http.to_string().contains("no TTLV type"), "{http}");
}

#[test]
fn the_wrong_type_names_the_field() {
    let bytes = written(|w| w.text(crate::wire::kmip::tags::UNIQUE_IDENTIFIER, "1"));
    let error = only(&bytes).unwrap().bytes().unwrap_err();
    let want = "Unique Identifier (0x420094): type TextString where ByteString was expected";
    assert_eq!(error.to_string(), want);
}

fn nested(levels: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for outer in (0..levels).rev() {
        bytes.extend_from_slice(&[0x42, 0, 0x20, 1]);
        bytes.extend_from_slice(&u32::try_from(outer * 8).unwrap().to_be_bytes());
    }
    bytes
}

#[test]
fn nesting_ends_at_the_limit() {
    assert_eq!(check(&nested(TTLV_DEPTH_MAX)), Ok(()));
    assert_eq!(check(&nested(TTLV_DEPTH_MAX + 1)), Err(TtlvError::TooDeep));
    assert_eq!(check(&nested(5000)), Err(TtlvError::TooDeep));
}

#[test]
fn a_fixed_buffer_never_overflows() {
    let fill = |w: &mut Writer<'_, Fixed<'_>>| {
        w.structure(TAG, |w| {
            w.bytes(TAG, b"plaintext");
            w.structure(TAG, |w| w.integer(TAG, 1));
        });
    };
    let whole = {
        let mut buffer = [0xee; 56];
        let mut sink = Fixed::new(&mut buffer);
        let mut w = Writer::new(&mut sink);
        fill(&mut w);
        assert_eq!(w.finish(), Ok(56));
        buffer
    };
    assert_eq!(check(&whole), Ok(()));
    for bytes in 0..whole.len() {
        let mut buffer = [0xee; 56];
        let mut sink = Fixed::new(&mut buffer[..bytes]);
        let mut w = Writer::new(&mut sink);
        fill(&mut w);
        assert_eq!(w.finish(), Err(TtlvError::NoRoom), "{bytes} bytes");
        assert!(
            buffer[bytes..].iter().all(|byte| *byte == 0xee),
            "{bytes} bytes"
        );
    }
}

#[test]
fn a_wrong_count_writes_no_message() {
    for (name, count, want) in [
        ("too short", 15, Err(TtlvError::NoRoom)),
        ("right", 16, Ok(16)),
        ("too long", 17, Err(TtlvError::NoRoom)),
        ("over the limit", usize::MAX, Err(TtlvError::NoRoom)),
    ] {
        let mut out = Vec::new();
        let mut w = Writer::new(&mut out);
        w.counted(count, |w| w.integer(TAG, 1));
        assert_eq!(w.finish(), want, "{name}");
    }
}

/// Whatever the room held before, and at every length that is copied in another way.
#[test]
fn counted_items_are_those_of_the_plain_writer() {
    for bytes in 0..200_u8 {
        let value: Vec<u8> = (1..=bytes).collect();
        let plain = written(|w| {
            w.bytes(TAG, &value);
            w.enumeration(TAG, 1);
            w.boolean(TAG, true);
        });
        let mut buffer = vec![0xee; plain.len()];
        let mut sink = Fixed::new(&mut buffer);
        let mut w = Writer::new(&mut sink);
        w.counted(padded_bytes(&value) + 2 * FIXED_ITEM_BYTES, |w| {
            w.bytes(TAG, &value)?
                .enumeration(TAG, 1)?
                .boolean(TAG, true)
        });
        assert_eq!(w.finish(), Ok(plain.len()), "{bytes} bytes");
        assert_eq!(buffer, plain, "{bytes} bytes");
    }
}

#[test]
fn only_the_item_asked_for_is_taken() {
    #[rustfmt::skip]
    let rows = [
        ("this", "42002002 00000004 00000008 00000000", true),
        ("another field", "42002102 00000004 00000008 00000000", false),
        ("another type", "42002005 00000004 00000008 00000000", false),
        ("wrong length", "42002002 00000008 00000008 00000000", false),
        ("padding", "42002002 00000004 00000008 00000001", false),
        ("cut", "42002002 00000004", false),
        ("nothing", "", false),
    ];
    for (name, hex, taken) in rows {
        let inside = unhex(hex);
        let mut bytes = unhex("42002001 000000");
        bytes.push(u8::try_from(inside.len()).unwrap());
        bytes.extend(&inside);
        let mut reader = only(&bytes).unwrap().structure().unwrap();
        let item = reader.next_if(TAG, Kind::Integer);
        assert_eq!(item.is_some(), taken, "{name}");
        assert_eq!(reader.is_empty(), taken || inside.is_empty(), "{name}");
        if let Some(item) = item {
            assert_eq!(item.integer(), Ok(8), "{name}");
        }
    }
}

#[test]
fn debug_prints_no_value() {
    let bytes = written(|w| w.bytes(TAG, b"topsecret"));
    let shown = format!(
        "{:?} {:?}",
        only(&bytes).unwrap(),
        Reader::open(&bytes).unwrap()
    );
    assert!(
        !shown.contains("topsecret") && !shown.contains("116"),
        "{shown}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(
        integer: i32, long: i64, number: u32, flag: bool, text in "[^\0]{0,40}",
        bytes: Vec<u8>, tag in 0_u32..0x100_0000,
    ) {
        let tag = Tag(tag);
        let out = written(|w| w.structure(tag, |w| {
            w.integer(tag, integer);
            w.long_integer(tag, long);
            w.enumeration(tag, number);
            w.boolean(tag, flag);
            w.text(tag, &text);
            w.bytes(tag, &bytes);
            w.date_time(tag, long);
            w.interval(tag, number);
        }));
        prop_assert_eq!(check(&out), Ok(()));
        let whole = only(&out).unwrap();
        let fields: Vec<_> = whole.structure().unwrap().map(Result::unwrap).collect();
        prop_assert!(fields.len() == 8 && fields.iter().all(|field| field.tag == tag));
        prop_assert_eq!(fields[0].integer(), Ok(integer));
        prop_assert_eq!(fields[1].long_integer(), Ok(long));
        prop_assert_eq!(fields[2].enumeration(), Ok(number));
        prop_assert_eq!(fields[3].boolean(), Ok(flag));
        prop_assert_eq!(fields[4].text(), Ok(&text[..]));
        prop_assert_eq!(fields[5].bytes(), Ok(&bytes[..]));
        prop_assert_eq!(fields[6].date_time(), Ok(long));
        prop_assert_eq!(fields[7].interval(), Ok(number));
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = frame(&bytes);
        let _ = check(&bytes);
    }
}
