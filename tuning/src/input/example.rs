//! A commented description with every field: what `kms-tune example` prints.

use std::fmt::Write as _;

use super::error::wanted;
use super::field::{Absent, FIELDS, Field, Kind};
use crate::trace::number;

/// Required fields as they might be; the rest commented out with their defaults.
pub fn render_example() -> String {
    let mut text = String::from(
        "# A site for `kms-tune plan`. Units are in the names. What is commented out has the value shown, or none.\n",
    );
    let mut section = "";
    for field in FIELDS {
        if field.section() != section {
            section = field.section();
            // A field of an outer table must not come behind an inner one.
            let _ = writeln!(text, "\n[{section}]");
        }
        write_field(&mut text, field);
    }
    text
}

fn write_field(text: &mut String, field: &Field) {
    let _ = writeln!(text, "# {} ({})", field.help, wanted(field));
    let key = field.key();
    let line = match field.absent {
        Absent::Required => format!(
            "{key} = {}",
            if key == "peak_rps" {
                "20_000"
            } else {
                "200_000"
            }
        ),
        Absent::Value(value, why) => format!("# {key} = {}   # {why}", plain(value)),
        Absent::Word(word, why) if matches!(field.kind, Kind::Flag) => {
            format!("# {key} = {word}   # {why}")
        }
        Absent::Word(word, why) => format!("# {key} = \"{word}\"   # {why}"),
        Absent::Unset(_) if key == "preset" => "preset = \"lan-hsm\"".to_owned(),
        Absent::As(_, why) | Absent::Unset(why) => format!("# {key} =   # {why}"),
        Absent::Preset => format!("# {key} =   # as the preset"),
    };
    let _ = writeln!(text, "{line}");
}

fn plain(value: f64) -> String {
    number(value).replace(' ', "_")
}
