//! Two answers to one request, compared field by field, and the report of all that differ.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::differences::{Difference, Rule};
use super::exchange::Answer;
use super::mask;
use super::peers::Peer;
use super::record::{Kept, Row};

/// How much of a request or an answer a report shows.
const SHOWN_CHARS_MAX: usize = 700;

/// What a run found.
#[derive(Default)]
pub struct Report {
    pub rows: usize,
    /// Rows that differ without a documented reason, told at length.
    pub unexplained: Vec<String>,
    /// Rows by documented difference.
    pub explained: BTreeMap<&'static str, usize>,
}

impl Report {
    /// Panics with all of it at once if anything is unexplained, or documented and not met.
    pub fn hold(&self, documented: &[Difference]) {
        println!(
            "{} rows; documented differences met: {:#?}",
            self.rows, self.explained
        );
        let stale: Vec<_> = documented
            .iter()
            .map(|difference| difference.id)
            .filter(|id| !self.explained.contains_key(id))
            .collect();
        assert!(
            self.unexplained.is_empty() && stale.is_empty(),
            "{} of {} rows differ without a documented reason, {} documented differences met no row: {stale:?}\n\n{}",
            self.unexplained.len(),
            self.rows,
            stale.len(),
            self.unexplained.join("\n")
        );
    }
}

/// Asks both servers every row in order. `theirs` is the reference, `ours` may have `documented`
/// differences; with none of them the rows' own `@differs` are not looked at.
pub fn run(
    rows: &[Row],
    theirs: &mut dyn Peer,
    ours: &mut dyn Peer,
    documented: &[Difference],
) -> Report {
    let mut report = Report::default();
    let (mut of_theirs, mut of_ours) = (Kept::new(), Kept::new());
    for row in rows {
        let expected = ask(row, theirs, &mut of_theirs);
        let got = ask(row, ours, &mut of_ours);
        report.rows += 1;
        let mut met = Vec::new();
        if let Err(why) = judge(row, &expected, &got, documented, &mut met) {
            let told = tell(row, [(theirs.name(), &expected), (ours.name(), &got)], &why);
            report.unexplained.push(told);
        }
        for id in met {
            *report.explained.entry(id).or_default() += 1;
        }
    }
    report
}

fn ask(row: &Row, peer: &mut dyn Peer, kept: &mut Kept) -> Result<Answer, String> {
    let answer = peer.ask(&row.request(kept), row.method() == "HEAD");
    if let Ok(answer) = &answer {
        let body = String::from_utf8_lossy(&answer.body);
        for (name, nth) in &row.save {
            let found = body.split("\"ciphertext\":\"").nth(*nth);
            if let Some(text) = found.and_then(|rest| rest.split('"').next()) {
                kept.insert(name.clone(), text.to_owned());
            }
        }
    }
    answer
}

fn judge(
    row: &Row,
    expected: &Result<Answer, String>,
    got: &Result<Answer, String>,
    documented: &[Difference],
    met: &mut Vec<&'static str>,
) -> Result<(), String> {
    let marked = row.differs.as_ref().filter(|_| !documented.is_empty());
    let same = match (expected, got) {
        (Err(_), Err(_)) => Ok(()),
        (Ok(expected), Ok(got)) => compare(row, expected, got, documented, met),
        (Err(why), Ok(_)) => Err(format!("the reference gave no answer: {why}")),
        (Ok(_), Err(why)) => Err(why.clone()),
    };
    let Some(marked) = marked else {
        return same;
    };
    let known = documented
        .iter()
        .find(|known| known.id == marked.id && known.rule == Rule::OfRow);
    let id = known
        .ok_or_else(|| format!("{:?} is no documented difference of rows", marked.id))?
        .id;
    if same.is_ok() {
        return Err(format!("marked with {id:?}, but the answers are equal"));
    }
    match got {
        Ok(got) => stated(got.status, &got.body, marked.status, &marked.part)?,
        Err(why) => return Err(why.clone()),
    }
    met.push(id);
    Ok(())
}

/// Whether our answer is the one that the row states for its difference.
fn stated(status: u16, body: &[u8], want: u16, part: &str) -> Result<(), String> {
    let body = String::from_utf8_lossy(body);
    if status == want && body.contains(part) {
        return Ok(());
    }
    Err(format!(
        "stated for this difference: {want} with {part:?}; got {status} {body:?}"
    ))
}

