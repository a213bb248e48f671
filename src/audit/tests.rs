#![allow(clippy::unwrap_used, clippy::expect_used)]

mod continued;

use std::fs;
use std::time::{Duration, Instant};

use super::verify::{Anchor, Verdict, Verifier};
use super::*;

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn log(&self, mode: Mode) -> Arc<Log> {
        self.log_at(self.dir.path().join("audit.log"), mode)
    }

    fn log_at(&self, file: PathBuf, mode: Mode) -> Arc<Log> {
        let settings = Settings {
            file,
            key_file: self.dir.path().join("audit.key"),
            mode,
            sync: true,
        };
        Log::open(settings).unwrap()
    }

    fn text(&self) -> String {
        fs::read_to_string(self.dir.path().join("audit.log")).unwrap()
    }

    fn verify(&self, text: &str, anchors: &[&str]) -> Verdict {
        self.verify_as(text, anchors, false)
    }

    fn verify_as(&self, text: &str, anchors: &[&str], is_continued: bool) -> Verdict {
        let key = AuditKey::open(&self.dir.path().join("audit.key")).unwrap();
        let anchors = anchors.iter().map(|text| text.parse().unwrap()).collect();
        let mut verifier = Verifier::new(&key, anchors);
        if is_continued {
            verifier = verifier.continued();
        }
        verifier.read("log", text.as_bytes()).unwrap();
        verifier.finish()
    }
}

fn record(key: &str) -> Record<'_> {
    Record {
        request: &[7; 16],
        who: Who {
            alias: "cmxdevice",
            subject: "CN=\"a\\b\"\n,O=x",
            fingerprint: &[9; 32],
            role: "device",
            address: "127.0.0.1",
        },
        operation: "decrypt",
        key,
        version: 3,
        ciphertext: Some("QUJD"),
        item: None,
        status: 200,
        source: "cache",
        took_us: 12,
    }
}

/// A log of two chains of four lines and their ends.
fn sample(place: &Place) -> String {
    let (log, now) = (place.log(Mode::Strict), Instant::now());
    let mut chains = [(); 2].map(|()| Chain::begin(Arc::clone(&log), now).unwrap());
    for key in ["a", "b", "c", "d"] {
        for chain in &mut chains {
            chain.set_time("2026-11-24T17:00:00.000Z");
            chain.record(&record(key));
            assert!(chain.is_pending() && chain.commit(now) && !chain.is_pending());
        }
    }
    for chain in &mut chains {
        chain.end(now);
    }
    place.text()
}

#[test]
fn a_line_tells_what_was_done_and_no_ciphertext() {
    let place = Place::new();
    let text = sample(&place);
    let line: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    assert_eq!(line["subject"], "CN=\"a\\b\"\n,O=x");
    assert_eq!(line["request"], "07070707-0707-0707-0707-070707070707");
    for (name, want) in [
        ("key", "a"),
        ("outcome", "ok"),
        ("source", "cache"),
        ("address", "127.0.0.1"),
    ] {
        assert_eq!(line[name], want, "{name}");
    }
    assert_eq!(
        (line["version"].as_u64(), line["seq"].as_u64()),
        (Some(3), Some(1))
    );
    assert_eq!(line["ciphertext"].as_str().unwrap().len(), 64);
    assert!(!text.contains("QUJD"));
}

/// Lines without those at the places `gone`.
fn without(lines: &[&str], gone: &[usize]) -> String {
    let kept = (0..lines.len()).filter(|at| !gone.contains(at));
    let mut text = kept.map(|at| lines[at]).collect::<Vec<_>>().join("\n");
    text.push('\n');
    text
}

/// Places of the lines of the first line's chain, and the anchor of its last.
fn first_chain(lines: &[&str]) -> (Vec<usize>, String) {
    let value = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let id = value(lines[0])["chain"].clone();
    let own: Vec<usize> = (0..lines.len())
        .filter(|at| value(lines[*at])["chain"] == id)
        .collect();
    let last = value(lines[*own.last().unwrap()]);
    let mac = last["mac"].as_str().unwrap();
    let anchor = format!("{}:{}:{mac}", id.as_str().unwrap(), last["seq"]);
    (own, anchor)
}

