//! Numbers for people: with units, three significant digits, thousands apart.

/// Between the thousands, and between a number and its unit: no line is broken there.
pub(super) const THIN: char = '\u{202f}';

/// Latencies from here on are only known to be as long.
const LATENCY_END_NS: f64 = 60e9;

/// A time, e.g. `213 µs`, `4.21 ms`, `1.25 s`.
pub(super) fn time(ns: f64) -> String {
    if !ns.is_finite() {
        return none();
    }
    match ns {
        ..0.0 => format!("−{}", time(-ns)),
        ..0.5 => format!("0{THIN}µs"),
        ..999.5 => format!("{ns:.0}{THIN}ns"),
        ..999_500.0 => format!("{}{THIN}µs", digits(ns / 1e3)),
        ..999_500_000.0 => format!("{}{THIN}ms", digits(ns / 1e6)),
        _ => format!("{}{THIN}s", digits(ns / 1e9)),
    }
}

/// A round time on an axis, e.g. `5 ms`.
pub(super) fn tick_time(ns: f64) -> String {
    let text = time(ns);
    match text.split_once(THIN) {
        Some((number, unit)) if number.contains('.') => {
            let number = number.trim_end_matches('0').trim_end_matches('.');
            format!("{number}{THIN}{unit}")
        }
        _ => text,
    }
}

/// A round count on an axis, e.g. `20`, `1.5`, `12 000`.
pub(super) fn tick_number(value: f64) -> String {
    if value >= 1000.0 {
        return thousands(value);
    }
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A latency: like [`time`], but what the histograms cut off says so.
pub(super) fn latency(ns: f64) -> String {
    if ns >= LATENCY_END_NS {
        return format!("≥{THIN}60{THIN}s");
    }
    time(ns)
}

/// A latency that may not be there.
pub(super) fn latency_or_none(ns: Option<u64>) -> String {
    ns.map_or_else(none, |ns| latency(ns as f64))
}

/// For a value that is not there.
pub(super) fn none() -> String {
    "–".to_owned()
}

/// Three significant digits of what is not much more than a thousand.
fn digits(value: f64) -> String {
    match value.abs() {
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => thousands(value.round()),
    }
}

/// A count, e.g. `12 034`.
pub(super) fn count(value: u64) -> String {
    group(&value.to_string())
}

fn thousands(value: f64) -> String {
    group(&format!("{value:.0}"))
}

fn group(digits: &str) -> String {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(rest) => ("−", rest),
        None => ("", digits),
    };
    let mut text = sign.to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(THIN);
        }
        text.push(digit);
    }
    text
}

/// A rate, e.g. `12 034/s`, `3.21/s`.
pub(super) fn rate(per_s: f64) -> String {
    if per_s.is_finite() {
        format!("{}/s", number(per_s))
    } else {
        none()
    }
}

/// A number without a unit, three digits at least.
pub(super) fn number(value: f64) -> String {
    if !value.is_finite() {
        none()
    } else if value == 0.0 {
        "0".to_owned()
    } else {
        digits(value)
    }
}

/// A share from 0 to 1, e.g. `97.1 %`, `0.0042 %`; never rounded to nothing or to all.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if !percent.is_finite() {
        return none();
    }
    let text = match percent.abs() {
        0.0 => "0".to_owned(),
        100.0 => "100".to_owned(),
        ..0.000_05 => return format!("<{THIN}0.0001{THIN}%"),
        ..0.01 => format!("{percent:.4}"),
        ..1.0 => format!("{percent:.3}"),
        ..10.0 => format!("{percent:.2}"),
        99.95..100.0 => format!("{percent:.3}"),
        _ => format!("{percent:.1}"),
    };
    format!("{}{THIN}%", text.replace('-', "−"))
}

/// A share from 0 to 1 where there is little room, e.g. `89 %`, `7.2 %`, `0.28 %`.
pub(super) fn short_percent(share: f64) -> String {
    let percent = share * 100.0;
    if !(0.0..=100.0).contains(&percent) {
        return none();
    }
    let text = match percent {
        0.0 => "0".to_owned(),
        ..0.005 => return format!("<{THIN}0.01{THIN}%"),
        ..0.995 => format!("{percent:.2}"),
        ..9.95 => format!("{percent:.1}"),
        99.5..100.0 => return format!(">{THIN}99{THIN}%"),
        _ => format!("{percent:.0}"),
    };
    format!("{text}{THIN}%")
}

/// A share of an axis or a percentile's name, e.g. `99.9 %`.
pub(super) fn plain_percent(share: f64) -> String {
    let text = format!("{:.6}", share * 100.0);
    format!(
        "{}{THIN}%",
        text.trim_end_matches('0').trim_end_matches('.')
    )
}

/// A relative change with its sign, e.g. `+4.1 %`; what multiplies is told so.
pub(super) fn change(ratio: f64) -> String {
    if !ratio.is_finite() {
        return none();
    }
    if ratio >= 9.995 {
        return format!("×{THIN}{}", number(ratio + 1.0));
    }
    signed(ratio * 100.0, "%")
}

/// A difference of shares, in percentage points.
pub(super) fn points(difference: f64) -> String {
    signed(difference * 100.0, "pp")
}

fn signed(value: f64, unit: &str) -> String {
    let text = match value.abs() {
        ..0.1 => format!("{value:+.2}"),
        ..100.0 => format!("{value:+.1}"),
        _ => format!("{value:+.0}"),
    };
    let is_zero = text.chars().all(|c| matches!(c, '+' | '-' | '0' | '.'));
    let text = if is_zero {
        "0".to_owned()
    } else {
        text.replace('-', "−")
    };
    format!("{text}{THIN}{unit}")
}

