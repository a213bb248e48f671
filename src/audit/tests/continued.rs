//! Logs of which the beginning is elsewhere, or that cannot be read as they are.

use super::*;

fn anchor_of(line: &str) -> String {
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let [chain, mac] = ["chain", "mac"].map(|name| line[name].as_str().unwrap());
    format!("{chain}:{}:{mac}", line["seq"])
}

/// The last month alone, for instance: the files before are in an archive.
#[test]
fn what_goes_on_from_files_that_are_elsewhere_is_held_to_itself_and_the_anchors() {
    let place = Place::new();
    let text = sample(&place);
    let lines: Vec<&str> = text.lines().collect();
    let (own, last) = first_chain(&lines);
    let anchor = |at: usize| anchor_of(lines[own[at]]);
    let (before, wrong) = (anchor(1), anchor(1).replace(":1:", ":2:"));
    let later = without(&lines, &own[..2]);
    let changed = |from: usize| {
        let line = lines[own[from]];
        later.replace(line, &line.replace("\"status\":200", "\"status\":403"))
    };
    let foreign = format!("other:7:{}", "0".repeat(64));
    for (name, log, anchors, errors, warnings) in [
        ("not proved by itself", later.clone(), &[&last][..], 0, 1),
        (
            "proved by the line before",
            later.clone(),
            &[&before, &last],
            0,
            0,
        ),
        (
            "an anchor of long ago",
            later.clone(),
            &[&anchor(0), &last],
            0,
            1,
        ),
        (
            "its first line is not the anchor's",
            later.clone(),
            &[&wrong, &last],
            1,
            1,
        ),
        ("its first line changed", changed(2), &[&before], 1, 0),
        ("a later line changed", changed(3), &[&last], 1, 1),
        (
            "the tail cut",
            without(&lines, &[&own[..2], &own[4..]].concat()),
            &[&before, &last],
            1,
            1,
        ),
        (
            "a line dropped",
            without(&lines, &[&own[..2], &own[3..4]].concat()),
            &[&before],
            1,
            0,
        ),
        ("a chain of other files", text.clone(), &[&foreign], 0, 1),
    ] {
        let anchors: Vec<&str> = anchors.iter().map(|anchor| anchor.as_str()).collect();
        let verdict = place.verify_as(&log, &anchors, true);
        let got = (verdict.errors.len(), verdict.warnings.len());
        assert_eq!(got, (errors, warnings), "{name}: {verdict:?}");
    }
}

#[test]
fn a_wrong_key_is_told_in_bounded_words() {
    let (place, other) = (Place::new(), Place::new());
    sample(&other);
    let verdict = other.verify(&sample(&place).repeat(30), &[]);
    assert!(
        verdict.error_count > 200 && verdict.errors.len() == 100,
        "{verdict:?}"
    );
}

#[test]
fn a_deleted_log_is_noticed_and_made_anew() {
    let place = Place::new();
    let (log, now) = (place.log(Mode::Strict), Instant::now());
    let mut chain = Chain::begin(Arc::clone(&log), now).unwrap();
    chain.record(&record("a"));
    assert!(chain.commit(now) && !log.is_deleted());
    let (file, moved) = (
        place.dir.path().join("audit.log"),
        place.dir.path().join("moved"),
    );
    fs::rename(&file, &moved).unwrap();
    assert!(!log.is_deleted(), "rotated");
    fs::remove_file(&moved).unwrap();
    assert!(log.is_deleted());
    log.reopen().unwrap();
    chain.record(&record("b"));
    assert!(chain.commit(now) && !log.is_deleted());
    assert!(place.text().contains("\"key\":\"b\""));
}

#[test]
fn a_compressed_log_is_told_so() {
    let place = Place::new();
    sample(&place);
    let key = AuditKey::open(&place.dir.path().join("audit.key")).unwrap();
    let refused = Verifier::new(&key, Vec::new()).read("log.gz", &b"\x1f\x8b\x08\0"[..]);
    assert!(refused.unwrap_err().to_string().contains("zcat"));
}
