//! The plan as one page: tables, charts, assumptions, every number's derivation. Nothing is loaded from anywhere.

use std::fmt::Write as _;

use super::chart::{Axis, Bars, Lines, Series, escaped};
use super::table::{self, percent};
use super::{files, json};
use crate::input::{Source, field};
use crate::plan::curves::{self, Curve};
use crate::plan::{Plan, Scenario};
use crate::trace::{Quantity, explain, origin_line};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;margin:1rem 0;width:100%}td,th{border-bottom:1px solid #8884;padding:.25rem .5rem;text-align:left;vertical-align:top}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}pre{overflow:auto;background:#8882;padding:.75rem;font-size:12px}\
.ok{color:#080}.miss{color:#c00;font-weight:600}svg{max-width:100%;height:auto}summary{cursor:pointer}\
:root{color-scheme:light dark}";
/// Bars of what the plan hangs on.
const BARS_MAX: usize = 14;

/// The page.
pub fn page(plan: &Plan, source: &Source) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Capacity plan</title><style>{STYLE}</style><h1>Capacity plan</h1><p>Of <code>{}</code>, by kms-tune {}.</p>",
        escaped(&source.path.display().to_string()),
        env!("CARGO_PKG_VERSION")
    );
    // Writing to a String cannot fail.
    let _ = verdict(&mut page, plan);
    let _ = build(&mut page, plan);
    let _ = expect(&mut page, plan);
    let _ = happens(&mut page, plan);
    let _ = limits(&mut page, plan);
    for (_, svg) in charts(plan, source) {
        page += &svg;
    }
    let _ = assumptions(&mut page, plan);
    let _ = outputs(&mut page, plan);
    let _ = derivations(&mut page, plan);
    page + "</html>\n"
}

/// Every chart, with a name for a file of its own.
pub fn charts(plan: &Plan, source: &Source) -> Vec<(&'static str, String)> {
    let may = plan.site.get(&field::UTIL_MAX).value() * 100.0;
    let load = Lines {
        title: "What is used as the load grows, the worst scenario".into(),
        x: Axis::linear("load, multiples of the planned peak"),
        y: Axis::linear("% used"),
        series: series(curves::by_load(&plan.frame, &plan.design, &plan.memory)),
        levels: vec![(may, "policy.util_max".into()), (100.0, "all of it".into())],
    };
    let [operations, misses] = curves::by_ttl(source, plan);
    let ttl = Lines {
        title: "What a longer TTL saves, this design at the peak".into(),
        x: Axis::log("policy.ttl_s"),
        y: Axis::log("HSM operations/s; misses, %"),
        series: series(vec![operations, misses]),
        levels: Vec::new(),
    };
    let start = Lines {
        title: "A node that starts empty at the peak".into(),
        x: Axis::log("seconds since its start"),
        y: Axis::log("fetches/s"),
        series: series(curves::cold_start(&plan.frame, plan)),
        levels: Vec::new(),
    };
    let mut charts = vec![
        ("load", load.svg()),
        ("ttl", ttl.svg()),
        ("restart", start.svg()),
    ];
    charts.extend(spectrum(plan).map(|chart| ("latency", chart)));
    charts.extend(tornado(plan).map(|chart| ("sensitivity", chart)));
    charts
}

fn series(curves: Vec<Curve>) -> Vec<Series> {
    let one = |(name, points)| Series { name, points };
    curves.into_iter().map(one).collect()
}

fn spectrum(plan: &Plan) -> Option<String> {
    let times = plan.scenario("peak")?.times.as_ref()?;
    let names = ["hits", "misses", "all"];
    let curves = names.iter().zip(&times.spectrum).map(|(name, points)| {
        // Rarer to the right.
        let points = points
            .iter()
            .map(|(share, ms)| (1.0 / share, *ms))
            .collect();
        ((*name).to_owned(), points)
    });
    let lines = Lines {
        title: "Answer times at the peak".into(),
        x: Axis::log("one request in so many takes longer"),
        y: Axis::log("ms"),
        series: series(curves.collect()),
        levels: plan
            .site
            .opt(&field::P99_MS)
            .map(|limit| (limit.value(), "slo.p99_ms".into()))
            .into_iter()
            .collect(),
    };
    Some(lines.svg())
}

fn tornado(plan: &Plan) -> Option<String> {
    let mut rows: Vec<(String, f64, f64)> = plan
        .sensitivity
        .iter()
        .map(|one| {
            let of = |effect: &Option<crate::plan::Effect>| {
                effect.as_ref().map_or(f64::NAN, |effect| effect.hsm_ops)
            };
            (one.field.path.to_owned(), of(&one.less), of(&one.more))
        })
        .filter(|(_, less, more)| less.abs().max(more.abs()) > 0.005)
        .collect();
    rows.sort_by(|a, b| {
        b.1.abs()
            .max(b.2.abs())
            .total_cmp(&a.1.abs().max(a.2.abs()))
    });
    rows.truncate(BARS_MAX);
    (!rows.is_empty()).then(|| {
        Bars {
            title: "What the HSM operations hang on".into(),
            rows,
        }
        .svg()
    })
}

type Written = std::fmt::Result;

fn row(page: &mut String, cells: &[(&str, &str)]) -> Written {
    page.push_str("<tr>");
    for (class, cell) in cells {
        write!(page, "<td class=\"{class}\">{}</td>", escaped(cell))?;
    }
    writeln!(page, "</tr>")
}