#[test]
fn numbers_are_decimal() {
    for value in [0, 1, 9, 10, 255, 1_000_000, u64::MAX] {
        let mut out = Vec::new();
        line::put_number(&mut out, value);
        assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
    }
}

#[test]
fn whatever_is_done_to_a_log_is_found() {
    let place = Place::new();
    let text = sample(&place);
    let lines: Vec<&str> = text.lines().collect();
    let (own, anchor) = first_chain(&lines);
    let mut swapped = lines.clone();
    swapped.swap(own[1], own[2]);
    let foreign = format!(
        "{{\"chain\":\"x\",\"seq\":0,\"mac\":\"{}\"}}\n",
        "0".repeat(64)
    );
    for (name, log, errors, warnings) in [
        ("as it was", text.clone(), 0, 0),
        (
            "a word changed",
            text.replacen("\"key\":\"b\"", "\"key\":\"x\"", 1),
            1,
            0,
        ),
        ("a line dropped", without(&lines, &own[2..3]), 1, 0),
        ("two lines swapped", without(&swapped, &[]), 3, 0),
        ("a line twice", format!("{}\n{text}", lines[0]), 1, 0),
        ("the tail cut", without(&lines, &own[3..]), 1, 1),
        ("a chain left out", without(&lines, &own), 1, 0),
        (
            "a torn piece",
            text.replacen('\n', "\n{\"time\":\"20\n", 1),
            0,
            1,
        ),
        ("a line of one's own", text.clone() + &foreign, 1, 1),
        (
            "the last number that there is",
            text.clone() + &foreign.replace(":0,", ":18446744073709551615,"),
            1,
            1,
        ),
        ("the head cut", without(&lines, &own[..1]), 1, 0),
        ("all of it cut", String::new(), 1, 1),
    ] {
        let verdict = place.verify(&log, &[&anchor]);
        let got = (verdict.errors.len(), verdict.warnings.len());
        assert_eq!(got, (errors, warnings), "{name}: {verdict:?}");
    }
}

#[test]
fn a_chain_that_was_rewritten_without_the_key_is_found() {
    let (place, other) = (Place::new(), Place::new());
    let (text, forged) = (sample(&place), sample(&other));
    assert!(place.verify(&text, &[]).errors.is_empty());
    assert!(!place.verify(&forged, &[]).errors.is_empty());
    let (_, anchor) = first_chain(&text.lines().collect::<Vec<_>>());
    let told = format!(
        "x INFO y audit anchor {anchor}\nnothing\n{{\"message\":\"audit anchor {anchor}\"}}"
    );
    let want: Anchor = anchor.parse().unwrap();
    assert_eq!(verify::anchors(&told), [want.clone(), want]);
}

#[test]
fn a_log_that_cannot_be_written_refuses_or_waits() {
    for (mode, is_answered) in [(Mode::Strict, false), (Mode::BestEffort, true)] {
        let place = Place::new();
        let log = place.log_at("/dev/full".into(), mode);
        let mut now = Instant::now();
        let mut chain = Chain::begin(log, now).unwrap();
        chain.record(&record("a"));
        assert_eq!(chain.commit(now), is_answered, "{mode:?}");
        assert_eq!(chain.refuses(now), !is_answered, "{mode:?}");
        now += Duration::from_secs(1);
        assert_eq!(chain.refuses(now), !is_answered, "still full");
        let before = chain.is_pending();
        for _ in 0..5000 {
            chain.record(&record("b"));
        }
        assert_eq!(before, is_answered, "{mode:?}: waits");
        if is_answered {
            assert!(chain.log.dropped.get() > 0, "bounded");
        }
    }
}

