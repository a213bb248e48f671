//! What a migration did, for people and for machines.
//!
//! Must never be true: a password in it. Called by `migrate`.

use serde::Serialize;

use super::output::{Written, wrap};

const WIDTH: usize = 110;

/// Everything an operator should know, in the order of reading.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// Nothing was written.
    pub(super) dry_run: bool,
    /// Files of the old installation that were read.
    pub(super) read: Vec<String>,
    /// Keys that are set as they were.
    pub(super) unchanged: Vec<String>,
    /// What is said otherwise now.
    pub(super) changed: Vec<Change>,
    /// What was concluded from the keystores.
    pub(super) concluded: Vec<String>,
    /// What has no counterpart, or none is needed.
    pub(super) no_counterpart: Vec<Lost>,
    /// What only the operator can tell.
    pub(super) decide: Vec<String>,
    /// What `kms check` will warn of.
    pub(super) warnings: Vec<String>,
    /// Files of the new configuration.
    pub(super) written: Vec<Written>,
    /// What to do next, in order.
    pub(super) next: Vec<String>,
    /// The new kms.properties, when nothing was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) properties: Option<String>,
}

/// A setting that moved.
#[derive(Debug, Serialize)]
pub(super) struct Change {
    /// Where and what it was.
    pub(super) was: String,
    /// What it is now.
    pub(super) now: String,
}

/// A setting that did not.
#[derive(Debug, Serialize)]
pub(super) struct Lost {
    /// Where and what it was.
    pub(super) what: String,
    /// Why, and what takes its place.
    pub(super) why: String,
}

impl Report {
    pub(super) fn changed(&mut self, was: impl Into<String>, now: impl Into<String>) {
        let (was, now) = (was.into(), now.into());
        self.changed.push(Change { was, now });
    }

    pub(super) fn lost(&mut self, what: impl Into<String>, why: impl Into<String>) {
        let (what, why) = (what.into(), why.into());
        self.no_counterpart.push(Lost { what, why });
    }

    pub(super) fn needs_attention(&self) -> bool {
        !self.decide.is_empty() || !self.warnings.is_empty()
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let changed = self
            .changed
            .iter()
            .map(|one| format!("{} -> {}", one.was, one.now));
        let lost = self
            .no_counterpart
            .iter()
            .map(|one| format!("{}: {}", one.what, one.why));
        let written = self.written.iter().map(|one| {
            let kept = one.kept.as_ref().map_or_else(String::new, |kept| {
                format!(", the old one is {}", kept.display())
            });
            format!("{} (mode {}{kept})", one.file.display(), one.mode)
        });
        let next = self
            .next
            .iter()
            .zip(1..)
            .map(|(step, number)| format!("{number}. {step}"));
        let mut text = String::new();
        let written_title = if self.dry_run {
            "Would be written (dry run: nothing was)"
        } else {
            "Written"
        };
        for (title, lines) in [
            ("Read", self.read.clone()),
            ("Carried over as they are", self.unchanged.clone()),
            ("Changed", changed.collect()),
            ("Concluded", self.concluded.clone()),
            ("No counterpart", lost.collect()),
            (written_title, written.collect()),
            ("You must decide", self.decide.clone()),
            ("Warnings", self.warnings.clone()),
            ("Next", next.collect::<Vec<_>>()),
        ] {
            part(&mut text, title, &lines);
        }
        if let Some(properties) = &self.properties {
            text.push_str("\nkms.properties would be\n");
            properties.lines().for_each(|line| {
                text.push_str("  | ");
                text.push_str(line);
                text.push('\n');
            });
        }
        text
    }
}

fn part(text: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(title);
    text.push('\n');
    for line in lines {
        for (at, piece) in wrap(line, WIDTH - 6).iter().enumerate() {
            text.push_str(if at == 0 { "  " } else { "      " });
            text.push_str(piece);
            text.push('\n');
        }
    }
}