/// Bytes, e.g. `25.2 GB`.
pub(super) fn bytes(count: u64) -> String {
    let value = count as f64;
    match value {
        ..999.5 => format!("{count}{THIN}B"),
        ..999.5e3 => format!("{}{THIN}kB", digits(value / 1e3)),
        ..999.5e6 => format!("{}{THIN}MB", digits(value / 1e6)),
        _ => format!("{}{THIN}GB", digits(value / 1e9)),
    }
}

/// CPU time of one request.
pub(super) fn cpu_each(us: Option<f64>) -> String {
    us.map_or_else(none, |us| time(us * 1e3))
}

/// A length for people, e.g. `60.0 s`, `1 h 30 min`.
pub(super) fn length(us: u64) -> String {
    let seconds = us / 1_000_000;
    match seconds {
        ..=119 => time(us as f64 * 1e3),
        120..=3599 => format!("{}{THIN}min {}{THIN}s", seconds / 60, seconds % 60),
        _ => format!("{}{THIN}h {}{THIN}min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Seconds since the start, e.g. `0:20`, `1:00:00`.
pub(super) fn clock(seconds: f64) -> String {
    let whole = seconds.max(0.0).floor();
    // Far from the bounds of u64 unless a clock went mad; then any text will do.
    let whole = if whole < 1e15 {
        format!("{whole:.0}").parse().unwrap_or(0)
    } else {
        0_u64
    };
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{rest:02}")
    } else {
        format!("{minutes}:{rest:02}")
    }
}

/// A moment, e.g. `2026-11-28 20:00:00 UTC`.
pub(super) fn utc(unix_us: u64) -> String {
    let seconds = unix_us / 1_000_000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// Days since 1970 as a date: count in years that begin in March, where the leap day is the last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        text.replace(THIN, " ")
    }

    #[test]
    fn times_have_three_digits_and_a_unit() {
        for (ns, want) in [
            (0.0, "0 µs"),
            (999.0, "999 ns"),
            (1_500.0, "1.50 µs"),
            (213_400.0, "213 µs"),
            (999_400.0, "999 µs"),
            (999_600.0, "1.00 ms"),
            (4_210_000.0, "4.21 ms"),
            (42_100_000.0, "42.1 ms"),
            (1.25e9, "1.25 s"),
            (60e9, "≥ 60 s"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(plain(&latency(ns)), want, "{ns}");
        }
        assert_eq!(plain(&time(90e9)), "90.0 s");
        assert_eq!(plain(&time(-1.5e6)), "−1.50 ms");
        assert_eq!(plain(&length(5_400_000_000)), "1 h 30 min");
        assert_eq!(plain(&length(125_000_000)), "2 min 5 s");
        assert_eq!(plain(&length(60_003_200)), "60.0 s");
    }

    #[test]
    fn numbers_are_grouped() {
        for (value, want) in [
            (0, "0"),
            (999, "999"),
            (1000, "1 000"),
            (1_234_567, "1 234 567"),
        ] {
            assert_eq!(plain(&count(value)), want);
        }
        for (value, want) in [(0.0, "0/s"), (3.214, "3.21/s"), (12_034.4, "12 034/s")] {
            assert_eq!(plain(&rate(value)), want);
        }
        assert_eq!(plain(&bytes(25_177_088_000)), "25.2 GB");
    }

    #[test]
    fn shares_are_never_rounded_to_all_or_nothing() {
        for (share, want) in [
            (0.0, "0 %"),
            (1.0, "100 %"),
            (0.971, "97.1 %"),
            (0.999_96, "99.996 %"),
            (0.05, "5.00 %"),
            (0.001_234, "0.123 %"),
            (0.000_001, "0.0001 %"),
            (0.000_000_1, "< 0.0001 %"),
        ] {
            assert_eq!(plain(&percent(share)), want, "{share}");
        }
        for (share, want) in [(0.999, "99.9 %"), (0.5, "50 %"), (0.999_99, "99.999 %")] {
            assert_eq!(plain(&plain_percent(share)), want);
        }
        for (share, want) in [
            (0.0, "0 %"),
            (0.000_04, "< 0.01 %"),
            (0.002_76, "0.28 %"),
            (0.009_96, "1.0 %"),
            (0.0718, "7.2 %"),
            (0.0996, "10 %"),
            (0.888, "89 %"),
            (0.9999, "> 99 %"),
            (1.0, "100 %"),
        ] {
            assert_eq!(plain(&short_percent(share)), want, "{share}");
        }
    }

    #[test]
    fn changes_have_signs() {
        for (ratio, want) in [
            (0.041, "+4.1 %"),
            (-0.5, "−50.0 %"),
            (0.0, "0 %"),
            (3.0, "+300 %"),
            (11.0, "× 12.0"),
        ] {
            assert_eq!(plain(&change(ratio)), want, "{ratio}");
        }
        assert_eq!(plain(&points(-0.012)), "−1.2 pp");
    }

    #[test]
    fn moments_are_dates() {
        for (unix_s, want) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_795_896_000, "2026-11-28 20:00:00 UTC"),
            (4_107_542_399, "2100-02-28 23:59:59 UTC"),
        ] {
            assert_eq!(utc(unix_s * 1_000_000), want);
        }
        for (seconds, want) in [
            (0.0, "0:00"),
            (83.9, "1:23"),
            (3600.0, "1:00:00"),
            (-5.0, "0:00"),
        ] {
            assert_eq!(clock(seconds), want);
        }
    }
}