#[test]
fn space_that_comes_back_goes_on_with_the_chain() {
    for mode in [Mode::Strict, Mode::BestEffort] {
        let place = Place::new();
        let log = place.log(mode);
        let now = Instant::now();
        let mut chain = Chain::begin(Arc::clone(&log), now).unwrap();
        chain.record(&record("a"));
        assert!(chain.commit(now));
        let full = OpenOptions::new().append(true).open("/dev/full").unwrap();
        log.file.store(Arc::new(full));
        chain.record(&record("b"));
        chain.commit(now);
        log.reopen().unwrap();
        let later = now + Duration::from_secs(1);
        assert!(!chain.refuses(later), "{mode:?}");
        chain.record(&record("c"));
        assert!(chain.commit(later), "{mode:?}");
        chain.end(later);
        let verdict = place.verify(&place.text(), &[]);
        assert!(
            verdict.errors.is_empty() && verdict.warnings.is_empty(),
            "{mode:?}: {verdict:?}"
        );
        assert_eq!(
            place.text().contains("\"key\":\"b\""),
            mode == Mode::BestEffort,
            "{mode:?}"
        );
    }
}

/// Where a line is cut, how much of it is missing.
#[test]
fn a_piece_of_a_line_costs_nobody_elses() {
    for missing in [1, 2, 20, 200] {
        for mode in [Mode::Strict, Mode::BestEffort] {
            let place = Place::new();
            let (log, now) = (place.log(mode), Instant::now());
            let [mut one, mut other] =
                [(); 2].map(|()| Chain::begin(Arc::clone(&log), now).unwrap());
            one.record(&record("a"));
            let (taken, _) = one.log.append(&one.lines[..one.lines.len() - missing]);
            one.keep_from(taken);
            one.fail(now, None);
            // Another worker is the next to write.
            other.record(&record("b"));
            assert!(other.commit(now));
            let later = now + Duration::from_secs(1);
            one.record(&record("c"));
            assert!(one.commit(later));
            one.end(later);
            other.end(later);
            let verdict = place.verify(&place.text(), &[]);
            let got = (verdict.errors.len(), verdict.warnings.len());
            assert_eq!(got, (0, 1), "{missing} {mode:?}: {verdict:?}");
        }
    }
}

#[test]
fn a_process_that_was_killed_in_a_line_costs_the_next_nothing() {
    let place = Place::new();
    let now = Instant::now();
    let mut chain = Chain::begin(place.log(Mode::Strict), now).unwrap();
    chain.record(&record("a"));
    let half = chain.lines.len() - 1;
    chain.log.append(&chain.lines[..half]);
    drop(chain);
    let mut chain = Chain::begin(place.log(Mode::Strict), now).unwrap();
    chain.record(&record("b"));
    assert!(chain.commit(now));
    chain.end(now);
    let verdict = place.verify(&place.text(), &[]);
    assert!(verdict.errors.is_empty(), "{verdict:?}");
}

/// SIGHUP while nobody moved the log: a worker tears its line after the file was opened anew.
#[test]
fn a_piece_that_is_left_during_a_reopen_is_not_forgotten() {
    let place = Place::new();
    let (log, now) = (place.log(Mode::Strict), Instant::now());
    let [mut one, mut other] = [(); 2].map(|()| Chain::begin(Arc::clone(&log), now).unwrap());
    let opened = open(&log.settings).unwrap();
    one.record(&record("a"));
    let half = one.lines.len() - 20;
    log.append(&one.lines[..half]);
    log.go_on_in(opened).unwrap();
    other.record(&record("b"));
    assert!(other.commit(now));
    other.end(now);
    let verdict = place.verify(&place.text(), &[]);
    assert!(verdict.errors.is_empty(), "{verdict:?}");
    assert!(place.text().contains("~\n"), "the piece was ended");
}

#[test]
fn a_line_that_was_torn_costs_only_itself() {
    let place = Place::new();
    let log = place.log(Mode::Strict);
    let now = Instant::now();
    let mut chain = Chain::begin(log, now).unwrap();
    chain.record(&record("a"));
    let half = chain.lines.len() - 20;
    let (taken, _) = chain.log.append(&chain.lines[..half]);
    chain.keep_from(taken);
    chain.fail(now, None);
    chain.record(&record("b"));
    assert!(chain.commit(now));
    chain.end(now);
    let verdict = place.verify(&place.text(), &[]);
    assert!(
        verdict.errors.is_empty() && verdict.warnings.len() == 1,
        "{verdict:?}"
    );
}