fn verdict(page: &mut String, plan: &Plan) -> Written {
    let text = table::text(plan);
    write!(
        page,
        "<p><strong>{}</strong></p>",
        escaped(text.lines().next().unwrap_or_default())
    )?;
    if !plan.notes.is_empty() {
        page.push_str("<ul>");
        for note in &plan.notes {
            write!(page, "<li>{}</li>", escaped(note))?;
        }
        page.push_str("</ul>");
    }
    page.push_str("<h2>Objectives</h2><table><tr><th><th>what<th class=\"n\">planned<th class=\"n\">at most</tr>");
    for check in &plan.checks {
        let (class, word) = if check.holds {
            ("ok", "ok")
        } else {
            ("miss", "MISS")
        };
        row(
            page,
            &[
                (class, word),
                ("", &check.name),
                ("n", &check.value.shown()),
                ("n", &check.limit.shown()),
            ],
        )?;
    }
    writeln!(page, "</table>")
}

fn build(page: &mut String, plan: &Plan) -> Written {
    page.push_str("<h2>Build</h2><table><tr><th>number<th class=\"n\">value<th>where from</tr>");
    let design = &plan.design;
    let all = [
        &design.nodes,
        &design.cores,
        &design.connections,
        &design.entries,
    ];
    for quantity in all.into_iter().chain(plan.memory.quantities()) {
        named(page, quantity)?;
    }
    writeln!(page, "</table>")
}

fn named(page: &mut String, quantity: &Quantity) -> Written {
    row(
        page,
        &[
            ("", quantity.name()),
            ("n", &table::with_band(quantity)),
            ("", &origin_line(quantity)),
        ],
    )
}

fn expect(page: &mut String, plan: &Plan) -> Written {
    page.push_str("<h2>Expect</h2><table><tr><th>");
    for scenario in &plan.scenarios {
        write!(page, "<th class=\"n\">{}", escaped(scenario.load.about))?;
    }
    page.push_str("</tr>");
    let short = |quantity: &Quantity| {
        quantity
            .name()
            .rsplit('.')
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let peak = plan
        .scenario("peak")
        .map(Scenario::quantities)
        .unwrap_or_default();
    for name in peak.into_iter().map(short) {
        write!(page, "<tr><td>{}</td>", escaped(&name))?;
        for scenario in &plan.scenarios {
            let all = scenario.quantities();
            let value = all
                .into_iter()
                .find(|quantity| short(quantity) == name)
                .map(table::with_band);
            write!(
                page,
                "<td class=\"n\">{}</td>",
                escaped(&value.unwrap_or_else(|| "-".into()))
            )?;
        }
        page.push_str("</tr>");
    }
    writeln!(page, "</table>")
}

fn happens(page: &mut String, plan: &Plan) -> Written {
    page.push_str("<h2>When something happens, at the peak</h2><table>");
    for quantity in plan.passing.quantities() {
        named(page, quantity)?;
    }
    page.push_str("</table><ul>");
    for line in table::costs(plan) {
        write!(page, "<li>{}</li>", escaped(&line))?;
    }
    writeln!(page, "</ul>")
}

fn limits(page: &mut String, plan: &Plan) -> Written {
    page.push_str("<h2>What binds</h2><table><tr><th>limit<th class=\"n\">used<th class=\"n\">more load until then</tr>");
    for limit in &plan.limits {
        row(
            page,
            &[
                ("", limit.name),
                ("n", &limit.used.shown()),
                ("n", &limit.headroom.shown()),
            ],
        )?;
    }
    page.push_str("</table><h2>What it hangs on</h2><table><tr><th>input, 20 % less and 20 % more<th class=\"n\">HSM operations<th class=\"n\">CPU<th class=\"n\">p99 of misses<th class=\"n\">p99 of all</tr>");
    for one in &plan.sensitivity {
        let reads: [fn(&crate::plan::Effect) -> f64; 4] = [
            |effect| effect.hsm_ops,
            |effect| effect.cpu,
            |effect| effect.miss_p99,
            |effect| effect.all_p99,
        ];
        let cells = reads.map(|read| {
            let one_side = |effect: &Option<crate::plan::Effect>| {
                effect
                    .as_ref()
                    .map_or_else(|| "-".into(), |effect| percent(read(effect)))
            };
            format!("{} {}", one_side(&one.less), one_side(&one.more))
        });
        row(
            page,
            &[
                ("", one.field.path),
                ("n", &cells[0]),
                ("n", &cells[1]),
                ("n", &cells[2]),
                ("n", &cells[3]),
            ],
        )?;
    }
    writeln!(page, "</table>")
}

fn assumptions(page: &mut String, plan: &Plan) -> Written {
    page.push_str("<h2>Assumed</h2><p>Nobody told these: write them, or measure them with kms-tune calibrate.</p><table>");
    for (field, quantity) in plan.assumptions() {
        row(
            page,
            &[
                ("", field.path),
                ("n", &table::value_of(plan, field, &quantity)),
                ("", &origin_line(&quantity)),
                ("", field.help),
            ],
        )?;
    }
    writeln!(page, "</table>")
}

fn outputs(page: &mut String, plan: &Plan) -> Written {
    page.push_str("<h2>Files</h2>");
    for file in files::all(plan) {
        write!(
            page,
            "<h3>{}</h3><pre>{}</pre>",
            escaped(file.name),
            escaped(&file.text)
        )?;
    }
    let json = json::text(plan);
    writeln!(
        page,
        "<details><summary>All as JSON</summary><pre>{}</pre></details>",
        escaped(&json)
    )
}

fn derivations(page: &mut String, plan: &Plan) -> Written {
    page.push_str("<h2>How each number came about</h2>");
    for quantity in plan.quantities() {
        if quantity.inputs().is_empty() {
            continue;
        }
        writeln!(
            page,
            "<details><summary>{} = {}</summary><pre>{}</pre></details>",
            escaped(quantity.name()),
            escaped(&quantity.shown()),
            escaped(&explain(&quantity, 1))
        )?;
    }
    Ok(())
}
