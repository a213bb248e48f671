//! `kms-tune sweep`: the plan at many values of one or two inputs.

use std::path::PathBuf;

use super::{Ended, SiteArguments, number_field, say, write};
use crate::input::{Field, Source};
use crate::output::chart::{Axis, Heat, Lines, Series};
use crate::plan::Plan;
use crate::trace::{Quantity, find};

/// Plans of one sweep at most.
const POINTS_MAX: usize = 2500;

/// What is varied and what is shown.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    site: SiteArguments,
    /// FIELD=FROM..TO:COUNT in even steps, FIELD=FROM..TO:COUNTx in even factors, or FIELD=A,B,C; once or twice.
    #[arg(long, value_name = "FIELD=VALUES", required = true)]
    vary: Vec<String>,
    /// A number of the plan (`kms-tune explain SITE.toml` lists them); may be repeated.
    #[arg(long, value_name = "NAME", default_values_t = ["peak.hsm_ops_s".to_owned(), "peak.all_p99_ms".to_owned(), "peak.cpu_load".to_owned()])]
    show: Vec<String>,
    /// Write SVG: curves of one input, heat maps of two; with several --show, NAME is put before the suffix.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print JSON instead of CSV.
    #[arg(long)]
    json: bool,
}

/// One input and its values.
struct Varied {
    field: &'static Field,
    values: Vec<f64>,
}

