//! The whole memory of another process, searched for bytes. Needs root, as the attacker would.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Something to look for.
pub struct Needle {
    pub name: String,
    pub bytes: Vec<u8>,
    pub is_raw: bool,
}

/// Raw bytes, and the part of the base64 that does not depend on its neighbours, at each alignment.
pub fn needles(keys: &[[u8; 32]]) -> Vec<Needle> {
    let mut all = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        all.push(Needle {
            name: format!("key {number} raw"),
            bytes: key.to_vec(),
            is_raw: true,
        });
        for shift in 0..3 {
            let shifted = [&[0; 2][..shift], &key[..]].concat();
            let text = STANDARD_NO_PAD.encode(&shifted).into_bytes();
            // A character holds six bits: the first and last may belong to neighbours as well.
            let from = (shift * 8).div_ceil(6);
            let until = (shifted.len() * 8) / 6;
            all.push(Needle {
                name: format!("key {number} base64 at {shift}"),
                bytes: text[from..until].to_vec(),
                is_raw: false,
            });
        }
    }
    all
}

/// A needle found; all of it is printed when it should not have been.
#[derive(Debug)]
#[allow(dead_code)]
pub struct Hit {
    pub needle: String,
    pub is_raw: bool,
    /// The mapping's line in smaps.
    pub place: String,
    pub address: u64,
    /// The mapping is locked in memory.
    pub locked: bool,
}

struct Mapping {
    line: String,
    start: u64,
    bytes: Vec<u8>,
    locked: bool,
}

/// What could be read of a process, and what could not.
pub struct Image {
    mappings: Vec<Mapping>,
    /// Lines of mappings that refuse to be read.
    pub unreadable: Vec<String>,
}

impl Image {
    pub fn of(pid: u32) -> Self {
        let smaps = fs::read_to_string(format!("/proc/{pid}/smaps"))
            .unwrap_or_else(|error| panic!("the scan of another process needs root: {error}"));
        let memory = File::open(format!("/proc/{pid}/mem"))
            .unwrap_or_else(|error| panic!("the scan of another process needs root: {error}"));
        let (mut mappings, mut unreadable) = (Vec::new(), Vec::new());
        for (line, locked) in lines_of(&smaps) {
            let Some((start, end)) = range(&line) else {
                continue;
            };
            let may_read = line
                .split_whitespace()
                .nth(1)
                .is_some_and(|flags| flags.starts_with('r'));
            if !may_read || line.contains("[vvar") || line.contains("[vsyscall]") {
                continue;
            }
            let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
            match memory.read_exact_at(&mut bytes, start) {
                Ok(()) => mappings.push(Mapping {
                    line,
                    start,
                    bytes,
                    locked,
                }),
                Err(_) => unreadable.push(line),
            }
        }
        assert!(
            mappings.len() > 5,
            "nothing of the process could be read: {unreadable:#?}"
        );
        Self {
            mappings,
            unreadable,
        }
    }

    /// Whether these bytes are anywhere.
    pub fn finds(&self, bytes: &[u8]) -> bool {
        let needle = Needle {
            name: String::new(),
            bytes: bytes.to_vec(),
            is_raw: true,
        };
        !self.scan(&[needle]).is_empty()
    }

    /// Every place of every needle. One pass: four bytes of a needle lead to the candidates.
    pub fn scan(&self, needles: &[Needle]) -> Vec<Hit> {
        let mut by_head: HashMap<[u8; 4], Vec<&Needle>> = HashMap::new();
        let mut is_second = vec![false; 1 << 16];
        for needle in needles {
            let head = *needle.bytes.first_chunk().unwrap();
            is_second[usize::from(u16::from_be_bytes([head[0], head[1]]))] = true;
            by_head.entry(head).or_default().push(needle);
        }
        let mut hits = Vec::new();
        for mapping in &self.mappings {
            for (offset, window) in mapping.bytes.windows(4).enumerate() {
                if !is_second[usize::from(u16::from_be_bytes([window[0], window[1]]))] {
                    continue;
                }
                for needle in by_head.get(window).into_iter().flatten() {
                    if mapping.bytes[offset..].starts_with(&needle.bytes) {
                        hits.push(Hit {
                            needle: needle.name.clone(),
                            is_raw: needle.is_raw,
                            place: mapping.line.clone(),
                            address: mapping.start + offset as u64,
                            locked: mapping.locked,
                        });
                    }
                }
            }
        }
        hits
    }
}

/// Head lines of the mappings, and whether each is locked.
fn lines_of(smaps: &str) -> Vec<(String, bool)> {
    let mut found: Vec<(String, bool)> = Vec::new();
    for line in smaps.lines() {
        if range(line).is_some() {
            found.push((line.to_owned(), false));
        } else if let Some(flags) = line.strip_prefix("VmFlags:")
            && let Some(last) = found.last_mut()
        {
            last.1 = flags.split_whitespace().any(|flag| flag == "lo");
        }
    }
    found
}

fn range(line: &str) -> Option<(u64, u64)> {
    let (start, end) = line.split_whitespace().next()?.split_once('-')?;
    Some((
        u64::from_str_radix(start, 16).ok()?,
        u64::from_str_radix(end, 16).ok()?,
    ))
}
