//! Bodies of `POST keys/:name`.

use super::super::json::{Text, Value};
use super::fields::{Slot, Strangers, VALIDATED, read_json};
use super::{Refusal, form, query};

/// What was asked of a new key; `None` where the field was absent. No body, `{}` and `null` are all `None`.
#[derive(Debug, Default)]
pub struct KeyBody<'a> {
    /// `type`; an unknown one is for the caller to refuse.
    pub kind: Option<Text<'a>>,
    /// `derived`.
    pub derived: Option<bool>,
    /// `convergent_encryption`.
    pub convergent_encryption: Option<bool>,
    /// `exportable`.
    pub exportable: Option<bool>,
    /// `allow_plaintext_backup`.
    pub allow_plaintext_backup: Option<bool>,
    /// `auto_rotate_period`.
    pub auto_rotate_period_s: Option<u64>,
    /// `key_size`.
    pub key_size: Option<i64>,
    /// Ready texts for `warnings`.
    pub warnings: Vec<String>,
}

/// Decodes the JSON body of a key creation.
pub fn key_body(body: &[u8]) -> Result<KeyBody<'_>, Refusal> {
    decode(|slots| read_json(body, slots))
}

/// As [`key_body`], for a form.
pub fn key_form(body: &[u8]) -> Result<KeyBody<'_>, Refusal> {
    if form::is_json(body) {
        key_body(body)
    } else {
        decode(|slots| form::read(body, slots))
    }
}

/// The warnings about the query of a read, which knows the fields of a key's body.
pub fn key_query(query: &str) -> Result<Vec<String>, Refusal> {
    if query.is_empty() {
        return Ok(Vec::new());
    }
    decode(|slots| Ok(query::read(query, slots))).map(|body| body.warnings)
}

fn decode<'a>(
    read: impl FnOnce(&mut [Slot<'a>]) -> Result<Strangers, Refusal>,
) -> Result<KeyBody<'a>, Refusal> {
    let names = [
        "allow_plaintext_backup",
        "auto_rotate_period",
        "context",
        "convergent_encryption",
        "derived",
        "exportable",
        "key_size",
        "type",
    ];
    let mut slots = names.map(|name| Slot { name, value: None });
    let strangers = read(&mut slots)?;
    let [
        backup,
        period,
        context,
        convergent,
        derived,
        exportable,
        key_size,
        kind,
    ] = &mut slots;
    let allow_plaintext_backup = VALIDATED.bool(backup)?;
    let auto_rotate_period_s = duration_s(period)?;
    VALIDATED.text(context)?;
    Ok(KeyBody {
        allow_plaintext_backup,
        auto_rotate_period_s,
        convergent_encryption: VALIDATED.bool(convergent)?,
        derived: VALIDATED.bool(derived)?,
        exportable: VALIDATED.bool(exportable)?,
        key_size: VALIDATED.int(key_size)?,
        kind: VALIDATED.text(kind)?,
        warnings: strangers.warnings(),
    })
}

/// Seconds, from a number, a text of digits, or Go's durations (`1h30m`) and days (`1d`).
pub fn duration_s(slot: &mut Slot<'_>) -> Result<Option<u64>, Refusal> {
    let name = slot.name;
    let refuse = |what: &str| VALIDATED.refusal(name, what);
    let text = match slot.value.take() {
        None => return Ok(None),
        Some(Value::Null) => return Ok(Some(0)),
        Some(Value::Number(digits)) => Text::Borrowed(digits),
        Some(Value::Text(text)) => text,
        Some(_) => return Err(refuse("could not parse duration from input")),
    };
    let text = text.as_str();
    if text.is_empty() {
        return Ok(Some(0));
    }
    if let Ok(seconds) = text.parse::<i64>() {
        let negative = |_| refuse(&format!("cannot provide negative value '{seconds}'"));
        return u64::try_from(seconds).map(Some).map_err(negative);
    }
    let (negative, amount) = match text.strip_prefix('-') {
        Some(amount) => (true, amount),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let days = amount
        .strip_suffix('d')
        .and_then(|days| days.parse::<u32>().ok())
        .map(|days| u64::from(days) * 86_400);
    match days.or_else(|| go_duration_s(amount)) {
        Some(seconds) if negative && seconds > 0 => Err(refuse(&format!(
            "cannot provide negative value '-{seconds}'"
        ))),
        Some(seconds) => Ok(Some(seconds)),
        None if text.parse::<f64>().is_ok()
            && text.ends_with(|last: char| last.is_ascii_digit()) =>
        {
            Err(refuse(&format!(
                "time: missing unit in duration \"{text}\""
            )))
        }
        None => Err(refuse(&format!("time: invalid duration \"{text}\""))),
    }
}

/// Go's durations without sign, such as `1h30m` or `1.5h`, cut to whole seconds.
fn go_duration_s(text: &str) -> Option<u64> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("\u{b5}s", 1e-6),
        ("\u{3bc}s", 1e-6),
        ("ms", 1e-3),
        ("h", 3600.0),
        ("m", 60.0),
        ("s", 1.0),
    ];
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(unit_at)?;
        let (unit, factor) = UNITS.into_iter().find(|(unit, _)| tail.starts_with(unit))?;
        total += number.parse::<f64>().ok()? * factor;
        rest = tail.strip_prefix(unit)?;
    }
    // A duration of Go's is 63 bits of nanoseconds.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    (total <= 9_223_372_036.0).then_some(total as u64)
}