/// One point: the values of the inputs, and what is shown; none where there is no such site.
struct Point {
    at: Vec<f64>,
    shown: Vec<Option<Quantity>>,
    holds: Option<bool>,
    why: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<Ended, String> {
    let source = arguments.site.source()?;
    let varied = arguments
        .vary
        .iter()
        .map(|text| parse(text))
        .collect::<Result<Vec<_>, _>>()?;
    if varied.len() > 2 {
        return Err("--vary may be given once or twice".into());
    }
    let count: usize = varied.iter().map(|one| one.values.len()).product();
    if count > POINTS_MAX {
        return Err(format!(
            "that is {count} plans; at most {POINTS_MAX} are made"
        ));
    }
    let points = points(&source, &varied, &arguments.show);
    // A name that no plan has is a mistake, and not a hole.
    for (at, name) in arguments.show.iter().enumerate() {
        if points.iter().all(|point| point.shown[at].is_none()) {
            let why = points
                .iter()
                .map(|point| point.why.as_str())
                .find(|why| !why.is_empty());
            let why = why.map_or_else(
                || "`kms-tune explain SITE.toml` lists all".to_owned(),
                str::to_owned,
            );
            return Err(format!("no plan has a number `{name}`: {why}"));
        }
    }
    if let Some(file) = &arguments.svg {
        for (at, name) in arguments.show.iter().enumerate() {
            let file = if arguments.show.len() == 1 {
                file.clone()
            } else {
                file.with_extension(format!("{name}.svg"))
            };
            write(&file, &chart(&varied, &points, at, name))?;
        }
    }
    say(&if arguments.json {
        json(&varied, &arguments.show, &points)
    } else {
        csv(&varied, &arguments.show, &points)
    })?;
    Ok(Ended::Well)
}

fn parse(text: &str) -> Result<Varied, String> {
    let wrong = || {
        format!("--vary {text}: write FIELD=FROM..TO:COUNT, FIELD=FROM..TO:COUNTx, or FIELD=A,B,C")
    };
    let (path, values) = text.split_once('=').ok_or_else(wrong)?;
    let number = |text: &str| {
        text.trim()
            .parse::<f64>()
            .ok()
            .filter(|value| value.is_finite())
            .ok_or_else(wrong)
    };
    let values = match values.split_once("..") {
        None => values
            .split(',')
            .map(number)
            .collect::<Result<Vec<_>, _>>()?,
        Some((from, rest)) => {
            let (to, count) = rest.split_once(':').ok_or_else(wrong)?;
            let (count, is_factor) = count
                .strip_suffix('x')
                .map_or((count, false), |count| (count, true));
            let (from, to) = (number(from)?, number(to)?);
            let count: u32 = count
                .parse()
                .ok()
                .filter(|count| (2..=1000).contains(count))
                .ok_or_else(wrong)?;
            if is_factor && (from <= 0.0 || to <= 0.0) {
                return Err(wrong());
            }
            let at = |step: u32| {
                let share = f64::from(step) / f64::from(count - 1);
                if is_factor {
                    from * (to / from).powf(share)
                } else {
                    from + (to - from) * share
                }
            };
            (0..count).map(at).collect()
        }
    };
    Ok(Varied {
        field: number_field(path)?,
        values,
    })
}

fn points(source: &Source, varied: &[Varied], show: &[String]) -> Vec<Point> {
    let mut at: Vec<Vec<f64>> = vec![Vec::new()];
    for one in varied {
        let extended = at.iter().flat_map(|before| {
            one.values.iter().map(move |value| {
                let mut all = before.clone();
                all.push(*value);
                all
            })
        });
        at = extended.collect();
    }
    at.into_iter()
        .map(|at| point(source, varied, at, show))
        .collect()
}

fn point(source: &Source, varied: &[Varied], at: Vec<f64>, show: &[String]) -> Point {
    let mut moved = source.clone();
    for (one, value) in varied.iter().zip(&at) {
        moved = moved.with(one.field, *value);
    }
    match Plan::alone(&moved) {
        Ok(plan) => {
            let roots = plan.quantities();
            Point {
                at,
                shown: show.iter().map(|name| find(&roots, name)).collect(),
                holds: Some(plan.holds()),
                why: String::new(),
            }
        }
        Err(error) => Point {
            at,
            shown: vec![None; show.len()],
            holds: None,
            why: error.to_string(),
        },
    }
}

fn chart(varied: &[Varied], points: &[Point], shown: usize, name: &str) -> String {
    let unit = points
        .iter()
        .find_map(|point| Some(point.shown[shown].as_ref()?.unit().name()));
    let label = format!("{name}, {}", unit.unwrap_or_default());
    let value = |point: &Point| {
        point.shown[shown]
            .as_ref()
            .map_or(f64::NAN, Quantity::value)
    };
    if let [x, y] = varied {
        let row = |at: usize| {
            (0..x.values.len())
                .map(|column| value(&points[column * y.values.len() + at]))
                .collect()
        };
        return Heat {
            title: label,
            x: (x.field.path.to_owned(), x.values.clone()),
            y: (y.field.path.to_owned(), y.values.clone()),
            cells: (0..y.values.len()).map(row).collect(),
        }
        .svg();
    }
    let xs: Vec<f64> = points.iter().map(|point| point.at[0]).collect();
    let (low, high) = (
        xs.iter().copied().fold(f64::INFINITY, f64::min),
        xs.iter().copied().fold(0.0, f64::max),
    );
    let path = varied.first().map_or("", |one| one.field.path);
    Lines {
        title: label.clone(),
        x: if low > 0.0 && high / low >= 20.0 {
            Axis::log(path)
        } else {
            Axis::linear(path)
        },
        y: Axis::linear(label),
        series: vec![Series {
            name: name.to_owned(),
            points: points
                .iter()
                .map(|point| (point.at[0], value(point)))
                .collect(),
        }],
        levels: Vec::new(),
    }
    .svg()
}

fn csv(varied: &[Varied], show: &[String], points: &[Point]) -> String {
    let mut head: Vec<&str> = varied.iter().map(|one| one.field.path).collect();
    head.extend(show.iter().map(String::as_str));
    head.push("objectives");
    let mut text = head.join(",") + "\n";
    for point in points {
        let mut cells: Vec<String> = point.at.iter().map(f64::to_string).collect();
        let shown = point.shown.iter();
        cells.extend(shown.map(|one| {
            one.as_ref()
                .map_or_else(String::new, |one| one.value().to_string())
        }));
        cells.push(match point.holds {
            Some(true) => "kept".into(),
            Some(false) => "missed".into(),
            None => "no such site".into(),
        });
        text += &(cells.join(",") + "\n");
    }
    text
}

fn json(varied: &[Varied], show: &[String], points: &[Point]) -> String {
    let rows: Vec<serde_json::Value> = points
        .iter()
        .map(|point| {
            let mut row = serde_json::Map::new();
            for (one, value) in varied.iter().zip(&point.at) {
                row.insert(one.field.path.to_owned(), serde_json::json!(value));
            }
            for (name, one) in show.iter().zip(&point.shown) {
                let value = one
                    .as_ref()
                    .map(Quantity::value)
                    .filter(|value| value.is_finite());
                row.insert(name.clone(), serde_json::json!(value));
            }
            row.insert("holds".into(), serde_json::json!(point.holds));
            if !point.why.is_empty() {
                row.insert("why".into(), serde_json::json!(point.why));
            }
            row.into()
        })
        .collect();
    serde_json::to_string_pretty(&rows).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_are_listed_stepped_or_multiplied() {
        for (text, want) in [
            ("policy.ttl_s=60,300", Some(vec![60.0, 300.0])),
            ("policy.ttl_s=100..300:3", Some(vec![100.0, 200.0, 300.0])),
            ("policy.ttl_s=10..1000:3x", Some(vec![10.0, 100.0, 1000.0])),
            ("policy.ttl_s=10..1000", None),
            ("policy.ttl_s=0..1000:3x", None),
            ("policy.ttl_s=10..1000:1", None),
            ("policy.ttl_s=ten", None),
            ("policy.lb=1,2", None),
            ("policy.tll_s=1,2", None),
        ] {
            let found = parse(text).ok().map(|one| one.values);
            let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-6 * b;
            match (&found, &want) {
                (None, None) => {}
                (Some(found), Some(want)) => {
                    assert!(
                        found.len() == want.len() && found.iter().zip(want).all(near),
                        "{text}: {found:?}"
                    );
                }
                other => panic!("{text}: {other:?}"),
            }
        }
        let error = parse("policy.tll_s=1,2").err().unwrap();
        assert!(error.contains("did you mean policy.ttl_s?"), "{error}");
    }
}