/// `Err`: the first difference.
pub fn compare(
    row: &Row,
    expected: &Answer,
    got: &Answer,
    documented: &[Difference],
    met: &mut Vec<&'static str>,
) -> Result<(), String> {
    unequal("status", &expected.status, &got.status)?;
    unequal("interim answers", &expected.interim, &got.interim)?;
    let (mut of_expected, of_got) = (headers(expected), headers(got));
    for difference in documented {
        match difference.rule {
            Rule::Redirect if (300..400).contains(&got.status) => {
                let location = |held: &[String]| {
                    let found = held.iter().find(|text| text.starts_with("location: "));
                    found.cloned()
                };
                unequal("location", &location(&of_expected), &location(&of_got))?;
                if of_expected != of_got || expected.body != got.body {
                    met.push(difference.id);
                }
                return Ok(());
            }
            Rule::NoHeader(name) => {
                let named = |text: &String| text.starts_with(&format!("{name}: "));
                if of_expected.iter().any(named) && !of_got.iter().any(named) {
                    of_expected.retain(|text| !named(text));
                    met.push(difference.id);
                }
            }
            _ => {}
        }
    }
    unequal("headers", &of_expected, &of_got)?;
    unequal("framing", &expected.framing, &got.framing)?;
    let text = |body: &[u8]| {
        let text = mask::mask(&String::from_utf8_lossy(body), &row.mask);
        if row.shape { mask::shape(&text) } else { text }
    };
    let (expected, mut got) = (text(&expected.body), text(&got.body));
    for difference in documented {
        let Rule::Everywhere { ours, theirs } = difference.rule else {
            continue;
        };
        // Only where it is the difference, so that a stale rule is found.
        if got.contains(ours) && !expected.contains(ours) {
            got = got.replace(ours, theirs);
            met.push(difference.id);
        }
    }
    same_text(&expected, &got)
}

/// Name and value, sorted, `Date` by its presence and form only.
fn headers(answer: &Answer) -> Vec<String> {
    let show = |(name, value): &(String, String)| match name.to_ascii_lowercase().as_str() {
        "date" => format!("date: {}", httpdate::parse_http_date(value).is_ok()),
        name => format!("{name}: {value}"),
    };
    let mut shown: Vec<_> = answer.headers.iter().map(show).collect();
    shown.sort();
    shown
}

fn unequal<T: PartialEq + std::fmt::Debug>(
    what: &str,
    expected: &T,
    got: &T,
) -> Result<(), String> {
    if expected == got {
        return Ok(());
    }
    Err(format!("{what}: expected {expected:?}, got {got:?}"))
}

fn same_text(expected: &str, got: &str) -> Result<(), String> {
    let mut at = 0;
    for (one, other) in expected.chars().zip(got.chars()) {
        if one != other {
            break;
        }
        at += one.len_utf8();
    }
    if at == expected.len() && at == got.len() {
        return Ok(());
    }
    let around = |text: &str| text[at..].chars().take(60).collect::<String>();
    let (expected, got) = (around(expected), around(got));
    Err(format!(
        "body at byte {at}: expected {expected:?}, got {got:?}"
    ))
}

fn tell(row: &Row, answers: [(&str, &Result<Answer, String>); 2], why: &str) -> String {
    let mut told = format!("--- {}\n", row.name);
    let body = row.body.as_deref().unwrap_or("");
    _ = writeln!(told, "request: {} {}", row.line, cut(body));
    if !row.headers.is_empty() {
        _ = writeln!(told, "         {}", cut(&row.headers.join("; ")));
    }
    for (name, answer) in answers {
        let shown = match answer {
            Err(why) => why.clone(),
            Ok(answer) => format!(
                "{} {:?} {}",
                answer.status,
                answer
                    .headers
                    .iter()
                    .filter(|(name, _)| is_rare(name))
                    .collect::<Vec<_>>(),
                cut(&String::from_utf8_lossy(&answer.body)).escape_debug()
            ),
        };
        _ = writeln!(told, "{name}: {shown}");
    }
    _ = writeln!(told, "first difference: {why}");
    told
}

fn is_rare(name: &str) -> bool {
    let usual = ["Date", "Cache-Control", "Strict-Transport-Security"];
    !usual.iter().any(|usual| name.eq_ignore_ascii_case(usual))
}

fn cut(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}
